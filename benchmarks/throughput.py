"""Throughput of `lmtool TASK` on many real texts, beside its limit and a transformers pipeline.

    python benchmarks/throughput.py --texts DATA/*.jsonl --books BOOK.txt… --checkpoint RUN/best

The corpus: one text in turn from each file until there are enough (a file that has no more drops
out; when all have, they begin again), then shuffled with a fixed seed. --texts are files that
lmtool reads, --books plain text whose paragraphs count as texts.

In each round, one after the other, on the CPU and with the same number of threads:

run_files   what `lmtool extract FILE -o OUT.jsonl` does: read, annotate, write.
pipe        lmtool.Model.pipe over the texts in memory.
limit       ONNX Runtime alone: the same sessions, in as many threads, on the batches that lmtool
            made of the whole corpus, tokenised, sorted and padded before the clock starts;
            backbone and heads (those that take the backbone's states alone), no decoding. All
            its batches are ready at once, lmtool's come in
            chunks. Its time divided by lmtool's is the part of the limit that lmtool reaches.
defaults    a transformers pipeline at its defaults, which are batches of one and no aggregation
            into entities: PyTorch, fp32, the checkpoint that the model was exported from.
best        the same pipeline with its texts sorted by tokens (before the clock starts) and the
            batch size, of those given, that was the fastest in a trial.

The pipeline gets a part of the corpus, since all of it would take an hour, and another part in
each round: for `defaults` texts spread evenly over the corpus sorted by length, in random order;
for `best` stretches of 64 neighbours of that order, so its batches are as even as in the whole.
What counts is characters a second. Texts longer than the pipeline's positions are cut off by it,
silently, and counted in full. lmtool's windows are shorter and its model may be int8: that is the
comparison, the way each is used. Ratios are medians over the rounds. Beside the time on the wall
stands the processor time of all threads, which another load on the machine changes less; the
targets are for the wall.

Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from machine import Target, describe, judge
from peers import hf_peer, load_pipeline

import lmtool
from lmtool.bundles import find_bundle, load_bundle
from lmtool.formats import writer_for
from lmtool.inputs import expand_inputs
from lmtool.models import Model, backbone_session
from lmtool.runs import RunOptions, run_files
from lmtool.sessions import n_threads
from lmtool.tasks import Graph

STRETCH = 64  # neighbours in the order of length that the pipeline gets together
LINE_BREAK = re.compile(r"\s*\n\s*")


class Run(NamedTuple):
    """What a run did, in how many seconds on the wall and of all threads' processor time."""

    documents: int
    characters: int
    tokens: int
    seconds: float
    cpu_seconds: float


class Clock:
    """Measures a `with` block."""

    def __enter__(self) -> Clock:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self._wall
        self.cpu_seconds = time.process_time() - self._cpu

    def run(self, documents: int, characters: int, tokens: int) -> Run:
        return Run(documents, characters, tokens, self.seconds, self.cpu_seconds)


def main() -> int:
    options = parse()
    os.environ["HF_HUB_OFFLINE"] = "1"
    threads = n_threads(options.threads)
    print(describe("onnxruntime", "tokenizers", "torch", "transformers"))
    texts = mix([*read_texts(options.texts), *read_books(options.books)], options.documents)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs: dict[str, Callable[[int], Run]] = lmtool_runs(options, texts, folder, threads)
        if options.checkpoint or options.peer:
            peer = options.peer or hf_peer(options.checkpoint, folder / "peer")
            runs |= peer_runs(peer, texts, options, threads)
        else:
            print("no peer: give --checkpoint or --peer")
        results = run_in_turns(runs, options.rounds)
    print_table(results)
    return judge(targets_of(results))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", nargs="+", default=[], metavar="FILE")
    parser.add_argument("--books", nargs="+", default=[], type=Path, metavar="FILE")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--model", default="extract-en", help="name or folder of a bundle")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--checkpoint", type=Path, help="best/ of a run: the peer is made of it")
    group.add_argument("--peer", type=Path, help="a peer's folder that peers.hf_peer wrote")
    parser.add_argument("--peer-documents", type=int, default=2_048, help="in each round")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8, 32, 64])
    parser.add_argument("--option", action="append", default=[], help="NAME=A,B of the task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores of this process")
    options = parser.parse_args()
    if not options.texts and not options.books:
        parser.error("give --texts or --books")
    if any(STRETCH % size for size in options.batch_sizes):
        parser.error(f"batch sizes must divide {STRETCH}")
    return options


# ── the corpus ───────────────────────────────────────────────────────────────────────────────


def read_texts(files: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts of each file that lmtool can read."""
    from lmtool.sources import ReadOptions

    for item in expand_inputs(files) if files else []:
        found = item.reader.read(item.source, ReadOptions())
        yield [d.text for d in found if isinstance(d, lmtool.Document) and d.text.strip()]


def read_books(paths: Iterable[Path]) -> Iterator[list[str]]:
    """Yield the paragraphs of each book, their lines joined."""
    for path in paths:
        paragraphs = re.split(r"\n\s*\n", path.read_text("utf-8-sig").replace("\r\n", "\n"))
        yield [LINE_BREAK.sub(" ", p).strip() for p in paragraphs if p.strip()]


def mix(files: Sequence[list[str]], n: int) -> list[str]:
    """Return n texts, each file's in turn, in random order; begin again where there are fewer."""
    in_turn = [t for row in itertools.zip_longest(*files) for t in row if t is not None]
    if not in_turn:
        sys.exit("no texts in these files")
    texts = list(itertools.islice(itertools.cycle(in_turn), n))
    random.Random(0).shuffle(texts)
    lengths = sorted(map(len, texts))
    quarters = ", ".join(f"{lengths[int(q * (n - 1))]:,}" for q in (0, 0.25, 0.5, 0.75, 1))
    print(f"{n:,} texts, {len(set(texts)):,} of them different, {sum(lengths):,} characters;")
    print(f"characters of a text: {quarters} (least, quartiles, most)")
    return texts


# ── lmtool and its limit ─────────────────────────────────────────────────────────────────────


class Recorder:
    """A graph that keeps what it was fed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.signature = graph.signature
        self.feeds: list[dict[str, Any]] = []

    def run(self, feeds: Any) -> dict[str, Any]:
        self.feeds.append({name: feeds[name] for name in self.signature.input_names})
        return self.graph.run(feeds)


def lmtool_runs(
    options: argparse.Namespace, texts: Sequence[str], folder: Path, threads: int
) -> dict[str, Callable[[int], Run]]:
    """Return lmtool's runs and their limit. Making them is lmtool's warm-up."""
    pairs = [text.split("=", 1) for text in options.option]
    chosen = {name: value.split(",") for name, value in pairs}
    model = lmtool.load(options.model, device="cpu", threads=threads, **chosen)
    bundle = load_bundle(find_bundle(options.model))
    backbone = backbone_session(bundle.backbone_folder, bundle.backbone, "cpu", threads)
    print(f"{model.name}: {bundle.backbone.precision} on {', '.join(model.providers)}, ", end="")
    print(f"{threads} threads")
    feeds, n_tokens = record(model, backbone, texts, threads)
    n_characters = sum(map(len, texts))
    source, target = folder / "texts.jsonl", folder / "out.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    run_options = RunOptions(writer=writer_for(str(target)))

    def run_through_files() -> None:
        for _ in run_files(model, expand_inputs([str(source)]), target, run_options):
            pass

    def run_pipe() -> None:
        for _ in model.pipe(texts):
            pass

    def run_graphs(feed: dict[str, Any]) -> None:
        hidden = {**backbone.run(feed), "attention_mask": feed["attention_mask"]}
        for graph in model.graphs.values():
            if set(graph.signature.input_names) <= hidden.keys():
                graph.run(hidden)

    def run_limit() -> None:
        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(run_graphs, feeds):
                pass

    def timed(work: Callable[[], None]) -> Callable[[int], Run]:
        def run(number: int) -> Run:
            with Clock() as clock:
                work()
            return clock.run(len(texts), n_characters, n_tokens)

        return run

    works = {"run_files": run_through_files, "pipe": run_pipe, "limit": run_limit}
    return {name: timed(work) for name, work in works.items()}


def record(
    model: Model, backbone: Graph, texts: Sequence[str], threads: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the feeds that lmtool makes of the texts, and the tokens of all their windows."""
    recorder = Recorder(backbone)
    twin = Model(
        model.task,
        model.encoder,
        recorder,
        model.graphs,
        name=model.name,
        options=model.options,
        threads=threads,
    )
    n_found = sum(n_items(document) for document in twin.pipe(texts))
    sizes = [len(window.ids) for _, window in model.encoder.windows_of(texts)]
    real = sum(int(feed["attention_mask"].sum()) for feed in recorder.feeds)
    padded = sum(feed["attention_mask"].size for feed in recorder.feeds)
    print(
        f"{len(sizes):,} windows, {sum(sizes):,} tokens, of which {real:,} are computed once in "
        f"{len(recorder.feeds):,} batches, {padded / real:.3f} padded tokens per real one; "
        f"{n_found:,} entities, labels and so on found"
    )
    return recorder.feeds, sum(sizes)


def n_items(document: lmtool.Document) -> int:
    """Return how many things are annotated in a document."""
    layers = (document.entities, document.relations, document.events, document.frames)
    return sum(len(layer or ()) for layer in (*layers, *(document.labels or {}).values()))


# ── the peer ─────────────────────────────────────────────────────────────────────────────────


def peer_runs(
    folder: Path, texts: Sequence[str], options: argparse.Namespace, threads: int
) -> dict[str, Callable[[int], Run]]:
    """Return the pipeline's runs. Choosing the batch size is its warm-up."""
    import torch

    torch.set_num_threads(threads)
    tagger = load_pipeline(folder)
    tagger("A text to warm up with.")
    limit = tagger.tokenizer.model_max_length
    sizes = [min(len(e.ids), limit) for e in tagger.tokenizer.backend_tokenizer.encode_batch(texts)]
    order = sorted(range(len(texts)), key=lambda index: -sizes[index])
    n_part = min(options.peer_documents, len(texts))
    n_cut = sum(size == limit for size in sizes)
    print(f"pipeline: {tagger.model.dtype}, {n_part:,} texts a round, ", end="")
    print(f"{n_cut:,} of all {len(texts):,} are cut off at {limit} tokens")

    def run(indices: Sequence[int], batch_size: int) -> Run:
        part = [texts[index] for index in indices]
        n_characters, n_tokens = sum(map(len, part)), sum(sizes[index] for index in indices)
        with Clock() as clock:
            tagger(part, batch_size=batch_size)
        return clock.run(len(part), n_characters, n_tokens)

    def stretches(number: int) -> list[int]:
        starts = spread(range(0, len(order), STRETCH), -(-n_part // STRETCH), number)
        return [index for start in starts for index in order[start : start + STRETCH]]

    def spread_texts(number: int) -> list[int]:
        part = spread(order, n_part, number)
        random.Random(number).shuffle(part)
        return part

    trial = {size: run(stretches(0), size) for size in options.batch_sizes}
    speeds = {size: r.characters / r.seconds for size, r in trial.items()}
    best = max(speeds, key=lambda size: speeds[size])
    shown = ", ".join(f"{size}: {speed:,.0f}" for size, speed in speeds.items())
    print(f"pipeline, sorted, characters/s by batch size: {shown}; taken: {best}")
    return {
        "defaults": lambda number: run(spread_texts(number), 1),
        "best": lambda number: run(stretches(number), best),
    }


def spread(items: Sequence[int], n: int, number: int) -> list[int]:
    """Return n items at even distances, others for each number."""
    step = len(items) / n
    offset = random.Random(number).random() * step
    return [items[min(int(offset + i * step), len(items) - 1)] for i in range(n)]


# ── the result ───────────────────────────────────────────────────────────────────────────────


def run_in_turns(runs: dict[str, Callable[[int], Run]], rounds: int) -> dict[str, list[Run]]:
    """Return the runs of each name: one of each in every round."""
    results: dict[str, list[Run]] = {name: [] for name in runs}
    for number in range(1, rounds + 1):
        for name, run in runs.items():
            results[name].append(run(number))
            print(f"round {number}: {name} {results[name][-1].seconds:.1f} s", flush=True)
    return results


def print_table(results: dict[str, list[Run]]) -> None:
    """Print the medians. Tokens are each one's own: the peer's texts are not cut into windows."""
    titles = ("characters/s", "tokens/s", "documents/s", "tokens/CPU-s")
    print(f"\n{'':<12}" + "".join(f"{title:>14}" for title in titles))
    for name, runs in results.items():
        rows = [
            (r.characters / r.seconds, r.tokens / r.seconds, r.documents / r.seconds)
            + (r.tokens / r.cpu_seconds,)
            for r in runs
        ]
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"{name:<12}" + "".join(f"{figure:>14,.0f}" for figure in medians))
    print()


def targets_of(results: dict[str, list[Run]]) -> list[Target]:
    """Return lmtool's speed, end to end, as multiples of the others'."""
    bounds = {"limit": 0.85, "defaults": 6.0, "best": 2.5}
    targets = []
    for name in results.keys() & bounds.keys():
        ratios = [
            (ours.characters / ours.seconds) / (theirs.characters / theirs.seconds)
            for ours, theirs in zip(results["run_files"], results[name], strict=True)
        ]
        ratio = statistics.median(ratios)
        targets.append(Target(f"run_files / {name}", ratio, bounds[name], is_least=True, unit="x"))
    return sorted(targets, key=lambda target: list(bounds).index(target.name.split()[-1]))


if __name__ == "__main__":
    sys.exit(main())
