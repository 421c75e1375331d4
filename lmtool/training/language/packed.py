"""Several examples in a row: what a step of fine-tuning is fed, without attention between them."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .examples import Example
from .loop import Batch
from .network import IGNORED

POOL = 4096
"""Examples that are packed together: enough to leave few gaps, few enough to stay mixed."""
STEP = 32
"""Rows are a multiple of so many tokens wide."""
LEAST_WIDTH = 256
"""Width of a row where the context allows it: short examples share one."""


class Gaps(NamedTuple):
    """What packing costs."""

    rows: int
    width: int
    share: float
    """Padding among the tokens of all rows, 0 to 1."""


def pack(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Return rows of places in `lengths`, none longer than `width` in all.

    The longest first, each into the row that it fills best (best-fit decreasing, at most 11/9 of
    the least number of rows: Johnson et al. 1974). A length above `width` is a ValueError.
    """
    rows: list[list[int]] = []
    gaps: list[tuple[int, int]] = []  # (free tokens, row), sorted
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        length = lengths[place]
        if length > width:
            raise ValueError(f"{length} tokens do not fit a row of {width}")
        found = bisect.bisect_left(gaps, (length, -1))
        if found == len(gaps):
            free, row = width, len(rows)
            rows.append([])
        else:
            free, row = gaps.pop(found)
        rows[row].append(place)
        if free > length:
            bisect.insort(gaps, (free - length, row))
    return rows


def row_width(lengths: Sequence[int], context: int) -> int:
    """Return the width of all rows: room for the longest example, at most the context."""
    longest = max(max(lengths, default=1), min(LEAST_WIDTH, context))
    return min(-(-longest // STEP) * STEP, context)


class PackedBatches:
    """Batches of packed rows, without end: a `Batches` of the language loop.

    Pass after pass through the examples, each in an order and packing of its own; what a step
    gets depends on the examples, the seed and the step alone. A batch has as many rows as
    `batch_tokens` holds, at least one and at most those of a pass. An epoch is so many passes
    that `n_epochs` of them take at least `min_steps`.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        width: int,
        batch_tokens: int,
        seed: int = 0,
        pad_id: int = 0,
        n_epochs: int = 1,
        min_steps: int = 0,
    ) -> None:
        """Pack the first pass; there has to be an example."""
        self._examples = examples
        self._lengths = [len(example.ids) for example in examples]
        self._width = width
        self._seed = seed
        self._pad_id = pad_id
        self._ends: list[int] = []  # of each pass, in rows
        self._passes: dict[int, list[list[int]]] = {}
        n_rows = len(self._rows(0))
        self._ends.append(n_rows)
        self.rows = min(max(batch_tokens // width, 1), n_rows)
        n_passes = max(-(-min_steps * self.rows // (n_epochs * n_rows)), 1)
        self.n_steps = -(-n_epochs * n_passes * n_rows // self.rows)
        """Steps of `n_epochs` epochs."""
        n_real = sum(self._lengths)
        self.gaps = Gaps(n_rows, width, 1 - n_real / (n_rows * width))
        """What packing costs in the first pass."""

    def batch(self, step: int) -> Batch:
        """Return the arrays of a step, from 0, each int64 (rows, width).

        `input_ids`; `labels`, the token that a place has to predict; `position_ids`, from 0 in
        each example; `segments`, 0, 1, … by example and -1 for padding.
        """
        rows = [self._row(number) for number in range(step * self.rows, (step + 1) * self.rows)]
        return self._arrays(rows)

    def one_pass(self) -> list[Batch]:
        """Return the batches of the first pass, each example once."""
        rows = self._rows(0)
        starts = range(0, len(rows), self.rows)
        return [self._arrays(rows[start : start + self.rows]) for start in starts]

    def _arrays(self, rows: Sequence[Sequence[int]]) -> Batch:
        shape = (len(rows), self._width)
        ids = np.full(shape, self._pad_id, np.int64)
        labels = np.full(shape, IGNORED, np.int64)
        positions = np.zeros(shape, np.int64)
        segments = np.full(shape, -1, np.int64)
        for number, row in enumerate(rows):
            start = 0
            for segment, place in enumerate(row):
                tokens, is_learnt = self._examples[place]
                end = start + len(tokens)
                ids[number, start:end] = tokens
                labels[number, start : end - 1] = np.where(is_learnt[1:], tokens[1:], IGNORED)
                positions[number, start:end] = np.arange(len(tokens))
                segments[number, start:end] = segment
                start = end
        return {
            "input_ids": ids, "labels": labels, "position_ids": positions, "segments": segments,
        }  # fmt: skip

    def _row(self, number: int) -> list[int]:
        """Return the examples of a row, counted through all passes."""
        while number >= self._ends[-1]:
            self._ends.append(self._ends[-1] + len(self._rows(len(self._ends))))
        turn = bisect.bisect_right(self._ends, number)
        return self._rows(turn)[number - (self._ends[turn - 1] if turn else 0)]

    def _rows(self, turn: int) -> list[list[int]]:
        """Return the rows of a pass; the last two that were asked for are kept."""
        if turn not in self._passes:
            for old in sorted(self._passes)[:-1]:
                del self._passes[old]
            self._passes[turn] = self._packed(turn)
        return self._passes[turn]

    def _packed(self, turn: int) -> list[list[int]]:
        random = np.random.default_rng((self._seed, turn))
        order = random.permutation(len(self._examples)).tolist()
        rows = []
        for start in range(0, len(order), POOL):
            pool = order[start : start + POOL]
            packed = pack([self._lengths[place] for place in pool], self._width)
            rows += [[pool[place] for place in row] for row in packed]
        return [rows[place] for place in random.permutation(len(rows))]
