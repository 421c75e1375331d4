"""Whether a text has a word: what has none has no class, and nothing to be compared by."""

from __future__ import annotations

import unicodedata
from typing import Final

_NO_WORD: Final = frozenset("PZCM")
"""First letters of Unicode's categories of punctuation, space, control characters and marks."""


def has_words(text: str) -> bool:
    """Whether a text has more than punctuation and space: a letter, a digit, a symbol, an emoji."""
    return any(unicodedata.category(character)[0] not in _NO_WORD for character in text)
