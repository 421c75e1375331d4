"""Which sentences can stand in a summary: not headings, quoted mails, tables or code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

WHOLE, SHORT, APART = range(3)
"""A sentence; one of few words; what is no sentence, or none of the text's own."""

FEWEST_WORDS: Final = 6
"""Sentences of less words are short: they seldom say anything that can stand alone."""

FEWEST_ASKED: Final = 4
"""As FEWEST_WORDS, of the answer to a query."""

_END: Final = re.compile(r"""[.!?…。！？｡।؟۔։][\s"'”’»›)\]}」』*_]*(?:\[\d+\]\s*)*$""")
"""The mark of a sentence's end, with what may stand behind it."""

_ASIDE: Final = re.compile(
    r"^[^\S\n]*(?:"
    r"```[^\n]*(?:\n(?![^\S\n]*```)[^\n]*)*\n[^\S\n]*```[^\n]*"
    r"|[>|][^\n]*"
    r"|\#{1,6}[ ][^\n]*"
    r"|(?:From|To|Cc|Bcc|Subject|Date|Sent|Reply-To):[ ][^\n]*"
    r")",
    re.MULTILINE,
)
"""Code between fences, and lines that are quoted, of a table, a heading or the head of a mail."""


def kinds_of(
    text: str,
    spans: Sequence[tuple[int, int]],
    n_words: Sequence[int],
    fewest: int = FEWEST_WORDS,
) -> NDArray[np.int64]:
    """Return the kind of each sentence of a text, WHOLE, SHORT or APART, (sentences,).

    Sentences of less than `fewest` words are short.
    """
    kinds = np.full(len(spans), WHOLE)
    kinds[np.array(n_words) < fewest] = SHORT
    before, is_open = 0, False
    for number, (start, end) in enumerate(spans):
        sentence = text[start:end]
        goes_on = is_open and "\n" not in text[before:start]  # cut in two, where a window ended
        before, is_open = end, not _END.search(sentence)
        if is_open or goes_on or sentence.isupper():
            kinds[number] = APART
    starts, ends = np.array(spans).T
    for aside in _ASIDE.finditer(text):
        first = int(np.searchsorted(ends, aside.start(), "right"))
        last = int(np.searchsorted(starts, aside.end(), "left"))
        kinds[first:last] = APART
    return kinds
