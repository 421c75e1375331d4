"""A hub on this machine: enough of Hugging Face's protocol for huggingface_hub to pull from it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves one repository at one commit. `faults` says what happens to the next GETs of a file.

    "break": half of it, then the connection is closed · "corrupt": a byte is changed ·
    "forbid": 403. With a `token`, requests without it find nothing.
    """

    def __init__(self, repository: str, folder: Path, token: str = "") -> None:
        self.repository = repository
        self.token = token
        self.faults: dict[str, list[str]] = {}
        self.gets: Counter[str] = Counter()
        self.ranges: list[tuple[str, str]] = []
        self.files = {
            p.relative_to(folder).as_posix(): p.read_bytes()
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_HEAD(self) -> None:
                self._answer(is_head=True)

            def do_GET(self) -> None:
                self._answer(is_head=False)

            def _answer(self, *, is_head: bool) -> None:
                api, file = f"/api/models/{hub.repository}", f"/{hub.repository}/resolve/"
                authorization = self.headers.get("Authorization", "")
                if hub.token and authorization != f"Bearer {hub.token}":
                    self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
                elif self.path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
                    siblings = [{"rfilename": name} for name in hub.files]
                    record = {"id": hub.repository, "sha": COMMIT, "siblings": siblings}
                    self._send(200, json.dumps(record).encode(), {})
                elif self.path.startswith(f"{api}/revision/"):
                    self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
                elif self.path.startswith(f"{file}{COMMIT}/"):
                    self._file(self.path.removeprefix(f"{file}{COMMIT}/"), is_head=is_head)
                else:
                    self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

            def _file(self, name: str, *, is_head: bool) -> None:
                data = hub.files[name]
                headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
                if is_head:
                    self._send(200, data, headers, with_body=False)
                    return
                hub.gets[name] += 1
                fault = hub.faults.get(name, [])[:1]
                del hub.faults.get(name, [])[:1]
                if fault == ["forbid"]:
                    self._send(403, b"", {})
                    return
                if fault == ["corrupt"]:
                    data = bytes([data[0] ^ 1]) + data[1:]
                status, start = 200, 0
                if asked := self.headers.get("Range"):
                    hub.ranges.append((name, asked))
                    status, start = 206, int(asked.removeprefix("bytes=").partition("-")[0])
                    headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                self._send(status, data[start:], headers, is_broken=fault == ["break"])

            def _send(
                self,
                status: int,
                body: bytes,
                headers: dict[str, str],
                *,
                with_body: bool = True,
                is_broken: bool = False,
            ) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if is_broken:
                    body, self.close_connection = body[: len(body) // 2], True
                if with_body and self.command == "GET":
                    self.wfile.write(body)

        return Handler
