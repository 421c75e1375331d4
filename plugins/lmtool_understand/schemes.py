"""Classification schemes: what the gold says about each, and how logits become labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lmtool.documents import UNKNOWN, Document, Label
from lmtool.errors import DataError, UsageError

ONE, SEVERAL, NUMBER = "one", "several", "number"
HALF: Final = 0.5
"""The threshold of a scheme of several labels."""

Logits = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Scheme:
    """A scheme of a model: its labels, and how the logits of its head are read.

    A scheme of one label may have a class for none of them, the last of the logits. The logit of
    a number is `(number - mean) / std`.
    """

    name: str
    labels: tuple[str, ...]
    kind: str = ONE
    has_none: bool = False
    temperature: float = 1.0
    threshold: float = 0.0
    mean: float = 0.0
    std: float = 1.0

    @property
    def n_logits(self) -> int:
        """How many logits its head has."""
        return 1 if self.kind == NUMBER else len(self.labels) + self.has_none

    def probabilities(self, logits: Logits) -> Logits:
        """Return the calibrated probabilities of logits (..., n_logits), of the same shape."""
        scaled = logits.astype(np.float64) / self.temperature
        if self.kind == SEVERAL:
            several: Logits = 1 / (1 + np.exp(-np.clip(scaled, -60, 60)))
            return several
        exp: Logits = np.exp(scaled - scaled.max(-1, keepdims=True))
        softmax: Logits = exp / exp.sum(-1, keepdims=True)
        return softmax

    def read(
        self, logits: Logits, threshold: float | None = None, top: int | None = None
    ) -> list[Label]:
        """Return the labels that logits (n_logits,) stand for, the likeliest first.

        Of one label: the best, unless none is likelier or its score is below the threshold. Of
        several: all from the threshold on. `top` labels are given whatever the model's threshold;
        `threshold` is a caller's own, and holds for them too.
        """
        if self.kind == NUMBER:
            n_digits = max(4, 4 - math.floor(math.log10(self.std)))  # 4, of small numbers more
            return [Label(value=round(float(logits[0]) * self.std + self.mean, n_digits))]
        scores = self.probabilities(logits)
        least = self.threshold if threshold is None else threshold
        if top:
            n, least = top, threshold or 0.0
        elif self.kind == SEVERAL:
            n = len(self.labels)
        else:
            n = 0 if self.has_none and scores.argmax() == len(self.labels) else 1
        order = np.argsort(-scores[: len(self.labels)], kind="stable")[:n]
        return [
            Label(label=self.labels[i], score=round(float(scores[i]), 4))
            for i in order.tolist()
            if scores[i] >= least
        ]


def schemes_of(labels: Mapping[str, Sequence[str]], form: Mapping[str, Any]) -> dict[str, Scheme]:
    """Return the schemes of a model by name, from its labels and form."""
    kinds: Mapping[str, str] = form.get("kinds", {})
    temperatures: Mapping[str, float] = form.get("temperatures", {})
    thresholds: Mapping[str, float] = form.get("thresholds", {})
    ranges: Mapping[str, Mapping[str, float]] = form.get("ranges", {})
    found = {}
    for name, names in labels.items():
        kind = kinds.get(name, ONE)
        found[name] = Scheme(
            name,
            tuple(names),
            kind,
            has_none=name in form.get("none", ()),
            temperature=temperatures.get(name, 1.0),
            threshold=thresholds.get(name, HALF if kind == SEVERAL else 0.0),
            **ranges.get(name, {}),
        )
    return found


def gold_of(document: Document) -> Iterator[tuple[str, list[Label]]]:
    """Yield each scheme that a document has gold for, and its labels there."""
    yield from (document.labels or {}).items()


def collect_labels(documents: Sequence[Document]) -> dict[str, list[str]]:
    """Return the label names of each scheme, both sorted; a scheme of numbers has none.

    DataError when a scheme has numbers and labels.
    """
    names: dict[str, set[str]] = {}
    numbers: set[str] = set()
    for document in documents:
        for scheme, items in gold_of(document):
            for item in items:
                if item.value is not None:
                    numbers.add(scheme)
                elif item.label not in ("", UNKNOWN):
                    names.setdefault(scheme, set()).add(item.label)
    both = sorted(numbers & names.keys())
    if both:
        raise DataError(
            f"labels.{both[0]}: some documents have a number, others a label",
            hint="give them two schemes",
        )
    return {s: sorted(names.get(s, ())) for s in sorted(names.keys() | numbers)}


def check_labels(document: Document) -> None:
    """Raise DataError for a label of the gold with neither a name nor a value."""
    for scheme, items in gold_of(document):
        if any(item.value is None and not item.label for item in items):
            raise DataError(
                f"labels.{scheme}: a label with neither name nor value",
                hint='write {"label": "…"}, or {"value": 4.5} in a scheme of numbers',
            )


def check_kinds(form: Mapping[str, Any], labels: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError for kinds of schemes, by name, that do not fit their labels."""
    kinds = form.get("kinds", {})
    if not isinstance(kinds, Mapping):
        raise UsageError(
            f"form: kinds is {kinds!r}, no table", hint='write kinds = {SCHEME = "several"}'
        )
    for scheme in (*kinds, *form.get("none", ())):
        if scheme not in labels:
            raise UsageError(
                f"form: no scheme {scheme!r}", hint=f"the data has: {', '.join(labels)}"
            )
    for scheme, kind in kinds.items():
        fitting = (ONE, SEVERAL) if labels[scheme] else (NUMBER,)
        if kind not in fitting:
            what = f"the labels {', '.join(labels[scheme])}" if labels[scheme] else "numbers"
            raise UsageError(
                f"form: kinds.{scheme} is {kind!r}, and its gold has {what}",
                hint=f"it may be: {', '.join(fitting)}",
            )


def collect_form(documents: Sequence[Document]) -> dict[str, Any]:
    """Return what the gold says of each scheme: its kind, whether there is none, the range."""
    kinds: dict[str, str] = {}
    empty: set[str] = set()
    values: dict[str, list[float]] = {}
    for document in documents:
        for scheme, items in gold_of(document):
            values.setdefault(scheme, []).extend(i.value for i in items if i.value is not None)
            if not items:
                empty.add(scheme)
            elif len(items) > 1 or kinds.get(scheme) == SEVERAL:
                kinds[scheme] = SEVERAL
            else:
                kinds.setdefault(scheme, ONE)
    ranges = {}
    for scheme, numbers in sorted(values.items()):
        if numbers:
            kinds[scheme] = NUMBER
            ranges[scheme] = {"mean": float(np.mean(numbers)), "std": float(np.std(numbers)) or 1.0}
    return {
        "kinds": dict(sorted(kinds.items())),
        "none": sorted(scheme for scheme in empty if kinds.get(scheme) == ONE),
        "pairs": any(document.pair is not None for document in documents),
        **({"ranges": ranges} if ranges else {}),
    }


def target_of(scheme: Scheme, items: Sequence[Label]) -> NDArray[Any] | None:
    """Return what the head is to learn from the gold of a document; None when there is nothing.

    Of one label: its number, int64 (). Of several: 1, 0, or -100 where "?" says that others may
    hold, int64 (labels,). Of a number: its logit, float32 ().
    """
    if scheme.kind == NUMBER:
        value = next((item.value for item in items if item.value is not None), None)
        return None if value is None else np.array((value - scheme.mean) / scheme.std, np.float32)
    given = [item.label for item in items]
    if scheme.kind == ONE:
        if given and given[0] in scheme.labels:
            return np.array(scheme.labels.index(given[0]), np.int64)
        is_none = not given and scheme.has_none
        return np.array(len(scheme.labels), np.int64) if is_none else None
    target = np.full(len(scheme.labels), -100 if UNKNOWN in given else 0, np.int64)
    target[[scheme.labels.index(label) for label in given if label in scheme.labels]] = 1
    return target if (target >= 0).any() else None


def mean_logits(parts: Sequence[tuple[int, Mapping[str, Logits]]]) -> dict[str, Logits]:
    """Return the logits of a document by scheme: the mean over its windows, weighted by words.

    A part is the number of words and the logits by scheme. {} when there is no word.
    """
    weighted = [(n_words, logits) for n_words, logits in parts if n_words]
    if len(weighted) == 1:
        return dict(weighted[0][1])
    total = sum(n_words for n_words, _ in weighted)
    names = weighted[0][1] if weighted else ()
    return {
        name: np.sum([n_words / total * logits[name] for n_words, logits in weighted], axis=0)
        for name in names
    }


def graph_names(schemes: Sequence[str]) -> dict[str, str]:
    """Return the name of each scheme's graph: the scheme's own, without what a file cannot have."""
    found: dict[str, str] = {}
    for scheme in schemes:
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in scheme)
        taken = {name.lower() for name in found.values()}
        name, number = plain, 2
        while name.lower() in taken:
            name, number = f"{plain}-{number}", number + 1
        found[scheme] = name
    return found


def gold_logits(scheme: Scheme, items: Sequence[Label]) -> Logits:
    """Return logits that are read as these labels."""
    if scheme.kind == NUMBER:
        return np.array([((items[0].value or 0.0) - scheme.mean) / scheme.std])
    logits = np.full(scheme.n_logits, -20.0)
    given = [scheme.labels.index(item.label) for item in items if item.label in scheme.labels]
    logits[given] = 20.0
    if scheme.has_none and not items:
        logits[-1] = 20.0
    return logits
