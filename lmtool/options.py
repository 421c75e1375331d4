"""Options of tasks and models: frozen dataclasses that become flags, keywords and defaults."""

from __future__ import annotations

import dataclasses
import numbers
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from .errors import BundleError, UsageError


@dataclass(frozen=True, slots=True)
class Opt:
    """Says how an option looks on the command line: `Annotated[float, Opt("Least score")]`."""

    help: str
    minimum: float | None = None
    maximum: float | None = None
    values: str | None = None
    """What completion offers: "labels" for the label names of the chosen model."""
    flag: str | None = None
    """The name of its flag, where that is not its own: "from"."""


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of a task that has none."""


def make_options(
    cls: type[Any], values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Any:
    """Return an instance of the options class.

    `defaults` are a bundle's own defaults, below `values` and above the class's. An unknown name
    and a value of the wrong type or out of bounds are a UsageError, in `defaults` a BundleError.
    """
    try:
        checked = _checked_options(cls, defaults or {})
    except UsageError as error:
        raise BundleError(
            f"the model's defaults: {error.message}", hint="train or export it again"
        ) from error
    checked |= _checked_options(cls, values)
    try:
        return cls(**checked)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{cls.__qualname__}: {error}") from error


def split_hint(hint: Any) -> tuple[Any, Opt]:
    """Return an option's type without Annotated and None, and its Opt."""
    opt = Opt("")
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        opt = next((extra for extra in extras if isinstance(extra, Opt)), opt)
    if get_origin(hint) in (Union, types.UnionType):
        rest = [arg for arg in get_args(hint) if arg is not type(None)]
        hint = rest[0] if len(rest) == 1 else hint
    return hint, opt


def _checked_options(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(cls)]
    for name in values:
        if name not in names:
            raise UsageError(
                f"unknown option {name!r}",
                hint=f"the options are: {', '.join(names) or 'none'}",
            )
    hints = typing.get_type_hints(cls, include_extras=True) if values else {}
    return {name: _checked_option(name, value, hints[name]) for name, value in values.items()}


def _checked_option(name: str, value: Any, hint: Any) -> Any:
    """Return the value in its option's type: 1 as 1.0, a list of texts as a tuple."""
    kind, opt = split_hint(hint)
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if value is None and type(None) in get_args(bare):
        return None
    right, is_right = "", True
    if kind in _OPTION_KINDS:
        right, accepted = _OPTION_KINDS[kind]
        is_right = isinstance(value, accepted) and (kind is bool or not isinstance(value, bool))
    elif get_origin(kind) is Literal:
        right, is_right = f"one of {', '.join(map(str, get_args(kind)))}", value in get_args(kind)
    elif get_origin(kind) is tuple:
        right = "a list of texts"
        is_right = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        kind = tuple
    if kind in (int, float):
        bounds = (("at least", opt.minimum), ("at most", opt.maximum))
        limits = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
        right += f" of {limits}" if limits else ""
        is_right = is_right and (opt.minimum is None or value >= opt.minimum)
        is_right = is_right and (opt.maximum is None or value <= opt.maximum)
    if not is_right:
        mend = f"write {name}={[value]!r}" if kind is tuple and isinstance(value, str) else ""
        raise UsageError(f"option {name!r} is {value!r}, not {right}", hint=mend)
    return kind(value) if kind in _OPTION_KINDS or kind is tuple else value


_OPTION_KINDS: dict[Any, tuple[str, Any]] = {
    bool: ("true or false", bool),
    int: ("a whole number", numbers.Integral),
    float: ("a number", numbers.Real),
    str: ("a text", str),
    Path: ("a path", str | os.PathLike),
}
