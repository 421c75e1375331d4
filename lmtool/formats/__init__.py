"""File formats: which reader and which writer a name or a suffix means.

The formats of the core are looked up first; plugins are loaded only for what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ..compression import compression_of, format_suffix
from ..errors import PluginError, UsageError
from ..sources import PathWriter, Reader, Writer
from ..views import HtmlWriter, TextWriter
from .brat import BratReader, BratWriter
from .columns import ConllReader, ConllWriter
from .jsonl import JsonlReader, JsonlWriter
from .parquet import ParquetReader, ParquetWriter
from .table import CsvReader, CsvWriter, TsvReader, TsvWriter
from .text import TxtReader, TxtWriter

__all__ = [
    "PATH_WRITERS",
    "READERS",
    "WRITERS",
    "has_reader",
    "reader_for",
    "writer_for",
]

READERS: Final[list[type[Reader]]] = [
    JsonlReader,
    TxtReader,
    CsvReader,
    TsvReader,
    ParquetReader,
    ConllReader,
    BratReader,
]
WRITERS: Final[list[type[Writer]]] = [
    JsonlWriter,
    TxtWriter,
    CsvWriter,
    TsvWriter,
    ConllWriter,
    TextWriter,
    HtmlWriter,
]
PATH_WRITERS: Final[list[type[PathWriter]]] = [ParquetWriter, BratWriter]

_Format = TypeVar("_Format", bound=Reader | Writer | PathWriter)


def reader_for(path: str, name: str | None = None) -> Reader:
    """Return the reader of the format `name`, or of the path's suffix ("a.conll.gz": conll).

    An unknown one is a UsageError that lists the formats.
    """
    found = _find(READERS, _all_readers, path, name)
    if found is None:
        raise _unknown(path, name, "--input-format", _all_readers())
    return found()


def has_reader(path: str) -> bool:
    """Whether the suffix of the path names a format that can be read."""
    return _find(READERS, _all_readers, path, None) is not None


def writer_for(
    path: str | None = None, name: str | None = None, *, whole_file: bool = False
) -> Writer | PathWriter:
    """Return the writer of the format `name`, or of the path's suffix; with neither, jsonl.

    With `whole_file` texts are written as txt whole, not one a line. An unknown format is a
    UsageError that lists the formats.
    """
    if path is None and name is None:
        return JsonlWriter()
    own: list[type[Writer | PathWriter]] = [*WRITERS, *PATH_WRITERS]
    found = _find(own, _all_writers, path or "", name)
    if found is None:
        raise _unknown(path or "", name, "--format", _all_writers())
    if issubclass(found, PathWriter) and path and compression_of(path):
        raise UsageError(
            f"{path}: the format {found.name!r} cannot be written compressed",
            hint=f"leave {compression_of(path)} away",
        )
    return TxtWriter(whole_file=True) if whole_file and found is TxtWriter else found()


def _find(
    own: Sequence[type[_Format]],
    everything: Callable[[], Sequence[type[_Format]]],
    path: str,
    name: str | None,
) -> type[_Format] | None:
    """Look among the core's own formats, then among those of all plugins."""
    found = _matching(own, path, name) or _matching(everything(), path, name)
    if len(found) > 1:
        raise PluginError(
            f"{name or format_suffix(path)!r} means two formats: "
            + " and ".join(f"{f.name} ({f.__module__}.{f.__qualname__})" for f in found),
            hint="uninstall one of the plugins, or name the format with --input-format or --format",
        )
    return found[0] if found else None


def _matching(formats: Sequence[type[_Format]], path: str, name: str | None) -> list[type[_Format]]:
    if name is not None:
        return [f for f in formats if f.name == name]
    return [f for f in formats if format_suffix(path) in f.suffixes]


def _all_readers() -> list[type[Reader]]:
    from ..plugins import registry

    registry().load_all()
    return registry().readers()


def _all_writers() -> list[type[Writer | PathWriter]]:
    from ..plugins import registry

    registry().load_all()
    return [*registry().writers(), *PATH_WRITERS]


def _unknown(
    path: str, name: str | None, flag: str, formats: Sequence[type[Reader | Writer | PathWriter]]
) -> UsageError:
    table = ", ".join(f"{f.name} ({' '.join(f.suffixes)})".replace(" ()", "") for f in formats)
    if name is not None:
        return UsageError(f"{flag} {name}: no such format", hint=f"the formats are: {table}")
    suffix = format_suffix(path)
    what = f"the suffix {suffix!r} names no format" if suffix else "it has no suffix of a format"
    return UsageError(
        f"{path}: {what}",
        hint=f"name it, as {flag} txt; the formats are: {table} (each also .gz, .zst, .xz)",
    )
