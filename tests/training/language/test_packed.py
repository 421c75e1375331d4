"""Several examples in a row: none lost, none seen by another, the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
import tuning_kit as kit

from lmtool.training.language.checkpoint import load_model
from lmtool.training.language.examples import Example
from lmtool.training.language.network import LanguageNetwork
from lmtool.training.language.packed import PackedBatches, pack, row_width


def example(*ids: int, prompt: int = 1) -> Example:
    learnt = np.arange(len(ids)) >= prompt
    return Example(np.array(ids, np.int32), learnt)


def some(n: int) -> list[Example]:
    """Return examples of 2 to 9 tokens, each with a first token of its own."""
    return [example(100 + number, *range(number % 8 + 1)) for number in range(n)]


def firsts(batch: Any) -> list[int]:
    """Return the first tokens of the examples in a batch."""
    is_first = (batch["position_ids"] == 0) & (batch["segments"] >= 0)
    return [int(token) for token in batch["input_ids"][is_first]]


def test_rows_are_filled_best_fit_first() -> None:
    assert pack([3, 7, 5, 2, 3], 10) == [[1, 0], [2, 4, 3]]
    with pytest.raises(ValueError, match="11 tokens do not fit a row of 10"):
        pack([11], 10)


def test_rows_are_as_wide_as_the_longest_example_needs() -> None:
    assert row_width([20, 30], 512) == 256
    assert row_width([20, 300], 512) == 320
    assert row_width([20, 300], 300) == 300
    assert row_width([20], 64) == 64


def test_a_row_holds_labels_places_and_segments() -> None:
    batches = PackedBatches(
        [example(5, 6, 7, 8, prompt=2), example(3, 4)], width=8, batch_tokens=8, pad_id=9
    )
    batch = {name: array.tolist() for name, array in batches.batch(0).items()}
    assert batch == {
        "input_ids": [[5, 6, 7, 8, 3, 4, 9, 9]],
        "labels": [[-100, 7, 8, -100, 4, -100, -100, -100]],
        "position_ids": [[0, 1, 2, 3, 0, 1, 0, 0]],
        "segments": [[0, 0, 0, 0, 1, 1, -1, -1]],
    }
    assert batches.gaps == (1, 8, 0.25)


def test_a_pass_has_each_example_once_and_the_next_another_order() -> None:
    batches = PackedBatches(some(50), width=16, batch_tokens=32, seed=1)
    n_rows = batches.gaps.rows
    one_pass = [token for batch in batches.one_pass() for token in firsts(batch)]
    assert sorted(one_pass) == list(range(100, 150))
    seen = [token for step in range(-(-n_rows // 2)) for token in firsts(batches.batch(step))]
    assert seen[:50] == one_pass
    later = [token for step in range(n_rows) for token in firsts(batches.batch(step))][50:]
    assert sorted(later[:50]) != later[:50]
    assert later[:50] != one_pass


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    def made(seed: int) -> PackedBatches:
        return PackedBatches(some(50), width=16, batch_tokens=32, seed=seed)

    first, second = made(1), made(1)
    for step in range(40):
        first.batch(step)
    for step in (37, 3, 0):
        for name, array in second.batch(step).items():
            assert np.array_equal(array, first.batch(step)[name])
    assert not np.array_equal(made(1).batch(0)["input_ids"], made(2).batch(0)["input_ids"])


def test_little_data_gets_its_steps() -> None:
    batches = PackedBatches(some(8), width=16, batch_tokens=64, n_epochs=3, min_steps=30)
    assert batches.rows == batches.gaps.rows == 3
    assert batches.n_steps == 30


def test_documents_of_a_row_do_not_see_each_other(tmp_path: Path) -> None:
    model = load_model(kit.write_base(tmp_path / "base"), "causal").eval()
    network = LanguageNetwork(model, is_causal=True).eval()

    def logits(*examples: Example) -> Any:
        batch = PackedBatches(examples, width=16, batch_tokens=16).batch(0)
        tensors = {k: torch.from_numpy(v) for k, v in batch.items() if k != "labels"}
        arguments = network._arguments(**tensors)
        with torch.no_grad():
            return model(**arguments).logits[0]

    first, second = example(10, 11, 12, 13, 14), example(20, 21, 22)
    packed = logits(first, second)
    assert torch.equal(packed[:5], logits(first, example(30, 31, 32))[:5])
    torch.testing.assert_close(packed[5:8], logits(second)[:3])
    assert not torch.equal(packed[:5], logits(example(15, 11, 12, 13, 14), second)[:5])
