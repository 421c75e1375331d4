"""The words that roles are given to."""

from __future__ import annotations

import numpy as np
import pytest
from lmtool_roles.words import distances, role_words, tag_names, tags_of
from roles_kit import window

ROLES = ["ARG0", "ARG1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't know", ["I", "do", "n'", "t", "know"]),
        ("CAN’T", ["CA", "N’", "T"]),
        ("Don't isn't", ["Do", "n'", "t", "is", "n'", "t"]),
        ("rock n't roll", ["rock", "n", "'", "t", "roll"]),  # nothing is left before the n
        ("the don'ts", ["the", "don", "'", "ts"]),
        ("plain words", ["plain", "words"]),
    ],
)
def test_negations_are_cut_as_the_treebanks_do(text: str, words: list[str]) -> None:
    found = role_words(window(text))
    spans = zip(found.word_starts, found.word_ends, strict=True)
    assert [text[start:end] for start, end in spans] == words


def test_the_window_itself_stays_as_it_is() -> None:
    before = window("don't")
    assert role_words(before).words_of(0, 2) == (0, 1)
    assert before.words_of(0, 2) is None


def test_distances_end_at_the_farthest() -> None:
    assert distances(np.array([-99, -32, -1, 0, 1, 32, 99])).tolist() == [0, 0, 31, 32, 33, 64, 64]


def test_tags() -> None:
    names = tag_names(ROLES)
    assert names == ["O", "B-ARG0", "I-ARG0", "B-ARG1", "I-ARG1"]
    assert [names[tag] for tag in tags_of("ARG1", ROLES)] == ["B-ARG1", "I-ARG1"]
