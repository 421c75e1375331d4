"""Batches of examples: windows of one length together, in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..batching import cut_batches, pad_windows
from ..documents import LAYERS, Document
from ..tasks import EncoderTask
from ..windows import TextEncoder, Window

POOL_WINDOWS = 4096
"""Windows that are sorted together: enough to pad little, few enough to stay mixed."""


class Example(NamedTuple):
    """A window with its targets, arrays without a batch axis, and the head that learns them."""

    window: Window
    targets: dict[str, NDArray[Any]]
    head: str = ""

    @property
    def n_tokens(self) -> int:
        """The tokens of the window."""
        return len(self.window.ids)

    @property
    def kind(self) -> tuple[str, ...]:
        """What the examples of a batch share: the head, and the names of the targets."""
        return self.head, *sorted(self.targets)


class Batch(NamedTuple):
    """Padded tensors, batch first: the backbone's inputs, the targets; and the real tokens."""

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    n_tokens: int
    head: str = ""


class Source(NamedTuple):
    """Documents that a head learns from, and how often an epoch goes through them."""

    task: EncoderTask
    documents: Sequence[Document]
    head: str = ""
    weight: float = 1.0


class Examples:
    """The training examples of a run, and the batches of each epoch.

    With `lower_share`, that share of the documents is read in lower case, other ones in each
    pass. An epoch is `n_passes` passes through the data, one by default. Its batches depend on
    the examples, the seed and the epoch alone.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        encoder: TextEncoder,
        *,
        seed: int = 0,
        lower_share: float = 0.0,
    ) -> None:
        self.n_passes = 1
        self._seed = seed
        self._lower_share = lower_share
        self._weights = [source.weight for source in sources]
        self._plain = [examples_of(s, encoder, s.documents) for s in sources]
        self._lower: list[list[list[Example]]] = []
        if lower_share:
            self._lower = [
                examples_of(s, encoder, [lowered(d) for d in s.documents]) for s in sources
            ]

    def __len__(self) -> int:
        return sum(len(examples) for source in self._plain for examples in source)

    @property
    def n_tokens(self) -> int:
        """Tokens of a pass, without padding and lower-casing, with the weights."""
        return round(
            sum(
                weight * sum(example.n_tokens for examples in source for example in examples)
                for weight, source in zip(self._weights, self._plain, strict=True)
            )
        )

    def windows(self, n_epochs: int) -> list[Window]:
        """Return all windows of these epochs, each once."""
        changes = bool(self._lower) or any(weight < 1 for weight in self._weights)
        found: dict[int, Window] = {}
        for number in range(n_epochs * self.n_passes if changes else 1):
            found |= {id(example.window): example.window for example in self.epoch(number)}
        return list(found.values())

    def epoch(self, epoch: int) -> list[Example]:
        """Return the examples of a pass, in the order of the sources and documents."""
        found = []
        for number, source in enumerate(self._plain):
            for index in self._chosen(number, epoch):
                found.append(source[index])
            if self._lower:
                random = np.random.default_rng((self._seed, epoch, 1, number))
                is_lower = random.random(len(source)) < self._lower_share
                chosen = self._chosen(number, epoch)
                for place, index in enumerate(chosen, len(found) - len(chosen)):
                    if is_lower[index]:
                        found[place] = self._lower[number][index]
        return [example for examples in found for example in examples]

    def _chosen(self, number: int, epoch: int) -> list[int]:
        """Return the documents of a source that an epoch has, as often as its weight says.

        One at least, however small the weight.
        """
        size, weight = len(self._plain[number]), self._weights[number]
        whole = list(range(size)) * int(weight)
        n_more = round((weight - int(weight)) * size) or int(not whole)
        if not n_more:
            return whole
        random = np.random.default_rng((self._seed, epoch, 2, number))
        return whole + sorted(random.permutation(size)[:n_more].tolist())

    def batches(self, epoch: int, batch_tokens: int) -> list[list[Example]]:
        """Return the batches of an epoch, none with more than `batch_tokens` padded tokens."""
        first = epoch * self.n_passes
        passes = range(first, first + self.n_passes)
        return [batch for number in passes for batch in self.batches_of_pass(number, batch_tokens)]

    def batches_of_pass(self, epoch: int, batch_tokens: int) -> list[list[Example]]:
        """Return the batches of a pass.

        Pools of windows of one kind, drawn at random, are sorted by length and cut; then the
        batches of all pools are shuffled.
        """
        by_kind: dict[tuple[str, ...], list[Example]] = {}
        for example in self.epoch(epoch):
            by_kind.setdefault(example.kind, []).append(example)
        random = np.random.default_rng((self._seed, epoch, 0))
        batches = []
        for examples in by_kind.values():
            order = random.permutation(len(examples))
            for start in range(0, len(order), POOL_WINDOWS):
                pool = [examples[i] for i in order[start : start + POOL_WINDOWS]]
                for batch in cut_batches([example.n_tokens for example in pool], batch_tokens):
                    batches.append([pool[i] for i in batch])
        return [batches[i] for i in random.permutation(len(batches))]


def examples_of(
    source: Source, encoder: TextEncoder, documents: Sequence[Document]
) -> list[list[Example]]:
    """Return of each document the windows that have words and targets, with these."""
    found: list[list[Example]] = [[] for _ in documents]
    pairs = source.task.reads_pairs
    for number, window in encoder.windows_of_documents(documents, pairs=pairs):
        if len(window.word_tokens):
            targets = source.task.targets(window, documents[number])
            if targets:
                found[number].append(Example(window, targets, source.head))
    return found


def pad(examples: Sequence[Example]) -> Batch:
    """Pad a batch: integers of targets with -100, everything else with 0.

    Every axis of a target is padded to the longest of the batch, so (tokens, …) becomes
    (batch, seq, …) with the seq of the inputs. Integers become int64, floats float32.
    """
    inputs = pad_windows([example.window for example in examples])
    names = examples[0].targets if examples else ()
    targets = {name: _stack([example.targets[name] for example in examples]) for name in names}
    return Batch(
        {name: torch.from_numpy(array) for name, array in inputs.items()},
        {name: torch.from_numpy(array) for name, array in targets.items()},
        sum(example.n_tokens for example in examples),
        examples[0].head if examples else "",
    )


def lowered(document: Document) -> Document:
    """Return the document in lower case, its spans still fitting.

    A character whose lower case is longer (it is rare: "İ") stays as it is.
    """
    text = _lower(document.text)
    pair = None if document.pair is None else _lower(document.pair)
    layers = {name: _lower_spans(document.layer(name), text) for name in LAYERS}
    return msgspec.structs.replace(document, text=text, pair=pair, **layers)


def _lower(text: str) -> str:
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _lower_spans(value: Any, text: str) -> Any:
    """Return a layer with the texts of its spans taken from `text`."""
    if isinstance(value, list):
        return [_lower_spans(item, text) for item in value]
    if isinstance(value, dict):
        return {key: _lower_spans(item, text) for key, item in value.items()}
    if not isinstance(value, msgspec.Struct):
        return value
    changes = {name: _lower_spans(getattr(value, name), text) for name in value.__struct_fields__}
    if changes.get("start") is not None and changes.get("end") is not None:
        changes["text"] = text[changes["start"] : changes["end"]]
    return msgspec.structs.replace(value, **changes)


def _stack(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    first = arrays[0]
    dtype = {"f": np.dtype(np.float32), "b": np.dtype(np.bool_)}.get(
        first.dtype.kind, np.dtype(np.int64)
    )
    fill = -100 if dtype == np.int64 else 0
    shape = tuple(max(array.shape[axis] for array in arrays) for axis in range(first.ndim))
    stacked = np.full((len(arrays), *shape), fill, dtype)
    for row, array in enumerate(arrays):
        stacked[row, ...][tuple(slice(n) for n in array.shape)] = array
    return stacked
