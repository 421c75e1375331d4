"""Where input comes from: a file, stdin, or a text given on the command line."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from .compression import N_MAGIC, compression_of, compression_of_bytes, decompress
from .errors import DataError


class FileSource:
    """A file, decompressed by its suffix; its name is the path as the user wrote it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._raw: BinaryIO | None = None

    def __repr__(self) -> str:
        return f"FileSource({self._path!r})"

    @property
    def name(self) -> str:
        """The path."""
        return self._path

    @property
    def size(self) -> int | None:
        """The bytes on disk; None when there is no such file."""
        try:
            return os.stat(self._path).st_size
        except OSError:
            return None

    @property
    def position(self) -> int:
        """How many bytes have been read from the disk."""
        if self._raw is None:
            return 0
        return (self.size or 0) if self._raw.closed else self._raw.tell()

    def open(self) -> BinaryIO:
        """Open from the start; DataError when the file is gone or may not be read."""
        try:
            self._raw = open(self._path, "rb")  # noqa: SIM115
        except OSError as error:
            raise DataError(
                f"{self._path}: cannot be read: {error.strerror}",
                hint="it was there when the run began"
                if isinstance(error, FileNotFoundError)
                else "check its permissions",
            ) from error
        compression = compression_of(self._path)
        if not compression:
            return self._raw
        if self.size == 0:
            self._raw.close()
            raise DataError(
                f"{self._path}: an empty file is no {compression[1:]} data",
                hint="the file is cut off: copy or download it again",
            )
        return decompress(self._raw, compression, self._path)


class StdinSource:
    """Standard input, decompressed by its first bytes. It can be opened once."""

    name = "<stdin>"
    size = None

    def __init__(self, stream: BinaryIO) -> None:
        self._stream: Prefixed | None = Prefixed(b"", stream)
        self._counted = self._stream

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return self._counted.n_read

    def open(self) -> BinaryIO:
        """Open; DataError when that was done before."""
        stream, self._stream = self._stream, None
        if stream is None:
            raise DataError(
                "<stdin>: can be read only once", hint="save it in a file and name that"
            )
        buffered = io.BufferedReader(stream)
        head = buffered.read(N_MAGIC)
        whole = io.BufferedReader(Prefixed(head, buffered))
        compression = compression_of_bytes(head)
        return decompress(whole, compression, self.name) if compression else whole


class TextSource:
    """A text as an input of its own."""

    name = "<text>"

    def __init__(self, text: str) -> None:
        self._data = text.encode()
        self.position = 0

    @property
    def size(self) -> int | None:
        """The bytes of the text in UTF-8."""
        return len(self._data)

    def open(self) -> BinaryIO:
        """Open from the start."""
        self.position = len(self._data)
        return io.BytesIO(self._data)


class Prefixed(io.RawIOBase):
    """Bytes that were read ahead, then the rest of the stream, which stays open at the end."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream
        self.n_read = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what is there, at most once from the stream."""
        size = len(buffer)
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
        else:
            # A BytesIO or a pipe's buffer has read1; a raw stream's read is the same.
            data = getattr(self._stream, "read1", self._stream.read)(size) or b""
        buffer[: len(data)] = data
        self.n_read += len(data)
        return len(data)
