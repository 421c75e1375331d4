"""The sentences of a text that come nearest to a summary somebody wrote.

Greedy, as in Nallapati et al. 2017 (SummaRuNNer): a sentence is added while ROUGE grows.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from .sentences import Spans, split
from .words import tokens_of


def oracle(text: str, references: Sequence[str], *, most: int = 3, language: str = "en") -> Spans:
    """Return the spans of at most `most` sentences, in order of the text.

    Their gain is the mean of the F1 of words and of pairs of words, by the best reference.
    """
    spans = split(text, language)
    words = [tokens_of(text[start:end]) for start, end in spans]
    wanted = [grams(tokens_of(reference)) for reference in references]
    chosen: list[int] = []
    best = 0.0
    while len(chosen) < most:
        gains = {
            number: max((_f1(_joined(words, [*chosen, number]), ref) for ref in wanted), default=0)
            for number in range(len(spans))
            if number not in chosen
        }
        number = max(gains, key=lambda n: gains[n], default=-1)
        if number < 0 or gains[number] <= best:
            break
        best = gains[number]
        chosen.append(number)
    return [spans[number] for number in sorted(chosen)]


def _joined(words: Sequence[list[str]], chosen: Iterable[int]) -> tuple[Counter[str], Counter[str]]:
    return grams([word for number in sorted(chosen) for word in words[number]])


def grams(words: Sequence[str]) -> tuple[Counter[str], Counter[str]]:
    """Return the counts of words, and of pairs of neighbours."""
    return Counter(words), Counter(map(" ".join, itertools.pairwise(words)))


def _f1(
    found: tuple[Counter[str], Counter[str]], wanted: tuple[Counter[str], Counter[str]]
) -> float:
    """Return the mean of both F1."""
    total = 0.0
    for one, other in zip(found, wanted, strict=True):
        total += 2 * (one & other).total() / max(one.total() + other.total(), 1)
    return total / 2
