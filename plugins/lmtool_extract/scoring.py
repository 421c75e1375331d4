"""Scores of entities, relations and events, with what the gold does not know left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from lmtool.documents import UNKNOWN, Document, Entity, Event
from lmtool.scoring import precision_recall_f1

from .events import argument_spans
from .relations import clusters_of

Items = set[tuple[Hashable, str]]
"""What a document says: each item with its label last."""


def score_layers(
    gold: Sequence[Document], predicted: Sequence[Document], labels: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Score every layer that the model has and some document has gold for.

    A document without a layer is not scored on it. Keys: a report (see `lmtool.scoring`) under
    "entities", "relations", "triggers" and "arguments"; "labels", the micro row of each of them;
    "micro_f1", the mean of their micro F1; "errors", the wrong items by document. A model that
    has relations alone gets the report on them: its "macro_f1" is the official measure of
    SemEval-2010 Task 8 (macro F1 with the direction counted, "Other" left out).
    """
    if list(labels) == ["relations"]:
        return score_relations(gold, predicted, labels["relations"])
    reports: dict[str, dict[str, Any]] = {}
    errors = [0] * len(gold)
    for name, layer, score in (
        ("entities", "entities", score_entities),
        ("relations", "relations", score_relations),
        ("triggers", "events", score_triggers),
        ("arguments", "events", score_arguments),
    ):
        known = labels.get("events" if name == "triggers" else name)
        rows = [i for i, document in enumerate(gold) if document.layer(layer) is not None]
        if known is None or not rows:
            continue
        report = score([gold[i] for i in rows], [predicted[i] for i in rows], known)
        for row, n_wrong in zip(rows, report.pop("errors"), strict=True):
            errors[row] += n_wrong
        if report["micro"]["support"]:
            reports[name] = report
    mean = sum(report["micro_f1"] for report in reports.values()) / max(len(reports), 1)
    rows_by_layer = {name: report["micro"] for name, report in reports.items()}
    return {"labels": rows_by_layer, "micro_f1": round(mean, 2), **reports, "errors": errors}


def score_relations(
    gold: Sequence[Document], predicted: Sequence[Document], labels: Sequence[str]
) -> dict[str, Any]:
    """Compare relations between entities, each the mentions that the gold's `clusters` join.

    A predicted relation is right if its head and its tail have the exact span of a mention of the
    gold's head and tail, and its label is the gold's. Two that say the same count once. Left out:
    predictions with a label that `annotated` leaves out, and those of a pair whose gold is "?".
    """
    return _score(gold, predicted, labels, _relations)


def score_triggers(
    gold: Sequence[Document], predicted: Sequence[Document], labels: Sequence[str]
) -> dict[str, Any]:
    """Compare triggers: exact span and event type."""
    return _score(gold, predicted, labels, _triggers)


def score_arguments(
    gold: Sequence[Document], predicted: Sequence[Document], labels: Sequence[str]
) -> dict[str, Any]:
    """Compare arguments: exact span, role and the type of the event."""
    return _score(gold, predicted, labels, _arguments)


def _score(
    gold: Sequence[Document],
    predicted: Sequence[Document],
    labels: Sequence[str],
    items: Callable[[Document, Document, Sequence[str]], tuple[Items, Items]],
) -> dict[str, Any]:
    """Count equal items; those of gold with a label that the model lacks are missed."""
    right: Counter[str] = Counter()
    n_gold: Counter[str] = Counter()
    n_predicted: Counter[str] = Counter()
    errors = []
    for one, other in zip(gold, predicted, strict=True):
        wanted, found = items(one, other, labels)
        right.update(label for _, label in wanted & found)
        n_gold.update(label for _, label in wanted)
        n_predicted.update(label for _, label in found)
        errors.append(len(wanted ^ found))
    every = [*labels, *sorted(n_gold.keys() - set(labels))]
    return {**precision_recall_f1(right, n_gold, n_predicted, every), "errors": errors}


def best_bias(gold: Sequence[Document], every: Sequence[Document], labels: Sequence[str]) -> float:
    """Return what to add to the margins of relations for the best micro F1.

    `every` has all relations that may hold, with their margins as scores.
    """
    margins: list[tuple[float, bool]] = []
    n_gold = 0
    for one, other in zip(gold, every, strict=True):
        wanted, found = _scored_relations(one, other, labels)
        n_gold += len(wanted)
        margins += [(margin, item in wanted) for item, margin in found.items()]
    margins.sort(reverse=True)
    best_f1, best, n_right = 0.0, 0.0, 0
    for n_found, (margin, is_right) in enumerate(margins, 1):
        n_right += is_right
        f1 = 2 * n_right / (n_found + n_gold)
        if f1 > best_f1:
            below = margins[n_found][0] if n_found < len(margins) else margin - 0.1
            best_f1, best = f1, -(margin + below) / 2
    return round(best, 3)


def _relations(gold: Document, predicted: Document, labels: Sequence[str]) -> tuple[Items, Items]:
    wanted, found = _scored_relations(gold, predicted, labels)
    return wanted, {*found}


def _scored_relations(
    gold: Document, predicted: Document, labels: Sequence[str]
) -> tuple[Items, dict[tuple[Hashable, str], float]]:
    """Return the relations of the gold, and the best score of each that is predicted."""
    cluster_of = clusters_of(gold)
    clusters_at: dict[tuple[int, int], list[Hashable]] = {}
    for entity in gold.entities or ():
        key = cluster_of.get(entity.id or "", entity.id)
        clusters_at.setdefault((entity.start, entity.end), []).append(key)
    wanted: Items = set()
    unknown: set[Hashable] = set()
    for relation in gold.relations or ():
        ends = tuple(cluster_of.get(key, key) for key in (relation.head, relation.tail))
        if relation.label == UNKNOWN:
            unknown.add(ends)
        else:
            wanted.add((ends, relation.label))
    known = (gold.annotated or {}).get("relations", labels)
    place_of = {entity.id: (entity.start, entity.end) for entity in predicted.entities or ()}
    found: dict[tuple[Hashable, str], float] = {}
    for relation in predicted.relations or ():
        places = [place_of.get(relation.head), place_of.get(relation.tail)]
        heads, tails = (clusters_at.get(at, [at]) if at else [at] for at in places)
        readings = [(head, tail) for head in heads for tail in tails]
        if relation.label not in known or unknown & set(readings):
            continue
        right = [ends for ends in readings if (ends, relation.label) in wanted]
        item = ((right or readings)[0], relation.label)
        score = 1.0 if relation.score is None else relation.score
        found[item] = max(score, found.get(item, score))
    return wanted, found


def _triggers(gold: Document, predicted: Document, labels: Sequence[str]) -> tuple[Items, Items]:
    known = (gold.annotated or {}).get("events", labels)
    wanted: Items = {
        ((event.trigger.start, event.trigger.end), event.label)
        for event in gold.events or ()
        if event.label != UNKNOWN
    }
    found: Items = {
        ((event.trigger.start, event.trigger.end), event.label)
        for event in _scored_events(gold, predicted)
        if event.label in known
    }
    return wanted, found


def _arguments(gold: Document, predicted: Document, labels: Sequence[str]) -> tuple[Items, Items]:
    known = (gold.annotated or {}).get("arguments", labels)
    unknown = [s for e in gold.events or () for s in argument_spans(e, gold) if s[2] == UNKNOWN]
    wanted: Items = {*_argument_items(gold, gold.events or ())}
    found: Items = {
        (place, role)
        for place, role in _argument_items(predicted, _scored_events(gold, predicted))
        if role in known and not any(place[0] < s[1] and s[0] < place[1] for s in unknown)
    }
    return wanted, found


_Argument = tuple[tuple[int, int, str], str]


def _argument_items(document: Document, events: Iterable[Event]) -> set[_Argument]:
    return {
        ((start, end, event.label), role)
        for event in events
        for start, end, role in argument_spans(event, document)
        if UNKNOWN not in (role, event.label)
    }


def _scored_events(gold: Document, predicted: Document) -> list[Event]:
    """Return the predicted events whose triggers do not overlap one labelled "?"."""
    unknown = [e.trigger for e in gold.events or () if e.label == UNKNOWN]
    return [
        event
        for event in predicted.events or ()
        if not any(event.trigger.start < u.end and u.start < event.trigger.end for u in unknown)
    ]


def score_entities(
    gold: Sequence[Document], predicted: Sequence[Document], labels: Sequence[str]
) -> dict[str, Any]:
    """Compare exact spans; see `lmtool.scoring` for the measures.

    Gold with a label that is not among `labels`, the model's, counts as missed. Not scored:
    predictions that overlap a gold span labelled "?", and predictions with a label that the
    document's `annotated` leaves out.
    """
    right: Counter[str] = Counter()
    n_gold: Counter[str] = Counter()
    n_predicted: Counter[str] = Counter()
    confusion: Counter[tuple[str, str]] = Counter()
    errors = []
    for gold_document, predicted_document in zip(gold, predicted, strict=True):
        wanted = _wanted(gold_document)
        found = _scored(gold_document, predicted_document, labels)
        hits = wanted.keys() & found.keys()
        right.update(label for _, _, label in hits)
        n_gold.update(label for _, _, label in wanted)
        n_predicted.update(label for _, _, label in found)
        errors.append(len(wanted) + len(found) - 2 * len(hits))
        gold_by_span = {(s, e): label for s, e, label in wanted}
        found_by_span = {(s, e): label for s, e, label in found}
        for span in gold_by_span.keys() | found_by_span.keys():
            confusion[gold_by_span.get(span, "O"), found_by_span.get(span, "O")] += 1
    every = [*labels, *sorted(n_gold.keys() - set(labels))]
    report = precision_recall_f1(right, n_gold, n_predicted, every)
    names = [*every, "O"]
    report["confusion"] = {
        "labels": names,
        "counts": [[confusion[row, column] for column in names] for row in names],
    }
    report["errors"] = errors
    return report


def _wanted(document: Document) -> dict[tuple[int, int, str], Entity]:
    return {
        (entity.start, entity.end, entity.label): entity
        for entity in document.entities or ()
        if entity.label != UNKNOWN
    }


def _scored(
    gold: Document, predicted: Document, labels: Sequence[str]
) -> dict[tuple[int, int, str], Entity]:
    known = (gold.annotated or {}).get("entities", labels)
    unknown = [e for e in gold.entities or () if e.label == UNKNOWN]
    return {
        (entity.start, entity.end, entity.label): entity
        for entity in predicted.entities or ()
        if entity.label in known
        and not any(entity.start < u.end and u.start < entity.end for u in unknown)
    }
