"""Finding passages: by meaning, by words, and by both, fused."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from .store import TOKENIZE, Store, Stored
from .terms import indexed, is_pair, terms_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .remembering import Embedder

Mode = Literal["fused", "meaning", "words"]

DEPTH: Final = 100
"""Passages of each ranking that are fused."""
RANK_CONSTANT: Final = 60
"""Of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""
LEAST_COSINE: Final = 0.35
"""From this cosine on, a passage is relevant; measured, see docs/memory.md."""
LEAST_COVERED: Final = 0.7
"""From this share of the question's words on, by their weight, a passage is relevant."""
COMMON: Final = 0.1
"""Words that stand in more than this share of the passages do not choose any, beside rarer ones."""
ABSENT_PAIR: Final = 1 / 3
"""What a pair of Chinese characters counts that no passage has: many reach from one word into the
next, and say nothing. A guess, not measured."""
_OPEN, _CLOSE = "\x1d", "\x1e"


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that answers a question, with a score from 0 to 1 by which results are sorted.

    `cosine` is that of the vectors (0 in the mode "words"), `covered` the share of the question's
    words that it has, each counted by how rare it is in the memory.
    """

    passage: Stored
    score: float
    cosine: float
    covered: float


class _Words(NamedTuple):
    """The words of a question: passages that have each, and its weight."""

    rows: list[set[int]]
    weights: list[float]

    def covered(self, number: int) -> float:
        have = sum(w for rows, w in zip(self.rows, self.weights, strict=True) if number in rows)
        return have / max(sum(self.weights), 1e-9)


def recall(
    store: Store,
    question: str,
    embedder: Embedder | None,
    *,
    limit: int = 5,
    mode: Mode = "fused",
    least: float = LEAST_COSINE,
) -> list[Found]:
    """Return the passages that answer a question, best first; none where none is relevant.

    A passage is relevant with a cosine of `least`, or with LEAST_COVERED of the question's words;
    in the mode "meaning" with the cosine alone, and in "words" with any of the words. The same
    text in two places is found once. `embedder` is not needed in the mode "words"; in "fused" it
    has no say in a question of whose script its model knows nothing.
    """
    vector = None
    if embedder is not None and (
        mode == "meaning" or (mode == "fused" and embedder.reads(question))
    ):
        vector = embedder([question])[0]
    with store.reading():
        words, by_words = _by_words(store, question) if mode != "meaning" else (None, [])
        by_meaning, cosines = _by_meaning(store, vector) if vector is not None else ([], None)
        scores = _scores(mode, by_meaning, by_words)
        passages = store.passages(scores)
    found, texts = [], set()
    for number in sorted(scores, key=lambda n: (-scores[n], n)):
        passage = passages[number]
        cosine = float(cosines[number - 1]) if cosines is not None else 0.0
        covered = words.covered(number) if words else 0.0
        is_relevant = mode == "words" or cosine >= least or covered >= LEAST_COVERED
        if is_relevant and passage.hash not in texts:
            texts.add(passage.hash)
            found.append(Found(passage, min(max(scores[number], 0.0), 1.0), cosine, covered))
        if len(found) == limit:
            break
    return found


def _scores(
    mode: Mode, by_meaning: Sequence[tuple[int, float]], by_words: Sequence[tuple[int, float]]
) -> dict[int, float]:
    """Return a score for each passage: the cosine, BM25 squeezed below 1, or the ranks fused."""
    if mode == "meaning":
        return dict(by_meaning)
    if mode == "words":
        return {number: weight / (weight + 10) for number, weight in by_words}
    fused = fuse([[number for number, _ in ranking] for ranking in (by_meaning, by_words)])
    return {number: score * (RANK_CONSTANT + 1) / 2 for number, score in fused.items()}


def fuse(rankings: Iterable[Sequence[int]]) -> dict[int, float]:
    """Return the sum of 1 / (60 + rank) over rankings, ranks from 1."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, number in enumerate(ranking, 1):
            scores[number] = scores.get(number, 0.0) + 1 / (RANK_CONSTANT + rank)
    return scores


def _by_meaning(
    store: Store, vector: NDArray[Any]
) -> tuple[list[tuple[int, float]], NDArray[Any] | None]:
    """Return the numbers of the nearest passages with their cosines, and all cosines."""
    import numpy as np

    if not store.size or not np.any(vector):
        return [], None
    cosines = store.cosines(vector)
    n = min(DEPTH, len(cosines))
    best = np.argpartition(-cosines, n - 1)[:n] if n else np.zeros(0, np.int64)
    best = best[np.argsort(-cosines[best], kind="stable")]
    return [(int(i) + 1, float(cosines[i])) for i in best if cosines[i] > 0], cosines


def _by_words(store: Store, question: str) -> tuple[_Words, list[tuple[int, float]]]:
    """Return the words of the question, and the passages that have them, by BM25."""
    terms = terms_of(question)
    n_passages = store.count()
    rows = [set(store.rows_with(term)) for term in terms]
    weights = [
        math.log1p((n_passages - len(r) + 0.5) / (len(r) + 0.5))
        * (ABSENT_PAIR if is_pair(term) and not r else 1)
        for term, r in zip(terms, rows, strict=True)
    ]
    limit = max(COMMON * n_passages, min((len(r) for r in rows if r), default=0), DEPTH)
    used = [term for term, r in zip(terms, rows, strict=True) if 0 < len(r) <= limit]
    ranking = store.with_words(" OR ".join(used), DEPTH) if used else []
    return _Words(rows, weights), ranking


def marks(question: str, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Return for each text where the words of the question stand in it, as the index sees them."""
    terms = terms_of(question)
    if not terms or not texts:
        return [[] for _ in texts]
    database = sqlite3.connect(":memory:")
    database.execute(f"CREATE VIRTUAL TABLE t USING fts5 (text, tokenize = '{TOKENIZE}')")
    rows = [(i, indexed(text)) for i, text in enumerate(texts)]
    database.executemany("INSERT INTO t (rowid, text) VALUES (?, ?)", rows)
    query = "SELECT rowid, highlight(t, 0, ?, ?) FROM t WHERE t MATCH ?"
    shown = dict(database.execute(query, (_OPEN, _CLOSE, " OR ".join(terms))).fetchall())
    database.close()
    return [_places(text, shown.get(i, "")) for i, text in enumerate(texts)]


def _places(text: str, shown: str) -> list[tuple[int, int]]:
    """Return the marked stretches of a text, of which `shown` has marks and gaps besides."""
    places, start, at = [], 0, 0
    for character in shown:
        if at < len(text) and character == text[at]:
            at += 1
        elif character == _OPEN:
            start = at
        elif character == _CLOSE:
            places.append((start, at))
    return places


def best_sentence(question: str, found: Sequence[Found], embedder: Embedder) -> Found | None:
    """Return the sentence of the passages that is nearest to the question, with its own place.

    It is nearest in meaning, or for a script that the model does not know by the question's words.

    A sentence of a passage that was masked has the place of the passage.
    """
    import numpy as np

    from .passages import sentences

    candidates = []
    for item in found:
        text, start = item.passage.text, item.passage.start
        for low, high in sentences(text, embedder.language):
            sentence = text[low:high].strip()
            if sentence:
                low += len(text[low:high]) - len(text[low:high].lstrip())
                line = item.passage.line + text.count("\n", 0, low) * item.passage.has_lines
                begin, end = start + low, start + low + len(sentence)
                place = item.passage._replace(text=sentence)
                if not place.is_masked:
                    place = place._replace(start=begin, end=end, line=line)
                candidates.append((item, place))
    if not candidates:
        return None
    texts = [passage.text for _, passage in candidates]
    if embedder.reads(question):
        vectors = embedder([question, *texts])
        nearness = vectors[1:] @ vectors[0]
    else:
        n_marked = [sum(b - a for a, b in places) for places in marks(question, texts)]
        nearness = np.array(n_marked, np.float32) / max(len(question), 1)
    best = int(np.argmax(nearness))
    item, passage = candidates[best]
    score = float(nearness[best])
    return Found(passage, min(max(score, 0.0), 1.0), score, item.covered)
