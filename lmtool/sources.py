"""Inputs and outputs as the contract sees them: sources, readers, writers, bad records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol

from .documents import Document


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How records become documents, the same for every reader."""

    text_field: str = "text"
    """The field or column that holds the text (jsonl, csv, tsv, parquet)."""
    whole_file: bool = False
    """Read a text file as one document (txt)."""
    encoding: str = "utf-8"
    token_column: int | None = None
    """The column of the token, from 0 (conll); by default the first sentence decides."""
    tag_column: int | None = None
    """The column of the tag, from 0, or from -1 at the end (conll)."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that could not be read: where it stands, why, and what it says (shortened)."""

    path: str
    line: int
    reason: str
    hint: str = ""
    raw: str = ""

    @property
    def where(self) -> str:
        """The place: the path, and the line where one is known."""
        return f"{self.path}:{self.line}" if self.line else self.path

    @property
    def message(self) -> str:
        """The place and the reason in one line, the path said once."""
        return f"{self.where}: {self.reason.removeprefix(f'{self.path}: ')}"


class Source(Protocol):
    """One input: a name for messages, and its decompressed bytes."""

    @property
    def name(self) -> str:
        """The path as the user wrote it, or "<stdin>"."""

    def open(self) -> BinaryIO:
        """Open for reading from the start; raises DataError when that is impossible."""

    @property
    def size(self) -> int | None:
        """Its bytes as they are stored (compressed), None when nobody knows."""

    @property
    def position(self) -> int:
        """How many of the stored bytes have been read: what a progress bar shows."""


class Reader(ABC):
    """Makes documents of one file format. Returned as a class by `lmtool_register_readers`."""

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    summary: ClassVar[str]
    line: int = 0
    """The line on which the record that was yielded last begins, set before it is yielded; 0 where
    the reader does not say. It places a document that the model cannot use."""

    @abstractmethod
    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        """Yield the records in order, a BadRecord for each that cannot be read, and go on.

        Memory must not grow with the file.
        """


class Writer(ABC):
    """Turns documents into bytes of one format. Returned by `lmtool_register_writers`.

    An output is `header()`, then `encode` of each chunk of documents, then `footer()`, so that
    a run can be cut off after any chunk and go on there. A writer keeps no more than what it has
    warned of.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    summary: ClassVar[str]

    def header(self) -> bytes:
        """Return what stands before the first document."""
        return b""

    @abstractmethod
    def encode(self, documents: Iterable[Document]) -> bytes:
        """Return the documents in this format."""

    def footer(self) -> bytes:
        """Return what stands after the last document."""
        return b""


class PathWriter(ABC):
    """Writes a format that is no stream of bytes: a folder, or a file with an index at its end.

    Such an output cannot be cut off and gone on with, so `--resume` does not work with it, and
    it cannot go to stdout.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    summary: ClassVar[str]

    @abstractmethod
    def open(self, path: Path) -> AbstractContextManager[Callable[[Sequence[Document]], None]]:
        """Create `path`, which does not exist, and give a function that writes documents.

        The function writes all of the documents or, when one has no place in the format,
        none: it raises DataError then, and is called with each of them alone.
        """
