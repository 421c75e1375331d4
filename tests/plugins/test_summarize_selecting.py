"""Choosing sentences: limits, repetition, and how the chosen are written."""

from __future__ import annotations

import math

import numpy as np
import pytest
from lmtool_summarize.choosing import joined, shared_words, summary_of
from lmtool_summarize.oracle import oracle
from lmtool_summarize.selecting import Room, select
from lmtool_summarize.sentences import FIRST, LAST, LONG, NOWHERE, position_of, split
from lmtool_summarize.task import Scored, SummarizeOptions
from lmtool_summarize.words import words_of

from lmtool import Part
from lmtool.documents import Summary

TEXT = "Ada wrote the first program. Ada wrote a first program. Bob sold a very old car."


def room(n_words: list[int], **limits: object) -> Room:
    given = {"sentences": None, "ratio": None, "words": None, "default": 3, **limits}
    return Room(n_words, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "chosen"),
    [
        ({}, [0, 1, 2]),
        ({"sentences": 1}, [0]),
        ({"ratio": 0.5}, [0, 1]),
        ({"ratio": 0.0}, [0]),
        ({"words": 14}, [0, 2]),
        ({"words": 1}, [0]),
        ({"words": 100}, [0, 1, 2, 3]),
        ({"words": 100, "sentences": 2}, [0, 1]),
    ],
)
def test_limits(limits: dict[str, object], chosen: list[int]) -> None:
    scores, vectors = np.array([4.0, 3.0, 2.0, 1.0]), np.eye(4)
    taken = select(scores, vectors, room([10, 5, 4, 3], **limits), diversity=0.3)
    assert taken == chosen


def test_what_was_said_is_not_said_again() -> None:
    scores = np.array([1.0, 0.9, 0.5, 0.0])
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert select(scores, vectors, room([5] * 4, sentences=2), diversity=0.5) == [0, 2]
    assert select(scores, vectors, room([5] * 4, sentences=2), diversity=0.0) == [0, 1]


def parts() -> list[Part]:
    """TEXT as two windows: the sentences 0 and 1, which are alike, and 2."""
    first = Scored(
        [(0, 28), (29, 55)], np.array([2.0, 1.9]), np.array([[1, 0], [1, 0.1]], np.float16)
    )
    second = Scored([(0, 24)], np.array([1.0]), np.array([[0, 1]], np.float16))
    return [Part(0, first), Part(56, second)]


def test_sentences_keep_their_order_and_offsets() -> None:
    options = SummarizeOptions(sentences=2, diversity=0.6)
    found = summary_of(TEXT, parts(), options)
    assert found == Summary(
        "Ada wrote the first program. Bob sold a very old car.", [(0, 28), (56, 80)]
    )


def test_a_query_decides() -> None:
    options = SummarizeOptions(sentences=1, query="cars")
    assert summary_of(TEXT, parts(), options, [0.0, 1.0]).sentences == [(56, 80)]
    assert summary_of(TEXT, parts(), options, [1.0, 0.0]).sentences == [(0, 28)]


def test_words_of_a_query() -> None:
    spans = [(0, 28), (29, 55), (56, 80)]
    shared = shared_words(TEXT, spans, "An OLD car and Ada, in Rome")
    ada, old = math.log(3 / 2), math.log(3)
    assert shared.tolist() == pytest.approx(
        [ada / (ada + 2 * old), ada / (ada + 2 * old), 2 * old / (ada + 2 * old)]
    )
    assert shared_words(TEXT, spans, "Rome").tolist() == [0, 0, 0]


def test_headings_are_passed_over() -> None:
    text = "Chapter One. It was a cold night in spring."
    scored = Scored([(0, 12), (13, 43)], np.array([9.0, 1.0]), np.eye(2, dtype=np.float16))
    assert summary_of(text, [Part(0, scored)], SummarizeOptions(sentences=1)).sentences == [
        (13, 43)
    ]
    alone = Scored([(0, 12)], np.array([9.0]), np.ones((1, 2), np.float16))
    assert summary_of(text[:12], [Part(0, alone)], SummarizeOptions()).text == "Chapter One."


def test_nothing_to_say() -> None:
    empty = Scored([], np.zeros(0), np.zeros((0, 2), np.float16))
    assert summary_of(" ", [Part(0, empty)], SummarizeOptions()) == Summary("", [])
    assert summary_of("", [], SummarizeOptions()) == Summary("", [])


def test_joined_text() -> None:
    assert joined("One\ntwo.  Three.", [(0, 8), (10, 16)]).text == "One two. Three."
    assert joined("今天下雨。明天晴。", [(0, 5), (5, 9)]).text == "今天下雨。明天晴。"


def test_places() -> None:
    assert [position_of(*place, 100) for place in ((0, 10), (11, 30), (95, 98), (90, 100))] == [
        FIRST, 2, 10, LAST,
    ]  # fmt: skip
    assert position_of(0, 10, LONG + 1) == NOWHERE


def test_words() -> None:
    assert words_of("Don't stop: 3.5 cars") == ["Don't", "stop", "3", "5", "cars"]
    assert words_of("他买了car") == ["他", "买", "了", "car"]


def test_split() -> None:
    assert split("  One. Two!\n") == [(2, 6), (7, 11)]
    assert split("今天下雨。明天晴。", "zh") == [(0, 5), (5, 9)]


def test_oracle() -> None:
    assert oracle(TEXT, ["An old car was sold by Bob."], most=1) == [(56, 80)]
    assert oracle(TEXT, ["Ada wrote the first program. Bob sold a very old car."]) == [
        (0, 28), (56, 80),
    ]  # fmt: skip
    assert oracle(TEXT, ["nothing alike"]) == []
