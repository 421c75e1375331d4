"""`lmtool data`: documents checked before training, and converted between formats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ..documents import Document, Label
from ..errors import DataError
from .console import note, stdin_bytes, stdout_bytes
from .flags import pair
from .gold import read_all
from .needs import TRAINING, need
from .task import (
    PARTLY_FAILED,
    Encoding,
    ErrorsFile,
    TagColumn,
    TokenColumn,
    read_options,
    summary,
    watch,
)

if TYPE_CHECKING:
    from ..sources import ReadOptions
    from ..tasks import TextTask

CHUNK = 1000
"""Documents that are converted at a time."""


def add_commands(app: typer.Typer) -> None:
    """Add check and convert."""
    app.command("check")(check)
    app.command("convert")(convert)


def check(
    task: Annotated[str, typer.Argument(help="The task to train, as extract.")],
    files: Annotated[list[str], typer.Argument(help="Documents with gold layers.")],
    base: Annotated[
        str,
        typer.Option(
            help="The encoder or language model to start from, or a model: its tokenizer decides."
        ),
    ],
    dev: Annotated[list[str] | None, typer.Option(help="Documents to evaluate on.")] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="Longest window in tokens (default: 128; of a language model: its context, at "
            "most 1024).",
            min=3,
        ),
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the sentences.")] = "en",
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
) -> int:
    """Count documents, windows and labels, and say what a training would not learn.

    Exits with 3 when records cannot be read.
    """
    from .. import windows
    from ..models import find_task
    from ..plugins import registry
    from ..tasks import TextTask
    from ..training.check import check_data, render_report

    read = read_options(token_column=token_column, tag_column=tag_column)
    named = registry().task(task)
    if named is not None and issubclass(named, TextTask):
        return _check_texts(named, base, max_tokens, files, dev or [], read)
    found = find_task(task)
    encoding = windows.Encoding(max_tokens=max_tokens or 128, language=language)
    encoder = windows.TextEncoder(_tokenizer(base), encoding)
    train, bad = read_all(files, read, found.check_gold)
    dev_documents, dev_bad = read_all(dev or [], read, found.check_gold)
    report = check_data(found.layers, encoder, train, dev_documents, bad + dev_bad)
    print(render_report(report))
    return PARTLY_FAILED if report.bad else 0


def _check_texts(
    task: type[TextTask],
    base: str,
    max_tokens: int | None,
    files: Sequence[str],
    dev_files: Sequence[str],
    read: ReadOptions,
) -> int:
    """Report on the documents of a text task; those of another shape cannot be read."""
    need("lmtool data check of a text task", TRAINING)
    from ..training.language.check import (
        nothing_to_learn,
        render_text_report,
        shape_check,
        shape_hint,
    )
    from ..training.language.finetune import check_files

    check = shape_check(task)
    train, bad = read_all(files, read, check)
    dev, dev_bad = read_all(dev_files, read, check)
    hint = shape_hint(task)  # training has no --text-field
    bad = [replace(r, hint=hint if "--text-field" in r.hint else r.hint) for r in bad + dev_bad]
    report = check_files(task, base, max_tokens, train, dev, bad)
    print(render_text_report(report))
    if report.train.examples == 0 and not report.bad and not report.train.too_long:
        raise nothing_to_learn(task, files, len(train))
    return PARTLY_FAILED if report.bad else 0


def convert(
    files: Annotated[list[str], typer.Argument(help="Files, folders or globs; - is stdin.")],
    output: Annotated[str, typer.Option("--output", "-o", help="File or folder to write.")],
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="What to write (default: by suffix).")
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help="What the files hold (default: by their suffix).")
    ] = None,
    text_field: Annotated[str, typer.Option(help="Field or column of the text.")] = "text",
    whole_file: Annotated[
        bool, typer.Option("--whole-file", help="Read a text file as one document.")
    ] = False,
    encoding: Encoding = "utf-8",
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            help="Makes a field or column the classes of a scheme, as gold for understand.",
            metavar="SCHEME=FIELD",
        ),
    ] = None,
    numbers: Annotated[
        list[str] | None,
        typer.Option(help="The same of numbers, as stars=rating.", metavar="SCHEME=FIELD"),
    ] = None,
    errors: ErrorsFile = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first record that fails.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> int:
    """Convert documents from one format to another; layers go along where the format has them.

    With --classes or --numbers a column of a table becomes gold to train on. A list has several
    labels; an empty value says nothing.
    """
    from ..formats import writer_for
    from ..inputs import expand_inputs
    from ..runs import RunOptions, run_files

    path = None if output == "-" else Path(output)
    options = RunOptions(
        writer=writer_for(str(path) if path else None, format, whole_file=whole_file),
        read=read_options(
            text_field=text_field,
            whole_file=whole_file,
            encoding=encoding,
            token_column=token_column,
            tag_column=tag_column,
        ),
        errors=Path(errors) if errors else None,
        strict=strict,
    )
    inputs = expand_inputs(files, input_format, stdin_bytes())
    converter = _Converter(
        dict(pair("--classes", text) for text in classes or ()),
        dict(pair("--numbers", text) for text in numbers or ()),
    )
    steps = run_files(converter, inputs, path or stdout_bytes(), options)
    report = watch(steps, hidden=quiet)
    if not quiet:
        note(summary(report, path))
    return PARTLY_FAILED if report.failed else 0


def _tokenizer(base: str) -> Any:
    """Return the tokenizer of a folder, of an installed model, or of an encoder's hub name."""
    from tokenizers import Tokenizer

    from ..bundles import installed_bundles, load_encoder_bundle
    from ..plugins import registry

    registry().load_own()
    folder = Path(base)
    if base in installed_bundles() or (folder / "bundle.json").is_file():
        folder = load_encoder_bundle(base, verify=False).backbone_folder
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    need("a tokenizer that is no tokenizer.json", TRAINING)
    from ..training.backbone import load_tokenizer

    return load_tokenizer(base)


class _Converter:
    """Runs no model: documents come out as they went in, but for fields that become labels."""

    def __init__(self, classes: Mapping[str, str], numbers: Mapping[str, str]) -> None:
        self._classes = classes
        self._numbers = numbers

    def chunks(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Cut the stream into chunks of one size."""
        chunk = []
        for document in documents:
            chunk.append(document)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def annotate(self, documents: Sequence[Document]) -> list[Document | DataError]:
        """Return the documents, with a DataError in the place of one that has not such fields."""
        return [self._labelled(document) for document in documents]

    def _labelled(self, document: Document) -> Document | DataError:
        labels = dict(document.labels or {})
        try:
            for scheme, name in self._classes.items():
                value = _value(document, name)
                if value is not None:
                    items = value if isinstance(value, list) else [value]
                    labels[scheme] = [Label(_label(item, name)) for item in items]
            for scheme, name in self._numbers.items():
                value = _value(document, name)
                if value is not None:
                    labels[scheme] = [Label(value=_number(value, name))]
        except DataError as error:
            return error
        used = {*self._classes.values(), *self._numbers.values()}
        fields = {name: value for name, value in document.fields.items() if name not in used}
        return msgspec.structs.replace(document, labels=labels or None, fields=fields)


def _value(document: Document, name: str) -> Any:
    """Return a field's value, None for an empty one; DataError where there is no such field."""
    if name not in document.fields:
        known = ", ".join(document.fields) or "none but the text"
        raise DataError(f"no field {name!r}", hint=f"the record has: {known}")
    value = document.fields[name]
    return None if isinstance(value, str) and not value.strip() else value


def _label(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, str) and value.strip()):
        return str(value).strip()
    raise DataError(f"field {name!r}: {value!r} is no label", hint="a label is a text")


def _number(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"field {name!r}: {value!r} is no number", hint="write it as 3.5")
    return number
