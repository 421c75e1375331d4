"""Which model a command means: what is installed, what a task uses, what completion offers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer

from ..bundles import installed_bundles
from ..errors import BundleError, LmtoolError, UsageError
from ..plugins import registry
from ..settings import settings


class Head(msgspec.Struct):
    """The part of a bundle.json that tells bundles apart."""

    task: str
    labels: dict[str, list[str]]


def heads() -> Iterator[tuple[str, Path, Head]]:
    """Yield name, folder and head of the bundles of the user and of the loaded plugins.

    One that cannot be read is left out: `lmtool models list` shows it.
    """
    for name, folder in sorted(installed_bundles().items()):
        try:
            yield name, folder, read_head(folder)
        except BundleError:
            continue


def read_head(folder: Path) -> Head:
    """Return the head of a bundle; BundleError when it cannot be read."""
    path = folder / "bundle.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Head)
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{path}: {error}", hint="export or install it again") from error


def default_model(task: str) -> str:
    """Return the model of a task where none is named: the setting, or the only one there is.

    Of several, the one whose name ends in "-en" is taken. BundleError when there is none, and
    UsageError when there is no telling which.
    """
    if ref := settings().model.get(task):
        return ref
    for load in (registry().load_own, registry().load_all):
        load()
        names = [name for name, _, head in heads() if head.task == task]
        if len(names) > 1:
            names = [name for name in names if name.endswith("-en")] or names
        if len(names) == 1:
            return names[0]
        if names:
            raise UsageError(
                f"{len(names)} models are installed for {task!r}: {', '.join(names)}",
                hint=f'choose one with --model, or for good: {task} = "{names[0]}" under [model] '
                "in the file that lmtool config path names",
            )
    raise BundleError(
        f"no model for {task!r} is installed",
        hint=f"train one (lmtool train {task} --help), or name its folder with --model",
    )


def complete_models(incomplete: str) -> list[str]:
    """Return the names of installed models, for completion."""
    return [name for name in _installed() if name.startswith(incomplete)]


def complete_labels(context: typer.Context, incomplete: str) -> list[str]:
    """Return the labels of the model that the command line names, the last after a comma."""
    done, comma, start = incomplete.rpartition(",")
    try:
        registry().load_own()
        ref: Any = context.params.get("model") or default_model(str(context.info_name))
        folder = Path(ref) if (Path(ref) / "bundle.json").is_file() else installed_bundles()[ref]
        labels = read_head(folder).labels
    except (LmtoolError, KeyError):
        return []
    chosen = done.split(",")
    names = sorted({name for names in labels.values() for name in names} - set(chosen))
    return [done + comma + name for name in names if name.startswith(start)]


def _installed() -> list[str]:
    registry().load_own()
    return sorted(installed_bundles())
