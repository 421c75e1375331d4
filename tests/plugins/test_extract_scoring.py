"""Scores of entities, relations and events."""

from __future__ import annotations

from extract_kit import NOMINALS, happening, related
from lmtool_extract.scoring import (
    best_bias,
    score_arguments,
    score_entities,
    score_layers,
    score_relations,
    score_triggers,
)

from lmtool import Document, Entity


def test_gold_that_the_model_does_not_know_counts_as_missed() -> None:
    place, work = Entity(start=0, end=4, label="LOC"), Entity(start=5, end=9, label="WORK")
    gold = Document(text="Rome Emma", entities=[place, work])
    report = score_entities([gold], [Document(text="Rome Emma", entities=[place])], ["LOC", "PER"])
    assert (report["micro"]["recall"], report["micro"]["support"]) == (50.0, 2)
    assert list(report["labels"]) == ["LOC", "PER", "WORK"]
    assert report["labels"]["WORK"]["support"] == 1
    assert report["confusion"]["labels"] == ["LOC", "PER", "WORK", "O"]
    assert report["confusion"]["counts"][2] == [0, 0, 0, 1]
    assert report["errors"] == [1]


TEXT = "Ada Lovelace met Babbage in London . Ada liked him ."


def clustered(*relations: tuple[int, int, str]) -> Document:
    """Ada is e1 and e4, Babbage e2 and e5, London e3."""
    names = ["Ada Lovelace/PER", "Babbage/PER", "London/LOC", "Ada/PER", "him/PER"]
    document = related(TEXT, names, relations, clusters=[["e1", "e4"], ["e2", "e5"]])
    document.entities[3].start, document.entities[3].end = 37, 40  # type: ignore[index]
    return document


def found(*relations: tuple[int, int, str]) -> Document:
    """What a model says of the same text; it takes "met" for an entity, the fourth."""
    names = ["Ada Lovelace/PER", "him/PER", "London/PER", "met/PER"]
    return related(TEXT, names, relations)


def relation_counts(gold: Document, predicted: Document) -> tuple[float, float, list[int]]:
    report = score_relations([gold], [predicted], ["friend", "residence"])
    return report["micro"]["precision"], report["micro"]["recall"], report["errors"]


def test_a_relation_is_right_if_its_ends_are_mentions_of_the_gold_ends() -> None:
    gold = clustered((1, 3, "residence"), (2, 1, "friend"))
    assert relation_counts(gold, gold) == (100, 100, [0])
    # by other mentions, and whatever the label of the entity
    assert relation_counts(gold, found((1, 3, "residence"), (2, 1, "friend"))) == (100, 100, [0])
    # the wrong direction, the wrong label, an end that the gold does not know
    for wrong in ((1, 2, "friend"), (1, 3, "friend"), (4, 1, "friend")):
        assert relation_counts(gold, found(wrong)) == (0, 0, [3])
    # said twice, in other words
    twice = clustered((1, 3, "residence"), (4, 3, "residence"))
    assert relation_counts(gold, twice) == (100, 50, [1])


def test_relations_that_the_gold_does_not_know_are_not_scored() -> None:
    gold = clustered((1, 3, "residence"), (2, 1, "?"))
    assert relation_counts(gold, found((1, 3, "residence"), (2, 1, "friend"))) == (100, 100, [0])
    gold = clustered((1, 3, "residence"))
    gold.annotated = {"relations": ["residence"]}
    assert relation_counts(gold, found((2, 1, "friend"))) == (0, 0, [1])


def test_relations_of_labels_that_the_model_lacks_are_missed() -> None:
    gold = clustered((1, 3, "residence"), (2, 1, "rival"))
    assert relation_counts(gold, found((1, 3, "residence"))) == (100, 50, [1])


EVENTS = happening(
    "Aspirin caused bad pain .", ("Harm", "caused", {"Aspirin": "Drug", "bad pain": "Effect"})
)


def test_triggers_and_arguments() -> None:
    wrong_type = happening(EVENTS.text, ("Help", "caused", {"Aspirin": "Drug"}))
    other = happening(
        EVENTS.text,
        ("Harm", "caused", {"Aspirin": "Effect", "bad pain": "Effect"}),
        ("Harm", "pain", {"bad pain": "Effect"}),
    )
    for predicted, triggers, arguments in (
        (EVENTS, (100, 100, 0), (100, 100, 0)),
        (wrong_type, (0, 0, 2), (0, 0, 3)),
        (other, (50, 100, 1), (50, 50, 2)),
    ):
        for score, wanted in ((score_triggers, triggers), (score_arguments, arguments)):
            report = score([EVENTS], [predicted], ["Drug", "Effect", "Harm", "Help"])
            micro = report["micro"]
            assert (micro["precision"], micro["recall"], *report["errors"]) == wanted


def test_events_that_the_gold_does_not_know_are_not_scored() -> None:
    unknown = happening(EVENTS.text, ("?", "caused bad", {}))
    unannotated = happening(EVENTS.text, annotated={"events": ["Help"], "arguments": ["Other"]})
    for gold in (unknown, unannotated):
        assert score_triggers([gold], [EVENTS], ["Harm", "Help"])["errors"] == [0]
        assert score_arguments([gold], [EVENTS], ["Drug", "Effect"])["errors"] == [0]
    unknown_role = happening(EVENTS.text, ("Harm", "caused", {"Aspirin": "Drug", "pain": "?"}))
    report = score_arguments([unknown_role], [EVENTS], ["Drug", "Effect"])
    assert (report["micro_f1"], report["errors"]) == (100, [0])


def test_layers_that_the_gold_has_are_scored() -> None:
    labels = {
        "entities": ["LOC", "PER"], "relations": ["friend", "residence"],
        "events": ["Harm"], "arguments": ["Drug", "Effect"],
    }  # fmt: skip
    gold = [clustered((1, 3, "residence")), EVENTS]
    predicted = [clustered((2, 3, "residence")), EVENTS]
    report = score_layers(gold, predicted, labels)
    f1 = {name: row["f1"] for name, row in report["labels"].items()}
    assert f1 == {"entities": 100, "relations": 0, "triggers": 100, "arguments": 100}
    assert (report["micro_f1"], report["errors"]) == (75, [2, 0])
    assert report["relations"]["labels"]["residence"]["support"] == 1
    assert "confusion" in report["entities"]
    report = score_layers(gold[1:], predicted[:1], labels)
    assert list(report["labels"]) == ["triggers", "arguments"]
    assert score_layers([], [], labels) == {"labels": {}, "micro_f1": 0, "errors": []}


def test_relations_alone_have_the_macro_f1_of_semeval() -> None:
    swapped = related(NOMINALS[0].text, ["fire/X", "smoke/X"], [(2, 1, "Cause")])
    other = related(NOMINALS[4].text, ["fire/X", "car/X"], [(1, 2, "Part")])
    predicted = [swapped, *NOMINALS[1:4], other, NOMINALS[5]]
    report = score_layers(NOMINALS, predicted, {"relations": ["Cause", "Part"]})
    # Cause: 1 of 2 right, 2 found. Part: 2 of 2 right, 3 found.
    assert {name: row["f1"] for name, row in report["labels"].items()} == {"Cause": 50, "Part": 80}
    assert (report["macro_f1"], report["micro_f1"]) == (65, 66.67)
    assert report["errors"] == [2, 0, 0, 0, 1, 0]


def test_best_bias() -> None:
    gold = clustered((1, 3, "residence"), (2, 1, "friend"))
    every = found((1, 3, "residence"), (1, 2, "friend"), (2, 1, "friend"), (2, 3, "residence"))
    for relation, margin in zip(every.relations or (), (2.0, -0.2, -1.0, -2.0), strict=True):
        relation.score = margin
    labels = ["friend", "residence"]
    # the first three have the best F1, 4/5; the bias lies between the third and the fourth
    assert best_bias([gold], [every], labels) == 1.5
    assert best_bias([gold], [found((1, 3, "residence"))], labels) == -0.95
    assert best_bias([gold], [found()], labels) == 0
    assert best_bias([gold, gold], [found(), every], labels) == 1.5
