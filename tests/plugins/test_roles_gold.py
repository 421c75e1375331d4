"""Gold frames as the arrays that a head is trained on."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from lmtool_roles.gold import frame_targets
from roles_kit import DOCUMENTS, document, encoder, window

from lmtool import Document

ROLES = ["ARG0", "ARG1", "ARGM-NEG", "R-ARG1"]
NAMES = {-100: "?", 0: "O", **dict(enumerate("b0 i0 b1 i1 bN iN bR iR".split(), 1))}


def targets(gold: Document) -> dict[str, np.ndarray]:
    return frame_targets(window(gold.text), gold, ROLES)


def tags(gold: Document) -> list[str]:
    return [" ".join(NAMES[tag] for tag in row) for row in targets(gold)["tags"].tolist()]


def test_a_text_with_several_frames() -> None:
    gold = DOCUMENTS[1]  # Bob did|n'|t want to sell the car that Tim bought .
    found = targets(gold)
    assert found["predicates"].tolist() == [
        -100, 0, 2, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, -100,
    ]  # fmt: skip
    assert found["places"].tolist() == [1, 4, 6, 11]
    assert found["sentence_tokens"].tolist() == [list(range(1, 14))] * 4
    assert tags(gold) == [
        "O O O O O O O O O O O O O",
        "b0 O bN iN O b1 i1 i1 i1 i1 i1 i1 O",
        "b0 O O O O O O b1 i1 i1 i1 i1 O",
        "O O O O O O O b1 i1 bR b0 O O",
    ]


def test_the_tags_are_those_of_the_predicates_sentence() -> None:
    gold = DOCUMENTS[3]  # She re|-|reads it . | Nobody came .
    found = targets(gold)
    assert found["predicates"].tolist() == [-100, 0, 1, 3, 3, 0, 0, 0, 1, 0, -100]
    assert found["places"].tolist() == [1, 1]
    assert found["sentence_tokens"].tolist() == [
        [1, 2, 3, 4, 5, 6],
        [7, 8, 9, -100, -100, -100],
    ]
    assert tags(gold) == ["b0 O O O b1 O", "b1 O O ? ? ?"]


def test_a_text_without_predicates_teaches_that_there_are_none() -> None:
    found = targets(document("Hello, Ada!"))
    assert found["predicates"].tolist() == [-100, 0, 0, 0, 0, -100]
    assert found["sentence_tokens"].shape == found["tags"].shape == (0, 0)
    assert found["places"].shape == (0,)


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        (document("She saw it", ("saw", {"She": "?", "it": "ARG1"})), "? O b1"),
        (document("She saw it", ("saw", {"She": "OTHER", "it": "ARG1"})), "O O b1"),
        (document("She saw it all", ("saw", {"it": "ARG0", "it all": "ARG1"})), "O O b1 i1"),
        (document("She saw Bobby", ("saw", {"She": "ARG0", "Bob": "ARG1"})), "b0 O ?"),
        (document("Ada came. It rained.", ("rained", {"came. It": "ARG1"})), "? O O"),
        (document("Ada came. It rained.", ("rained", {"Ada": "ARG1"})), "O O O"),
    ],
)
def test_what_is_not_known_is_not_trained_on(gold: Document, expected: str) -> None:
    assert tags(gold) == [expected]


def test_roles_that_nobody_looked_for() -> None:
    plain = document("She saw it", ("saw", {"She": "ARG0", "it": "ARG1"}))
    gold = msgspec.structs.replace(plain, annotated={"frames": ["ARG0"]})
    assert tags(gold) == ["b0 ? ?"]
    assert targets(gold)["predicates"].tolist() == [-100, 0, 1, 0, -100]
    bare = msgspec.structs.replace(document("It is", ("is", {})), annotated={"frames": ["ARG0"]})
    assert targets(bare)["predicates"].tolist() == [-100, 0, -100, -100]


def test_a_frame_belongs_to_the_window_of_its_predicate() -> None:
    gold = document("Ada saw Bob. Then she left.", ("left", {"she": "ARG0"}))
    windows = list(encoder(max_tokens=6).windows(gold.text))
    assert [window.text for window in windows] == ["Ada saw Bob. ", "Then she left."]
    found = [frame_targets(window, gold, ROLES) for window in windows]
    assert [arrays["places"].tolist() for arrays in found] == [[], [2]]
    assert found[1]["tags"].tolist() == [[0, 1, 0, 0]]


def test_two_frames_of_one_predicate() -> None:
    gold = document("She saw it", ("saw", {"She": "ARG0"}), ("saw", {"it": "ARG1"}))
    assert tags(gold) == ["b0 O O", "O O b1"]
    assert targets(gold)["places"].tolist() == [1, 1]
