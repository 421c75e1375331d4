"""Words, classes of predicates, distances and tags: what training and running share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from lmtool.windows import Window

if TYPE_CHECKING:
    import torch

NONE, PREDICATE, BARE, INSIDE = range(4)
PREDICATE_CLASSES = ("none", "predicate", "bare", "inside")
"""A word is no predicate, begins one, begins one without arguments, or goes on with it."""

FARTHEST = 32
N_DISTANCES = 2 * FARTHEST + 1

Positions = TypeVar("Positions", "torch.Tensor", "NDArray[np.int64]")

_NEGATION = re.compile(r"(?<=\w)n(?=['’]t(?!\w))", re.IGNORECASE)


def distances(offsets: Positions) -> Positions:
    """Return the numbers of the distances of words from their predicate, 0 to N_DISTANCES - 1."""
    return offsets.clip(-FARTHEST, FARTHEST) + FARTHEST


def role_words(window: Window) -> Window:
    """Return the window with "don't" read as "do" and "n't", as the treebanks have it.

    Tokenizers cut it into "don", "'" and "t": the n moves to the next word. The token that stands
    for a word stays the same.
    """
    places = [match.start() for match in _NEGATION.finditer(window.text)]
    if not places:
        return window
    starts, ends = window.word_starts.copy(), window.word_ends.copy()
    for place in places:
        word = int(np.searchsorted(ends, place + 1))
        if word + 1 == len(ends) or starts[word] == place:
            continue
        if ends[word] == starts[word + 1] == place + 1:
            ends[word] = starts[word + 1] = place
    changed = Window(
        window.start,
        window.text,
        window.ids,
        window.shapes,
        (window.word_tokens, starts, ends),
        window.language,
    )
    changed.document = window.document
    return changed


def begins_in(window: Window, start: int) -> bool:
    """Whether a character of the document is in the window."""
    return 0 <= start - window.start < len(window.text)


def tag_names(roles: Sequence[str]) -> list[str]:
    """Return the tags: O, then B- and I- of each role."""
    return ["O", *(f"{prefix}-{role}" for role in roles for prefix in "BI")]


def tags_of(role: str, roles: Sequence[str]) -> tuple[int, int]:
    """Return the numbers of a role's tags, B- and I-."""
    number = roles.index(role)
    return 1 + 2 * number, 2 + 2 * number
