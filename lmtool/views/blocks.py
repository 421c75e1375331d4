"""What there is to see of a document, as plain data that knows no terminal and no page.

A layer gets its view by an entry in `VIEWS`. A plugin's own layer that is a list of spans with
labels is seen as marks, and one that is a vector as its size, length and first numbers; a document
with nothing to see is its text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..documents import Document, EventArgument, own_spans
from ..documents import Frame as FrameLayer


@dataclass(frozen=True, slots=True)
class Mark:
    """A labelled stretch of a passage, half-open."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A predicate of a passage, its sense, and its arguments, whose labels are roles."""

    predicate: Mark
    arguments: tuple[Mark, ...] = ()

    @property
    def start(self) -> int:
        """Where its first span starts."""
        return min(mark.start for mark in (self.predicate, *self.arguments))

    @property
    def end(self) -> int:
        """Where its last span ends."""
        return max(mark.end for mark in (self.predicate, *self.arguments))


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with marks and frames, both of which may overlap."""

    text: str
    marks: tuple[Mark, ...] = ()
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A relation from one thing of the text to another; the marks say where they stand."""

    head: Mark
    tail: Mark
    label: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """The relations of a text."""

    text: str
    links: tuple[Link, ...]

    def name(self, mark: Mark) -> str:
        """Return what a mark covers, in one line; the id of an entity that is not there."""
        return one_line(self.text[mark.start : mark.end]) or mark.label


@dataclass(frozen=True, slots=True)
class Card:
    """An event: its type, its trigger, and (role, text) of each argument."""

    label: str
    trigger: str
    arguments: tuple[tuple[str, str], ...] = ()
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A class with its score, from 0 to 1, where it has one; a number is a class without one."""

    label: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a text in one scheme, the likeliest first."""

    scheme: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A text about the text: its summary, its translation, or the text it is compared with."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Extract:
    """Sentences taken from the text: (sentence, where it stands) of each."""

    title: str
    sentences: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Turns:
    """A dialogue: (who, what) of each message."""

    turns: tuple[tuple[str, str], ...]


Block = Passage | Links | Card | Classes | Note | Extract | Turns


def view(document: Document) -> list[Block]:
    """Return what there is to see of a document: the text with its marks, then the rest.

    A text without marks is left out where there is a summary, which is read in its place.
    """
    shown = [make(document) for name, make in VIEWS.items() if document.layer(name) is not None]
    blocks = [block for made in shown for block in made] + list(_view_own(document))
    passages = [block for block in blocks if isinstance(block, Passage)]
    said = {text for block in blocks if isinstance(block, Turns) for _, text in block.turns}
    if said and document.text in ("", *said):
        return blocks
    about_text = [Note("pair", document.pair)] if document.pair is not None else []
    others = [block for block in blocks if not isinstance(block, Passage)]
    if not passages and document.summary is None:
        passages = [Passage(document.text)]
    return [*passages, *about_text, *others]


def one_line(text: str) -> str:
    """Return a text with each run of white space as one space."""
    return " ".join(text.split())


LEAST_VECTOR: Final = 8
"""Numbers from which on a list is taken for a vector."""
SHOWN_NUMBERS: Final = 6
"""How many numbers of a vector are shown."""


def _view_own(document: Document) -> Iterator[Block]:
    """Yield a passage for each layer of a plugin's own of spans, a note for each vector."""
    for _, spans in own_spans(document):
        marks = (Mark(span["start"], span["end"], str(span["label"])) for span in spans)
        yield Passage(document.text, tuple(marks))
    for name, value in document.fields.items():
        is_list = isinstance(value, list) and len(value) >= LEAST_VECTOR
        if is_list and all(isinstance(number, float) for number in value):
            first = " ".join(f"{number:.4f}" for number in value[:SHOWN_NUMBERS])
            size = f"{len(value)} numbers, length {math.hypot(*value):.4f}"
            yield Note(name, f"{size}: {first} …")


def _view_entities(document: Document) -> list[Block]:
    marks = tuple(Mark(e.start, e.end, e.label) for e in document.entities or ())
    return [Passage(document.text, marks, _frames(document))]


def _view_frames(document: Document) -> list[Block]:
    """Return the text with its frames, unless it stands there already, with the entities."""
    return [] if document.entities is not None else [Passage(document.text, (), _frames(document))]


def _frames(document: Document) -> tuple[Frame, ...]:
    frames = [_frame(frame) for frame in document.frames or ()]
    return tuple(sorted(frames, key=lambda frame: (frame.predicate.start, frame.predicate.end)))


def _frame(frame: FrameLayer) -> Frame:
    predicate = Mark(frame.predicate.start, frame.predicate.end, frame.sense or "")
    arguments = sorted(frame.arguments, key=lambda a: (a.start, -a.end))
    return Frame(predicate, tuple(Mark(a.start, a.end, a.role) for a in arguments))


def _view_relations(document: Document) -> list[Block]:
    marks = {e.id: Mark(e.start, e.end, e.label) for e in document.entities or () if e.id}
    links = tuple(
        Link(
            marks.get(relation.head, Mark(0, 0, relation.head)),
            marks.get(relation.tail, Mark(0, 0, relation.tail)),
            relation.label,
            relation.score,
        )
        for relation in document.relations or ()
    )
    return [Links(document.text, links)] if links else []


def _view_events(document: Document) -> Sequence[Block]:
    names = {e.id: document.text[e.start : e.end] for e in document.entities or () if e.id}
    cards = []
    for event in document.events or ():
        trigger = one_line(document.text[event.trigger.start : event.trigger.end])
        arguments = tuple((a.role, _argument(document, names, a)) for a in event.arguments)
        cards.append(Card(event.label, trigger, arguments, event.trigger.score))
    return cards


def _argument(document: Document, names: dict[str, str], argument: EventArgument) -> str:
    """Return what an argument covers, or the name of its entity, or at least its id."""
    text = argument.text or ""
    if argument.start is not None and argument.end is not None:
        text = document.text[argument.start : argument.end]
    elif argument.entity is not None:
        text = names.get(argument.entity, text or argument.entity)
    return one_line(text)


def _view_labels(document: Document) -> Sequence[Block]:
    return [
        Classes(
            scheme,
            tuple(
                Bar(
                    label.label or ("" if label.value is None else f"{label.value:.4g}"),
                    label.score,
                )
                for label in labels
            ),
        )
        for scheme, labels in (document.labels or {}).items()
    ]


def _view_summary(document: Document) -> list[Block]:
    """Return the sentences of a summary with their places, or what a model wrote, and its parts."""
    summary = document.summary
    if summary is None:
        return []
    if summary.sentences:
        found = [
            (one_line(document.text[start:end]), _place(document, start, end))
            for start, end in summary.sentences
        ]
        return [Extract("summary", tuple(found))]
    blocks: list[Block] = [Note(_cut("summary", summary.finish), summary.text)]
    for part in summary.parts:
        title = f"characters {part.start:,} to {part.end:,}"
        blocks.append(Note(_cut(title, part.finish), part.text))
    return blocks


def _place(document: Document, start: int, end: int) -> str:
    """Return where characters stand: of which text, where it has a name, or of several one."""
    name, origin = "" if document.id is None else f"{document.id}, ", 0
    several = document.fields.get("documents")
    for one in several if isinstance(several, list) else ():
        match one:
            case {"source": str(source), "start": int(first), "end": int(last)}:
                if first <= start and end <= last:
                    name, origin = f"{one.get('id', source)}, ", first
    return f"{name}characters {start - origin:,} to {end - origin:,}"


def _cut(title: str, finish: object) -> str:
    """Return the title of what a model wrote: whether it was cut at its most tokens."""
    return f"{title} (cut)" if finish == "length" else title


def _view_completions(document: Document) -> list[Block]:
    items = _with_texts(document.layer("completions"), "text")
    blocks: list[Block] = []
    for number, item in enumerate(items, 1):
        title = "completion" if len(items) == 1 else f"completion {number}"
        blocks.append(Note(_cut(title, item.get("finish")), item["text"].strip()))
    return blocks


def _view_translation(document: Document) -> list[Block]:
    blocks: list[Block] = []
    for item in _with_texts([document.layer("translation")], "text"):
        title = str(item.get("language") or "translation")
        blocks.append(Note(_cut(title, item.get("finish")), item["text"]))
    return blocks


def _view_messages(document: Document) -> list[Block]:
    turns = _with_texts(document.layer("messages"), "role", "content")
    return [Turns(tuple((turn["role"], turn["content"]) for turn in turns))] if turns else []


def _with_texts(layer: object, *names: str) -> list[dict[str, Any]]:
    """Return the items of a layer that is a list of objects with these texts; else none.

    A field of the input may have the name of a layer and another shape.
    """
    items = layer if isinstance(layer, list) else []
    are_good = all(
        isinstance(item, dict) and all(isinstance(item.get(name), str) for name in names)
        for item in items
    )
    return items if are_good else []


VIEWS: Final[dict[str, Callable[[Document], Sequence[Block]]]] = {
    "entities": _view_entities,
    "frames": _view_frames,
    "labels": _view_labels,
    "relations": _view_relations,
    "events": _view_events,
    "summary": _view_summary,
    "completions": _view_completions,
    "translation": _view_translation,
    "messages": _view_messages,
}
"""The view of each layer; a passage, if there is one, comes first."""
