"""`lmtool models import`: a decoder of Hugging Face becomes a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import UsageError
from .console import note
from .needs import EXPORT, need

Precision = Literal["int4", "int8", "fp16", "fp32"]
Block = Annotated[
    int,
    typer.Option(
        metavar="16|32|64|128|256",
        help="Weights that share a scale: fewer are more exact, more are faster and smaller "
        "(default: 32 in int4, 128 in int8).",
        show_default=False,
    ),
]


def import_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|OWNER/NAME", help="Folder of Hugging Face, or a name on its hub."
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name among your own models (default: the folder's).")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Folder to write (default: among your own models)."),
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Numbers of the weights.")] = "int4",
    block: Block = 0,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Task that the model is for, as often as needed, the main one first "
            "(default: chat and all others with a chat template, else generate)."
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Texts to measure perplexity on (default: what the model says by itself).",
        ),
    ] = None,
    gate: Annotated[
        float, typer.Option(help="Per cent by which perplexity may rise against fp32.", min=0)
    ] = 10.0,
    licence: Annotated[str, typer.Option(help="Licence of the model, as an SPDX name.")] = "",
    input_format: Annotated[
        str | None, typer.Option(help="What the --text files hold (default: by their suffix).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
) -> None:
    """Import a decoder of Hugging Face, with its chat template; a LoRA adapter is merged.

    In fp32 it must say what PyTorch says, token for token. Exits with 1, and writes nothing, when
    it does not, or when perplexity rises by more than --gate.
    """
    check_name(name)
    need("lmtool models import", EXPORT)
    from .._hf_folders import find_model
    from ..bundles import models_folder
    from ..language_export import LanguageExport, check_tasks, write_language_bundle

    folder = Path(output) if output else models_folder() / (name or Path(model).resolve().name)
    source = find_model(model)
    tasks = tuple(task or _tasks_of(source))
    options = LanguageExport(
        name=name or folder.name,
        task=tasks[0],
        tasks=tasks,
        precision=precision,
        block=block,
        gate=gate,
        texts=read_texts(text or (), input_format),
        licence=licence,
        data={"model": Path(model).name if Path(model).is_dir() else model},
        overwrite=overwrite,
    )
    check_tasks(options, source)
    info = write_language_bundle(source, folder, options)
    report_export(info, folder, str(folder) if output else folder.name)


def check_name(name: str | None) -> None:
    """Raise UsageError for a name that is no name of a folder."""
    if name is not None and (not name or name != Path(name).name or name.startswith(".")):
        raise UsageError(f"--name {name}: no name", hint="a name is one of a folder, without /")


def read_texts(files: Any, input_format: str | None) -> list[str]:
    """Return the texts of files, those with words."""
    from .gold import read_gold

    texts = [d.text for d in read_gold(files, input_format) if d.text.strip()] if files else []
    if files and not texts:
        raise UsageError(f"no text in {', '.join(files)}", hint="give files with texts")
    return texts


def report_export(info: Any, folder: Path, ref: str) -> None:
    """Say what was measured, and how the model is run."""
    for precision, row in info.metrics.items():
        note(
            f"{precision}: perplexity {row['perplexity']:.2f}, {row['bits_per_byte']:.3f} bits per "
            f"byte, {row['megabytes']:.1f} MB"
        )
    equal = info.metrics["fp32"]["compared_tokens"]
    note(f"fp32 says what PyTorch says: {equal} tokens compared")
    note(f"{folder}: a model for {info.task!r}; try lmtool {info.task} --model {ref}")


def _tasks_of(source: Path) -> tuple[str, ...]:
    """Return the tasks that a model can be asked for: all by its chat template, if it has one."""
    from .._prompts import read_template

    return ("chat", "generate", "translate") if read_template(source) else ("generate",)
