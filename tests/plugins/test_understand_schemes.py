"""Schemes of classes: what gold says, what heads learn, and how logits are read."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lmtool_understand.schemes import (
    NUMBER,
    SEVERAL,
    Scheme,
    check_kinds,
    check_labels,
    collect_form,
    collect_labels,
    gold_logits,
    graph_names,
    mean_logits,
    schemes_of,
    target_of,
)

from lmtool import DataError, Document, Label, UsageError


def labels(*names: str) -> list[Label]:
    return [Label(label=name) for name in names]


def gold(**schemes: list[Label]) -> Document:
    return Document(text="x", labels=schemes)


def read(scheme: Scheme, logits: list[float], **options: float) -> list[tuple[str, float]]:
    found = scheme.read(np.array(logits), **options)  # type: ignore[arg-type]
    return [(label.label, label.score or 0.0) for label in found]


DOCUMENTS = [
    gold(topic=labels("sport"), tags=labels("a", "b")),
    gold(topic=labels("art"), mood=labels()),
    gold(mood=labels("glad"), tags=labels()),
    gold(stars=[Label(value=2)], mood=labels("?")),
    gold(stars=[Label(value=4)]),
]
ONE_OF_TWO = Scheme("mood", ("glad", "sad"))
OR_NONE = replace(ONE_OF_TWO, has_none=True)
TAGS = Scheme("tags", ("a", "b", "c"), SEVERAL, threshold=0.5)
STARS = Scheme("stars", (), NUMBER, mean=3.0, std=2.0)


# ── Gold ─────────────────────────────────────────────────────────────────────────────────────


def test_labels_and_form_of_gold() -> None:
    assert collect_labels(DOCUMENTS) == {
        "mood": ["glad"], "stars": [], "tags": ["a", "b"], "topic": ["art", "sport"],
    }  # fmt: skip
    assert collect_form(DOCUMENTS) == {
        "kinds": {"mood": "one", "stars": "number", "tags": "several", "topic": "one"},
        "none": ["mood"],
        "pairs": False,
        "ranges": {"stars": {"mean": 3.0, "std": 1.0}},
    }
    assert collect_form([Document(text="a", pair="b")])["pairs"] is True


def test_gold_that_fits_no_scheme_is_refused() -> None:
    with pytest.raises(DataError, match=r"labels\.x: some documents have a number"):
        collect_labels([gold(x=[Label(value=1)]), gold(x=labels("a"))])
    with pytest.raises(DataError, match="neither name nor value"):
        check_labels(gold(y=labels("a"), x=[Label(score=0.5)]))
    check_labels(gold(y=labels("a"), x=[Label(value=0.0)], z=[]))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"kinds": {"mail": "sevral"}}, "kinds.mail is 'sevral', and its gold has the labels a, b"),
        ({"kinds": {"mail": "number"}}, "kinds.mail is 'number', and its gold has the labels a, b"),
        ({"kinds": {"stars": "one"}}, "kinds.stars is 'one', and its gold has numbers"),
        ({"kinds": {"mial": "one"}}, "no scheme 'mial'"),
        ({"none": ["mial"]}, "no scheme 'mial'"),
        ({"kinds": "several"}, "kinds is 'several', no table"),
    ],
)
def test_kinds_that_fit_no_gold_are_refused(form: dict[str, Any], message: str) -> None:
    known = {"mail": ["a", "b"], "stars": []}
    with pytest.raises(UsageError) as caught:
        check_kinds(form, known)
    assert caught.value.message == f"form: {message}"
    check_kinds({"kinds": {"mail": "several", "stars": "number"}, "none": ["mail"]}, known)


def test_schemes_of_labels_and_form() -> None:
    form = {**collect_form(DOCUMENTS), "temperatures": {"mood": 2.0}, "thresholds": {"mood": 0.3}}
    schemes = schemes_of(collect_labels(DOCUMENTS), form)
    assert schemes["mood"] == Scheme(
        "mood", ("glad",), has_none=True, temperature=2.0, threshold=0.3
    )
    assert schemes["tags"].threshold == 0.5
    assert (schemes["stars"].mean, schemes["stars"].n_logits) == (3.0, 1)
    assert [schemes[name].n_logits for name in ("mood", "topic", "tags")] == [2, 2, 2]


@pytest.mark.parametrize(
    ("scheme", "items", "target"),
    [
        (ONE_OF_TWO, labels("sad"), 1),
        (ONE_OF_TWO, labels(), None),
        (ONE_OF_TWO, labels("?"), None),
        (ONE_OF_TWO, labels("new"), None),
        (OR_NONE, labels(), 2),
        (TAGS, labels("c", "a"), [1, 0, 1]),
        (TAGS, labels(), [0, 0, 0]),
        (TAGS, labels("b", "?"), [-100, 1, -100]),
        (TAGS, labels("?"), None),
        (STARS, [Label(value=4)], 0.5),
        (STARS, [], None),
    ],
)
def test_targets(scheme: Scheme, items: list[Label], target: object) -> None:
    found = target_of(scheme, items)
    assert (None if found is None else found.tolist()) == target


# ── Logits ───────────────────────────────────────────────────────────────────────────────────


def test_the_best_of_one_label() -> None:
    assert read(ONE_OF_TWO, [0.0, math.log(3)]) == [("sad", 0.75)]
    assert read(ONE_OF_TWO, [0.0, math.log(3)], threshold=0.8) == []
    assert read(ONE_OF_TWO, [0.0, math.log(3)], top=5) == [("sad", 0.75), ("glad", 0.25)]
    assert read(ONE_OF_TWO, [0.0, math.log(3)], top=5, threshold=0.5) == [("sad", 0.75)]
    cooled = replace(ONE_OF_TWO, temperature=0.5)
    assert read(cooled, [0.0, math.log(3)]) == [("sad", 0.9)]


def test_none_wins_or_the_score_is_too_low() -> None:
    assert read(OR_NONE, [0.0, 1.0, 2.0]) == []
    assert read(OR_NONE, [0.0, 2.0, 1.0]) == [("sad", 0.6652)]
    assert read(replace(OR_NONE, threshold=0.7), [0.0, 2.0, 1.0]) == []
    assert read(replace(OR_NONE, threshold=0.7), [0.0, 2.0, 1.0], top=1) == [("sad", 0.6652)]
    assert read(OR_NONE, [0.0, 1.0, 2.0], top=1) == [("sad", 0.2447)]


def test_several_labels_from_the_threshold_on() -> None:
    logits = [0.0, -9.0, math.log(4)]
    assert read(TAGS, logits) == [("c", 0.8), ("a", 0.5)]
    assert read(TAGS, logits, threshold=0.6) == [("c", 0.8)]
    assert read(TAGS, logits, top=3) == [("c", 0.8), ("a", 0.5), ("b", 0.0001)]
    assert read(TAGS, [-5.0, -5.0, -5.0]) == []


def test_a_number() -> None:
    assert STARS.read(np.array([0.25])) == [Label(value=3.5)]


@pytest.mark.parametrize(
    ("scheme", "items"),
    [
        (ONE_OF_TWO, labels("glad")),
        (OR_NONE, labels()),
        (TAGS, labels("a", "c")),
        (STARS, [Label(value=1.0)]),
    ],
)
def test_logits_of_gold_are_read_as_the_gold(scheme: Scheme, items: list[Label]) -> None:
    found = scheme.read(gold_logits(scheme, items))
    assert [(i.label, i.value) for i in found] == [(i.label, i.value) for i in items]


def test_windows_count_by_their_words() -> None:
    one, other = {"a": np.array([1.0, 0.0])}, {"a": np.array([0.0, 4.0])}
    assert mean_logits([(3, one), (1, other), (0, {"a": np.array([9.0, 9.0])})])["a"].tolist() == [
        0.75,
        1.0,
    ]
    assert mean_logits([(0, one), (2, other)])["a"].tolist() == [0.0, 4.0]
    assert mean_logits([(0, one)]) == {}


def test_names_of_graphs_are_names_of_files() -> None:
    assert graph_names(["topic", "a b", "a/b", "A_B", "情感", "__-2"]) == {
        "topic": "topic", "a b": "a_b", "a/b": "a_b-2", "A_B": "A_B-3", "情感": "__",
        "__-2": "__-2",
    }  # fmt: skip


def test_small_and_large_numbers_keep_their_digits() -> None:
    for size in (1e-7, 1e9):
        documents = [gold(stars=[Label(value=value * size)]) for value in (1.0, 2.0, 3.0)]
        scheme = schemes_of({"stars": []}, collect_form(documents))["stars"]
        logit = target_of(scheme, (documents[2].labels or {})["stars"])
        assert logit == pytest.approx(1.2247, abs=1e-4)
        (label,) = scheme.read(np.array([logit]))
        assert label.value == pytest.approx(3.0 * size, rel=1e-4)
