"""Scores of entities: exact spans, with what the gold does not know left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lmtool.documents import UNKNOWN, Document, Entity
from lmtool.scoring import precision_recall_f1


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
