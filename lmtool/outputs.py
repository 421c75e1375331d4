"""Where a run writes: a file that can be resumed, a folder or table, or a stream."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from .compression import compress, compression_of
from .documents import Document
from .errors import LmtoolError, PluginError, UsageError
from .journal import FileOutput, Output, State, disk_errors, is_device, write_all
from .sources import PathWriter, Writer

__all__ = ["Output", "open_output"]


def open_output(
    output: Path | BinaryIO,
    writer: Writer | PathWriter,
    errors: Path | None,
    *,
    resume: bool,
    inputs: Sequence[str],
) -> Output:
    """Return the kind of output that is meant, after checking that it harms none of the inputs.

    Nothing is created before `Output.begin`. UsageError for what cannot be.
    """
    is_stream = not isinstance(output, Path) or is_device(output)
    if resume and (is_stream or isinstance(writer, PathWriter)):
        what = "a stream" if is_stream else f"the format {writer.name!r}"
        raise UsageError(
            f"--resume does not work with {what}", hint="write jsonl to a file: -o FILE.jsonl"
        )
    if not isinstance(output, Path) or is_stream:
        if isinstance(writer, PathWriter):
            raise UsageError(
                f"the format {writer.name!r} cannot be written to a stream",
                hint="name an output with -o",
            )
        errors = errors and _followed(errors)
        _check_paths(None, errors, inputs)
        return StreamOutput(output, writer, errors)
    path = _followed(output)
    errors = _followed(errors or path.with_name(path.name + ".errors.jsonl"))
    _check_paths(path, errors, inputs)
    if isinstance(writer, PathWriter):
        return PathOutput(path, writer, errors)
    return FileOutput(path, writer, errors, resume=resume)


def _followed(path: Path) -> Path:
    """Return what a link leads to, so that the link stays; a device is left as it is named."""
    return path.resolve() if path.is_symlink() and not is_device(path) else path


def _check_paths(path: Path | None, errors: Path | None, inputs: Sequence[str]) -> None:
    """Refuse places that cannot be written, and those that are inputs."""
    names = []
    if path is not None:
        if path.is_dir():
            hint = "name a file in it, or a new folder for brat"
            raise UsageError(f"{path}: is a folder", hint=hint)
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}", hint="mkdir it first")
        names = [path, *(path.with_name(path.name + end) for end in (".partial", ".progress"))]
    if errors is not None and not is_device(errors):
        if errors.resolve() in {name.resolve() for name in names} or errors.is_dir():
            hint = "choose another --errors"
            raise UsageError(f"{errors}: the errors cannot go there", hint=hint)
        if not errors.parent.is_dir():
            raise UsageError(f"{errors}: there is no folder {errors.parent}", hint="mkdir it first")
        names.append(errors)
    written = {}
    for name in names:
        with contextlib.suppress(OSError):
            found = name.stat()
            written[found.st_dev, found.st_ino] = name
    for item in inputs if written else ():
        with contextlib.suppress(OSError):
            found = os.stat(item)
            if (found.st_dev, found.st_ino) in written:
                name = written[found.st_dev, found.st_ino]
                raise UsageError(
                    f"{name}: would be written over, but it is the input {item}",
                    hint="choose another output with -o",
                )


class _ErrorsFile:
    """The errors file of an output without a journal; one that is a device is appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Create or empty it."""
        with disk_errors(self._path):
            self._file = self._path.open("ab" if is_device(self._path) else "wb", buffering=0)

    def write(self, data: bytes) -> None:
        """Append lines."""
        if self._file is not None:
            with disk_errors(self._path, "make room and start again"):
                write_all(self._file, data)

    def close(self) -> None:
        """Close it."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Remove it: there were no errors."""
        self.close()
        if not is_device(self._path):
            self._path.unlink(missing_ok=True)


class StreamOutput(Output):
    """Writes to stdout, or to a pipe or device; errors go to a file, or to the log."""

    def __init__(self, output: BinaryIO | Path, writer: Writer, errors: Path | None) -> None:
        self._output = output
        self._stream: BinaryIO
        self._writer = writer
        self._name = str(output) if isinstance(output, Path) else "<stdout>"
        self._compression = compression_of(self._name)
        self.has_errors_file = errors is not None
        self._errors = _ErrorsFile(errors) if errors is not None else None

    def begin(self, fingerprint: Mapping[str, str]) -> State:
        """Write the header."""
        if isinstance(self._output, Path):
            with disk_errors(self._output):
                self._stream = self._output.open("ab")
        else:
            self._stream = self._output
        if self._errors is not None:
            self._errors.open()
        self._write(self._writer.header())
        return State()

    def encode(self, documents: Sequence[Document]) -> bytes:
        """Return the bytes of the documents."""
        return self._writer.encode(documents)

    def commit(self, encoded: bytes, errors: bytes, state: State) -> None:
        """Write and flush."""
        self._write(encoded)
        if self._errors is not None:
            self._errors.write(errors)

    def finish(self, state: State) -> None:
        """Write the footer; an errors file without errors is removed."""
        self._write(self._writer.footer())
        self.close()
        if self._errors is not None and not state.failed:
            self._errors.remove()

    def close(self) -> None:
        """Close the files; a stream that was given is the caller's."""
        if self._errors is not None:
            self._errors.close()
        if isinstance(self._output, Path) and hasattr(self, "_stream"):
            self._stream.close()

    def _write(self, data: bytes) -> None:
        with disk_errors(self._name, hint="send the output elsewhere"):
            if data:
                self._stream.write(compress(data, self._compression))
            self._stream.flush()


class PathOutput(Output):
    """Writes a folder, or a table with an index at its end; it cannot be resumed."""

    def __init__(self, path: Path, writer: PathWriter, errors: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._errors = _ErrorsFile(errors)
        self._writer = writer
        self._stack = contextlib.ExitStack()
        self._write: Callable[[Sequence[Document]], None]

    def begin(self, fingerprint: Mapping[str, str]) -> State:
        """Create it under a temporary name."""
        with disk_errors(self._path):
            if self._partial.is_dir():
                shutil.rmtree(self._partial)
            self._partial.unlink(missing_ok=True)
            self._errors.open()
            self._stack.callback(self._errors.close)
            self._write = self._stack.enter_context(self._writer.open(self._partial))
        return State()

    def encode(self, documents: Sequence[Document]) -> bytes:
        """Write the documents at once: without a journal there is nothing to keep in step."""
        with disk_errors(self._path, "make room and start again"):
            try:
                self._write(documents)
            except (LmtoolError, OSError, MemoryError):
                raise
            except Exception as error:  # who knows how many of the documents are written
                raise PluginError(
                    f"the writer {self._writer.name!r} failed: {type(error).__name__}: {error}",
                    hint="this is a bug in the writer; --debug shows the traceback",
                ) from error
        return b""

    def commit(self, encoded: bytes, errors: bytes, state: State) -> None:
        """Write the errors of a chunk."""
        self._errors.write(errors)

    def finish(self, state: State) -> None:
        """Write the end and give it its name."""
        with disk_errors(self._path, "remove what is in the way and start again"):
            self.close()
            os.replace(self._partial, self._path)
            if not state.failed:
                self._errors.remove()

    def close(self) -> None:
        """Close it; what is not finished stays under its temporary name."""
        self._stack.close()
