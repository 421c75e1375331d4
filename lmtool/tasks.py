"""The contract of a task: what a plugin writes so that lmtool trains, exports and runs it.

A task is a class returned by the hook `lmtool_register_tasks`. This module imports nothing
heavy; a task imports torch inside the methods that need it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from .documents import Document
from .errors import UsageError
from .options import NoOptions as NoOptions
from .options import Opt as Opt
from .options import make_options as make_options
from .options import split_hint as split_hint

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from .documentmodels import DocumentModel
    from .language import Completion, Message
    from .models import Model
    from .signature import Signature
    from .windows import Window

Labels = Mapping[str, Sequence[str]]
"""The class names of a task, by layer or scheme: {"entities": ["LOC", "ORG", "PER"]}."""


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
    form_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of `form` that a training file may set, beside those that `collect_form` gives; others
    are errors. "a.b" is the key b of the table a."""
    whole_files: ClassVar[bool] = False
    """Whether its command reads a text file as one document where nobody says how."""
    gives_text: ClassVar[bool] = False
    """Whether what it gives is a text: an output that ends in .txt holds it alone, not the view."""

    def __init__(self, labels: Labels, form: Mapping[str, Any] | None = None) -> None:
        self.labels = {key: list(names) for key, names in labels.items()}
        self.form = dict(form or {})

    @classmethod
    @abstractmethod
    def collect_labels(cls, documents: Sequence[Document]) -> dict[str, list[str]]:
        """Return the labels that the gold layers of these documents use, sorted.

        UsageError, whatever the documents, from a task that has no head of its own to train.
        """

    @classmethod
    def collect_form(cls, documents: Sequence[Document]) -> dict[str, Any]:
        """Return what else than labels the gold decides about the head, as JSON; {} by default."""
        return {}

    @classmethod  # noqa: B027
    def check_gold(cls, document: Document) -> None:
        """Raise DataError for gold that cannot be learnt from; nothing by default.

        Called for each record of training data, so that the error is named with its place.
        """

    def check_form(self, form: Mapping[str, Any]) -> None:  # noqa: B027
        """Raise UsageError for what a training file sets in `form`, where it does not fit.

        Nothing by default. The labels are those of the training data, the keys known ones.
        """

    @classmethod
    def labels_of(cls, labels: dict[str, list[str]], layers: Sequence[str]) -> dict[str, list[str]]:
        """Return the labels that belong to these layers: the keys of these names by default."""
        return {key: names for key, names in labels.items() if key in layers}

    @classmethod
    def open(
        cls,
        ref: str | Path | None,
        options: Any,
        *,
        device: str = "auto",
        threads: int = 0,
        batch_tokens: int = 1024,
    ) -> DocumentModel | None:
        """Return a model of the task's own making for these options; None, the default, for none.

        For options that need no head of this task: what is found by its form alone, or what a
        language model is asked for. `ref` is the model that somebody named, if any.
        """
        return None

    @classmethod
    def model_task(cls, options: Any) -> str:
        """Return the name of the task whose models serve these options; its own by default."""
        return cls.name

    @classmethod
    def on_model(cls, model: Model, options: Any) -> Model:
        """Return the model that these options need; the same model by default.

        It is one of `model_task`, which is made into one of this task where that is another. A task
        whose options bring a text that the model must read first does that here.
        """
        return model

    @property
    def parts(self) -> tuple[str, ...]:
        """What this model can be asked for by name: its layers, or schemes and parts of them."""
        return self.layers

    def limit(self, options: Any, parts: Sequence[str]) -> Any:
        """Return options that find only these of its `parts`; the same options by default."""
        return options

    def narrowed(self, options: Any) -> EncoderTask:
        """Return the task that scores what these options find; itself by default.

        Where they leave out some of its labels for good, as layers that are not asked for, that is
        a task of the others alone: what nobody looked for is not missed.
        """
        return self

    def has_gold(self, document: Document) -> bool:
        """Whether a document has gold that this task learns from and is measured on.

        By default, whether it has one of the task's layers.
        """
        return any(document.layer(layer) is not None for layer in self.layers)

    @property
    def reads_pairs(self) -> bool:
        """Whether it reads a document's `pair` behind its text; false by default."""
        return False

    def joins(self, options: Any) -> bool:
        """Whether all inputs of a run are read as one document; false by default."""
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


class TextTask(ABC):
    """A task that a language model answers: a prompt goes in, completions are parsed.

    One instance serves one model. Class attributes: `name`, `summary`, `layers`, `main_metric`,
    `Options` as those of `EncoderTask`, and `command`.

    `form` is what the training data decided about prompts and answers, a JSON object saved with
    the model. lmtool reads the key "stop" (texts that end a completion), and sets "chat" where
    the data did not: whether prompts are best asked through the model's chat template.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    layers: ClassVar[tuple[str, ...]]
    main_metric: ClassVar[str]
    Options: ClassVar[type[Any]] = NoOptions
    command: ClassVar[Literal["files", "prompt", "dialogue"]] = "files"
    """What its command takes: FILES or --text; or a PROMPT, or --from FILES; or a dialogue with
    the user, or --from FILES."""
    is_streamed: ClassVar[bool] = False
    """Whether completions themselves answer --text, and are shown as they come; those of a command
    that takes a prompt are."""
    takes_choices: ClassVar[bool] = False
    """Whether `parse` makes something of several completions."""
    form_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of `form` that a training file may set, beside "stop" and "chat"; others are errors. A
    "prompt" among them must have {text} in it."""
    growth: ClassVar[float] = 0.0
    """How many tokens an answer has for each token of the text, where it grows with it."""
    gives_text: ClassVar[bool] = False
    """Whether what it gives is a text: an output that ends in .txt holds it alone, not the view."""

    def __init__(self, form: Mapping[str, Any] | None = None) -> None:
        self.form = dict(form or {})

    @classmethod
    def collect_form(cls, documents: Sequence[Document]) -> dict[str, Any]:
        """Return what the gold decides about prompts and answers, as JSON; {} by default."""
        return {}

    def check_options(self, options: Any) -> None:  # noqa: B027
        """Raise UsageError for options that do not fit this model; nothing by default."""

    @abstractmethod
    def prompt(self, document: Document, options: Any) -> str | Sequence[Message] | None:
        """Return what the model is asked about a document, or a window of it.

        A text is continued as it is. Messages go through the model's chat template. None asks
        nothing: `parse` then gets no completion. DataError for a document that cannot be asked.
        """

    @abstractmethod
    def parse(
        self, document: Document, completions: Sequence[Completion], options: Any
    ) -> dict[str, Any]:
        """Return the layers that the answer holds: one completion, or several where asked for.

        Models write anything: DataError where it cannot be read.
        """

    @abstractmethod
    def pairs(self, document: Document) -> list[tuple[str | Sequence[Message], str]]:
        """Return the (prompt, completion) pairs that the gold of a document trains on.

        The prompts are those of `prompt`. An empty one stands before a text that is learnt
        as a whole.
        """

    @abstractmethod
    def score(self, gold: Sequence[Document], predicted: Sequence[Document]) -> dict[str, Any]:
        """Compare predictions with gold, as `EncoderTask.score`."""

    def has_gold(self, document: Document) -> bool:
        """Whether a document has gold that this task is measured on: one of its layers."""
        return any(document.layer(layer) is not None for layer in self.layers)

    def blank(self, document: Document, options: Any) -> Document:
        """Return a gold document without what is to be found: what evaluation starts from."""
        return document.without_layers(self.layers)

    def unit(self, options: Any) -> Literal["text", "sentence", "window"]:
        """Return what is asked at once: the whole text, each sentence, or as many as fit.

        Where it is the text, one that does not fit is an error, unless windows are asked for.
        """
        return "text"

    def join(self, document: Document, parts: Sequence[Part], options: Any) -> dict[str, Any]:
        """Return the layers of a text from those of its windows, which partition it, in order.

        UsageError by default: the task makes nothing of several windows.
        """
        raise UsageError(
            f"{self.name}: what is found in parts of a text cannot be joined",
            hint="give shorter texts, or take a model with a longer context",
        )

    def between(self, document: Document, start: int, end: int, options: Any) -> str:
        """Return what stands between the answers to two windows of a text; a line end by default.

        The words of the first end at the character `start`, those of the second begin at `end`.
        """
        return "\n"

    def shorter(self, document: Document, options: Any) -> Document | None:
        """Return a document that asks the same with less before it, to make a prompt fit.

        None, the default, where nothing can be left out. What is left out shows in `coverage`.
        """
        return None

    def language(self, document: Document, options: Any) -> str:
        """Return the language whose sentences are looked for: the record's, else English."""
        said = document.fields.get("language")
        return said if isinstance(said, str) and said else "en"

    def n_characters(self, document: Document) -> int:
        """Return how many characters of a document the model is to read: those of its text."""
        return len(document.text)

    def n_read(self, document: Document, options: Any) -> int:
        """Return how many of these characters `prompt` shows the model: all of them by default."""
        return self.n_characters(document)
