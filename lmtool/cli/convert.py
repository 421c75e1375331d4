"""Values of flags in plain types, converted here: Typer imports pydantic for it, which takes 0.1 s.

`convert_plainly` is for our own commands; those that plugins bring keep all that Typer can do.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import typer

HELP_FLAGS = ["-h", "--help"]
PLAIN = (str, int, float, bool, Path)
_NAMES = {int: "a whole number", float: "a number", bool: "yes or no"}
_METAVARS = {str: "TEXT", int: "N", float: "X", Path: "PATH"}
_BOOLS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def convert_plainly(command: Any) -> None:
    """Let a command, or all commands of a group, convert flags of plain types without pydantic.

    Options without a metavar get a short one.
    """
    for subcommand in getattr(command, "commands", {}).values():
        convert_plainly(subcommand)
    help_option = command.get_help_option(SimpleNamespace(help_option_names=HELP_FLAGS))
    for param in [*command.params, help_option]:
        descriptor = getattr(param, "type_descriptor", None)
        if descriptor is not None and _is_plain(_item(descriptor.annotation)):
            kind = _item(descriptor.annotation)
            param._runtime_param = _Plain(kind)
            _name_plainly(param, kind)


def _name_plainly(param: Any, kind: Any) -> None:
    """Show FILES... for `files... <list[str]>`, and N for `<int range>`, in the help."""
    if param.param_type_name == "argument":
        param.metavar = param.metavar or param.name.upper()
        param.display_type_rich = lambda ctx: ""
    else:
        param.metavar = param.metavar or _METAVARS.get(kind)


class _Plain:
    """Stands in for Typer's own conversion of a parameter."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value, or the tuple of values, in the type of the parameter."""
        is_many = param.multiple or param.nargs == -1
        if value is None:
            return () if is_many else None
        try:
            if is_many:
                return tuple(self._one(item, param) for item in value)
            return self._one(value, param)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None

    def _one(self, value: Any, param: Any) -> Any:
        if get_origin(self.kind) is Literal:
            choices = get_args(self.kind)
            if value not in choices:
                raise ValueError(f"{value!r} is not one of {', '.join(map(str, choices))}")
            return value
        try:
            number = _BOOLS[value.lower()] if self._is_bool_text(value) else self.kind(value)
        except (KeyError, ValueError):
            raise ValueError(f"{value!r} is not {_NAMES.get(self.kind, self.kind)}") from None
        low, high = getattr(param, "min", None), getattr(param, "max", None)
        if low is not None and not number >= low:
            raise ValueError(f"{value} is less than {low}")
        if high is not None and not number <= high:
            raise ValueError(f"{value} is more than {high}")
        return number

    def _is_bool_text(self, value: Any) -> bool:
        return self.kind is bool and isinstance(value, str)


def _item(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is list else annotation


def _is_plain(kind: Any) -> bool:
    return kind in PLAIN or get_origin(kind) is Literal
