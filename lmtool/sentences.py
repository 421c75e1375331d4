"""Where sentences end: sentencex, and what it takes for one sentence and is several.

Each mend concerns texts that have the case, and leaves all others as sentencex cuts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

LONG: Final = 600
"""Characters from which on a sentence is cut inside its quotes and brackets too.

One mark without its partner swallows all up to the next that looks like one: kilobytes.
"""

_BLANK: Final = re.compile(r"(?<=\n)[^\S\r\n]+(?=\r?\n)")
"""A line of white space alone."""
_NUMBER: Final = re.compile(r"^([^\S\n]*)\((\w{1,4})\)(?=\s)", re.MULTILINE)
"""A number or letter of a list in brackets, behind which sentencex finds no end any more."""
_LINE: Final = re.compile(r"\s*(\S[^\n]*)\n(?=([^\n]+))")
"""The first line of a stretch with words, and the one below it."""
_MARK: Final = re.compile(r"#{1,6} ")
"""What stands before a heading in Markdown."""
LEAST: Final = 3
"""Letters of a line in capitals from which on it is a heading."""
_NEXT: Final = re.compile(r"\W{0,8}")
_OPENING: Final = "([{“‘«「『《"
_PAIRED: Final = re.compile(r"[(){}\[\]“”‘’«»「」『』《》\"']")


def sentence_ends(text: str, language: str) -> list[int]:
    """Return where the sentences of a text end, in characters; the last is its length."""
    mended = _NUMBER.sub(r"\1[\2]", text) if "(" in text else text
    if "\n" in mended:
        mended = _BLANK.sub(lambda match: "\n" * len(match[0]), mended)
    ends: list[int] = []
    start = 0
    for end in _boundaries(mended, language):
        ends += _inside(text, start, end, language)
        ends.append(end)
        start = end
    return ends


def _boundaries(text: str, language: str) -> list[int]:
    from sentencex import get_sentence_boundaries

    ends = {int(b["end_index"]) for b in get_sentence_boundaries(language, text)}
    return sorted(end for end in ends if 0 < end < len(text)) + [len(text)]


def _inside(text: str, start: int, end: int, language: str) -> Iterator[int]:
    """Yield the ends that sentencex missed in what it takes for one sentence."""
    if (heading := _heading_end(text, start, end)) is not None:
        start = heading
        yield start
    if end - start <= LONG:
        return
    for found in _boundaries(_without_pairs(text[start:end]), language)[:-1]:
        if not _goes_on(text, start + found):
            yield start + found


def _heading_end(text: str, start: int, end: int) -> int | None:
    """Return where the heading ends that a stretch begins with: capitals, or Markdown's mark."""
    lines = _LINE.match(text, start, end)
    if lines is None or _goes_on(text, lines.end()):
        return None
    first, second = lines.groups()
    is_upper = first.isupper() and first.rstrip()[-1] not in ":,;" and second.upper() != second
    if _MARK.match(first) or (is_upper and sum(map(str.isalpha, first)) >= LEAST):
        return lines.end()
    return None


def _goes_on(text: str, index: int) -> bool:
    """Whether the next letter is a small one."""
    after = _NEXT.match(text, index)
    return after is not None and text[after.end() : after.end() + 1].islower()


def _without_pairs(text: str) -> str:
    """Return a text of the same length whose quotes and brackets are no pairs.

    One that opens becomes a letter of the word behind it, one that closes a space.
    """

    def plain(match: re.Match[str]) -> str:
        before = text[max(match.start() - 1, 0) : match.start()]
        after = text[match.end() : match.end() + 1]
        if match[0] in "'’" and before.isalnum() and after.isalnum():
            return match[0]
        opens = match[0] in _OPENING or (
            match[0] in "\"'" and not (before.isalnum() or before in ".,;:!?…") and after.strip()
        )
        return "A" if opens else " "

    return _PAIRED.sub(plain, text)
