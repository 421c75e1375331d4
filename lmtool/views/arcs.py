"""Relations as arcs over a line of text, in SVG, where they stay readable.

A sentence is drawn where it is short and its relations are few; the words between two entities
are cut short. The list of all relations stands below in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from .blocks import Link, Links, Mark, Passage, one_line
from .marked import cells, clean, sentence_ranges

MAX_ARCS: Final = 8
"""Most arcs over a sentence."""
MAX_COLUMNS: Final = 110
"""Longest line that is drawn."""
MAX_SENTENCES: Final = 20
"""Most sentences with arcs in a document."""
_GAP: Final = 24
"""Columns between two entities before the words there are cut short."""
_COLUMN: Final = 7.8
_LABEL_COLUMN: Final = 6.2
_LANE: Final = 22
_HEAD: Final = 20
_FOOT: Final = 26
_LEAST_LABEL: Final = 26
"""Letters that an arc's label may have however short the arc is."""


def arcs(block: Links) -> Iterator[str]:
    """Yield an SVG for each sentence that can be drawn."""
    drawn = 0
    for start, end in sentence_ranges(Passage(block.text)):
        links = [k for k in block.links if _is_inside(k, start, end)]
        marks = sorted({m for k in links for m in (k.head, k.tail)}, key=lambda m: m.start)
        if not 0 < len(links) <= MAX_ARCS or _overlap(marks):
            continue
        line, places = _line(block.text, start, end, marks)
        if cells(line) <= MAX_COLUMNS and drawn < MAX_SENTENCES:
            drawn += 1
            yield _svg(line, places, links)


def _is_inside(link: Link, start: int, end: int) -> bool:
    inside = all(start <= m.start < m.end <= end for m in (link.head, link.tail))
    return inside and link.head != link.tail


def _overlap(marks: Sequence[Mark]) -> bool:
    return any(a.end > b.start for a, b in pairwise(marks))


def _line(
    text: str, start: int, end: int, marks: Sequence[Mark]
) -> tuple[str, dict[Mark, tuple[int, int]]]:
    """Return the sentence in one line, and the columns of each mark there."""
    line, position = "", start
    places = {}
    for mark in marks:
        line += _between(text[position : mark.start], at_start=position == start)
        first = cells(line)
        line += clean(one_line(text[mark.start : mark.end]))
        places[mark] = (first, cells(line))
        position = mark.end
    return line + _between(text[position:end], at_end=True), places


def _between(text: str, *, at_start: bool = False, at_end: bool = False) -> str:
    """Return words between entities, cut short in the middle, or on the outer side of the line."""
    left = " " if text[:1].isspace() and not at_start else ""
    right = " " if text[-1:].isspace() and not at_end else ""
    words = clean(one_line(text))
    if cells(words) > _GAP:
        half = _GAP // 2
        head = "" if at_start else words[:half].rsplit(" ", 1)[0] + " "
        tail = "" if at_end else " " + words[-half:].split(" ", 1)[-1]
        words = f"{head}…{tail}"
    return f"{left}{words}{right}" if words else " "[: bool(left or right)]


@dataclass(frozen=True, slots=True)
class _Arc:
    """An arc from x `head` to x `tail`, and what its label takes up."""

    head: float
    tail: float
    label: str

    @property
    def middle(self) -> float:
        return (self.head + self.tail) / 2

    @property
    def reach(self) -> tuple[float, float]:
        half = (cells(self.label) * _LABEL_COLUMN + 10) / 2
        low, high = sorted((self.head, self.tail))
        return min(low, self.middle - half), max(high, self.middle + half)


def _svg(line: str, places: dict[Mark, tuple[int, int]], links: Sequence[Link]) -> str:
    labels: dict[tuple[Mark, Mark], dict[str, None]] = {}
    for link in links:
        labels.setdefault((link.head, link.tail), {})[clean(one_line(link.label))] = None
    drawn = []
    for (from_mark, to_mark), names in labels.items():
        (a, b), (c, d) = places[from_mark], places[to_mark]
        shift = 4 if a < c else -4
        head, tail = (a + b) / 2 * _COLUMN + shift, (c + d) / 2 * _COLUMN - shift
        drawn.append(_Arc(head, tail, _together(list(names), abs(head - tail))))
    drawn.sort(key=lambda arc: abs(arc.head - arc.tail))
    lanes = _lanes(drawn)
    left = min(0.0, *(arc.reach[0] for arc in drawn)) - 4
    right = max(cells(line) * _COLUMN, *(arc.reach[1] for arc in drawn)) + 4
    ground = (max(lanes) + 1) * _LANE + _HEAD
    title = escape("Relations: " + ", ".join(name for names in labels.values() for name in names))
    parts = [
        f'<svg role="img" aria-label="{title}" '
        f'width="{right - left:.0f}" height="{ground + _FOOT}" '
        f'viewBox="{left:.1f} 0 {right - left:.1f} {ground + _FOOT}">'
    ]
    heights = [ground - 22 - lane * _LANE for lane in lanes]
    parts += [_path(arc, ground - 6, high) for arc, high in zip(drawn, heights, strict=True)]
    parts += [_label(arc, high - 5) for arc, high in zip(drawn, heights, strict=True)]
    for text, first in _stretches(line, places):
        size = cells(text) * _COLUMN
        parts.append(
            f'<text x="{first * _COLUMN:.1f}" y="{ground + 12}" textLength="{size:.1f}" '
            f'lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
        )
    for first, end in places.values():
        x, to = first * _COLUMN, end * _COLUMN
        parts.append(f'<path d="M{x:.1f} {ground + 18}H{to:.1f}"/>')
    return "".join([*parts, "</svg>"])


def _lanes(drawn: Sequence[_Arc]) -> list[int]:
    """Return the lane of each arc, the short ones lowest; those of a lane do not overlap."""
    taken: list[list[tuple[float, float]]] = []
    lanes = []
    for arc in drawn:
        low, high = arc.reach
        lane = len(taken)  # above all that it overlaps: no arc crosses the label of another
        while lane and all(high < a or b < low for a, b in taken[lane - 1]):
            lane -= 1
        if lane == len(taken):
            taken.append([])
        taken[lane].append((low, high))
        lanes.append(lane)
    return lanes


def _path(arc: _Arc, low: float, high: float) -> str:
    """Return an arc from `low` up to `high` and down again, with its tip."""
    bend = 6 if arc.tail > arc.head else -6
    start, end = f"{arc.head:.1f}", f"{arc.tail:.1f}"
    return (
        f'<path d="M{start} {low}V{high + 6}Q{start} {high} {arc.head + bend:.1f} {high}'
        f'H{arc.tail - bend:.1f}Q{end} {high} {end} {high + 6}V{low}"/>'
        f'<path class="tip" d="M{arc.tail - 4:.1f} {low - 5}h8l-4 7z"/>'
    )


def _label(arc: _Arc, baseline: float) -> str:
    return (
        f'<text class="label" text-anchor="middle" x="{arc.middle:.1f}" y="{baseline}">'
        f"{escape(arc.label)}</text>"
    )


def _together(labels: Sequence[str], width: float) -> str:
    """Return the labels of an arc as one, cut short where it is much longer than the arc."""
    text = ", ".join(labels)
    most = max(int(width / _LABEL_COLUMN), _LEAST_LABEL)
    return text if len(text) <= most else text[: most - 1] + "…"


def _stretches(line: str, places: dict[Mark, tuple[int, int]]) -> Iterator[tuple[str, int]]:
    """Yield (text, column) for the line cut at the marks, so that each is where its arc ends."""
    borders = {column for place in places.values() for column in place}
    text, first, column = "", 0, 0
    for char in line:
        if column in borders and text and cells(char):
            yield text, first
            text, first = "", column
        text += char
        column += cells(char)
    if text:
        yield text, first
