"""An external memory: texts that are remembered, recalled by what they mean and say, forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lmtool

if TYPE_CHECKING:
    import typer


@lmtool.hookimpl
def lmtool_add_commands(app: typer.Typer) -> None:
    """Add `lmtool remember`, `lmtool recall` and `lmtool forget`."""
    from .commands import add_commands

    add_commands(app)
