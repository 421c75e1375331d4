"""The task of `lmtool understand`: classes of whole texts, and of pairs of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import lmtool

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from lmtool.windows import Window

    from .schemes import Scheme


@dataclass(frozen=True, slots=True)
class UnderstandOptions:
    """What `lmtool understand` can be told."""

    scheme: Annotated[
        tuple[str, ...],
        lmtool.Opt("Only these schemes, separated by commas (default: all)", values="schemes"),
    ] = ()
    threshold: Annotated[
        float | None,
        lmtool.Opt("Least score of a label (default: the model's own)", minimum=0, maximum=1),
    ] = None
    candidates: Annotated[
        tuple[str, ...],
        lmtool.Opt(
            "Choose among these labels, without training, by an embed model", values="candidates"
        ),
    ] = ()
    top: Annotated[
        int | None,
        lmtool.Opt("Give the N likeliest labels of each scheme with scores", minimum=1),
    ] = None


class UnderstandTask(lmtool.EncoderTask):
    """Says to which classes a text belongs, in several schemes at once.

    `labels` maps each scheme to its label names. `form` holds "kinds" (each scheme's: "one",
    "several" or "number"), "none" (schemes in which a text may belong to no class), "pairs"
    (whether documents have a `pair`), "ranges" (mean and std of numbers) and, from `calibrate`,
    "temperatures", "thresholds" and "calibration".
    """

    name: ClassVar[str] = "understand"
    summary: ClassVar[str] = "Say what a text is: sentiment, topic, intent, your own classes"
    layers: ClassVar[tuple[str, ...]] = ("labels",)
    main_metric: ClassVar[str] = "mean"
    Options: ClassVar[type[Any]] = UnderstandOptions
    form_keys: ClassVar[tuple[str, ...]] = (
        "kinds", "none", "pairs", "ranges", "temperatures", "thresholds",
    )  # fmt: skip

    @classmethod
    def collect_labels(cls, documents: Sequence[lmtool.Document]) -> dict[str, list[str]]:
        """Return the labels of each scheme of the gold, sorted."""
        from .schemes import collect_labels

        return collect_labels(documents)

    @classmethod
    def collect_form(cls, documents: Sequence[lmtool.Document]) -> dict[str, Any]:
        """Return the kind of each scheme, which have texts of no class, and whether pairs come."""
        from .schemes import collect_form

        return collect_form(documents)

    @classmethod
    def check_gold(cls, document: lmtool.Document) -> None:
        """Refuse a label that says nothing."""
        from .schemes import check_labels

        check_labels(document)

    def check_form(self, form: Mapping[str, Any]) -> None:
        """Refuse kinds that there are not or that the labels are not of, and unknown schemes."""
        from .schemes import check_kinds

        check_kinds(form, self.labels)

    @classmethod
    def labels_of(cls, labels: dict[str, list[str]], layers: Sequence[str]) -> dict[str, list[str]]:
        """Return the schemes of these names; all for the layer `labels` itself."""
        has_all = "labels" in layers
        return {scheme: names for scheme, names in labels.items() if has_all or scheme in layers}

    def has_gold(self, document: lmtool.Document) -> bool:
        """Whether a document has gold in a scheme of this model."""
        return bool(self.labels.keys() & (document.labels or {}).keys())

    @property
    def reads_pairs(self) -> bool:
        """Whether it was trained on pairs of texts."""
        return bool(self.form.get("pairs"))

    @property
    def schemes(self) -> dict[str, Scheme]:
        """The schemes by name."""
        from .schemes import schemes_of

        return schemes_of(self.labels, self.form)

    @classmethod
    def model_task(cls, options: UnderstandOptions) -> str:
        """Return "embed" where candidates are given: they are compared with the text."""
        return "embed" if options.candidates else cls.name

    @classmethod
    def on_model(cls, model: lmtool.Model, options: UnderstandOptions) -> lmtool.Model:
        """Return a model that chooses among the candidates, where there are, by an embed model."""
        if not options.candidates:
            return model
        from .candidates import candidates_model

        return candidates_model(model, options)

    @property
    def parts(self) -> tuple[str, ...]:
        """All schemes together as "labels", and each."""
        return ("labels", *self.labels)

    def limit(self, options: UnderstandOptions, parts: Sequence[str]) -> UnderstandOptions:
        """Return options for these schemes alone."""
        schemes = () if "labels" in parts else tuple(parts)
        return replace(options, scheme=schemes)

    def narrowed(self, options: UnderstandOptions) -> UnderstandTask:
        """Return the task of the schemes that are asked for."""
        labels = self.labels_of(self.labels, options.scheme) if options.scheme else self.labels
        return type(self)(labels, self.form)

    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Return a small head for each scheme."""
        from .model import SchemesHead

        return SchemesHead(hidden_size, list(self.schemes.values()))

    def graphs(self, head: torch.nn.Module) -> dict[str, torch.nn.Module]:
        """Return a graph for each scheme, so that only those that are wanted run."""
        from .schemes import graph_names

        heads: Any = head.heads
        return dict(zip(graph_names(list(self.labels)).values(), heads, strict=True))

    def targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        """Return the gold of each scheme that the document has, under "labels.SCHEME"."""
        from .model import target_name
        from .schemes import gold_of, target_of

        schemes = self.schemes
        found = {}
        for name, items in gold_of(document):
            if name in schemes and (target := target_of(schemes[name], items)) is not None:
                found[target_name(name)] = target
        return dict(sorted(found.items()))

    def check_options(self, options: UnderstandOptions) -> None:
        """Refuse schemes that this model does not have, and candidates."""
        if options.candidates:
            raise lmtool.UsageError(
                "candidates are compared with the text by vectors, which this model for "
                "'understand' does not make",
                hint="use a model for 'embed', as base-en; lmtool understand --candidates "
                "takes one by itself when --model is left out",
            )
        unknown = sorted(set(options.scheme) - self.labels.keys())
        if unknown:
            from lmtool.choice import heads

            able = (
                name for name, _, h in heads() if h.task == self.name and unknown[0] in h.labels
            )
            other = next(able, None)
            wanted = ",".join(options.scheme)
            more = (
                f"; {other} has it: lmtool annotate --layers {wanted} takes both" if other else ""
            )
            raise lmtool.UsageError(
                f"unknown scheme {unknown[0]!r}",
                hint=f"this model has: {', '.join(self.labels)}{more}",
            )

    def infer(
        self,
        graphs: Mapping[str, lmtool.Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: UnderstandOptions,
    ) -> list[tuple[int, dict[str, NDArray[Any]]]]:
        """Return of each window the number of words and the logits of the wanted schemes."""
        from .schemes import graph_names

        names = graph_names(list(self.labels))
        logits = {
            scheme: graphs[names[scheme]].run(hidden)["logits"]
            for scheme in self.labels
            if not options.scheme or scheme in options.scheme
        }
        return [
            (len(window.word_tokens), {name: rows[i].copy() for name, rows in logits.items()})
            for i, window in enumerate(windows)
        ]

    def merge(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: UnderstandOptions
    ) -> dict[str, Any]:
        """Return the labels of the schemes that were run, beside those that the document has.

        A text without words has no label; nor have two of which one is without.
        """
        from .schemes import mean_logits
        from .words import has_words

        values = [part.value for part in parts]
        texts = [document.text, document.pair or ""] if self.reads_pairs else [document.text]
        logits = mean_logits(values) if all(map(has_words, texts)) else {}
        schemes = self.schemes
        found: dict[str, list[lmtool.Label]] = {
            name: schemes[name].read(logits[name], options.threshold, options.top)
            if name in logits
            else []
            for name in values[0][1]
        }
        return {"labels": {**(document.labels or {}), **found}}

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return the scores of each scheme, and their mean: accuracy, F1 or correlation."""
        from .scoring import score_schemes

        return score_schemes(gold, predicted, self.schemes)

    def calibrate(
        self, documents: Sequence[lmtool.Document], parts: Sequence[Sequence[lmtool.Part]]
    ) -> dict[str, Any]:
        """Return temperatures and thresholds, and the calibration error with and without them."""
        from .calibration import calibrate

        return calibrate(documents, [[part.value for part in of] for of in parts], self.schemes)

    def gold_parts(self, window: Window, document: lmtool.Document) -> Any:
        """Return what `infer` would give for the gold of this document."""
        from .schemes import gold_logits, gold_of

        schemes = self.schemes
        known = {n: items for n, items in gold_of(document) if n in schemes}
        logits = {n: gold_logits(schemes[n], items) for n, items in known.items()}
        return len(window.word_tokens), logits
