"""Plain text: a document a line, or a document a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..documents import Document
from ..errors import DataError
from ..sources import BadRecord, Reader, ReadOptions, Source, Writer
from .lines import bad_encoding, bad_input, check_encoding, read_lines


class TxtReader(Reader):
    r"""Reads a document a line, or with `whole_file` a document a file.

    A line that is blank or holds only white space is no document. A line is kept as it is, up
    to its line end. A whole file has its path as id, and "\n" for each "\r\n".
    """

    name = "txt"
    suffixes = (".txt",)
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
    """Writes the texts alone, one a line."""

    name = "txt"
    suffixes = (".txt",)
    summary = "the texts alone, one a line"

    def encode(self, documents: Iterable[Document]) -> bytes:
        """Return the texts; DataError for one that is no line: blank, or with a line end."""
        return b"".join(map(_encode, documents))


def _encode(document: Document) -> bytes:
    text = document.text
    if "\n" in text or "\r" in text or not text or text.isspace():
        what = "is blank" if not text or text.isspace() else "holds a line end"
        raise DataError(
            f"the text {what}, so it cannot be a line of a text file",
            hint="write JSON Lines (--format jsonl), or the text as it is (--format raw)",
        )
    return text.encode() + b"\n"
