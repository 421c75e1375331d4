"""Scores of classes: by scheme, and their mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from lmtool.documents import UNKNOWN, Document, Label
from lmtool.scoring import precision_recall_f1

from .calibration import calibration_error
from .schemes import NUMBER, ONE, Scheme

MOST_LABELS: Final = 30
"""A confusion of more is not readable."""
NONE = "(none)"

Pair = tuple[list[Label], list[Label]]


def score_schemes(
    gold: Sequence[Document], predicted: Sequence[Document], schemes: Mapping[str, Scheme]
) -> dict[str, Any]:
    """Return the main metric "mean", "schemes" with the scores of each, and what reports show.

    "mean" is the mean over schemes of the accuracy, for several labels the micro-F1, for numbers
    100 times Pearson's correlation. Scored are the documents whose gold has the scheme.
    """
    found: dict[str, dict[str, Any]] = {}
    errors = np.zeros(len(gold), int)
    rows: dict[str, Any] = {}
    for name, scheme in schemes.items():
        pairs: list[Pair] = []
        places: list[int] = []
        for place, (one, other) in enumerate(zip(gold, predicted, strict=True)):
            wanted = (one.labels or {}).get(name)
            if wanted is not None and not _is_unknown(scheme, wanted):
                pairs.append((wanted, (other.labels or {}).get(name, [])))
                places.append(place)
        if pairs:
            is_number = scheme.kind == NUMBER
            found[name] = score_numbers(pairs) if is_number else score_labels(pairs, scheme)
            errors[places] += np.array(found[name].pop("errors"), int)
            table = found[name].get("labels", {})
            rows |= {f"{name}: {label}": row for label, row in table.items()}
    means = [report[report["metric"]] for report in found.values()]
    report: dict[str, Any] = {
        "mean": round(sum(means) / max(len(means), 1), 2),
        **_figures(found),
        "schemes": found,
        "errors": errors.tolist(),
    }
    if rows:
        report["labels"] = rows
    if len(found) == 1:
        report |= {k: v for k, v in next(iter(found.values())).items() if k in _SHARED}
    return report


_SHARED = ("labels", "micro", "macro", "confusion")
"""What the generic report shows of the only scheme."""


def score_labels(pairs: Sequence[Pair], scheme: Scheme) -> dict[str, Any]:
    """Return the scores of one scheme of labels; `pairs` are gold and predicted labels.

    "accuracy" counts documents whose labels are all right, none where there is none. "ece" is
    the `calibration_error` of the scores of the labels given. Where some gold has no label,
    "in_scope_accuracy" leaves these documents out, and "oos_recall", "oos_precision" and "oos_f1"
    say how well they are told from the others.
    """
    right: Counter[str] = Counter()
    n_gold: Counter[str] = Counter()
    n_predicted: Counter[str] = Counter()
    confusion: Counter[tuple[str, str]] = Counter()
    confidences, are_right, exact = [], [], []
    for gold, predicted in pairs:
        wanted = {label.label for label in gold} - {UNKNOWN}
        is_open = any(label.label == UNKNOWN for label in gold)
        given = {p.label: p.score for p in predicted if not is_open or p.label in wanted}
        right.update(wanted & given.keys())
        n_gold.update(wanted)
        n_predicted.update(given.keys())
        exact.append(wanted == given.keys())
        for label, score in given.items():
            if score is not None:
                confidences.append(score)
                are_right.append(label in wanted)
        confusion[min(wanted, default=NONE), next(iter(given), NONE)] += 1
    every = [*scheme.labels, *sorted(n_gold.keys() - set(scheme.labels))]
    report = precision_recall_f1(right, n_gold, n_predicted, every)
    report["accuracy"] = _percent(exact)
    report["metric"] = "accuracy" if scheme.kind == ONE else "micro_f1"
    report["ece"] = calibration_error(np.array(confidences), np.array(are_right))
    report["documents"] = len(pairs)
    report["errors"] = [not is_exact for is_exact in exact]
    if scheme.kind == ONE:
        report |= _scope(pairs, exact)
        names = [*every, NONE]
        if len(every) <= MOST_LABELS:
            counts = [[confusion[row, column] for column in names] for row in names]
            report["confusion"] = {"labels": names, "counts": counts}
    return report


def score_numbers(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return mean squared error and correlations (times 100) of numbers.

    A document without a prediction counts with the mean of the gold.
    """
    gold = np.array([next(i.value for i in wanted if i.value is not None) for wanted, _ in pairs])
    values = [next((i.value for i in given), None) for _, given in pairs]
    predicted = np.array([gold.mean() if value is None else value for value in values], float)
    pearson = correlation(gold, predicted)
    is_missing = np.array([value is None for value in values])
    return {
        "mse": round(float(np.square(gold - predicted).mean()), 4),
        "pearson": pearson,
        "spearman": correlation(ranks(gold), ranks(predicted)),
        "metric": "correlation",
        "correlation": max(pearson, 0.0) if not is_missing.all() else 0.0,
        "documents": len(pairs),
        "errors": (is_missing | (np.abs(gold - predicted) > gold.std())).tolist(),
    }


def correlation(first: Any, second: Any) -> float:
    """Return 100 times Pearson's correlation; of constant numbers 100 when they are equal."""
    if np.allclose(first, second, 0, 1e-9):
        return 100.0
    a, b = first - first.mean(), second - second.mean()
    length = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return round(100 * float(a @ b) / length, 2) if length > 1e-12 else 0.0


def ranks(values: Any) -> Any:
    """Return the rank of each number, the mean rank where some are equal."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]


def _is_unknown(scheme: Scheme, gold: Sequence[Label]) -> bool:
    """Whether the gold of a document says nothing that can be scored."""
    if scheme.kind == NUMBER:
        return all(label.value is None for label in gold)
    is_open = any(label.label == UNKNOWN for label in gold)
    return is_open and (scheme.kind == ONE or len(gold) == 1)


def _scope(pairs: Sequence[Pair], exact: Sequence[bool]) -> dict[str, float]:
    """Return how well documents without a label are told from others, where there are some."""
    is_out = [not gold for gold, _ in pairs]
    if not any(is_out):
        return {}
    said_out = [not predicted for _, predicted in pairs]
    both = [gold and said for gold, said in zip(is_out, said_out, strict=True)]
    row = precision_recall_f1(
        {NONE: sum(both)}, {NONE: sum(is_out)}, {NONE: sum(said_out)}, [NONE]
    )["micro"]
    in_scope = [is_right for is_right, out in zip(exact, is_out, strict=True) if not out]
    return {
        "in_scope_accuracy": _percent(in_scope),
        "oos_precision": row["precision"],
        "oos_recall": row["recall"],
        "oos_f1": row["f1"],
    }


_FIGURES = (
    "accuracy", "macro_f1", "micro_f1", "in_scope_accuracy", "oos_recall", "oos_precision",
    "mse", "pearson", "spearman", "ece",
)  # fmt: skip


def _figures(schemes: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the figures of all schemes in one flat table."""
    return {
        f"{scheme} {name}": report[name]
        for scheme, report in schemes.items()
        for name in _FIGURES
        if name in report
    }


def _percent(flags: Sequence[bool]) -> float:
    return round(100 * sum(flags) / max(len(flags), 1), 2)
