"""Scores of frames."""

from __future__ import annotations

import msgspec
from lmtool_roles.scoring import score_frames
from roles_kit import document

from lmtool import Document

ROLES = ["ARG0", "ARG1"]
TEXT = "Ada saw Bob and he left"


def score(gold: Document, *predicted: tuple[str, dict[str, str]]) -> dict[str, object]:
    return score_frames([gold], [document(TEXT, *predicted)], ROLES)


def test_an_argument_needs_its_predicate_its_span_and_its_role() -> None:
    gold = document(TEXT, ("saw", {"Ada": "ARG0", "Bob": "ARG1"}), ("left", {"he": "ARG0"}))
    report = score(
        gold,
        ("saw", {"Ada": "ARG0", "Bob": "ARG0"}),  # a wrong role
        ("left", {"he": "ARG0"}),
        ("and", {"he": "ARG0"}),  # a wrong predicate
    )
    assert report["micro"] == {"precision": 50.0, "recall": 66.67, "f1": 57.14, "support": 3}
    assert report["argument_f1"] == 57.14
    assert report["predicates"] == {"precision": 66.67, "recall": 100.0, "f1": 80.0, "support": 2}
    assert report["predicate_f1"] == 80.0
    assert report["labels"]["ARG1"]["recall"] == 0.0  # type: ignore[index]
    assert report["errors"] == [4]


def test_roles_that_the_model_does_not_know_count_as_missed() -> None:
    report = score(document(TEXT, ("saw", {"Ada": "ARG9"})), ("saw", {}))
    assert report["micro"]["support"] == 1  # type: ignore[index]
    assert list(report["labels"]) == ["ARG0", "ARG1", "ARG9"]  # type: ignore[call-overload]


def test_what_the_gold_does_not_know_is_not_scored() -> None:
    unknown = document(TEXT, ("saw", {"Ada": "?", "Bob": "ARG1"}), ("left", {"he": "ARG0"}))
    found = ("saw", {"Ada": "ARG0", "Bob": "ARG1"}), ("left", {"Ada": "ARG1", "he": "ARG0"})
    report = score(unknown, *found)
    assert report["micro"] == {"precision": 66.67, "recall": 100.0, "f1": 80.0, "support": 2}
    partly = msgspec.structs.replace(unknown, annotated={"frames": ["ARG0"]})
    assert score(partly, *found)["labels"]["ARG1"] == {  # type: ignore[index]
        "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1,
    }  # fmt: skip
