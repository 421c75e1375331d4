"""Batches: streams cut into chunks, windows sorted by length and cut and padded by tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .documents import Document
    from .windows import Window


def cut_chunks(
    documents: Iterable[Document],
    most: int,
    n_characters: int,
    length: Callable[[Document], int] = lambda document: len(document.text),
) -> Iterator[list[Document]]:
    """Cut a stream into chunks of about `most` pieces of text with at least so many characters.

    `length` says how many a document has.

    A chunk depends only on the documents from its first one on, so a run that is resumed at a
    chunk computes the same batches, and the same bytes, as one that was not.
    """
    chunk: list[Document] = []
    n_pieces = 0
    for document in documents:
        chunk.append(document)
        n_pieces += 1 + length(document) // n_characters
        if n_pieces >= most:
            yield chunk
            chunk, n_pieces = [], 0
    if chunk:
        yield chunk


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
    import numpy as np

    lengths = [len(window.ids) for window in windows]
    shape = (len(windows), max(lengths, default=0))
    names = ("input_ids", "attention_mask", "shape_ids")
    arrays = {name: np.zeros(shape, np.int64) for name in names}
    for row, (window, length) in enumerate(zip(windows, lengths, strict=True)):
        arrays["input_ids"][row, :length] = window.ids
        arrays["attention_mask"][row, :length] = 1
        arrays["shape_ids"][row, :length] = window.shapes
    return arrays
