"""A look at the data before training: counts, and what will not be learnt as it stands."""

from __future__ import annotations

import bisect
import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from ..documents import UNKNOWN, Document
from ..sources import BadRecord
from ..windows import TextEncoder, Window

log = logging.getLogger("lmtool")
CUTS_WORD = "does not begin and end with the tokenizer's words"
CROSSES_WINDOW = "crosses the end of a window"
N_EXAMPLES = 5
"""Examples kept of each kind of misfit."""


class PartReport(msgspec.Struct, kw_only=True):
    """The counts of one part of the data."""

    documents: int = 0
    windows: int = 0
    tokens: int = 0
    empty: int = 0
    """Texts without a word."""
    without_gold: int = 0
    """Documents that have none of the task's layers: they are left out."""
    labels: dict[str, dict[str, int]] = {}
    """Counts by layer, then by label."""


class Misfit(msgspec.Struct, kw_only=True):
    """A gold span that is no range of words of a window."""

    document: str
    layer: str
    label: str
    text: str
    reason: str


class DataReport(msgspec.Struct, kw_only=True):
    """What is in the data of a run, and what is wrong with it."""

    train: PartReport
    dev: PartReport
    misfits: dict[str, int]
    """Gold spans that do not fit, by reason."""
    examples: list[Misfit]
    """Some of them."""
    dev_only: dict[str, list[str]]
    """Labels that only dev has, by layer: they cannot be learnt."""
    duplicates: int
    """Documents of dev whose text is in train too."""
    bad: list[BadRecord] = []
    """Records that could not be read."""


class GoldSpan(NamedTuple):
    """A gold span of any layer, in characters of the document."""

    layer: str
    label: str
    start: int
    end: int


def check_data(
    layers: Sequence[str],
    encoder: TextEncoder,
    train: Sequence[Document],
    dev: Sequence[Document],
    bad: Sequence[BadRecord] = (),
) -> DataReport:
    """Return what is in the documents for a task that writes these layers."""
    misfits: Counter[str] = Counter()
    examples: list[Misfit] = []
    parts = []
    for documents in (train, dev):
        part = PartReport(documents=len(documents), labels=count_labels(documents, layers))
        for number, (document, windows) in enumerate(_windows(encoder, documents), 1):
            part.windows += len(windows)
            part.tokens += sum(len(window.ids) for window in windows)
            part.empty += not any(len(window.word_tokens) for window in windows)
            part.without_gold += all(document.layer(layer) is None for layer in layers)
            for misfit in find_misfits(document, windows, layers, f"number {number}"):
                misfits[misfit.reason] += 1
                if misfits[misfit.reason] <= N_EXAMPLES:
                    examples.append(misfit)
        parts.append(part)
    known = {document.text for document in train}
    return DataReport(
        train=parts[0],
        dev=parts[1],
        misfits=dict(misfits),
        examples=examples,
        dev_only=_dev_only(*parts),
        duplicates=sum(document.text in known for document in dev),
        bad=list(bad),
    )


def warn_of_duplicates(reports: Iterable[DataReport]) -> None:
    """Log a warning where documents of dev are in train too: their scores promise too much."""
    for report in reports:
        if report.duplicates:
            log.warning(
                "%s of %s dev documents have a text that is in train too: the scores on dev say "
                "less about new texts than they seem to",
                f"{report.duplicates:,}",
                f"{report.dev.documents:,}",
            )


def _windows(
    encoder: TextEncoder, documents: Sequence[Document]
) -> Iterator[tuple[Document, list[Window]]]:
    """Yield each document with its windows."""
    found = encoder.windows_of(document.text for document in documents)
    for number, group in itertools.groupby(found, key=lambda item: item[0]):
        yield documents[number], [window for _, window in group]


def count_labels(documents: Iterable[Document], layers: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how often each label occurs in these layers, the most frequent first.

    Schemes of the layer "labels" count as "labels.SCHEME", the roles of events and frames as
    "events.roles" and "frames.roles". Layers that the core does not know are not counted.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for document in documents:
        for layer, label in _labels(document):
            if layer.partition(".")[0] in layers and label != UNKNOWN:
                counts[layer][label] += 1
    return {
        layer: dict(sorted(counts[layer].items(), key=lambda item: (-item[1], item[0])))
        for layer in sorted(counts)
    }


def gold_spans(document: Document, layers: Sequence[str]) -> Iterator[GoldSpan]:
    """Yield the gold spans of these layers that a label is known for."""
    if "entities" in layers:
        for entity in document.entities or ():
            if entity.label != UNKNOWN:
                yield GoldSpan("entities", entity.label, entity.start, entity.end)
    if "events" in layers:
        for event in document.events or ():
            yield GoldSpan("events", event.label, event.trigger.start, event.trigger.end)
            for participant in event.arguments:
                if participant.start is not None and participant.end is not None:
                    yield GoldSpan("events", participant.role, participant.start, participant.end)
    if "frames" in layers:
        for frame in document.frames or ():
            predicate = frame.predicate
            yield GoldSpan("frames", "predicate", predicate.start, predicate.end)
            for argument in frame.arguments:
                yield GoldSpan("frames", argument.role, argument.start, argument.end)


def find_misfits(
    document: Document, windows: Sequence[Window], layers: Sequence[str], name: str
) -> Iterator[Misfit]:
    """Yield the gold spans that are no range of words of one window."""
    starts = [window.start for window in windows]
    for span in gold_spans(document, layers):
        window = windows[bisect.bisect_right(starts, span.start) - 1]
        if window.words_of(span.start, span.end) is None:
            is_inside = span.end <= window.start + len(window.text)
            yield Misfit(
                document=name if document.id is None else str(document.id),
                layer=span.layer,
                label=span.label,
                text=document.text[span.start : span.end],
                reason=CUTS_WORD if is_inside else CROSSES_WINDOW,
            )


def render_report(report: DataReport) -> str:
    """Return a report as text: a table of counts, then a line for each thing to look at."""
    train, dev = report.train, report.dev
    rows = [("", "train", "dev")]
    for name in ("documents", "windows", "tokens"):
        rows.append((name, f"{getattr(train, name):,}", f"{getattr(dev, name):,}"))
    for layer in sorted({*train.labels, *dev.labels}):
        rows.append((layer, "", ""))
        of_train, of_dev = train.labels.get(layer, {}), dev.labels.get(layer, {})
        for label in {**of_train, **of_dev}:
            rows.append((f"  {label}", f"{of_train.get(label, 0):,}", f"{of_dev.get(label, 0):,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows]
    return "\n".join([*table, *_remarks(report)])


def _remarks(report: DataReport) -> Iterator[str]:
    for bad in report.bad[:N_EXAMPLES]:
        yield f"cannot be read: {bad.message}"
    if len(report.bad) > N_EXAMPLES:
        yield f"cannot be read: {len(report.bad) - N_EXAMPLES:,} more records"
    for name, part in (("train", report.train), ("dev", report.dev)):
        if part.empty:
            yield f"{name}: {part.empty:,} texts have no word"
        if part.without_gold:
            yield f"{name}: {part.without_gold:,} documents have no gold layer and are left out"
    for layer, labels in report.dev_only.items():
        yield f"dev has labels in {layer} that train has not: {', '.join(labels)}"
    if report.duplicates:
        yield f"{report.duplicates:,} documents of dev have a text that is in train too"
    for reason, count in report.misfits.items():
        yield f"{count:,} gold spans: the span {reason}, so it is not learnt; for example"
        for misfit in report.examples:
            if misfit.reason == reason:
                yield (f"  {misfit.document}: {misfit.layer} {misfit.label} {misfit.text!r}")


def _labels(document: Document) -> Iterator[tuple[str, str]]:
    """Yield (layer, label) for everything in a document that bears a label."""
    for scheme, labels in (document.labels or {}).items():
        for label in labels:
            yield f"labels.{scheme}", label.label or "(number)"
    for entity in document.entities or ():
        yield "entities", entity.label
    for relation in document.relations or ():
        yield "relations", relation.label
    for event in document.events or ():
        yield "events", event.label
        for participant in event.arguments:
            yield "events.roles", participant.role
    for frame in document.frames or ():
        for argument in frame.arguments:
            yield "frames.roles", argument.role


def _dev_only(train: PartReport, dev: PartReport) -> dict[str, list[str]]:
    found = {
        layer: sorted(set(labels) - set(train.labels.get(layer, {})))
        for layer, labels in dev.labels.items()
    }
    return {layer: labels for layer, labels in found.items() if labels}
