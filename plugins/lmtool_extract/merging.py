"""From what stands in the windows to the layers of a document, and back for its gold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

import lmtool
from lmtool.documents import UNKNOWN, Document, Entity, Event, EventArgument, Relation, Span
from lmtool.windows import Window

from .events import argument_spans, gold_triggers
from .finding import Found, FoundArgument, FoundEntity, FoundEvent, FoundRelation, characters


def merge_parts(
    document: Document,
    parts: Sequence[lmtool.Part],
    layers: Collection[str],
    scored: Callable[[float], float | None],
) -> dict[str, Any]:
    """Return these layers, offsets in the document; found entities are numbered from e1 on.

    `scored` turns the margin of a relation into its score, None for one that does not hold. Given
    entities are returned only where relations need ids that they do not have.
    """
    merged: dict[str, list[Any]] = {layer: [] for layer in layers}
    entities = merged.get("entities", [])
    given = document.entities or []
    if any(entity.id is None for entity in given):
        given = _with_ids(given)
    for start, found in parts:
        n_before = len(entities)
        for number, entity in enumerate(found.get("entities", ()), n_before + 1):
            entities.append(_entity(document, start, entity, f"e{number}"))
        known = entities[n_before:] if "entities" in found else given
        for relation in found.get("relations", ()):
            score = scored(relation.margin)
            if score is not None:
                ends = (known[relation.head].id or "", known[relation.tail].id or "")
                merged["relations"].append(Relation(*ends, relation.label, score))
        if "events" in merged:
            merged["events"] += [_event(document, start, e) for e in found.get("events", ())]
    if "entities" not in merged and merged.get("relations") and given is not document.entities:
        merged["entities"] = given
    if "entities" in layers and "relations" not in layers and document.entities:
        merged["entities"] = _beside_old(entities, document)
    return merged


def _beside_old(found: Sequence[Entity], document: Document) -> list[Entity]:
    """Return the entities with ids that fit what the document keeps, its relations and events.

    An entity that was there keeps its id. One that is not found again stays where a relation or
    an event names it.
    """
    named = {end for r in document.relations or () for end in (r.head, r.tail)}
    named |= {a.entity for event in document.events or () for a in event.arguments if a.entity}
    old = {(e.start, e.end): e for e in document.entities or () if e.id in named}
    if not old:
        return list(found)
    free = (f"e{n}" for n in itertools.count(1) if f"e{n}" not in named)
    kept = [
        msgspec.structs.replace(e, id=old.pop((e.start, e.end)).id)
        if (e.start, e.end) in old
        else msgspec.structs.replace(e, id=next(free))
        for e in found
    ]
    return sorted([*kept, *old.values()], key=lambda e: (e.start, e.end))


def relation_score(margin: float, bias: float = 0.0, least: float = 0.0) -> float | None:
    """Return the score of a relation, None where it does not hold or has less than `least`.

    It holds where margin and bias are above 0 together; the score, the probability of its class
    against the head's threshold alone, is then above 0.5.
    """
    score = round(1 / (1 + math.exp(-margin - bias)), 4)
    return score if margin + bias > 0 and score >= least else None


def with_frame_arguments(events: Sequence[Event], document: Document) -> list[Event]:
    """Give events without arguments those of the document's frame whose predicate is the trigger.

    DataError when the document has no frames.
    """
    if document.frames is None:
        raise lmtool.DataError(
            "no layer 'frames', and events are to take arguments from it",
            hint="find the frames first: lmtool roles TEXT | lmtool extract --frames -",
        )
    arguments_at: dict[tuple[int, int], list[EventArgument]] = {}
    for frame in document.frames:
        place = (frame.predicate.start, frame.predicate.end)
        arguments_at[place] = [
            EventArgument(a.role, start=a.start, end=a.end, text=a.text, score=a.score)
            for a in frame.arguments
        ]
    return [
        event
        if event.arguments
        else msgspec.structs.replace(
            event, arguments=arguments_at.get((event.trigger.start, event.trigger.end), [])
        )
        for event in events
    ]


def gold_part(
    window: Window,
    document: Document,
    spans: Sequence[tuple[int, int, str]],
    labels: Mapping[str, Sequence[str]],
) -> Found | None:
    """Return what stands in a window by the gold; None where a part cannot say it.

    `spans` are the entities as word ranges. A part cannot say a relation that leaves the window.
    """
    found: Found = {}
    if "entities" in labels:
        found["entities"] = [
            FoundEntity(*characters(window, first, last), label, 1.0)
            for first, last, label in spans
            if label != UNKNOWN
        ]
    if "relations" in labels:
        relations = _gold_relations(window, document, found.get("entities"))
        if relations is None:
            return None
        found["relations"] = relations
    if "events" in labels:
        found["events"] = [
            FoundEvent(*characters(window, *words), label, 1.0, _arguments(window, document, event))
            for words, label, events in gold_triggers(window, document, labels["events"])
            for event in events
        ]
    return found


def _gold_relations(
    window: Window, document: Document, found: Sequence[FoundEntity] | None
) -> list[FoundRelation] | None:
    """Return the relations by the numbers of their entities, None where one leaves the window."""
    places = {
        entity.id: (entity.start - window.start, entity.end - window.start)
        for entity in document.entities or ()
    }
    if found is None:
        numbers = {e.id: number for number, e in enumerate(document.entities or ())}
    else:
        number_at = {(e.start, e.end): number for number, e in enumerate(found)}
        numbers = {key: number_at[at] for key, at in places.items() if at in number_at}
    relations = []
    for relation in document.relations or ():
        ends = [numbers.get(relation.head), numbers.get(relation.tail)]
        starts = [places[key][0] for key in (relation.head, relation.tail) if key in places]
        is_inside = [0 <= start < len(window.text) for start in starts]
        if any(is_inside) and not all(is_inside):
            return None
        if all(is_inside) and None not in ends and relation.label != UNKNOWN:
            relations.append(FoundRelation(ends[0] or 0, ends[1] or 0, relation.label, 10.0))
    return relations


def _arguments(window: Window, document: Document, event: Event) -> list[FoundArgument]:
    return [
        FoundArgument(start - window.start, end - window.start, role, 1.0)
        for start, end, role in argument_spans(event, document)
        if role != UNKNOWN
    ]


def _with_ids(entities: Sequence[Entity]) -> list[Entity]:
    """Return the entities with an id for each: those without get the next free e1, e2, …."""
    taken = {entity.id for entity in entities}
    free = (f"e{number}" for number in range(1, 2 * len(entities) + 2))
    fresh = (key for key in free if key not in taken)
    return [
        entity if entity.id is not None else msgspec.structs.replace(entity, id=next(fresh))
        for entity in entities
    ]


def _entity(document: Document, start: int, found: FoundEntity, key: str) -> Entity:
    first, last = start + found.start, start + found.end
    return Entity(
        id=key,
        start=first,
        end=last,
        text=document.text[first:last],
        label=found.label,
        score=found.score,
    )


def _event(document: Document, start: int, found: FoundEvent) -> Event:
    first, last = start + found.start, start + found.end
    trigger = Span(first, last, document.text[first:last], found.score)
    arguments = [
        EventArgument(
            argument.role,
            start=start + argument.start,
            end=start + argument.end,
            text=document.text[start + argument.start : start + argument.end],
            score=argument.score,
        )
        for argument in found.arguments
    ]
    return Event(found.label, trigger, arguments)
