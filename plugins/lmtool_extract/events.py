"""Events: what triggers and arguments look like to the head, and back."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lmtool.documents import UNKNOWN, Document, Event
from lmtool.windows import Window

Words = tuple[int, int]
"""A range of words of a window (exclusive)."""

WITHIN_REACH = 0.99
"""Share of the arguments that stand in the sentences that are read for them."""


@dataclass(frozen=True, slots=True)
class EventForm:
    """What decides which words can be arguments of a trigger.

    `roles_of` has the roles of each event type (None: all of each), `reach` the sentences that
    are read on either side of the trigger's own (None: the whole window).
    """

    labels: tuple[str, ...]
    roles: tuple[str, ...]
    roles_of: Mapping[str, Sequence[str]] | None = None
    reach: int | None = None

    @classmethod
    def of(cls, labels: Mapping[str, Sequence[str]], form: Mapping[str, Any]) -> EventForm:
        """Return the form that a task's labels and form say."""
        given = form.get("events", {})
        roles = tuple(labels.get("arguments", ()))
        return cls(tuple(labels["events"]), roles, given.get("roles"), given.get("reach"))

    def has_role(self, label: str, role: str) -> bool:
        """Whether events of this type have arguments with this role."""
        return self.roles_of is None or role in self.roles_of.get(label, ())

    def has_arguments(self, label: str) -> bool:
        """Whether events of this type have arguments at all."""
        return any(self.has_role(label, role) for role in self.roles)

    def words_near(self, window: Window, first: int) -> Words:
        """Return the words that can be arguments of the trigger that begins with this word."""
        if self.reach is None:
            return 0, len(window.word_tokens)
        sentences = window.sentences()
        at = bisect.bisect_right([start for start, _ in sentences], first) - 1
        last = min(at + self.reach, len(sentences) - 1)
        return sentences[max(at - self.reach, 0)][0], sentences[last][1]


def collect_event_form(documents: Sequence[Document]) -> dict[str, Any]:
    """Return what `EventForm.of` reads: the roles of each type and the reach; {} without roles."""
    roles: dict[str, set[str]] = {}
    distances: list[int] = []
    for document in documents:
        events = [(e, argument_spans(e, document)) for e in document.events or ()]
        ends = _sentence_ends(document.text) if any(spans for _, spans in events) else []
        for event, spans in events:
            if event.label != UNKNOWN:
                roles.setdefault(event.label, set()).update(role for _, _, role in spans)
            own = bisect.bisect_right(ends, event.trigger.start)
            distances += [abs(bisect.bisect_right(ends, start) - own) for start, _, _ in spans]
    if not distances:
        return {}
    distances.sort()
    reach = distances[min(int(len(distances) * WITHIN_REACH), len(distances) - 1)]
    named = {label: sorted(names - {UNKNOWN}) for label, names in sorted(roles.items())}
    return {"roles": named, "reach": reach}


_SENTENCE_END: Final = re.compile(
    r"""(?<=\w\w) [.!?…]+ ["'”’»)\]]* \s+ (?!\s | [a-zß-öø-ÿа-я]) | [。！？]+ [”’」』）]* | \n+""",
    re.VERBOSE,
)
"""A mark after a word, with space and no small letter behind it; the marks of Chinese; a line."""


def _sentence_ends(text: str) -> list[int]:
    """Return where sentences end, whatever the language: the gold of a run does not name one."""
    return [match.end() for match in _SENTENCE_END.finditer(text)]


def event_words(window: Window, document: Document) -> list[tuple[int, int, str]]:
    """Return the triggers of the gold that touch a window, as word ranges.

    One that does not fit the words is unknown, and so is the rest of one that overlaps another.
    """
    found: list[tuple[int, int, str]] = []
    taken: set[int] = set()
    for event in document.events or ():
        words = window.words_of(event.trigger.start, event.trigger.end)
        label = event.label if words is not None else UNKNOWN
        words = words or window.words_touched(event.trigger.start, event.trigger.end)
        if words[0] < words[1] and not taken & set(range(*words)):
            taken |= set(range(*words))
            found.append((*words, label))
    return sorted(found)


def gold_triggers(
    window: Window, document: Document, labels: Sequence[str]
) -> list[tuple[Words, str, list[Event]]]:
    """Return the triggers inside a window with the events that share trigger and label."""
    events: dict[tuple[Words, str], list[Event]] = {}
    for event in document.events or ():
        words = window.words_of(event.trigger.start, event.trigger.end)
        if words is not None and event.label in labels:
            events.setdefault((words, event.label), []).append(event)
    return [(words, label, same) for (words, label), same in sorted(events.items(), key=_by_place)]


def argument_spans(event: Event, document: Document) -> list[tuple[int, int, str]]:
    """Return the characters and roles of an event's arguments; entities by where they stand."""
    places = {entity.id: (entity.start, entity.end) for entity in document.entities or ()}
    spans = []
    for argument in event.arguments:
        if argument.start is not None and argument.end is not None:
            spans.append((argument.start, argument.end, argument.role))
        elif argument.entity in places:
            spans.append((*places[argument.entity], argument.role))
    return spans


def argument_targets(
    window: Window, document: Document, form: EventForm
) -> dict[str, NDArray[Any]]:
    """Return what the argument head reads and learns of one window; {} when the gold says nothing.

    triggers (triggers, 2), trigger_types (triggers,), argument_tags (triggers, tokens, roles):
    0 outside, 1 begin, 2 inside, -100 unknown.
    """
    labels, roles = form.labels, form.roles
    triggers = gold_triggers(window, document, labels)
    annotated = (document.annotated or {}).get("arguments", roles)
    known = np.array([0 if role in annotated else -100 for role in roles], np.int64)
    tags = np.full((len(triggers), len(window.ids), len(roles)), -100, np.int64)
    for row, ((first, _), label, events) in zip(tags, triggers, strict=True):
        spans = [span for event in events for span in argument_spans(event, document)]
        words = role_tags(window, spans, roles, known)
        words[:, [not form.has_role(label, role) for role in roles]] = -100
        near = slice(*form.words_near(window, first))
        row[window.word_tokens[near]] = words[near]
    if not (tags >= 0).any():
        return {}
    ends = np.array([(first, last - 1) for (first, last), _, _ in triggers], np.int64)
    return {
        "triggers": window.word_tokens[ends],
        "trigger_types": np.array([labels.index(label) for _, label, _ in triggers], np.int64),
        "argument_tags": tags,
    }


def role_tags(
    window: Window,
    spans: Sequence[tuple[int, int, str]],
    roles: Sequence[str],
    known: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the tags of one trigger's arguments, (words, roles), the longest span first."""
    tags = np.tile(known, (len(window.word_tokens), 1))
    for start, end, role in sorted(spans, key=lambda span: span[1] - span[0]):
        first, last = window.words_touched(start, end)
        if role == UNKNOWN:
            tags[first:last] = -100
        elif role in roles and first < last:
            column = tags[:, roles.index(role)]
            if window.words_of(start, end) is None:
                column[first:last] = -100
            else:
                column[first], column[first + 1 : last] = 1, 2
    return tags


def _by_place(item: tuple[tuple[Words, str], list[Event]]) -> tuple[Words, str]:
    return item[0]
