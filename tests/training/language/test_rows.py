"""Rows of tokens: what each step gets. (That each token is in one is tested with the packing.)"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from lmtool.training.language.network import IGNORED
from lmtool.training.language.rows import CausalRows, MaskedRows, masked_dev_rows

STREAM = np.arange(1000, 1103, dtype=np.uint16)
"""103 different tokens: what a row holds tells where it was cut."""


class FewTokens(SimpleNamespace):
    """What rows with gaps ask a tokenizer for."""

    mask_token_id, cls_token_id, sep_token_id = 4, 2, 3
    all_special_ids = (0, 1, 2, 3, 4)

    def __len__(self) -> int:
        return 2000


def test_the_label_of_a_place_is_the_token_behind_it() -> None:
    batch = CausalRows(STREAM, length=10, n_rows=10, seed=3).batch(0)
    places = batch["input_ids"] - 1000
    assert ((batch["labels"] - 1000) == (places + 1) % len(STREAM)).all()
    assert batch["input_ids"].dtype == batch["labels"].dtype == np.int64


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    def ids(seed: int, step: int) -> Any:
        return CausalRows(STREAM, length=10, n_rows=4, seed=seed).batch(step)["input_ids"].tolist()

    assert ids(0, 7) == ids(0, 7)
    assert ids(0, 7) != ids(0, 8)
    assert ids(0, 7) != ids(1, 7)


def test_nothing_but_gaps_is_changed_and_special_tokens_are_none() -> None:
    rows = MaskedRows(STREAM, length=22, n_rows=50, tokenizer=FewTokens(), share=0.3)
    batch = rows.batch(0)
    whole = np.where(batch["labels"] == IGNORED, batch["input_ids"], batch["labels"])
    assert (np.diff(whole[:, 1:-1] - 1000, axis=1) % len(STREAM) == 1).all()
    assert (whole[:, [0, -1]] == (2, 3)).all()
    special = MaskedRows(STREAM % 5, length=22, n_rows=50, tokenizer=FewTokens(), share=0.9)
    assert (special.batch(0)["labels"] == IGNORED).all()


def test_each_row_has_a_gap_where_it_can() -> None:
    stream = np.array([0, 1, 1000, 1001] * 25)  # without a gap a loss would be 0
    rows = MaskedRows(stream, length=6, n_rows=50, tokenizer=FewTokens(), share=0.01)
    n_gaps = (rows.batch(0)["labels"] != IGNORED).sum(1)
    assert n_gaps.min() == 1
    assert n_gaps.mean() < 1.2


def test_held_out_gaps_are_the_same_each_time() -> None:
    def labels() -> list[Any]:
        batches = masked_dev_rows(STREAM, 12, 3, tokenizer=FewTokens(), share=0.3)
        return [batch["labels"].tolist() for batch in batches]

    assert labels() == labels()
    assert len(labels()) == 4
