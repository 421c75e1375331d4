"""Choosing sentences: the best ones that do not say the same (numpy).

Maximal marginal relevance (Carbonell and Goldstein 1998): in each step the sentence whose score,
less its likeness to what is chosen already, is highest.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def select(
    scores: Floats,
    vectors: Floats,
    is_full: Callable[[int], bool],
    *,
    diversity: float,
) -> list[int]:
    """Return the numbers of the chosen sentences, the best first.

    `scores` (n,) are compared after they are stretched to 0 .. 1, `vectors` (n, width) have the
    length 1. `is_full(number)` is asked whether there is no room for a sentence, which is then
    passed over; where it answers, the sentence is taken as chosen.
    """
    n = len(scores)
    low, high = (float(scores.min()), float(scores.max())) if n else (0.0, 0.0)
    worth = (scores.astype(np.float64) - low) / max(high - low, 1e-9)
    likeness = np.zeros(n)
    is_open = np.ones(n, bool)
    chosen: list[int] = []
    while is_open.any():
        gain = (1 - diversity) * worth - diversity * likeness
        number = int(np.where(is_open, gain, -np.inf).argmax())
        is_open[number] = False
        if is_full(number):
            continue
        chosen.append(number)
        cosines = vectors @ vectors[number]
        likeness = np.maximum(likeness, cosines)
    return chosen


class Room:
    """How much a summary may hold: called with a sentence, it says whether there is no room.

    Without limits that were asked for, `default` sentences. One sentence always fits.
    """

    def __init__(
        self,
        n_words: list[int],
        *,
        sentences: int | None,
        ratio: float | None,
        words: int | None,
        default: int,
    ) -> None:
        limits = [] if sentences is None else [sentences]
        if ratio is not None:
            limits.append(max(math.ceil(ratio * len(n_words)), 1))
        if not limits and words is None:
            limits.append(default)
        self._n_words = n_words
        self._sentences = min(limits, default=len(n_words))
        self._words = words
        self._n_taken = 0
        self._words_taken = 0

    def __call__(self, number: int) -> bool:
        """Whether there is no room; else the sentence is taken."""
        if self._n_taken >= self._sentences:
            return True
        after = self._words_taken + self._n_words[number]
        if self._words is not None and after > self._words and self._n_taken:
            return True
        self._n_taken += 1
        self._words_taken = after
        return False
