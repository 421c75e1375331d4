"""The pure functions of entity extraction, on fixed arrays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from lmtool_extract.tags import allowed_tags, best_tags, is_valid, spans_from_logits, tag_names

LABELS = ["LOC", "PER"]
TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def logits(*tags: str) -> np.ndarray:
    """One-hot logits of a tag sequence, strong enough for a score of 1.00."""
    return np.array([[9.0 if name == tag else 0.0 for name in TAGS] for tag in tags])


def decode(rows: np.ndarray) -> list[tuple[int, int, str]]:
    return [span[:3] for span in spans_from_logits(rows, rows.argmax(1), LABELS)]


def test_tag_names() -> None:
    assert tag_names(LABELS) == TAGS


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (("O", "O"), []),
        (("B-PER", "I-PER", "O"), [(0, 2, "PER")]),
        (("B-PER", "B-PER"), [(0, 1, "PER"), (1, 2, "PER")]),
        (("B-LOC", "B-PER", "I-PER"), [(0, 1, "LOC"), (1, 3, "PER")]),
        (("O", "O", "B-LOC"), [(2, 3, "LOC")]),
    ],
)
def test_spans_from_logits(tags: tuple[str, ...], spans: list[tuple[int, int, str]]) -> None:
    assert decode(logits(*tags)) == spans


def test_no_words_give_no_spans() -> None:
    assert decode(np.zeros((0, 5))) == []


def test_score_is_the_mean_probability_of_the_label() -> None:
    rows = np.log(np.array([[0.1, 0.0001, 0.0001, 0.7, 0.2], [0.5, 0.0001, 0.0001, 0.1, 0.6]]))
    (span,) = spans_from_logits(rows, rows.argmax(1), LABELS)
    assert span[:3] == (0, 2, "PER")
    assert span.score == pytest.approx((0.9 / 1.0002 + 0.7 / 1.2002) / 2)


def test_best_tags_is_the_best_valid_sequence_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.normal(size=(4, 5))
        every = (np.array(tags) for tags in itertools.product(range(5), repeat=4))
        best = max(
            (tags for tags in every if is_valid(tags)),
            key=lambda tags: scores[np.arange(4), tags].sum(),
        )
        assert best_tags(scores).tolist() == best.tolist()


def test_allowed_tags_of_complete_gold() -> None:
    allowed = allowed_tags(3, [(1, 3, "PER")], LABELS, LABELS)
    assert [np.flatnonzero(row).tolist() for row in allowed] == [[0], [3], [4]]


def test_allowed_tags_where_a_label_is_not_annotated() -> None:
    allowed = allowed_tags(2, [(0, 1, "LOC")], LABELS, ["LOC"])
    assert [np.flatnonzero(row).tolist() for row in allowed] == [[1], [0, 3, 4]]


def test_allowed_tags_of_an_unknown_span() -> None:
    allowed = allowed_tags(2, [(0, 1, "?")], LABELS, LABELS)
    assert [int(row.sum()) for row in allowed] == [5, 1]
