"""Entities: quality on every dev set and speed, of a bundle and of spaCy's CNN pipeline.

    python benchmarks/quality.py --data DATA --train-peer PEER      # once, about 25 minutes
    python benchmarks/quality.py --data DATA --peer PEER --bundle BUNDLE

DATA is what recipes/entities-en/prepare.py wrote. The peer is `spacy.blank("en")` with the tok2vec
and ner of spaCy's own default configuration for a CPU, trained from scratch on the same documents
and stopped early on the dev parts. Both are scored by the same function, on characters.

The peer cannot say all that the data says: its missing annotation "-" stands for the spans "?",
but it has none for a label that a set does not annotate. There, what is not annotated is O to it,
in training and in its own early stopping. TIME and NUM, which one set annotates, suffer the most.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lmtool_extract.scoring import score_entities
from machine import describe

from lmtool import Document, Entity
from lmtool.documents import document_from_record
from lmtool.training.batches import lowered

LABELS = ("PER", "ORG", "LOC", "MISC", "TIME", "NUM")
UNKNOWN = "?"
DEV_SHARE = 3  # the peer's early stopping looks at each third dev document: a look takes seconds

Span = tuple[int, int, str]  # start, end, label
Predict = Callable[[Sequence[str]], Iterator[list[Span]]]


# ── data and score ───────────────────────────────────────────────────────────────────────────


def read_part(data: Path, part: str) -> dict[str, list[dict[str, Any]]]:
    """Read SET.PART.jsonl of every set."""
    paths = sorted(data.glob(f"*.{part}.jsonl"))
    if not paths:
        sys.exit(f"{data}: no *.{part}.jsonl; write them with recipes/entities-en/prepare.py")
    return {
        path.name.removesuffix(f".{part}.jsonl"): [
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for path in paths
    }


def read_dev(data: Path, *, lower: bool) -> dict[str, list[Document]]:
    """Read the dev documents of every set, as they are or in lower case."""
    documents = {
        name: [document_from_record(record) for record in records]
        for name, records in read_part(data, "dev").items()
    }
    if lower:
        documents = {name: [lowered(d) for d in group] for name, group in documents.items()}
    return documents


def print_quality(name: str, dev: dict[str, list[Document]], predict: Predict) -> None:
    """Print precision, recall and F1 of each set, and F1 by label, by lmtool's own scorer."""
    print(f"\n{name:<24}{'P':>8}{'R':>8}{'F1':>8}   " + "".join(f"{c:>7}" for c in LABELS))
    all_gold: list[Document] = []
    all_found: list[Document] = []
    scores = []
    for set_name, gold in dev.items():
        found = [
            document.with_layers(
                {"entities": [Entity(start=a, end=b, label=label) for a, b, label in spans]}
            )
            for document, spans in zip(gold, predict([d.text for d in gold]), strict=True)
        ]
        report = score_entities(gold, found, LABELS)
        scores.append(report["micro_f1"])
        print(_row(set_name, report))
        all_gold += gold
        all_found += found
    print(_row("all, pooled", score_entities(all_gold, all_found, LABELS)))
    print(f"{'mean F1 of the sets':<40}{sum(scores) / len(scores):>8.2f}")


def _row(name: str, report: dict[str, Any]) -> str:
    figures = "".join(f"{report['micro'][key]:>8.2f}" for key in ("precision", "recall", "f1"))
    rows = [report["labels"][label] for label in LABELS]
    by_label = "".join(f"{r['f1']:>7.1f}" if r["support"] else f"{'-':>7}" for r in rows)
    return f"{name:<24}{figures}   {by_label}"


def print_speed(name: str, texts: Sequence[str], predict: Predict, n_cores: int) -> None:
    """Words are what white space parts; the fastest of three runs after a warm-up counts."""
    n_words = sum(len(text.split()) for text in texts)
    for _ in predict(texts[:200]):
        pass
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in predict(texts):
            pass
        seconds.append(time.perf_counter() - start)
    cores = "1 core" if n_cores == 1 else f"{n_cores} cores"
    print(f"{name:<24}{cores:>8}{n_words / min(seconds):>12,.0f} words/s")


# ── the peer ─────────────────────────────────────────────────────────────────────────────────


class _TimeUpError(Exception):
    """The time for training is over; the best model so far is on disk."""


def train_peer(data: Path, out: Path, minutes: float) -> None:
    """Train spaCy's pipeline; OUT/model-best is the model."""
    from spacy.cli.init_config import init_config
    from spacy.training.initialize import init_nlp
    from spacy.training.loop import train
    from spacy.util import registry

    deadline = time.monotonic() + 60 * minutes

    def stop_in_time(nlp: Any, step: dict[str, Any]) -> None:
        if time.monotonic() > deadline:
            raise _TimeUpError

    registry.callbacks.register("lmtool_benchmark.stop_in_time.v1", func=lambda: stop_in_time)

    with tempfile.TemporaryDirectory() as folder:
        for part in ("train", "dev"):
            documents = [d for docs in read_part(data, part).values() for d in docs]
            if part == "dev":
                documents = documents[::DEV_SHARE]
            _write_docs(documents, Path(folder) / f"{part}.spacy")
        config = init_config(lang="en", pipeline=["ner"], optimize="efficiency", gpu=False)
        config["paths"]["train"] = f"{folder}/train.spacy"
        config["paths"]["dev"] = f"{folder}/dev.spacy"
        config["training"]["before_update"] = {"@callbacks": "lmtool_benchmark.stop_in_time.v1"}
        nlp = init_nlp(config)
        try:
            train(nlp, out)
        except _TimeUpError:
            print(f"stopped after {minutes} minutes")


def _write_docs(documents: Sequence[dict[str, Any]], path: Path) -> None:
    """Put documents into spaCy's format, in a random order, each stretch "?" as missing."""
    import spacy
    from spacy.tokens import DocBin

    nlp = spacy.blank("en")
    store = DocBin()
    for document in random.Random(0).sample(documents, len(documents)):
        doc = nlp.make_doc(document["text"])
        entities, missing = [], set()
        for entity in document["entities"]:
            start, end, label = entity["start"], entity["end"], entity["label"]
            span = None if label == UNKNOWN else doc.char_span(start, end, label=label)
            if span is not None:
                entities.append(span)
            else:  # unknown, or not at the peer's token boundaries
                missing |= {t.i for t in doc if t.idx < end and start < t.idx + len(t)}
        missing -= {token.i for span in entities for token in span}
        doc.set_ents(entities, missing=[doc[i : i + 1] for i in sorted(missing)], default="outside")
        store.add(doc)
    store.to_disk(path)


def load_peer(folder: Path, n_processes: int) -> Predict:
    import spacy

    best = folder / "model-best"
    nlp = spacy.load(best if best.is_dir() else folder)

    def predict(texts: Sequence[str]) -> Iterator[list[Span]]:
        for doc in nlp.pipe(texts, n_process=n_processes):
            yield [(span.start_char, span.end_char, span.label_) for span in doc.ents]

    return predict


# ── the bundle ───────────────────────────────────────────────────────────────────────────────


def load_bundle(path: Path, threads: int) -> Predict:
    from lmtool.models import load

    model = load(path, device="cpu", threads=threads)

    def predict(texts: Sequence[str]) -> Iterator[list[Span]]:
        for document in model.pipe(texts):
            yield [(e.start, e.end, e.label) for e in document.layer("entities") or ()]

    return predict


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--train-peer", type=Path, metavar="OUT_DIR")
    parser.add_argument("--minutes", type=float, default=25, help="at most, for --train-peer")
    parser.add_argument("--peer", type=Path, metavar="DIR", help="what --train-peer wrote")
    parser.add_argument("--bundle", type=Path, metavar="PATH")
    parser.add_argument("--lower", action="store_true", help="the dev texts in lower case")
    parser.add_argument("--no-speed", action="store_true", help="quality only")
    arguments = parser.parse_args()

    if arguments.train_peer:
        train_peer(arguments.data, arguments.train_peer, arguments.minutes)
        return
    loaders: dict[str, Callable[[int], Predict]] = {}
    if arguments.peer:
        loaders["spaCy"] = lambda n: load_peer(arguments.peer, n)
    if arguments.bundle:
        loaders["lmtool"] = lambda n: load_bundle(arguments.bundle, n)
    if not loaders:
        parser.error("give --train-peer, --peer or --bundle")
    print(describe("spacy", "onnxruntime", "tokenizers"))
    dev = read_dev(arguments.data, lower=arguments.lower)
    for name, loader in loaders.items():
        print_quality(name, dev, loader(1))
    if arguments.no_speed:
        return
    print()
    texts = [document.text for documents in dev.values() for document in documents]
    for name, loader in loaders.items():
        for n_cores in sorted({1, os.cpu_count() or 1}):
            print_speed(name, texts, loader(n_cores), n_cores)


if __name__ == "__main__":
    main()
