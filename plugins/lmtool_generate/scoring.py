"""How near texts are to the gold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmtool.scoring import text_scores


def compare(wanted: Sequence[str], found: Sequence[str], language: str = "") -> dict[str, Any]:
    """Return BLEU, chrF and exact matches, from 0 to 100, and which documents are no match."""
    errors = [int(a.strip() != b.strip()) for a, b in zip(wanted, found, strict=True)]
    return {**text_scores(wanted, found, language), "errors": errors}
