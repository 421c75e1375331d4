"""From texts to passages: stretches of some 100 to 200 words that end where a sentence ends."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

LEAST_WORDS: Final = 100
MOST_WORDS: Final = 200
HEADING_WORDS: Final = 50
"""A heading begins a passage of its own where the one before has this many words."""
BLOCK_CHARACTERS: Final = 20_000
"""A paragraph is searched for sentence ends in blocks of at most this size."""

EAST_ASIAN: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Characters of scripts without spaces; each counts as a word."""
_WORD: Final = re.compile(rf"[{EAST_ASIAN}]|[^\W{EAST_ASIAN}]+")
_PARAGRAPH: Final = re.compile(r"(?:[^\n]|\n(?![^\S\n]*\n))+")
_HEADING: Final = re.compile(r"\s*(?:#{1,6} |=+ )")


class Passage(NamedTuple):
    """A stretch of a text: `text == whole[start:end]`, in characters."""

    start: int
    end: int
    line: int
    """The line on which it begins, from 1."""
    text: str


class _Piece(NamedTuple):
    """A sentence, or a part of one that is longer than a passage."""

    start: int
    end: int
    n_words: int
    is_heading: bool
    may_end: bool
    """Whether a passage that has enough words ends here: at the end of a paragraph, or at a third
    of all other sentences, chosen by what they say, so that cuts do not hang on what is before."""


def cut_passages(text: str, language: str = "en", line: int | None = None) -> Iterator[Passage]:
    """Yield the passages of a text in order; stretches without a word are left out.

    Where they are cut depends on the sentences around alone, so after a change in a long text
    they are soon the same as before. `line` is that of the record where the text is one of many in
    a file, and else lines are counted.
    """
    counted, n_lines = 0, 0
    for start, end in _ranges(text, language):
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        n_lines += text.count("\n", counted, start)
        counted = start
        yield Passage(start, end, n_lines + 1 if line is None else line, text[start:end])


def _ranges(text: str, language: str) -> Iterator[tuple[int, int]]:
    """Yield where passages start and end; a short rest goes with the one before."""
    held: tuple[int, int, int] | None = None  # start, end, words
    for start, end, n_words in _filled(text, language):
        if held and n_words < LEAST_WORDS // 2 and held[2] + n_words <= MOST_WORDS:
            held = (held[0], end, held[2] + n_words)
            continue
        if held:
            yield held[:2]
        held = (start, end, n_words)
    if held:
        yield held[:2]


def _filled(text: str, language: str) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and words of sentences joined, LEAST_WORDS to MOST_WORDS where it can be."""
    start = end = n_words = 0
    for piece in _pieces(text, language):
        is_apart = piece.is_heading and n_words >= HEADING_WORDS
        if n_words and (is_apart or n_words + piece.n_words > MOST_WORDS):
            yield start, end, n_words
            n_words = 0
        start = start if n_words else piece.start
        end, n_words = piece.end, n_words + piece.n_words
        if n_words >= LEAST_WORDS and piece.may_end:
            yield start, end, n_words
            n_words = 0
    if n_words:
        yield start, end, n_words


def _pieces(text: str, language: str) -> Iterator[_Piece]:
    """Yield the sentences that have a word, those longer than a passage in parts."""
    for paragraph in _PARAGRAPH.finditer(text):
        begin = paragraph.start()
        for block in _blocks(paragraph[0]):
            for start, end in sentences(block, language):
                is_heading = start == 0 and bool(_HEADING.match(block))
                is_last = begin + end == paragraph.end()
                words = [match.start() for match in _WORD.finditer(block, start, end)]
                for first in range(0, len(words), MOST_WORDS):
                    low = start if first == 0 else words[first]
                    last = first + MOST_WORDS
                    high = words[last] if last < len(words) else end
                    n_words = min(last, len(words)) - first
                    may_end = is_last or _is_chosen(block[low:high])
                    yield _Piece(begin + low, begin + high, n_words, is_heading, may_end)
            begin += len(block)


def _is_chosen(sentence: str) -> bool:
    return zlib.crc32(sentence.strip().encode("utf-8", "surrogatepass")) % 3 == 0


def _blocks(text: str) -> Iterator[str]:
    """Yield a paragraph in blocks that end at white space where there is some."""
    while len(text) > BLOCK_CHARACTERS:
        end = max(text.rfind(mark, 1, BLOCK_CHARACTERS) for mark in (" ", "\n")) + 1
        end = end or BLOCK_CHARACTERS
        yield text[:end]
        text = text[end:]
    yield text


def sentences(text: str, language: str = "en") -> list[tuple[int, int]]:
    """Return where the sentences of a text start and end; together they are the text."""
    from lmtool.windows import sentence_ends

    ends = sentence_ends(text, language)
    return list(zip([0, *ends[:-1]], ends, strict=True))
