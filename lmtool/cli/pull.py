"""`lmtool models pull`: a ready model from a hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import is_terminal, note


def pull(
    repository: Annotated[
        str,
        typer.Argument(
            metavar="OWNER/NAME",
            help="Repository, or OWNER/NAME/FOLDER for one of several.",
        ),
    ],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit (default: the main branch).")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Folder to write (default: among your own models).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Fetch a ready model from a hub, check it, and put it among your own.

    The hub is huggingface.co, or that of HF_ENDPOINT; HF_TOKEN opens what is private.
    """
    from ..bundles import load_bundle
    from ..pulling import pull_models

    folders = pull_models(
        repository,
        revision=revision,
        to=Path(to) if to else None,
        overwrite=overwrite,
        show_progress=not quiet and is_terminal(sys.stderr),
    )
    if quiet:
        return
    for folder in folders:
        task = load_bundle(folder, verify=False).info.task
        name = folder if to else folder.name
        note(f"{folder}: a model for {task!r}; try lmtool {task} --model {name}")
