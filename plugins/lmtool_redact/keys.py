"""Key files: what each mask stands for, as JSON that only its owner can read.

A key is written whole beside its place, forced to the disk and renamed, so a process that is
killed leaves the old key or the new one.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

import lmtool

from .masks import Entry, Masks, Style

FORMAT: Final = 1


class Key(msgspec.Struct, kw_only=True):
    """The content of a key file: the style of its masks, and what each stands for."""

    format: int
    mask: str
    masks: dict[str, Entry]


def read_key(path: Path) -> Key | None:
    """Return what a key file holds, None where there is none; DataError for one that is no key."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise lmtool.UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        key = msgspec.json.decode(data, type=Key)
    except msgspec.DecodeError as error:
        raise lmtool.DataError(
            f"{path}: no key of lmtool redact: {error}",
            hint="name the file that lmtool redact --key wrote, or a new one",
        ) from error
    if key.format != FORMAT:
        raise lmtool.DataError(
            f"{path}: a key of format {key.format}, this lmtool knows {FORMAT}",
            hint="use the lmtool that wrote it",
        )
    return key


class KeyFile:
    """A key file that masks are added to, before anybody sees them."""

    def __init__(self, path: Path, style: Style) -> None:
        self.path = path.resolve()
        self.masks = Masks(style, is_exact=True)
        key = read_key(self.path)
        self._n_saved = -1
        if key is not None:
            if key.mask != style.template:
                raise lmtool.UsageError(
                    f"{path}: its masks look like {key.mask!r}, not {style.template!r}",
                    hint=f"say --mask {key.mask!r}, or name another key",
                )
            self.masks.take(key.masks.values())
            self._n_saved = len(key.masks)
        elif not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise lmtool.UsageError(
                f"{path}: cannot be written: {path.absolute().parent} is no folder to write to",
                hint="choose another place with --key",
            )
        self._stamp = self._stat()

    def save(self) -> None:
        """Write what is new; UsageError where another process has written to the file."""
        if len(self.masks.entries) == self._n_saved:
            return
        if self._stat() != self._stamp:
            raise lmtool.UsageError(
                f"{self.path}: another run has written to this key",
                hint="give each run a key of its own, or run them one after another",
            )
        key = Key(format=FORMAT, mask=self.masks.style.template, masks=self.masks.entries)
        write_private(self.path, msgspec.json.format(msgspec.json.encode(key), indent=1) + b"\n")
        self._n_saved = len(self.masks.entries)
        self._stamp = self._stat()

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def write_private(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, readable by its owner alone."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise lmtool.UsageError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="choose another place with --key",
        ) from error


def _sync_folder(folder: Path) -> None:
    """Force a rename to the disk, where the system can."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
