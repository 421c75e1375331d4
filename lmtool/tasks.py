"""The contract of a task: what a plugin writes so that lmtool trains, exports and runs it.

A task is a class returned by the hook `lmtool_register_tasks`. This module imports nothing
heavy; a task imports torch inside the methods that need it.
"""

from __future__ import annotations

import dataclasses
import numbers
import os
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    Union,
    get_args,
    get_origin,
)

from .documents import Document
from .errors import BundleError, UsageError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from .models import Model
    from .signature import Signature
    from .windows import Window

Labels = Mapping[str, Sequence[str]]
"""The class names of a task, by layer or scheme: {"entities": ["LOC", "ORG", "PER"]}."""


@dataclass(frozen=True, slots=True)
class Opt:
    """Says how an option looks on the command line: `Annotated[float, Opt("Least score")]`."""

    help: str
    minimum: float | None = None
    maximum: float | None = None
    values: str | None = None
    """What completion offers: "labels" for the label names of the chosen model."""


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of a task that has none."""


class Part(NamedTuple):
    """What a task found in one window; `start` is the window's first character in the document."""

    start: int
    value: Any


class Graph(Protocol):
    """A graph that runs: named arrays in, named arrays out."""

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run once on these inputs; inputs the graph does not have are left out."""


class EncoderTask(ABC):
    """A task that reads the hidden states of a shared encoder through a small head.

    One instance serves one set of labels. Class attributes: `name` (the command's name),
    `summary` (one line of help), `layers` (what it writes), `main_metric` (the key of `score`
    that early stopping and the export gate watch, higher is better), `Options` (a frozen
    dataclass whose fields, annotated with `Opt`, become flags, keyword arguments and bundle
    defaults).

    `labels` are the class names by layer or scheme, `form` is what else decides the head's form
    and how its outputs are read: a JSON object, from `collect_form` and `calibrate`. Both are
    saved with the model.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    layers: ClassVar[tuple[str, ...]]
    main_metric: ClassVar[str]
    Options: ClassVar[type[Any]] = NoOptions
    is_default: ClassVar[bool] = True
    """Whether `lmtool annotate` runs it where nobody says what to find."""

    def __init__(self, labels: Labels, form: Mapping[str, Any] | None = None) -> None:
        self.labels = {key: list(names) for key, names in labels.items()}
        self.form = dict(form or {})

    @classmethod
    @abstractmethod
    def collect_labels(cls, documents: Sequence[Document]) -> dict[str, list[str]]:
        """Return the labels that the gold layers of these documents use, sorted."""

    @classmethod
    def collect_form(cls, documents: Sequence[Document]) -> dict[str, Any]:
        """Return what else than labels the gold decides about the head, as JSON; {} by default."""
        return {}

    @classmethod
    def labels_of(cls, labels: dict[str, list[str]], layers: Sequence[str]) -> dict[str, list[str]]:
        """Return the labels that belong to these layers: the keys of these names by default."""
        return {key: names for key, names in labels.items() if key in layers}

    @classmethod
    def model_task(cls, options: Any) -> str:
        """Return the name of the task whose models serve these options; its own by default."""
        return cls.name

    @classmethod
    def on_model(cls, model: Model, options: Any) -> Model:
        """Return a model of this task made of one of `model_task`, where that is another."""
        raise NotImplementedError(f"{cls.__name__}.on_model")

    @property
    def parts(self) -> tuple[str, ...]:
        """What this model can be asked for by name: its layers, or schemes and parts of them."""
        return self.layers

    def limit(self, options: Any, parts: Sequence[str]) -> Any:
        """Return options that find only these of its `parts`; the same options by default."""
        return options

    def has_gold(self, document: Document) -> bool:
        """Whether a document has gold that this task learns from and is measured on.

        By default, whether it has one of the task's layers.
        """
        return any(document.layer(layer) is not None for layer in self.layers)

    @property
    def reads_pairs(self) -> bool:
        """Whether it reads a document's `pair` behind its text; false by default."""
        return False

    def given_layers(self, options: Any) -> tuple[str, ...]:
        """Return the layers that `infer` takes as given, from `window.document`; none by default.

        A task that is told to find the arguments of given predicates reads the frames.
        """
        return ()

    def blank(self, document: Document, options: Any) -> Document:
        """Return a gold document without what the task is to find: what evaluation starts from.

        Without the task's layers, but for the given ones, by default.
        """
        given = self.given_layers(options)
        return document.without_layers(name for name in self.layers if name not in given)

    @abstractmethod
    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Return the head.

        Its `signature` (lmtool.signature.Signature) names the inputs and outputs of `forward`,
        which takes the inputs by name and returns a dict of outputs. Inputs come from the
        backbone (`hidden`: float32 (batch, seq, hidden), `attention_mask`: int64 (batch, seq))
        or, in training, from the targets: those that the batch has, so an input that not every
        document's gold gives has the default None. Its `loss(outputs, targets)` returns a scalar.
        """

    def graphs(self, head: torch.nn.Module) -> dict[str, torch.nn.Module]:
        """Return the modules to export, by name, each with a `signature`; one by default."""
        return {"head": head}

    def example_inputs(self, hidden: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return what graphs take beside the backbone's outputs `hidden`, to trace them with.

        None by default. A graph that takes a mark for each token returns one here, (batch, seq).
        """
        return {}

    @abstractmethod
    def targets(self, window: Window, document: Document) -> dict[str, NDArray[Any]]:
        """Return the training targets of a window, as arrays without a batch axis.

        An axis that runs over tokens has `len(window.ids)` entries. Batches pad integers with
        -100 and everything else with 0. Windows of a batch have targets of the same names; a
        window with none ({}) is not trained on.
        """

    def check_options(self, options: Any) -> None:  # noqa: B027
        """Raise UsageError for options that do not fit these labels; nothing by default.

        Called once, when a model is made: types and bounds of the values are checked already.
        """

    @abstractmethod
    def infer(
        self,
        graphs: Mapping[str, Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: Any,
    ) -> list[Any]:
        """Run the head on a micro-batch and return one part for each window, in order.

        `hidden` holds the backbone's outputs and the attention mask. A part must not keep
        views of big arrays, and its offsets count from the start of the window.

        Several threads call this on one instance at once: keep nothing in `self`.
        """

    @abstractmethod
    def merge(self, document: Document, parts: Sequence[Part], options: Any) -> dict[str, Any]:
        """Join the parts of a document into its layers (those in `layers`, or some of them)."""

    @abstractmethod
    def score(self, gold: Sequence[Document], predicted: Sequence[Document]) -> dict[str, Any]:
        """Compare predictions with gold; holds `main_metric` as a number from 0 to 100.

        Keys that the generic report understands: "labels" (a table by label), "confusion",
        "micro", "macro", "errors" (the number of wrong items by document, for the worst list).
        """

    def calibrate(
        self, documents: Sequence[Document], parts: Sequence[Sequence[Part]]
    ) -> dict[str, Any]:
        """Return what gold teaches about reading the outputs: keys to set in `form`.

        Called by the export with the dev documents and what `infer` found in each. Temperatures
        and thresholds come from here; {} by default.
        """
        return {}

    def gold_parts(self, window: Window, document: Document) -> Any:
        """Return the part that a perfect head would give: what `check_task` sends round.

        None (the default) skips that check.
        """
        return None


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
        right += f", at least {opt.minimum:g}" if opt.minimum is not None else ""
        right += f", at most {opt.maximum:g}" if opt.maximum is not None else ""
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


class TextTask(ABC):
    """A task that a language model answers: a prompt goes in, a completion is parsed.

    The class attributes are those of `EncoderTask`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    layers: ClassVar[tuple[str, ...]]
    main_metric: ClassVar[str]
    Options: ClassVar[type[Any]] = NoOptions

    @abstractmethod
    def prompt(self, document: Document, options: Any) -> str:
        """Return the prompt for a document."""

    @abstractmethod
    def parse(self, document: Document, completion: str, options: Any) -> dict[str, Any]:
        """Return the layers that a completion holds."""

    @abstractmethod
    def pairs(self, document: Document) -> list[tuple[str, str]]:
        """Return the (prompt, completion) pairs that the gold of a document trains on."""

    @abstractmethod
    def score(self, gold: Sequence[Document], predicted: Sequence[Document]) -> dict[str, Any]:
        """Compare predictions with gold, as `EncoderTask.score`."""
