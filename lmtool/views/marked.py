"""A passage cut at the borders of its marks, and the characters that may be shown."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from .blocks import Mark, Passage


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the text without a border of a mark inside.

    `inside` holds the marks it lies in, outermost first; `opened` those that start with it, and
    `closed`, innermost first, those that end with it.
    """

    start: int
    text: str
    opened: list[Mark]
    closed: list[Mark]
    inside: list[Mark]


def cut(passage: Passage) -> Iterator[Piece]:
    """Cut a passage at the borders of its marks; a mark that does not fit the text is left out."""
    size = len(passage.text)
    marks = [m for m in passage.marks if 0 <= m.start < m.end <= size]
    opened: dict[int, list[Mark]] = {}
    for mark in sorted(marks, key=lambda m: m.start - m.end):  # the longest opens first
        opened.setdefault(mark.start, []).append(mark)
    borders = sorted({0, size, *opened, *(mark.end for mark in marks)})
    inside: list[Mark] = []
    for start, end in pairwise(borders):
        inside = inside + opened.get(start, [])
        closed = [mark for mark in reversed(inside) if mark.end == end]
        yield Piece(start, passage.text[start:end], opened.get(start, []), closed, inside)
        inside = [mark for mark in inside if mark.end != end]


_CONTROLS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}
"""Characters that could steer a terminal, or turn the order of a line round."""


def clean(text: str) -> str:
    """Return a text with its control characters shown, and line ends as they are meant."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


@lru_cache(maxsize=4096)
def char_cells(char: str) -> int:
    """Return how many columns a character takes: 2 for East Asian wide ones, 0 for marks."""
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cells(text: str) -> int:
    """Return how many columns a text takes, tabs and line ends apart."""
    return len(text) if text.isascii() else sum(map(char_cells, text))


_USUAL: Final = {
    label: number
    for number, labels in enumerate(
        ("PER PERSON", "ORG", "LOC GPE", "MISC", "TIME DATE", "NUM CARDINAL")
    )
    for label in labels.split()
}
"""Labels that often stand together, each kind with a colour of its own."""


def colour_number(label: str, n_colours: int) -> int:
    """Return the number of a label's colour, the same in every run."""
    return _USUAL.get(label, zlib.crc32(label.encode("utf-8", "replace")) % n_colours)


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def sentence_ranges(passage: Passage) -> list[tuple[int, int]]:
    """Return the sentences of the text as (start, end); none ends inside a frame."""
    from ..windows import sentence_ends

    if not passage.text:
        return [(0, 0)]
    reach = 0
    ends = []
    frames = sorted((frame.start, frame.end) for frame in passage.frames)
    number = 0
    for end in sentence_ends(_SURROGATE.sub("\ufffd", passage.text), "en"):
        while number < len(frames) and frames[number][0] < end:
            reach = max(reach, frames[number][1])
            number += 1
        if reach <= end:
            ends.append(end)
    if not ends or ends[-1] != len(passage.text):
        ends.append(len(passage.text))
    return list(pairwise([0, *ends]))
