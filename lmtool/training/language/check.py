"""A look at the documents of a text task before training: counts, lengths, what is not learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ...documents import Document
from ...errors import DataError
from ...inputs import Check
from ...sources import BadRecord
from ...tasks import TextTask
from .examples import Example, ExampleEncoder, PartReport, make_examples
from .packed import Gaps

N_BAD = 5
"""Records that cannot be read and are named."""


class TextReport(msgspec.Struct, kw_only=True):
    """What is in the data of a run, and what is wrong with it."""

    train: PartReport
    dev: PartReport
    context: int
    """Tokens that an example may have."""
    duplicates: int
    """Documents of dev whose prompts all stand in train too."""
    bad: list[BadRecord] = []
    """Records that could not be read."""
    gaps: Gaps | None = None
    """How the training examples fill their rows."""


class TextExamples(msgspec.Struct):
    """The examples of both parts, and the report on them."""

    train: list[Example]
    dev: list[Example]
    report: TextReport


def shape_check(task: type[TextTask], form: Mapping[str, Any] | None = None) -> Check:
    """Return what raises DataError for a document with a layer of the task in another shape."""

    def check(document: Document) -> None:
        if any(document.layer(layer) is not None for layer in task.layers):
            task({**task.collect_form([document]), **(form or {})}).pairs(document)

    return check


def nothing_to_learn(task: type[TextTask], files: Sequence[str], n_documents: int) -> DataError:
    """Return the error for files without anything to learn for a task."""
    shown = ", ".join(files[:3]) + (", …" if len(files) > 3 else "")
    what = f"none of {n_documents:,} documents has anything" if n_documents else "no documents"
    return DataError(
        f"{shown}: {what} to learn for the task {task.name!r}",
        hint=shape_hint(task),
    )


def shape_hint(task: type[TextTask]) -> str:
    """Return what a task learns from, as a hint."""
    return f"it learns from: {', '.join(task.layers)} (docs/finetune.md shows their shape)"


def check_texts(
    task: TextTask,
    encoder: ExampleEncoder,
    context: int,
    train: Sequence[Document],
    dev: Sequence[Document],
    bad: Sequence[BadRecord] = (),
) -> TextExamples:
    """Return the examples of documents, and what is in them.

    Raises DataError for a document that holds a layer of another shape.
    """
    parts = PartReport(), PartReport()
    examples = [
        make_examples(documents, task, encoder, context, part)
        for documents, part in zip((train, dev), parts, strict=True)
    ]
    known = {asked for document in train for asked in _asked(task, document)}
    n_known = sum(bool(a := _asked(task, document)) and a <= known for document in dev)
    report = TextReport(
        train=parts[0], dev=parts[1], context=context, duplicates=n_known, bad=list(bad)
    )
    return TextExamples(examples[0], examples[1], report)


def _asked(task: TextTask, document: Document) -> set[bytes]:
    """Return what a document asks: its prompts, or the text where it has none."""
    pairs = task.pairs(document)
    return {
        msgspec.json.encode(str(prompt or completion) if isinstance(prompt, str) else prompt)
        for prompt, completion in pairs
    }


def render_text_report(report: TextReport) -> str:
    """Return a report as text: a table of counts, then a line for each thing to look at."""
    train, dev = report.train, report.dev
    rows = [("", "train", "dev")]
    for name in ("documents", "examples", "tokens", "learnt"):
        shown = {"learnt": "tokens learnt"}.get(name, name)
        rows.append((shown, f"{getattr(train, name):,}", f"{getattr(dev, name):,}"))
    for name, share in (("median length", 0.5), ("95 % are at most", 0.95), ("longest", 1.0)):
        lengths = _quantile(train.lengths, share), _quantile(dev.lengths, share)
        rows.append((name, f"{lengths[0]:,}", f"{lengths[1]:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
    return "\n".join([*table, *_remarks(report)])


def _quantile(lengths: Sequence[int], share: float) -> int:
    found = sorted(lengths)
    return found[min(int(share * len(found)), len(found) - 1)] if found else 0


def _remarks(report: TextReport) -> Iterator[str]:
    for number, bad in enumerate(report.bad[:N_BAD]):
        yield f"cannot be read: {bad.message}"
        if bad.hint and bad.hint not in [before.hint for before in report.bad[:number]]:
            yield f"  {bad.hint}"
    if len(report.bad) > N_BAD:
        yield f"cannot be read: {len(report.bad) - N_BAD:,} more records"
    for name, part in (("train", report.train), ("dev", report.dev)):
        if part.without_gold:
            yield f"{name}: {part.without_gold:,} documents have nothing to learn and are left out"
        if part.too_long:
            yield (
                f"{name}: {part.too_long:,} documents do not fit {report.context:,} tokens and "
                f"are left out, the longest has {part.longest:,}: {', '.join(part.named)}"
            )
        if part.split:
            yield f"{name}: {part.split:,} texts are longer and are split, none of them is lost"
        if part.shortened:
            yield f"{name}: {part.shortened:,} dialogues are longer and lose their oldest turns"
    if report.duplicates:
        yield f"{report.duplicates:,} documents of dev ask what stands in train too"
    if report.gaps is not None:
        gaps = report.gaps
        yield (
            f"packed into {gaps.rows:,} rows of {gaps.width:,} tokens, "
            f"{100 * gaps.share:.1f} % of them padding"
        )
