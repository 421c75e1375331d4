"""How documents look to a reader: first plain data, passages with marks, then text or colours.

    Document ─view→ Passage* (a text and its marks) ─render→ "[Tim Cook PER] met …", or coloured

A layer gets its view by an entry in `VIEWS`. A plugin's own layer that is a list of spans with
labels is seen as marks; a document with nothing to see is its text.
"""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from .documents import Document, own_spans
from .sources import Writer


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled stretch of a passage, half-open."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with marks, which may overlap."""

    text: str
    marks: tuple[Mark, ...] = ()


def view(document: Document) -> list[Passage]:
    """Return what there is to see of a document: a passage or more for each layer with a view."""
    shown = [make(document) for name, make in VIEWS.items() if document.layer(name) is not None]
    shown += [[passage] for passage in _view_own(document)]
    return [passage for passages in shown for passage in passages] or [Passage(document.text)]


def _view_own(document: Document) -> Iterator[Passage]:
    """Yield a passage for each layer of a plugin's own that is a list of spans."""
    for _, spans in own_spans(document):
        marks = (Mark(span["start"], span["end"], str(span["label"])) for span in spans)
        yield Passage(document.text, tuple(marks))


def _view_entities(document: Document) -> list[Passage]:
    marks = tuple(Mark(e.start, e.end, e.label) for e in document.entities or ())
    return [Passage(document.text, marks)]


VIEWS: Final[dict[str, Callable[[Document], list[Passage]]]] = {"entities": _view_entities}
"""The view of each layer."""


class TextWriter(Writer):
    """Writes documents for people; without colours and width, as files get it, a text a line."""

    name = "text"
    suffixes = ()
    summary = "the text with its marks, for people"

    def __init__(self, *, colour: bool = False, width: int | None = None) -> None:
        self._colour = colour
        self._width = width

    def encode(self, documents: Iterable[Document]) -> bytes:
        """Return the views of the documents, an empty line after each that is not one line."""
        shown = []
        for document in documents:
            for passage in view(document):
                text = render(passage, colour=self._colour, width=self._width)
                shown.append(text + ("\n\n" if "\n" in text else "\n"))
        return "".join(shown).encode("utf-8", "backslashreplace")


def render(passage: Passage, *, colour: bool = False, width: int | None = None) -> str:
    """Return a passage as text, without a line end.

    Marks are shown as `[Tim Cook PER]`, or in the colour of their label, with a legend below.
    Lines are cut at word ends where they exceed `width` columns. Control characters are shown,
    never sent to a terminal.
    """
    if colour:
        pieces = [*_coloured(passage), *_legend(passage)]
    else:
        pieces = [(text, "") for text in _bracketed(passage)]
    if colour or width is not None:
        return _print(pieces, width)
    return "".join(text for text, _ in pieces)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch without a border of a mark inside; `mark` is the innermost one it lies in."""

    text: str
    opened: list[Mark]
    closed: list[Mark]
    mark: Mark | None


def _cut(passage: Passage) -> Iterator[_Piece]:
    """Cut a passage at the borders of its marks; a mark that does not fit the text is left out."""
    size = len(passage.text)
    marks = [m for m in passage.marks if 0 <= m.start < m.end <= size]
    opened: dict[int, list[Mark]] = {}
    for mark in sorted(marks, key=lambda m: m.start - m.end):  # the longest opens first
        opened.setdefault(mark.start, []).append(mark)
    borders = sorted({0, size, *opened, *(mark.end for mark in marks)})
    inside: list[Mark] = []
    for start, end in pairwise(borders):
        inside += opened.get(start, [])
        closed = [mark for mark in reversed(inside) if mark.end == end]
        innermost = inside[-1] if inside else None
        yield _Piece(_clean(passage.text[start:end]), opened.get(start, []), closed, innermost)
        inside = [mark for mark in inside if mark.end != end]


def _bracketed(passage: Passage) -> Iterator[str]:
    for piece in _cut(passage):
        yield "[" * len(piece.opened) + piece.text
        yield "".join(f" {_clean(mark.label)}]" for mark in piece.closed)


def _coloured(passage: Passage) -> Iterator[tuple[str, str]]:
    for piece in _cut(passage):
        for mark in piece.opened:
            yield " ", _style(mark.label)
        yield piece.text, _style(piece.mark.label) if piece.mark else ""
        for mark in piece.closed:
            yield f" {_clean(mark.label)} ", _style(mark.label) + " italic"


def _legend(passage: Passage) -> Iterator[tuple[str, str]]:
    counts = Counter(mark.label for piece in _cut(passage) for mark in piece.opened)
    for number, (label, count) in enumerate(sorted(counts.items())):
        yield "  " if number else "\n", ""
        yield f" {_clean(label)} ", _style(label)
        yield f" {count}", "dim"


_STYLES: Final = tuple(
    f"black on {name}"
    for name in ("bright_cyan", "bright_yellow", "bright_green", "bright_magenta", "cyan")
) + (
    "bright_white on blue",
    "bright_white on magenta",
    "black on yellow",
    "black on green",
    "bright_white on red",
)
_USUAL: Final = {"PER": 0, "ORG": 1, "LOC": 2, "MISC": 3, "PERSON": 0, "GPE": 2}


def _style(label: str) -> str:
    """Return the colours of a label, the same in every run."""
    return _STYLES[_USUAL.get(label, zlib.crc32(label.encode("utf-8", "replace")) % len(_STYLES))]


_CONTROLS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}
"""Characters that could steer a terminal, or turn the order of a line round."""


def _clean(text: str) -> str:
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def _print(pieces: Iterable[tuple[str, str]], width: int | None) -> str:
    """Return the pieces in their styles, as a terminal gets them, cut at word ends."""
    from rich.console import Console
    from rich.text import Text

    text = Text.assemble(*pieces, overflow="fold", tab_size=4)
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=True,
        color_system="standard" if any(style for _, style in pieces) else None,
        width=width or 1_000_000,
        height=25,
        legacy_windows=False,
    )
    console.print(text, soft_wrap=width is None)
    return "\n".join(line.rstrip(" ") for line in file.getvalue().rstrip("\n").split("\n"))
