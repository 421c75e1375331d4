"""`lmtool export`: a checkpoint becomes a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import UsageError
from .console import note
from .gold import read_sets
from .needs import EXPORT, need


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    checkpoint: Annotated[str, typer.Argument(help="Folder of a checkpoint.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Folder of the bundle, or its name (see --name).")
    ],
    dev: Annotated[list[str], typer.Option(help="Documents with gold, to compare on.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the model (default: the folder's).")
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(help="Head of a checkpoint with several, as often as needed (default: all)."),
    ] = None,
    precision: Annotated[
        Literal["int8", "int8-dynamic", "fp32", "fp16"],
        typer.Option(help="Numbers of the backbone."),
    ] = "int8",
    calibrate: Annotated[
        list[str] | None,
        typer.Option(help="Texts that fix the ranges of int8 (default: those of --dev)."),
    ] = None,
    gate: Annotated[
        float, typer.Option(help="Points of the main metric that may be lost.", min=0)
    ] = 0.5,
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
    need("lmtool export", EXPORT)
    from ..exporting import ExportOptions, export_bundle

    folder = Path(output)
    options = ExportOptions(
        name=name or folder.name,
        precision=precision,
        gate=gate,
        heads=tuple(head or ()),
        with_backbone=backbone,
        licence=licence,
        notes=_read_notes(notes),
        data=dict(_pair(text) for text in data or ()),
        overwrite=overwrite,
    )
    texts = read_sets(calibrate, input_format) if calibrate else None
    infos = export_bundle(
        Path(checkpoint), folder, read_sets(dev, input_format), options, calibration=texts
    )
    for name, info in infos.items():
        place = folder if len(infos) == 1 else folder / name
        for line in _scores(info.metrics):
            note(line)
        note(f"{place}: a model for {info.task!r}; try lmtool {info.task} --model {place}")


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
