"""The user's FILES become inputs: paths, folders, globs, stdin, a text, each with its reader."""

from __future__ import annotations

import difflib
import glob
import io
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias

from .compression import format_suffix
from .documents import Document
from .errors import DataError, UsageError
from .formats import has_reader, reader_for
from .sources import BadRecord, Reader, ReadOptions, Source
from .streams import FileSource, Prefixed, StdinSource, TextSource

__all__ = [
    "Check",
    "FileSource",
    "Input",
    "StdinSource",
    "TextSource",
    "expand_inputs",
    "joined_input",
    "read_documents",
    "read_input",
    "text_input",
]

Check: TypeAlias = Callable[[Document], object]
"""Raises DataError for a document that cannot be used."""
_N_SUFFIXES: Final = 5
"""Suffixes of skipped files that are named."""
_SNIFF_BYTES: Final = 1 << 16
_JSON_START: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*["}]')
_LEFT_BY_RUNS: Final = (".partial", ".progress", ".errors.jsonl")
log = logging.getLogger("lmtool")


@dataclass(frozen=True, slots=True)
class Input:
    """A source and the reader that understands it."""

    source: Source
    reader: Reader


def expand_inputs(
    files: Sequence[str], input_format: str | None = None, stdin: BinaryIO | None = None
) -> list[Input]:
    """Return the inputs that the arguments mean, in their order, the files of a folder sorted.

    A path that exists is taken as it is, "-" is stdin, and what holds `*`, `?` or `[` is a glob,
    in which `**` stands for any folders. A folder gives its files whose suffix names a format
    (with `input_format`: all its files), without hidden ones and without following links to
    folders, and says in the log how many it leaves out; a folder with .ann files is in brat's
    format. UsageError for what does not exist,
    matches nothing or has an unknown suffix.
    """
    inputs: list[Input] = []
    for name in files:
        if name == "-":
            inputs.append(_stdin_input(stdin, input_format))
        elif os.path.isdir(name):
            inputs += _folder(name, input_format)
        elif os.path.exists(name):
            inputs.append(Input(FileSource(name), reader_for(name, input_format)))
        elif glob.has_magic(name):
            inputs += _glob(name, input_format)
        else:
            raise UsageError(f"{name}: no such file", hint=_similar(name))
    if sum(isinstance(item.source, StdinSource) for item in inputs) > 1:
        raise UsageError("stdin is named twice", hint="give - once")
    return inputs


def text_input(text: str) -> Input:
    """Return the input for a text given literally: one document, whatever line ends it has."""
    try:
        return Input(TextSource(text), _LiteralReader())
    except UnicodeEncodeError:
        raise UsageError("--text: not UTF-8", hint="check the locale of the shell") from None


def _folder(name: str, input_format: str | None) -> Iterator[Input]:
    n_found = 0
    skipped: list[str] = []

    def fail(error: OSError) -> None:
        raise UsageError(f"{error.filename}: cannot be read: {error.strerror}") from error

    for folder, folders, names in os.walk(name, onerror=fail):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        names = sorted(n for n in names if not n.startswith(".") and not n.endswith(_LEFT_BY_RUNS))
        is_brat = input_format == "brat" or (
            input_format is None and any(format_suffix(n) == ".ann" for n in names)
        )
        for item in _brat_files(names) if is_brat else names:
            if not os.path.isfile(path := os.path.join(folder, item)):  # a link to nowhere, a pipe
                log.warning("%s: skipped: no file that can be read", path)
            elif is_brat or input_format or has_reader(item):
                n_found += 1
                reader = reader_for(item, "brat" if is_brat else input_format)
                yield Input(FileSource(path), reader)
            else:
                skipped.append(format_suffix(item) or "no suffix")
    if n_found and skipped:
        files = "1 file" if len(skipped) == 1 else f"{len(skipped):,} files"
        kinds = sorted(set(skipped))
        shown = ", ".join(kinds[:_N_SUFFIXES]) + (", …" if len(kinds) > _N_SUFFIXES else "")
        message = "%s skipped in %s (%s): no known format; choose with --input-format"
        log.warning(message, files, name, shown)
    if not n_found:
        raise UsageError(
            f"{name}: no file in this folder has a suffix that names a format",
            hint="name the format with --input-format to read all of its files",
        )


def _brat_files(names: Sequence[str]) -> list[str]:
    """Return the .ann files, and the .txt files that have none."""
    stems = {n[: n.lower().rindex(".ann")] for n in names if format_suffix(n) == ".ann"}
    return [
        n
        for n in names
        if format_suffix(n) == ".ann"
        or (format_suffix(n) == ".txt" and n[: n.lower().rindex(".txt")] not in stems)
    ]


def _glob(pattern: str, input_format: str | None) -> Iterator[Input]:
    paths = sorted(glob.glob(pattern, recursive=True))
    files = [path for path in paths if os.path.isfile(path)]
    if not files and not paths:
        raise UsageError(
            f"{pattern}: no file matches",
            hint=f"looked in {os.path.abspath(os.path.dirname(pattern) or '.')}; ** stands for any "
            "folders",
        )
    for path in files or paths:
        if os.path.isdir(path):
            yield from _folder(path, input_format)
        else:
            yield Input(FileSource(path), reader_for(path, input_format))


def _similar(name: str) -> str:
    folder, base = os.path.split(name.rstrip("/"))
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return f"there is no folder {folder} either"
    close = difflib.get_close_matches(base, names, n=1)
    if close:
        return f"did you mean {os.path.join(folder, close[0])}?"
    return "check the name; a command that has --text takes a text of its own with that"


def _stdin_input(stdin: BinaryIO | None, input_format: str | None) -> Input:
    if stdin is None:
        raise UsageError("nothing is piped in", hint="name files, or give a text with --text")
    reader = reader_for("-", input_format) if input_format else _SniffingReader()
    return Input(StdinSource(stdin), reader)


class _LiteralReader(Reader):
    name = "text"
    suffixes = ()
    summary = "the whole input is one document"

    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        with source.open() as file:
            yield Document(text=file.read().decode())


class _SniffingReader(Reader):
    """Reads stdin: JSON Lines or parquet where it begins like that, else plain text."""

    name = "stdin"
    suffixes = ()
    summary = "JSON Lines, parquet or plain text"

    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        with source.open() as file:
            head = line = file.readline(_SNIFF_BYTES)
            while line.isspace() and len(head) < _SNIFF_BYTES:
                line = file.readline(_SNIFF_BYTES)
                head += line
            name = "jsonl" if _JSON_START.match(line) else "txt"
            name = "parquet" if head.startswith(b"PAR1") else name
            whole = io.BufferedReader(Prefixed(head, file))
            reader = reader_for("-", name)
            for record in reader.read(_Opened(source, whole), options):
                self.line = reader.line
                yield record


class _Opened:
    """A source that is open already."""

    def __init__(self, source: Source, stream: BinaryIO) -> None:
        self.name = source.name
        self.size = source.size
        self.position = 0
        self._stream = stream

    def open(self) -> BinaryIO:
        return self._stream


def joined_input(inputs: Sequence[Input]) -> Input:
    """Return one input with one document: the texts of all inputs, an empty line between them.

    Its field `documents` says of each its source, its id where it has one, and its characters.
    """
    return Input(_Joined(inputs), _JoiningReader(inputs))


class _Joined:
    """Several sources, as one."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._sources = [item.source for item in inputs]

    @property
    def name(self) -> str:
        """The names of the first sources."""
        names = [source.name for source in self._sources]
        return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")

    def open(self) -> BinaryIO:
        """Refuse: the readers of the sources open each."""
        raise UsageError(f"{self.name}: several inputs have no bytes of their own")

    @property
    def size(self) -> int | None:
        """Bytes of all, None where one is unknown."""
        sizes = [source.size for source in self._sources]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def position(self) -> int:
        """Bytes read of all."""
        return sum(source.position for source in self._sources)


class _JoiningReader(Reader):
    """Reads several inputs as one document; their bad records go on as they are."""

    name = "together"
    suffixes = ()
    summary = "All inputs as one document"

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._inputs = inputs

    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        texts: list[str] = []
        places: list[dict[str, object]] = []
        start = 0
        for item in self._inputs:
            for found in item.reader.read(item.source, options):
                if isinstance(found, BadRecord):
                    yield found
                    continue
                place: dict[str, object] = {"source": item.source.name}
                if found.id is not None:
                    place["id"] = found.id
                places.append({**place, "start": start, "end": start + len(found.text)})
                texts.append(found.text)
                start += len(found.text) + 2
        if texts:
            yield Document(text="\n\n".join(texts), fields={"documents": places})


def read_documents(
    files: Sequence[str],
    input_format: str | None = None,
    options: ReadOptions | None = None,
    check: Check | None = None,
) -> Iterator[Document | BadRecord]:
    """Yield the records of files, folders and globs, as the commands read them.

    A record that cannot be read, or that `check` refuses, is a BadRecord in its place. UsageError
    for a file that is not there or has no known format.
    """
    for item in expand_inputs(files, input_format):
        yield from read_input(item, options or ReadOptions(), check)


def read_input(
    item: Input, options: ReadOptions, check: Check | None = None
) -> Iterator[Document | BadRecord]:
    """Yield the records of an input, as `read_documents` does."""
    for record in item.reader.read(item.source, options):
        if check is not None and isinstance(record, Document):
            try:
                check(record)
            except DataError as error:
                yield BadRecord(item.source.name, item.reader.line, error.message, error.hint)
                continue
        yield record
