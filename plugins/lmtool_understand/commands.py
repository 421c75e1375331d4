"""The command `lmtool similarity`: how alike two texts are."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import lmtool

from .words import has_words

if TYPE_CHECKING:
    from lmtool.documents import Document

SCHEME = "similarity"
SOME_FAILED = 3


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    app.command("similarity")(similarity)


def similarity(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="A B", help="Two texts.", show_default=False)
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            help="File, folder or glob of documents with the fields text and pair, or - for stdin, "
            "instead of A and B."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, with --pairs.")
    ] = None,
    errors: Annotated[
        Path | None, typer.Option(help="File for the records that failed, with --pairs.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Name or folder of a model of embed.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, or a plugin's.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads (0: all cores).", min=0)] = None,
) -> int:
    """Say how alike two texts are: the cosine of their embeddings, 1 for the same meaning.

    With --pairs, writes the documents as JSON Lines, or in the format of --output, with the cosine
    as labels.similarity, empty where a text has no word. Exits with 3 where records failed.
    """
    if pairs is None and len(texts or ()) != 2:
        raise lmtool.UsageError(
            f"two texts are compared, not {len(texts or ())}",
            hint='lmtool similarity "A cat." "A dog.", or --pairs FILE for many',
        )
    if pairs is not None and texts:
        raise lmtool.UsageError("two texts and --pairs at once", hint="give one of them")
    if pairs is None and (output or errors):
        flag = "--output" if output else "--errors"
        raise lmtool.UsageError(
            f"{flag} without --pairs", hint="leave it out: one number is printed"
        )
    from lmtool.models import load_encoder
    from lmtool.settings import settings

    for text in texts or ():
        if not has_words(text):
            raise lmtool.UsageError(
                f"{text!r} has no word: there is nothing to compare", hint="give two texts"
            )
    embedder = load_encoder(
        model,
        task_name="embed",
        device=device or settings().device,
        threads=settings().threads if threads is None else threads,
    )
    comparison = Comparison(embedder)
    if pairs is not None:
        return compare_files(comparison, pairs, output, errors)
    first, second = texts or ("", "")
    (found,) = comparison.annotate([lmtool.Document(text=first, pair=second)])
    print(f"{value_of(found):.4f}")
    return 0


def value_of(found: Document | lmtool.DataError) -> float:
    """Return the similarity that a comparison has set."""
    assert isinstance(found, lmtool.Document)
    value = (found.labels or {})[SCHEME][0].value
    assert value is not None
    return value


class Comparison:
    """Sets the cosine of the text and the pair of documents as the scheme `similarity`."""

    def __init__(self, embedder: lmtool.Model) -> None:
        """Compare by the vectors of a model of embed."""
        self.name = embedder.name
        self._embedder = embedder

    def chunks(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Cut a stream into chunks, as the model of embed does."""
        return self._embedder.chunks(documents)

    def annotate(self, documents: Sequence[Document]) -> list[Document | lmtool.DataError]:
        """Return the documents with their cosines; DataError for one without a pair.

        Where the text or its pair has no word, there is no cosine and the scheme is empty.
        """
        texts = [lmtool.Document(text=d.text) for d in documents]
        others = [lmtool.Document(text=d.pair or "") for d in documents]
        vectors = self._embedder.annotate([*texts, *others])
        sides = zip(documents, vectors, vectors[len(documents) :], strict=False)
        return [_compared(document, one, other) for document, one, other in sides]


def _compared(document: Document, one: Document, other: Document) -> Document | lmtool.DataError:
    from .embedding import cosine

    if document.pair is None:
        return lmtool.DataError(
            "no field 'pair', and two texts are compared",
            hint='write each record as {"text": "…", "pair": "…"}',
        )
    is_comparable = has_words(one.text) and has_words(other.text)
    values = [round(cosine(one, other), 4)] if is_comparable else []
    labels = {**(document.labels or {}), SCHEME: [lmtool.Label(value=v) for v in values]}
    return document.with_layers({"labels": labels})


def compare_files(
    comparison: Comparison, pairs: str, output: Path | None, errors: Path | None
) -> int:
    """Compare the documents of files; return 3 where records failed, else 0."""
    from lmtool.formats import writer_for
    from lmtool.inputs import expand_inputs
    from lmtool.runs import RunOptions, run_files

    stdin = sys.stdin.buffer if sys.stdin is not None else None
    inputs = expand_inputs([pairs], stdin=stdin)
    writer = writer_for(str(output) if output else None)
    options = RunOptions(writer=writer, errors=errors)
    steps = run_files(comparison, inputs, output or sys.stdout.buffer, options)
    report = deque(steps, maxlen=1).pop()
    if report.failed and (output or errors):
        place = errors or f"{output}.errors.jsonl"
        print(f"{report.failed:,} failed (the reasons are in {place})", file=sys.stderr)
    return SOME_FAILED if report.failed else 0
