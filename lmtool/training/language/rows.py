"""Rows of tokens for each step, cut from a token file that is as large as it likes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .loop import Batch
from .network import IGNORED

_ROUNDS: Final = 4
_KEEP, _RANDOM = 0.1, 0.1
"""Shares of the chosen tokens that stay as they are, and that another one takes the place of."""


class CausalRows:
    """Rows of a stream of tokens, each position with the next token as its label.

    An epoch goes through the stream once, in rows of `length` tokens in random order that begin
    at another place in each epoch; the stream is a ring. Texts follow one another in a row,
    and the end token stands between them.
    """

    def __init__(self, tokens: NDArray[Any], length: int, n_rows: int, seed: int = 0) -> None:
        self._ring = Ring(tokens, length, seed)
        self._n_rows = n_rows
        self.n_tokens = self._ring.n_rows * length

    def batch(self, step: int) -> Batch:
        """Return input_ids and labels, int64 (rows, length)."""
        rows = self._ring.rows(step * self._n_rows, self._n_rows, 1)
        return {"input_ids": rows[:, :-1], "labels": rows[:, 1:]}


class MaskedRows:
    """Rows of a stream of tokens with gaps to fill in (Devlin et al. 2019).

    A row is the first token (CLS), a stretch of the stream, and the last one (SEP). A share of
    the tokens is to be predicted, one of each row at least: of ten of these eight are masked, one
    is replaced by another token at random, one stays. The choice depends on the seed and the step.
    """

    def __init__(
        self, tokens: NDArray[Any], length: int, n_rows: int, *, tokenizer: Any, share: float,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self._ring = Ring(tokens, length - 2, seed)
        self._n_rows = n_rows
        self._maker = _Gaps(tokenizer, share)
        self._seed = seed
        self.n_tokens = self._ring.n_rows * length

    def batch(self, step: int) -> Batch:
        """Return input_ids and labels, int64 (rows, length)."""
        rows = self._ring.rows(step * self._n_rows, self._n_rows, 0)
        return self._maker.make(rows, np.random.default_rng((self._seed, step)))


class Ring:
    """A stream of tokens as a ring, cut into rows whose order is another in each epoch."""

    def __init__(self, tokens: NDArray[Any], length: int, seed: int) -> None:
        self._tokens = tokens
        self._length = length
        self._seed = seed
        self.n_rows = max(len(tokens) // length, 1)

    def rows(self, first: int, n_rows: int, more: int) -> NDArray[np.int64]:
        """Return so many rows from a number on that counts over all epochs, with `more` tokens."""
        numbers = np.arange(first, first + n_rows)
        starts = np.empty(n_rows, np.int64)
        for epoch in np.unique(numbers // self.n_rows).tolist():
            random = np.random.default_rng((self._seed, epoch))
            offset = int(random.integers(self._length))
            keys = random.integers(1 << 63, size=_ROUNDS, dtype=np.uint64)
            chosen = numbers // self.n_rows == epoch
            places = shuffled(numbers[chosen] % self.n_rows, self.n_rows, keys)
            starts[chosen] = offset + places * self._length
        wanted = starts[:, None] + np.arange(self._length + more)  # (rows, length + more)
        rows: NDArray[np.int64] = self._tokens[wanted % len(self._tokens)].astype(np.int64)
        return rows


class _Gaps:
    """Makes rows with gaps of rows of tokens."""

    def __init__(self, tokenizer: Any, share: float) -> None:
        self._share = share
        self._mask = int(tokenizer.mask_token_id)
        self._ends = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
        special = set(tokenizer.all_special_ids)
        self._special = np.array(sorted(special))
        self._plain = np.array([i for i in range(len(tokenizer)) if i not in special])

    def make(self, rows: NDArray[np.int64], random: np.random.Generator) -> Batch:
        n_rows, length = rows.shape
        ids = np.empty((n_rows, length + 2), np.int64)
        ids[:, 0], ids[:, -1] = self._ends
        ids[:, 1:-1] = rows
        is_plain = ~np.isin(ids, self._special)
        is_gap = (random.random(ids.shape) < self._share) & is_plain
        whole = np.flatnonzero(~is_gap.any(1) & is_plain.any(1))
        is_gap[whole, is_plain[whole].argmax(1)] = True
        labels = np.where(is_gap, ids, IGNORED)
        how = random.random(ids.shape)
        others = random.choice(self._plain, ids.shape)
        ids = np.where(is_gap & (how >= _KEEP), self._mask, ids)
        ids = np.where(is_gap & (how >= 1 - _RANDOM), others, ids)
        return {"input_ids": ids, "labels": labels}


def causal_dev_rows(tokens: NDArray[Any], length: int, n_rows: int, end: int) -> Iterator[Batch]:
    """Yield batches in which every token but the end token is a label once.

    The first token is predicted from the end token. All batches have one shape; what is too much
    in the last one has no labels.
    """
    size = length * n_rows
    for start in range(0, len(tokens), size):
        labels = np.full(size, IGNORED, np.int64)
        ids = np.full(size, end, np.int64)
        found = tokens[start : start + size].astype(np.int64)
        before = end if start == 0 else int(tokens[start - 1])
        labels[: len(found)] = np.where(found == end, IGNORED, found)
        ids[: len(found)] = np.concatenate([[before], found[:-1]])
        yield {"input_ids": ids.reshape(-1, length), "labels": labels.reshape(-1, length)}


def masked_dev_rows(
    tokens: NDArray[Any], length: int, n_rows: int, *, tokenizer: Any, share: float
) -> Iterator[Batch]:
    """Yield batches of one shape with gaps that are the same each time."""
    rows = MaskedRows(tokens, length, n_rows, tokenizer=tokenizer, share=share)
    for step in range(math.ceil(rows.n_tokens / (length * n_rows))):
        yield rows.batch(step)


def shuffled(numbers: NDArray[np.int64], n: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the places of numbers below n in a random order of all of them.

    A Feistel network walked until it is below n (Black and Rogaway 2002): an order of billions of
    rows takes no memory.
    """
    half = np.uint64(max((max(n - 1, 1).bit_length() + 1) // 2, 1))
    mask = np.uint64((1 << int(half)) - 1)
    found = numbers.astype(np.uint64)
    is_left = np.ones(len(found), bool)
    while is_left.any():
        high, low = found[is_left] >> half, found[is_left] & mask
        for key in keys:
            high, low = low, high ^ (_mixed(low ^ key) & mask)
        found[is_left] = (high << half) | low
        is_left = found >= n
    return found.astype(np.int64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return well-mixed bits (the end of splitmix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
