"""Batches: windows sorted by length, cut by padded tokens, padded by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .windows import Window


def cut_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Sort by length and cut so that no batch exceeds `batch_tokens` with its padding.

    Returns the indices of each batch, the longest windows first. A window longer than
    `batch_tokens` is a batch of its own. Equal lengths keep their order.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            batches.append(batch)
            batch = []
        batch.append(index)
    if batch:
        batches.append(batch)
    return batches


def pad_windows(windows: Sequence[Window]) -> dict[str, NDArray[Any]]:
    """Return the backbone's inputs, int64 (batch, seq): input_ids, attention_mask, shape_ids."""
    lengths = [len(window.ids) for window in windows]
    shape = (len(windows), max(lengths, default=0))
    names = ("input_ids", "attention_mask", "shape_ids")
    arrays = {name: np.zeros(shape, np.int64) for name in names}
    for row, (window, length) in enumerate(zip(windows, lengths, strict=True)):
        arrays["input_ids"][row, :length] = window.ids
        arrays["attention_mask"][row, :length] = 1
        arrays["shape_ids"][row, :length] = window.shapes
    return arrays
