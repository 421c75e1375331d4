"""What the commands print with: messages on stderr, tables, and what the terminal can do."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from ..errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

_handlers: list[logging.Handler] = []


class _Handler(logging.Handler):
    """Prints the library's warnings on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        _message(record.levelname.lower(), record.getMessage())


def prepare_streams() -> None:
    """Make both streams UTF-8 whatever the locale, and send the library's log to stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    handler = _Handler()
    logging.getLogger("lmtool").addHandler(handler)
    _handlers.append(handler)


def reset_console() -> None:
    """Undo what `prepare_streams` did to the log."""
    while _handlers:
        logging.getLogger("lmtool").removeHandler(_handlers.pop())


def error(message: str, hint: str = "") -> None:
    """Print an error and what mends it."""
    _message("error", message, hint)


def note(message: str) -> None:
    """Print a line for the user on stderr, where it does not mix with data."""
    print(message, file=sys.stderr, flush=True)


def _message(kind: str, message: str, hint: str = "") -> None:
    if has_colour(sys.stderr):
        code = "31" if kind == "error" else "33"
        kind = f"\x1b[{code}m{kind}\x1b[0m"
    lines = [f"{kind}: {message}", *(f"  {line}" for line in hint.splitlines())]
    with contextlib.suppress(OSError, ValueError):  # a closed stderr: nowhere to say it
        note("\n".join(lines))


def stdin_bytes() -> BinaryIO | None:
    """Return stdin for data, or None where it is closed."""
    return sys.stdin.buffer if sys.stdin is not None else None


def stdout_bytes() -> BinaryIO:
    """Return stdout for data; UsageError where it is closed."""
    if sys.stdout is None:
        raise UsageError("stdout is closed", hint="name a file with -o FILE")
    return sys.stdout.buffer


def is_terminal(stream: TextIO | Any) -> bool:
    """Whether a stream is a terminal; a closed or missing one is not."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def has_colour(stream: TextIO | Any) -> bool:
    """Whether to colour: NO_COLOR and FORCE_COLOR decide first, then the terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") != "0":
        return True
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("dumb", "unknown")


def width() -> int:
    """Return the width of the terminal in columns; COLUMNS decides first."""
    return max(shutil.get_terminal_size().columns, 20)


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as aligned columns: numbers to the right, the last column not padded."""
    texts = [[str(title) for title in titles], *([str(cell) for cell in row] for row in rows)]
    widths = [max(_cells(row[i]) for row in texts) for i in range(len(titles))]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(titles))
    ]
    lines = []
    for row in texts:
        cells = []
        for text, size, is_number in zip(row, widths, numeric, strict=True):
            gap = " " * (size - _cells(text))
            cells.append(gap + text if is_number else text + gap)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


@contextlib.contextmanager
def progress_bar(*columns: str, hidden: bool = False) -> Iterator[Progress | None]:
    """Give a bar on stderr, or None where stderr is no terminal or `hidden` is set.

    `columns` are rich's formats of what stands after the bar, such as "{task.fields[rate]}".
    """
    if hidden or not is_terminal(sys.stderr) or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True, no_color=not has_colour(sys.stderr))
    texts = [TextColumn(column) for column in columns]
    with Progress(BarColumn(), *texts, console=console, transient=True) as bar:
        yield bar
