"""From parts to layers: numbers, offsets, given entities, and arguments from frames."""

from __future__ import annotations

import pytest
from extract_kit import DOCUMENTS, encoder, happening, related, window
from lmtool_extract.finding import FoundArgument, FoundEntity, FoundEvent, FoundRelation
from lmtool_extract.merging import (
    gold_part,
    merge_parts,
    relation_score,
    with_frame_arguments,
)

import lmtool
from lmtool import Document, Entity, Part
from lmtool.documents import Event, EventArgument, Frame, FrameArgument, Relation, Span

ALL = ("entities", "relations", "events")
LABELS = {"entities": ["LOC", "PER"], "relations": ["residence"], "events": ["Harm"]}


def test_entities_are_numbered_and_relations_refer_to_them() -> None:
    document = Document(text="Ada in Rome. Bob in Oslo.")
    first = {
        "entities": [FoundEntity(0, 3, "PER", 0.9), FoundEntity(7, 11, "LOC", 0.8)],
        "relations": [FoundRelation(0, 1, "residence", 1.0)],
    }
    second = {
        "entities": [FoundEntity(0, 3, "PER", 0.9), FoundEntity(7, 11, "LOC", 0.8)],
        "relations": [FoundRelation(1, 0, "home of", 2.0)],
    }
    parts = [Part(0, first), Part(13, second)]
    merged = merge_parts(document, parts, ["entities", "relations"], relation_score)
    assert merged == {
        "entities": [
            Entity(id="e1", start=0, end=3, text="Ada", label="PER", score=0.9),
            Entity(id="e2", start=7, end=11, text="Rome", label="LOC", score=0.8),
            Entity(id="e3", start=13, end=16, text="Bob", label="PER", score=0.9),
            Entity(id="e4", start=20, end=24, text="Oslo", label="LOC", score=0.8),
        ],
        "relations": [
            Relation("e1", "e2", "residence", 0.7311),
            Relation("e4", "e3", "home of", 0.8808),
        ],
    }


def test_events_have_offsets_in_the_document() -> None:
    event = FoundEvent(0, 4, "Harm", 0.9, [FoundArgument(5, 7, "Whom", 0.8)])
    document = Document(text="Ow! Hurt me")
    merged = merge_parts(
        document, [Part(0, {"events": []}), Part(4, {"events": [event]})], ALL[2:], float
    )
    argument = EventArgument("Whom", None, 9, 11, "me", 0.8)
    assert merged == {"events": [Event("Harm", Span(4, 8, "Hurt", 0.9), [argument])]}


def test_layers_that_are_looked_for_are_there_when_nothing_is_found() -> None:
    assert merge_parts(Document(text=""), [], ALL, float) == {name: [] for name in ALL}


def test_given_entities_are_written_only_when_they_need_ids() -> None:
    relations = {"relations": [FoundRelation(1, 0, "residence", 1.0)]}
    document = related("Rome knows Ada", ["Rome/LOC", "Ada/PER"])
    document.entities[1].id = "x"  # type: ignore[index]
    parts = [Part(0, relations)]
    assert merge_parts(document, parts, ["relations"], float) == {
        "relations": [Relation("x", "e1", "residence", 1.0)]
    }
    document.entities[0].id = None  # type: ignore[index]
    document.entities[1].id = "e1"  # type: ignore[index]
    merged = merge_parts(document, parts, ["relations"], float)
    assert merged["relations"] == [Relation("e1", "e2", "residence", 1.0)]
    assert [entity.id for entity in merged["entities"]] == ["e2", "e1"]
    assert document.entities[0].id is None  # type: ignore[index]
    assert merge_parts(document, [Part(0, {"relations": []})], ["relations"], float) == {
        "relations": []
    }


@pytest.mark.parametrize(
    ("margin", "bias", "least", "score"),
    [
        (1.0, 0.0, 0.0, 0.7311),
        (1.0, 1.0, 0.0, 0.8808),
        (-0.5, 1.0, 0.0, 0.6225),
        (-0.5, 0.0, 0.0, None),
        (0.0, 0.0, 0.0, None),
        (1.0, 0.0, 0.8, None),
    ],
)
def test_relation_score(margin: float, bias: float, least: float, score: float | None) -> None:
    assert relation_score(margin, bias, least) == score


def test_gold_part() -> None:
    document = DOCUMENTS[0]
    spans = [(0, 1, "PER"), (2, 3, "?"), (4, 5, "LOC")]
    assert gold_part(window(document), document, spans, LABELS) == {
        "entities": [FoundEntity(0, 3, "PER", 1.0), FoundEntity(19, 25, "LOC", 1.0)],
        "relations": [
            FoundRelation(0, 1, "residence", 10.0),
            FoundRelation(0, 1, "workplace", 10.0),
        ],
        "events": [],
    }
    given = gold_part(window(document), document, [], {"relations": ["friend"]})
    assert given is not None
    assert given["relations"][2] == FoundRelation(1, 0, "friend", 10.0)


def test_a_part_cannot_say_a_relation_that_leaves_its_window() -> None:
    first, second = encoder(6).windows(DOCUMENTS[0].text)
    spans = [(0, 1, "PER"), (2, 3, "PER")]
    assert gold_part(first, DOCUMENTS[0], spans, LABELS) is None
    assert gold_part(second, DOCUMENTS[0], [(0, 1, "LOC")], LABELS) is None
    assert gold_part(first, DOCUMENTS[0], spans, {"entities": ["PER"]}) is not None


def test_arguments_come_from_frames() -> None:
    document = happening("Ada came , he saw it", ("event", "came", {}), ("event", "saw", {}))
    events = [*(document.events or ()), Event("Harm", Span(14, 17), [EventArgument("Who", "e1")])]
    with pytest.raises(lmtool.DataError, match="no layer 'frames'"):
        with_frame_arguments(events, document)
    came = Frame(Span(4, 8), None, [FrameArgument("ARG0", 0, 3, "Ada", 0.5)])
    saw = Frame(Span(14, 17), None, [FrameArgument("ARG1", 18, 20, "it")])
    document.frames = [came, saw]
    found = with_frame_arguments(events, document)
    assert [event.arguments for event in found] == [
        [EventArgument("ARG0", None, 0, 3, "Ada", 0.5)],
        [EventArgument("ARG1", None, 18, 20, "it")],
        [EventArgument("Who", "e1")],
    ]
    assert events[0].arguments == []


def test_new_entities_fit_the_relations_that_stay() -> None:
    text = "Ada met Babbage in London"
    document = Document(
        text=text,
        entities=[
            Entity(id="e1", start=8, end=15, text="Babbage", label="PER"),
            Entity(id="e2", start=19, end=25, text="London", label="LOC"),
        ],
        relations=[Relation("e1", "e2", "residence")],
    )
    found = [FoundEntity(0, 3, "PER", 1.0), FoundEntity(8, 15, "PER", 0.9)]
    merged = merge_parts(document, [Part(0, {"entities": found})], {"entities"}, lambda x: x)
    ids = [(e.id, text[e.start : e.end]) for e in merged["entities"]]
    assert ids == [("e3", "Ada"), ("e1", "Babbage"), ("e2", "London")]
