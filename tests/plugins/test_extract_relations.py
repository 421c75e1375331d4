"""Pairs of entities: groups of mentions, what the head reads and learns, and what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from extract_kit import DOCUMENTS, NOMINALS, encoder, related, window
from lmtool_extract.finding import FoundEntity, find_relations, relation_margins
from lmtool_extract.relations import (
    Mention,
    RelationForm,
    collect_relation_form,
    document_mentions,
    gold_pairs,
    make_groups,
    make_pairs,
    pair_labels,
)

from lmtool import Document
from lmtool.documents import Relation

LABELS = ("friend", "residence", "workplace")
FORM = RelationForm(LABELS, ("LOC", "PER"))


def mentions(*names: str) -> list[Mention]:
    """Mentions of one word each, "Ada/PER", one after the other."""
    parts = (name.rpartition("/") for name in names)
    return [Mention(i, i + 1, label, text, i) for i, (text, _, label) in enumerate(parts)]


def test_form() -> None:
    assert collect_relation_form(DOCUMENTS) == {
        "types": ["LOC", "PER"],
        "pairs": [["PER", "LOC"], ["PER", "PER"]],
        "exclusive": False,
        "groups": False,
    }
    assert collect_relation_form(NOMINALS)["exclusive"] is True
    clustered = related("Ada and Ada", ["Ada/PER", "Ada/PER"], [(1, 2, "same")], clusters=[["e1"]])
    assert collect_relation_form([clustered])["groups"] is True
    assert collect_relation_form([Document(text="Ada", relations=[])]) == {}


def test_pairs_of_types_that_hardly_ever_relate_are_passed_over() -> None:
    common = related("Ada in Rome", ["Ada/PER", "Rome/LOC"], [(1, 2, "residence")] * 1001)
    rare = related("Ada in Rome", ["Ada/PER", "Rome/LOC"], [(2, 1, "friend")])
    assert collect_relation_form([common, rare])["pairs"] == [["PER", "LOC"]]
    assert collect_relation_form([common, rare, rare])["pairs"] == [["LOC", "PER"], ["PER", "LOC"]]


def test_form_of_labels() -> None:
    labels = {"entities": ["LOC", "PER"], "relations": list(LABELS)}
    assert RelationForm.of(labels, {}) == RelationForm(LABELS, ("LOC", "PER"), True)
    given = {"types": ["X"], "pairs": [["X", "X"]], "exclusive": True, "groups": False}
    form = RelationForm.of({"relations": ["Cause"]}, {"relations": given})
    assert form == RelationForm(("Cause",), ("X",), False, frozenset({("X", "X")}), True)
    assert (form.n_classes, FORM.n_classes) == (3, 4)


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (("Ada/PER", "Rome/LOC", "ada/PER"), [[0, 2], [1]]),
        (("Rome/LOC", "Rome/PER"), [[0], [1]]),
        (("Curie/PER", "Marie Curie/PER"), [[0, 1]]),
        (("Curie/PER", "Marie Curie/PER", "Pierre Curie/PER"), [[0], [1], [2]]),
        (("Curie/PER", "Marie Curie/PER", "Marie S Curie/PER"), [[0, 1, 2]]),
        (("York/LOC", "New York/LOC"), [[0], [1]]),
    ],
)
def test_groups_by_name(names: tuple[str, ...], groups: list[list[int]]) -> None:
    form = RelationForm(LABELS, (), has_groups=True)
    assert make_groups(mentions(*names), form) == groups
    assert make_groups(mentions(*names), FORM) == [[i] for i in range(len(names))]


def test_groups_that_the_document_states() -> None:
    document = related(
        "Ada met Bob . She saw Bob", ["Ada/PER", "Bob/PER", "She/PER", "Bob/PER"],
        clusters=[["e1", "e3"]],
    )  # fmt: skip
    form = RelationForm(LABELS, (), has_groups=True)
    found = document_mentions(window(document), document)
    assert [m.text for m in found] == ["Ada", "Bob", "She", "Bob"]
    assert make_groups(found, form, document) == [[0, 2], [1], [3]]


def test_pairs_follow_the_types() -> None:
    three = mentions("Ada/PER", "Rome/LOC", "Bob/PER")
    alone = [[0], [1], [2]]
    every = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    pairs = frozenset({("PER", "LOC")})
    assert make_pairs(three, alone, FORM) == every
    assert make_pairs(three, alone, RelationForm(LABELS, (), False, pairs)) == [(0, 1), (2, 1)]
    exclusive = RelationForm(LABELS, (), False, pairs, is_exclusive=True)
    assert make_pairs(three, alone, exclusive) == [(0, 1), (1, 2)]


def test_targets_of_a_window() -> None:
    document = related(
        "Ada met Bob Ray . Ada lives in Rome", ["Ada/PER", "Bob Ray/PER", "Ada/PER", "Rome/LOC"],
        [(1, 4, "residence"), (1, 4, "workplace"), (2, 1, "friend")], clusters=[["e1", "e3"]],
    )  # fmt: skip
    form = RelationForm(LABELS, ("LOC", "PER"), True, frozenset({("PER", "LOC"), ("PER", "PER")}))
    targets = gold_pairs(window(document), document, form)
    assert {name: array.tolist() for name, array in targets.items()} == {
        "mentions": [[1, 1], [3, 4], [6, 6], [9, 9]],
        "mention_groups": [0, 1, 0, 2],
        "group_types": [2, 2, 1],
        "pairs": [[0, 1], [0, 2], [1, 0], [1, 2]],
        "pair_distances": [2, 2, 12, 3],
        "pair_labels": [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]],
    }


def test_a_window_without_pairs_has_no_targets() -> None:
    document = related("Ada lives", ["Ada/PER"])
    assert gold_pairs(window(document), document, FORM) == {}
    parts = list(encoder(6).windows(DOCUMENTS[0].text))
    assert len(parts) == 2
    assert gold_pairs(parts[1], DOCUMENTS[0], FORM) == {}


@pytest.mark.parametrize(
    ("relations", "annotated", "row"),
    [
        ({(0, 1): {"friend"}}, LABELS, [0, 1, 0, 0]),
        ({}, ("friend",), [0, 0, -100, -100]),
        ({(0, 1): {"residence"}}, ("friend",), [0, 0, 1, -100]),
        ({(0, 1): {"?"}}, LABELS, [-100, -100, -100, -100]),
        ({(0, 1): {"other"}}, LABELS, [0, 0, 0, 0]),
        ({(1, 0): {"friend"}}, LABELS, [0, 0, 0, 0]),
    ],
)
def test_pair_labels(relations: Any, annotated: tuple[str, ...], row: list[int]) -> None:
    assert pair_labels([(0, 1)], relations, FORM, annotated).tolist() == [row]


@pytest.mark.parametrize(
    ("relations", "annotated", "row"),
    [
        ({}, ("a", "b"), [1, 0, 0, 0, 0]),
        ({(0, 1): {"b"}}, ("a", "b"), [0, 0, 1, 0, 0]),
        ({(1, 0): {"a"}}, ("a", "b"), [0, 0, 0, 1, 0]),
        ({}, ("b",), [1, -100, 0, -100, 0]),
        ({(0, 1): {"b"}}, ("b",), [0, 0, 1, 0, 0]),
        ({(0, 1): {"?"}}, ("a", "b"), [-100] * 5),
    ],
)
def test_exclusive_pair_labels(relations: Any, annotated: tuple[str, ...], row: list[int]) -> None:
    form = RelationForm(("a", "b"), (), is_exclusive=True)
    assert pair_labels([(0, 1)], relations, form, annotated).tolist() == [row]


def test_relation_margins() -> None:
    logits = np.array([[0.0, 1.0, -1.0, 2.0], [3.0, 2.0, 1.0, 0.0]])
    found = relation_margins(logits, FORM)
    assert found == [(0, 0, 1), (0, 1, -1), (0, 2, 2), (1, 0, -1), (1, 1, -2), (1, 2, -3)]
    assert relation_margins(np.array([[4.5, 0.0, 1.0, 0.4]]), FORM) == [(0, 1, -3.5)]
    exclusive = RelationForm(("a",), (), is_exclusive=True)
    rows = np.array([[2.0, 3.0, 5.0], [3.0, 2.0, 1.0], [2.0, 3.0, 3.0], [9.0, 0.0, 1.0]])
    assert relation_margins(rows, exclusive) == [(0, 1, 3), (1, 0, -1), (2, 0, 1)]


class Echo:
    """A graph that gives each pair the same class and keeps what it was given."""

    def __init__(self, n_classes: int, best: int) -> None:
        self.n_classes, self.best = n_classes, best
        self.feeds: list[dict[str, np.ndarray]] = []

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.feeds.append(feeds)
        logits = np.full((*feeds["pairs"].shape[:2], self.n_classes), -9.0)
        logits[:, :, 0], logits[:, :, self.best] = 0, 1
        return {"relations": logits}


def hidden(n_rows: int, n_tokens: int) -> dict[str, np.ndarray]:
    return {
        "hidden": np.zeros((n_rows, n_tokens, 4), np.float32),
        "attention_mask": np.ones((n_rows, n_tokens), np.int64),
    }


def test_relations_are_found_between_first_mentions() -> None:
    document = Document(text="Ada met Ada in Rome")
    found = [FoundEntity(0, 3, "PER", 1.0), FoundEntity(8, 11, "PER", 1.0),
             FoundEntity(15, 19, "LOC", 1.0)]  # fmt: skip
    form = RelationForm(LABELS, ("LOC", "PER"), True, frozenset({("PER", "LOC")}))
    graph: Any = Echo(4, 2)
    lone = window(Document(text="Ada"))
    windows = [lone, window(document)]
    relations = find_relations(graph, hidden(2, 9), windows, [found[:1], found], form)
    assert relations == [[], [(0, 2, "residence", 1.0)]]
    (feeds,) = graph.feeds  # the window without a pair is not read
    assert {name: array.shape for name, array in feeds.items()} == {
        "hidden": (1, 7, 4),
        "attention_mask": (1, 7),
        "mentions": (1, 3, 2),
        "mention_groups": (1, 3),
        "group_types": (1, 2),
        "pairs": (1, 1, 2),
        "pair_distances": (1, 1),
    }


def test_given_entities_are_told_by_their_place_in_the_document() -> None:
    document = related("A fire made smoke", ["smoke/X", "fire/X"])
    given = window(document)
    given.document = document
    form = RelationForm(("Cause", "Part"), ("X",), is_exclusive=True)
    for best, ends in ((1, (1, 0)), (3, (0, 1))):  # forward, backward in the text
        graph: Any = Echo(5, best)
        ((found,),) = find_relations(graph, hidden(1, 6), [given], [None], form)
        assert found[:3] == (*ends, "Cause")


def test_a_relation_of_an_absent_entity_is_passed_over() -> None:
    document = related("Ada in Rome", ["Ada/PER", "Rome/LOC"])
    document.relations = [Relation("e1", "e9", "friend")]
    assert gold_pairs(window(document), document, FORM)["pair_labels"].sum() == 0
    assert collect_relation_form([document]) == {}
