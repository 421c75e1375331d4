"""The group of all commands: core commands by a table, plugins' by their entry points, all lazy."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import typer
from typer._click.shell_completion import CompletionItem
from typer.core import TyperGroup
from typer.main import get_command

from ..errors import PluginError, UsageError
from ..plugins import registry
from .convert import convert_plainly
from .summaries import summaries

CORE = {
    "annotate": "Run several tasks at once, with one pass of the model they share",
    "train": "Train a model on labelled documents",
    "pretrain": "Train a language model on raw text",
    "evaluate": "Compare a model with gold documents",
    "export": "Make a runnable bundle of a checkpoint",
    "data": "Check and convert documents",
    "models": "List, import, pull, verify and remove models",
    "plugins": "List the plugins and what they bring",
    "doctor": "Check the installation and say what to mend",
    "config": "Show the settings and where they come from",
}
"""The commands of the core; each is a module of this package with `add_commands(app)`."""


class Group(TyperGroup):
    """Finds commands when they are named, and lists them without importing them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, plugins' first."""
        return [*summaries(registry()), *CORE]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, or None."""
        if cmd_name in CORE:
            app = new_app()
            importlib.import_module(f".{cmd_name}", __package__).add_commands(app)
            command = _command_of(app, cmd_name)
            convert_plainly(command)
            return command
        if cmd_name in registry().names():
            return _plugin_command(cmd_name)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the arguments name; an unknown one suggests the nearest."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1, cutoff=0.6)
            guess = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(
                f"no command {args[0]!r}", hint=f"{guess}lmtool --help lists the commands"
            )
        return (args[0] if command else None), command, args[1:]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands of plugins and core, and the broken plugins, one line each."""
        found = summaries(registry())
        working = [(name, s.text) for name, s in found.items() if not s.is_broken]
        broken = [(name, _first_line(s.text)) for name, s in found.items() if s.is_broken]
        for title, rows in (
            ("Tasks", working),
            ("Commands", list(CORE.items())),
            ("Broken plugins", broken),
        ):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the names of commands for completion, without importing one."""
        if incomplete.startswith("-"):
            return super(TyperGroup, self).shell_complete(ctx, incomplete)
        helps = {**{name: s.text for name, s in summaries(registry()).items()}, **CORE}
        return [
            CompletionItem(name, help=text)
            for name, text in helps.items()
            if name.startswith(incomplete)
        ]


def new_app() -> typer.Typer:
    """Return an empty Typer app as `add_commands` and the hook `lmtool_add_commands` get it."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )


def _plugin_command(name: str) -> Any:
    """Return the command of a plugin: its task's, its own of that name, or all it adds."""
    registry().load(name)
    plugin = registry().plugin(name)
    task = next((task for task in registry().tasks_of(name) if task.name == name), None)
    if task is not None:
        from .task import task_command

        app = new_app()
        app.command(name, help=task.summary)(task_command(task))
        command = _command_of(app, name)
        convert_plainly(command)
        return command
    app = new_app()
    if registry().commands(name, app):
        command = _command_of(app, name)
        if plugin.is_own:
            convert_plainly(command)
        return command
    raise PluginError(
        f"plugin {name!r} ({plugin.distribution} {plugin.version}) brings no command",
        hint="lmtool plugins shows what it brings",
    )


def _command_of(app: typer.Typer, name: str) -> Any:
    """Return the app's command of this name, or the whole app as a group."""
    app.callback(help=CORE.get(name, name))(_nothing)
    group: Any = get_command(app)
    return group.commands.get(name, group)


def _nothing() -> None:
    """Make a group of an app that has a single command."""


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
