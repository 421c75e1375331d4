"""Brat's standoff format: a folder with a text (.txt) and its annotations (.ann) a document."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from ..compression import compression_of
from ..documents import UNKNOWN, Document, Entity, Event, EventArgument, Relation, Span
from ..errors import DataError
from ..sources import BadRecord, PathWriter, Reader, ReadOptions, Source
from ..streams import FileSource
from .lines import Line, bad_record, read_lines
from .text import read_text

_TEXT_BOUND = re.compile(r"(\S+) (\d+ \d+(?:;\d+ \d+)*)")
_RELATION = re.compile(r"(\S+) Arg1:(\S+) Arg2:(\S+)")
_EVENT = re.compile(r"([^\s:]+):(\S+)((?: +[^\s:]+:\S+)*)")


class BratReader(Reader):
    """Reads a document from a .ann file and the .txt of the same name beside it.

    Text-bound annotations (T) become entities, or the triggers of events; R become relations
    and E events, whose arguments are entities or, where an argument is an event, its trigger's
    span. Attributes, notes, normalizations and equivalences are passed over. The id is the file's
    name. A bad line is reported and the document goes on without it; of a discontinuous span
    the whole extent stays, with the reserved label "?".
    """

    name = "brat"
    suffixes = (".ann",)
    summary = "a folder of .txt with .ann beside them"

    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        """Yield the bad lines of the annotations, then the document."""
        stem = _stem(source.name)
        is_text = PurePath(stem).suffix.lower() == ".txt"
        stem = stem[:-4]
        text_source = source if is_text else _beside(stem + ".txt")
        if text_source is None:
            yield BadRecord(source.name, 0, f"no {stem}.txt beside it", "add the text it is about")
            return
        text = read_text(text_source, options)
        if isinstance(text, BadRecord):
            yield text
            return
        standoff = _Standoff(text)
        if not is_text:
            for line in read_lines(source, options):
                if problem := line.problem or standoff.add(source, line):
                    yield problem
        yield from standoff.finish(source)
        yield standoff.document(PurePath(stem).name, has_annotations=not is_text)


def _stem(name: str) -> str:
    compression = compression_of(name)
    return name[: -len(compression)] if compression else name


def _beside(name: str) -> FileSource | None:
    """Return the file of this name, compressed or not."""
    candidates = (FileSource(name + suffix) for suffix in ("", ".gz", ".zst", ".xz"))
    return next((source for source in candidates if source.size is not None), None)


class _TextBound(NamedTuple):
    label: str
    span: Span


class _Standoff:
    """The annotations of one text, gathered line by line."""

    def __init__(self, text: str) -> None:
        self.text = text.removeprefix("\ufeff")
        self._shift = len(text) - len(self.text)  # brat counts the byte order mark
        self._bounds: dict[str, _TextBound] = {}
        self._relations: list[tuple[Line, Relation]] = []
        self._events: dict[str, tuple[Line, str, str, list[tuple[str, str]]]] = {}
        self._events_done: list[Event] = []
        self._relations_done: list[Relation] = []

    def add(self, source: Source, line: Line) -> BadRecord | None:
        """Take in a line; return what is wrong with it."""
        try:
            self._add(line)
        except DataError as error:
            return bad_record(source, line.number, error, line.text)
        return None

    def _add(self, line: Line) -> None:
        key, tab, rest = line.text.partition("\t")
        kind = key[:1]
        if not line.text.strip() or kind in "#*AMN":
            return
        if not tab or kind not in "TRE":
            raise DataError("not a line of brat's standoff format", hint="write ID, a tab, …")
        if kind == "T":
            self._add_bound(key, *rest.partition("\t")[::2])
        elif kind == "R":
            match = _RELATION.fullmatch(rest.strip())
            if not match:
                raise DataError("not a relation", hint="write R1, a tab, LABEL Arg1:T1 Arg2:T2")
            relation = Relation(match[2], match[3], match[1])
            self._relations.append((line, relation))
        else:
            match = _EVENT.fullmatch(rest.strip())
            if not match:
                raise DataError("not an event", hint="write E1, a tab, LABEL:T1 ROLE:T2 …")
            pairs = [(r, i) for r, _, i in (p.partition(":") for p in match[3].split())]
            self._events[key] = (line, match[1], match[2], pairs)

    def _add_bound(self, key: str, head: str, reference: str) -> None:
        match = _TEXT_BOUND.fullmatch(head.strip())
        if not match:
            raise DataError("not a text-bound annotation", hint="write T1, a tab, LABEL START END")
        numbers = [int(n) - self._shift for n in re.split("[ ;]", match[2])]
        start, end = numbers[0], numbers[-1]
        if not 0 <= start < end <= len(self.text):
            raise DataError(
                f"offsets {match[2]} do not fit a text of {len(self.text)} characters",
                hint="offsets count characters, and a line end of two characters as two",
            )
        covered = self.text[start:end]
        is_whole = len(numbers) == 2
        if is_whole and reference.split() != covered.split():
            raise DataError(
                f"text is {reference!r} but {start}:{end} covers {covered!r}",
                hint="the .txt file is not the one that was annotated",
            )
        label = match[1] if is_whole else UNKNOWN
        self._bounds[key] = _TextBound(label, Span(start, end, covered))
        if not is_whole:
            raise DataError(
                f"the span {match[2]} is discontinuous",
                hint='a span is one stretch of text: its extent is kept with the label "?"',
            )

    def finish(self, source: Source) -> Iterator[BadRecord]:
        """Resolve relations and events; yield those that refer to what is not there."""
        triggers = {trigger for _, _, trigger, _ in self._events.values()}
        for line, relation in self._relations:
            ends = (relation.head, relation.tail)
            lost = [i for i in ends if i not in self._bounds or i in triggers]
            if lost:
                yield _lost(source, line, f"{lost[0]!r} is no entity")
            else:
                self._relations_done.append(relation)
        for line, label, trigger, pairs in self._events.values():
            if trigger not in self._bounds:
                yield _lost(source, line, f"the trigger {trigger!r} is not there")
                continue
            arguments = [(role, self._argument(role, i, triggers)) for role, i in pairs]
            for (role, argument), (_, key) in zip(arguments, pairs, strict=True):
                if argument is None:
                    yield _lost(source, line, f"{role} refers to {key!r}, which is not there")
            found = [argument for _, argument in arguments if argument is not None]
            self._events_done.append(Event(label, self._bounds[trigger].span, found))
        self._bounds = {k: b for k, b in self._bounds.items() if k not in triggers}

    def _argument(self, role: str, key: str, triggers: set[str]) -> EventArgument | None:
        key = self._events[key][2] if key in self._events else key
        if key not in self._bounds:
            return None
        if key not in triggers:
            return EventArgument(role, entity=key)
        span = self._bounds[key].span
        return EventArgument(role, start=span.start, end=span.end, text=span.text)

    def document(self, name: str, *, has_annotations: bool) -> Document:
        """Return the document; without an .ann file its layers are absent, not empty."""
        if not has_annotations:
            return Document(id=name, text=self.text)
        entities = [
            Entity(id=k, start=b.span.start, end=b.span.end, text=b.span.text, label=b.label)
            for k, b in self._bounds.items()
        ]
        return Document(
            id=name,
            text=self.text,
            entities=entities,
            relations=self._relations_done or None,
            events=self._events_done or None,
        )


def _lost(source: Source, line: Line, reason: str) -> BadRecord:
    error = DataError(reason, hint="an annotation refers to another by the id at its line's start")
    return bad_record(source, line.number, error, line.text)


class BratWriter(PathWriter):
    """Writes a folder with a .txt and an .ann file for each document.

    Files are named after the documents' ids, or numbered where there is none that can be a
    file name. Entities, relations and events are written; brat has no place for other layers.
    Spaces and colons in labels become underscores.
    """

    name = "brat"
    suffixes = ()
    summary = "a folder of .txt and .ann: entities, relations, events"

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[Callable[[Sequence[Document]], None]]:
        """Create the folder."""
        path.mkdir()
        n_written = 0

        def write(documents: Sequence[Document]) -> None:
            nonlocal n_written
            prepared = [(d, "".join(f"{line}\n" for line in standoff_lines(d))) for d in documents]
            for document, lines in prepared:
                n_written += 1
                stem = _write_text(path, document, n_written)
                (path / f"{stem}.ann").write_text(lines, "utf-8", newline="")

        yield write


def _write_text(folder: Path, document: Document, number: int) -> str:
    """Write the text under a name that no document has taken; return that name."""
    key = str(document.id)
    is_name = document.id is not None and re.fullmatch(r"[\w-][\w.-]{0,99}", key)
    stem = key if is_name else f"{number:06}"
    while True:
        try:
            with (folder / f"{stem}.txt").open("x", encoding="utf-8", newline="") as file:
                file.write(document.text)
            return stem
        except FileExistsError:
            stem += f"-{number}"


def standoff_lines(document: Document) -> list[str]:
    """Return the lines of the .ann file that says what a document's layers say."""
    lines: list[str] = []

    def bound(label: str, start: int, end: int) -> str:
        key = f"T{len(lines) + 1}"
        text = re.sub(r"[\t\r\n]", " ", document.text[start:end])
        lines.append(f"{key}\t{_type(label)} {start} {end}\t{text}")
        return key

    keys: dict[str | None, str] = {}
    for e in document.entities or ():
        key = bound(e.label, e.start, e.end)
        keys.update({e.id: key} if e.id is not None else {})
    events = document.events or ()
    triggers = [bound(e.label, e.trigger.start, e.trigger.end) for e in events]
    others = []
    for number, (event, trigger) in enumerate(zip(events, triggers, strict=True), 1):
        arguments = ""
        for a in event.arguments:
            key = keys.get(a.entity, "")
            if not key and a.start is not None and a.end is not None:
                key = bound(a.role, a.start, a.end)
            arguments += f" {_type(a.role)}:{key}" if key else ""
        others.append(f"E{number}\t{_type(event.label)}:{trigger}{arguments}")
    relations = _relation_lines(document.relations or (), keys)
    return [*lines, *relations, *others]


def _relation_lines(relations: Sequence[Relation], keys: dict[str | None, str]) -> list[str]:
    lines = []
    for number, r in enumerate(relations, 1):
        if r.head not in keys or r.tail not in keys:
            raise DataError(
                f"relation {r.label!r}: no entity {r.head!r} or {r.tail!r} in the document",
                hint="head and tail are ids of entities",
            )
        lines.append(f"R{number}\t{_type(r.label)} Arg1:{keys[r.head]} Arg2:{keys[r.tail]}")
    return lines


def _type(label: str) -> str:
    """Return the label as brat takes it: without spaces and colons."""
    return re.sub(r"[\s:]", "_", label) or "_"
