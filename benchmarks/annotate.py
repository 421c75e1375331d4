"""The price of all layers: `lmtool annotate` beside `lmtool extract --only entities`.

    python benchmarks/annotate.py --texts DATA/*.jsonl --books BOOK.txt…

The corpus is that of throughput.py. In each round, on the CPU and with the same threads: entities
alone, every other layer alone, and all layers in one pass. A ratio is the median over the rounds
of a run's time to that of entities alone in the same round.

Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from machine import Target, describe, judge
from throughput import Clock, Run, mix, n_items, print_table, read_books, read_texts, run_in_turns

import lmtool
from lmtool.models import Model, ModelGroup
from lmtool.sessions import n_threads

MODELS = ("extract-en", "roles-en", "understand-en")
ALL = "all layers"
ENTITIES = "entities"


def main() -> int:
    options = parse()
    threads = n_threads(options.threads)
    print(describe("onnxruntime", "tokenizers"))
    texts = mix([*read_texts(options.texts), *read_books(options.books)], options.documents)
    results = run_in_turns(runs_of(options.models, texts, threads), options.rounds)
    print_table(results)
    print()
    for name, runs in results.items():
        print(f"{name:<12} {ratio(runs, results[ENTITIES]):.2f} of the time of entities alone")
    price = ratio(results[ALL], results[ENTITIES])
    return judge([Target("all layers to entities alone", price, 1.6)])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", nargs="+", default=[], metavar="FILE")
    parser.add_argument("--books", nargs="+", default=[], type=Path, metavar="FILE")
    parser.add_argument("--documents", type=int, default=4_000)
    parser.add_argument("--models", nargs="+", default=MODELS, help="the first finds entities")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores of this process")
    options = parser.parse_args()
    if not options.texts and not options.books:
        parser.error("give --texts or --books")
    return options


def runs_of(
    refs: Sequence[str], texts: Sequence[str], threads: int
) -> dict[str, Callable[[int], Run]]:
    """Return the runs: entities, each layer alone, all of them. Making them warms them up."""
    models = [lmtool.load(ref, device="cpu", threads=threads) for ref in refs]
    groups: dict[str, list[Model]] = {}
    for model in models:
        for part in model.task.parts:
            alone = lmtool.load(refs[models.index(model)], device="cpu", threads=threads)
            alone.options = alone.task.limit(alone.options, [part])
            if part != "labels":  # all schemes: each stands for itself
                groups[part] = [alone]
    groups[ALL] = models
    documents = [lmtool.Document(text=text) for text in texts]
    n_characters = sum(map(len, texts))
    n_tokens = sum(len(w.ids) for _, w in models[0].encoder.windows_of(texts))

    def timed(models: list[Model]) -> Callable[[int], Run]:
        group = ModelGroup(models)

        def run(number: int) -> Run:
            with Clock() as clock:
                for chunk in group.chunks(documents):
                    group.annotate(chunk)
            return clock.run(len(texts), n_characters, n_tokens)

        found = sum(n_items(document) for document in group.annotate(documents[:200]))
        print(f"{' + '.join(model.name for model in models)}: {found:,} items in 200 texts")
        return run

    return {name: timed(group) for name, group in groups.items()}


def ratio(runs: Sequence[Run], others: Sequence[Run]) -> float:
    """Return the median ratio of times over the rounds."""
    return statistics.median(a.seconds / b.seconds for a, b in zip(runs, others, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
