"""ROUGE of summaries (Lin 2004), with several references."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import lmtool

KINDS = ("rouge1", "rouge2", "rougeL")


class Words:
    """Cuts texts for rouge-score as it does itself, and Chinese into characters besides."""

    _word = re.compile(r"[a-z0-9]+|[^\W_a-z0-9]")

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self._stem = PorterStemmer().stem

    def tokenize(self, text: str) -> list[str]:
        """Return the stems of the words."""
        words = self._word.findall(text.lower())
        return [self._stem(word) if len(word) > 3 else word for word in words]


def make_scorer() -> Any:
    """Return rouge-score's scorer; UsageError where it is not installed."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError as error:
        raise lmtool.UsageError(
            f"ROUGE needs {error.name}, which a plain installation leaves out",
            hint='pip install "lmtool[train]"',
        ) from error
    return RougeScorer(list(KINDS), tokenizer=Words())


def references_of(document: lmtool.Document) -> list[str]:
    """Return the gold summaries: the layer's text, and those of the field `references`."""
    own = [document.summary.text] if document.summary and document.summary.text else []
    others = document.fields.get("references")
    found = [text for text in others if isinstance(text, str)] if isinstance(others, list) else []
    return list(dict.fromkeys([*own, *found]))


def score_summaries(
    gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
) -> dict[str, Any]:
    """Return the mean F of ROUGE-1, 2 and L in percent, each by the reference that it is best with.

    Documents whose gold is empty are left out.
    """
    scorer = make_scorer()
    totals = dict.fromkeys(KINDS, 0.0)
    n = 0
    for document, found in zip(gold, predicted, strict=True):
        references = references_of(document)
        if not references:
            continue
        n += 1
        text = found.summary.text if found.summary else ""
        scores = scorer.score_multi(references, text)
        for kind in KINDS:
            totals[kind] += scores[kind].fmeasure
    return {**{kind: round(100 * totals[kind] / max(n, 1), 2) for kind in KINDS}, "support": n}
