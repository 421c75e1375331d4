"""The document record: a text and its layers, read and written as one JSON object a line.

Offsets are half-open and count Unicode code points of `Document.text`. The JSON form is
described in docs/documents.md; `Document.fields` carries every input field that is not a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from .errors import DataError

UNKNOWN: Final = "?"
"""The reserved gold label of a span about which nothing is known: not trained on, not scored."""


class Label(msgspec.Struct, omit_defaults=True):
    """A class given to the whole document; in a scheme of numbers, a `value` without a label."""

    label: str = ""
    score: float | None = None
    value: float | None = None


class Span(msgspec.Struct, omit_defaults=True):
    """A stretch of the text: `document.text[start:end] == text`."""

    start: int
    end: int
    text: str = ""
    score: float | None = None


class Entity(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A named thing in the text; `id` is what relations and events refer to."""

    id: str | None = None
    start: int
    end: int
    text: str = ""
    label: str
    score: float | None = None


class Relation(msgspec.Struct, omit_defaults=True):
    """A relation from the entity with the id `head` to the one with the id `tail`."""

    head: str
    tail: str
    label: str
    score: float | None = None


class EventArgument(msgspec.Struct, omit_defaults=True):
    """A participant of an event: an entity by id, or a span of its own."""

    role: str
    entity: str | None = None
    start: int | None = None
    end: int | None = None
    text: str | None = None
    score: float | None = None


class Event(msgspec.Struct, omit_defaults=True):
    """Something that happens: its type, the word that says so, and who takes part."""

    label: str
    trigger: Span
    arguments: list[EventArgument] = []


class FrameArgument(msgspec.Struct, omit_defaults=True):
    """An argument of a predicate with its PropBank role."""

    role: str
    start: int
    end: int
    text: str = ""
    score: float | None = None


class Frame(msgspec.Struct):
    """A predicate with its arguments."""

    predicate: Span
    sense: str | None = None
    arguments: list[FrameArgument] = []


class SummaryPart(msgspec.Struct, omit_defaults=True):
    """What a model said of the characters from `start` to `end` of a text."""

    start: int
    end: int
    text: str
    finish: str = ""
    """"length" where it was cut at the most tokens."""


class Summary(msgspec.Struct, omit_defaults=True):
    """A summary, and where it comes from.

    Of one in the text's own sentences, `sentences` has their character spans. Of one that a
    model wrote, `parts` has what it said of each part of a text that it could not read at once.
    """

    text: str
    sentences: list[tuple[int, int]] = []
    parts: list[SummaryPart] = []
    finish: str = ""
    """"length" where it was cut at the most tokens."""


class Coverage(msgspec.Struct):
    """How much of the text the model read: characters in all, characters read, windows."""

    characters: int
    read: int
    windows: int


class Document(msgspec.Struct, kw_only=True):
    """One input record: a text, its layers, and every other field of the input.

    A layer that is None is absent; an empty one was looked for and nothing was found.
    `annotated` says, for a layer of gold, for which labels it is complete (default: all).
    A layer that the core does not know (a plugin's own) lives in `fields`.
    """

    text: str
    id: str | int | None = None
    pair: str | None = None
    """The second text, where a task compares two; offsets are those of `text`."""
    fields: dict[str, Any] = {}
    labels: dict[str, list[Label]] | None = None
    entities: list[Entity] | None = None
    relations: list[Relation] | None = None
    events: list[Event] | None = None
    frames: list[Frame] | None = None
    summary: Summary | None = None
    annotated: dict[str, list[str]] | None = None
    coverage: Coverage | None = None

    def layer(self, name: str) -> Any:
        """Return the layer of this name, or None when the document has none."""
        return getattr(self, name) if name in LAYERS else self.fields.get(name)

    def with_layers(self, layers: Mapping[str, Any]) -> Document:
        """Return a copy with these layers set; layers the core does not know go to `fields`."""
        known = {name: value for name, value in layers.items() if name in LAYERS}
        own = {name: value for name, value in layers.items() if name not in LAYERS}
        fields = {**self.fields, **own} if own else self.fields
        return msgspec.structs.replace(self, fields=fields, **known)

    def with_text(self, text: str) -> Document:
        """Return a document of another text with the same fields, without layers of the core."""
        return Document(text=text, id=self.id, pair=self.pair, fields=self.fields)

    def without_layers(self, names: Iterable[str]) -> Document:
        """Return a copy without these layers: what a task is given to predict again."""
        names = set(names)
        known: dict[str, Any] = {name: None for name in names if name in LAYERS}
        fields = {name: value for name, value in self.fields.items() if name not in names}
        return msgspec.structs.replace(self, fields=fields, **known)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: every layer, as `--format html` draws it."""
        from .views import fragment

        return fragment(self)


LAYERS: Final = (
    "labels",
    "entities",
    "relations",
    "events",
    "frames",
    "summary",
    "annotated",
    "coverage",
)
_KNOWN: Final = frozenset(("id", "text", "pair", *LAYERS))
_encoder = msgspec.json.Encoder()


def document_from_record(record: object, *, text_field: str = "text", where: str = "") -> Document:
    """Make a document of a decoded JSON object.

    `where` ("file:line") begins the message of a DataError, which is raised when the record
    is no object, has no text, or holds a layer of the wrong shape or with offsets that do
    not fit its text. The field named `text_field` becomes the document's text.
    """
    prefix = f"{where}: " if where else ""
    if not isinstance(record, dict):
        raise DataError(
            f"{prefix}not a JSON object but {type(record).__name__}",
            hint='write each record as {"text": "…"}; plain text needs --input-format txt',
        )
    if text_field == "text" and isinstance(record.get("messages"), list):
        record = {"text": "", **record}  # a dialogue needs no text beside
    if text_field not in record:
        names = ", ".join(sorted(str(name) for name in record)) or "no field at all"
        raise DataError(
            f"{prefix}no field {text_field!r} (it has: {names})",
            hint="choose the field that holds the text with --text-field NAME; lmtool data convert "
            "does so for gold",
        )
    if text_field != "text":
        if "text" in record:
            raise DataError(
                f"{prefix}has a field 'text' beside the chosen {text_field!r}",
                hint="rename one of them: the output puts the text that was read under 'text'",
            )
        record = {"text": record[text_field], **record}
        del record[text_field]
    try:
        document = msgspec.convert({k: record[k] for k in record if k in _KNOWN}, Document)
    except msgspec.ValidationError as error:
        raise DataError(
            f"{prefix}{error}", hint="see docs/documents.md for the shape of each layer"
        ) from None
    document.fields = {k: v for k, v in record.items() if k not in _KNOWN}
    _check_spans(document, prefix)
    return document


def document_to_record(document: Document) -> dict[str, Any]:
    """Return the JSON form: id, text, pair, the other input fields, the layers there are."""
    record: dict[str, Any] = {} if document.id is None else {"id": document.id}
    record["text"] = document.text
    if document.pair is not None:
        record["pair"] = document.pair
    record.update(document.fields)
    for name in LAYERS:
        value = getattr(document, name)
        if value is not None:
            record[name] = value
    return record


def encode_document(document: Document) -> bytes:
    """Return the document as one line of JSON in UTF-8, with its line end."""
    return _encoder.encode(document_to_record(document)) + b"\n"


def is_span(value: Any) -> bool:
    """Whether a value of a plugin's own layer is {"start": …, "end": …, "label": …}."""
    if not (isinstance(value, dict) and "label" in value):
        return False
    return isinstance(value.get("start"), int) and isinstance(value.get("end"), int)


def own_spans(document: Document) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each field that is a list of spans with labels: a layer that the core does not know."""
    for name, value in document.fields.items():
        if isinstance(value, list) and value and all(map(is_span, value)):
            yield name, value


def _spans(document: Document) -> Iterable[tuple[str, Any]]:
    for i, entity in enumerate(document.entities or ()):
        yield f"entities[{i}]", entity
    for i, event in enumerate(document.events or ()):
        yield f"events[{i}].trigger", event.trigger
        for j, argument in enumerate(event.arguments):
            if argument.start is not None and argument.end is not None:
                yield f"events[{i}].arguments[{j}]", argument
    for i, frame in enumerate(document.frames or ()):
        yield f"frames[{i}].predicate", frame.predicate
        for j, role in enumerate(frame.arguments):
            yield f"frames[{i}].arguments[{j}]", role


def _check_spans(document: Document, prefix: str) -> None:
    """Raise DataError where a span leaves the text or says another text than it covers."""
    for name, span in _spans(document):
        if not 0 <= span.start < span.end <= len(document.text):
            raise DataError(
                f"{prefix}{name}: offsets {span.start}:{span.end} do not fit a text of "
                f"{len(document.text)} characters",
                hint="offsets are half-open and count Unicode characters, not bytes",
            )
        covered = document.text[span.start : span.end]
        if span.text and span.text != covered:
            raise DataError(
                f"{prefix}{name}: text is {span.text!r} but {span.start}:{span.end} covers "
                f"{covered!r}",
                hint="offsets are half-open and count Unicode characters, not bytes",
            )
        span.text = covered
