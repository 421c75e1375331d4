"""A task on the command line: inputs, outputs, formats, failures."""

from __future__ import annotations

import json
import os
import pty
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_bundle import write_tiny_bundle

from lmtool.testing import Result, run_cli

pytestmark = pytest.mark.usefixtures("home")
TEXT = "Tim Cook met Angela Merkel in Berlin."
FOUND = [("Tim Cook", "PER"), ("Angela Merkel", "PER"), ("Berlin", "LOC")]
VIEW = "[Tim Cook PER] met [Angela Merkel PER] in [Berlin LOC].\n"

Extract = Callable[..., Result]


@pytest.fixture
def extract(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Extract:
    """Return `lmtool extract` with the tiny model as the only one."""
    monkeypatch.setenv("LMTOOL_MODELS", str(tiny_bundle.parent))
    monkeypatch.setenv("LMTOOL_MODEL_EXTRACT", "tiny-en")

    def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
        return run_cli("extract", *arguments, stdin=stdin)

    return run


def found(line: str) -> list[tuple[str, str]]:
    return [(e["text"], e["label"]) for e in json.loads(line)["entities"]]


# ── inputs ───────────────────────────────────────────────────────────────────────────────────


def test_a_text(extract: Extract) -> None:
    result = extract("--text", TEXT)
    assert (result.exit_code, result.stderr) == (0, "")
    assert found(result.stdout) == FOUND


@pytest.mark.parametrize("files", [[], ["-"]])
def test_a_pipe(extract: Extract, files: list[str]) -> None:
    result = extract(*files, stdin=f"{TEXT}\nin Berlin\n")
    assert [found(line) for line in result.stdout.splitlines()] == [FOUND, [("Berlin", "LOC")]]


def test_files(extract: Extract, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Berlin\n", "utf-8")
    (tmp_path / "b.jsonl").write_text('{"id":7,"text":"Tim","more":[1]}\n', "utf-8")
    result = extract(tmp_path / "a.txt", tmp_path / "b.jsonl")
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["entities"][0]["text"] == "Berlin"
    assert (second["id"], second["more"]) == (7, [1])


def test_reading_flags(extract: Extract, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes('{"body":"Berlin, né"}\n'.encode("latin-1"))
    result = extract(file, "--text-field", "body", "--encoding", "latin-1")
    assert json.loads(result.stdout)["text"] == "Berlin, né"
    whole = tmp_path / "a.txt"
    whole.write_text("Tim\nin Berlin\n", "utf-8")
    assert len(extract(whole, "--whole-file").stdout.splitlines()) == 1
    assert extract(whole, "--input-format", "jsonl").exit_code == 3


def test_nothing_to_read_says_what_to_do(extract: Extract) -> None:
    result = extract()
    assert result.exit_code == 2
    assert result.stderr.startswith("error: nothing to read")
    assert "--text" in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["a.txt", "--text", "x"], "FILES and --text at once"),
        (["no-such-file.txt"], "no-such-file.txt: no such file"),
        (["--text", "x", "--encoding", "klingon"], "--encoding klingon: no such encoding"),
        (["--text", "x", "--format", "klingon"], "--format klingon: no such format"),
        (["--text", "x", "-o", "a.klingon"], "a.klingon"),
        (["--text", "x", "--labels", "FOO"], "unknown label 'FOO'"),
        (["--text", "x", "--device", "klingon"], "unknown device 'klingon'"),
        (["--text", "x", "--resume"], "--resume does not work with a stream"),
    ],
)
def test_wrong_use(extract: Extract, flags: list[str], message: str) -> None:
    result = extract(*flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


# ── the model ────────────────────────────────────────────────────────────────────────────────


def test_options_of_the_task(extract: Extract) -> None:
    assert found(extract("--text", TEXT, "--labels", "LOC").stdout) == FOUND[2:]
    assert found(extract("--text", TEXT, "--labels", "LOC,PER").stdout) == FOUND
    assert found(extract("--text", TEXT, "--threshold", "1").stdout) == []


def test_a_folder_is_a_model(tiny_bundle: Path) -> None:
    assert found(run_cli("extract", "--model", tiny_bundle, "--text", TEXT).stdout) == FOUND


def test_no_model_is_4(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = run_cli("extract", "--model", "no-such-model", "--text", "x")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "no model 'no-such-model'" in result.stderr
    assert run_cli("extract", "--model", tmp_path, "--text", "x").exit_code == 4


def test_a_damaged_model_is_4(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "damaged")
    with (folder / "head.onnx").open("ab") as file:
        file.write(b"x")
    result = run_cli("extract", "--model", folder, "--text", "x")
    assert result.exit_code == 4
    assert "head.onnx: changed since it was written" in result.stderr


def test_a_model_of_another_task(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "other", task="roles")
    result = run_cli("extract", "--model", folder, "--text", "x")
    assert result.exit_code == 2
    assert "a model for 'roles', not for 'extract'" in result.stderr


def test_which_model_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path
) -> None:
    from lmtool import choice

    bundles: dict[str, Path] = {}
    monkeypatch.setattr(choice, "installed_bundles", lambda: bundles)
    other = write_tiny_bundle(tmp_path / "other", task="roles")
    bundles |= {"mine": tiny_bundle, "roles-en": other, "damaged": tmp_path}
    assert choice.default_model("extract") == "mine"
    bundles |= {"names-en": tiny_bundle, "names-de": tiny_bundle}
    assert choice.default_model("extract") == "names-en"
    del bundles["names-en"]
    with pytest.raises(choice.UsageError, match="2 models are installed") as caught:
        choice.default_model("extract")
    assert "--model" in caught.value.hint
    bundles.clear()
    with pytest.raises(choice.BundleError, match="no model for 'extract' is installed"):
        choice.default_model("extract")


# ── outputs ──────────────────────────────────────────────────────────────────────────────────


def test_a_file_by_its_suffix_and_the_summary(extract: Extract, tmp_path: Path) -> None:
    result = extract("--text", TEXT, "-o", tmp_path / "out.conll")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"{tmp_path / 'out.conll'}: 1 document in ")
    assert "Cook\tI-PER\n" in (tmp_path / "out.conll").read_text("utf-8")


def test_quiet(extract: Extract, tmp_path: Path) -> None:
    assert extract("--text", TEXT, "-o", tmp_path / "out.jsonl", "-q") == Result(0, "", "")


def test_nothing_in_the_input_is_said(extract: Extract, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n \n")
    said = f"nothing to read: no document in {tmp_path / 'a.txt'}\n"
    result = extract(tmp_path / "a.txt")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", said)
    result = extract(stdin="")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing to read: no document in <stdin>\n"
    assert extract("-q", tmp_path / "a.txt").stderr == ""
    result = extract(tmp_path / "a.txt", "-o", tmp_path / "b.jsonl")
    assert result.stderr.startswith(said)


def test_the_view(extract: Extract, tmp_path: Path) -> None:
    assert extract("--text", TEXT, "--format", "text").stdout == VIEW
    for flags in (["--format", "text"], []):
        extract("--text", TEXT, "-o", tmp_path / "out.txt", *flags)
        assert (tmp_path / "out.txt").read_text("utf-8") == VIEW


def test_force_color(extract: Extract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in extract("--text", TEXT, "--format", "text").stdout
    assert found(extract("--text", TEXT).stdout) == FOUND
    extract("--text", TEXT, "--format", "text", "-o", tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text("utf-8") == VIEW
    monkeypatch.setenv("NO_COLOR", "1")
    assert extract("--text", TEXT, "--format", "text").stdout == VIEW


def test_failed_records_are_3_and_kept(extract: Extract, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text":"Berlin"}\n{"no":"text"}\n{"text":"Tim"}\n', "utf-8")
    result = extract(file, "-o", tmp_path / "out.jsonl", "--errors", tmp_path / "bad.jsonl")
    assert result.exit_code == 3
    assert "2 documents, 1 failed" in result.stderr
    assert len((tmp_path / "out.jsonl").read_text("utf-8").splitlines()) == 2
    assert "no field 'text'" in (tmp_path / "bad.jsonl").read_text("utf-8")
    piped = extract(file)
    assert piped.exit_code == 3
    assert f"warning: {file}:2" in piped.stderr


def test_strict_stops_at_the_first(extract: Extract, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"no":"text"}\n', "utf-8")
    result = extract(file, "--strict")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"error: {file}:1: ")


def test_resume_of_a_complete_run(extract: Extract, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("Berlin\n", "utf-8")
    command = [file, "-o", tmp_path / "out.jsonl"]
    extract(*command)
    result = extract(*command, "--resume")
    assert result.exit_code == 0
    said = "complete already, nothing to do; the flags were not compared"
    assert result.stderr == f"{tmp_path / 'out.jsonl'}: {said}\n"


def test_resume_with_other_options_names_them(extract: Extract, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text":"Berlin"}\n' * 1100 + '{"no":"text"}\n', "utf-8")
    command = [file, "-o", tmp_path / "out.jsonl", "--strict"]
    assert extract(*command).exit_code != 0
    result = extract(*command, "--resume", "--threshold", "0.5")
    assert result.exit_code == 2
    assert "was begun otherwise: option threshold was 0.0, is now 0.5\n" in result.stderr


def test_resume_of_a_complete_run_with_failures_is_3_again(
    extract: Extract, tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text":"Berlin"}\n{"no":"text"}\n', "utf-8")
    command = [file, "-o", tmp_path / "out.jsonl"]
    assert extract(*command).exit_code == 3
    result = extract(*command, "--resume")
    assert result.exit_code == 3
    assert "complete already, nothing to do (1 failed)" in result.stderr


@pytest.mark.parametrize("flags", [["--labels", "FOO"], ["--device", "klingon"]])
def test_wrong_options_cost_no_output(extract: Extract, tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "a.txt").write_text("Berlin\n", "utf-8")
    (tmp_path / "b.jsonl.partial").write_text("of an earlier run", "utf-8")
    before = {p: p.read_bytes() for p in tmp_path.glob("*.*")}
    for name in ("a.jsonl", "b.jsonl"):
        assert extract(tmp_path / "a.txt", "-o", tmp_path / name, *flags).exit_code == 2
    assert {p: p.read_bytes() for p in tmp_path.glob("*.*")} == before


def test_columns_of_conll(extract: Extract, tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("x\tBerlin\tO\tx\n\n", "utf-8")
    flags = ["--token-column", "1", "--tag-column", "-2"]
    assert found(extract(file, *flags).stdout) == [("Berlin", "LOC")]
    assert "from 0" in extract("--help").stdout


def process(tiny_bundle: Path, *arguments: object) -> list[str]:
    """Return the command line of a process of its own."""
    command = [sys.executable, "-m", "lmtool.cli.main", "extract", "--model", tiny_bundle]
    return [str(part) for part in [*command, *arguments]]


def test_a_closed_stdout_is_wrong_use(tiny_bundle: Path, tmp_path: Path) -> None:
    command = shlex.join(process(tiny_bundle, "--text", TEXT))
    result = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("error: stdout is closed")
    command += f" -o {shlex.quote(str(tmp_path / 'out.jsonl'))}"
    result = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, text=True)
    assert (result.returncode, "error" in result.stderr) == (0, False)
    assert found((tmp_path / "out.jsonl").read_text("utf-8")) == FOUND


def test_killed_at_any_time_and_resumed_is_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    lines = [json.dumps({"id": i, "text": TEXT}) if i % 50 else "no json" for i in range(10_000)]
    file.write_text("\n".join(lines), "utf-8")
    subprocess.run(process(tiny_bundle, file, "-o", tmp_path / "whole.jsonl", "-q"))
    out = tmp_path / "out.jsonl"
    command = process(tiny_bundle, file, "-o", out, "--resume")
    chance = random.Random(0)
    n_killed = 0
    for _ in range(2):
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not (tmp_path / "out.jsonl.progress").exists() and child.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.3))
        child.kill()
        n_killed += child.wait() < 0
    assert n_killed
    assert subprocess.run(command, capture_output=True).returncode == 3
    for suffix in ("", ".errors.jsonl"):
        whole = tmp_path / f"whole.jsonl{suffix}"
        assert (tmp_path / f"out.jsonl{suffix}").read_bytes() == whole.read_bytes()


# ── on a terminal ────────────────────────────────────────────────────────────────────────────


def on_terminal(tiny_bundle: Path, *arguments: str, **variables: str) -> str:
    """Run `lmtool extract` with stdout and stderr on a terminal of 40 columns."""
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "lmtool.cli.main", "extract", "--model", str(tiny_bundle)]
    variables = {"COLUMNS": "40", "TERM": "xterm", **variables}
    process = subprocess.Popen(
        [*command, *arguments],
        stdin=terminal, stdout=terminal, stderr=terminal, env={**os.environ, **variables},
    )  # fmt: skip
    os.close(terminal)
    data = b""
    while True:
        try:
            piece = os.read(main, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        data += piece
    process.wait()
    os.close(main)
    return data.decode().replace("\r\n", "\n")


def test_a_terminal_gets_the_view(tiny_bundle: Path) -> None:
    plain = on_terminal(tiny_bundle, "--text", TEXT, NO_COLOR="1")
    assert plain == "[Tim Cook PER] met [Angela Merkel PER]\nin [Berlin LOC].\n\n"
    assert on_terminal(tiny_bundle, "--text", TEXT, TERM="dumb") == plain
    coloured = on_terminal(tiny_bundle, "--text", TEXT)
    assert "\x1b[" in coloured
    assert "Tim Cook" in coloured


def test_a_terminal_without_input_gets_an_error(tiny_bundle: Path) -> None:
    assert "nothing to read" in on_terminal(tiny_bundle)


def test_a_terminal_gets_json_where_it_is_asked_for(tiny_bundle: Path) -> None:
    assert found(on_terminal(tiny_bundle, "--text", TEXT, "--format", "jsonl")) == FOUND
