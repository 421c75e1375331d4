"""Compressed files: .gz, .zst and .xz, known by suffix or by their first bytes.

What is written is a row of members (frames), one for each piece, so that a file can be cut off
after any of them. What is read is checked: a file that ends too early is an error.
"""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import BinaryIO, Final, Protocol

from .errors import DataError

SUFFIXES: Final = (".gz", ".zst", ".xz")
N_MAGIC: Final = 6
"""How many bytes `compression_of_bytes` needs."""

_MAGIC: Final = ((b"\x1f\x8b", ".gz"), (b"\x28\xb5\x2f\xfd", ".zst"), (b"\xfd7zXZ\0", ".xz"))
_BUFFER: Final = 1 << 18
_ZSTD_INPUT: Final = 1 << 14  # a piece of input becomes one piece of output, whatever its size


def compression_of(name: str) -> str:
    """Return the suffix of the compression that a file name shows, or ""."""
    suffix = PurePath(name).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def format_suffix(name: str) -> str:
    """Return the suffix that shows the format: ".jsonl" for "a.jsonl" and "a.jsonl.gz"."""
    path = PurePath(name)
    return PurePath(path.stem if compression_of(name) else path.name).suffix.lower()


def compression_of_bytes(head: bytes) -> str:
    """Return the suffix of the compression that the first bytes of a stream show, or ""."""
    return next((suffix for magic, suffix in _MAGIC if head.startswith(magic)), "")


def compress(data: bytes, compression: str) -> bytes:
    """Return the data as one member; the same data gives the same bytes."""
    if compression == ".gz":
        return gzip.compress(data, compresslevel=6, mtime=0)
    if compression == ".xz":
        return lzma.compress(data, preset=3)
    if compression == ".zst":
        import zstandard

        return zstandard.ZstdCompressor(level=3).compress(data)
    return data


def decompress(raw: BinaryIO, compression: str, name: str) -> BinaryIO:
    """Return a stream of the decompressed bytes, which cannot seek.

    Reading raises a DataError that names the input and the place when the data is damaged or
    ends too early. Closing the stream closes `raw`.
    """
    return io.BufferedReader(_Decompressed(raw, compression, name), _BUFFER)


class _Pieces(Protocol):
    def read1(self, size: int = -1, /) -> bytes: ...


class _ZstdFrames:
    """Reads zstd frames; the package's own stream readers take a cut-off frame for the end."""

    def __init__(self, raw: BinaryIO) -> None:
        self._pieces = self._read(raw)
        self._rest = b""

    def read1(self, size: int = -1, /) -> bytes:
        data = self._rest or next(self._pieces, b"")
        self._rest = data[size:] if size >= 0 else b""
        return data[:size] if size >= 0 else data

    @staticmethod
    def _read(raw: BinaryIO) -> Iterator[bytes]:
        import zstandard

        decompressor = zstandard.ZstdDecompressor()
        frame = None
        while data := raw.read(_ZSTD_INPUT):
            while data:
                frame = frame or decompressor.decompressobj()
                if piece := _zstd_step(frame, data):
                    yield piece
                data = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
        if frame is not None:
            raise EOFError("the last frame is cut off")


def _zstd_step(frame: object, data: bytes) -> bytes:
    import zstandard

    try:
        piece: bytes = frame.decompress(data)  # type: ignore[attr-defined]
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from error
    return piece


class _Decompressed(io.RawIOBase):
    def __init__(self, raw: BinaryIO, compression: str, name: str) -> None:
        self._raw = raw
        self._name = name
        self._kind = compression[1:]
        self._n_bytes = 0
        self._pieces: _Pieces
        if compression == ".gz":
            self._pieces = gzip.GzipFile(fileobj=raw)
        elif compression == ".xz":
            self._pieces = lzma.LZMAFile(raw)  # noqa: SIM115
        else:
            self._pieces = _ZstdFrames(raw)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._pieces.read1(len(buffer))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise DataError(
                f"{self._name}: damaged {self._kind} data after {self._n_bytes:,} bytes of "
                f"content: {error}",
                hint="the file is cut off or broken: copy or download it again",
            ) from error
        buffer[: len(data)] = data
        self._n_bytes += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
