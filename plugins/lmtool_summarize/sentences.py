"""The sentences of a window: what training and running share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmtool.windows import sentence_ends

if TYPE_CHECKING:
    from lmtool.documents import Document
    from lmtool.windows import Window

Spans = list[tuple[int, int]]

LONG = 8000
"""Characters from which on the place in the text says nothing that was learnt."""

N_PLACES = 10
N_POSITIONS = N_PLACES + 3
NOWHERE, FIRST, LAST = 0, N_PLACES + 1, N_PLACES + 2


class Sentences(NamedTuple):
    """The sentences of a window."""

    spans: Spans
    """Their characters in the window, from the first word to the end of the last."""
    sentence_of: NDArray[np.int64]
    """The sentence that each token is of, (tokens,); -100 for special tokens."""


def sentences_of(window: Window) -> Sentences:
    """Return the sentences of a window that has words; each holds one at least."""
    sentence_of = np.full(len(window.ids), -100)
    spans = []
    for number, (first, last) in enumerate(window.sentences()):
        spans.append((int(window.word_starts[first]), int(window.word_ends[last - 1])))
        sentence_of[window.word_tokens[first] :] = number
    if len(window.word_tokens):
        sentence_of[window.word_tokens[-1] + 1 :] = -100
    return Sentences(spans, sentence_of)


def position_of(start: int, end: int, length: int) -> int:
    """Return the number of a sentence's place in a text of `length` characters."""
    if length > LONG:
        return NOWHERE
    if start <= 1:
        return FIRST
    if end >= length - 1:
        return LAST
    return 1 + min(N_PLACES * start // length, N_PLACES - 1)


def positions_of(window: Window, spans: Spans, length: int) -> NDArray[np.int64]:
    """Return the place of each sentence in its document, of `length` characters."""
    origin = window.start
    places = [position_of(origin + start, origin + end, length) for start, end in spans]
    return np.array(places, np.int64)


def gold_of(window: Window, spans: Spans, document: Document) -> NDArray[np.float32]:
    """Return 1 for each sentence of which more than half is in the gold summary, else 0."""
    gold = gold_spans(document, window.language)
    found = np.zeros(len(spans), np.float32)
    for number, (start, end) in enumerate(spans):
        start, end = start + window.start, end + window.start
        common = sum(max(0, min(end, b) - max(start, a)) for a, b in gold)
        found[number] = 2 * common > end - start
    return found


def gold_spans(document: Document, language: str) -> Sequence[tuple[int, int]]:
    """Return the gold sentences; those nearest to the summary's text where none are given."""
    summary = document.summary
    if summary is None:
        return ()
    return summary.sentences or _nearest(document.text, summary.text, language)


@lru_cache(maxsize=8)
def _nearest(text: str, summary: str, language: str) -> Spans:
    from .oracle import oracle

    return oracle(text, [summary], language=language)


def split(text: str, language: str = "en") -> Spans:
    """Return the sentences of a text, without white space around them."""
    spans, start = [], 0
    for end in sentence_ends(text, language):
        piece = text[start:end]
        if stripped := piece.strip():
            begin = start + piece.index(stripped[0])
            spans.append((begin, begin + len(stripped)))
        start = end
    return spans
