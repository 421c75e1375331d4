"""The commands `lmtool remember`, `lmtool recall` and `lmtool forget`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import lmtool

if TYPE_CHECKING:
    from .recalling import Found
    from .remembering import Embedder
    from .store import Store

VARIABLE = "LMTOOL_MEMORY"
SOME_FAILED = 3

MemoryPath = Annotated[
    Path | None,
    typer.Option("--memory", help=f"File of the memory  [default: ${VARIABLE}, or yours]"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, or a plugin's.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("remember")(remember)
    app.command("recall")(recall)
    app.command("forget")(forget)


def memory_path(path: Path | None) -> Path:
    """Return the memory that is meant: the flag, the variable, or the user's own."""
    if path is not None:
        return path
    if variable := os.environ.get(VARIABLE):
        return Path(variable)
    import platformdirs

    return platformdirs.user_data_path("lmtool") / "memory.db"


@contextlib.contextmanager
def opened(path: Path | None, *, create: bool = False, is_written: bool = True) -> Iterator[Store]:
    """Open a memory; an error of the database is a DataError that names it."""
    import sqlite3

    from .store import Store

    where = memory_path(path)
    try:
        store = Store(where, create=create, is_written=is_written)
        try:
            yield store
        finally:
            store.close()
    except sqlite3.Error as error:
        raise lmtool.DataError(f"{where}: {error}") from error


def remember(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILES", help="Files, folders, globs, - for stdin."),
    ] = None,
    memory: MemoryPath = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Name or folder of a model of embed; another than before computes all again.",
        ),
    ] = None,
    input_format: Annotated[str | None, typer.Option(help="Format of the files.")] = None,
    text_field: Annotated[str, typer.Option(help="Field that holds the text.")] = "text",
    encoding: Annotated[str, typer.Option(help="Encoding of the files.")] = "utf-8",
    redact: Annotated[
        bool, typer.Option("--redact", help="Mask names and identifiers before they are stored.")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(
            help="With --redact: file that says what masks stand for, as of lmtool redact."
        ),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Print what is remembered, and how many passages.")
    ] = False,
    device: Device = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no summary.")] = False,
) -> int:
    """Remember texts: cut them into passages that `lmtool recall` finds.

    A file that is remembered already is read again only where it has changed, and only its new
    passages are computed. What is stored stays stored, whenever the command is stopped.
    """
    if list_ and files:
        raise lmtool.UsageError(
            "--list with FILES: it prints what is remembered, and remembers nothing",
            hint="leave one of them away",
        )
    if list_:
        with opened(memory, is_written=False) as store:
            for _, name, n_passages in store.sources():
                print(f"{n_passages}\t{name}")
        return 0
    if not files and model is None:
        raise lmtool.UsageError("nothing to remember", hint="lmtool remember notes/ report.txt")
    if key is not None and not redact:
        raise lmtool.UsageError("--key without --redact", hint="say --redact too")
    from . import remembering
    from .masking import Masking
    from .showing import counted

    masking = Masking(key, device) if redact else None
    stdin = sys.stdin.buffer if sys.stdin is not None else None
    options = lmtool.ReadOptions(text_field=text_field, whole_file=True, encoding=encoding)
    is_new = not memory_path(memory).exists()
    inputs = list(remembering.inputs_of(files or (), input_format, stdin))
    told = remembering.Embedder(model, device) if model is not None or is_new else None
    if masking is not None and is_new:
        masking.load()
    with opened(memory, create=bool(files)) as store:  # after all that may be wrong before
        is_shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
        show = _progress if is_shown else lambda number: None
        if told is not None:
            is_other = store.model not in ("", told.name)
            n_renewed = remembering.renew(store, told, show) if is_other else 0
            if not quiet and (is_other or not files):
                computed = f"{counted(n_renewed, 'passage')} computed again with {told.name}"
                print(("\r" if is_shown else "") + computed, file=sys.stderr)
        if not files:
            return 0
        try:
            report = remembering.remember(
                store,
                inputs,
                lambda: told or remembering.embedder_of(store, device),
                options,
                lambda report: show(report.added + report.kept),
                masking,
            )
        except KeyboardInterrupt:
            said = "what is stored stays; the same command goes on"
            print(("\n" if is_shown else "") + said, file=sys.stderr)
            raise
    if not quiet:
        print(("\r" if is_shown else "") + str(report), file=sys.stderr)
    return SOME_FAILED if report.failed else 0


def _progress(number: int) -> None:
    from .showing import counted

    print(f"\r{counted(number, 'passage')}", end="", file=sys.stderr, flush=True)


def recall(
    words: Annotated[
        list[str], typer.Argument(metavar="QUESTION", help="What to look for, in quotes or not.")
    ],
    memory: MemoryPath = None,
    limit: Annotated[int, typer.Option(min=1, help="Most passages to find.")] = 5,
    mode: Annotated[
        Literal["fused", "meaning", "words"],
        typer.Option(help="By meaning, by words, or by both together."),
    ] = "fused",
    least: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Least cosine of what is relevant  [default: 0.35]"),
    ] = None,
    extractive: Annotated[
        bool, typer.Option("--extractive", help="Give the best sentence alone.")
    ] = False,
    answer: Annotated[
        bool, typer.Option("--answer", help="Let a language model answer, with citations.")
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Language model of --answer.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of --answer.")] = 256,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="text or jsonl  [default: text on a terminal, else jsonl]"
        ),
    ] = None,
    device: Device = "auto",
) -> int:
    """Find what is remembered, by meaning and by words; exit with 1 where nothing is relevant."""
    from . import showing

    kind = showing.check_format(format)
    question = " ".join(words)
    if not question.strip():
        raise lmtool.UsageError("an empty question", hint='lmtool recall "who pays the rent?"')
    if answer and extractive:
        raise lmtool.UsageError("--answer with --extractive", hint="give one of them")
    if answer != (model is not None):
        raise lmtool.UsageError(
            "--answer and --model go together", hint="lmtool models list shows the models"
        )
    from . import recalling

    with opened(memory, is_written=False) as store:
        embedder = _embedder(store, device) if mode != "words" or extractive else None
        found = recalling.recall(
            store, question, _searching(store, embedder, mode), limit=limit, mode=mode,
            least=recalling.LEAST_COSINE if least is None else least,
        )  # fmt: skip
    if not found:
        raise lmtool.NegativeResult(f"{memory_path(memory)}: nothing relevant is remembered")
    if answer and model is not None:
        _answer(question, found, model, max_tokens, device, kind)
        return 0
    if extractive and embedder is not None:
        best = recalling.best_sentence(question, found, embedder)
        found = [best] if best else []
    if kind == "jsonl":
        showing.write_records([showing.record_of(item) for item in found])
    else:
        print(showing.show(found, question), end="")
    return 0


def _embedder(store: Store, device: str) -> Embedder:
    if not store.model:
        raise lmtool.NegativeResult(f"{store.path}: nothing is remembered")
    from .remembering import Embedder

    return Embedder(store.ref, device)


def _searching(store: Store, embedder: Embedder | None, mode: str) -> Embedder | None:
    """Return the model that searches the vectors: none where they are of another one."""
    if embedder is None or embedder.name == store.model:
        return embedder
    from .remembering import other_model

    problem = other_model(store, embedder)
    if mode == "meaning":
        raise problem
    if mode == "fused":
        logging.getLogger("lmtool").warning("searched by words alone: %s", problem)
    return None


def _answer(
    question: str, found: Sequence[Found], ref: str, max_tokens: int, device: str, kind: str
) -> None:
    """Print the answer of a language model."""
    from lmtool.language import Sampling, load_language_model
    from lmtool.settings import settings

    from . import showing
    from .answers import answer

    model = load_language_model(ref, device=device, threads=settings().threads)
    said = answer(question, found, model, Sampling(max_tokens=max_tokens))
    if kind == "jsonl":
        showing.write_records([showing.answer_record(question, said)])
        return
    print(showing.show_answer(said), end="")
    if not said.cited:
        print("(the answer cites no passage)", file=sys.stderr)


def forget(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCES", help="Files, folders, globs, names that --list prints."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="The same as a flag, as often as needed."),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Forget everything.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: needed with --all.")] = False,
    memory: MemoryPath = None,
) -> None:
    """Forget sources with all their passages; exit with 1 where none is remembered by that name."""
    named = [*(sources or ()), *(source or ())]
    if all_ == bool(named):
        raise lmtool.UsageError(
            "name what to forget", hint='lmtool forget "notes/*.md", or lmtool forget --all --yes'
        )
    if all_ and not yes:
        raise lmtool.UsageError("--all forgets everything", hint="say --yes too")
    from .forgetting import forget as forget_sources
    from .showing import counted

    with opened(memory) as store:
        n_sources, n_passages = forget_sources(store, None if all_ else named)
    gone = f"{counted(n_sources, 'source')} with {counted(n_passages, 'passage')}"
    print(f"{gone} forgotten", file=sys.stderr)
