"""A file that a killed run can go on with, and the journal beside it.

A file is written as FILE.partial and renamed at its end. FILE.progress, the journal, says after
each chunk how far the run has come and how long its files were then. The order of the steps is
such that a process killed between any two of them can go on: a journal never speaks of bytes
that are not written, and what is written after it is cut off again.

    begin:   create FILE.partial → remove the old journal → empty the files → header → journal
    commit:  append to FILE.partial and the errors file → journal (written aside, renamed)
    finish:  footer → journal that says so → remove an empty errors file → rename → remove journal

A lock on FILE.partial, which ends with the process, keeps a second run away until the end. An
errors file that is a device is only ever appended to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from .compression import compress, compression_of
from .documents import Document
from .errors import UsageError
from .sources import Writer

FSYNC_SECONDS: Final = 5.0
"""How often files are forced to the disk: what a power cut, not a kill, can cost."""

AGAIN: Final = "make room, then go on with --resume"
log = logging.getLogger("lmtool")


class State(msgspec.Struct, kw_only=True):
    """How far a run has come: what the journal holds."""

    input: int = 0
    """The input that is being read, from 0."""
    record: int = 0
    """How many of its records, good and bad ones, are done."""
    documents: int = 0
    failed: int = 0
    characters: int = 0
    output_bytes: int = 0
    errors_bytes: int = 0
    is_finished: bool = False
    bytes_left: int = 0
    """The sizes of the inputs that are not done, `input` and the ones after it, together."""
    fingerprint: dict[str, str] = {}


def begun_with(path: Path) -> Mapping[str, str]:
    """Return the fingerprint of the unfinished run that writes a file; {} where there is none."""
    try:
        return msgspec.json.decode(_journal_of(path.resolve()).read_bytes(), type=State).fingerprint
    except (OSError, msgspec.DecodeError):
        return {}


def _journal_of(path: Path) -> Path:
    return path.with_name(path.name + ".progress")


class Output(ABC):
    """The documents and errors of a run, written chunk by chunk."""

    is_complete = False
    """Whether there is nothing to do: an earlier run has ended."""
    has_errors_file = True
    """Whether errors have a place; else the run logs them."""

    @abstractmethod
    def begin(self, fingerprint: Mapping[str, str]) -> State:
        """Open, and return where the run starts or goes on."""

    @abstractmethod
    def encode(self, documents: Sequence[Document]) -> bytes:
        """Return the documents for `commit`; DataError if one of them cannot be written."""

    @abstractmethod
    def commit(self, encoded: bytes, errors: bytes, state: State) -> None:
        """Write a chunk; afterwards a resumed run starts behind it."""

    @abstractmethod
    def finish(self, state: State) -> None:
        """Write the end, and give the files their names."""

    def close(self) -> None:  # noqa: B027
        """Close what is open; what was committed stays."""


class FileOutput(Output):
    """Writes a file that a killed run can go on with."""

    def __init__(self, path: Path, writer: Writer, errors: Path, *, resume: bool) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._journal = _journal_of(path)
        self._errors_path = errors
        self._has_device = is_device(errors)
        self._writer = writer
        self._compression = compression_of(path.name)
        self._resume = resume
        self._files: list[BinaryIO] = []
        self._fingerprint: dict[str, str] = {}
        self._synced = time.monotonic()

    def begin(self, fingerprint: Mapping[str, str]) -> State:
        """Start over, or with `resume` go on where the journal says."""
        self._fingerprint = dict(fingerprint)
        state = self._last_state()
        if self.is_complete:
            return state or State(is_finished=True, failed=self._n_errors())
        self._open()
        if state is not None and self._cut_back(state):
            return state
        with disk_errors(self._journal):
            self._journal.unlink(missing_ok=True)
        for file, path in self._sized():
            with disk_errors(path):
                file.truncate(0)
        state = State(fingerprint=self._fingerprint)
        self.commit(self._writer.header(), b"", state)
        return state

    def _last_state(self) -> State | None:
        """Return where the last run stood; None means start over."""
        has_partial = self._partial.exists()
        state = self._read_journal()
        if not self._resume:
            if has_partial and state is not None and state.documents:
                log.warning(
                    "%s: an unfinished run of %s documents is started over; --resume goes on",
                    self._partial,
                    f"{state.documents:,}",
                )
            return None
        if has_partial:
            self._check_fingerprint(state)
            return state
        if self._path.exists() and (state is None or state.is_finished):
            self.is_complete = True
            self._journal.unlink(missing_ok=True)
            if state is not None and not state.failed:
                self._remove_errors()
            return state
        if state is not None:
            log.warning("%s is gone: the run is started over", self._partial)
        return None

    def _read_journal(self) -> State | None:
        try:
            return msgspec.json.decode(self._journal.read_bytes(), type=State)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            if self._resume:
                message = "%s cannot be read (%s): the run is started over"
                log.warning(message, self._journal, error)
            return None

    def _check_fingerprint(self, state: State | None) -> None:
        if state is None or state.fingerprint == self._fingerprint:
            return
        old, new = state.fingerprint, self._fingerprint
        changes = [
            f"{key} was {old.get(key, 'not set')}, is now {new.get(key, 'not set')}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
        raise UsageError(
            f"--resume: {self._partial} was begun otherwise: {'; '.join(changes)}",
            hint="repeat the command as it was, or leave --resume away to start over",
        )

    def _open(self) -> None:
        paths = (self._partial, self._errors_path)
        created = [path for path in paths if not path.exists()]
        try:
            for path in paths:
                with disk_errors(path):
                    self._files.append(_open_to_write(path))
            _lock(self._files[0], self._partial)
        except UsageError:
            self.close()
            for path in created:
                path.unlink(missing_ok=True)
            raise

    def _sized(self) -> list[tuple[BinaryIO, Path]]:
        """Return the files that can be cut and forced to the disk, which a device cannot."""
        both = list(zip(self._files, (self._partial, self._errors_path), strict=True))
        return both[:1] if self._has_device else both

    def _n_errors(self) -> int:
        """Return how many records are in the errors file."""
        if self._has_device:
            return 0
        try:
            with self._errors_path.open("rb") as file:
                return sum(1 for _ in file)
        except OSError:
            return 0

    def _remove_errors(self) -> None:
        if not self._has_device:
            self._errors_path.unlink(missing_ok=True)

    def _cut_back(self, state: State) -> bool:
        """Shorten the files to what the journal says; False when they are shorter already."""
        sizes = (state.output_bytes, state.errors_bytes)
        for (file, _), size in zip(self._sized(), sizes, strict=False):
            if os.fstat(file.fileno()).st_size < size:
                message = "%s says more than the files hold: the run is started over"
                log.warning(message, self._journal)
                return False
        for (file, path), size in zip(self._sized(), sizes, strict=False):
            with disk_errors(path, AGAIN):
                file.truncate(size)
                file.seek(size)
        return True

    def encode(self, documents: Sequence[Document]) -> bytes:
        """Return the bytes of the documents."""
        return self._writer.encode(documents)

    def commit(self, encoded: bytes, errors: bytes, state: State) -> None:
        """Append, then say so in the journal."""
        data = compress(encoded, self._compression) if encoded else b""
        for file, piece, path in zip(
            self._files, (data, errors), (self._partial, self._errors_path), strict=True
        ):
            with disk_errors(path, AGAIN):
                write_all(file, piece)
        state.output_bytes += len(data)
        state.errors_bytes += len(errors)
        if time.monotonic() - self._synced > FSYNC_SECONDS:
            self._sync()
        self._write_journal(state)

    def finish(self, state: State) -> None:
        """Write the footer and give the file its name."""
        if not state.is_finished:
            footer = self._writer.footer()
            if footer or not state.output_bytes:  # a compressed file has at least one member
                data = compress(footer, self._compression)
                with disk_errors(self._partial, AGAIN):
                    write_all(self._files[0], data)
                state.output_bytes += len(data)
            state.is_finished = True
            self._sync()
            self._write_journal(state)
        if os.name == "nt":  # there is no lock there, and an open file cannot be renamed
            self.close()
        if not state.failed:
            self._remove_errors()
        with disk_errors(self._path, "remove what is in the way, then go on with --resume"):
            os.replace(self._partial, self._path)
            self._journal.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _sync(self) -> None:
        for file, path in self._sized():
            with disk_errors(path, AGAIN):
                os.fsync(file.fileno())
        self._synced = time.monotonic()

    def _write_journal(self, state: State) -> None:
        aside = self._journal.with_name(self._journal.name + ".new")
        with disk_errors(self._journal, AGAIN):
            aside.write_bytes(msgspec.json.encode(state))
            os.replace(aside, self._journal)


@contextlib.contextmanager
def disk_errors(path: str | Path, hint: str = "") -> Iterator[None]:
    """Turn what the operating system refuses into a UsageError that names the path."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint=hint or "choose another place with -o",
        ) from error


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of the data to an unbuffered file, which may take it in pieces."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]


def is_device(path: Path) -> bool:
    """Whether this is /dev/null, a pipe, or another name of a stream: not to be replaced."""
    if str(path).startswith(("/dev/fd/", "/dev/std", "/proc/")):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _open_to_write(path: Path) -> BinaryIO:
    """Open at the start, or a device at its end, without emptying: a journal may still stand."""
    if is_device(path):
        return path.open("ab", buffering=0)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep a second run from writing the same file; the lock ends with the process.

    A file that got its name while this run was opening it is the other run's result by now.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        is_ours = False
    except OSError:
        log.debug("%s: this file system has no locks", path)
        return
    else:
        is_ours = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
    if not is_ours:
        raise UsageError(
            f"{path}: another run is writing this file",
            hint="wait for it, or choose another name with -o",
        )
