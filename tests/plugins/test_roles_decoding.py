"""From logits to predicates and arguments, on fixed arrays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from lmtool_roles.decoding import (
    Arguments,
    best_tags,
    find_arguments,
    find_predicates,
    viterbi,
    without_repeats,
)

OUT, B0, I0, B1, I1 = range(5)
Spans = list[tuple[int, int, int, int]]


def logits(rows: list[list[int]], n: int = 5) -> np.ndarray:
    """One-hot logits, strong enough for a score of 1.00."""
    return np.eye(n)[np.array(rows)] * 12


def spans(rows: list[list[int]]) -> Spans:
    found = find_arguments(logits(rows), np.array(rows))
    return list(zip(*(column.tolist() for column in found[:4]), strict=True))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([0, 0, 0], []),
        ([1, 0, 2], [(0, 1, False), (2, 3, True)]),
        ([1, 3, 3], [(0, 3, False)]),
        ([1, 3, 1], [(0, 2, False), (2, 3, False)]),
        ([3, 1, 0], [(1, 2, False)]),  # nothing goes on before something begins
    ],
)
def test_predicates(classes: list[int], expected: list[tuple[int, int, bool]]) -> None:
    found = find_predicates(logits([classes], 4)[0], np.array([0, 3]))
    assert list(zip(*(c.tolist() for c in found[:3]), strict=True)) == expected


def test_no_predicate_goes_over_the_end_of_a_window() -> None:
    found = find_predicates(logits([[1, 3, 3]], 4)[0], np.array([0, 2, 2, 3]))
    assert (found.first.tolist(), found.last.tolist()) == ([0], [2])


def test_the_score_of_a_predicate_is_that_one_begins_there() -> None:
    rows = np.log(np.array([[0.2, 0.4, 0.3, 0.1]]))
    assert find_predicates(rows, np.array([0, 1])).score.tolist() == pytest.approx([0.7])


def test_a_batch_without_words() -> None:
    assert find_predicates(np.zeros((0, 4)), np.array([0, 0])).first.tolist() == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[OUT, OUT, OUT]], []),
        ([[B0, I0, OUT]], [(0, 0, 2, 0)]),
        ([[B0, B0, I0]], [(0, 0, 1, 0), (0, 1, 3, 0)]),
        ([[B1, B0, I0], [OUT, OUT, B1], [B0, OUT, OUT]],
         [(0, 0, 1, 1), (0, 1, 3, 0), (1, 2, 3, 1), (2, 0, 1, 0)]),
    ],
)  # fmt: skip
def test_arguments(rows: list[list[int]], expected: Spans) -> None:
    assert spans(rows) == expected


def test_the_score_of_an_argument_is_the_mean_probability_of_its_role() -> None:
    probabilities = np.array(
        [[[0.7, 0.1, 0.1, 0.05, 0.05], [0.1, 0.5, 0.2, 0.1, 0.1], [0.1, 0.1, 0.6, 0.1, 0.1]]]
    )
    found = find_arguments(np.log(probabilities), np.array([[OUT, B0, I0]]))
    assert found.score.tolist() == pytest.approx([(0.7 + 0.7) / 2])
    assert found.role.tolist() == [0]


@pytest.mark.parametrize(
    ("roles", "kept"),
    [
        (("ARG0", "C-ARG0"), [1, 2, 3, 5]),  # of equal scores the first
        (("R-ARG1", "ARGA"), [0, 1, 3, 4, 5, 6]),
        (("ARGM-TMP", "R-ARG1"), [0, 1, 2, 3, 4, 5, 6]),
        (("agent", "theme"), [0, 1, 2, 3, 4, 5, 6]),  # another scheme than PropBank's
    ],
)
def test_a_frame_has_a_core_role_once(roles: tuple[str, str], kept: list[int]) -> None:
    row, role = np.array([0, 0, 0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0, 0, 0])
    score, first = np.array([0.5, 0.9, 0.8, 0.9, 0.7, 0.6, 0.6]), np.arange(7)
    found = without_repeats(Arguments(row, first, first + 1, role, score), roles)
    assert found.first.tolist() == kept
    assert found.score.tolist() == score[kept].tolist()


def is_valid(tags: tuple[int, ...]) -> bool:
    pairs = zip((OUT, *tags), tags, strict=False)
    return all(tag not in (I0, I1) or before in (tag, tag - 1) for before, tag in pairs)


@pytest.mark.parametrize("decode", [best_tags, viterbi])
def test_the_best_valid_tags_of_all(decode: object) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 4, 5))
    sizes = rng.integers(1, 5, 40)
    mask = np.arange(4) < sizes[:, None]
    found = decode(scores, mask)  # type: ignore[operator]
    for row, size in enumerate(sizes):
        every = filter(is_valid, itertools.product(range(5), repeat=int(size)))
        best = max(every, key=lambda tags: scores[row, range(len(tags)), tags].sum())
        assert found[row].tolist() == [*best, *[OUT] * (4 - size)]
