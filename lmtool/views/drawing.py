"""Frames drawn under the text: a row for each frame, below the line that it belongs to.

    Tim Cook  met    Angela Merkel   in Berlin.
    └─ who ─┘ ━━━ └─── what ARG1 ──┘ └ where ─┘

The predicate is a thick line, an argument a bracket with its role in the longest form that has
room. A span that goes on in the next line of the text stays open at that side and is labelled
again there; a row without its predicate in sight names it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .blocks import Frame, Mark, one_line
from .marked import cells, clean
from .roles import describe, short_name

Styled = tuple[str, str]
"""A text and the name of its style."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place of a line; `at` is the character of the text it belongs to.

    `is_text` is false for what a mark adds at its borders.
    """

    text: str
    style: str
    at: int
    width: int
    is_text: bool = True


class Line:
    """A line of cells, with the column where each begins."""

    def __init__(self, line: Sequence[Cell]) -> None:
        end = len(line)
        while end and line[end - 1].text.isspace():
            end -= 1
        self.cells = line = line[:end]
        self._at = [cell.at for cell in line]
        self._columns = [0]
        for cell in line:
            self._columns.append(self._columns[-1] + cell.width)

    def place(self, mark: Mark) -> tuple[int, int] | None:
        """Return the columns (first, after the last) of what is seen of a mark here, if any."""
        first = bisect_left(self._at, mark.start)
        end = bisect_left(self._at, mark.end)
        while first < end and self.cells[end - 1].text.isspace():
            end -= 1
        while first < end and self.cells[first].text.isspace():
            first += 1
        return (self._columns[first], self._columns[end]) if first < end else None

    def starts_inside(self, mark: Mark) -> bool:
        """Whether the mark began in an earlier line."""
        return bool(self._at) and mark.start < self._at[0]

    def ends_inside(self, mark: Mark) -> bool:
        """Whether the mark goes on in the next line."""
        return bool(self._at) and mark.end > self._at[-1] + 1


_KEPT_TOGETHER = "，。、；：！？）》」』】”’…"


def wrap(line: Sequence[Cell], width: int | None) -> Iterator[Line]:
    """Cut cells into lines: at line ends, and at word ends where they exceed `width` columns."""
    start, used, last_break = 0, 0, 0
    for index, cell in enumerate(line):
        if cell.text == "\n":
            yield Line(line[start:index])
            start, used, last_break = index + 1, 0, index + 1
            continue
        used += cell.width
        if width is not None and used > width and index > start and not cell.text.isspace():
            end = last_break if last_break > start else _letter_start(line, start, index)
            yield Line(line[start:end])
            start, last_break = end, end
            used = sum(c.width for c in line[start : index + 1])
        if _may_break(cell, line[index + 1] if index + 1 < len(line) else None):
            last_break = index + 1
    if start < len(line):
        yield Line(line[start:])


def _letter_start(line: Sequence[Cell], start: int, index: int) -> int:
    """Return where to cut a word too long for a line: not before a combining mark."""
    end = index
    while end > start + 1 and line[end].width == 0:
        end -= 1
    return end


def _may_break(cell: Cell, following: Cell | None) -> bool:
    """Whether a line may end after a cell; what a mark adds stays with its word."""
    if following is not None and following.at == cell.at:
        return False
    if cell.text.isspace():
        return cell.is_text
    if following is None or following.text in _KEPT_TOGETHER or following.width == 0:
        return False
    return cell.width == 2


def frame_rows(
    text: str, line: Line, frames: Iterable[Frame], width: int | None
) -> Iterator[list[Styled]]:
    """Yield the rows under a line of a text: one for each frame with a span there.

    Where spans of one frame overlap, it gets a row more. Predicates without arguments share
    the last row.
    """
    alone: list[_Stroke] = []
    for frame in frames:
        strokes = list(_strokes(text, line, frame))
        if frame.arguments:
            yield from (list(_draw(row, width)) for row in _apart(strokes))
        else:
            alone += strokes
    yield from (list(_draw(row, width)) for row in _apart(alone))


@dataclass(frozen=True, slots=True)
class _Stroke:
    """What is drawn under a span, from column `first` to before `end`.

    `forms` are the texts for it, the best first, the last ones codes; a predicate has none.
    """

    first: int
    end: int
    forms: tuple[str, ...]
    is_open: tuple[bool, bool]
    style: str


PREDICATE = "predicate"
"""The style of predicates; that of an argument is its role."""


def _strokes(text: str, line: Line, frame: Frame) -> Iterator[_Stroke]:
    place = line.place(frame.predicate)
    word = ""
    if place is not None:
        yield _Stroke(*place, (), (False, False), PREDICATE)
    else:
        word = clean(one_line(text[frame.predicate.start : frame.predicate.end]))
    for mark in frame.arguments:
        if (found := line.place(mark)) is not None:
            is_open = (line.starts_inside(mark), line.ends_inside(mark))
            yield _Stroke(*found, _forms(mark.label, word), is_open, mark.label)


N_CODES = 2
"""How many of a stroke's forms are codes, drawn only where no word has room."""


def _forms(label: str, predicate: str) -> tuple[str, ...]:
    """Return what can be written under an argument, the best first; the last two are codes."""
    role = describe(label)
    name, word, code = (clean(text) for text in (short_name(label), role.word, role.code))
    words = [f"{word} {name}", word] if word != name else [word]
    if predicate:
        words = [f"{predicate}: {form}" for form in words] + words
    short = code[:-2] + code[-1] if code[-1:].isdigit() else code[:2]
    return (*words, code, short)


def _apart(strokes: Iterable[_Stroke]) -> list[list[_Stroke]]:
    """Return the strokes in rows without overlaps."""
    rows: list[list[_Stroke]] = []
    for stroke in sorted(strokes, key=lambda s: (s.first, s.end)):
        free = next((row for row in rows if row[-1].end <= stroke.first), None)
        if free is None:
            rows.append([stroke])
        else:
            free.append(stroke)
    return rows


def _draw(strokes: Sequence[_Stroke], width: int | None) -> Iterator[Styled]:
    """Yield one row: the strokes, which do not overlap, and the space between them."""
    column = 0
    for number, stroke in enumerate(strokes):
        if number + 1 < len(strokes):
            room = strokes[number + 1].first - 1 - stroke.first
        else:
            room = 1_000 if width is None else width - stroke.first
        yield " " * (stroke.first - column), ""
        drawn = _figure(stroke, room)
        yield drawn, stroke.style
        column = stroke.first + cells(drawn)


def _figure(stroke: _Stroke, room: int) -> str:
    """Return a stroke with the best of its forms: inside, below a short word, or beside it."""
    size = stroke.end - stroke.first
    if not stroke.forms:
        return "━" * size
    left, right = (
        "─" if is_open else corner for is_open, corner in zip(stroke.is_open, "└┘", strict=True)
    )
    for form in stroke.forms[:-N_CODES]:
        free = size - 2 - cells(form)
        if free >= 2:
            lines = free - 2
            return f"{left}{'─' * (lines // 2)} {form} {'─' * (lines - lines // 2)}{right}"
        if free >= 0:
            return f"{left}{form}{'─' * free}{right}"
    plain = stroke.forms[-N_CODES - 1]
    bracket = left + "─" * (size - 2) + right if size > 1 else "╵"
    if cells(plain) <= size:
        return plain + right * (size - cells(plain))
    if size + cells(plain) <= room:
        return bracket + plain
    return next((code for code in stroke.forms[-N_CODES:] if cells(code) <= size), bracket)
