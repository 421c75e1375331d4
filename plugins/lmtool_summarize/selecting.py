"""Choosing sentences: the best ones that do not say the same (numpy).

Maximal marginal relevance (Carbonell and Goldstein 1998): in each step the sentence whose score,
less its likeness to what is chosen already, is highest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

NEAR = 0.8
"""A summary of this share of the words asked for is full enough: more would be leftovers."""


def select(
    scores: Floats,
    vectors: Floats,
    room: Room,
    among: NDArray[np.bool_],
    *,
    diversity: float,
) -> list[int]:
    """Return the numbers of the sentences chosen `among` all (n,), the best first.

    `scores` (n,) are compared after they are stretched to 0 .. 1, `vectors` (n, width) have the
    length 1. A sentence that there is no room for is passed over.
    """
    is_open = among.copy()
    low, high = (scores[among].min(), scores[among].max()) if among.any() else (0.0, 0.0)
    worth = (scores.astype(np.float64) - low) / max(float(high - low), 1e-9)
    likeness = np.zeros(len(scores))
    chosen: list[int] = []
    while is_open.any() and not room.is_full:
        gain = (1 - diversity) * worth - diversity * likeness
        number = int(np.where(is_open, gain, -np.inf).argmax())
        is_open[number] = False
        if not room.take(number):
            continue
        chosen.append(number)
        cosines = vectors @ vectors[number]
        likeness = np.maximum(likeness, cosines)
    return chosen


class Room:
    """How much a summary may hold, of sentences of so many words each.

    Without limits that were asked for, `default` sentences. One sentence always fits.
    """

    def __init__(
        self,
        n_words: Sequence[int],
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

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be taken."""
        if self._n_taken >= self._sentences:
            return True
        return self._words is not None and self._words_taken >= NEAR * self._words

    def take(self, number: int) -> bool:
        """Take a sentence; false where there is no room for it."""
        after = self._words_taken + self._n_words[number]
        if self._words is not None and after > self._words and self._n_taken:
            return False
        self._n_taken += 1
        self._words_taken = after
        return True
