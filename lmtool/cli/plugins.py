"""`lmtool plugins`: what is installed, what it brings, and what is broken."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from ..plugins import Plugin, registry
from .console import table


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plugins")(plugins)


def plugins(
    format: Annotated[Literal["text", "json"], typer.Option(help="What to print.")] = "text",
) -> None:
    """List the installed plugins; broken ones with the reason. Imports all of them."""
    rows = [_row(plugin) for plugin in registry().plugins]
    if format == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    cells = [(r["name"], r["distribution"], r["version"], r["kind"], r["state"]) for r in rows]
    print(table(("name", "distribution", "version", "kind", "state"), cells))


def _row(plugin: Plugin) -> dict[str, Any]:
    reason = problem_of(plugin)
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.value,
        "kind": "" if reason else ", ".join(_kinds(plugin.name)) or "nothing",
        "state": f"broken: {reason.strip().splitlines()[0]}" if reason else "ok",
    }


def problem_of(plugin: Plugin) -> str:
    """Import a plugin and return why it is broken, or an empty text."""
    from ..errors import PluginError

    try:
        registry().load(plugin.name)
        registry().tasks_of(plugin.name)
    except PluginError as error:
        return registry().broken.get(plugin.name, error.message)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _kinds(name: str) -> list[str]:
    """Return what a plugin brings: its tasks by name, then the kinds of its other hooks."""
    tasks = [f"task {task.name}" for task in registry().tasks_of(name)]
    others = [
        kind
        for kind, hook in (
            ("readers", "lmtool_register_readers"),
            ("writers", "lmtool_register_writers"),
            ("models", "lmtool_register_bundles"),
            ("models by name", "lmtool_resolve_bundle"),
            ("devices", "lmtool_resolve_session"),
            ("training observer", "lmtool_on_train_step"),
            ("commands", "lmtool_add_commands"),
        )
        if registry().has(name, hook)
    ]
    return tasks + others
