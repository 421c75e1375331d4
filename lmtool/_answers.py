"""One answer of a text model, as it comes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .documents import Document
    from .language import Completion, LanguageModel, Sampling, Stream
    from .textmodels import TextModel


class Asked(NamedTuple):
    """A window of a document, and what the model is asked about it."""

    start: int
    document: Document
    """The window as a document, without what had to be left out."""
    prompt: str | None


class Searched:
    """What a search finds, in the shape of a `Stream`: one piece, at the end."""

    def __init__(self, model: LanguageModel, prompt: str, sampling: Sampling) -> None:
        self._find = functools.partial(model.complete, [prompt], sampling)
        self.completion: Completion | None = None

    def __iter__(self) -> Iterator[str]:
        if self.completion is None:
            ((self.completion,),) = self._find()
            yield self.completion.text

    def close(self) -> None:
        """End it: there is nothing that has come."""


class Answer:
    """The pieces of an answer as they come; then `document` holds all that was found.

    `close` ends it early: what has come until then is the completion, cut at its length.
    """

    def __init__(
        self,
        model: TextModel,
        document: Document,
        asked: Asked,
        stream: Stream | Searched | None,
    ) -> None:
        self._model = model
        self._document = document
        self._asked = asked
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream or ())

    def close(self) -> None:
        """End it."""
        if self._stream is not None:
            self._stream.close()

    def stop(self) -> bool:
        """End it; return whether any words have come."""
        self.close()
        return self.completion is not None and bool(self.completion.text.strip())

    @property
    def completion(self) -> Completion | None:
        """The completion, once it has ended; None where nothing was asked."""
        return None if self._stream is None else self._stream.completion

    @property
    def document(self) -> Document:
        """The document with the layers of what has come."""
        completions = [self.completion] if self.completion is not None else []
        return self._model.answered(self._document, [(self._asked, completions)])

    @property
    def fills_context(self) -> bool:
        """Whether the model's context has no room for a token more."""
        found = self.completion
        n_tokens = 0 if found is None else found.prompt_tokens + found.tokens
        return n_tokens >= self._model.model.context

    @property
    def n_left_out(self) -> int:
        """How many characters were left out to make the prompt fit."""
        count = self._model.task.n_characters
        return count(self._document) - count(self._asked.document)
