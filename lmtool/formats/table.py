"""CSV and TSV: in, a document a row; out, an annotation a row."""

from __future__ import annotations

import csv
import io
import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import ClassVar

from ..documents import LAYERS, Document, document_from_record
from ..errors import DataError
from ..sources import BadRecord, Reader, ReadOptions, Source, Writer
from .lines import bad_record, read_lines
from .rows import COLUMNS, Row, annotation_rows, has_annotations, left_out

log = logging.getLogger("lmtool")

MAX_FIELD = 1 << 26
"""The longest field in characters: it bounds what a quote that is never closed can swallow."""


class CsvReader(Reader):
    """Reads a document a row; the first row names the columns.

    The column of `text_field` is the text, `id` is the id, the others are passed through as
    strings. A quoted field may hold line ends. Blank lines are skipped. Columns may be parted by
    semicolons, where only so the first row has the column of the text.
    """

    name = "csv"
    suffixes = (".csv",)
    summary = "a document a row, columns named in the first one"
    delimiters: ClassVar[str] = ",;"

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
                if problem := _header_problem(self._seen(columns), options.text_field):
                    yield bad_record(source, number, problem, self.delimiters[0].join(row))
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
        found = lines()
        first_line = next(found, "")
        delimiter = self._delimiter(first_line, options.text_field)
        reader = csv.reader(itertools.chain([first_line], found), delimiter=delimiter, strict=True)
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

    def _seen(self, columns: list[str]) -> list[str]:
        """Return the columns that somebody sees who reads the header."""
        return columns[0].split(self.delimiters[-1]) if len(columns) == 1 else columns

    def _delimiter(self, header: str, text_field: str) -> str:
        """Return the first delimiter that gives the header the column of the text."""
        for delimiter in self.delimiters:
            if text_field in next(csv.reader([header], delimiter=delimiter), ()):
                return delimiter
        return self.delimiters[0]

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
        return bad_record(source, number, error, self.delimiters[0].join(row))


class TsvReader(CsvReader):
    """Reads a document a row, columns parted by tabs; quotes mean what they mean in CSV."""

    name = "tsv"
    suffixes = (".tsv",)
    delimiters = "\t"


def _header_problem(columns: list[str], text_field: str) -> DataError | None:
    if text_field not in columns:
        return DataError(
            f"no column {text_field!r} (it has: {', '.join(columns)})",
            hint="choose the column that holds the text with --text-field NAME; lmtool data "
            "convert does so for gold",
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
    warning; a document without any layer is an error.
    """

    name = "csv"
    suffixes = (".csv",)
    summary = "an annotation a row"
    delimiter: ClassVar[str] = ","

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def header(self) -> bytes:
        """Return the row that names the columns."""
        return self._encode([COLUMNS])

    def encode(self, documents: Iterable[Document]) -> bytes:
        """Return a row for each annotation; DataError for a document that nothing annotates."""
        rows: list[Row] = []
        nameless = 0
        for document in documents:
            own = list(annotation_rows(document))
            if not own and not has_annotations(document):
                raise DataError(
                    f"nothing to write: {self.name} holds an annotation a row, and no text",
                    hint="write JSON Lines (--format jsonl) or parquet, which hold all",
                )
            rows += own
            nameless += bool(own) and document.id is None
            if lost := left_out(document):
                message = "%s holds an annotation a row; left out: %s (jsonl and parquet hold all)"
                self._warn_once("fields", message, self.name, ", ".join(lost))
        if nameless > 1:
            message = "documents without an id: in %s their rows cannot be told apart"
            self._warn_once("ids", message, self.name)
        return self._encode(rows)

    def _warn_once(self, about: str, message: str, *arguments: object) -> None:
        if about not in self._warned:
            self._warned.add(about)
            log.warning(message, *arguments)

    def _encode(self, rows: Iterable[Iterable[object]]) -> bytes:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=self.delimiter, lineterminator="\n").writerows(rows)
        return buffer.getvalue().encode()


class TsvWriter(CsvWriter):
    """Writes a row for each annotation, columns parted by tabs."""

    name = "tsv"
    suffixes = (".tsv",)
    delimiter = "\t"
