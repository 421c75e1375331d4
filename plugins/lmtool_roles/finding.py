"""Running the graphs on a micro-batch: its words, its predicates, and their arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import lmtool
from lmtool.batching import cut_batches
from lmtool.windows import Window

from .decoding import (
    Arguments,
    Numbers,
    Predicates,
    best_tags,
    find_arguments,
    find_predicates,
    without_repeats,
)
from .words import begins_in, distances, role_words

Reach = tuple[int, int]
"""Words before and behind a predicate that its arguments are looked for in, at the most."""

PAIR_WORDS = 1536
"""Padded words of a run of the second graph."""


class FoundFrame(NamedTuple):
    """A predicate of a window with its arguments; offsets count from the window's start."""

    start: int
    end: int
    score: float
    arguments: list[tuple[int, int, str, float]]
    """Start, end, role and score."""
    number: int | None = None
    """Which of the given frames it is; None for one that was found."""


class Words(NamedTuple):
    """The words of a micro-batch, one window after the other."""

    row: Numbers
    """Their windows."""
    token: Numbers
    """Their first tokens in the window."""
    start: Numbers
    """Their first characters in the window."""
    end: Numbers
    bounds: Numbers
    """Where the words of each window begin, and the number of all."""


class Pairs(NamedTuple):
    """Predicates with the sentences that they are in, all as words of the batch."""

    predicate: Numbers
    first: Numbers
    last: Numbers


def find_frames(
    graphs: Mapping[str, lmtool.Graph],
    hidden: Mapping[str, NDArray[Any]],
    windows: Sequence[Window],
    roles: Sequence[str],
    *,
    is_given: bool,
    reach: Reach | None = None,
) -> list[list[FoundFrame]]:
    """Return the frames of each window, in the order of their predicates.

    Arguments are looked for in the predicate's sentence, as far as `reach` where it is given.

    With `is_given` the predicates are those of the windows' documents, and all of them are run.
    Otherwise they are found, and those without arguments cost no run.
    """
    windows = [role_words(window) for window in windows]
    words = words_of(windows)
    outputs = graphs["predicates"].run(hidden)
    numbers: list[int | None]
    if is_given:
        predicates, numbers = given_predicates(windows, words)
    else:
        logits = outputs["predicates"][words.row, words.token]
        predicates = find_predicates(logits, words.bounds)
        numbers = [None] * len(predicates.first)
    arguments: list[list[tuple[int, int, str, float]]] = [[] for _ in numbers]
    wanted = np.flatnonzero(~predicates.is_bare)
    pairs = pair_up(predicates.first[wanted], words, windows, reach)
    for pair, start, end, role, score in find_spans(
        graphs["arguments"], outputs["tokens"], hidden["hidden"], words, pairs, roles
    ):
        arguments[wanted[pair]].append((start, end, roles[role], score))
    frames: list[list[FoundFrame]] = [[] for _ in windows]
    starts, ends = words.start[predicates.first], words.end[predicates.last - 1]
    columns = (words.row[predicates.first], starts, ends, predicates.score.round(4))
    for row, start, end, score, own, number in zip(
        *(column.tolist() for column in columns), arguments, numbers, strict=True
    ):
        frames[row].append(FoundFrame(start, end, score, own, number))
    return frames


def find_spans(
    graph: lmtool.Graph,
    tokens: NDArray[np.float32],
    hidden: NDArray[np.float32],
    words: Words,
    pairs: Pairs,
    roles: Sequence[str],
) -> Iterator[tuple[int, int, int, int, float]]:
    """Yield all arguments: the pair's number, start and end, the role's number, the score.

    `tokens` (batch, seq, width) is the first graph's output, `hidden` (batch, seq, hidden) the
    backbone's. Those of one predicate come in order.
    """
    for rows, found in run_pairs(graph, tokens, hidden, words, pairs, roles):
        starts, ends = words.start[found.first], words.end[found.last - 1]
        columns = (rows[found.row], starts, ends, found.role, found.score.round(4))
        yield from zip(*(column.tolist() for column in columns), strict=True)


def words_of(windows: Sequence[Window]) -> Words:
    """Return the words of the windows."""
    sizes = [len(window.word_tokens) for window in windows]
    row = np.repeat(np.arange(len(windows)), sizes)
    token, start, end = (
        np.concatenate([getattr(window, name) for window in windows])
        for name in ("word_tokens", "word_starts", "word_ends")
    )
    bounds = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    return Words(row, token, start, end, bounds)


def given_predicates(
    windows: Sequence[Window], words: Words
) -> tuple[Predicates, list[int | None]]:
    """Return the predicates that the windows' documents hold, and the numbers of their frames.

    A predicate of several words stands at its first one; one that touches no word is left out.
    """
    places: list[int] = []
    numbers: list[int | None] = []
    for window, origin in zip(windows, words.bounds.tolist(), strict=False):
        frames = window.document.frames or () if window.document else ()
        for number, frame in enumerate(frames):
            if begins_in(window, frame.predicate.start):
                first, last = window.words_touched(frame.predicate.start, frame.predicate.end)
                if first < last:
                    places.append(origin + first)
                    numbers.append(number)
    first_words = np.array(places, np.int64)
    is_bare, scores = np.zeros(len(places), bool), np.ones(len(places))
    return Predicates(first_words, first_words + 1, is_bare, scores), numbers


def pair_up(
    predicates: Numbers, words: Words, windows: Sequence[Window], reach: Reach | None
) -> Pairs:
    """Return each predicate, a word of the batch, with the sentence around it."""
    bounds = []
    for row in np.unique(words.row[predicates]).tolist():
        origin = int(words.bounds[row])
        bounds += [(origin + first, origin + last) for first, last in windows[row].sentences()]
    sentences = np.array(bounds, np.int64).reshape(-1, 2)
    place = np.searchsorted(sentences[:, 0], predicates, "right") - 1
    first, last = sentences[place, 0], sentences[place, 1]
    if reach is not None:
        first = np.maximum(first, predicates - reach[0])
        last = np.minimum(last, predicates + 1 + reach[1])
    return Pairs(predicates, first, last)


def run_pairs(
    graph: lmtool.Graph,
    tokens: NDArray[np.float32],
    hidden: NDArray[np.float32],
    words: Words,
    pairs: Pairs,
    roles: Sequence[str],
) -> Iterator[tuple[Numbers, Arguments]]:
    """Yield the arguments of sub-batches of pairs, with the pairs that their rows are.

    `tokens` (batch, seq, width) is the first graph's output. Words of arguments are counted over
    the batch.
    """
    sizes: list[int] = (pairs.last - pairs.first).tolist()
    for batch in cut_batches(sizes, PAIR_WORDS):
        rows = np.array(batch)
        first, last = pairs.first[rows, None], pairs.last[rows, None]
        places = first + np.arange(sizes[batch[0]])  # (pairs, words)
        mask = places < last
        places = np.minimum(places, last - 1)
        window = words.row[first]
        predicate = pairs.predicate[rows]
        feeds: dict[str, NDArray[Any]] = {
            "tokens": tokens[window, words.token[places]],
            "predicate": hidden[words.row[predicate], words.token[predicate]],
            "distances": distances(places - predicate[:, None]),
            "mask": mask,
        }
        logits = graph.run(feeds)["tags"]
        found = without_repeats(find_arguments(logits, best_tags(logits, mask)), roles)
        origin = first[found.row, 0]
        yield rows, found._replace(first=found.first + origin, last=found.last + origin)
