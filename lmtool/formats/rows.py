"""Annotations as rows of a table: the long form of a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..documents import LAYERS, Document, Event, Frame, Relation, own_spans


class Row(NamedTuple):
    """An annotation; what does not apply is None."""

    document: str | int | None
    layer: str
    label: str | None = None
    start: int | None = None
    end: int | None = None
    text: str | None = None
    score: float | None = None


COLUMNS: Final = Row._fields

WRITTEN: Final = {
    "completions": ("finish", "text"),
    "translation": ("language", "text"),
    "messages": ("role", "content"),
}
"""Layers of what language models write: the keys of the label and of the text."""
REWRITTEN: Final = {"redactions": "kind"}
"""Layers of spans in a text that a task has rewritten, which is a row too: the key of the label."""


def annotation_rows(document: Document) -> Iterator[Row]:
    """Yield a row for each annotation: of the core's layers, then of a plugin's own spans."""
    key = document.id
    for scheme, labels in (document.labels or {}).items():
        for label in labels:
            number = "" if label.value is None else f"{label.value:g}"
            yield Row(key, f"labels.{scheme}", label.label or number, score=label.score)
    for e in document.entities or ():
        yield Row(key, "entities", e.label, e.start, e.end, e.text, e.score)
    text_by_id = {e.id: e.text for e in document.entities or () if e.id is not None}
    for relation in document.relations or ():
        yield _relation_row(key, relation, text_by_id)
    for event in document.events or ():
        yield from _event_rows(key, event, document)
    for frame in document.frames or ():
        yield from _frame_rows(key, frame)
    if document.summary is not None:
        yield Row(key, "summary", text=document.summary.text)
        for start, end in document.summary.sentences:
            yield Row(key, "summary.sentence", None, start, end, document.text[start:end])
        for part in document.summary.parts:
            yield Row(key, "summary.part", None, part.start, part.end, part.text)
    for name in WRITTEN:
        yield from written_rows(document, name)
    for name in REWRITTEN:
        yield from _rewritten_rows(document, name)
    for name, spans in own_spans(document):
        for span in spans:
            start, end = span["start"], span["end"]
            text = span.get("text") or document.text[start:end]
            yield Row(key, name, str(span["label"]), start, end, text, span.get("score"))


def has_annotations(document: Document) -> bool:
    """Whether a document has a layer that has rows, be it an empty one."""
    names = [name for name in LAYERS if name not in ("annotated", "coverage")]
    return any(document.layer(name) is not None for name in (*names, *WRITTEN, *REWRITTEN))


def left_out(document: Document) -> list[str]:
    """Return the names of the fields that `annotation_rows` says nothing of."""
    spans = {name for name, _ in own_spans(document)}
    return [
        name
        for name, value in document.fields.items()
        if value not in (None, "", [], {})
        and name not in spans
        and name not in REWRITTEN
        and not (name in WRITTEN and any(written_rows(document, name)))
    ]


def written_rows(document: Document, name: str) -> Iterator[Row]:
    """Yield a row for each text of a layer of WRITTEN; of a field of another shape none."""
    label, text = WRITTEN[name]
    layer = document.layer(name)
    for item in layer if isinstance(layer, list) else [layer]:
        if isinstance(item, dict) and isinstance(item.get(text), str):
            found = item.get(label)
            yield Row(document.id, name, None if found is None else str(found), text=item[text])


def _rewritten_rows(document: Document, name: str) -> Iterator[Row]:
    """Yield the texts of a document that has a layer of REWRITTEN, and a row for each span."""
    layer = document.layer(name)
    if not isinstance(layer, list):
        return
    yield Row(document.id, "text", text=document.text)
    if document.pair is not None:
        yield Row(document.id, "pair", text=document.pair)
    for span in layer:
        start, end, label = span["start"], span["end"], str(span[REWRITTEN[name]])
        yield Row(document.id, name, label, start, end, document.text[start:end])


def _relation_row(key: str | int | None, relation: Relation, text_by_id: dict[str, str]) -> Row:
    head, tail = (text_by_id.get(name, name) for name in (relation.head, relation.tail))
    return Row(key, "relations", relation.label, text=f"{head} -> {tail}", score=relation.score)


def _event_rows(key: str | int | None, event: Event, document: Document) -> Iterator[Row]:
    trigger = event.trigger
    yield Row(key, "events", event.label, trigger.start, trigger.end, trigger.text, trigger.score)
    entities = {e.id: e for e in document.entities or () if e.id is not None}
    for a in event.arguments:
        entity = entities.get(a.entity) if a.entity is not None else None
        span = (entity.start, entity.end, entity.text) if entity else (a.start, a.end, a.text)
        yield Row(key, "events.argument", a.role, *span, a.score)


def _frame_rows(key: str | int | None, frame: Frame) -> Iterator[Row]:
    verb = frame.predicate
    yield Row(key, "frames", frame.sense, verb.start, verb.end, verb.text, verb.score)
    for a in frame.arguments:
        yield Row(key, "frames.argument", a.role, a.start, a.end, a.text, a.score)
