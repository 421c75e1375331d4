"""Embeddings as a numpy file: one row for each document, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtool.documents import Document
from lmtool.errors import DataError
from lmtool.sources import PathWriter

from .embedding import LAYER

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER_BYTES = 128
"""The header's length, fixed so that the number of rows can be set when it is known."""


class NpyWriter(PathWriter):
    """Writes the embeddings alone, float32 (documents, size), for numpy.load."""

    name = "npy"
    suffixes = (".npy",)
    summary = "the embeddings alone, an array of float32 with a row for each document"

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[Callable[[Sequence[Document]], None]]:
        """Create the file; it is complete when the context is left."""
        n_rows, size = 0, None
        with path.open("wb") as file:
            file.write(header(0, 0))

            def write(documents: Sequence[Document]) -> None:
                nonlocal n_rows, size
                rows = vectors_of(documents, size)
                file.write(rows.tobytes())
                n_rows, size = n_rows + rows.shape[0], rows.shape[1]

            yield write
            file.seek(0)
            file.write(header(n_rows, size or 0))


def header(n_rows: int, size: int) -> bytes:
    """Return the header of a .npy file (NEP 1, version 1.0) of float32 (n_rows, size)."""
    start = b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little")
    shape = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({n_rows}, {size}), }}"
    return start + shape.ljust(HEADER_BYTES - 11).encode() + b"\n"


def vectors_of(documents: Sequence[Document], size: int | None) -> NDArray[Any]:
    """Return the embeddings (documents, size); DataError where one is missing or of another size.

    `size` is what earlier ones have, None before the first.
    """
    import numpy as np

    rows = []
    for document in documents:
        try:
            row = np.asarray(document.fields.get(LAYER), "<f4")
        except (TypeError, ValueError):
            row = np.zeros(0)
        if row.ndim != 1 or not row.size:
            raise DataError(
                f"no field {LAYER!r} that is a list of numbers",
                hint="npy holds what lmtool embed finds; write other results as jsonl",
            )
        size = row.size if size is None else size
        if row.size != size:
            raise DataError(
                f"an embedding of {row.size} numbers after some of {size}",
                hint="take all of them from one model",
            )
        rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, size or 0), "<f4")
