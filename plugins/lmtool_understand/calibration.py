"""Calibration: probabilities that say how often a label is right, fitted on dev documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lmtool.documents import Document

from .schemes import NUMBER, ONE, Logits, Scheme, mean_logits, target_of

N_BINS: Final = 15
LEAST_DOCUMENTS: Final = 20
"""Fewer say too little: the scheme is left as it is."""
_RANGE = (math.log(0.1), math.log(10.0))

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def calibrate(
    documents: Sequence[Document],
    parts: Sequence[Sequence[tuple[int, Mapping[str, Logits]]]],
    schemes: Mapping[str, Scheme],
) -> dict[str, Any]:
    """Return "temperatures", "thresholds" and, by scheme, the "calibration" error.

    `parts` are the words and logits of each document's windows. The temperature minimises the
    negative log likelihood of the gold (Guo et al. 2017). The threshold of a scheme in which a
    text may have no label is `best_threshold`'s. Errors are `calibration_error`s of the likeliest
    class (of several labels: of each), with a temperature of 1 "before" and fitted "after".
    """
    logits = [mean_logits(of) for of in parts]
    temperatures: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    errors: dict[str, dict[str, float]] = {}
    for name, scheme in schemes.items():
        rows, targets = _examples(scheme, documents, logits)
        if scheme.kind == NUMBER or len(rows) < LEAST_DOCUMENTS:
            continue
        plain = replace(scheme, temperature=1.0)
        fitted = replace(scheme, temperature=best_temperature(plain, rows, targets))
        temperatures[name] = fitted.temperature
        if scheme.has_none:
            thresholds[name] = _threshold(fitted, rows, targets)
        errors[name] = {
            "documents": len(rows),
            "ece_before": calibration_error(*_confidences(plain, rows, targets)),
            "ece_after": calibration_error(*_confidences(fitted, rows, targets)),
        }
    return {"temperatures": temperatures, "thresholds": thresholds, "calibration": errors}


def calibration_error(confidences: Floats, is_right: Bools) -> float:
    """Return the expected calibration error, from 0 to 100.

    Confidences (n,) fall into 15 bins of equal width; it is the mean over all of the distance
    between the share that is right in a bin and the mean confidence there (Naeini et al. 2015).
    """
    if not len(confidences):
        return 0.0
    bins = np.clip(np.ceil(confidences * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    gaps = np.bincount(bins, is_right.astype(float) - confidences, N_BINS)
    return round(100 * float(np.abs(gaps).sum()) / len(confidences), 2)


def best_temperature(scheme: Scheme, rows: Logits, targets: NDArray[np.int64]) -> float:
    """Return the temperature, from 0.1 to 10, that makes the gold likeliest.

    rows (documents, n_logits); targets as `target_of` gives them, stacked.
    """

    def loss(log_temperature: float) -> float:
        scores = replace(scheme, temperature=math.exp(log_temperature)).probabilities(rows)
        if scheme.kind == ONE:
            likelihoods = np.take_along_axis(scores, targets[:, None], 1)
        else:
            likelihoods = np.where(targets == 1, scores, 1 - scores)[targets >= 0]
        return -float(np.log(np.maximum(likelihoods, 1e-12)).mean())

    return round(math.exp(golden_section(loss, *_RANGE)), 4)


def golden_section(loss: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one minimum between low and high has it (Kiefer 1953)."""
    ratio = (math.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = loss(a), loss(b)
    while high - low > 1e-4:
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = loss(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = loss(b)
    return (low + high) / 2


def best_threshold(confidences: Floats, is_right: Bools, is_none: Bools) -> float:
    """Return the score below which a label is not given: the one with most documents right.

    Of each document that would get a label: its score, whether the label is right, and whether
    the gold has none. The lowest of equally good thresholds, half-way between two scores.
    """
    order = np.argsort(confidences, kind="stable")
    gains = is_none[order].astype(int) - is_right[order].astype(int)  # of leaving it out
    totals = np.concatenate(([0], np.cumsum(gains)))
    n_left_out = int(totals.argmax())
    if not n_left_out:
        return 0.0
    last = confidences[order[n_left_out - 1]]
    following = confidences[order[n_left_out]] if n_left_out < len(order) else 1.0
    return round(float(last + following) / 2, 4)


def _examples(
    scheme: Scheme, documents: Sequence[Document], logits: Sequence[Mapping[str, Logits]]
) -> tuple[Logits, NDArray[np.int64]]:
    """Return the logits (n, n_logits) and targets (n, …) of the documents with known gold."""
    rows, targets = [], []
    for document, found in zip(documents, logits, strict=True):
        gold = (document.labels or {}).get(scheme.name)
        target = None if gold is None else target_of(scheme, gold)
        if target is not None and scheme.name in found:
            rows.append(found[scheme.name])
            targets.append(target)
    if not rows:
        return np.zeros((0, scheme.n_logits)), np.zeros(0, np.int64)
    return np.stack(rows), np.stack(targets)


def _confidences(scheme: Scheme, rows: Logits, targets: NDArray[np.int64]) -> tuple[Floats, Bools]:
    """Return the confidence of each decision and whether it is right."""
    scores = scheme.probabilities(rows)
    if scheme.kind == ONE:
        return scores.max(1), scores.argmax(1) == targets
    known = targets >= 0
    is_given = scores >= 0.5
    return np.where(is_given, scores, 1 - scores)[known], (is_given == (targets == 1))[known]


def _threshold(scheme: Scheme, rows: Logits, targets: NDArray[np.int64]) -> float:
    scores = scheme.probabilities(rows)
    n_labels = len(scheme.labels)
    best = scores[:, :n_labels].argmax(1)
    gets_label = scores.argmax(1) < n_labels
    confidences = scores[np.arange(len(rows)), best]
    return best_threshold(
        confidences[gets_label], (best == targets)[gets_label], (targets == n_labels)[gets_label]
    )
