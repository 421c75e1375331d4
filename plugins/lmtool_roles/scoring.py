"""Scores of frames: exact spans of predicates and of arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from lmtool.documents import UNKNOWN, Document
from lmtool.scoring import precision_recall_f1

Item = tuple[int, int, int, int, str]
"""An argument: start and end of its predicate, its own, and its role."""


def score_frames(
    gold: Sequence[Document], predicted: Sequence[Document], roles: Sequence[str]
) -> dict[str, Any]:
    """Compare the arguments of frames, and their predicates.

    An argument is right when its predicate's span, its own span and its role are those of the gold:
    the span F1 of CoNLL-2005 and 2012. The predicate itself (V) is not counted as an argument, and
    R- and C- roles are counted as roles of their own, where the scorer of CoNLL-2005 joins a C-
    to what it continues. Where predicates were found, arguments of wrong predicates are wrong;
    where they were given, the same figures are those of arguments alone.

    Keys beside those of `precision_recall_f1`, which are of arguments: "argument_f1",
    "predicate_f1", "predicates" (precision, recall, F1) and "errors".

    Gold with a role that is not among `roles`, the model's, counts as missed. Not scored:
    arguments that overlap a gold one of their predicate whose role is "?", and roles that the
    document's `annotated` leaves out.
    """
    right, n_gold, n_predicted = Counter[str](), Counter[str](), Counter[str]()
    of_predicates = Counter[str]()
    errors = []
    for gold_document, predicted_document in zip(gold, predicted, strict=True):
        wanted = {item for item in _items(gold_document) if item[4] != UNKNOWN}
        found = _scored(gold_document, predicted_document, roles)
        right.update(item[4] for item in wanted & found)
        n_gold.update(item[4] for item in wanted)
        n_predicted.update(item[4] for item in found)
        places, found_places = _predicates(gold_document), _predicates(predicted_document)
        of_predicates.update(
            right=len(places & found_places), gold=len(places), predicted=len(found_places)
        )
        errors.append(len(wanted ^ found) + len(places ^ found_places))
    every = [*roles, *sorted(n_gold.keys() - set(roles))]
    report = precision_recall_f1(right, n_gold, n_predicted, every)
    n_right, n_in_gold, n_found = (
        {"": of_predicates[name]} for name in ("right", "gold", "predicted")
    )
    predicates = precision_recall_f1(n_right, n_in_gold, n_found, [""])["micro"]
    return {
        "argument_f1": report["micro_f1"],
        "predicate_f1": predicates["f1"],
        "predicates": predicates,
        **report,
        "errors": errors,
    }


def _predicates(document: Document) -> set[tuple[int, int]]:
    return {(frame.predicate.start, frame.predicate.end) for frame in document.frames or ()}


def _items(document: Document) -> Iterator[Item]:
    for frame in document.frames or ():
        start, end = frame.predicate.start, frame.predicate.end
        for argument in frame.arguments:
            yield start, end, argument.start, argument.end, argument.role


def _scored(gold: Document, predicted: Document, roles: Sequence[str]) -> set[Item]:
    """Return the predicted arguments that the gold can judge."""
    known = set((gold.annotated or {}).get("frames", roles))
    unknown = [item for item in _items(gold) if item[4] == UNKNOWN]
    return {
        item
        for item in _items(predicted)
        if item[4] in known
        and not any(u[:2] == item[:2] and item[2] < u[3] and u[2] < item[3] for u in unknown)
    }
