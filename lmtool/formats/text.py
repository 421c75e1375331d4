"""Plain text: a document a line, or a document a file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Final

from ..documents import Document
from ..errors import DataError
from ..sources import BadRecord, Reader, ReadOptions, Source, Writer
from .lines import bad_encoding, bad_input, check_encoding, check_mark, read_lines
from .rows import WRITTEN, written_rows

log = logging.getLogger("lmtool")
_ANNOTATIONS: Final = ("labels", "entities", "relations", "events", "frames")


class TxtReader(Reader):
    r"""Reads a document a line, or with `whole_file` a document a file.

    A line that is blank or holds only white space is no document. A line is kept as it is, up
    to its line end. A whole file has its path as id, and "\n" for each "\r\n".
    """

    name = "txt"
    suffixes = (".txt", ".text", ".md", ".markdown", ".rst", ".org", ".adoc")
    summary = "a document a line, or with --whole-file a document a file"

    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        """Yield a document for each line that is not blank, or one for the file."""
        if options.whole_file:
            yield _read_whole(source, options)
            return
        for line in read_lines(source, options):
            self.line = line.number
            if line.problem:
                yield line.problem
            elif line.text and not line.text.isspace():
                yield Document(text=line.text)


def _read_whole(source: Source, options: ReadOptions) -> Document | BadRecord:
    text = read_text(source, options)
    if isinstance(text, BadRecord):
        return text
    name = None if source.name.startswith("<") else source.name
    return Document(id=name, text=text.removeprefix("\ufeff").replace("\r\n", "\n"))


def read_text(source: Source, options: ReadOptions) -> str | BadRecord:
    """Return the whole input decoded, nothing else changed."""
    check_encoding(options.encoding)
    try:
        with source.open() as file:
            data = file.read()
        check_mark(data, options.encoding)
    except (DataError, OSError) as error:
        return bad_input(source, 0, error)
    try:
        return data.decode(options.encoding)
    except UnicodeDecodeError as error:
        start = data.rfind(b"\n", 0, error.start) + 1
        end = data.find(b"\n", start)
        line = data[start : end if end >= 0 else len(data)]
        try:
            line.decode(options.encoding)
        except UnicodeDecodeError as in_line:
            error = in_line
        number = data.count(b"\n", 0, start) + 1
        return bad_encoding(source, number, error, line.decode(options.encoding, "replace"))


class TxtWriter(Writer):
    """Writes the texts alone, one a line, or with `whole_file` as they are.

    The text of a document is what a model wrote for it, where that is so: its translation, its
    summary, its completions, the last message of its dialogue; else its own. A warning names
    layers that are left out.
    """

    name = "txt"
    suffixes = (".txt",)
    summary = "the texts alone, one a line"

    def __init__(self, *, whole_file: bool = False) -> None:
        self._whole_file = whole_file
        self._has_warned = False

    def encode(self, documents: Iterable[Document]) -> bytes:
        """Return the texts; DataError for one that is no line: blank, or with a line end."""
        lines = []
        for document in documents:
            for text in _texts(document):
                lines.append(text if self._whole_file else _line(text))
                if not text.endswith("\n") and text:
                    lines.append("\n")
            found = [name for name in _ANNOTATIONS if document.layer(name)]
            if found and not self._has_warned:
                self._has_warned = True
                message = "txt holds the texts alone; left out: %s (jsonl holds everything)"
                log.warning(message, ", ".join(found))
        return "".join(lines).encode()


def _texts(document: Document) -> list[str]:
    if document.summary is not None:
        return [document.summary.text]
    for name in WRITTEN:
        if written := [row.text or "" for row in written_rows(document, name)]:
            return written[-1:] if name == "messages" else written
    return [document.text]


def _line(text: str) -> str:
    if "\n" in text or "\r" in text or not text or text.isspace():
        what = "is blank" if not text or text.isspace() else "holds a line end"
        raise DataError(
            f"the text {what}, so it cannot be a line of a text file",
            hint="write JSON Lines (--format jsonl), or whole texts (--whole-file)",
        )
    return text
