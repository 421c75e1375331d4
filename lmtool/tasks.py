"""The contract of a task: what a plugin writes so that lmtool trains, exports and runs it.

A task is a class returned by the hook `lmtool_register_tasks`. This module imports nothing
heavy; a task imports torch inside the methods that need it.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from .documents import Document
from .errors import UsageError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

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
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    layers: ClassVar[tuple[str, ...]]
    main_metric: ClassVar[str]
    Options: ClassVar[type[Any]] = NoOptions

    def __init__(self, labels: Labels) -> None:
        self.labels = {key: list(names) for key, names in labels.items()}

    @classmethod
    @abstractmethod
    def collect_labels(cls, documents: Sequence[Document]) -> dict[str, list[str]]:
        """Return the labels that the gold layers of these documents use, sorted."""

    @abstractmethod
    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Return the head.

        Its `signature` (lmtool.signature.Signature) names the inputs and outputs of `forward`,
        which takes the inputs by name and returns a dict of outputs. Inputs come from the
        backbone (`hidden`: float32 (batch, seq, hidden), `attention_mask`: int64 (batch, seq))
        or, in training, from the targets. Its `loss(outputs, targets)` returns a scalar.
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
        -100 and everything else with 0.
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

    def gold_parts(self, window: Window, document: Document) -> Any:
        """Return the part that a perfect head would give: what `check_task` sends round.

        None (the default) skips that check.
        """
        return None


def make_options(
    cls: type[Any], values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Any:
    """Return an instance of the options class; an unknown name is a UsageError, never ignored.

    `defaults` are a bundle's own defaults, below `values` and above the class's.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    for name in (*values, *(defaults or ())):
        if name not in names:
            raise UsageError(
                f"unknown option {name!r}",
                hint=f"the options are: {', '.join(names) or 'none'}",
            )
    try:
        return cls(**{**(defaults or {}), **values})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{cls.__qualname__}: {error}") from error


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
