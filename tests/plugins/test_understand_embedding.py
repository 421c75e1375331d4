"""Embeddings: the vector of a document, its score, and the numpy file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lmtool_understand.embedding import EmbedTask, cosine, unit
from lmtool_understand.npy import NpyWriter
from lmtool_understand.words import has_words

from lmtool import DataError, Document, Part

TASK = EmbedTask({}, {"size": 2})


def document(*vector: float) -> Document:
    return Document(text="x", fields={"embedding": list(vector)})


def merged(*parts: tuple[int, list[float]]) -> list[float]:
    values = [Part(0, (n, np.array(vector, np.float32))) for n, vector in parts]
    found: list[float] = TASK.merge(Document(text="x"), values, None)["embedding"]
    return found


def test_windows_count_by_their_words() -> None:
    assert merged((3, [1.0, 0.0])) == [1.0, 0.0]
    assert merged((3, [1.0, 0.0]), (4, [0.0, 1.0])) == [0.6, 0.8]
    assert merged((0, [1.0, 0.0]), (4, [0.0, 1.0])) == [0.0, 1.0]


def test_a_text_without_words_is_zero() -> None:
    assert merged((0, [1.0, 0.0]), (0, [0.0, 1.0])) == [0.0, 0.0]
    for text in ("", " \n", "…", "?!", "\u200b", "\u0301"):
        part = Part(0, (1, np.array([1.0, 0.0], np.float32)))
        assert TASK.merge(Document(text=text), [part], None) == {"embedding": [0.0, 0.0]}


@pytest.mark.parametrize("text", ["a", "7", "東", "❤️", "+", "…a"])
def test_a_letter_a_digit_or_a_symbol_makes_a_word(text: str) -> None:
    assert has_words(text)


def test_the_form_is_the_size_of_the_gold() -> None:
    assert EmbedTask.collect_form([document(1, 0, 0), Document(text="x")]) == {"size": 3}
    assert EmbedTask.collect_form([Document(text="x")]) == {}
    with pytest.raises(DataError, match="embeddings of 2 and of 3 numbers"):
        EmbedTask.collect_form([document(1, 0), document(1, 0, 0)])


def test_score_is_the_mean_cosine() -> None:
    gold = [document(2, 0), document(0, 1), Document(text="x"), document(0, 0)]
    found = [document(1, 0), document(0.6, 0.8), document(1, 0), document(0, 0)]
    report = TASK.score(gold, found)
    assert report == {"cosine": 90.0, "least_cosine": 80.0, "support": 2}
    assert TASK.score(gold, [Document(text="x")] * 4)["cosine"] == 0


def test_cosine_and_unit() -> None:
    assert cosine(document(3, 0), document(1, 1)) == pytest.approx(0.5**0.5)
    assert cosine(document(3, 0), document(1, 1, 1)) == 0
    assert unit([]) is None
    assert unit([0.0, 0.0]) is None


def test_npy_has_a_row_for_each_document(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    with NpyWriter().open(path) as write:
        write([document(1, 2), document(3, 4)])
        with pytest.raises(DataError, match="no field 'embedding'"):
            write([document(9, 9), Document(text="x")])
        with pytest.raises(DataError, match="an embedding of 3 numbers after some of 2"):
            write([document(1, 2, 3)])
        with pytest.raises(DataError, match="list of numbers"):
            write([Document(text="x", fields={"embedding": ["a"]})])
        write([document(5, 6)])
    rows = np.load(path)
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_npy_of_nothing(tmp_path: Path) -> None:
    with NpyWriter().open(tmp_path / "a.npy"):
        pass
    assert np.load(tmp_path / "a.npy").shape == (0, 0)
