"""Completions of many prompts: batches, and what is kept of each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ._prompts import PromptEncoder, StopCutter

if TYPE_CHECKING:
    from ._engine import Engine
    from .language import Sampling

BATCH_ROWS = 16
"""Rows of a batch: more are hardly faster, and rows that end early wait for the others."""
BATCH_BYTES = 1_000_000_000
"""Memory that a batch may take for keys, values and the prompts' logits."""


class Row(NamedTuple):
    """What came of a row: `is_ended` tells an end, or a stop text, from the last token allowed."""

    text: str
    n_tokens: int
    is_ended: bool


def cut_rows(
    lengths: Sequence[int], max_tokens: int, token_bytes: tuple[int, int], most: int = BATCH_ROWS
) -> Iterator[list[int]]:
    """Yield the indices of rows for each batch, long ones first, like lengths together.

    `token_bytes` is the memory of a token of the prompt, and of one to come.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batch: list[int] = []
    for index in order:
        longest = lengths[batch[0]] if batch else lengths[index]
        size = (len(batch) + 1) * (longest * token_bytes[0] + max_tokens * token_bytes[1])
        if batch and (len(batch) == most or size > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


class Scored(NamedTuple):
    """A window of a text whose likelihood is asked: tokens `begin` to `end`, scored from `first`.

    Places are those of the whole text.
    """

    begin: int
    first: int
    end: int


def scored_windows(n_tokens: int, context: int) -> Iterator[Scored]:
    """Yield windows that overlap by half; every token but the first is scored in one of them."""
    first = 1
    for begin in range(0, n_tokens, max(context // 2, 1)):
        end = min(begin + context, n_tokens)
        if end > first:
            yield Scored(begin, first, end)
            first = end


def run_rows(
    engine: Engine,
    encoder: PromptEncoder,
    rows: Sequence[Sequence[int]],
    sampling: Sampling,
    seed: int | None,
) -> list[Row]:
    """Return what comes of rows of tokens that run together, none longer than the others by much.

    With beams it is `choices` rows for each, the likeliest first.
    """
    if sampling.beams > 1:
        return _search(engine, encoder, rows, sampling)
    import numpy as np

    generator = engine.generator(rows, sampling, seed)
    watches = [RowWatch(encoder, row, sampling.stop) for row in rows] if sampling.stop else []
    columns = []
    for tokens in engine.steps(generator):
        columns.append(tokens)
        if watches:
            for watch, token in zip(watches, tokens.tolist(), strict=True):
                watch.feed(token)
            if all(watch.is_ended for watch in watches):
                break
    if watches:
        return [watch.row() for watch in watches]
    found = np.stack(columns, 1).tolist()  # a list of tokens for each row
    return [_row(encoder, row, tokens) for row, tokens in zip(rows, found, strict=True)]


def _search(
    engine: Engine, encoder: PromptEncoder, rows: Sequence[Sequence[int]], sampling: Sampling
) -> list[Row]:
    generator = engine.generator(rows, sampling, None)
    for _ in engine.steps(generator):
        pass
    longest = max(map(len, rows))
    found = []
    for number in range(len(rows) * sampling.choices):
        row = rows[number // sampling.choices]
        tokens = generator.get_sequence(number)[longest:].tolist()
        if sampling.stop:
            watch = RowWatch(encoder, row, sampling.stop)
            for token in tokens:
                watch.feed(token)
            result = watch.row()
        else:
            result = _row(encoder, row, tokens)
        # What a search returns has no token of the end: one that ended has room for it.
        has_room = len(tokens) < sampling.max_tokens
        found.append(result._replace(is_ended=result.is_ended or has_room))
    return found


def _row(encoder: PromptEncoder, prompt: Sequence[int], tokens: list[int]) -> Row:
    """Return what follows a prompt, without what stands behind its end."""
    end = next((place for place, token in enumerate(tokens) if token in encoder.eos), None)
    return Row(
        encoder.decode(encoder.tail(prompt), tokens[:end]), len(tokens[:end]), end is not None
    )


class RowWatch:
    """Turns the tokens that follow a prompt into text, and sees where it ends."""

    def __init__(self, encoder: PromptEncoder, prompt: Sequence[int], stops: Sequence[str]) -> None:
        self._encoder = encoder
        self._before = encoder.tail(prompt)
        self._decoder = encoder.decoder(self._before)
        self._cutter = StopCutter(stops)
        self._texts: list[str] = []
        self._n_decoded = 0
        self.tokens: list[int] = []
        self.is_ended = False

    def feed(self, token: int) -> str:
        """Return the text that is sure with this token, "" for none; nothing after the end."""
        if self.is_ended:
            return ""
        if token in self._encoder.eos:
            self.is_ended = True
            return ""
        self.tokens.append(token)
        piece = self._decoder.feed(token)
        self._n_decoded += len(piece)
        return self._cut(piece)

    def finish(self) -> str:
        """Return what was held back, now that no token follows: bytes of no whole character too."""
        if self._cutter.is_stopped:
            return ""
        rest = self._encoder.decode(self._before, self.tokens)[self._n_decoded :]
        self._n_decoded += len(rest)
        rest = self._cut(rest)
        if not self._cutter.is_stopped:
            rest += self._keep(self._cutter.flush())
        return rest

    def row(self) -> Row:
        """Return what came of the row."""
        self.finish()
        return Row(self.text, len(self.tokens), self.is_ended)

    @property
    def text(self) -> str:
        """The text until now, without what is held back."""
        return "".join(self._texts)

    def _cut(self, piece: str) -> str:
        sure = self._cutter.feed(piece)
        self.is_ended = self.is_ended or self._cutter.is_stopped
        return self._keep(sure)

    def _keep(self, text: str) -> str:
        if text:
            self._texts.append(text)
        return text
