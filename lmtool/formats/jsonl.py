"""JSON Lines: a document record a line, the format that lmtool itself writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ..documents import Document, document_from_record, encode_document
from ..errors import DataError
from ..sources import BadRecord, Reader, ReadOptions, Source, Writer
from .lines import bad_record, read_lines


class JsonlReader(Reader):
    """Reads a JSON object a line; blank lines are skipped."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson")
    summary = "a JSON object a line"

    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        """Yield a document for each line that is not blank."""
        for line in read_lines(source, options):
            self.line = line.number
            if line.problem:
                yield line.problem
            elif line.text and not line.text.isspace():
                try:
                    yield _document(line.text, options)
                except DataError as error:
                    yield bad_record(source, line.number, error, line.text)


def _document(text: str, options: ReadOptions) -> Document:
    try:
        record = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(
            f"not JSON: {error}",
            hint="write each record on a line of its own; plain text needs --input-format txt",
        ) from None
    return document_from_record(record, text_field=options.text_field)


class JsonlWriter(Writer):
    """Writes the document record of docs/documents.md, one a line."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson")
    summary = "a JSON object a line, with every layer and field"

    def encode(self, documents: Iterable[Document]) -> bytes:
        """Return the documents as JSON Lines."""
        return b"".join(map(encode_document, documents))
