"""How well a memory recalls: by words, by meaning, and by both fused; and what is relevant.

    python benchmarks/memory_sets.py DATA SETS
    python benchmarks/memory_quality.py SETS/*.jsonl --unrelated SETS/unrelated.txt

A line of a set is {"text": …, "question": …}: a passage, and a question or paraphrase that it
answers; with no question it is a passage among the others. QUESTIONS are a line each, and none of
the sets answers them. For each set: the share of questions whose passage comes first and among
ten (of what each mode ranks, relevant or not), and the mean reciprocal rank. Then the best cosine,
and the best share of the question's words, of questions that are answered and of those that are
not, and what each bound finds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lmtool_memory import recalling
from lmtool_memory.passages import Passage
from lmtool_memory.recalling import Found, Mode, recall
from lmtool_memory.remembering import Embedder
from lmtool_memory.store import New, Store
from machine import describe

MODES: tuple[Mode, ...] = ("words", "meaning", "fused")


class Remembered(Embedder):
    """A model that computes a question once, which is asked in several modes and memories."""

    def __init__(self, ref: str | None) -> None:
        super().__init__(ref)
        self._known: dict[str, Any] = {}

    def __call__(self, texts: Sequence[str]) -> Any:
        """Return the vectors of texts."""
        if len(texts) > 1:
            return super().__call__(texts)
        if texts[0] not in self._known:
            self._known[texts[0]] = super().__call__(texts)
        return self._known[texts[0]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--unrelated", required=True, type=Path)
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    print(describe("numpy"))
    embedder = Remembered(options.model)
    unrelated = options.unrelated.read_text("utf-8", "replace").splitlines()
    recalling.LEAST_COVERED = -1.0  # rank all: what is relevant is looked at below
    related_best: list[Found] = []
    unrelated_best: list[Found] = []
    for path in options.sets:
        with path.open(encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        asked = [(i, row["question"]) for i, row in enumerate(rows) if row.get("question")]
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder) / "memory.db", create=True)
            fill(store, [row["text"] for row in rows], embedder)
            print(f"\n{path.stem}: {len(rows):,} passages, {len(asked):,} questions")
            for mode in MODES:
                ranks = [rank(store, mode, rows[i]["text"], q, embedder) for i, q in asked]
                print(f"  {mode:8} {scores(ranks)}")
            related_best += [both_bests(store, q, embedder) for _, q in asked]
            unrelated_best += [both_bests(store, q, embedder) for q in unrelated]
            store.close()
    show_bounds(related_best, unrelated_best)


def fill(store: Store, texts: Sequence[str], embedder: Embedder) -> None:
    vectors = embedder(texts)
    with store.writing():
        store.set_model(embedder.name, embedder.ref, vectors.shape[1])
        source, generation = store.begin_source("texts")
        rows = [
            New(source, generation, str(i).encode(), Passage(0, len(text), i + 1, text))
            for i, text in enumerate(texts)
        ]
        store.add(rows, vectors)


def rank(store: Store, mode: Mode, text: str, question: str, embedder: Embedder) -> int:
    """Return the rank of the passage that answers, from 1; 0 where it is not among the ten."""
    found = recall(store, question, embedder, limit=10, mode=mode, least=-1)
    texts = [item.passage.text for item in found]
    return texts.index(text) + 1 if text in texts else 0


def scores(ranks: Sequence[int]) -> str:
    first = sum(r == 1 for r in ranks) / len(ranks)
    among = sum(r > 0 for r in ranks) / len(ranks)
    reciprocal = sum(1 / r for r in ranks if r) / len(ranks)
    return f"first {100 * first:5.1f}  among ten {100 * among:5.1f}  MRR {100 * reciprocal:5.1f}"


def both_bests(store: Store, question: str, embedder: Embedder) -> Found:
    """Return the best passage, with the best cosine and the best share of words of any."""
    found = recall(store, question, embedder, limit=2 * recalling.DEPTH, least=-1)
    best = max(found, key=lambda item: item.cosine)
    covered = max(item.covered for item in found)
    return Found(best.passage, best.score, best.cosine, covered)


def show_bounds(related: Sequence[Found], unrelated: Sequence[Found]) -> None:
    for name in ("cosine", "covered"):
        print(f"\nbest {name}: share of questions answered / not answered that reach it")
        for bound in np.arange(0.2, 1.0, 0.05):
            shares = [share(group, name, float(bound)) for group in (related, unrelated)]
            print(f"  {bound:.2f}  {100 * shares[0]:5.1f}  {100 * shares[1]:5.1f}")


def share(group: Sequence[Any], name: str, bound: float) -> float:
    return sum(getattr(item, name) >= bound for item in group) / max(len(group), 1)


if __name__ == "__main__":
    main()
