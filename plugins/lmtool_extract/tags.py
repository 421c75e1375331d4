"""BIO tags: from entity spans to allowed tags, and from tag scores back to spans."""

from __future__ import annotations

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
    Viterbi with every other transition free.
    """
    n_words, n_tags = scores.shape
    inside = np.arange(2, n_tags, 2)
    total = scores[0].astype(np.float64)
    total[inside] = -np.inf
    back = np.zeros((n_words, n_tags), np.int64)
    for word in range(1, n_words):
        back[word] = total.argmax()
        reached = np.full(n_tags, total.max())
        back[word, inside] = np.where(total[inside - 1] >= total[inside], inside - 1, inside)
        reached[inside] = np.maximum(total[inside - 1], total[inside])
        total = reached + scores[word]
    path = np.empty(n_words, np.int64)
    path[-1] = total.argmax()
    for word in range(n_words - 1, 0, -1):
        path[word - 1] = back[word, path[word]]
    return path


def is_valid(tags: NDArray[np.int64]) -> bool:
    """Whether every I- follows B- or I- of its label. B- has odd numbers, its I- the next."""
    before = np.append(0, tags[:-1])
    is_inside = (tags > 0) & (tags % 2 == 0)
    return bool(np.all(~is_inside | (before == tags) | (before == tags - 1)))


def spans_from_logits(
    logits: NDArray[np.floating[Any]], best: NDArray[np.int64], labels: Sequence[str]
) -> list[WordSpan]:
    """Decode the logits of a window's words, (words, tags), into labelled spans.

    `best` is each word's best tag. The score of a span is the mean probability that its words
    bear its label, as B- or I-.
    """
    if not best.any():
        return []
    tags = best if is_valid(best) else best_tags(logits)
    spans = []
    for first in np.flatnonzero(tags % 2 == 1).tolist():
        begin = int(tags[first])
        last = first + 1
        while last < len(tags) and tags[last] == begin + 1:
            last += 1
        exp = np.exp(logits[first:last] - logits[first:last].max(1, keepdims=True))
        score = float((exp[:, begin : begin + 2].sum(1) / exp.sum(1)).mean())
        spans.append(WordSpan(first, last, labels[begin // 2], min(score, 1.0)))
    return spans
