"""CSV and TSV: in, a document a row; out, an annotation a row."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Iterator
from typing import ClassVar

from ..documents import LAYERS, Document, document_from_record
from ..errors import DataError
from ..sources import BadRecord, Reader, ReadOptions, Source, Writer
from .lines import bad_record, read_lines
from .rows import COLUMNS, Row, annotation_rows, left_out

log = logging.getLogger("lmtool")

MAX_FIELD = 1 << 26
"""The longest field in characters: it bounds what a quote that is never closed can swallow."""


class CsvReader(Reader):
    """Reads a document a row; the first row names the columns.

    The column of `text_field` is the text, `id` is the id, the others are passed through as
    strings. A quoted field may hold line ends. Blank lines are skipped.
    """

    name = "csv"
    suffixes = (".csv",)
    summary = "a document a row, columns named in the first one"
    delimiter: ClassVar[str] = ","

    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        """Yield a document for each row; a header that cannot serve ends the file."""
        columns: list[str] | None = None
        for number, row in self._rows(source, options):
            self.line = number
            if isinstance(row, BadRecord):
                yield row
                if columns is None:
                    return
            elif columns is None:
                columns = row
                if problem := _header_problem(columns, options.text_field):
                    yield bad_record(source, number, problem, self.delimiter.join(row))
                    return
            else:
                yield self._document(source, options, number, columns, row)

    def _rows(
        self, source: Source, options: ReadOptions
    ) -> Iterator[tuple[int, list[str] | BadRecord]]:
        """Yield each row with its first line; every bad line or row ends as one BadRecord."""
        problems: list[BadRecord] = []

        def lines() -> Iterator[str]:
            for line in read_lines(source, options):
                if line.problem:
                    problems.append(line.problem)
                yield line.text + "\n"

        csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD))
        reader = csv.reader(lines(), delimiter=self.delimiter, strict=True)
        while True:
            first = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                row = []
                if not problems:
                    problems.append(_bad_row(source, first, reader.line_num, error))
            if problems:
                yield from ((problem.line, problem) for problem in problems)
                problems.clear()
            elif row:
                yield first, row

    def _document(
        self,
        source: Source,
        options: ReadOptions,
        number: int,
        columns: list[str],
        row: list[str],
    ) -> Document | BadRecord:
        if len(row) == len(columns):
            record = dict(zip(columns, row, strict=True))
            return document_from_record(record, text_field=options.text_field)
        error = DataError(
            f"{len(row)} columns where the header has {len(columns)}",
            hint="put a field that holds the delimiter, a quote or a line end in double quotes",
        )
        return bad_record(source, number, error, self.delimiter.join(row))


class TsvReader(CsvReader):
    """Reads a document a row, columns parted by tabs; quotes mean what they mean in CSV."""

    name = "tsv"
    suffixes = (".tsv",)
    delimiter = "\t"


def _header_problem(columns: list[str], text_field: str) -> DataError | None:
    if text_field not in columns:
        return DataError(
            f"no column {text_field!r} (it has: {', '.join(columns)})",
            hint="choose the column that holds the text with --text-field NAME",
        )
    twice = [name for name in columns if columns.count(name) > 1]
    layers = [name for name in columns if name in LAYERS]
    if twice:
        return DataError(f"two columns are named {twice[0]!r}", hint="rename one of them")
    if layers:
        return DataError(
            f"the column {layers[0]!r} has the name of a layer",
            hint="rename it, or use jsonl, where a layer has its own shape",
        )
    if text_field != "text" and "text" in columns:
        return DataError(
            f"has a column 'text' beside the chosen {text_field!r}",
            hint="rename one of them: the output puts the text that was read under 'text'",
        )
    return None


def _bad_row(source: Source, first: int, last: int, error: csv.Error) -> BadRecord:
    reason = f"not a row: {error}"
    if last > first:
        reason += f" (a quote opened on line {first} swallowed the lines up to {last})"
    hint = 'write a quote inside a quoted field twice, "", and close every quoted field'
    return BadRecord(source.name, first, reason, hint)


class CsvWriter(Writer):
    """Writes a row for each annotation, in the order of the text's layers.

    The columns are document (the id), layer, label, start, end, text and score; docs/formats.md
    says what they hold for each layer. Other fields have no place and are left out, with one
    warning.
    """

    name = "csv"
    suffixes = (".csv",)
    summary = "an annotation a row"
    delimiter: ClassVar[str] = ","

    def __init__(self) -> None:
        self._has_warned = False

    def header(self) -> bytes:
        """Return the row that names the columns."""
        return self._encode([COLUMNS])

    def encode(self, documents: Iterable[Document]) -> bytes:
        """Return a row for each annotation of the documents."""
        rows: list[Row] = []
        for document in documents:
            rows += annotation_rows(document)
            if not self._has_warned and (lost := left_out(document)):
                self._has_warned = True
                message = "%s holds an annotation a row; left out: %s (jsonl and parquet hold all)"
                log.warning(message, self.name, ", ".join(lost))
        return self._encode(rows)

    def _encode(self, rows: Iterable[Iterable[object]]) -> bytes:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=self.delimiter, lineterminator="\n").writerows(rows)
        return buffer.getvalue().encode()


class TsvWriter(CsvWriter):
    """Writes a row for each annotation, columns parted by tabs."""

    name = "tsv"
    suffixes = (".tsv",)
    delimiter = "\t"
