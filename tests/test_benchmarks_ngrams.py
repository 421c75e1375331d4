"""The n-gram model that language models are measured beside: probabilities, by hand and in sum."""

from __future__ import annotations

import importlib.util
import itertools
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

START = 0


@pytest.fixture(scope="module")
def ngrams() -> Any:
    path = Path(__file__).parents[1] / "benchmarks" / "ngrams.py"
    spec = importlib.util.spec_from_file_location("benchmark_ngrams", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stream(n: int, vocabulary: int, seed: int = 0) -> list[int]:
    """Return symbols of which some are much more frequent, as words are."""
    random = np.random.default_rng(seed)
    return ((random.zipf(1.4, n) - 1) % vocabulary).tolist()  # type: ignore[no-any-return]


class PlainKneserNey:
    """The formulas of Chen and Goodman as they stand, one probability at a time."""

    def __init__(self, symbols: list[int], vocabulary: int, order: int, discounts_of: Any) -> None:
        self.vocabulary, self.order = vocabulary, order
        symbols = [START] * (order - 1) + symbols
        grams = {
            k: [tuple(symbols[i : i + k]) for i in range(len(symbols) - k + 1)]
            for k in range(1, order + 1)
        }
        self.counts = {order: Counter(grams[order])}
        for k in range(1, order):
            self.counts[k] = Counter(gram[1:] for gram in set(grams[k + 1]))
        self.discounts = {
            k: discounts_of(np.array(list(counts.values()))) for k, counts in self.counts.items()
        }
        self.followers: Any = defaultdict(list)
        for counts in self.counts.values():
            for gram, count in counts.items():
                self.followers[gram[:-1]].append(count)

    def probability(self, context: tuple[int, ...], symbol: int) -> float:
        k = len(context) + 1
        shorter = self.probability(context[1:], symbol) if context else 1 / self.vocabulary
        following = self.followers[context]
        if not following:
            return shorter
        discounts = self.discounts[k]
        count = self.counts[k][(*context, symbol)]
        left = sum(discounts[min(c, 3)] for c in following)
        return float((count - discounts[min(count, 3)] + left * shorter) / sum(following))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_formulas(order: int, ngrams: Any) -> None:
    learnt, held_out = stream(600, 12), stream(80, 14, seed=1)  # 12 and 13 are never seen
    model = ngrams.KneserNey(learnt, 14, order, START)
    plain = PlainKneserNey(learnt, 14, order, ngrams.discounts_of)
    padded = [START] * (order - 1) + held_out
    wanted = [
        plain.probability(tuple(padded[place : place + order - 1]), symbol)
        for place, symbol in enumerate(held_out)
    ]
    assert model.probabilities(held_out) == pytest.approx(wanted, rel=1e-12)
    assert min(wanted) > 0


@pytest.mark.parametrize("n_learnt", [7, 2000])
def test_probabilities_sum_to_one_after_any_context(n_learnt: int, ngrams: Any) -> None:
    vocabulary = 6
    model = ngrams.KneserNey(stream(n_learnt, 5), vocabulary, 3, START)
    for context in itertools.product(range(vocabulary), repeat=2):
        found = [model.probabilities([*context, symbol])[-1] for symbol in range(vocabulary)]
        assert sum(found) == pytest.approx(1, abs=1e-12), context


def test_discounts_are_those_of_the_closed_form(ngrams: Any) -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [50, 20, 10, 6, 3])
    y = 50 / (50 + 2 * 20)
    wanted = [0, 1 - 2 * y * 20 / 50, 2 - 3 * y * 10 / 20, 3 - 4 * y * 6 / 10]
    assert ngrams.discounts_of(counts) == pytest.approx(wanted)
    assert ngrams.discounts_of(np.array([1, 1, 2])).tolist() == [0, 0.5, 0.5, 0.5]
