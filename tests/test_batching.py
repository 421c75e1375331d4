"""Batches: every window once, little padding, padded by name."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lmtool.batching import cut_batches, cut_chunks, pad_windows
from lmtool.documents import Document
from lmtool.windows import Window


def window(ids: list[int], shapes: list[int]) -> Window:
    none = np.zeros(0, np.int64)
    return Window(0, "", np.array(ids), np.array(shapes), (none, none, none))


def test_cut_chunks() -> None:
    texts = ["", "a" * 9, "a" * 10, "a" * 50, "a", "a"]  # 1, 1, 2, 6, 1 and 1 pieces
    chunks = list(cut_chunks([Document(text=text) for text in texts], 3, 10))
    assert [[len(d.text) for d in chunk] for chunk in chunks] == [[0, 9, 10], [50], [1, 1]]
    assert list(cut_chunks([], 3, 10)) == []


@pytest.mark.parametrize(
    ("lengths", "batch_tokens", "expected"),
    [
        pytest.param([], 10, [], id="nothing"),
        pytest.param([3], 10, [[0]], id="one"),
        pytest.param([3, 5, 4], 100, [[1, 2, 0]], id="the longest first"),
        pytest.param([4, 4, 4], 8, [[0, 1], [2]], id="cut by tokens, equal ones in order"),
        pytest.param([20, 4, 4], 8, [[0], [1, 2]], id="too long: a batch of its own"),
        pytest.param([5, 1, 1, 1], 10, [[0, 1], [2, 3]], id="padding counts"),
        pytest.param([0, 0], 10, [[0, 1]], id="empty windows"),
    ],
)
def test_cut_batches(lengths: list[int], batch_tokens: int, expected: list[list[int]]) -> None:
    assert cut_batches(lengths, batch_tokens) == expected


def test_batches_hold_each_window_once_within_the_limit() -> None:
    rng = random.Random(0)
    for _ in range(20):
        lengths = [rng.randint(1, 128) for _ in range(rng.randint(1, 300))]
        batches = cut_batches(lengths, 1024)
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert all(len(b) * max(lengths[i] for i in b) <= 1024 for b in batches)


def test_sorting_leaves_little_padding() -> None:
    rng = random.Random(0)
    lengths = [min(int(rng.lognormvariate(3, 0.7)) + 2, 128) for _ in range(1024)]
    padded = sum(len(b) * max(lengths[i] for i in b) for b in cut_batches(lengths, 2048))
    assert padded < 1.15 * sum(lengths)


def test_pad_windows() -> None:
    batch = pad_windows([window([2, 7, 3], [0, 1, 0]), window([2, 8, 9, 3], [0, 2, 2, 0])])
    assert {name: array.tolist() for name, array in batch.items()} == {
        "input_ids": [[2, 7, 3, 0], [2, 8, 9, 3]],
        "attention_mask": [[1, 1, 1, 0], [1, 1, 1, 1]],
        "shape_ids": [[0, 1, 0, 0], [0, 2, 2, 0]],
    }
    assert all(array.dtype == np.int64 for array in batch.values())


def test_pad_no_windows() -> None:
    assert pad_windows([])["input_ids"].shape == (0, 0)
