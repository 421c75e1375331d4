"""From logits to predicates and arguments, on whole batches (numpy)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .words import BARE, INSIDE, PREDICATE

Floats = NDArray[np.floating[Any]]
Numbers = NDArray[np.int64]

ONCE: Final = frozenset(("ARG0", "ARG1", "ARG2", "ARG3", "ARG4", "ARG5", "ARGA"))
"""PropBank's core roles: its guidelines give each to one span of a predicate at the most, and the
rest of a split one is a C-. All other labels, those of other schemes too, may stand repeatedly."""


class Predicates(NamedTuple):
    """The predicates of a batch, an entry each, in order."""

    first: Numbers
    """The first word, counted over all words of the batch."""
    last: Numbers
    """The word behind the last."""
    is_bare: NDArray[np.bool_]
    """Whether it has no arguments."""
    score: Floats


class Arguments(NamedTuple):
    """The arguments of a batch of rows, an entry each, in order of their rows."""

    row: Numbers
    first: Numbers
    last: Numbers
    role: Numbers
    score: Floats


def find_predicates(logits: Floats, bounds: Numbers) -> Predicates:
    """Decode the logits of words, (words, classes), into predicates.

    `bounds` is where the words of each window begin, and their number: no predicate goes over one.
    The score is the probability that a predicate begins at the word.
    """
    best = logits.argmax(1)
    first = np.flatnonzero((best == PREDICATE) | (best == BARE))
    is_stop = np.append(best != INSIDE, True)
    is_stop[bounds] = True
    exp = np.exp(logits[first] - logits[first].max(1, keepdims=True))
    score = ((exp[:, PREDICATE] + exp[:, BARE]) / exp.sum(1)).astype(np.float64)
    return Predicates(first, _next(is_stop, first), best[first] == BARE, score)


def best_tags(logits: Floats, mask: NDArray[np.bool_]) -> Numbers:
    """Return the best tags in which I- follows B- or I- of its role, int64 (rows, words).

    `logits` is (rows, words, tags); words that `mask` leaves out are O. Tags are numbered as by
    `tag_names`: B- odd, its I- the next.
    """
    best: Numbers = np.where(mask, logits.argmax(2), 0)
    before = np.pad(best[:, :-1], ((0, 0), (1, 0)))
    is_inside = (best > 0) & (best % 2 == 0)
    is_wrong = (is_inside & (before != best) & (before != best - 1)).any(1)
    if is_wrong.any():
        best[is_wrong] = viterbi(logits[is_wrong], mask[is_wrong])
    return best


def viterbi(logits: Floats, mask: NDArray[np.bool_]) -> Numbers:
    """Return what `best_tags` does, by dynamic programming over all rows at once.

    Every transition is free but the one to I-, so a step needs the best tag before and, for each
    role, the better of its B- and I-.
    """
    rows, n_words, _ = logits.shape
    scores = logits.astype(np.float64)
    scores[~mask] = -np.inf
    scores[~mask, 0] = 0
    begin, inside = scores[:, 0, 1::2], np.full_like(scores[:, 0, 2::2], -np.inf)
    outside = scores[:, 0, 0]
    every = np.arange(rows)
    tops, is_begun = [], []  # of each word but the last: the best tag, and B- or I- of each role
    for word in range(1, n_words):
        is_begun.append(begin >= inside)
        entered = np.maximum(begin, inside)  # (rows, roles)
        role = entered.argmax(1)
        top = entered[every, role]
        top_tag = np.where(is_begun[-1][every, role], 1 + 2 * role, 2 + 2 * role)
        tops.append(np.where(outside >= top, 0, top_tag))
        top = np.maximum(outside, top)
        outside = top + scores[:, word, 0]
        begin = top[:, None] + scores[:, word, 1::2]
        inside = entered + scores[:, word, 2::2]
    tags = np.zeros((rows, n_words), np.int64)
    final = np.concatenate((outside[:, None], begin, inside), 1).argmax(1)
    n_roles = begin.shape[1]
    is_begin = final <= n_roles
    tags[:, -1] = np.where(is_begin, 2 * final - 1, 2 * (final - n_roles)).clip(0)
    for word in range(n_words - 2, -1, -1):
        after = tags[:, word + 1]
        begun = is_begun[word][every, np.maximum(after // 2 - 1, 0)]
        is_inside = (after > 0) & (after % 2 == 0)
        tags[:, word] = np.where(is_inside, np.where(begun, after - 1, after), tops[word])
    return tags


def find_arguments(logits: Floats, tags: Numbers) -> Arguments:
    """Return the spans of valid tags, (rows, words).

    The score of a span is the mean probability, by the logits (rows, words, tags), that its words
    bear its role, as B- or I-.
    """
    width = tags.shape[1] + 1
    flat = np.pad(tags, ((0, 0), (0, 1))).ravel()  # an O behind each row
    first = np.flatnonzero(flat % 2)
    last = _next((flat == 0) | (flat % 2 == 1), first)
    role = flat[first] // 2
    score = np.zeros(0)
    if len(first):
        sizes = last - first
        begins = np.cumsum(sizes) - sizes
        places = np.repeat(first - begins, sizes) + np.arange(sizes.sum())
        own = logits[places // width, places % width]  # (words in spans, tags)
        exp = np.exp(own - own.max(1, keepdims=True))
        tag, every = np.repeat(1 + 2 * role, sizes), np.arange(len(places))
        of_role = (exp[every, tag] + exp[every, tag + 1]) / exp.sum(1)
        score = np.add.reduceat(of_role.astype(np.float64), begins) / sizes
    return Arguments(first // width, first % width, last - first // width * width, role, score)


def without_repeats(found: Arguments, roles: Sequence[str]) -> Arguments:
    """Return the arguments with only the best-scored one of each role of `ONCE` in a row."""
    order = np.argsort(-found.score, kind="stable")
    _, places = np.unique((found.row * len(roles) + found.role)[order], return_index=True)
    is_kept = ~np.isin(found.role, [number for number, role in enumerate(roles) if role in ONCE])
    is_kept[order[places]] = True
    row, first, last, role, score = found
    return Arguments(row[is_kept], first[is_kept], last[is_kept], role[is_kept], score[is_kept])


def _next(is_stop: NDArray[np.bool_], places: Numbers) -> Numbers:
    """Return the first stop behind each place."""
    stops = np.flatnonzero(is_stop)
    found: Numbers = stops[np.searchsorted(stops, places, "right")]
    return found
