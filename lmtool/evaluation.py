"""Evaluation: the same for a checkpoint in PyTorch and a bundle in ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .documents import LAYERS, Document, document_to_record
from .errors import DataError
from .tasks import EncoderTask, TextTask

if TYPE_CHECKING:
    from .documentmodels import DocumentModel
    from .textmodels import TextModel

log = logging.getLogger("lmtool")


class Evaluation(NamedTuple):
    """A report, and the documents behind it: with gold, and what the model made of them."""

    report: dict[str, Any]
    gold: list[Document]
    predicted: list[Document]


def evaluate(model: DocumentModel | TextModel, documents: Iterable[Document]) -> dict[str, Any]:
    """Annotate documents that hold gold and compare; returns the report of `evaluation`."""
    return evaluation(model, documents).report


def evaluation(model: DocumentModel | TextModel, documents: Iterable[Document]) -> Evaluation:
    """Annotate documents that hold gold and compare.

    The report is what `task.score` gives, and "documents", their number. Of a text task it has
    the "perplexity" and "bits_per_byte" of texts that are learnt as a whole besides, and these
    alone, of all texts, where no document has gold. Raises DataError when there is nothing to
    measure.
    """
    documents = list(documents)
    texts = _texts_to_score(model.task, documents) if isinstance(model.task, TextTask) else []
    likelihood: dict[str, Any] = {}
    if texts:
        found = model.likelihood(texts)  # type: ignore[union-attr]  # it is a TextModel
        likelihood = {
            "texts": len(texts),
            "perplexity": round(found.perplexity, 4),
            "bits_per_byte": round(found.bits_per_byte, 4),
        }
    if texts and not any(map(model.task.has_gold, documents)):
        return Evaluation({"documents": len(texts), **likelihood}, [], [])
    gold, predicted = annotate_again(model, documents)
    report = {"documents": len(gold), **scoring_task(model).score(gold, predicted), **likelihood}
    return Evaluation(report, gold, predicted)


def scoring_task(model: DocumentModel | TextModel) -> EncoderTask | TextTask:
    """Return the task that says which gold counts, and scores it: that of the model's options."""
    task = model.task
    return task.narrowed(model.options) if isinstance(task, EncoderTask) else task


def annotate_again(
    model: DocumentModel | TextModel, documents: Iterable[Document]
) -> tuple[list[Document], list[Document]]:
    """Return the documents with gold, and what the model makes of them without it.

    One that a language model cannot be asked, such as one too long, stays as it is, and a warning
    counts them: it is scored as one of which nothing was found.
    """
    task, documents = model.task, list(documents)
    gold = list(filter(scoring_task(model).has_gold, documents))
    if not gold:
        raise DataError(
            f"no document has gold for the task {task.name!r}",
            hint=f"the documents have: {', '.join(_layers_of(documents)) or 'no layer'}; "
            f"this model finds: {', '.join(_parts_of(task))} (see docs/documents.md)",
        )
    blank = [task.blank(document, model.options) for document in gold]
    found = [result for chunk in model.chunks(blank) for result in model.annotate(chunk)]
    failed = [result for result in found if isinstance(result, DataError)]
    if failed:
        log.warning(
            "%d of %d documents could not be asked; the first: %s",
            len(failed),
            len(gold),
            failed[0].message,
        )
    predicted = [
        document if isinstance(result, DataError) else result
        for document, result in zip(blank, found, strict=True)
    ]
    return gold, predicted


def _layers_of(documents: Iterable[Document]) -> list[str]:
    """Return the layers that documents have, "labels" by its schemes."""
    names: dict[str, None] = {}
    for document in documents:
        names |= dict.fromkeys(f"labels.{scheme}" for scheme in document.labels or ())
        rest = (name for name in LAYERS if name not in ("labels", "annotated", "coverage"))
        names |= dict.fromkeys(name for name in rest if document.layer(name) is not None)
    return list(names)


def _parts_of(task: EncoderTask | TextTask) -> Sequence[str]:
    """Return what a model finds: its schemes, where it has any, or its layers."""
    parts = task.parts if isinstance(task, EncoderTask) else task.layers
    return [part for part in parts if part not in task.layers] or parts


def _texts_to_score(task: TextTask, documents: Sequence[Document]) -> list[str]:
    """Return the texts that the task learns as a whole: those without a prompt.

    All of them where it learns nothing from any document.
    """
    pairs = [pair for document in documents for pair in task.pairs(document)]
    if not pairs and not any(map(task.has_gold, documents)):
        return [document.text for document in documents if document.text.strip()]
    return [completion for prompt, completion in pairs if prompt == ""]


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
