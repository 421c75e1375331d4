"""Predicates, their sentences and the runs of pairs, with graphs made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lmtool_roles import finding
from lmtool_roles.finding import FoundFrame, find_frames
from lmtool_roles.words import BARE, FARTHEST, INSIDE, PREDICATE, tag_names
from roles_kit import document, window

from lmtool import Graph
from lmtool.windows import Window

ROLES = ["ARG0", "ARG1"]
CLASSES = {
    "saw": PREDICATE,
    "left": PREDICATE,
    "was": BARE,
    "re": PREDICATE,
    "-": INSIDE,
    "read": INSIDE,
}
TAGS = tag_names(ROLES)


class Stub:
    """The graphs: words of CLASSES are predicates; ARG0 is the word before, ARG1 the two behind."""

    def __init__(self, windows: list[Window]) -> None:
        seq = max(len(window.ids) for window in windows)
        self.hidden = np.zeros((len(windows), seq, 1), np.float32)
        self.classes = np.zeros((len(windows), seq, 4), np.float32)
        for row, found in enumerate(windows):
            for number, token in enumerate(found.word_tokens):
                word = found.text[found.word_starts[number] : found.word_ends[number]]
                self.classes[row, token, CLASSES.get(word, 0)] = 12
                self.hidden[row, token] = len(word)
        self.shapes: list[tuple[int, ...]] = []

    @property
    def graphs(self) -> Mapping[str, Graph]:
        runs = {"predicates": self.predicates, "arguments": self.arguments}
        return {name: SimpleNamespace(run=run) for name, run in runs.items()}  # type: ignore[misc]

    def predicates(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        return {"predicates": self.classes, "tokens": feeds["hidden"]}

    def arguments(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        distances, mask = feeds["distances"], feeds["mask"]
        self.shapes.append(mask.shape)
        at_predicate = feeds["tokens"][distances == FARTHEST]
        assert {float(x) for x in at_predicate.ravel()} == set(feeds["predicate"].ravel().tolist())
        assert mask[:, 0].all()
        tags = np.zeros((*mask.shape, 5), np.float32)
        for distance, name in ((-1, "B-ARG0"), (1, "B-ARG1"), (2, "I-ARG1")):
            tags[distances == FARTHEST + distance, TAGS.index(name)] = 12
        return {"tags": tags}


def find(*texts: str) -> tuple[list[list[tuple[str, list[tuple[str, str]]]]], Stub]:
    windows = [window(text) for text in texts]
    stub = Stub(windows)
    found = find_frames(stub.graphs, {"hidden": stub.hidden}, windows, ROLES, is_given=False)
    return [
        [
            (text[f.start : f.end], [(role, text[a:b]) for a, b, role, _ in f.arguments])
            for f in frames
        ]
        for text, frames in zip(texts, found, strict=True)
    ], stub


def test_frames_of_a_batch() -> None:
    found, stub = find(
        "Ada saw a big man today",
        "nothing",
        "It was so. Bob left the house. Ada re-read it all",
    )
    assert found == [
        [("saw", [("ARG0", "Ada"), ("ARG1", "a big")])],
        [],
        [
            ("was", []),
            ("left", [("ARG0", "Bob"), ("ARG1", "the house")]),
            ("re-read", [("ARG0", "Ada"), ("ARG1", "-read")]),
        ],
    ]
    assert stub.shapes == [(3, 6)]  # the bare predicate is not run, sentences are not windows


def test_arguments_stay_in_the_sentence() -> None:
    found, _ = find("Ada saw. Bob ran. It rained, he left")
    assert found == [[("saw", [("ARG0", "Ada"), ("ARG1", ".")]), ("left", [("ARG0", "he")])]]


class Repeating(Stub):
    """ARG0 is the word before and, less surely, the one behind."""

    def arguments(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        tags = np.zeros((*feeds["mask"].shape, 5), np.float32)
        for distance, logit in ((-1, 12), (1, 6)):
            tags[feeds["distances"] == FARTHEST + distance, TAGS.index("B-ARG0")] = logit
        return {"tags": tags}


def test_a_core_role_is_found_once() -> None:
    read = window("Ada saw him")
    stub = Repeating([read])
    ((frame,),) = find_frames(stub.graphs, {"hidden": stub.hidden}, [read], ROLES, is_given=False)
    assert [argument[:3] for argument in frame.arguments] == [(0, 3, "ARG0")]


def test_nothing_is_run_without_predicates() -> None:
    found, stub = find("nothing at all", "")
    assert (found, stub.shapes) == ([[], []], [])


def test_pairs_run_in_sub_batches_of_like_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "PAIR_WORDS", 8)
    texts = "he left", "Ada saw a big man today", "she left", "we left"
    found, stub = find(*texts)
    assert stub.shapes == [(1, 6), (3, 2)]
    monkeypatch.undo()
    assert found == find(*texts)[0]


def test_given_predicates() -> None:
    gold = document("A big man left home, was it", ("man", {"home": "ARG1"}), ("big man", {}))
    read = window(gold.text)
    read.document = gold
    stub = Stub([read])
    (found,) = find_frames(stub.graphs, {"hidden": stub.hidden}, [read], ROLES, is_given=True)
    assert found == [
        FoundFrame(6, 9, 1.0, [(2, 5, "ARG0", 1.0), (10, 19, "ARG1", 1.0)], 0),
        FoundFrame(2, 5, 1.0, [(0, 1, "ARG0", 1.0), (6, 14, "ARG1", 1.0)], 1),
    ]
