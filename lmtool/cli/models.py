"""`lmtool models`: the bundles that are installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from textwrap import fill
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
from .console import is_terminal, note, table, width
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
    room = width() if is_terminal(sys.stdout) else None
    if format == "json":
        import json

        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif rows:
        print("\n".join(_listing(rows, room)))
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
    for name, value in facts:
        print(_fact(name, str(value)))
    card = bundle.folder / "README.md"
    if card.is_file():
        print("\n" + card.read_text("utf-8").strip())


def _fact(name: str, value: str) -> str:
    """Return a name and its value; on a terminal the value stands in a column of its own."""
    line = f"{name:<10} {value}".rstrip()
    if not is_terminal(sys.stdout):
        return line
    indent = " " * 11
    return fill(
        line, width(), subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


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


def _listing(rows: list[dict[str, Any]], room: int | None) -> Iterator[str]:
    """Yield the lines of a table, the models of one folder together, with what fits of labels."""
    rows = sorted(rows, key=_parent)
    facts = table(
        ("name", "task", "MB"), [(row["name"], row["task"], row["megabytes"]) for row in rows]
    )
    title, *lines = facts.split("\n")
    left = None if room is None else room - len(title) - 2
    yield f"{title}  {_fitting(['labels'], left)}".rstrip()
    for folder, group in groupby(zip(rows, lines, strict=True), lambda pair: _parent(pair[0])):
        yield f"in {folder}"
        for row, line in group:
            yield f"{line}  {_fitting(_forms(row), left)}".rstrip()


def _parent(row: dict[str, Any]) -> str:
    return str(Path(row["folder"]).parent)


def _forms(row: dict[str, Any]) -> list[str]:
    """Return the labels of a model, ever shorter; further tasks if it is a language model."""
    others = [name for name in row.get("tasks", ()) if name != row["task"]]
    if others:
        return [f"also {', '.join(others)}"]
    return [_shortened(row["labels"], most) for most in range(6, -1, -1)]


def _fitting(forms: list[str], room: int | None) -> str:
    return next((form for form in forms if room is None or len(form) <= room), "")


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


def _shortened(labels: list[str], most: int) -> str:
    more = f" … {len(labels)} in all" if len(labels) > most else ""
    return (", ".join(labels[:most]) + more).strip()
