"""What a model of documents has, whatever it finds them with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .batching import cut_chunks
from .documents import Document
from .errors import DataError, UsageError

if TYPE_CHECKING:
    from .tasks import EncoderTask

CHUNK_PIECES = 1024
PIECE_CHARACTERS = 1000


class DocumentModel(ABC):
    """A task that reads documents: call it with a text, or use `pipe` for a stream.

    `task`, `name` (the same for all that give the same output: what `--resume` compares) and
    `options` (the task's Options) can be read. A task whose `open` gives a model of its own
    writes `annotate`, and `n_characters` where it reads more than a document's text.
    """

    providers: tuple[str, ...] = ()
    """What it runs on."""

    def __init__(self, task: EncoderTask, *, name: str, options: Any = None) -> None:
        self.task = task
        self.name = name
        self.options = task.Options() if options is None else options
        task.check_options(self.options)

    def __call__(self, text: str | Document) -> Document:
        """Annotate one text and return its document; DataError where that is not possible."""
        return _good(self.annotate([_document(text)])[0])

    def pipe(self, texts: Iterable[str | Document]) -> Iterator[Document]:
        """Annotate a stream, in order, in constant memory; DataError for the first that cannot be.

        UsageError for a single text.
        """
        if isinstance(texts, str):
            raise UsageError("pipe takes many texts", hint="call the model with a single one")
        for chunk in self.chunks(map(_document, texts)):
            yield from map(_good, self.annotate(chunk))

    def chunks(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Cut a stream into chunks of about a million characters, of 1,024 documents at most."""
        return cut_chunks(documents, CHUNK_PIECES, PIECE_CHARACTERS, self.n_characters)

    def n_characters(self, document: Document) -> int:
        """Return how many characters of a document are read: those of its text by default."""
        return len(document.text)

    @abstractmethod
    def annotate(self, documents: Sequence[Document]) -> Sequence[Document | DataError]:
        """Annotate a chunk of documents and return them, in order.

        In the place of one that cannot be annotated stands a DataError.
        """


def _document(text: str | Document) -> Document:
    return text if isinstance(text, Document) else Document(text=text)


def _good(found: Document | DataError) -> Document:
    if isinstance(found, DataError):
        raise found
    return found
