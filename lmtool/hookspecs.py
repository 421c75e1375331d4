"""The hooks of lmtool. register_* returns things, resolve_* answers once, on_* observes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer

    from .sessions import GraphFile
    from .sources import PathWriter, Reader, Writer
    from .tasks import EncoderTask, Graph, TextTask
    from .training.loop import Step

hookspec = pluggy.HookspecMarker("lmtool")
hookimpl = pluggy.HookimplMarker("lmtool")


@hookspec
def lmtool_register_tasks() -> Sequence[type[EncoderTask] | type[TextTask]]:  # type: ignore[empty-body]
    """Return task classes. The task named like the entry point is what the command runs."""


@hookspec
def lmtool_register_readers() -> Sequence[type[Reader]]:  # type: ignore[empty-body]
    """Return readers of further file formats."""


@hookspec
def lmtool_register_writers() -> Sequence[type[Writer | PathWriter]]:  # type: ignore[empty-body]
    """Return writers of further file formats."""


@hookspec
def lmtool_register_bundles() -> Mapping[str, Path]:  # type: ignore[empty-body]
    """Return the bundles that the plugin ships: name to folder."""


@hookspec(firstresult=True)
def lmtool_resolve_bundle(ref: str) -> Path | None:
    """Return the folder of a bundle that no folder and no registered name answers to, or None.

    Called for names only, never for a path that exists.
    """


@hookspec(firstresult=True)
def lmtool_resolve_session(graph: GraphFile, device: str, threads: int) -> Graph | None:
    """Return a session on another engine for a `--device` that the core does not know, or None.

    The session is a `Graph` with an attribute `providers`: the names of what it really runs on.
    """


@hookspec
def lmtool_on_train_step(step: Step) -> None:
    """Observe a training step, after it: its number, loss, rate and, on some, the dev scores."""


@hookspec
def lmtool_add_commands(app: typer.Typer) -> None:
    """Add commands; the one named like the entry point, or else all as its sub-commands, is used.

    A command prints, and raises LmtoolError for the documented exit codes.
    """
