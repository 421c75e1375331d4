"""The configuration of a training run: flags, keys of a TOML file, and what `train` is given."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import msgspec

from ..errors import UsageError
from ..tasks import Opt

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    C = TypeVar("C", bound=DataclassInstance)
_NONE: Mapping[str, Any] = MappingProxyType({})
CONFIG_FILE = "config.toml"

# What a single task and a table of several share.
Files = Annotated[tuple[str, ...], Opt("Files of documents with gold layers")]
DevFiles = Annotated[tuple[str, ...], Opt("Files of documents to evaluate on")]
TaskName = Annotated[str, Opt("The task to train, as `lmtool plugins` lists it")]
Layers = Annotated[
    tuple[str, ...], Opt("Layers or schemes to learn (default: all that the data has)")
]
LabelNames = Annotated[
    dict[str, list[str]] | None,
    Opt("Labels by layer (default: those of the training data)"),
]
Form = Annotated[
    dict[str, Any], Opt("What else decides the head's form, as the task's documentation says")
]
Defaults = Annotated[dict[str, Any], Opt("Options of the task that the model has as its defaults")]

# What runs of several kinds are told.
Out = Annotated[str, Opt("Folder of the run, for checkpoints, metrics and config.toml")]
DevShare = Annotated[float, Opt("Share of the data to evaluate on when there is no --dev", 0, 0.9)]
LoraRank = Annotated[int, Opt("Rank of the additions of --tune lora", 1)]
MaxSteps = Annotated[int, Opt("Stop after this many steps (0: after the epochs)", 0)]
MinSteps = Annotated[
    int,
    Opt(
        "Steps at least: an epoch goes through little data more than once "
        "(default: 200, with --epochs: 0)",
        0,
    ),
]
WeightDecay = Annotated[float, Opt("Weight decay; biases and norms have none", 0)]
Clip = Annotated[float, Opt("Largest norm of the gradients (0: no limit)", 0)]
EvalEvery = Annotated[int, Opt("Steps between evaluations (0: each epoch)", 0)]
SaveEvery = Annotated[
    int, Opt("Steps between saves (0: at evaluations); a killed run goes on from the last", 0)
]
Patience = Annotated[int, Opt("Evaluations without gain after which to stop (0: never)", 0)]
Seed = Annotated[int, Opt("Seed of everything random", 0)]
Precision = Annotated[
    Literal["auto", "no", "bf16", "fp16"],
    Opt("Mixed precision; auto is bf16 where the hardware is faster with it"),
]
Device = Annotated[str, Opt("Device: auto, cpu, cuda, cuda:N or mps")]
Threads = Annotated[int, Opt("CPU threads (0: all cores)", 0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """What one head learns from: a table `[[tasks]]` of the TOML file.

    Tables with one `name` train one head together; its labels are those of all their documents.
    """

    task: TaskName
    data: Files
    dev: DevFiles = ()
    name: Annotated[str, Opt("Name of the head (default: the task's)")] = ""
    weight: Annotated[
        float, Opt("Times that an epoch goes through the data; 0.25 takes a quarter", 0)
    ] = 1.0
    layers: Layers = ()
    labels: LabelNames = None
    form: Form = field(default_factory=dict)
    options: Defaults = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The name of the head."""
        return self.name or self.task


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How to train encoder tasks. Every field is a flag of `lmtool train` and a TOML key."""

    command: ClassVar[str] = "lmtool train"

    task: TaskName = ""
    data: Files = ()
    base: Annotated[
        str,
        Opt(
            "Encoder to start from: a Hugging Face folder or hub name, or a checkpoint; for --tune "
            "head also a model"
        ),
    ]
    out: Out
    dev: DevFiles = ()
    dev_share: DevShare = 0.1

    tune: Annotated[
        Literal["full", "head", "lora"],
        Opt("What learns: all weights, the head alone, or the head and low-rank additions"),
    ] = "full"
    lora_rank: LoraRank = 16

    epochs: Annotated[int, Opt("Times to go through the data (head and lora: 10)", 1)] = 5
    max_steps: MaxSteps = 0
    min_steps: Annotated[
        int,
        Opt(
            "Steps at least: an epoch goes through little data more than once "
            "(default: 200, head: 400, with --epochs: 0)",
            0,
        ),
    ] = 0
    batch_tokens: Annotated[int, Opt("Tokens of a batch, with padding", 1)] = 2048
    accumulate: Annotated[int, Opt("Batches of a step", 1)] = 1

    optimizer: Annotated[
        Literal["adamw", "sgd", "adafactor"], Opt("Optimizer; sgd has momentum 0.9")
    ] = "adamw"
    lr: Annotated[float, Opt("Highest learning rate of the base (head: 0, lora: 5e-4)", 0)] = 5e-5
    head_lr: Annotated[
        float,
        Opt("Highest learning rate of the head and of case shapes (head: 2e-3, lora: 1e-3)", 0),
    ] = 5e-4
    weight_decay: WeightDecay = 0.01
    warmup: Annotated[float, Opt("Share of the steps in which the rates rise", 0, 1)] = 0.1
    decay: Annotated[
        Literal["linear", "cosine", "constant"], Opt("How the rates fall afterwards")
    ] = "linear"
    clip: Clip = 1.0
    dropout: Annotated[
        float | None, Opt("Dropout inside the encoder (default: the encoder's own)", 0, 0.9)
    ] = None

    freeze: Annotated[
        int | None, Opt("Keep the embeddings and this many of the lowest layers as they are", 0)
    ] = None

    max_tokens: Annotated[
        int | None,
        Opt("Longest window in tokens (default: that of a checkpoint or model, or 128)", 3),
    ] = None
    language: Annotated[
        str | None,
        Opt("Language of the sentence splitter, ISO 639-1 (default: the base's, or en)"),
    ] = None
    shapes: Annotated[
        bool | None,
        Opt("Give the encoder the case shape of each word (default: as the base has it, or no)"),
    ] = None
    lower_share: Annotated[
        float, Opt("Share of the documents to lower-case, chosen anew in each epoch", 0, 1)
    ] = 0.0
    layers: Layers = ()
    labels: LabelNames = None
    form: Form = field(default_factory=dict)
    options: Defaults = field(default_factory=dict)
    tasks: Annotated[
        tuple[TaskConfig, ...],
        Opt("Several tasks on one encoder, in place of task, data, dev and what is theirs"),
    ] = ()

    eval_every: EvalEvery = 0
    save_every: SaveEvery = 0
    patience: Patience = 3

    seed: Seed = 0
    precision: Precision = "auto"
    device: Device = "auto"
    threads: Threads = 0

    def __post_init__(self) -> None:
        """Raise UsageError when a number is out of its range."""
        check_ranges(self)
        for name, value in _FIXED.get(self.tune, {}).items():
            if getattr(self, name) != value:
                other = "lora" if name == "lora_rank" else "full"
                raise UsageError(
                    f"{name}: of no use with --tune {self.tune}",
                    hint=f"leave it out, or choose --tune {other}; {_REASONS[self.tune]}",
                )
        single = [f.name for f in dataclasses.fields(TaskConfig) if hasattr(self, f.name)]
        if self.tasks and (taken := [name for name in single if getattr(self, name)]):
            raise UsageError(
                f"{taken[0]}: given beside [[tasks]]", hint=f"write {taken[0]} into each table"
            )
        for number, entry in enumerate(self.entries):
            at = f"{_table(number)}." if self.tasks else ""
            if not entry.task:
                raise UsageError(
                    f"{at}task: no task to train", hint='task = "extract", for example'
                )
            if not entry.data:
                raise UsageError(f"{at}data: no files to train on", hint="name at least one file")
            if not 0 < entry.weight < math.inf:
                raise UsageError(f"{at}weight: {entry.weight} is out of range, it must be above 0")
            if "/" in entry.head or entry.head in (".", ".."):
                raise UsageError(
                    f"{at}name: {entry.head!r} is no name of a file", hint="leave the slash out"
                )

    @property
    def entries(self) -> tuple[TaskConfig, ...]:
        """The tables of `tasks`, or the single task as one."""
        if self.tasks:
            return self.tasks
        names = {f.name for f in dataclasses.fields(TaskConfig)} - {"name", "weight"}
        return (TaskConfig(**{name: getattr(self, name) for name in names}),)


DEFAULTS: dict[str, dict[str, Any]] = {
    "full": {"min_steps": 200},
    "head": {"epochs": 10, "min_steps": 400, "lr": 0.0, "head_lr": 2e-3, "precision": "no"},
    "lora": {"epochs": 10, "min_steps": 200, "lr": 5e-4, "head_lr": 1e-3},
}
"""What `make_config` fills in by what is tuned; `min_steps` where no epochs are given."""

_FIXED: dict[str, dict[str, Any]] = {
    "full": {"lora_rank": 16},
    "head": {"lr": 0.0, "freeze": None, "dropout": None, "lora_rank": 16},
    "lora": {"freeze": None},
}
_REASONS = {
    "full": "nothing is added to the weights",
    "head": "nothing of the encoder is trained",
    "lora": "all of the encoder's own weights stay as they are",
}


def config_options(cls: type[Any] = TrainConfig) -> dict[str, Opt]:
    """Return the `Opt` of every field of TrainConfig, or TaskConfig, by name."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {f.name: hints[f.name].__metadata__[0] for f in dataclasses.fields(cls)}


def make_config(values: Mapping[str, Any], where: str = "") -> TrainConfig:
    """Return a configuration from decoded TOML or flags, with the `DEFAULTS` of what is tuned.

    Raises UsageError, naming the key and `where` (a file), for an unknown or missing key, a
    value of the wrong type and a number out of range.
    """
    return convert_config(TrainConfig, values, where, tuned_defaults(values, DEFAULTS))


def tuned_defaults(
    values: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the defaults of what is tuned; without `min_steps` where the epochs are given."""
    found = dict(defaults.get(str(values.get("tune", "full")), {}))
    if "epochs" in values:
        found.pop("min_steps", None)
    return found


def convert_config(
    cls: type[C], values: Mapping[str, Any], where: str = "", defaults: Mapping[str, Any] = _NONE
) -> C:
    """Return a configuration of a class from decoded TOML or flags, as `make_config` does."""
    prefix = f"{where}: " if where else ""
    _check_keys(cls, values, prefix)
    tables = values.get("tasks")
    for number, table in enumerate(tables if isinstance(tables, list | tuple) else ()):
        if isinstance(table, Mapping):
            _check_keys(TaskConfig, table, f"{prefix}{_table(number)}: ")
    try:
        return msgspec.convert({**defaults, **values}, cls)
    except msgspec.ValidationError as error:
        text, _, at = str(error).partition(" - at `$.")
        key = at.rstrip("`")
        raise UsageError(f"{prefix}{key}: {text}" if key else f"{prefix}{text}") from None
    except UsageError as error:
        raise UsageError(f"{prefix}{error.message}", error.hint) from None


def _check_keys(cls: type[Any], values: Mapping[str, Any], prefix: str) -> None:
    """Raise UsageError for a key that is no field of a configuration."""
    names = [f.name for f in dataclasses.fields(cls)]
    for name in values:
        if name not in names:
            raise UsageError(
                f"{prefix}unknown key {name!r}", hint=f"the keys are: {', '.join(names)}"
            )


def _table(number: int) -> str:
    """Return what errors call a table of `tasks`, counted from 0, as msgspec does."""
    return f"tasks[{number}]"


def read_toml(path: Path) -> dict[str, Any]:
    """Return the keys of a TOML file, unchecked; UsageError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error


def read_config(path: Path) -> TrainConfig:
    """Return the configuration in a TOML file; UsageError names the file and the key."""
    return make_config(read_toml(path), str(path))


def write_config(config: Any) -> None:
    """Write RUN/config.toml, which starts the run again."""
    path = Path(config.out) / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{CONFIG_FILE}.new")
    new.write_text(format_config(config), "utf-8")
    new.replace(path)


def format_config(config: Any) -> str:
    """Return a configuration as TOML with each key's help as a comment; None is left out."""
    lines = [f"# Start this training again with: {config.command} --config FILE"]
    tables = []
    has_tables = bool(getattr(config, "tasks", ()))
    for name, option in config_options(type(config)).items():
        value = getattr(config, name)
        if name == "tasks":
            tables += [row for entry in value for row in _task_rows(entry)]
        elif isinstance(value, dict):
            rows = [f"{_toml(k)} = {_toml(v)}" for k, v in value.items()]
            tables += ["", f"[{name}]  # {option.help}", *rows]
        elif value is not None and not (has_tables and not value and name in _SINGLE):
            lines.append(f"{name} = {_toml(value)}  # {option.help}")
    return "\n".join([*lines, *tables]) + "\n"


_SINGLE = {f.name for f in dataclasses.fields(TaskConfig)}


def _task_rows(entry: TaskConfig) -> list[str]:
    rows = _values(entry).items()
    return [
        "",
        "[[tasks]]",
        *(
            f"{name} = {_toml(value)}"
            for name, value in rows
            if value or name == "data" or (name == "labels" and value is not None)
        ),
    ]


def _values(config: DataclassInstance) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def absolute(config: C) -> C:
    """Return the configuration with absolute paths, so that it works from any folder.

    A base or tokenizer that is not there is a hub name, a size a name, and stays as it is.
    """

    def path(name: str) -> str:
        return str(Path(name).resolve())

    changes: dict[str, Any] = {}
    for name, value in _values(config).items():
        may_be_path = name in ("base", "tokenizer") and value != ""
        may_be_path |= name == "size" and value.endswith(".json")
        if name == "tasks":
            changes[name] = tuple(map(absolute, value))
        elif name in ("data", "dev"):
            changes[name] = tuple(map(path, value))
        elif name == "out" or (may_be_path and Path(value).exists()):
            changes[name] = path(value)
    return dataclasses.replace(config, **changes)


def check_ranges(config: DataclassInstance) -> None:
    """Raise UsageError when a number of a configuration is out of its range."""
    for name, option in config_options(type(config)).items():
        value = getattr(config, name)
        if isinstance(value, int | float):
            _check_range(name, value, option)


def _check_range(name: str, value: float, option: Opt) -> None:
    low, high = option.minimum, option.maximum
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        limits = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
        raise UsageError(f"{name}: {value} is out of range, it must be {limits}")


def _toml(value: Any) -> str:
    """Return a value in TOML: booleans, numbers, strings, and arrays and tables of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):  # a JSON string is a TOML string, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        items = ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items())
        return f"{{ {items} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
