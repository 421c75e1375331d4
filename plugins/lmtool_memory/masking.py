"""Names and identifiers masked before they are stored, by the task redact."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import lmtool

from .passages import Passage

FIELD: Final = "passages"
KIND_ALONE: Final = "[{kind}]"
"""Masks without a key: numbers would begin anew in each run, and mean others in one memory."""


class Masking:
    """How texts are masked; with a key file, in a way that can be undone."""

    def __init__(self, key: Path | None = None, device: str = "auto") -> None:
        self.key = key
        self.device = device
        self._masker: Masker | None = None

    @property
    def identity(self) -> str:
        """What decides whether a source has to be read again."""
        return f"redact {os.path.abspath(self.key) if self.key else ''}"

    def load(self) -> Masker:
        """Return what masks, the same each time; an LmtoolError for a key that cannot be used."""
        self._masker = self._masker or Masker(self)
        return self._masker


class Masker:
    """Masks the passages of texts; the key file, if any, is written before they are given back."""

    def __init__(self, masking: Masking) -> None:
        from lmtool.settings import settings

        style = {"key": masking.key} if masking.key else {"mask": KIND_ALONE}
        self._model = lmtool.load(
            task_name="redact", device=masking.device, threads=settings().threads,
            fields=(FIELD,), **style,
        )  # fmt: skip

    def __call__(self, texts: Iterable[Sequence[Passage]]) -> Iterator[Passage]:
        """Yield the passages of texts masked, with the places of what they were.

        The passages of a text are masked together: a name that is found in one is in all.
        """
        waiting: deque[Sequence[Passage]] = deque()

        def documents() -> Iterator[lmtool.Document]:
            for passages in texts:
                waiting.append(passages)
                fields = {FIELD: [passage.text for passage in passages]}
                yield lmtool.Document(text="", fields=fields)

        for document in self._model.pipe(documents()):
            masked = document.fields[FIELD]
            for passage, text in zip(waiting.popleft(), masked, strict=True):
                yield passage._replace(text=text)
