"""A dialogue with a model: on a terminal, or a line and an answer through a pipe."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..documents import Document, encode_document
from ..errors import DataError, LmtoolError, UsageError
from .console import error, is_terminal, note, stdout_bytes
from .task import RunFlags
from .text import write_answer

if TYPE_CHECKING:
    from .._answers import Answer
    from ..textmodels import TextModel

LAYER = "messages"
BLOCK = '"""'
NO_FOLDER = "there is no such folder"
HELP = """\
/system TEXT   tell the model what it is (without TEXT: nothing)
/undo          take the last question and answer back
/clear         begin anew; the system text stays
/save FILE     keep the dialogue in a file, from now on
/load FILE     go on with the dialogue of a file
/quit          end (or Ctrl-D); Ctrl-C stops an answer
\"\"\"            begins and ends a text of several lines; so does \\ at the end of a line
//…            a text that begins with /"""

FORM = 'a dialogue is {"messages": [{"role": "user", "content": "…"}, …]}'

Messages = list[dict[str, Any]]


def talk(load: Callable[[], TextModel], flags: RunFlags, values: dict[str, Any]) -> int:
    """Talk until the input ends; return the exit code."""
    if values.get("words"):
        raise UsageError(
            f"{values['words'][0]!r}: files stand behind --from",
            hint='ask one question with --text "…", or begin without any',
        )
    if flags.output or flags.resume:
        raise UsageError(
            f"--{'output' if flags.output else 'resume'} goes with --from FILES",
            hint="--save FILE keeps a dialogue",
        )
    shape = flags.format or ("text" if is_terminal(sys.stdout) else "jsonl")
    if shape not in ("text", "jsonl"):
        raise UsageError(f"--format {shape}: a dialogue is text or jsonl")
    stdout_bytes()
    source, target = values.get("load"), values.get("save")
    messages = read_dialogue(source) if source else []
    if target and target.exists() and (source is None or not target.samefile(source)):
        raise UsageError(f"--save {target}: exists", hint=f"go on with it by --load {target}")
    if target and not target.parent.is_dir():
        raise UsageError(f"--save {target}: {NO_FOLDER}", hint=f"mkdir -p {target.parent}")
    is_text = shape == "text"
    model = load()
    messages = _begin(model, messages, values.get("system"))
    dialogue = Dialogue(model, messages, target, source, as_text=is_text, quiet=flags.quiet)
    return dialogue.run()


def _begin(model: TextModel, messages: Messages, told: str | None) -> Messages:
    """Return the messages with the model's system text as one of them, which /system can change.

    One that somebody is `told` takes the place of theirs.
    """
    system = getattr(model.options, "system", "")
    if system:
        model.options = dataclasses.replace(model.options, system="")
    has_one = any(message["role"] == "system" for message in messages)
    return messages if told is None and (has_one or not system) else with_system(messages, system)


def with_system(messages: Messages, text: str) -> Messages:
    """Return messages with this system text in the place of theirs, without one where it is ""."""
    rest = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": text}, *rest] if text else rest


class Dialogue:
    """A dialogue that goes on: its messages, the file that keeps them, and the one they are of."""

    def __init__(
        self,
        model: TextModel,
        messages: Messages,
        file: Path | None = None,
        source: Path | None = None,
        *,
        as_text: bool = True,
        quiet: bool = False,
    ) -> None:
        self.model = model
        self.messages = messages
        self.file = file
        self.source = source
        self.as_text = as_text
        self.quiet = quiet
        self.n_failed = 0
        self.is_live = is_terminal(sys.stdin)
        self._n_left_out = 0

    def run(self) -> int:
        """Read and answer until the end; 3 where something piped in could not be answered."""
        if isinstance(sys.stdin, io.TextIOWrapper):  # what is not UTF-8 is refused line by line
            sys.stdin.reconfigure(errors="surrogateescape")
        if self.is_live and not self.quiet:
            note(f"{self.model.name.split()[0]}: /help lists what can be done, Ctrl-D ends")
        for text in self._texts():
            try:
                if text.startswith("/") and not text.startswith("//"):
                    if self._command(*_split(text)) == "end":
                        break
                else:
                    self._answer(text[1:] if text.startswith("//") else text)
            except LmtoolError as problem:
                self.n_failed += 1
                error(problem.message, problem.hint)
        return DataError.exit_code if self.n_failed and not self.is_live else 0

    # ── what is said ─────────────────────────────────────────────────────────────────────────

    def _texts(self) -> Iterator[str]:
        """Yield what is said: a line, or several that belong together."""
        while True:
            try:
                text = self._text()
            except KeyboardInterrupt:
                if not self.is_live:
                    raise
                note("\n(Ctrl-D or /quit ends)")
                continue
            if text is None:
                if self.is_live:
                    note("")
                return
            if text.strip():
                yield text

    def _text(self) -> str | None:
        """Return the next text, None at the end of the input."""
        line = self._line("> ")
        if line is None:
            return None
        if line.lstrip().startswith(BLOCK):
            return self._block(line.lstrip()[len(BLOCK) :])
        while line.endswith("\\"):
            more = self._line(". ")
            line = line[:-1] + "\n" + (more or "")
        return line

    def _block(self, text: str) -> str:
        while not text.rstrip().endswith(BLOCK):
            line = self._line(". ")
            if line is None:
                return text
            text += "\n" + line
        return text.rstrip()[: -len(BLOCK)].strip("\n")

    def _line(self, sign: str) -> str | None:
        if self.is_live and is_terminal(sys.stdout):
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  (lines can be edited, and earlier ones found)
            try:
                return input(sign)
            except EOFError:
                return None
        if self.is_live:
            print(sign, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        return line.rstrip("\r\n") if line else None

    # ── what is answered ─────────────────────────────────────────────────────────────────────

    def _answer(self, text: str) -> None:
        """Answer a text; what was said until Ctrl-C counts as the answer, if anything was."""
        asked: Messages = [*self.messages, {"role": "user", "content": text}]
        answer: Answer | None = None
        try:
            answer = self.model.stream(Document(text=text, fields={LAYER: asked}))
            self._say_left_out(answer.n_left_out)
            if self.as_text:
                write_answer(answer, quiet=self.quiet)
            else:
                for _ in answer:
                    pass
        except KeyboardInterrupt:
            if not self.is_live:
                raise
            if answer is None or not answer.stop():
                note("(stopped before an answer; the question is taken back)")
                return
            note("(stopped)")
        found = answer.document
        self.messages = found.fields[LAYER]
        if not self.as_text:
            turn = found.with_layers({LAYER: self.messages[-2:]})
            stdout_bytes().write(encode_document(turn))
            stdout_bytes().flush()
        if self.file is not None:
            write_dialogue(self.file, self.messages)

    def _say_left_out(self, n_characters: int) -> None:
        if n_characters > self._n_left_out and not self.quiet:
            note(
                "(the dialogue is longer than the model's context: it no longer reads the first "
                f"{n_characters:,} characters)"
            )
        self._n_left_out = n_characters

    # ── commands ─────────────────────────────────────────────────────────────────────────────

    def _command(self, name: str, rest: str) -> Literal["end"] | None:
        match name:
            case "quit" | "exit":
                return "end"
            case "help":
                note(HELP)
            case "clear":
                self._let_go()
                self.source = None
                self.messages = [m for m in self.messages if m["role"] == "system"]
            case "undo":
                self._undo()
            case "system":
                self._set_system(rest)
            case "save":
                self._save(rest)
            case "load":
                path = _path(name, rest)
                self.messages = read_dialogue(path)
                self._let_go(path)
                self.source = path
                note(f"({_count(self.messages)})")
            case _:
                raise UsageError(f"no command /{name}", hint="/help lists them; // says a /")
        if name in ("clear", "undo", "system", "load"):
            self._n_left_out = 0
        return None

    def _undo(self) -> None:
        asked = [i for i, message in enumerate(self.messages) if message["role"] == "user"]
        if not asked:
            raise UsageError("nothing to take back")
        self.messages = self.messages[: asked[-1]]

    def _set_system(self, text: str) -> None:
        self.messages = with_system(self.messages, text)

    def _let_go(self, goes_on: Path | None = None) -> None:
        """Leave the file that keeps the dialogue as it is, where another dialogue begins."""
        if self.file is None or (goes_on is not None and _is_same(self.file, goes_on)):
            return
        note(f"({self.file} is left as it is; /save FILE keeps what comes)")
        self.file = None

    def _save(self, rest: str) -> None:
        path = _path("save", rest) if rest else self.file or self.source
        if path is None:
            raise UsageError("/save: no file", hint="/save FILE")
        own = [file for file in (self.file, self.source) if file is not None]
        if path.exists() and not any(_is_same(path, file) for file in own):
            raise UsageError(f"{path} exists", hint="/load it to go on with it, or name another")
        write_dialogue(path, self.messages)
        self.file = path
        note(f"({path}: {_count(self.messages)}, and what comes)")


def _is_same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def _count(messages: Messages) -> str:
    return f"{len(messages)} message{'' if len(messages) == 1 else 's'}"


def _split(text: str) -> tuple[str, str]:
    name, _, rest = text[1:].partition(" ")
    return name.strip(), rest.strip()


def _path(command: str, text: str) -> Path:
    if not text:
        raise UsageError(f"/{command}: no file", hint=f"/{command} FILE")
    return Path(text).expanduser()


def read_dialogue(path: Path) -> Messages:
    """Return the messages of a file that holds one dialogue; UsageError where it does not."""
    from ..inputs import read_documents
    from ..language import check_messages

    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint="name one that --save or /save wrote")
    records = list(itertools.islice(read_documents([str(path)], "jsonl"), 2))
    if len(records) != 1:
        reason = "several records, where a dialogue is one" if records else "no record"
        raise UsageError(f"{path}: {reason}", hint=FORM)
    (record,) = records
    if not isinstance(record, Document):
        raise UsageError(record.message, record.hint)
    try:
        return check_messages(record.layer(LAYER))
    except DataError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from error


def write_dialogue(path: Path, messages: Messages) -> None:
    """Write a dialogue as the record that training reads, in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(encode_document(Document(text="", fields={LAYER: messages})))
        os.replace(temporary, path)
    except OSError as problem:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = problem.strerror if path.parent.is_dir() else NO_FOLDER
        raise LmtoolError(
            f"{path}: cannot be written: {reason}", hint="/save FILE keeps it in another place"
        ) from problem
