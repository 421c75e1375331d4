"""BIO tags: from entity spans to allowed tags, and from tag scores back to spans."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmtool.documents import UNKNOWN


class WordSpan(NamedTuple):
    """A label on the words first to last (exclusive), with a score from 0 to 1."""

    first: int
    last: int
    label: str
    score: float


def tag_names(labels: Sequence[str]) -> list[str]:
    """Return the tags: O, then B- and I- of each label."""
    return ["O", *(f"{prefix}-{label}" for label in labels for prefix in "BI")]


def allowed_tags(
    n_words: int,
    spans: Iterable[tuple[int, int, str]],
    labels: Sequence[str],
    annotated: Iterable[str],
) -> NDArray[np.bool_]:
    """Return which tags the gold allows for each word, (words, tags).

    A word in a span has one tag; a word of a span labelled "?" may have any; a word outside has
    O, or any tag of a label that was not annotated and so may stand there unseen.
    """
    allowed = np.zeros((n_words, 1 + 2 * len(labels)), bool)
    known = set(annotated)
    outside = [True, *(label not in known for label in labels for _ in "BI")]
    allowed[:] = outside
    for first, last, label in spans:
        if label == UNKNOWN:
            allowed[first:last] = True
            continue
        begin = 1 + 2 * labels.index(label)
        allowed[first:last] = False
        allowed[first, begin] = True
        allowed[first + 1 : last, begin + 1] = True
    return allowed


def best_tags(scores: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return the best tag sequence in which I- follows B- or I- of its label, int64 (words,).

    `scores` is (words, tags): logits or log probabilities, which give the same sequence.
    Viterbi with every other transition free, on lists: numpy is slow on arrays this small.
    """
    first, *others = scores.astype(np.float64).tolist()
    if scores.shape[1] == 3:
        return np.array(_best_of_three(first, others), np.int64)
    insides = range(2, scores.shape[1], 2)
    total = [-math.inf if tag in insides else score for tag, score in enumerate(first)]
    back = []
    for row in others:
        best = max(total)
        before = [total.index(best)] * len(total)
        reached = [best] * len(total)
        for tag in insides:
            before[tag] = tag - 1 if total[tag - 1] >= total[tag] else tag
            reached[tag] = total[before[tag]]
        total = [score + more for score, more in zip(reached, row, strict=True)]
        back.append(before)
    path = [total.index(max(total))]
    for before in reversed(back):
        path.append(before[path[-1]])
    return np.array(path[::-1], np.int64)


def _best_of_three(first: list[float], others: list[list[float]]) -> list[int]:
    """Return the best sequence of the tags of one label: outside, begin, inside."""
    outside, begin, inside = first[0], first[1], -math.inf
    back = []
    for more_outside, more_begin, more_inside in others:
        best, after_any = (outside, 0) if outside >= begin else (begin, 1)
        if inside > best:
            best, after_any = inside, 2
        held, after_held = (begin, 1) if begin >= inside else (inside, 2)
        back.append((after_any, after_any, after_held))
        outside, begin, inside = best + more_outside, best + more_begin, held + more_inside
    path = [max(range(3), key=(outside, begin, inside).__getitem__)]
    for before in reversed(back):
        path.append(before[path[-1]])
    return path[::-1]


def is_valid(tags: Iterable[int]) -> bool:
    """Whether every I- follows B- or I- of its label. B- has odd numbers, its I- the next."""
    before = 0
    for tag in tags:
        if tag and tag % 2 == 0 and before not in (tag, tag - 1):
            return False
        before = tag
    return True


def spans_from_logits(
    logits: NDArray[np.floating[Any]], best: NDArray[np.int64], labels: Sequence[str]
) -> list[WordSpan]:
    """Decode the logits of a window's words, (words, tags), into labelled spans.

    `best` is each word's best tag. The score of a span is the mean probability that its words
    bear its label, as B- or I-.
    """
    inside = best.nonzero()[0].tolist()
    if not inside:
        return []
    # before and behind lies nothing; the word before the first may have to begin a span
    low, high = max(inside[0] - 1, 0), inside[-1] + 1
    logits, best = logits[low:high], best[low:high]
    tags: list[int] = best.tolist()
    if not is_valid(tags):
        tags = best_tags(logits).tolist()
    exp = np.exp(logits - logits.max(1, keepdims=True))
    by_label = (exp[:, 1::2] + exp[:, 2::2]) / exp.sum(1, keepdims=True)  # (words, labels)
    scores = by_label.tolist()
    spans = []
    for first, begin in enumerate(tags):
        if begin % 2 == 1:
            last = first + 1
            while last < len(tags) and tags[last] == begin + 1:
                last += 1
            score = sum(row[begin // 2] for row in scores[first:last]) / (last - first)
            label = labels[begin // 2]
            spans.append(WordSpan(low + first, low + last, label, min(score, 1.0)))
    return spans
