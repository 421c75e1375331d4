"""Which model a task uses: what is installed, what the settings say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .bundles import installed_bundles
from .errors import BundleError, UsageError
from .plugins import registry
from .settings import settings
from .tasks import TextTask


class Head(msgspec.Struct):
    """The part of a bundle.json that tells bundles apart, of any kind."""

    task: str
    labels: dict[str, list[str]] = {}
    kind: str = "encoder"
    tasks: list[str] = []
    """What a language model can be used for, beside its task."""
    form: dict[str, Any] = {}

    def serves(self, task: str) -> bool:
        """Whether the model can be used for a task."""
        return task == self.task or task in self.tasks


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


def default_model(task: str, parts: Sequence[str] = ()) -> str:
    """Return the model of a task where none is named: the setting, or the only one there is.

    Of several, those that have labels for all of `parts` are taken, then the one named TASK-en,
    then those whose name ends in "-en". BundleError when there is none, and UsageError when there
    is no telling which.
    """
    if ref := settings().model.get(task):
        return ref
    for load in (registry().load_own, registry().load_all):
        load()
        serving = {name: head for name, _, head in heads() if head.serves(task)}
        own = {name: head for name, head in serving.items() if head.task == task}
        found = {name: head.labels for name, head in (own or serving).items()}
        able = [name for name, labels in found.items() if labels.keys() >= set(parts)]
        names = able or list(found)
        if len(names) > 1:
            exact = [name for name in names if name == f"{task}-en"]
            names = exact or [name for name in names if name.endswith("-en")] or names
        if len(names) == 1:
            return names[0]
        if names:
            raise UsageError(
                f"{len(names)} models are installed for {task!r}: {', '.join(names)}",
                hint=f'choose one with --model, or for good: {task} = "{names[0]}" under [model] '
                "in the file that lmtool config path names",
            )
    kind = registry().task(task)
    is_text = kind is not None and issubclass(kind, TextTask)
    more = "import one (lmtool models import OWNER/NAME), " if is_text else ""
    raise BundleError(
        f"no model for {task!r} is installed",
        hint=f"{more}train one (lmtool train {task} --help), or name its folder with --model",
    )
