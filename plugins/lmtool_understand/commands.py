"""The command `lmtool similarity`: how alike two texts are."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

import lmtool

from .words import has_words

if TYPE_CHECKING:
    from lmtool.documents import Document

SCHEME = "similarity"


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    app.command("similarity")(similarity)


def similarity(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="A B", help="Two texts.", show_default=False)
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(help="File of documents with the fields text and pair, instead of A and B."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Name or folder of a model of embed.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or a plugin's.")] = "auto",
) -> None:
    """Say how alike two texts are: the cosine of their embeddings, 1 for the same meaning.

    With --pairs, prints the documents as JSON Lines with the cosine as labels.similarity, empty
    where a text has no word.
    """
    if pairs is None and len(texts or ()) != 2:
        raise lmtool.UsageError(
            f"two texts are compared, not {len(texts or ())}",
            hint='lmtool similarity "A cat." "A dog.", or --pairs FILE for many',
        )
    if pairs is not None and texts:
        raise lmtool.UsageError("two texts and --pairs at once", hint="give one of them")
    from lmtool.models import load_encoder

    for text in texts or ():
        if not has_words(text):
            raise lmtool.UsageError(
                f"{text!r} has no word: there is nothing to compare", hint="give two texts"
            )
    embedder = load_encoder(model, task_name="embed", device=device)
    if texts:
        (found,) = compare(embedder, [lmtool.Document(text=texts[0], pair=texts[1])])
        print(f"{value_of(found):.4f}")
        return
    from lmtool.documents import encode_document

    for document in compare(embedder, read_pairs(pairs or "")):
        sys.stdout.write(encode_document(document).decode())


def value_of(document: Document) -> float:
    """Return the similarity that `compare` has set."""
    value = (document.labels or {})[SCHEME][0].value
    assert value is not None
    return value


def read_pairs(path: str) -> Iterator[Document]:
    """Yield the documents of a file; DataError for a record that is none or has no pair."""
    for number, record in enumerate(lmtool.read_documents([path]), 1):
        if isinstance(record, lmtool.BadRecord):
            raise lmtool.DataError(record.message, hint=record.hint)
        if record.pair is None:
            raise lmtool.DataError(
                f"{path}: document {number} has no field 'pair'",
                hint='write each record as {"text": "…", "pair": "…"}',
            )
        yield record


def compare(embedder: lmtool.Model, documents: Iterable[Document]) -> Iterator[Document]:
    """Yield the documents with the cosine of text and pair under the scheme `similarity`.

    Where the text or its pair has no word, there is no cosine and the scheme is empty.
    """
    from .embedding import cosine

    for chunk in embedder.chunks(documents):
        texts = [lmtool.Document(text=d.text) for d in chunk]
        others = [lmtool.Document(text=d.pair or "") for d in chunk]
        found = embedder.annotate([*texts, *others])
        for document, one, other in zip(chunk, found, found[len(chunk) :], strict=False):
            is_comparable = has_words(one.text) and has_words(other.text)
            values = [round(cosine(one, other), 4)] if is_comparable else []
            labels = {**(document.labels or {}), SCHEME: [lmtool.Label(value=v) for v in values]}
            yield document.with_layers({"labels": labels})
