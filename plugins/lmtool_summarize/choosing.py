"""From scored sentences to a summary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lmtool.documents import Summary

from .kinds import APART, FEWEST_ASKED, FEWEST_WORDS, SHORT, WHOLE, kinds_of
from .selecting import Room, select
from .words import tokens_of, words_of

if TYPE_CHECKING:
    from lmtool.tasks import Part

    from .task import SummarizeOptions

DEFAULT_SENTENCES = 3

LENGTH = 0.25
"""What the length of a sentence counts beside its score, both as standard deviations."""

ENOUGH_WORDS = 25
"""From this length on a longer sentence gets no more for it."""

QUERY = 0.9
"""What the likeness to the query counts, of 1 in all."""

WORDS = 8.0
"""What the words of the query count beside its meaning: a sentence with all of them gets as much
as one whose cosine is this many standard deviations higher. More than this gained nothing for
headings (docs/summarize.md), and meaning decides where no sentence has the words."""


def summary_of(
    text: str,
    parts: Sequence[Part],
    options: SummarizeOptions,
    query: Sequence[float] | None = None,
) -> Summary:
    """Return the summary of a text from its scored sentences, in the order of the text."""
    spans = [(part.start + a, part.start + b) for part in parts for a, b in part.value.spans]
    if not spans:
        return Summary("", [])
    values = [part.value for part in parts if part.value.spans]
    scores = np.concatenate([value.scores for value in values])
    vectors = np.concatenate([value.vectors for value in values])  # float16 (sentences, width)
    n_words = [len(words_of(text[start:end])) for start, end in spans]
    middle = vectors.mean(0, dtype=np.float32)  # what all sentences share says nothing of one
    centred = unit(vectors, middle)
    worth = standard(scores) + LENGTH * standard(np.log1p(np.minimum(n_words, ENOUGH_WORDS)))
    if query is not None:
        asked = unit(np.asarray(query, np.float32)[None], middle)[0]
        likeness = standard(centred @ asked) + WORDS * shared_words(text, spans, options.query)
        worth = (1 - QUERY) * worth + QUERY * likeness
    room = Room(
        n_words,
        sentences=options.sentences,
        ratio=options.ratio,
        words=options.words,
        default=DEFAULT_SENTENCES,
    )
    kinds = kinds_of(text, spans, n_words, FEWEST_WORDS if query is None else FEWEST_ASKED)
    chosen: list[int] = []
    for kind in range(WHOLE, max(last_kind(options), int(kinds.min())) + 1):
        chosen += select(worth, centred, room, kinds == kind, diversity=options.diversity)
    return joined(text, [spans[number] for number in sorted(chosen)])


def last_kind(options: SummarizeOptions) -> int:
    """Return the last kind of sentences that is taken where those before it leave room.

    Words are not filled with what is short; a heading counts as a sentence for those alone who
    want a number of them.
    """
    if options.words is not None:
        return WHOLE
    has_number = options.sentences is not None or options.ratio is not None
    return APART if has_number else SHORT


def mean_vector(parts: Sequence[Part]) -> list[float] | None:
    """Return the mean of the vectors of sentences: what a query is known by. None without any."""
    rows = [part.value.vectors for part in parts if len(part.value.spans)]
    if not rows:
        return None
    found: list[float] = np.concatenate(rows).astype(float).mean(0).tolist()
    return found


def shared_words(text: str, spans: Sequence[tuple[int, int]], query: str) -> NDArray[np.float64]:
    """Return the share of the query's words that each sentence has, rare ones counting more."""
    wanted = sorted(set(tokens_of(query)))
    has = np.zeros((len(spans), len(wanted)))
    for number, (start, end) in enumerate(spans):
        words = set(tokens_of(text[start:end]))
        has[number] = [word in words for word in wanted]
    n_having = has.sum(0)  # words that no sentence has, or each, tell none from another
    weights = np.where(n_having > 0, np.log(len(spans) / np.maximum(n_having, 1)), 0.0)
    found: NDArray[np.float64] = has @ weights / max(float(weights.sum()), 1e-9)
    return found


def joined(text: str, spans: Sequence[tuple[int, int]]) -> Summary:
    """Return the summary of these sentences, in the order of the text.

    Line ends inside of one become spaces; those of different paragraphs stand in lines of their
    own.
    """
    summary, before = "", 0
    for start, end in spans:
        piece = " ".join(text[start:end].split())
        if summary and _BLANK_LINE.search(text, before, start):
            summary += "\n"
        elif summary and not (_is_wide(summary[-1]) or _is_wide(piece[0])):
            summary += " "
        summary += piece
        before = end
    return Summary(summary, list(spans))


_BLANK_LINE: Final = re.compile(r"\n[^\S\n]*\n")


def _is_wide(character: str) -> bool:
    """Whether a character is of a script that is written without spaces."""
    import unicodedata

    return unicodedata.east_asian_width(character) in "WF"


def unit(vectors: NDArray[Any], middle: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows less their middle, of the length 1, in float32; a row that is the middle is 0.

    A book has tens of thousands of rows, so they are copied once.
    """
    rows = vectors.astype(np.float32)
    rows -= middle
    squares = np.einsum("ij,ij->i", rows, rows)[:, None]
    rows /= np.maximum(np.sqrt(squares), 1e-6)
    return rows


def standard(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return values with the mean 0 and the spread 1."""
    values = values.astype(np.float64)
    found: NDArray[np.float64] = (values - values.mean()) / max(float(values.std()), 1e-6)
    return found
