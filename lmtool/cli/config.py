"""`lmtool config`: the settings and where they come from."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..settings import ENVIRONMENT_ONLY, settings, settings_file
from .console import table


def add_commands(app: typer.Typer) -> None:
    """Add show and path."""
    app.command("show")(show)
    app.command("path")(path)


def show(
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each setting comes from.")
    ] = False,
) -> None:
    """Show the settings."""
    rows = [(name, _shown(value), where) for name, value, where in settings().items()]
    rows += [
        (f"${name}", os.environ[name], "environment")
        for name in ENVIRONMENT_ONLY
        if name in os.environ
    ]
    if origin:
        print(table(("setting", "value", "origin"), rows))
    else:
        print("\n".join(f"{name} = {value}" for name, value, _ in rows))


def path() -> None:
    """Print where the settings are read from."""
    print(settings_file())


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
