"""Measures that tasks share: precision, recall and F1 from counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def precision_recall_f1(
    right: Mapping[str, int],
    n_gold: Mapping[str, int],
    n_predicted: Mapping[str, int],
    labels: Sequence[str],
) -> dict[str, Any]:
    """Return a report from the counts of each label; all figures run from 0 to 100.

    Keys: "labels" (a row by label: precision, recall, f1, support), "micro" (over all items),
    "macro" (the mean over labels that the gold has), and "micro_f1", "macro_f1".
    """
    rows = {
        label: _row(right.get(label, 0), n_gold.get(label, 0), n_predicted.get(label, 0))
        for label in labels
    }
    micro = _row(*(sum(c.get(label, 0) for label in labels) for c in (right, n_gold, n_predicted)))
    with_gold = [row for row in rows.values() if row["support"]]
    macro = {
        key: round(sum(row[key] for row in with_gold) / max(len(with_gold), 1), 2)
        for key in ("precision", "recall", "f1")
    }
    macro["support"] = micro["support"]
    return {
        "labels": rows,
        "micro": micro,
        "macro": macro,
        "micro_f1": micro["f1"],
        "macro_f1": macro["f1"],
    }


def _row(right: int, n_gold: int, n_predicted: int) -> dict[str, float]:
    precision = 100 * right / n_predicted if n_predicted else 0.0
    recall = 100 * right / n_gold if n_gold else 0.0
    f1 = 200 * right / (n_gold + n_predicted) if n_gold + n_predicted else 0.0
    return {
        "precision": round(precision, 2),
        "recall": round(recall, 2),
        "f1": round(f1, 2),
        "support": n_gold,
    }
