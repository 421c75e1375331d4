"""Choosing sentences: limits, repetition, and how the chosen are written."""

from __future__ import annotations

import math
from typing import Any

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
        ({"words": 18}, [0, 1]),  # near enough, without the short one that would fit
        ({"words": 20}, [0, 1, 2]),
    ],
)
def test_limits(limits: dict[str, object], chosen: list[int]) -> None:
    scores, vectors, all_four = np.array([4.0, 3.0, 2.0, 1.0]), np.eye(4), np.ones(4, bool)
    taken = select(scores, vectors, room([10, 5, 4, 3], **limits), all_four, diversity=0.3)
    assert taken == chosen


def test_some_of_all() -> None:
    scores, vectors = np.array([4.0, 3.0, 2.0, 1.0]), np.eye(4)
    limits, some = room([5] * 4, sentences=3), np.array([False, True, False, True])
    assert select(scores, vectors, limits, some, diversity=0.3) == [1, 3]
    assert select(scores, vectors, limits, ~some, diversity=0.3) == [0]
    assert select(scores, vectors, limits, np.zeros(4, bool), diversity=0.3) == []


def test_what_was_said_is_not_said_again() -> None:
    scores = np.array([1.0, 0.9, 0.5, 0.0])
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    limits = {"among": np.ones(4, bool), "room": room([5] * 4, sentences=2)}
    assert select(scores, vectors, **limits, diversity=0.5) == [0, 2]
    limits["room"] = room([5] * 4, sentences=2)
    assert select(scores, vectors, **limits, diversity=0.0) == [0, 1]


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


def chosen(text: str, scores: list[float], **options: Any) -> list[str]:
    """Return the summary's lines, of sentences that say nothing alike."""
    spans = split(text)
    scored = Scored(spans, np.array(scores), np.eye(len(spans), dtype=np.float16))
    return summary_of(text, [Part(0, scored)], SummarizeOptions(**options)).text.split("\n")


NIGHT, SNOW = "It was a cold night in the spring.", "Snow lay on the roofs of the town."
STORY = f"A Night in the Old Town\n\n{NIGHT}\n\nWe left.\n\n{SNOW}\n\nI came:"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [NIGHT, "We left.", SNOW]),
        ({"sentences": 2}, [NIGHT, SNOW]),
        ({"sentences": 3}, [NIGHT, "We left.", SNOW]),
        ({"sentences": 4}, ["A Night in the Old Town", NIGHT, "We left.", SNOW]),
        ({"ratio": 1.0}, ["A Night in the Old Town", NIGHT, "We left.", SNOW, "I came:"]),
        ({"words": 9}, [NIGHT]),
        ({"words": 100}, [NIGHT, SNOW]),
        ({"words": 100, "sentences": 5}, [NIGHT, SNOW]),
    ],
)
def test_headings_and_short_sentences_come_last(
    options: dict[str, Any], expected: list[str]
) -> None:
    assert chosen(STORY, [9.0, 2.0, 5.0, 1.0, 4.0], **options) == expected


def test_a_text_of_headings_alone() -> None:
    assert chosen("One of the headings\n\nAnother heading", [1.0, 2.0], sentences=1) == [
        "Another heading"
    ]
    assert chosen("It rained. We left.", [1.0, 2.0]) == ["It rained. We left."]


def test_a_short_sentence_may_answer() -> None:
    text = f"{NIGHT} The rent is 900 euros."
    scored = Scored(split(text), np.zeros(2), np.eye(2, dtype=np.float16))
    options = SummarizeOptions(sentences=1, query="the rent")
    found = summary_of(text, [Part(0, scored)], options, [0.0, 1.0])
    assert found.text == "The rent is 900 euros."
    assert summary_of(text, [Part(0, scored)], SummarizeOptions(sentences=1)).text == NIGHT


def test_a_longer_sentence_is_worth_more() -> None:
    longer = "Snow lay on the roofs of the town and in the streets of the harbour."
    assert chosen(f"{NIGHT} {longer}", [1.0, 1.0], sentences=1) == [longer]


def test_nothing_to_say() -> None:
    empty = Scored([], np.zeros(0), np.zeros((0, 2), np.float16))
    assert summary_of(" ", [Part(0, empty)], SummarizeOptions()) == Summary("", [])
    assert summary_of("", [], SummarizeOptions()) == Summary("", [])


def test_joined_text() -> None:
    assert joined("One\ntwo.  Three.", [(0, 8), (10, 16)]).text == "One two. Three."
    assert joined("One.\n \nTwo.\nThree. Four.", [(0, 4), (7, 11), (12, 18), (19, 24)]).text == (
        "One.\nTwo. Three. Four."
    )
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
