"""Documents with gold layers, read from the files that a command names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from ..documents import Document
from ..errors import DataError
from ..inputs import Check, expand_inputs, read_documents
from ..sources import BadRecord, ReadOptions


def read_gold(
    files: Sequence[str], input_format: str | None = None, options: ReadOptions | None = None
) -> Iterator[Document]:
    """Yield the documents of files; a record that cannot be read is a DataError."""
    return _good(read_documents(files, input_format, options))


def read_all(
    files: Sequence[str], options: ReadOptions | None = None, check: Check | None = None
) -> tuple[list[Document], list[BadRecord]]:
    """Return the documents of files, and the records that cannot be read, or `check` refuses."""
    found = list(read_documents(files, None, options, check)) if files else []
    return (
        [record for record in found if isinstance(record, Document)],
        [record for record in found if isinstance(record, BadRecord)],
    )


def read_sets(files: Sequence[str], input_format: str | None = None) -> dict[str, list[Document]]:
    """Return the documents of each file, by the file's name without suffixes."""
    inputs = expand_inputs(files, input_format)
    names = [PurePath(item.source.name).name.split(".")[0] for item in inputs]
    if len(set(names)) < len(names):
        names = [item.source.name for item in inputs]
    return {
        name: list(_good(item.reader.read(item.source, ReadOptions())))
        for name, item in zip(names, inputs, strict=True)
    }


def _good(records: Iterable[Document | BadRecord]) -> Iterator[Document]:
    for found in records:
        if isinstance(found, BadRecord):
            raise DataError(found.message, found.hint)
        yield found
