"""`lmtool evaluate`: a model against documents with gold layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..settings import settings
from ..sources import ReadOptions
from .choice import complete_models
from .console import note, table
from .flags import options_of
from .gold import read_gold
from .needs import TRAINING, need

COLUMNS = ("precision", "recall", "f1", "support")


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Name or folder of a model, or a checkpoint.", autocompletion=complete_models
        ),
    ],
    files: Annotated[list[str], typer.Argument(help="Documents with gold layers.")],
    head: Annotated[str | None, typer.Option(help="Head of a checkpoint that has several.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the task, as predicates=given.", metavar="NAME=VALUE"),
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help="What the files hold (default: by their suffix).")
    ] = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="What to print.")] = "text",
    worst: Annotated[int, typer.Option(help="Show this many of the worst documents.", min=0)] = 0,
    confusion: Annotated[bool, typer.Option("--confusion", help="Show the confusion.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, or a plugin's.")] = None,
    whole_file: Annotated[
        bool, typer.Option("--whole-file", help="A text file is one document, as a book is.")
    ] = False,
) -> None:
    """Compare a model's output with documents that hold gold layers.

    Prints precision, recall and F1 by label, BLEU and chrF of texts, and the perplexity of plain
    texts.
    """
    from .. import evaluation
    from ..models import load

    documents = list(read_gold(files, input_format, ReadOptions(whole_file=whole_file)))
    if (Path(model) / "language.json").is_file():
        need("a checkpoint", TRAINING)
        from ..training.language.likelihood import evaluate_checkpoint

        told: dict[str, Any] = {
            "device": device or settings().device, "threads": settings().threads,
        }  # fmt: skip
        _print(evaluate_checkpoint(model, documents, **told), format)
        return
    loaded = load(
        model,
        device=device or settings().device,
        threads=settings().threads,
        head=head,
        **options_of(option or ()),
    )
    report, gold, predicted = evaluation.evaluation(loaded, documents)
    pairs = evaluation.worst(report, gold, predicted, worst)
    if worst and "errors" not in report:
        note(f"the task {loaded.task.name!r} reports no errors by document: no --worst")
    if format == "json":
        import msgspec

        record = {key: value for key, value in report.items() if key != "errors"}
        if pairs:
            layers = loaded.task.layers
            record["worst"] = [evaluation.pair_to_record(g, p, layers) for g, p in pairs]
        print(msgspec.json.format(msgspec.json.encode(record), indent=1).decode())
        return
    print(scores_text(report))
    if confusion and "confusion" in report:
        print("\n" + confusion_text(report["confusion"]))
    elif confusion:
        note(f"the task {loaded.task.name!r} reports no confusion")
    for number, (gold_document, predicted_document) in enumerate(pairs, 1):
        print(f"\nworst {number}: document {gold_document.id or '(no id)'}")
        print(_compared(gold_document, predicted_document))


def _print(report: Mapping[str, Any], format: str) -> None:
    """Print plain figures."""
    if format == "json":
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())
    else:
        print(scores_text(report))


def scores_text(report: Mapping[str, Any]) -> str:
    """Return a table of scores: a row for each label, then micro and macro, or plain figures."""
    rows = [
        (name, *(_figure(row.get(column)) for column in COLUMNS))
        for name, row in [
            *report.get("labels", {}).items(),
            *((name, row) for name, row in report.items() if _is_row(row)),
        ]
    ]
    figures = {key: value for key, value in report.items() if isinstance(value, int | float)}
    head = ""
    if rows:
        n_documents = figures.pop("documents")
        head = f"{n_documents:,} document{'' if n_documents == 1 else 's'}\n\n"
        head += table(("label", *COLUMNS), rows)
        in_rows = {f"{name}_f1" for name, row in report.items() if _is_row(row)}
        figures = {key: value for key, value in figures.items() if key not in in_rows}
        head += "\n\n" if figures else ""
    return head + "\n".join(f"{key} {_figure(value)}" for key, value in figures.items())


def _is_row(value: Any) -> bool:
    """Whether a value of a report is a row of its table."""
    return isinstance(value, Mapping) and set(COLUMNS) <= value.keys()


def confusion_text(confusion: Mapping[str, Any]) -> str:
    """Return the confusion as a table: gold down, predicted across."""
    names: Sequence[str] = confusion["labels"]
    rows = [(name, *counts) for name, counts in zip(names, confusion["counts"], strict=True)]
    return table(("gold \\ predicted", *names), rows)


def _figure(value: Any) -> Any:
    return _Score(value) if isinstance(value, float) else value


class _Score(float):
    def __str__(self) -> str:
        return f"{self:.2f}"


def _compared(gold: Any, predicted: Any) -> str:
    """Return both views of a document below each other."""
    from ..views import render, view

    lines = []
    for title, document in (("gold", gold), ("predicted", predicted)):
        text = "\n".join(render(passage) for passage in view(document))
        lines.append(f"  {title:<10} " + text.replace("\n", "\n             "))
    return "\n".join(lines)
