"""Measures that tasks share: precision, recall and F1 from counts; BLEU and chrF of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import UsageError


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


def text_scores(
    references: Sequence[str], hypotheses: Sequence[str], language: str = ""
) -> dict[str, float]:
    """Return BLEU, chrF and exact matches of texts, each from 0 to 100, rounded to 2 places.

    One reference for each hypothesis. BLEU (Papineni et al. 2002) and chrF (Popović 2015) are of
    the whole corpus, by sacrebleu. `language` (ISO 639-1) decides how BLEU finds words: between
    all characters of Chinese and Japanese, by 13a elsewhere. A match is exact apart from white
    space around the texts.

    Raises UsageError where sacrebleu is not installed, and ValueError for texts of unequal number.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references, {len(hypotheses)} hypotheses")
    if not references:
        return {"bleu": 0.0, "chrf": 0.0, "exact_match": 0.0}
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ModuleNotFoundError as error:
        raise UsageError(
            f"BLEU and chrF need {error.name}, which is not installed",
            hint='pip install "lmtool[train]"',
        ) from error
    wanted, found = ([text.strip() for text in texts] for texts in (references, hypotheses))
    tokenize = _WORDS.get(language.partition("-")[0].lower(), "13a")
    n_equal = sum(a == b for a, b in zip(wanted, found, strict=True))
    return {
        "bleu": round(
            BLEU(tokenize=tokenize, effective_order=True).corpus_score(found, [wanted]).score, 2
        ),
        "chrf": round(CHRF().corpus_score(found, [wanted]).score, 2),
        "exact_match": round(100 * n_equal / len(wanted), 2),
    }


_WORDS = {"zh": "zh", "ja": "char"}
"""How sacrebleu's BLEU cuts a language that has no spaces between words."""
