"""Relations: from entities to groups and pairs of groups, and from scores back to relations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmtool.documents import UNKNOWN, Document
from lmtool.windows import Window

N_DISTANCES = 20
RARE = 0.001
"""Share of the relations below which those between two types of entities are passed over."""


PERSONS = frozenset(("PER", "PERSON"))
"""Labels, in upper case, of entities that a part of the name can stand for."""


class Mention(NamedTuple):
    """An entity in a window: the range of its words (exclusive), label, text, number and id."""

    first: int
    last: int
    label: str
    text: str
    number: int
    id: str | None = None

    @property
    def key(self) -> str | int:
        """What names it: its id or, without one, its number."""
        return self.number if self.id is None else self.id


@dataclass(frozen=True, slots=True)
class RelationForm:
    """What decides the form of a relation head.

    `types` are the entity labels it tells apart. `pairs` are the pairs of types that relations
    have been seen between (None: all). With `is_exclusive` at most one relation holds between
    two entities: a pair is read once, the first in the text before the second, and each label is
    two classes, forward and backward.
    """

    labels: tuple[str, ...]
    types: tuple[str, ...]
    has_groups: bool = False
    """Whether entities are groups of mentions: the gold says which, at work their names do."""
    pairs: frozenset[tuple[str, str]] | None = None
    is_exclusive: bool = False

    @classmethod
    def of(cls, labels: Mapping[str, Sequence[str]], form: Mapping[str, Any]) -> RelationForm:
        """Return the form that a task's labels and form say."""
        given = form.get("relations", {})
        pairs = given.get("pairs")
        return cls(
            tuple(labels["relations"]),
            tuple(given.get("types", labels.get("entities", ()))),
            bool(given.get("groups", "entities" in labels)),
            None if pairs is None else frozenset((head, tail) for head, tail in pairs),
            bool(given.get("exclusive", False)),
        )

    @property
    def n_classes(self) -> int:
        """The classes of a pair, with the threshold or "none"."""
        return 1 + len(self.labels) * (2 if self.is_exclusive else 1)

    def may_relate(self, head: str, tail: str) -> bool:
        """Whether a pair of entities with these labels is read."""
        if self.pairs is None or (head, tail) in self.pairs:
            return True
        return self.is_exclusive and (tail, head) in self.pairs


def collect_relation_form(documents: Sequence[Document]) -> dict[str, Any]:
    """Return what `RelationForm.of` reads: what the relations in these documents show."""
    types: set[str] = set()
    pairs: Counter[tuple[str, str]] = Counter()
    is_exclusive, has_groups, n_relations = True, False, 0
    for document in documents:
        if document.relations is None:
            continue
        label_of = {e.id: e.label for e in document.entities or () if e.id is not None}
        types |= {e.label for e in document.entities or ()}
        has_groups = has_groups or bool(document.fields.get("clusters"))
        seen: set[frozenset[str]] = set()
        for relation in document.relations:
            if relation.head not in label_of or relation.tail not in label_of:
                continue
            pairs[label_of[relation.head], label_of[relation.tail]] += 1
            both = frozenset((relation.head, relation.tail))
            is_exclusive = is_exclusive and both not in seen
            seen.add(both)
            n_relations += 1
    if not n_relations:
        return {}
    known = sorted(p for p, n in pairs.items() if UNKNOWN not in p and n >= RARE * n_relations)
    return {
        "types": sorted(types - {UNKNOWN}),
        "pairs": [list(pair) for pair in known],
        "exclusive": is_exclusive,
        "groups": has_groups,
    }


def gold_pairs(
    window: Window, document: Document, form: RelationForm
) -> dict[str, NDArray[np.int64]]:
    """Return what the relation head reads and learns of one window; {} when it has no pair."""
    mentions = document_mentions(window, document)
    groups = make_groups(mentions, form, document)
    pairs = make_pairs(mentions, groups, form)
    if not pairs:
        return {}
    cluster_of = clusters_of(document)
    group_of = {
        cluster_of.get(mentions[index].key, mentions[index].key): number
        for number, group in enumerate(groups)
        for index in group
    }
    relations: dict[tuple[int, int], set[str]] = {}
    for relation in document.relations or ():
        head = group_of.get(cluster_of.get(relation.head, relation.head))
        tail = group_of.get(cluster_of.get(relation.tail, relation.tail))
        if head is not None and tail is not None:
            relations.setdefault((head, tail), set()).add(relation.label)
    annotated = (document.annotated or {}).get("relations", form.labels)
    return {
        **pair_inputs(mentions, groups, pairs, form, window.word_tokens),
        "pair_labels": pair_labels(pairs, relations, form, annotated),
    }


def document_mentions(window: Window, document: Document) -> list[Mention]:
    """Return the entities of a document in a window, in order, but for unknown ones."""
    mentions = []
    for number, entity in enumerate(document.entities or ()):
        words = words_in(window, entity.start, entity.end)
        if words is not None and entity.label != UNKNOWN:
            text = document.text[entity.start : entity.end]
            mentions.append(Mention(*words, entity.label, text, number, entity.id))
    return sorted(mentions, key=lambda mention: mention[:3])


def words_in(window: Window, start: int, end: int) -> tuple[int, int] | None:
    """Return the words that characters of the document touch; None if they leave the window."""
    if start < window.start or end > window.start + len(window.text):
        return None
    first, last = window.words_touched(start, end)
    return (first, last) if first < last else None


def clusters_of(document: Document) -> dict[str | int, tuple[str, int]]:
    """Return the cluster of each entity id that the document's field `clusters` names."""
    clusters = document.fields.get("clusters") or ()
    return {key: ("cluster", number) for number, keys in enumerate(clusters) for key in keys}


def make_groups(
    mentions: Sequence[Mention], form: RelationForm, document: Document | None = None
) -> list[list[int]]:
    """Return the mentions of each entity, by number, in the order of the first ones.

    They are those that the document's field `clusters` puts together. Without it, where the form
    has groups: mentions of one label with the same text (but for case), and a person's shorter
    name goes with the one longer name that has its words.
    """
    clusters = clusters_of(document) if document is not None else {}
    keys: list[object] = [
        clusters.get(mention.key, index) for index, mention in enumerate(mentions)
    ]
    if not clusters and form.has_groups:
        names = [(mention.label, mention.text.casefold()) for mention in mentions]
        full = _full_names({name for name in names if name[0].upper() in PERSONS})
        keys = [full.get(name, name) for name in names]
    groups: dict[object, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _full_names(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return the longest name of each name that is a part of just one other (or a chain)."""
    full = {}
    for name in names:
        words = set(name[1].split())
        longer = [n for n in names if n[0] == name[0] and words < set(n[1].split())]
        longest = max(longer, key=lambda n: len(n[1].split()), default=None)
        if longest and all(set(n[1].split()) <= set(longest[1].split()) for n in longer):
            full[name] = longest
    return full


def pair_inputs(
    mentions: Sequence[Mention],
    groups: Sequence[Sequence[int]],
    pairs: Sequence[tuple[int, int]],
    form: RelationForm,
    word_tokens: NDArray[np.int64],
) -> dict[str, NDArray[np.int64]]:
    """Return what the relation head reads of one window, without a batch axis."""
    type_of = {label: number for number, label in enumerate(form.types, 1)}
    group_of = np.zeros(len(mentions), np.int64)
    for number, group in enumerate(groups):
        group_of[list(group)] = number
    spans = np.array([(m.first, m.last - 1) for m in mentions], np.int64)
    return {
        "mentions": word_tokens[spans],
        "mention_groups": group_of,
        "group_types": np.array([type_of.get(mentions[g[0]].label, 0) for g in groups], np.int64),
        "pairs": np.array(pairs, np.int64),
        "pair_distances": _distances(mentions, groups, pairs),
    }


def make_pairs(
    mentions: Sequence[Mention], groups: Sequence[Sequence[int]], form: RelationForm
) -> list[tuple[int, int]]:
    """Return the pairs of groups that are read."""
    labels = [mentions[group[0]].label for group in groups]
    return [
        (i, j)
        for i, head in enumerate(labels)
        for j, tail in enumerate(labels)
        if (i < j if form.is_exclusive else i != j) and form.may_relate(head, tail)
    ]


def pair_labels(
    pairs: Sequence[tuple[int, int]],
    relations: Mapping[tuple[int, int], set[str]],
    form: RelationForm,
    annotated: Sequence[str],
) -> NDArray[np.int64]:
    """Return 1 where a class holds, 0 where not and -100 where the gold does not say.

    (pairs, classes); `relations` has the labels by groups. "?" makes the rest of a pair unknown.
    """
    n_labels = len(form.labels)
    known = [0 if label in annotated else -100 for label in form.labels]
    directions = 2 if form.is_exclusive else 1
    rows = np.array([[0, *known * directions]] * len(pairs), np.int64)
    number_of = {label: number for number, label in enumerate(form.labels, 1)}
    for row, (i, j) in zip(rows, pairs, strict=True):
        for direction in range(directions):
            labels = relations.get((i, j) if direction == 0 else (j, i), set())
            if UNKNOWN in labels:
                row[row == 0] = -100
            row[[number_of[x] + direction * n_labels for x in labels if x in number_of]] = 1
        if form.is_exclusive and row[0] == 0:
            if (row == 1).any():
                row[row < 0] = 0
            else:
                row[0] = 1
    return rows


def _distances(
    mentions: Sequence[Mention],
    groups: Sequence[Sequence[int]],
    pairs: Sequence[tuple[int, int]],
) -> NDArray[np.int64]:
    """Return for each pair which entity comes first and, by powers of 2, how near they come."""
    firsts = [[mentions[i].first for i in group] for group in groups]
    half = N_DISTANCES // 2
    distances = []
    for i, j in pairs:
        a, b = firsts[i], firsts[j]
        words = abs(a[0] - b[0])
        if len(a) > 1 or len(b) > 1:
            words = min(abs(one - other) for one in a for other in b)
        bucket = min(words.bit_length(), half - 1)
        distances.append(bucket + (half if a[0] > b[0] else 0))
    return np.array(distances, np.int64)
