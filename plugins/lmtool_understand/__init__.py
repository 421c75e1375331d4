"""Understanding: classes of whole texts and pairs, and embeddings, as a plugin of lmtool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lmtool

if TYPE_CHECKING:
    import typer

    from lmtool.sources import PathWriter


@lmtool.hookimpl
def lmtool_register_tasks() -> list[type[lmtool.EncoderTask]]:
    """Return the tasks behind `lmtool understand` and `lmtool embed`."""
    from .embedding import EmbedTask
    from .task import UnderstandTask

    return [UnderstandTask, EmbedTask]


@lmtool.hookimpl
def lmtool_register_writers() -> list[type[PathWriter]]:
    """Return the writer of embeddings as a numpy file."""
    from .npy import NpyWriter

    return [NpyWriter]


@lmtool.hookimpl
def lmtool_add_commands(app: typer.Typer) -> None:
    """Add `lmtool similarity`."""
    from .commands import add_commands

    add_commands(app)
