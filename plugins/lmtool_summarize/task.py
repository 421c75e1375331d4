"""The task of `lmtool summarize`: a text in the sentences of its own that say the most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import lmtool

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from lmtool.documentmodels import DocumentModel
    from lmtool.windows import Window

FORM = {"width": 128}


@dataclass(frozen=True, slots=True)
class SummarizeOptions:
    """What `lmtool summarize` can be told."""

    sentences: Annotated[
        int | None,
        lmtool.Opt("Most sentences of the summary (default: 3, without another limit)", minimum=1),
    ] = None
    ratio: Annotated[
        float | None,
        lmtool.Opt("Most sentences, as a share of the text's", minimum=0, maximum=1),
    ] = None
    words: Annotated[
        int | None,
        lmtool.Opt("Most words; one sentence is always taken (Chinese: characters)", minimum=1),
    ] = None
    query: Annotated[str, lmtool.Opt("What the reader wants to know")] = ""
    together: Annotated[bool, lmtool.Opt("One summary of all texts, as if they were one")] = False
    diversity: Annotated[
        float,
        lmtool.Opt("How much a sentence loses for likeness to a chosen one", minimum=0, maximum=1),
    ] = 0.3
    abstractive: Annotated[
        bool, lmtool.Opt("Have the language model of --model write the summary in its own words")
    ] = False
    template: Annotated[
        str,
        lmtool.Opt("What the language model is asked, with {text} in it, and {query} where wanted"),
    ] = ""
    max_tokens: Annotated[
        int | None,
        lmtool.Opt(
            "Most tokens of what the language model writes at once (default: 256, of a small "
            "context a quarter)",
            minimum=1,
        ),
    ] = None


def no_word(query: str) -> lmtool.UsageError:
    """Return the error of a query that says nothing."""
    return lmtool.UsageError(f"query {query!r} has no word", hint="say in words what is looked for")


class Scored(NamedTuple):
    """The sentences of a window, without views of big arrays."""

    spans: list[tuple[int, int]]
    """Characters in the window."""
    scores: NDArray[Any]
    """Logits, float32 (sentences,)."""
    vectors: NDArray[Any]
    """Float16 (sentences, width)."""


class SummarizeTask(lmtool.EncoderTask):
    """Scores the sentences of a text, and takes the best that do not repeat each other.

    Gold is the layer `summary` with the spans of its sentences; where it has a text alone, the
    sentences nearest to it are learnt. `form` holds the "width" of the head and, of a model that
    was asked a query, its "vector".
    """

    name: ClassVar[str] = "summarize"
    summary: ClassVar[str] = "Summarize texts of any length"
    layers: ClassVar[tuple[str, ...]] = ("summary",)
    main_metric: ClassVar[str] = "rouge1"
    Options: ClassVar[type[Any]] = SummarizeOptions
    is_default: ClassVar[bool] = False
    whole_files: ClassVar[bool] = True

    @classmethod
    def collect_labels(cls, documents: Sequence[lmtool.Document]) -> dict[str, list[str]]:
        """Return no labels: there are none."""
        return {}

    @classmethod
    def collect_form(cls, documents: Sequence[lmtool.Document]) -> dict[str, Any]:
        """Return the default width; a user's own goes before it."""
        return dict(FORM)

    @classmethod
    def open(
        cls,
        ref: str | Path | None,
        options: SummarizeOptions,
        *,
        device: str = "auto",
        threads: int = 0,
        batch_tokens: int = 1024,
    ) -> DocumentModel | None:
        """Return a model on the language model `ref` where it is to write the summary."""
        cls({}).check_options(options)
        if not options.abstractive:
            from lmtool.models import is_language

            if ref is not None and is_language(ref, None):
                raise lmtool.UsageError(
                    f"{ref}: a language model, which has no sentences to choose",
                    hint="have it write the summary: --abstractive",
                )
            return None
        from .abstractive import load_abstractive

        return load_abstractive(ref, options, device=device, threads=threads)

    @classmethod
    def on_model(cls, model: lmtool.Model, options: SummarizeOptions) -> lmtool.Model:
        """Return a model with smaller batches, that knows the vector of the query if there is one.

        The windows of books are long, and the attention of a batch of them is large. Batches of
        half the size are as fast on a CPU (docs/graphs.md).
        """
        task = cls(model.labels, model.task.form)
        model = model.with_task(task, options)
        model.batch_tokens = max(model.batch_tokens // 2, 1)
        if not options.query:
            return model
        from .choosing import mean_vector

        plain = model.with_task(cls(model.labels, model.task.form), replace(options, query=""))
        (parts,) = plain.parts([lmtool.Document(text=options.query)])
        vector = mean_vector(parts)
        if vector is None:
            raise no_word(options.query)
        task.form["vector"] = vector
        return model

    def check_options(self, options: SummarizeOptions) -> None:
        """Refuse options that mean nothing together, and a query without words."""
        from .words import words_of

        if options.query and not words_of(options.query):
            raise no_word(options.query)
        if options.abstractive:
            for name in ("ratio", "diversity"):
                if getattr(options, name) != getattr(SummarizeOptions(), name):
                    raise lmtool.UsageError(
                        f"--{name} with --abstractive: it chooses among the text's own sentences",
                        hint="say --sentences or --words",
                    )
        elif options.template or options.max_tokens:
            raise lmtool.UsageError(
                "--template and --max-tokens are for a language model that writes the summary",
                hint="say --abstractive --model NAME",
            )

    def joins(self, options: SummarizeOptions) -> bool:
        """Whether one summary of all inputs is wanted."""
        return options.together

    def given_layers(self, options: SummarizeOptions) -> tuple[str, ...]:
        """Return the text: a sentence's score depends on its place in the document."""
        return ("text",)

    def blank(self, document: lmtool.Document, options: SummarizeOptions) -> lmtool.Document:
        """Return a document without its summary."""
        return document.without_layers(self.layers)

    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Return the scorer of sentences."""
        from .model import SentenceHead

        return SentenceHead(hidden_size, self._width)

    @property
    def _width(self) -> int:
        width = self.form.get("width", FORM["width"])
        if not isinstance(width, int) or width < 1:
            raise lmtool.UsageError(f"form: width is {width!r}, not a whole number above 0")
        return width

    def example_inputs(self, hidden: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return sentences of 3 tokens and places for 5."""
        import torch

        rows, tokens, _ = hidden["hidden"].shape
        return {
            "sentence_of": (torch.arange(tokens) // 3).repeat(rows, 1),
            "positions": torch.arange(5).repeat(rows, 1),
        }

    def targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        """Return the sentences, their places, and which are gold; {} without a gold summary."""
        from .sentences import gold_of, positions_of, sentences_of

        if document.summary is None:
            return {}
        spans, sentence_of = sentences_of(window)
        return {
            "sentence_of": sentence_of,
            "positions": positions_of(window, spans, len(document.text)),
            "gold": gold_of(window, spans, document),
        }

    def infer(
        self,
        graphs: Mapping[str, lmtool.Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: SummarizeOptions,
    ) -> list[Scored]:
        """Return the sentences of each window with their scores and vectors."""
        import numpy as np

        from .sentences import positions_of, sentences_of

        found = [sentences_of(window) for window in windows]
        most = max(1, *(len(sentences.spans) for sentences in found))
        sentence_of = np.full(hidden["hidden"].shape[:2], -100)
        positions = np.full((len(windows), most), -100)
        for row, (window, (spans, numbers)) in enumerate(zip(windows, found, strict=True)):
            sentence_of[row, : len(numbers)] = numbers
            length = len(window.document.text) if window.document else len(window.text)
            positions[row, : len(spans)] = positions_of(window, spans, length)
        feeds = {**hidden, "sentence_of": sentence_of, "positions": positions}
        outputs = graphs["head"].run(feeds)
        parts = []
        for row, (spans, _) in enumerate(found):
            logits = outputs["logits"][row, : len(spans)].copy()
            vectors = outputs["vectors"][row, : len(spans)].astype(np.float16)
            parts.append(Scored(spans, logits, vectors))
        return parts

    def merge(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: SummarizeOptions
    ) -> dict[str, Any]:
        """Return the best sentences of all windows in the order of the text."""
        from .choosing import summary_of

        vector = self.form.get("vector")
        return {"summary": summary_of(document.text, parts, options, vector)}

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return ROUGE-1, 2 and L in percent; see `score_summaries`."""
        from .scoring import score_summaries

        return score_summaries(gold, predicted)
