"""Writes a sentence encoder's own vectors into documents, for the shared backbone to keep them.

python recipes/base-en/teacher.py BASE TEXTS.jsonl OUT.jsonl [N]

BASE is a folder (or hub name) of a sentence encoder with mean pooling, such as all-MiniLM-L6-v2.
Each document gets the field `embedding`: the mean of its token states over the first window,
of length 1. With N only the first N texts are taken.
"""

import itertools
import json
import sys
from collections.abc import Iterator

import numpy as np
import torch

from lmtool.batching import cut_batches, pad_windows
from lmtool.training.backbone import load_backbone, load_tokenizer
from lmtool.windows import Encoding, TextEncoder

POOL = 4096


def vectors(base: str, texts: list[str]) -> Iterator[np.ndarray]:
    """Yield the vector of each text, float32 (hidden,)."""
    backbone = load_backbone(base).eval()
    encoder = TextEncoder(load_tokenizer(base), Encoding(max_tokens=256))
    for start in range(0, len(texts), POOL):
        windows = [next(encoder.windows(text)) for text in texts[start : start + POOL]]
        found: dict[int, np.ndarray] = {}
        for batch in cut_batches([len(window.ids) for window in windows], 4096):
            inputs = pad_windows([windows[i] for i in batch])
            mask = torch.from_numpy(inputs["attention_mask"])
            with torch.no_grad():
                states = backbone(torch.from_numpy(inputs["input_ids"]), mask)["hidden"]
            pooled = (states * mask[..., None]).sum(1)  # (batch, hidden)
            found |= zip(batch, torch.nn.functional.normalize(pooled).numpy(), strict=True)
        yield from (found[i] for i in range(len(windows)))


def main(base: str, source: str, target: str, n: str | None = None) -> None:
    with open(source, encoding="utf-8") as lines:
        records = [json.loads(line) for line in itertools.islice(lines, int(n) if n else None)]
    with open(target, "w", encoding="utf-8") as out:
        for record, vector in zip(
            records, vectors(base, [record["text"] for record in records]), strict=True
        ):
            record["embedding"] = [round(float(value), 5) for value in vector]
            out.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
