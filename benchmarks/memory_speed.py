"""What a memory costs: to store, to recall, in bytes; beside the vectors alone.

    python benchmarks/memory_speed.py NOVEL.txt … [--passages 1000] [--stored 100000]

Storing: the first --passages of the texts are remembered, and their vectors alone are computed, in
turn, --rounds times. The share is of processor seconds: it holds on a machine with other work, too.

Recalling: passages of all texts are stored until there are --stored. Those beyond the first get a
number at their end, and a vector at random beside that of one of the first: computing all would
take an hour. Questions are sentences of the texts. recall@10 is against the cosines of the exact
vectors. Recalling from the shell is `lmtool recall`, the median of 5.

Exit code 1 where a target is missed. The times of recalling are for a machine with nothing else.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from lmtool_memory.passages import Passage, cut_passages, sentences
from lmtool_memory.recalling import recall
from lmtool_memory.remembering import BATCH, Embedder, inputs_of, remember
from lmtool_memory.store import New, Store
from machine import Target, describe, judge, run_child

import lmtool

Vectors = np.ndarray[Any, np.dtype[Any]]
N_QUESTIONS = 50
"""Questions whose time is taken."""
N_JUDGED = 400
"""Questions whose ten best are compared with the exact ones."""
LIMIT = 10
NOISE = 0.5
"""Length of what is added at random to a vector of the length 1."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--passages", type=int, default=1000)
    parser.add_argument("--stored", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    print(describe("numpy", "onnxruntime"))
    texts = [file.read_text("utf-8", "replace") for file in options.files]
    passages = [passage for text in texts for passage in cut_passages(text)]
    embedder = Embedder(options.model)
    first = [passage.text for passage in passages[: options.passages]]
    with tempfile.TemporaryDirectory() as folder:
        speed = storing(Path(folder), first, embedder, options.rounds)
        path = Path(folder) / "large.db"
        vectors = fill(path, passages, embedder(first), embedder, options.stored)
        warm, shell, right = recalling(path, passages, vectors, embedder)
    return judge(
        [
            Target("speed of storing, vectors alone 1", speed, 0.85, is_least=True),
            Target("recall in a warm process", warm, 100, unit=" ms"),
            Target("recall from the shell", shell, 0.7, unit=" s"),
            Target("recall@10", right, 0.98, is_least=True),
        ]
    )


def storing(folder: Path, texts: Sequence[str], embedder: Embedder, rounds: int) -> float:
    """Print and return how fast texts are stored, where computing their vectors alone is 1."""
    source = folder / "texts.txt"
    source.write_text("\n\n".join(texts), "utf-8")
    options = lmtool.ReadOptions(whole_file=True)
    alone, stored = [], []
    for number in range(rounds):
        began = time.process_time()
        embedder(texts)
        alone.append(time.process_time() - began)
        store = Store(folder / f"{number}.db", create=True)
        began = time.process_time()
        report = remember(store, inputs_of([str(source)]), lambda: embedder, options)
        stored.append((time.process_time() - began) * len(texts) / max(report.added, 1))
        store.close()
    both = statistics.median(alone), statistics.median(stored)
    print(f"{len(texts):,} passages: vectors alone {both[0]:.1f} s, remembered {both[1]:.1f} s")
    return both[0] / both[1]


def fill(
    path: Path, passages: Sequence[Passage], vectors: Vectors, embedder: Embedder, stored: int
) -> Vectors:
    """Store passages until there are `stored`; print the bytes of each, and return all vectors."""
    chance = np.random.default_rng(0)
    noise = chance.standard_normal((stored - len(vectors), vectors.shape[1]), np.float32)
    noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
    noise += vectors[chance.integers(0, len(vectors), len(noise))]
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    everything = np.concatenate((vectors, noise))
    store = Store(path, create=True)
    with store.writing():
        store.set_model(embedder.name, embedder.ref, vectors.shape[1])
        source, generation = store.begin_source("texts")
    began = time.process_time()
    numbered = enumerate(islice(cycle(passages), stored))
    for start in range(0, stored, BATCH):
        rows = [
            New(source, generation, str(i).encode(), passage._replace(text=f"{passage.text} {i}"))
            for i, passage in islice(numbered, BATCH)
        ]
        with store.writing():
            store.add(rows, everything[start : start + BATCH])
    store.close()
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    seconds = time.process_time() - began
    print(f"{stored:,} passages: {size / stored:,.0f} bytes each, written in {seconds:.1f} s")
    return everything


def questions_of(passages: Sequence[Passage]) -> Iterator[str]:
    """Yield sentences of six words and more, out of passages in random order."""
    for passage in random.Random(0).sample(passages, len(passages)):
        for start, end in sentences(passage.text):
            if len(passage.text[start:end].split()) >= 6:
                yield " ".join(passage.text[start:end].split())
                break


def recalling(
    path: Path, passages: Sequence[Passage], vectors: Vectors, embedder: Embedder
) -> tuple[float, float, float]:
    """Print and return ms in a warm process, seconds from the shell, and recall@10."""
    questions = list(islice(questions_of(passages), N_QUESTIONS))
    store = Store(path)
    recall(store, questions[0], embedder)
    used, taken, n_right = [], [], 0
    for question in questions:
        began, start = time.process_time(), time.perf_counter()
        recall(store, question, embedder)
        used.append(1000 * (time.process_time() - began))
        taken.append(1000 * (time.perf_counter() - start))
    judged = list(islice(questions_of(passages), N_JUDGED))
    for vector in embedder(judged):
        exact = set(np.argsort(-(vectors @ vector))[:LIMIT].tolist())
        n_right += len(exact & set(np.argsort(-store.cosines(vector))[:LIMIT].tolist()))
    store.close()
    command = [str(Path(sys.executable).with_name("lmtool")), "recall", "--memory", str(path)]
    runs = [run_child([*command, question]) for question in questions[:5]]
    shell = statistics.median(run.seconds for run in runs)
    processor = statistics.median(run.processor for run in runs)
    milliseconds = statistics.median(taken)
    print(
        f"recall: {statistics.median(used):.0f} processor ms, {milliseconds:.0f} ms in a process "
        f"that is warm; {shell:.2f} s, {processor:.2f} processor s from the shell"
    )
    return milliseconds, shell, n_right / (LIMIT * len(judged))


if __name__ == "__main__":
    sys.exit(main())
