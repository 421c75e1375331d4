"""Blocks as text for people: with brackets, or with colours, for a terminal or a file."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Final

from ..documents import Document
from ..sources import Writer
from .blocks import (
    Bar,
    Block,
    Card,
    Classes,
    Extract,
    Frame,
    Links,
    Note,
    Passage,
    Turns,
    one_line,
    view,
)
from .drawing import PREDICATE, Cell, Line, Styled, frame_rows, wrap
from .marked import cells, char_cells, clean, colour_number, cut, sentence_ranges
from .roles import describe


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
            texts = [render(b, colour=self._colour, width=self._width) for b in view(document)]
            shown.append(_joined(texts))
        return "".join(shown).encode("utf-8", "backslashreplace")


def _joined(texts: list[str]) -> str:
    """Return blocks below each other, those of several lines apart, and the end of a document."""
    whole = texts[0]
    for before, text in pairwise(texts):
        whole += ("\n\n" if "\n" in before or "\n" in text else "\n") + text
    return whole + ("\n\n" if "\n" in whole else "\n")


def render(block: Block, *, colour: bool = False, width: int | None = None) -> str:
    """Return a block as text, without a line end.

    Marks are shown as `[Tim Cook PER]`, or in the colour of their label, with a legend below;
    frames are drawn under their sentence. Lines are cut at word ends where they exceed `width`
    columns. Control characters are shown, never sent to a terminal.
    """
    if isinstance(block, Passage):
        return _print(_passage(block, colour, width), None, colour)
    return _print(_pieces(block), width, colour)


def _pieces(block: Block) -> Iterator[Styled]:
    match block:
        case Links():
            yield from _links(block)
        case Card():
            yield from _card(block)
        case Classes():
            yield from _classes(block)
        case Note():
            yield f"{clean(block.title)}: ", "bold"
            yield clean(block.text), ""
        case Extract():
            yield f"{clean(block.title)}:", "bold"
            for text, place in block.sentences:
                yield f"\n{clean(text)}", ""
                yield f" ({clean(place)})", "dim"
        case Turns():
            for number, (who, text) in enumerate(block.turns):
                yield ("\n" if number else "") + f"{clean(who)}: ", "bold"
                yield clean(text), ""


# ── the text ─────────────────────────────────────────────────────────────────────────────────


def _passage(passage: Passage, colour: bool, width: int | None) -> Iterator[Styled]:
    if passage.frames:
        yield from _with_frames(passage, colour, width)
    elif width is None:
        yield from ((clean(text), style) for text, style, _, _ in _marked(passage, colour))
    else:
        for number, line in enumerate(wrap(list(_cells(passage, colour)), width)):
            yield ("\n" if number else ""), ""
            yield from _styled(line)
    if colour:
        yield from _legend(passage, width)


def _marked(passage: Passage, colour: bool) -> Iterator[tuple[str, str, int, bool]]:
    """Yield (text, style, offset, whether it is the text itself), which is not clean yet.

    A border of a mark stands at the offset of the character beside it, inside the mark.
    """
    for piece in cut(passage):
        for mark in piece.opened:
            yield " " if colour else "[", _style(mark.label), piece.start, False
        style = _style(piece.inside[-1].label) if piece.inside else ""
        yield piece.text, style, piece.start, True
        for mark in piece.closed:
            end = f" {mark.label} " if colour else f" {mark.label}]"
            last = piece.start + len(piece.text) - 1
            yield end, f"{_style(mark.label)} italic", last, False


def _legend(passage: Passage, width: int | None) -> Iterator[Styled]:
    counts = Counter(mark.label for piece in cut(passage) for mark in piece.opened)
    yield ("\n" if counts else ""), ""
    items = [
        ((f" {clean(label)} ", _style(label)), (f" {count}", "dim"))
        for label, count in sorted(counts.items())
    ]
    yield from _in_lines(items, "  ", width)


def _in_lines(items: Iterable[tuple[Styled, ...]], gap: str, width: int | None) -> Iterator[Styled]:
    """Yield items beside each other, as many in a line as fit."""
    used = 0
    for item in items:
        size = sum(cells(text) for text, _ in item)
        if used:
            fits = width is None or used + len(gap) + size <= width
            yield (gap if fits else "\n"), ""
            used = used + len(gap) if fits else 0
        yield from item
        used += size


def _with_frames(passage: Passage, colour: bool, width: int | None) -> Iterator[Styled]:
    """Yield the text sentence by sentence, the frames under each line, and the legends."""
    ranges = sentence_ranges(passage)
    starts = [start for start, _ in ranges]
    frames: list[list[Frame]] = [[] for _ in ranges]
    for frame in passage.frames:
        frames[bisect_right(starts, frame.start) - 1].append(frame)
    lines: list[list[Cell]] = [[] for _ in ranges]
    for cell in _cells(passage, colour):
        lines[bisect_right(starts, cell.at) - 1].append(cell)
    seen = map(_without_blank_lines, lines)
    shown = [pair for pair in zip(seen, frames, strict=True) if pair[0]]
    for number, (sentence, found) in enumerate(shown, 1):
        for line in wrap(sentence, width):
            yield from _styled(line)
            yield "\n", ""
            for row in frame_rows(passage.text, line, found, width):
                for text, role in row:
                    yield text, _role_style(role) if colour and role else ""
                yield "\n", ""
        if found or number == len(shown):
            yield "\n", ""
    yield from _role_legend(passage, colour, width)


def _without_blank_lines(sentence: list[Cell]) -> list[Cell]:
    """Return a sentence without blank lines before it and white space behind it."""
    first, end = 0, len(sentence)
    while end and sentence[end - 1].text.isspace():
        end -= 1
    for index, cell in enumerate(sentence[:end], 1):
        if cell.text == "\n":
            first = index
        elif cell.text and not cell.text.isspace():
            break
    return sentence[first:end]


def _styled(line: Line) -> Iterator[Styled]:
    for style, cells_of_style in groupby(line.cells, key=lambda cell: cell.style):
        yield "".join(cell.text for cell in cells_of_style), style


def _cells(passage: Passage, colour: bool) -> Iterator[Cell]:
    for text, style, start, is_text in _marked(passage, colour):
        for index, char in enumerate(text):
            at = start + index if is_text else start
            if char == "\r" and passage.text[at : at + 2] == "\r\n":
                yield Cell("", style, at, 0)
            elif char == "\t":
                yield Cell("    ", style, at, 4)
            else:
                width = 0 if char == "\n" else char_cells(char)
                yield Cell(clean(char), style, at, width, is_text)


def _role_legend(passage: Passage, colour: bool, width: int | None) -> Iterator[Styled]:
    """Yield what the roles of a passage are called: a word, its code, and PropBank's label."""
    items = []
    for label in sorted({mark.label for frame in passage.frames for mark in frame.arguments}):
        word = describe(label).word
        text = f"{clean(word)} {clean(label)}" if word != label else clean(label)
        items.append(((text, _role_style(label) if colour else ""),))
    yield from _in_lines(items, " · ", width)


# ── what stands below it ─────────────────────────────────────────────────────────────────────


def _links(block: Links) -> Iterator[Styled]:
    for number, link in enumerate(block.links):
        yield ("\n" if number else ""), ""
        yield clean(block.name(link.head)), "bold"
        yield f" —{clean(one_line(link.label))}→ ", ""
        yield clean(block.name(link.tail)), "bold"
        yield _percent(link.score), "dim"


def _card(card: Card) -> Iterator[Styled]:
    yield "▌", ""
    yield clean(card.label), "bold"
    yield f": {clean(card.trigger)}{_percent(card.score)}", ""
    for role, text in card.arguments:
        yield f" · {clean(describe(role).word)}: ", "dim"
        yield clean(text), ""


SHOWN_CLASSES: Final = 5
"""How many classes of a scheme are shown."""
_BAR: Final = 10
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def _classes(classes: Classes) -> Iterator[Styled]:
    shown = classes.bars[:SHOWN_CLASSES]
    scheme = clean(one_line(classes.scheme))
    names = [clean(one_line(bar.label)) for bar in shown]
    longest = max(map(cells, names), default=0)
    yield scheme, "bold"
    yield ("  none" if not shown else ""), ""
    for number, (bar, name) in enumerate(zip(shown, names, strict=True)):
        yield ("\n" + " " * cells(scheme) if number else "") + f"  {name}", ""
        if bar.score is not None:
            yield " " * (longest - cells(name)) + f"  {_bar(bar)}{_percent(bar.score)}", ""
    if more := len(classes.bars) - len(shown):
        yield f"\n{' ' * cells(scheme)}  and {more} more", "dim"


def _bar(bar: Bar) -> str:
    eighths = round(min(max(bar.score or 0.0, 0.0), 1.0) * _BAR * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(_BAR, "·")


def _percent(score: float | None) -> str:
    return "" if score is None else f" {score:.0%}"


# ── styles ───────────────────────────────────────────────────────────────────────────────────

_STYLES: Final = tuple(
    f"black on bright_{name}" for name in ("cyan", "yellow", "green", "magenta", "red")
) + (
    "black on white",
    "bright_white on blue",
    "bright_white on magenta",
    "black on yellow",
    "bright_white on red",
)


def _style(label: str) -> str:
    """Return the colours of a label, the same in every run."""
    return _STYLES[colour_number(label, len(_STYLES))]


_ROLE_STYLES: Final = {PREDICATE: "bold", "ARG0": "green", "ARG1": "magenta", "ARG2": "red"}


def _role_style(role: str) -> str:
    core = role.removeprefix("R-").removeprefix("C-")
    return _ROLE_STYLES.get(core, "cyan" if core.startswith("ARGM-") else "red")


def _print(pieces: Iterable[Styled], width: int | None, colour: bool) -> str:
    """Return the pieces in their styles, as a terminal gets them, cut at word ends."""
    if not colour and width is None:
        return "".join(text for text, _ in pieces)
    from rich.console import Console
    from rich.text import Text

    text = Text(overflow="fold", tab_size=4)
    for piece, style in pieces:
        text.append(piece, style if colour and style else None)
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=True,
        color_system="standard" if colour else None,
        width=width or 1_000_000,
        height=25,
        legacy_windows=False,
    )
    console.print(text, soft_wrap=width is None)
    return "\n".join(line.rstrip(" ") for line in file.getvalue().rstrip("\n").split("\n"))
