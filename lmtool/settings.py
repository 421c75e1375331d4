"""Settings: defaults, below config.toml, below LMTOOL_* variables, below the flags of a command.

config.toml                variable
    device = "cpu"             LMTOOL_DEVICE=cpu
    [model]
    extract = "extract-en"    LMTOOL_MODEL_EXTRACT=extract-en
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .errors import UsageError

ENVIRONMENT_ONLY: Final = ("LMTOOL_CONFIG", "LMTOOL_DEBUG", "LMTOOL_MODELS", "LMTOOL_PLUGINS")
"""Variables that are no settings: the settings file, tracebacks, where models lie, what loads."""

_PREFIX: Final = "LMTOOL_"
_MODEL: Final = "model."


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a process; `origin` says where each that is no default comes from."""

    device: str = "auto"
    """Where models run: auto, cpu, cuda, or a device that a plugin brings."""
    threads: int = 0
    """Threads of a model; 0 means all cores."""
    batch_tokens: int = 1024
    """Padded tokens of a batch: more is faster on a GPU and takes more memory."""
    progress: bool = True
    """Whether a bar is shown on a terminal."""
    model: Mapping[str, str] = field(default_factory=dict)
    """The model, a name or a folder, that each task uses where --model is not given."""
    origin: Mapping[str, str] = field(default_factory=dict, compare=False)

    def items(self) -> Iterator[tuple[str, Any, str]]:
        """Yield name, value and origin of every setting."""
        for name in _KINDS:
            yield name, getattr(self, name), self.origin.get(name, "default")
        for task, ref in sorted(self.model.items()):
            yield _MODEL + task, ref, self.origin[_MODEL + task]


_KINDS: Final[dict[str, type[Any]]] = {
    f.name: type(f.default)
    for f in dataclasses.fields(Settings)
    if f.default is not dataclasses.MISSING
}


def settings_file() -> Path:
    """Return where the settings are read from, whether or not the file exists."""
    if path := os.environ.get("LMTOOL_CONFIG"):
        return Path(path)
    import platformdirs

    return platformdirs.user_config_path("lmtool") / "config.toml"


@functools.cache
def settings() -> Settings:
    """Return the settings of this process, read once; UsageError names a wrong key or value."""
    return read_settings(settings_file(), os.environ)


def read_settings(path: Path, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a file, which need not exist, and of an environment."""
    found = _from_file(path)
    origin = {name: str(path) for name in found}
    for name, (variable, value) in _from_environment(environment).items():
        found[name] = value
        origin[name] = f"${variable}"
    model = {name[len(_MODEL) :]: found.pop(name) for name in list(found) if "." in name}
    return Settings(**found, model=model, origin=origin)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    import tomllib

    try:
        table = tomllib.loads(data.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: no valid TOML: {error}") from error
    models = table.pop("model", {})
    if not isinstance(models, dict):
        raise UsageError(f"{path}: model is no table", hint='write [model], then extract = "…"')
    found = {}
    for name, value in [*table.items(), *((_MODEL + task, ref) for task, ref in models.items())]:
        kind = str if name.startswith(_MODEL) else _kind(name, str(path))
        if type(value) is not kind:
            raise UsageError(
                f"{path}: {name} is {value!r}, not {_NAMES[kind]}",
                hint="mend it there; lmtool config show lists the settings then",
            )
        found[name] = _checked(name, value, str(path))
    return found


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    found = {}
    for variable, text in environment.items():
        name = variable.removeprefix(_PREFIX).lower()
        if not variable.startswith(_PREFIX) or not text:
            continue
        if name in _KINDS:
            value = _parsed(text, _KINDS[name], variable)
            found[name] = (variable, _checked(name, value, variable))
        elif name.startswith("model_"):
            found[_MODEL + name.removeprefix("model_").replace("_", "-")] = (variable, text)
    return found


_NAMES: Final = {bool: "true or false", int: "a whole number", str: "a text"}
_BOOLS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _parsed(text: str, kind: type[Any], variable: str) -> Any:
    try:
        return _BOOLS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise UsageError(f"{variable} is {text!r}, not {_NAMES[kind]}") from None


def _checked(name: str, value: Any, where: str) -> Any:
    least = {"threads": 0, "batch_tokens": 1}.get(name)
    if least is not None and value < least:
        raise UsageError(f"{where}: {name} is {value}, less than {least}")
    return value


def _kind(name: str, where: str) -> type[Any]:
    if name in _KINDS:
        return _KINDS[name]
    near = difflib.get_close_matches(name, [*_KINDS, "model"], n=1)
    known = f"the keys are: {', '.join(_KINDS)} and the table [model]"
    raise UsageError(
        f"{where}: unknown key {name!r}",
        hint=f"did you mean {near[0]!r}? {known}" if near else known,
    )
