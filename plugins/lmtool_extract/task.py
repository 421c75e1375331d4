"""The task of `lmtool extract`: named entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import lmtool
from lmtool.documents import UNKNOWN

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from lmtool.windows import Window


@dataclass(frozen=True, slots=True)
class ExtractOptions:
    """What `lmtool extract` can be told."""

    labels: Annotated[
        tuple[str, ...],
        lmtool.Opt("Only these labels, separated by commas (default: all)", values="labels"),
    ] = ()
    threshold: Annotated[
        float, lmtool.Opt("Least score of an entity that is kept", minimum=0, maximum=1)
    ] = 0.0


class ExtractTask(lmtool.EncoderTask):
    """Finds the named entities of a text."""

    name: ClassVar[str] = "extract"
    summary: ClassVar[str] = "Find persons, organisations, places and other names"
    layers: ClassVar[tuple[str, ...]] = ("entities",)
    main_metric: ClassVar[str] = "micro_f1"
    Options: ClassVar[type[Any]] = ExtractOptions

    @classmethod
    def collect_labels(cls, documents: Sequence[lmtool.Document]) -> dict[str, list[str]]:
        """Return the entity labels of the gold, sorted."""
        found = {entity.label for doc in documents for entity in doc.entities or ()}
        return {"entities": sorted(found - {UNKNOWN})}

    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Return a linear tagger."""
        from .model import TaggingHead
        from .tags import tag_names

        return TaggingHead(hidden_size, len(tag_names(self.labels["entities"])))

    def targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        """Return `allowed`, bool (tokens, tags), set on the first token of each word."""
        import numpy as np

        from .tags import allowed_tags

        labels = self.labels["entities"]
        annotated = (document.annotated or {}).get("entities", labels)
        words = allowed_tags(
            len(window.word_tokens), self._gold_spans(window, document), labels, annotated
        )
        allowed = np.zeros((len(window.ids), words.shape[1]), bool)
        allowed[window.word_tokens] = words
        return {"allowed": allowed}

    def check_options(self, options: ExtractOptions) -> None:
        """Refuse labels that this model does not have."""
        unknown = sorted(set(options.labels) - set(self.labels["entities"]))
        if unknown:
            raise lmtool.UsageError(
                f"unknown label {unknown[0]!r}",
                hint=f"this model has: {', '.join(self.labels['entities'])}",
            )

    def infer(
        self,
        graphs: Mapping[str, lmtool.Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: ExtractOptions,
    ) -> list[list[tuple[int, int, str, float]]]:
        """Return the entities of each window: start, end, label, score."""
        from .tags import spans_from_logits

        logits = graphs["head"].run(hidden)["logits"]
        best = logits.argmax(2)
        parts = []
        for row, row_best, window in zip(logits, best, windows, strict=True):
            words = window.word_tokens
            spans = spans_from_logits(row[words], row_best[words], self.labels["entities"])
            parts.append(
                [
                    (
                        int(window.word_starts[span.first]),
                        int(window.word_ends[span.last - 1]),
                        span.label,
                        round(span.score, 4),
                    )
                    for span in spans
                    if span.score >= options.threshold
                    and (not options.labels or span.label in options.labels)
                ]
            )
        return parts

    def merge(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: ExtractOptions
    ) -> dict[str, Any]:
        """Return the entities of all windows with offsets in the document, numbered from e1 on."""
        spans = [
            (part.start + start, part.start + end, label, score)
            for part in parts
            for start, end, label, score in part.value
        ]
        return {
            "entities": [
                lmtool.Entity(
                    id=f"e{number}",
                    start=start,
                    end=end,
                    text=document.text[start:end],
                    label=label,
                    score=score,
                )
                for number, (start, end, label, score) in enumerate(spans, 1)
            ]
        }

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return precision, recall and F1 of exact spans, by label, micro and macro."""
        from .scoring import score_entities

        return score_entities(gold, predicted, self.labels["entities"])

    def gold_parts(self, window: Window, document: lmtool.Document) -> Any:
        """Return what `infer` would give for the gold of this window."""
        return [
            (int(window.word_starts[first]), int(window.word_ends[last - 1]), label, 1.0)
            for first, last, label in self._gold_spans(window, document)
            if label != UNKNOWN
        ]

    def _gold_spans(self, window: Window, document: lmtool.Document) -> list[tuple[int, int, str]]:
        """Return the gold as word ranges, the longest first where spans overlap.

        Labels that this task was not built for count as outside. The words that a span touches
        without fitting them (it crosses a window, or cuts a word) are unknown.
        """
        spans: list[tuple[int, int, str]] = []
        taken: set[int] = set()
        for entity in sorted(document.entities or (), key=lambda e: e.start - e.end):
            label = entity.label
            if label != UNKNOWN and label not in self.labels["entities"]:
                continue
            words = window.words_of(entity.start, entity.end)
            if words is None:
                words, label = window.words_touched(entity.start, entity.end), UNKNOWN
            if words[0] < words[1] and not taken & set(range(*words)):
                taken |= set(range(*words))
                spans.append((*words, label))
        return sorted(spans)
