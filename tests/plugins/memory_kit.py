"""What tests of the memory share: an embedder that is known by heart, and a memory filled by it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lmtool_memory.passages import Passage
from lmtool_memory.store import New, Store

SIZE = 16


@functools.cache
def vector_of(text: str) -> Any:
    """Return a vector that follows from a text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(SIZE)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class ByHeart:
    """Stands in the place of `lmtool_memory.remembering.Embedder`."""

    name, ref, language = "by-heart 0", "by-heart", "en"

    def __init__(self, ref: str | None = None, device: str = "auto") -> None:
        pass

    def __call__(self, texts: Sequence[str]) -> Any:
        return np.stack([vector_of(text) for text in texts])


def news(store: Store, name: str, texts: Sequence[str]) -> list[New]:
    """Begin a source and return texts as its new passages."""
    source, generation = store.begin_source(name)
    return [
        New(source, generation, text.encode(), Passage(i, i + len(text), i + 1, text))
        for i, text in enumerate(texts)
    ]


def fill(path: Path, name: str, texts: Sequence[str]) -> None:
    """Add texts to the memory of a path, in one transaction."""
    store = Store(path, create=True)
    with store.writing():
        store.set_model("by-heart", "by-heart", SIZE)
        store.add(news(store, name, texts), np.stack([vector_of(text) for text in texts]))
    store.close()


def texts_of(store: Store) -> list[str]:
    """Return the texts of a memory by their numbers."""
    with store.reading():
        ids = [row[0] for row in store._db.execute("SELECT id FROM passages")]
        return [passage.text for _, passage in sorted(store.passages(ids).items())]


def check(store: Store) -> list[str]:
    """Assert that texts, words and vectors of a memory belong together; return the texts."""
    with store.reading():
        assert store._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ids = [row[0] for row in store._db.execute("SELECT id FROM passages ORDER BY id")]
        texts = [passage.text for _, passage in sorted(store.passages(ids).items())]
        if not texts:
            return []
        assert [sorted(store.rows_with(f'"{t.split()[0]}"')) for t in texts] == [[i] for i in ids]
        found = store.vectors(ids)
    assert np.abs(found - np.stack([vector_of(text) for text in texts])).max() < 0.005
    return texts
