"""Evaluation: the same for a checkpoint in PyTorch and a bundle in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .documents import Document, document_to_record
from .errors import DataError
from .models import Model


def evaluate(model: Model, documents: Iterable[Document]) -> dict[str, Any]:
    """Annotate documents that hold gold layers and compare; returns the task's report.

    The report is what `task.score` gives, and "documents", their number. Raises DataError when
    no document has a layer that the task writes.
    """
    return compare(model, *annotate_again(model, documents))


def compare(
    model: Model, gold: Sequence[Document], predicted: Sequence[Document]
) -> dict[str, Any]:
    """Return the report on what `annotate_again` gave."""
    return {"documents": len(gold), **model.task.score(gold, predicted)}


def annotate_again(
    model: Model, documents: Iterable[Document]
) -> tuple[list[Document], list[Document]]:
    """Return the documents with gold, and what the model makes of them without it."""
    layers = model.task.layers
    gold = [document for document in documents if model.task.has_gold(document)]
    if not gold:
        raise DataError(
            f"no document has gold for the task {model.task.name!r}",
            hint=f"it is read from: {', '.join(layers)} (see docs/documents.md)",
        )
    return gold, list(model.pipe(model.task.blank(d, model.options) for d in gold))


def worst(
    report: dict[str, Any], gold: Sequence[Document], predicted: Sequence[Document], n: int
) -> list[tuple[Document, Document]]:
    """Return the n pairs (gold, predicted) with the most wrong items, the worst first.

    None where the task does not count "errors" by document.
    """
    errors: list[int] = report.get("errors", [])
    order = sorted(range(len(errors)), key=lambda i: (-errors[i], i))
    return [(gold[i], predicted[i]) for i in order[:n] if errors[i]]


def pair_to_record(gold: Document, predicted: Document, layers: Sequence[str]) -> dict[str, Any]:
    """Return a wrong document as a record: the prediction, and the gold under "gold"."""
    record = document_to_record(predicted)
    record["gold"] = {name: gold.layer(name) for name in layers}
    return record
