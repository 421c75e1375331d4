"""Lines of a text input, decoded one by one so that a bad one does not hide the others."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..errors import DataError, UsageError
from ..sources import BadRecord, ReadOptions, Source

RAW_CHARACTERS: Final = 200
"""How much of a bad record its report shows."""


class Line(NamedTuple):
    """A line without its line end; with a problem, `text` is only what could be decoded."""

    number: int
    text: str
    problem: BadRecord | None = None


def read_lines(source: Source, options: ReadOptions) -> Iterator[Line]:
    r"""Yield the lines of an input; they end at "\n" or "\r\n" and at nothing else.

    A byte order mark is taken off the first one. Damaged compressed data and a failing disk
    end the lines with one that has a problem.
    """
    check_encoding(options.encoding)
    number = 0
    try:
        with source.open() as file:
            for data in file:
                if number == 0:
                    check_mark(data, options.encoding)
                number += 1
                yield _line(source, number, data, options.encoding)
    except (DataError, OSError) as error:
        yield Line(number + 1, "", bad_input(source, number + 1, error))


def _line(source: Source, number: int, data: bytes, encoding: str) -> Line:
    if data.endswith(b"\n"):
        data = data[:-2] if data.endswith(b"\r\n") else data[:-1]
    problem = None
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        text = data.decode(encoding, "replace")
        problem = bad_encoding(source, number, error, text)
    return Line(number, text.removeprefix("\ufeff") if number == 1 else text, problem)


def check_mark(data: bytes, encoding: str) -> None:
    """Raise DataError for an input whose byte order mark is that of UTF-16 or UTF-32."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        is_wide = data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE))
        name = "UTF-32" if is_wide else "UTF-16"
        raise DataError(
            f"not {encoding} but {name}, by its byte order mark",
            hint=f"convert the file first: iconv -f {name} -t UTF-8 FILE",
        )


def check_encoding(encoding: str) -> None:
    """Raise UsageError for an encoding that is unknown, or whose line ends are not one byte."""
    try:
        line_end = "\n".encode(codecs.lookup(encoding).name)
    except LookupError:
        line_end = b""
    if line_end != b"\n":
        raise UsageError(
            f"--encoding {encoding}: "
            + ("cannot be read line by line" if line_end else "no such encoding"),
            hint="convert the file first: iconv -f ENCODING -t UTF-8 FILE",
        )


def bad_encoding(source: Source, number: int, error: UnicodeDecodeError, text: str) -> BadRecord:
    """Return the record of a line that is not in the encoding."""
    byte = error.object[error.start]
    return BadRecord(
        source.name,
        number,
        f"not {error.encoding}: byte 0x{byte:02x} at position {error.start} of the line",
        "name the file's encoding with --encoding, for example latin-1",
        text[:RAW_CHARACTERS],
    )


def bad_input(source: Source, number: int, error: DataError | OSError) -> BadRecord:
    """Return the record of an input that cannot be read from this line on."""
    if isinstance(error, DataError):
        return BadRecord(source.name, number, error.message, error.hint)
    return BadRecord(source.name, number, f"cannot be read: {error.strerror or error}")


def bad_record(source: Source, number: int, error: DataError, raw: str) -> BadRecord:
    """Return the record of a line whose content cannot be used."""
    return BadRecord(source.name, number, error.message, error.hint, raw[:RAW_CHARACTERS])
