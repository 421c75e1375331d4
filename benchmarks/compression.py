"""Held-out bits per byte: a causal model beside a 5-gram Kneser-Ney model and xz.

    python benchmarks/compression.py MODEL --train TRAIN.jsonl… --dev DEV.jsonl…

MODEL is a checkpoint of lmtool pretrain (RUN/best) or a bundle. All three know the same training
texts and are judged on the same bytes, the UTF-8 of each DEV file's texts:

- the model: -log2 p of the texts' tokens, each text from its start on, in windows of its context
  that overlap by half, as lmtool evaluate counts;
- Kneser-Ney: an interpolated modified 5-gram model, trained here over the model's own tokens, or
  over bytes (--symbols bytes). A symbol of its own stands behind each text. It is not counted, nor
  is the model's end token, but both have a probability that the others lack;
- xz: what the held-out texts add to the compressed training texts (preset 9 extreme, whose window
  of 64 MiB holds all of them where the training texts are smaller).
"""

from __future__ import annotations

import argparse
import lzma
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from ngrams import KneserNey
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lmtool.bundles import load_language_bundle
from lmtool.inputs import expand_inputs
from lmtool.language import load_language_model
from lmtool.sources import BadRecord, ReadOptions
from lmtool.training.checkpoint import find_checkpoint
from lmtool.training.language.checkpoint import MODEL_FOLDER, RECORD_FILE, is_language_checkpoint

BYTES = "bytes"
XZ_PRESET = 9 | lzma.PRESET_EXTREME


def main() -> int:
    options = parse()
    print(describe("tokenizers", "numpy", "onnxruntime-genai", "torch"))
    train = read_texts(options.train)
    dev = {Path(file).name: read_texts([file]) for file in options.dev}
    print(f"{options.model}; {n_bytes(train):,} bytes to learn from")
    columns: dict[str, dict[str, float]] = {"model": model_bits(options.model, dev)}
    for symbols in options.symbols:
        columns[f"{options.order}-gram, {symbols}"] = ngram_bits(options, symbols, train, dev)
    if not options.no_xz:
        columns["xz"] = xz_bits(train, dev)
    print("| held out | bytes |", " | ".join(columns), "|\n|---|---|" + "---|" * len(columns))
    for name, texts in dev.items():
        figures = " | ".join(f"{column[name]:.3f}" for column in columns.values())
        print(f"| {name} | {n_bytes(texts):,} | {figures} |")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a causal checkpoint, or the name or folder of a bundle")
    parser.add_argument("--train", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--dev", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--symbols", nargs="+", default=["tokens"], choices=["tokens", BYTES])
    parser.add_argument("--order", type=int, default=5, help="symbols of an n-gram")
    parser.add_argument("--no-xz", action="store_true", help="leave xz out: it takes a while")
    return parser.parse_args()


def read_texts(files: Sequence[str]) -> list[str]:
    texts = []
    for item in expand_inputs(list(files), None):
        for record in item.reader.read(item.source, ReadOptions()):
            if isinstance(record, BadRecord):
                sys.exit(record.message)
            texts.append(record.text)
    return [text for text in texts if text.strip()]


def n_bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def model_bits(ref: str, dev: dict[str, list[str]]) -> dict[str, float]:
    """Return the bits per byte of the held-out texts under a checkpoint or a bundle."""
    if not is_language_checkpoint(ref):
        model = load_language_model(ref)
        return {name: model.score(texts).bits_per_byte for name, texts in dev.items()}
    from lmtool.documents import Document
    from lmtool.training.language.likelihood import evaluate_checkpoint

    found = {}
    for name, texts in dev.items():
        scores = evaluate_checkpoint(ref, [Document(text=text) for text in texts])
        found[name] = float(scores["bits_per_byte"])
    return found


def ngram_bits(
    options: argparse.Namespace, symbols: str, train: list[str], dev: dict[str, list[str]]
) -> dict[str, float]:
    """Return the bits per byte of the held-out texts under a Kneser-Ney model."""
    coder = Coder(None if symbols == BYTES else tokenizer_of(options.model))
    model = KneserNey(coder.stream(train), coder.size, options.order, start=coder.end)
    found = {}
    for name, texts in dev.items():
        stream = coder.stream(texts)
        kept = model.probabilities(stream)[stream != coder.end]
        found[name] = float(-np.log2(kept).sum()) / n_bytes(texts)
    return found


class Coder:
    """Texts as a stream of symbols, tokens or bytes, with one that stands behind each text."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer
        self.end = 256 if tokenizer is None else tokenizer.get_vocab_size()
        self.size = self.end + 1

    def stream(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the symbols of texts, (symbols,)."""
        if self._tokenizer is None:
            rows: list[Any] = [list(text.encode()) for text in texts]
        else:
            found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
            rows = [encoding.ids for encoding in found]
        return np.concatenate([np.array([*row, self.end], np.int64) for row in rows])


def tokenizer_of(ref: str) -> Tokenizer:
    if is_language_checkpoint(ref):
        folder = find_checkpoint(Path(ref), RECORD_FILE) / MODEL_FOLDER
    else:
        folder = load_language_bundle(ref).folder
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def xz_bits(train: list[str], dev: dict[str, list[str]]) -> dict[str, float]:
    """Return the bits per byte that held-out texts add to the compressed training texts."""
    known = "".join(train).encode()
    size = len(lzma.compress(known, preset=XZ_PRESET))
    found = {}
    for name, texts in dev.items():
        more = "".join(texts).encode()
        added = len(lzma.compress(known + more, preset=XZ_PRESET)) - size
        found[name] = 8 * added / len(more)
    return found


if __name__ == "__main__":
    sys.exit(main())
