"""Which model a command means, and what completion offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from ..bundles import installed_bundles
from ..choice import default_model, read_head
from ..errors import LmtoolError
from ..plugins import registry


def complete_models(incomplete: str) -> list[str]:
    """Return the names of installed models, for completion."""
    return [name for name in _installed() if name.startswith(incomplete)]


def complete_labels(context: typer.Context, incomplete: str) -> list[str]:
    """Return the labels of the model that the command line names, the last after a comma."""
    return _complete(context, incomplete, lambda labels: {n for of in labels.values() for n in of})


def complete_schemes(context: typer.Context, incomplete: str) -> list[str]:
    """Return the schemes of the model that the command line names, the last after a comma."""
    return _complete(context, incomplete, set)


def _complete(
    context: typer.Context, incomplete: str, names_of: Callable[[dict[str, list[str]]], set[str]]
) -> list[str]:
    done, comma, start = incomplete.rpartition(",")
    try:
        registry().load_own()
        ref: Any = context.params.get("model") or default_model(str(context.info_name))
        folder = Path(ref) if (Path(ref) / "bundle.json").is_file() else installed_bundles()[ref]
        labels = read_head(folder).labels
    except (LmtoolError, KeyError):
        return []
    chosen = done.split(",")
    names = sorted(names_of(labels) - set(chosen))
    return [done + comma + name for name in names if name.startswith(start)]


def _installed() -> list[str]:
    registry().load_own()
    return sorted(installed_bundles())
