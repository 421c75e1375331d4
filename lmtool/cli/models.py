"""`lmtool models`: the bundles that are installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..bundles import (
    Bundle,
    LanguageBundle,
    find_bundle,
    installed_bundles,
    load_bundle,
    models_folder,
)
from ..errors import BundleError, NegativeResult, UsageError
from ..plugins import registry
from .choice import complete_models
from .console import is_terminal, note, table
from .imports import import_model
from .pull import pull

Name = Annotated[
    str,
    typer.Argument(help="Name or folder of a model.", autocompletion=complete_models),
]


def add_commands(app: typer.Typer) -> None:
    """Add list, show, verify, remove, pull and import."""
    app.command("list")(list_models)
    app.command("show")(show)
    app.command("verify")(verify)
    app.command("remove")(remove)
    app.command("pull")(pull)
    app.command("import")(import_model)


def list_models(
    format: Annotated[Literal["text", "json"], typer.Option(help="What to print.")] = "text",
) -> None:
    """List the installed models: name, task, size, labels, folder."""
    registry().load_all()
    rows = [_row(name, folder) for name, folder in sorted(installed_bundles().items())]
    if format == "json":
        import json

        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif rows:
        titles = ("name", "task", "MB", "labels", "folder")
        print(table(titles, [_cells(row) for row in rows]))
    else:
        note(f"no model is installed; they lie in {models_folder()}")


def show(model: Name) -> None:
    """Show a model's card and what its bundle.json says."""
    bundle = load_bundle(_find(model), verify=False)
    info = bundle.info
    facts: list[tuple[str, Any]] = [
        ("name", info.name),
        ("task", info.task),
        ("folder", bundle.folder),
        ("megabytes", _megabytes(bundle)),
        *_own_facts(bundle),
        ("options", ", ".join(f"{k}={v}" for k, v in info.options.items()) or "none"),
        ("licence", info.licence or "not stated"),
        ("code", ", ".join(f"{k} {v}" for k, v in info.versions.code.items())),
        ("data", ", ".join(f"{k} {v}" for k, v in info.versions.data.items())),
    ]
    print("\n".join(f"{name:<10} {value}".rstrip() for name, value in facts))
    card = bundle.folder / "README.md"
    if card.is_file():
        print("\n" + card.read_text("utf-8").strip())


def _own_facts(bundle: Bundle | LanguageBundle) -> list[tuple[str, Any]]:
    """Return what models of one kind alone have."""
    if isinstance(bundle, LanguageBundle):
        info = bundle.info
        return [
            ("tasks", ", ".join(info.tasks)),
            ("context", f"{info.context:,} tokens"),
            ("precision", info.precision),
            ("form", ", ".join(f"{k}={v!r}" for k, v in info.form.items()) or "none"),
        ]
    labels = "; ".join(f"{k}: {', '.join(v)}" for k, v in bundle.info.labels.items())
    backbone = f"{bundle.info.backbone[:12]} ({bundle.backbone.precision})"
    return [("labels", labels), ("backbone", backbone)]


def verify(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models (default: all).", autocompletion=complete_models),
    ] = None,
) -> None:
    """Check the files of models against their hashes; exit with 4 when one is damaged."""
    registry().load_all()
    names = models or sorted(installed_bundles())
    if not names:
        raise NegativeResult("no model is installed", hint=f"they lie in {models_folder()}")
    n_damaged = 0
    for name in names:
        found = _problems(name)
        n_damaged += bool(found)
        print(f"{name}: {'; '.join(found) or 'ok'}")
    if n_damaged:
        models_are = f"model{'s'[: len(names) > 1]} {'is' if n_damaged == 1 else 'are'}"
        raise BundleError(
            f"{n_damaged} of {len(names)} {models_are} damaged",
            hint=f"export or install {'it' if n_damaged == 1 else 'them'} again",
        )


def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model from your own folder."""
    folder = models_folder() / name
    if Path(name).name != name or not (folder / "bundle.json").is_file():
        registry().load_own()
        others = installed_bundles() if Path(name).name == name else {}
        owner = "lmtool models list shows what there is"
        if name in others:
            owner = f"it ships with a plugin, in {others[name]}, and goes with its package"
        raise UsageError(f"{name}: no model of this name in {models_folder()}", hint=owner)
    if not yes:
        if not is_terminal(sys.stdin):
            raise UsageError("nobody to ask", hint="confirm with --yes")
        typer.confirm(f"Remove {folder}?", abort=True, err=True)
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)
    note(f"removed {folder}")


def _find(ref: str) -> Path:
    registry().load_own()
    return find_bundle(ref)


def _row(name: str, folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "folder": str(folder)}
    try:
        bundle = load_bundle(folder, verify=False)
    except BundleError as error:
        return {**row, "task": "broken", "megabytes": 0.0, "labels": [], "error": error.message}
    row |= {"task": bundle.info.task, "megabytes": _megabytes(bundle)}
    if isinstance(bundle, LanguageBundle):
        return {**row, "tasks": bundle.info.tasks, "labels": []}
    return {**row, "labels": sorted({n for names in bundle.info.labels.values() for n in names})}


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a row of the table; a language model has further tasks in the place of labels."""
    others = [name for name in row.get("tasks", ()) if name != row["task"]]
    labels = f"also {', '.join(others)}" if others else _shortened(row["labels"])
    return row["name"], row["task"], row["megabytes"], labels, row["folder"]


def _problems(name: str) -> list[str]:
    try:
        return list(load_bundle(_find(name), verify=False).problems())
    except BundleError as error:
        return [error.message]


def _megabytes(bundle: Bundle | LanguageBundle) -> float:
    """Return the size of a model with its backbone, which it may share."""
    folders = {bundle.folder}
    if isinstance(bundle, Bundle):
        folders.add(bundle.backbone_folder)
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return round(sum(path.stat().st_size for path in files) / 1e6, 1)


def _shortened(labels: list[str], most: int = 6) -> str:
    more = f" … {len(labels)} in all" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more
