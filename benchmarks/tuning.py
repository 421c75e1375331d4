"""Ways to tune a classifier: time and score of each, from a few texts to all.

    python benchmarks/tuning.py --base ENCODER --data TRAIN.jsonl --test TEST.jsonl

Each way starts from the same encoder and learns from the same texts: `lmtool train understand`
with `--tune head`, `lora` and `full` at their defaults, as whole commands with the start of
Python, and, for the few texts, SetFit's way (Tunstall et al. 2022): pairs of texts teach the
encoder which are of one class, then a logistic regression learns the classes from its embeddings.
Scores are those of `lmtool evaluate` on the test texts that have a class, SetFit's way's the same
accuracy. Seconds are those of the processor, on all cores together, so that other programs count
for little. A size is a number of texts, `all`, or `8x`: so many of each class, drawn by each seed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from machine import Target, describe, judge

Record = dict[str, Any]
HEAD, LORA, FULL, CONTRASTIVE = "head", "lora", "full", "contrastive"
WAYS = (HEAD, LORA, FULL, CONTRASTIVE)
PAIRS_PER_TEXT = 20
"""SetFit's default: so many pairs of one class and of two, for each text."""


class Result(NamedTuple):
    """What a way took, in seconds of the processor and of the clock, and gave."""

    seconds: float
    waited: float
    score: float


def processor_seconds() -> float:
    """Return what this process and the finished ones that it started have computed."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> int:
    """Run all ways on all sizes, print a table, and return the exit code."""
    options = parse()
    train, test = (read(path) for path in (options.data, options.test))
    scheme = options.scheme or next(iter(train[0]["labels"]))
    train = [record for record in train if scheme in record["labels"]]
    classes = {label_of(record, scheme) for record in train} - {None}
    print(describe("torch", "transformers", "onnxruntime", "peft"))
    print(f"{len(train):,} texts of {len(classes)} classes, {len(test):,} to test on\n")
    print("| texts | way | processor s | clock s | score | least and most |")
    print("|---:|---|---:|---:|---:|---|")
    best: dict[tuple[str, str], Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes.split(","):
            for way in options.ways.split(","):
                if way == CONTRASTIVE and not size.endswith("x"):
                    continue
                found = []
                for seed in range(options.seeds if size.endswith("x") else 1):
                    texts = list(sample(train, scheme, size, seed))
                    found.append(run(way, texts, test, scheme, Path(folder), options, seed))
                scores = [result.score for result in found]
                best[size, way] = Result(*map(mean, zip(*found, strict=True)))
                spread = f"{min(scores):.1f} to {max(scores):.1f}" if len(scores) > 1 else ""
                seconds, waited, score = best[size, way]
                print(
                    f"| {size} | {way} | {seconds:.0f} | {waited:.0f} | {score:.1f} | {spread} |",
                    flush=True,
                )
    if ("all", HEAD) not in best or not options.gate:
        return 0
    _, waited, score = best["all", HEAD]
    return judge(
        [
            Target("head alone, all texts", waited, 60, unit=" s"),
            Target("its score", score, options.gate, is_least=True),
        ]
    )


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", required=True, help="folder of a Hugging Face encoder")
    parser.add_argument("--data", required=True, help="documents with labels, to train on")
    parser.add_argument("--test", required=True, help="documents with labels, to test on")
    parser.add_argument("--dev", help="documents to choose the epoch on, for all and numbers")
    parser.add_argument("--scheme", help="default: the first of the data")
    parser.add_argument("--sizes", default="8x,5000,all")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--seeds", type=int, default=3, help="draws of a few texts a class")
    parser.add_argument("--gate", type=float, default=0, help="least score of head with all")
    return parser.parse_args()


def read(path: str) -> list[Record]:
    """Return the records of a JSON Lines file."""
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def label_of(record: Record, scheme: str) -> str | None:
    """Return the class of a record; None where it has none."""
    items = record["labels"].get(scheme) or [{}]
    return items[0].get("label")


def sample(records: Sequence[Record], scheme: str, size: str, seed: int) -> Iterator[Record]:
    """Yield as many records as a size says, those of few texts a class with a class."""
    order = np.random.default_rng(seed).permutation(len(records))
    if not size.endswith("x"):
        n = len(records) if size == "all" else int(size)
        yield from (records[i] for i in order[:n])
        return
    counts: defaultdict[str, int] = defaultdict(int)
    for i in order:
        label = label_of(records[i], scheme)
        if label is not None and counts[label] < int(size[:-1]):
            counts[label] += 1
            yield records[i]


def run(
    way: str,
    texts: Sequence[Record],
    test: Sequence[Record],
    scheme: str,
    folder: Path,
    options: argparse.Namespace,
    seed: int,
) -> Result:
    """Train one way on some texts and test it."""
    if way == CONTRASTIVE:
        return run_contrastive(texts, test, scheme, options.base, seed)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        data, out = Path(name, "train.jsonl"), Path(name, "run")
        data.write_text("".join(json.dumps(record) + "\n" for record in texts), "utf-8")
        command = ["train", "understand", "--tune", way, "--base", options.base, "-q"]
        command += ["--data", str(data), "-o", str(out), "--layers", scheme, "--seed", str(seed)]
        is_few = len(texts) < 5000
        command += ["--dev-share", "0"] if is_few else []
        command += ["--dev", options.dev] if options.dev and not is_few else []
        began, started = processor_seconds(), time.perf_counter()
        lmtool(*command)
        seconds, waited = processor_seconds() - began, time.perf_counter() - started
        report = lmtool("evaluate", str(out / "best"), options.test, "--format", "json")
    found = json.loads(report)["schemes"][scheme]
    return Result(seconds, waited, found.get("in_scope_accuracy", found["accuracy"]))


def lmtool(*arguments: str) -> str:
    """Run a command as a shell would and return what it printed."""
    command = [sys.executable, "-m", "lmtool.cli.main", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def run_contrastive(
    texts: Sequence[Record], test: Sequence[Record], scheme: str, base: str, seed: int
) -> Result:
    """Train SetFit's way: one epoch of pairs in batches of 16, rate 2e-5, then the regression."""
    import torch
    from sklearn.linear_model import LogisticRegression

    began, started = processor_seconds(), time.perf_counter()
    encoder = Encoder(base)
    names = [str(label_of(record, scheme)) for record in texts]
    windows = [encoder.window(record["text"]) for record in texts]
    pairs = list(make_pairs(names, np.random.default_rng(seed)))
    parameters = list(encoder.backbone.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=2e-5)
    n_steps = -(-len(pairs) // 16)
    torch.manual_seed(seed)
    encoder.backbone.train()
    for step in range(n_steps):
        batch = pairs[16 * step : 16 * (step + 1)]
        rate = min((step + 1) / (0.1 * n_steps), (n_steps - step) / (0.9 * n_steps))
        for group in optimizer.param_groups:
            group["lr"] = 2e-5 * rate
        vectors = encoder.embed([windows[i] for a, b, _ in batch for i in (a, b)])
        cosines = (vectors[0::2] * vectors[1::2]).sum(-1)
        wanted = torch.tensor([same for *_, same in batch])
        (cosines - wanted).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    regression = LogisticRegression(max_iter=1000).fit(encoder.vectors(windows), names)
    seconds, waited = processor_seconds() - began, time.perf_counter() - started
    tested = [record for record in test if label_of(record, scheme) is not None]
    found = regression.predict(encoder.vectors([encoder.window(r["text"]) for r in tested]))
    right = [a == label_of(record, scheme) for a, record in zip(found, tested, strict=True)]
    return Result(seconds, waited, 100 * mean(right))


def make_pairs(
    names: Sequence[str], random: np.random.Generator
) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of texts of one class with 1, and of two with 0, as many of each, mixed."""
    classes = np.array(names)
    pairs: list[tuple[int, int, float]] = []
    for i in range(len(names)):
        for others, wanted in ((classes == names[i], 1.0), (classes != names[i], 0.0)):
            chosen = random.choice(np.flatnonzero(others), PAIRS_PER_TEXT)
            pairs += [(i, int(j), wanted) for j in chosen]
    yield from (pairs[i] for i in random.permutation(len(pairs)))


class Encoder:
    """An encoder that gives a text a vector of length 1: the mean of its hidden states."""

    def __init__(self, base: str) -> None:
        from lmtool.training.backbone import load_backbone, load_tokenizer
        from lmtool.windows import Encoding, TextEncoder

        self.backbone = load_backbone(base)
        self._texts = TextEncoder(load_tokenizer(base), Encoding())

    def window(self, text: str) -> Any:
        """Return the first window of a text."""
        return next(self._texts.windows(text))

    def embed(self, windows: Sequence[Any]) -> Any:
        """Return the vectors of some windows, (windows, hidden)."""
        import torch

        from lmtool.batching import pad_windows

        inputs = {name: torch.from_numpy(array) for name, array in pad_windows(windows).items()}
        hidden = self.backbone(inputs["input_ids"], inputs["attention_mask"])["hidden"]
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)

    def vectors(self, windows: Sequence[Any]) -> Any:
        """Return the vectors of all windows as an array, without dropout or gradients."""
        import torch

        from lmtool.batching import cut_batches

        self.backbone.eval()
        found = np.zeros((len(windows), self.backbone.hidden_size), np.float32)
        with torch.no_grad():
            for batch in cut_batches([len(w.ids) for w in windows], 2048):
                found[batch] = self.embed([windows[i] for i in batch]).numpy()
        return found


if __name__ == "__main__":
    sys.exit(main())
