"""From hidden states to what stands in a window: running the graphs and reading their outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

import lmtool
from lmtool.batching import cut_batches
from lmtool.windows import Window

from .addresses import addresses, is_part_of_address
from .events import EventForm
from .relations import (
    Mention,
    RelationForm,
    document_mentions,
    make_groups,
    make_pairs,
    pair_inputs,
)
from .tags import WordSpan, spans_from_logits

_LINE_END = re.compile(r"\s*\n\s*")

BATCH_CELLS = 256
"""Pairs, or words of triggers' windows, that are scored in one run of a graph, with padding."""


LEAST_MARGIN = -4.0
"""How far below the threshold of the head relations are still told, for `calibrate`."""


class FoundEntity(NamedTuple):
    """An entity: its characters in the window."""

    start: int
    end: int
    label: str
    score: float


class FoundRelation(NamedTuple):
    """A relation between two entities, by number: in the part or, where given, in the document."""

    head: int
    tail: int
    label: str
    margin: float
    """How far its class lies above the threshold."""


class FoundArgument(NamedTuple):
    """An argument: its characters in the window."""

    start: int
    end: int
    role: str
    score: float


class FoundEvent(NamedTuple):
    """A trigger, its characters in the window, and its arguments."""

    start: int
    end: int
    label: str
    score: float
    arguments: list[FoundArgument]


class Found(TypedDict, total=False):
    """What stands in a window; a layer that was not looked for is missing."""

    entities: list[FoundEntity]
    relations: list[FoundRelation]
    events: list[FoundEvent]


def tagged_spans(
    graph: lmtool.Graph,
    hidden: Mapping[str, NDArray[Any]],
    windows: Sequence[Window],
    labels: Sequence[str],
) -> list[list[WordSpan]]:
    """Run a tagger and return the spans of each window, but for those inside an address.

    A span ends where a blank line follows, and is cut behind a line that it fills.
    """
    logits = graph.run(hidden)["logits"]
    best = logits.argmax(2)
    found = []
    for row, row_best, window in zip(logits, best, windows, strict=True):
        tokens = window.word_tokens
        spans = spans_from_logits(row[tokens], row_best[tokens], labels)
        if spans:
            spans = [part for span in spans for part in _by_lines(window, span)]
            inside = addresses(window.text)
            places = [characters(window, span.first, span.last) for span in spans]
            pairs = zip(spans, places, strict=True)
            spans = [span for span, place in pairs if not is_part_of_address(place, inside)]
        found.append(spans)
    return found


def _by_lines(window: Window, span: WordSpan) -> Iterator[WordSpan]:
    """Yield the parts of a span that stand on lines of their own.

    A name goes on behind a line that is broken at a margin; a line that holds nothing else is
    whole, as in an address.
    """
    text, first = window.text, span.first
    for found in _LINE_END.finditer(text, *characters(window, span.first, span.last)):
        line = text[text.rfind("\n", 0, found.start()) + 1 : int(window.word_starts[first])]
        is_blank = found[0].count("\n") > 1
        if is_blank or not line.strip():
            last = int(np.searchsorted(window.word_starts, found.start()))
            yield span._replace(first=first, last=last)
            first = last
        if is_blank:
            return
    yield span._replace(first=first)


def find_entities(
    graph: lmtool.Graph,
    hidden: Mapping[str, NDArray[Any]],
    windows: Sequence[Window],
    labels: Sequence[str],
) -> list[list[FoundEntity]]:
    """Return the entities of each window."""
    return [
        [
            FoundEntity(*characters(window, span.first, span.last), span.label, rounded(span.score))
            for span in spans
        ]
        for window, spans in zip(windows, tagged_spans(graph, hidden, windows, labels), strict=True)
    ]


def find_relations(
    graph: lmtool.Graph,
    hidden: Mapping[str, NDArray[Any]],
    windows: Sequence[Window],
    found: Sequence[Sequence[FoundEntity] | None],
    form: RelationForm,
) -> list[list[FoundRelation]]:
    """Return the relations of each window that may hold, from first mention to first mention.

    They are between the entities `found`, or, where that is None, those of the document.
    """
    relations: list[list[FoundRelation]] = [[] for _ in windows]
    read = [_Pairs.of(window, row, form) for window, row in zip(windows, found, strict=True)]
    rows = [index for index, one in enumerate(read) if one.pairs]
    for batch in cut_batches([len(read[row].pairs) for row in rows], BATCH_CELLS):
        chosen = [rows[i] for i in batch]
        inputs = [read[row].inputs(windows[row].word_tokens, form) for row in chosen]
        feeds = _select(hidden, chosen, max(len(windows[row].ids) for row in chosen))
        feeds |= {name: stack([one[name] for one in inputs]) for name in inputs[0]}
        logits = graph.run(feeds)["relations"]
        for row, scores in zip(chosen, logits, strict=True):
            relations[row] = read[row].relations(scores, form)
    return relations


class _Pairs(NamedTuple):
    """The pairs of a window: its mentions, their groups, and pairs of groups."""

    mentions: list[Mention]
    groups: list[list[int]]
    pairs: list[tuple[int, int]]

    @classmethod
    def of(cls, window: Window, found: Sequence[FoundEntity] | None, form: RelationForm) -> _Pairs:
        """Pair the entities found, or the document's where that is None."""
        given = window.document if found is None else None
        if given is not None:
            mentions = document_mentions(window, given)
        else:
            mentions = [
                Mention(
                    *window.words_touched(window.start + e.start, window.start + e.end),
                    e.label,
                    window.text[e.start : e.end],
                    number,
                )
                for number, e in enumerate(found or ())
            ]
        groups = make_groups(mentions, form, given)
        return cls(mentions, groups, make_pairs(mentions, groups, form))

    def inputs(self, word_tokens: NDArray[np.int64], form: RelationForm) -> dict[str, NDArray[Any]]:
        return pair_inputs(self.mentions, self.groups, self.pairs, form, word_tokens)

    def relations(self, logits: NDArray[Any], form: RelationForm) -> list[FoundRelation]:
        """Return the relations that the logits of these pairs, (pairs, classes), say."""
        found = []
        for pair, number, margin in relation_margins(logits[: len(self.pairs)], form):
            direction, label = divmod(number, len(form.labels))
            head, tail = self.pairs[pair] if direction == 0 else self.pairs[pair][::-1]
            first, second = (self.mentions[self.groups[i][0]].number for i in (head, tail))
            found.append(FoundRelation(first, second, form.labels[label], rounded(margin)))
        return found


def relation_margins(logits: NDArray[Any], form: RelationForm) -> list[tuple[int, int, float]]:
    """Return pairs, classes (without the threshold) and by how much they exceed the threshold.

    Those that come near it are among them, with a margin below 0. Of a pair that can have one
    relation only the best class is.
    """
    margins = logits[:, 1:] - logits[:, :1]
    near = margins > LEAST_MARGIN
    if form.is_exclusive:
        is_best = margins == margins.max(1, keepdims=True)
        near &= is_best & (np.cumsum(is_best, 1) == 1)
    pairs, classes = np.nonzero(near)
    return list(zip(pairs.tolist(), classes.tolist(), margins[near].tolist(), strict=True))


def find_events(
    graphs: Mapping[str, lmtool.Graph],
    hidden: Mapping[str, NDArray[Any]],
    windows: Sequence[Window],
    form: EventForm,
) -> list[list[FoundEvent]]:
    """Return the events of each window with their arguments, if they have any."""
    spans = tagged_spans(graphs["events"], hidden, windows, form.labels)
    events = [
        [
            FoundEvent(*characters(window, t.first, t.last), t.label, rounded(t.score), [])
            for t in triggers
        ]
        for window, triggers in zip(windows, spans, strict=True)
    ]
    if not form.roles:
        return events
    asked = [[n for n, t in enumerate(row) if form.has_arguments(t.label)] for row in spans]
    triggers = [[row[n] for n in numbers] for row, numbers in zip(spans, asked, strict=True)]
    found = _find_arguments(graphs["arguments"], hidden, windows, triggers, form)
    for row, arguments in found.items():
        for number, these in zip(asked[row], arguments, strict=True):
            events[row][number].arguments.extend(these)
    return events


def _find_arguments(
    graph: lmtool.Graph,
    hidden: Mapping[str, NDArray[Any]],
    windows: Sequence[Window],
    spans: Sequence[Sequence[WordSpan]],
    form: EventForm,
) -> dict[int, list[list[FoundArgument]]]:
    """Return the arguments of each trigger, by the number of its window."""
    rows = [row for row, triggers in enumerate(spans) if triggers]
    cells = [len(spans[row]) * len(windows[row].ids) for row in rows]
    found = {}
    for batch in cut_batches(cells, BATCH_CELLS):
        chosen = [rows[i] for i in batch]
        feeds = _select(hidden, chosen, max(len(windows[row].ids) for row in chosen))
        words = [np.array([(s.first, s.last - 1) for s in spans[row]]) for row in chosen]
        types = [[form.labels.index(s.label) for s in spans[row]] for row in chosen]
        feeds["triggers"] = stack(
            [windows[row].word_tokens[one] for row, one in zip(chosen, words, strict=True)]
        )
        feeds["trigger_types"] = stack([np.array(one, np.int64) for one in types])
        logits = graph.run(feeds)["arguments"]
        for row, scores in zip(chosen, logits, strict=True):
            found[row] = [
                read_arguments(windows[row], span, one[windows[row].word_tokens], form)
                for span, one in zip(spans[row], scores, strict=False)  # padded triggers
            ]
    return found


def read_arguments(
    window: Window, trigger: WordSpan, logits: NDArray[Any], form: EventForm
) -> list[FoundArgument]:
    """Return the arguments that the tags of one trigger, (words, roles, 3), say, in order."""
    low, high = form.words_near(window, trigger.first)
    logits = logits[low:high]
    best = logits.argmax(2)  # (words, roles)
    found = [
        FoundArgument(*characters(window, low + s.first, low + s.last), role, rounded(s.score))
        for number, role in enumerate(form.roles)
        if best[:, number].any() and form.has_role(trigger.label, role)
        for s in spans_from_logits(logits[:, number], best[:, number], [role])
    ]
    return sorted(found)


def characters(window: Window, first: int, last: int) -> tuple[int, int]:
    """Return the characters, in the window, of the words first to last (exclusive)."""
    return int(window.word_starts[first]), int(window.word_ends[last - 1])


def rounded(score: float) -> float:
    """Return a score with the digits that are written."""
    return round(score, 4)


def stack(arrays: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the arrays as one, each axis padded with -100 to the longest."""
    shape = tuple(max(array.shape[axis] for array in arrays) for axis in range(arrays[0].ndim))
    stacked = np.full((len(arrays), *shape), -100, np.int64)
    for row, array in zip(stacked, arrays, strict=True):
        row[tuple(slice(n) for n in array.shape)] = array
    return stacked


def _select(
    hidden: Mapping[str, NDArray[Any]], rows: Sequence[int], n_tokens: int
) -> dict[str, NDArray[Any]]:
    """Return the backbone's outputs for some rows, without padding that none of them needs."""
    return {name: array[rows, :n_tokens] for name, array in hidden.items()}
