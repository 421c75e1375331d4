"""Flags from dataclasses: each field becomes an option of a command, by name, type and help."""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from ..errors import PluginError, UsageError
from ..options import Opt, split_hint

Complete = Callable[..., list[str]]
_KINDS = (bool, int, float, str, Path, list[str])


def options_from(
    cls: type[Any],
    *,
    complete: Mapping[str, Complete] | None = None,
    without: Collection[str] = (),
    shorts: Mapping[str, str] | None = None,
) -> list[inspect.Parameter]:
    """Return an option for each field of a frozen dataclass, None where it is not given.

    Fields are bool, int, float, str, Path, Literal or tuple[str, ...], each alone or with None.
    `Annotated[…, Opt(…)]` gives help and bounds. `complete` is what shell completion offers, by
    `Opt.values`, and `shorts` a short flag, by name.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = []
    for field in dataclasses.fields(cls):
        if field.name in without:
            continue
        kind, opt = split_hint(hints[field.name])
        plain = list[str] if _is_tuple(kind) else kind
        if plain not in _KINDS and get_origin(kind) is not Literal:
            raise PluginError(
                f"{cls.__module__}.{cls.__qualname__}.{field.name}: no flag can be made of {kind}",
                hint="use bool, int, float, str, Path, Literal or tuple[str, ...]",
            )
        flag = flag_of(field.name, opt)
        short = (shorts or {}).get(field.name)
        info = typer.Option(
            f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
            *([short] if short else []),
            help=opt.help + _default(field),
            min=opt.minimum if kind in (int, float) else None,
            max=opt.maximum if kind in (int, float) else None,
            show_default=False,
            metavar="A,B,…" if opt.values else None,
            autocompletion=(complete or {}).get(opt.values or ""),
        )
        parameters.append(_parameter(field.name, Annotated[plain | None, info], None))
    return parameters


def flag_of(name: str, opt: Opt) -> str:
    """Return the flag of an option."""
    return "--" + (opt.flag or name.replace("_", "-"))


def given(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the dataclass that were given, in the types that it declares."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {}
    for field in dataclasses.fields(cls):
        value = values.get(field.name)
        if value is not None:
            kind, opt = split_hint(hints[field.name])
            flag = flag_of(field.name, opt)
            found[field.name] = comma_list(flag, value) if _is_tuple(kind) else value
    return found


def comma_list(flag: str, values: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a flag that takes A,B,… and may be repeated; UsageError for an empty one.

    An empty name is a slip, or a variable of the shell that is not set: left out in silence, it
    would mean everything.
    """
    names = tuple(part.strip() for value in values for part in value.split(","))
    if not all(names):
        raise UsageError(
            f"{flag} {','.join(values)!r}: an empty name", hint="leave the flag out, or name each"
        )
    return names


def options_of(texts: Sequence[str]) -> dict[str, Any]:
    """Return the options that flags `--option NAME=VALUE` give."""
    pairs = [pair("--option", text) for text in texts]
    return {name: _toml_value(text) for name, text in pairs}


def pair(flag: str, text: str) -> tuple[str, str]:
    """Return name and value of NAME=VALUE; UsageError when it is none."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{flag} {text}: no NAME=VALUE")
    return name, value


def _toml_value(text: str) -> Any:
    """Return a number, a truth value or a list as TOML has them, and else the text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function, annotations evaluated."""
    return list(inspect.signature(function, eval_str=True).parameters.values())


def command_function(
    run: Callable[[dict[str, Any]], Any], parameters: list[inspect.Parameter], doc: str
) -> Callable[..., Any]:
    """Return a function with these parameters, for Typer, that calls `run` with their values."""

    def command(**values: Any) -> Any:
        return run(values)

    keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in keywords}
    command.__doc__ = doc
    return command


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=annotation)


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_args(kind) == (str, ...)


def _default(field: dataclasses.Field[Any]) -> str:
    """Return how the help shows the default: not at all where there is none to speak of."""
    if field.default in (dataclasses.MISSING, None, "", (), False):
        return ""
    if field.default is True:
        return "  [default: yes]"
    shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    return f"  [default: {shown}]"
