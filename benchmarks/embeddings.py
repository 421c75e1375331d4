"""How well cosines of embeddings follow people's judgement, beside the encoder they were taught by.

    python benchmarks/embeddings.py PAIRS.csv --base ENCODER [--model base-en]

PAIRS is a CSV file without a header: two texts and how alike people found them (STS Benchmark).
ENCODER is the Hugging Face folder of a sentence encoder with mean pooling. Prints Spearman's
correlation of both, times 100, and how far the cosines themselves agree.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe

import lmtool
from lmtool.batching import cut_batches, pad_windows
from lmtool.training.backbone import load_backbone, load_tokenizer
from lmtool.windows import Encoding, TextEncoder

Vectors = np.ndarray[Any, np.dtype[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--base", required=True)
    parser.add_argument("--model", default="base-en")
    options = parser.parse_args()
    print(describe("onnxruntime", "torch", "transformers"))
    with options.pairs.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    gold = np.array([float(row[2]) for row in rows])
    texts = [row[side] for side in (0, 1) for row in rows]
    cosines = {
        options.model: cosines_of(model_vectors(options.model, texts)),
        options.base.rstrip("/").split("/")[-1]: cosines_of(base_vectors(options.base, texts)),
    }
    print(f"{len(rows):,} pairs")
    for name, found in cosines.items():
        print(f"{name}: Spearman {100 * spearman(found, gold):.2f}")
    first, second = cosines.values()
    print(f"both with each other: Spearman {100 * spearman(first, second):.2f}")


def model_vectors(ref: str, texts: Sequence[str]) -> Vectors:
    """Return the model's vectors, (texts, size)."""
    model = lmtool.load(ref, task_name="embed")
    return np.array([document.layer("embedding") for document in model.pipe(texts)])


def base_vectors(base: str, texts: Sequence[str]) -> Vectors:
    """Return the means of the encoder's states, in PyTorch and fp32."""
    import torch

    backbone = load_backbone(base).eval()
    encoder = TextEncoder(load_tokenizer(base), Encoding(max_tokens=256))
    windows = [next(encoder.windows(text)) for text in texts]
    vectors = np.zeros((len(texts), backbone.hidden_size))
    for batch in cut_batches([len(window.ids) for window in windows], 4096):
        inputs = pad_windows([windows[i] for i in batch])
        mask = torch.from_numpy(inputs["attention_mask"])
        with torch.no_grad():
            states = backbone(torch.from_numpy(inputs["input_ids"]), mask)["hidden"]
        sums = (states * mask[..., None]).sum(1)
        vectors[batch] = torch.nn.functional.normalize(sums).numpy()
    return vectors


def cosines_of(vectors: Vectors) -> Vectors:
    """Return the cosine of each text of the first half with its fellow in the second."""
    first, second = np.split(vectors, 2)
    return np.asarray((first * second).sum(1))


def spearman(first: Vectors, second: Vectors) -> float:
    """Return Spearman's rank correlation, ties at their mean rank."""
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def ranks(values: Vectors) -> Vectors:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse])


if __name__ == "__main__":
    main()
