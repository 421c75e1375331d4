"""`lmtool export`: a checkpoint becomes a bundle."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import BundleError, UsageError
from .console import note
from .flags import options_of
from .gold import read_gold, read_sets
from .imports import Block, check_name
from .needs import EXPORT, need

log = logging.getLogger("lmtool")


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    checkpoint: Annotated[str, typer.Argument(help="Folder of a checkpoint.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Folder of the bundle, or its name (see --name).")
    ],
    dev: Annotated[
        list[str] | None,
        typer.Option(help="Documents with gold, to compare on (a language model needs none)."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model (default: the folder's).")
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(help="Head of a checkpoint with several, as often as needed (default: all)."),
    ] = None,
    precision: Annotated[
        Literal["int4", "int8", "int8-dynamic", "fp32", "fp16"] | None,
        typer.Option(
            help="Numbers of the weights: int8 (default), int8-dynamic, fp16 or fp32; of a "
            "language model int4 (default), int8, fp16 or fp32.",
            show_default=False,
        ),
    ] = None,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(help="Texts that fix the ranges of int8 (default: those of --dev)."),
    ] = None,
    gate: Annotated[
        float | None,
        typer.Option(
            help="Points of the main metric that may be lost (default: 0.5); for a language model, "
            "per cent by which perplexity may rise (default: 10).",
            min=0,
            show_default=False,
        ),
    ] = None,
    block: Block = 0,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Further task that a language model can be used for, as often as needed."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="A default of a language model, as temperature=0.8; flags of its commands go "
            "before it.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    backbone: Annotated[
        bool,
        typer.Option(
            "--backbone/--no-backbone", help="Without: another bundle must hold the same one."
        ),
    ] = True,
    licence: Annotated[str, typer.Option(help="Licence of the model, as an SPDX name.")] = "",
    notes: Annotated[
        str | None,
        typer.Option(
            help="A Markdown file that goes into the model card, or a folder with HEAD.md for each."
        ),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="A training set and its source: NAME=SOURCE.")
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help="What the --dev files hold (default: by their suffix).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
) -> None:
    """Export a checkpoint as a bundle, and compare both on real documents.

    Exits with 1, and writes nothing, when the bundle loses more than --gate allows.
    """
    check_name(name)
    need("lmtool export", EXPORT)
    _refuse_run(Path(checkpoint))
    folder = Path(output)
    shared: dict[str, Any] = {
        "licence": licence,
        "data": dict(_pair(text) for text in data or ()),
        "overwrite": overwrite,
    }
    given: dict[str, Any] = {"precision": precision, "gate": gate}
    given = {key: value for key, value in given.items() if value is not None}
    from ..training.language.checkpoint import is_language_checkpoint

    if is_language_checkpoint(checkpoint):
        unfit = {"--head": head, "--calibrate": calibrate, "--no-backbone": not backbone}
        _refuse(unfit, "a language model has no such thing")
        if not isinstance(text := _read_notes(notes), str):
            raise UsageError(f"--notes {notes}: a folder", hint="a language model takes one file")
        documents = list(read_gold(dev, input_format)) if dev else []
        shared |= {**given, "block": block, "notes": text, "documents": documents}
        shared["options"] = options_of(option or ())
        _export_language(Path(checkpoint), folder, name or folder.name, tuple(task or ()), shared)
        return
    _refuse({"--task": task, "--block": block, "--option": option}, "only for a language model")
    if not dev:
        raise UsageError("no documents to compare on", hint="name files with gold: --dev FILE")
    _warn_of_training_files(checkpoint, dev)
    from ..exporting import ExportOptions, export_bundle

    options = ExportOptions(
        name=name or folder.name,
        heads=tuple(head or ()),
        with_backbone=backbone,
        notes=_read_notes(notes),
        **shared,
        **given,
    )
    texts = read_sets(calibrate, input_format) if calibrate else None
    infos = export_bundle(
        Path(checkpoint), folder, read_sets(dev, input_format), options, calibration=texts
    )
    for name, info in infos.items():
        place = folder if len(infos) == 1 else folder / name
        for line in _scores(info.metrics):
            note(line)
        note(f"{place}: a model for {info.task!r}{_next_step(place, info.task)}")


def _refuse(unfit: dict[str, Any], reason: str) -> None:
    """Raise UsageError for the first of these flags that is given."""
    for flag in (flag for flag, value in unfit.items() if value):
        raise UsageError(f"{flag}: {reason}", hint="leave it out")


def _next_step(place: Path, task: str) -> str:
    """Return what runs the model, nothing where its backbone is missing: that is a warning."""
    from ..bundles import load_encoder_bundle

    try:
        load_encoder_bundle(place, verify=False)
    except BundleError as error:
        log.warning("%s", error)
        return ""
    return f"; try lmtool {task} --model {place}"


def _export_language(
    checkpoint: Path, folder: Path, name: str, tasks: tuple[str, ...], changes: dict[str, Any]
) -> None:
    """Export the checkpoint of a language model."""
    from ..language_export import check_tasks, checkpoint_export, write_language_bundle
    from ..textmodels import check_defaults
    from .imports import report_export

    source, options = checkpoint_export(checkpoint, name, **changes)
    check_defaults(options.task, options.options)
    options = dataclasses.replace(options, tasks=tuple(dict.fromkeys((options.task, *tasks))))
    check_tasks(options, source)
    report_export(write_language_bundle(source, folder, options), folder, str(folder))


def _refuse_run(folder: Path) -> None:
    """Raise UsageError for the folder of a run, which holds checkpoints and is none, or nothing."""
    from ..training.checkpoint import find_checkpoint
    from ..training.language.checkpoint import is_language_checkpoint

    def is_checkpoint(path: Path) -> bool:
        return is_language_checkpoint(path) or (path / "checkpoint.json").is_file()

    if not (find_checkpoint(folder).is_dir() or is_checkpoint(folder)):
        raise UsageError(f"{folder}: no such folder", hint="give a checkpoint, such as RUN/best")
    inside = [folder / name for name in ("best", "last") if is_checkpoint(folder / name)]
    if inside and not is_checkpoint(folder):
        raise UsageError(f"{folder}: a run, no checkpoint", hint=f"give {inside[0]}")


def _warn_of_training_files(checkpoint: str, dev: list[str]) -> None:
    from ..training.data import files_trained_on

    for path in files_trained_on(Path(checkpoint), dev):
        log.warning(
            "--dev %s: the model was trained on this file: its scores promise too much", path
        )


def _scores(metrics: dict[str, Any]) -> list[str]:
    return [
        f"{precision}: {row['metric']} {row['all']:.2f}, backbone {row['megabytes']:.1f} MB, "
        f"head {row['head_megabytes']:.1f} MB, "
        f"{row['tokens_per_second']:,} tokens per second"
        for precision, row in metrics.items()
    ]


def _read_notes(path: str | None) -> str | dict[str, str]:
    """Return the notes of a file, or those of a folder by head."""
    if path is None:
        return ""
    try:
        if Path(path).is_dir():
            return {file.stem: file.read_text("utf-8") for file in Path(path).glob("*.md")}
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--notes {path}: cannot be read: {error}") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--data {text}: no NAME=SOURCE")
    return name.strip(), source.strip()
