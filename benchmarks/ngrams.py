"""An n-gram model of any symbols: interpolated modified Kneser-Ney, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Level(NamedTuple):
    """The n-grams of one length k, each by its number; a context is an n-gram of length k - 1."""

    keys: Ints
    """(grams,), sorted: the number of the context times the vocabulary, plus the last symbol."""
    share: Floats
    """(grams,): the discounted count of each, divided by the sum of the counts in its context."""
    total: Floats
    """(contexts,): the sum of the counts in a context; 0 where nothing ever followed it."""
    left: Floats
    """(contexts,): what the discounts leave to the shorter context, 0 to 1."""


class KneserNey:
    """Interpolated modified Kneser-Ney (Chen and Goodman 1998), interpolated with 1/vocabulary.

    The highest order counts how often an n-gram occurs, each lower one what different symbols
    stand before it. Discounts are those of the closed form, for counts of 1, 2 and 3 or more. A
    stream begins after `order - 1` times `start`.
    """

    def __init__(
        self, stream: Sequence[int] | NDArray[Any], vocabulary: int, order: int = 5, start: int = 0
    ) -> None:
        self.vocabulary, self.order, self.start = vocabulary, order, start
        tokens = self._padded(stream)
        nodes: list[Ints] = [np.zeros(len(tokens) + 1, np.int64)]  # of each place, by length
        keys: list[Ints] = []
        firsts: list[Ints] = []  # a place where each n-gram occurs
        for length in range(1, order + 1):
            found = nodes[-1][:-1] * vocabulary + tokens[length - 1 :]
            unique, first, number = np.unique(found, return_index=True, return_inverse=True)
            keys.append(unique)
            firsts.append(first)
            nodes.append(number.astype(np.int64))
        self.levels: list[Level] = []
        n_contexts = 1
        for length in range(1, order + 1):
            n_grams = len(keys[length - 1])
            if length == order:
                counts = np.bincount(nodes[order], minlength=n_grams)
            else:  # the n-gram without its first symbol ends at the same place
                ends = nodes[length][firsts[length] + 1]
                counts = np.bincount(ends, minlength=n_grams)
            self.levels.append(_level(keys[length - 1], counts, n_contexts, vocabulary))
            n_contexts = n_grams

    def probabilities(self, stream: Sequence[int] | NDArray[Any]) -> Floats:
        """Return the probability of each symbol of a stream after those before it, (symbols,)."""
        tokens = self._padded(stream)
        contexts = np.zeros(len(tokens) + 1, np.int64)
        found = np.full(len(tokens) - self.order + 1, 1 / self.vocabulary)
        for length, level in enumerate(self.levels, 1):
            contexts = contexts[:-1]  # that end before each place; -1 was never seen
            wanted = contexts * self.vocabulary + tokens[length - 1 :]
            grams = np.searchsorted(level.keys, wanted)
            grams[grams == len(level.keys)] = 0
            grams[(contexts < 0) | (level.keys[grams] != wanted)] = -1
            own, context = (part[self.order - length :] for part in (grams, contexts))
            is_known = (context >= 0) & (level.total[context] > 0)
            share = np.where(own >= 0, level.share[own], 0.0)
            found = np.where(is_known, share + level.left[context] * found, found)
            contexts = grams
        return found

    def _padded(self, stream: Sequence[int] | NDArray[Any]) -> Ints:
        return np.concatenate([np.full(self.order - 1, self.start), stream]).astype(np.int64)


def _level(keys: Ints, counts: Ints, n_contexts: int, vocabulary: int) -> Level:
    discounts = discounts_of(counts)[np.minimum(counts, 3)]
    contexts = keys // vocabulary
    total = np.bincount(contexts, counts, n_contexts).astype(float)
    taken = np.bincount(contexts, discounts, n_contexts)
    whole = np.maximum(total, 1)
    return Level(keys, (counts - discounts) / whole[contexts], total, taken / whole)


def discounts_of(counts: Ints) -> Floats:
    """Return what is taken from counts of 0, 1, 2 and 3 or more; never more than the count.

    Where the counts of counts give no closed form (few texts, or symbols that are all frequent),
    1/2 is taken from each.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].astype(float)  # once … four times
    if not n.all():
        return np.array([0.0, 0.5, 0.5, 0.5])
    y = n[0] / (n[0] + 2 * n[1])
    found = [k - (k + 1) * y * n[k] / n[k - 1] for k in (1, 2, 3)]
    return np.array([0.0, *(min(max(d, 0.0), k) for k, d in enumerate(found, 1))])
