"""Events: what the head learns of triggers and arguments, and what its tags say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from extract_kit import DOCUMENTS, encoder, happening, window
from lmtool_extract.events import (
    EventForm,
    argument_spans,
    argument_targets,
    collect_event_form,
    event_words,
    role_tags,
)
from lmtool_extract.finding import find_events, read_arguments
from lmtool_extract.tags import WordSpan

from lmtool import Document, Entity
from lmtool.documents import Event, EventArgument, Span

ROLES = ("Drug", "Effect")
FORM = EventForm(("Harm", "Help"), ROLES)
SICK = happening(
    "Aspirin caused bad pain .", ("Harm", "caused", {"Aspirin": "Drug", "bad pain": "Effect"})
)


def test_form() -> None:
    assert collect_event_form(DOCUMENTS) == {
        "roles": {
            "Harm": ["Drug", "Effect", "Subject"],
            "Help": ["Drug", "Subject", "Subject.Age"],
            "event": [],
        },
        "reach": 0,
    }
    assert collect_event_form(DOCUMENTS[:4]) == {}
    assert collect_event_form(DOCUMENTS[6:7]) == {}
    far = happening("It hurt. He slept. It was aspirin.", ("Harm", "hurt", {"aspirin": "Drug"}))
    assert collect_event_form([far])["reach"] == 2


@pytest.mark.parametrize(
    ("text", "reach"),
    [
        ("Es tat weh. Ärzte kamen! 3 gaben Aspirin.", 2),
        ("It hurt (see p. 3, e.g. aspirin)", 0),
        ("It hurt, as the U.S. Army says of aspirin", 0),
        ("他受伤了。“他睡了。”他吃了aspirin", 2),
        ("It hurt\naspirin", 1),
        ("It hurt… it was aspirin", 0),
    ],
)
def test_the_reach_is_counted_in_sentences_of_any_language(text: str, reach: int) -> None:
    trigger = next(word for word in ("hurt", "weh", "受伤") if word in text)
    drug = "Aspirin" if "Aspirin" in text else "aspirin"
    far = happening(text, ("Harm", trigger, {drug: "Drug"}))
    assert collect_event_form([far])["reach"] == reach


def test_form_of_labels() -> None:
    labels = {"events": ["event"]}
    assert EventForm.of(labels, {}) == EventForm(("event",), ())
    given = {"roles": {"Harm": ["Drug"], "Help": []}, "reach": 1}
    form = EventForm.of({"events": ["Harm", "Help"], "arguments": [*ROLES]}, {"events": given})
    assert form == EventForm(("Harm", "Help"), ROLES, {"Harm": ["Drug"], "Help": []}, 1)
    has = [form.has_role(label, role) for label in form.labels for role in ROLES]
    assert has == [True, False, False, False]
    assert [form.has_arguments(label) for label in form.labels] == [True, False]


def test_words_near_a_trigger() -> None:
    text = "He came. She ate it. They left."
    found = window(Document(text=text))
    assert found.sentences() == [(0, 3), (3, 7), (7, 10)]
    for reach, near in ((None, (0, 10)), (0, (3, 7)), (1, (0, 10))):
        assert EventForm(("event",), ROLES, None, reach).words_near(found, 4) == near
    assert EventForm(("event",), ROLES, None, 1).words_near(found, 0) == (0, 7)
    assert EventForm(("event",), ROLES, None, 1).words_near(found, 9) == (3, 10)


def test_triggers() -> None:
    text = "They set it off again"
    document = Document(
        text=text,
        events=[
            Event("Start", Span(5, 8)),
            Event("Stop", Span(5, 11)),  # overlaps the first
            Event("Start", Span(13, 15)),  # inside a word
        ],
    )
    assert event_words(window(document), document) == [(1, 2, "Start"), (3, 4, "?")]


def test_arguments_may_be_entities() -> None:
    document = Document(
        text="Ada left Rome", entities=[Entity(id="e1", start=0, end=3, label="PER")]
    )
    arguments = [
        EventArgument("Who", "e1"),
        EventArgument("Where", None, 9, 13),
        EventArgument("Why", "e7"),
    ]
    event = Event("Leave", Span(4, 8), arguments)
    assert argument_spans(event, document) == [(0, 3, "Who"), (9, 13, "Where")]


def test_targets_of_a_window() -> None:
    targets = argument_targets(window(SICK), SICK, FORM)
    assert targets["triggers"].tolist() == [[2, 2]]
    assert targets["trigger_types"].tolist() == [0]
    rows = targets["argument_tags"][0]  # (tokens, roles), a special token at either end
    assert rows[:, 0].tolist() == [-100, 1, 0, 0, 0, 0, -100]
    assert rows[:, 1].tolist() == [-100, 0, 0, 1, 2, 0, -100]


def test_what_is_not_annotated_is_not_learned() -> None:
    bare = happening("He came .", ("Harm", "came", {}), annotated={"arguments": []})
    assert argument_targets(window(bare), bare, FORM) == {}
    part = happening("He took Aspirin .", ("Harm", "took", {"Aspirin": "Drug"}))
    part.annotated = {"arguments": ["Drug"]}
    tags = argument_targets(window(part), part, FORM)["argument_tags"][0]
    assert tags[1:5].tolist() == [[0, -100], [0, -100], [1, -100], [0, -100]]
    form = EventForm(FORM.labels, ROLES, {"Harm": ["Effect"]})
    tags = argument_targets(window(SICK), SICK, form)["argument_tags"][0]
    assert tags[1:6].tolist() == [[-100, 0], [-100, 0], [-100, 1], [-100, 2], [-100, 0]]


def test_sentences_out_of_reach_are_not_learned() -> None:
    text = "It helped. Aspirin hurt. He slept."
    document = happening(text, ("Harm", "hurt", {"Aspirin": "Drug"}))
    form = EventForm(("Harm",), ("Drug",), None, 0)
    tags = argument_targets(window(document), document, form)["argument_tags"][0, :, 0]
    assert tags.tolist() == [-100, -100, -100, -100, 1, 0, 0, -100, -100, -100, -100]


def test_events_with_one_trigger_learn_together() -> None:
    both = happening(
        "Aspirin caused bad pain .",
        ("Harm", "caused", {"Aspirin": "Drug"}),
        ("Harm", "caused", {"pain": "Effect"}),
    )
    tags = argument_targets(window(both), both, FORM)["argument_tags"]
    assert tags[:, 1:6].tolist() == [[[1, 0], [0, 0], [0, 0], [0, 1], [0, 0]]]


def test_role_tags() -> None:
    found = window(Document(text="a b c d e"))
    known = np.zeros(2, np.int64)

    def tags(*spans: tuple[int, int, str]) -> list[list[int]]:
        columns: list[list[int]] = role_tags(found, spans, ROLES, known).T.tolist()
        return columns

    assert tags((0, 3, "Drug"), (2, 5, "Effect")) == [[1, 2, 0, 0, 0], [0, 1, 2, 0, 0]]
    assert tags((0, 5, "Drug"), (2, 3, "Drug")) == [[1, 2, 2, 0, 0], [0, 0, 0, 0, 0]]
    assert tags((2, 5, "?")) == [[0, -100, -100, 0, 0], [0, -100, -100, 0, 0]]
    assert tags((2, 5, "Other")) == [[0] * 5, [0] * 5]


def test_read_arguments() -> None:
    text = "He took it. Aspirin hurt bad ."
    found = window(Document(text=text))
    logits = np.zeros((9, 2, 3))
    logits[..., 0] = 1
    logits[4, 0, 1] = 3  # Aspirin: Drug
    logits[4, 1, 1] = logits[5, 1, 2] = 2  # Aspirin hurt: Effect
    logits[1, 0, 1] = 5  # took: Drug, in another sentence
    trigger = WordSpan(5, 6, "Harm", 1.0)

    def read(form: EventForm) -> list[tuple[int, int, str]]:
        return [argument[:3] for argument in read_arguments(found, trigger, logits, form)]

    near = [(12, 19, "Drug"), (12, 24, "Effect")]
    assert read(FORM) == [(3, 7, "Drug"), *near]
    assert read(EventForm(FORM.labels, ROLES, None, 0)) == near
    assert read(EventForm(FORM.labels, ROLES, {"Harm": ["Effect"]})) == near[1:]


class Tags:
    """A graph that gives each window's tags by the number of the trigger token."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits
        self.feeds: list[dict[str, np.ndarray]] = []

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.feeds.append(feeds)
        n_rows = len(feeds["hidden"])
        return {"logits": self.logits, "arguments": self.logits[:n_rows]}


def test_only_types_with_roles_are_asked_for_arguments() -> None:
    words = encoder()
    windows = [next(words.windows(text)) for text in ("a b c", "d e")]
    tags = np.zeros((2, 5, 5))
    tags[0, 1, 1] = tags[0, 3, 3] = tags[1, 1, 3] = 9  # Harm, Help; Help
    arguments = np.zeros((1, 1, 5, 2, 3))
    arguments[..., 0] = 1
    arguments[0, 0, 2, 0, 1] = 9
    graphs: Any = {"events": Tags(tags), "arguments": Tags(arguments)}
    hidden = {"hidden": np.zeros((2, 5, 4)), "attention_mask": np.ones((2, 5), np.int64)}
    form = EventForm(FORM.labels, ROLES, {"Harm": ["Drug"]})
    first, second = find_events(graphs, hidden, windows, form)
    assert [(e.start, e.end, e.label) for e in first] == [(0, 1, "Harm"), (4, 5, "Help")]
    assert [[a[:3] for a in e.arguments] for e in first] == [[(2, 3, "Drug")], []]
    assert [(e.label, e.arguments) for e in second] == [("Help", [])]
    (feeds,) = graphs["arguments"].feeds
    assert feeds["triggers"].tolist() == [[[1, 1]]]
    assert feeds["trigger_types"].tolist() == [[0]]
