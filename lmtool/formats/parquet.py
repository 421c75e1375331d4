"""Parquet tables, through pyarrow (the extra `scale`)."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from ..documents import LAYERS, Document, document_from_record
from ..errors import DataError, UsageError
from ..sources import BadRecord, PathWriter, Reader, ReadOptions, Source
from .lines import bad_record

BATCH_ROWS: Final = 256
_MARK: Final = b"lmtool"
"""The key of the file's metadata that tells a table written here, whose layers are JSON."""
_VECTOR: Final = "embedding"
"""The field that lmtool embed writes."""


class ParquetReader(Reader):
    """Reads a document a row, in batches of rows.

    The column of `text_field` is the text and `id` the id. A column with the name of a layer is
    that layer, as nested columns or as JSON; the others are passed through.
    """

    name = "parquet"
    suffixes = (".parquet", ".pq")
    summary = "a document a row (needs pyarrow)"

    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        """Yield a document for each row; `line` of a bad one is its number from 1."""
        arrow, parquet = _import_pyarrow()
        number = 0
        with source.open() as stream, _seekable(stream) as file:
            try:
                table = parquet.ParquetFile(file)
                is_own = _MARK in (table.schema_arrow.metadata or {})
                for batch in table.iter_batches(BATCH_ROWS):
                    for row in batch.to_pylist(maps_as_pydicts="lossy"):
                        self.line = number = number + 1
                        yield _document(source, options, number, row, is_own)
            except (arrow.ArrowException, OSError) as error:
                yield BadRecord(
                    source.name,
                    number + 1,
                    f"damaged parquet data after {number:,} rows: {_first_line(error)}",
                    "the file is cut off or broken, or no parquet file",
                )


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            "parquet files need the package pyarrow, which is not installed",
            hint='pip install "lmtool[scale]"',
        ) from None
    return pyarrow, parquet


@contextlib.contextmanager
def _seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Give the stream itself, or what it holds in a temporary file where it cannot seek."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile(prefix="lmtool-") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
        file.seek(0)
        yield file


def _document(
    source: Source, options: ReadOptions, number: int, row: dict[str, Any], is_own: bool
) -> Document | BadRecord:
    try:
        if is_own:
            fields = msgspec.json.decode(row.pop("fields", None) or "{}")
            row = {k: v for k, v in row.items() if v is not None} | fields
        for name in LAYERS:
            if isinstance(row.get(name), str):
                row[name] = msgspec.json.decode(row[name])
        return document_from_record(row, text_field=options.text_field)
    except msgspec.DecodeError as error:
        failure = DataError(f"a layer or the fields are not JSON: {error}")
    except DataError as error:
        failure = error
    return bad_record(source, number, failure, str(row.get(options.text_field, "")))


class ParquetWriter(PathWriter):
    """Writes a document a row: id, text and pair, each layer as JSON, the other fields as JSON.

    The field `embedding` is a column of its own, a list of numbers. The columns are the same
    whatever the documents hold, so a stream of any length can be written. Ids become strings.
    """

    name = "parquet"
    suffixes = (".parquet", ".pq")
    summary = "a document a row, its layers as JSON (needs pyarrow)"

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[Callable[[Sequence[Document]], None]]:
        """Create the file; rows are in it when the context is left."""
        arrow, parquet = _import_pyarrow()
        names = ("id", "text", "pair", *LAYERS, "fields")
        columns = [(name, arrow.string()) for name in names]
        columns.append((_VECTOR, arrow.list_(arrow.float64())))
        schema = arrow.schema(columns, {_MARK: b"1"})
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:

            def write(documents: Sequence[Document]) -> None:
                rows = [_row(document) for document in documents]
                writer.write_table(arrow.Table.from_pylist(rows, schema))

            yield write


def _row(document: Document) -> dict[str, object]:
    vector = document.fields.get(_VECTOR)
    has_vector = isinstance(vector, list) and all(type(number) is float for number in vector)
    fields = {k: v for k, v in document.fields.items() if not (has_vector and k == _VECTOR)}
    row: dict[str, object] = {
        "id": None if document.id is None else str(document.id),
        "text": document.text,
        "pair": document.pair,
        "fields": _json(fields) if fields else None,
        _VECTOR: vector if has_vector else None,
    }
    for name in LAYERS:
        layer = getattr(document, name)
        row[name] = None if layer is None else _json(layer)
    return row


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
