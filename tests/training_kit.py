"""A tiny task, a tiny encoder and tiny data, to train in seconds.

As a script it trains with a configuration and kills itself after a step:
python tests/training_kit.py CONFIG STEP
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import lmtool
from lmtool.documents import encode_document
from lmtool.training.config import TrainConfig, make_config, read_config
from lmtool.training.run import train

SENTENCES = (
    "Ada Lovelace met Charles Babbage in London .",
    "In Paris , Marie Curie worked with Pierre .",
    "Nobody came to Berlin that year .",
    "Alan Turing lived in Manchester and in Princeton .",
    "Grace Hopper wrote a compiler .",
    "The train from Rome to Vienna was late .",
    "Yesterday Emmy Noether left Erlangen for Oslo .",
    "Kurt Goedel stayed in Vienna .",
)
ENTITIES = {
    "PER": ("Ada Lovelace", "Charles Babbage", "Marie Curie", "Pierre", "Alan Turing",
            "Grace Hopper", "Emmy Noether", "Kurt Goedel"),
    "LOC": ("London", "Paris", "Berlin", "Manchester", "Princeton", "Rome", "Vienna",
            "Erlangen", "Oslo"),
}  # fmt: skip


class WordTagHead(nn.Module):
    """hidden (batch, seq, hidden) -> logits (batch, seq, 1 + labels)."""

    def __init__(self, hidden_size: int, n_tags: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.1)
        self.linear = nn.Linear(hidden_size, n_tags)
        self.signature = lmtool.Signature(
            inputs=(lmtool.Port("hidden", "float32", ("batch", "seq", hidden_size)),),
            outputs=(lmtool.Port("logits", "float32", ("batch", "seq", n_tags)),),
        )

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        return {"logits": self.linear(self.dropout(hidden))}

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(
            outputs["logits"].flatten(0, 1), targets["tags"].flatten()
        )


class WordTagTask(lmtool.EncoderTask):
    """Tags words: 0 is outside, n + 1 the label n; neighbours of one label are one entity."""

    name: ClassVar[str] = "wordtag"
    summary: ClassVar[str] = "Tag words"
    layers: ClassVar[tuple[str, ...]] = ("entities",)
    main_metric: ClassVar[str] = "f1"

    @classmethod
    def collect_labels(cls, documents: Sequence[lmtool.Document]) -> dict[str, list[str]]:
        return {"entities": sorted({e.label for d in documents for e in d.entities or ()})}

    def build_head(self, hidden_size: int) -> nn.Module:
        return WordTagHead(hidden_size, 1 + len(self.labels["entities"]))

    def targets(self, window: Any, document: lmtool.Document) -> dict[str, Any]:
        tags = np.full(len(window.ids), -100)
        tags[window.word_tokens] = 0
        for entity in document.entities or ():
            if words := window.words_of(entity.start, entity.end):
                label = self.labels["entities"].index(entity.label)
                tags[window.word_tokens[slice(*words)]] = label + 1
        return {"tags": tags}

    def infer(
        self, graphs: Mapping[str, Any], hidden: Mapping[str, Any],
        windows: Sequence[Any], options: Any,
    ) -> list[Any]:  # fmt: skip
        logits = graphs["head"].run(hidden)["logits"]
        parts = []
        for row, window in zip(logits, windows, strict=True):
            spans: list[tuple[int, int, int]] = []
            for tag, start, end in zip(
                row[window.word_tokens].argmax(-1).tolist(),
                window.word_starts.tolist(), window.word_ends.tolist(), strict=True,
            ):  # fmt: skip
                if spans and tag and spans[-1][2] == tag and start - spans[-1][1] <= 1:
                    spans[-1] = (spans[-1][0], end, tag)
                elif tag:
                    spans.append((start, end, tag))
            parts.append(spans)
        return parts

    def merge(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: Any
    ) -> dict[str, Any]:
        names = self.labels["entities"]
        return {
            "entities": [
                lmtool.Entity(start=part.start + a, end=part.start + b, label=names[tag - 1])
                for part in parts
                for a, b, tag in part.value
            ]
        }

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        right, n = 0, 0
        for one, other in zip(gold, predicted, strict=True):
            a, b = ({(e.start, e.end, e.label) for e in d.entities or ()} for d in (one, other))
            right, n = right + len(a & b), n + len(a) + len(b)
        return {"f1": 200 * right / max(n, 1)}


def document(text: str) -> lmtool.Document:
    """Return a document with its gold: the names of ENTITIES in it."""
    found = [
        lmtool.Entity(start=start, end=start + len(name), text=name, label=label)
        for label, names in ENTITIES.items()
        for name in names
        if (start := text.find(name)) >= 0
    ]
    return lmtool.Document(text=text, entities=sorted(found, key=lambda entity: entity.start))


def write_documents(path: Path, texts: Sequence[str] = SENTENCES) -> str:
    """Write documents as JSON Lines and return the path."""
    path.write_bytes(b"".join(encode_document(document(text)) for text in texts))
    return str(path)


def tiny_tokenizer() -> Any:
    """Return an uncased word-piece tokenizer that knows the words of SENTENCES."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = sorted({word for text in SENTENCES for word in text.lower().split()})
    letters = [
        f"{mark}{letter}"
        for letter in "abcdefghijklmnopqrstuvwxyz0123456789"
        for mark in ("", "##")
    ]
    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *words])
    tokenizer = Tokenizer(
        models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write_base(folder: Path, positions: int = 64) -> str:
    """Write a BERT with two layers of 32, random weights, and return its folder."""
    from transformers import BertConfig, BertModel

    from lmtool.training.backbone import quiet

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=64, max_position_embeddings=positions,
    )  # fmt: skip
    with quiet():
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def config(folder: Path, **changes: Any) -> TrainConfig:
    """Return a configuration that trains on `folder`/base and data.jsonl, both dev and train."""
    values = {
        "task": "wordtag",
        "data": [str(folder / "data.jsonl")],
        "dev": [str(folder / "data.jsonl")],
        "base": str(folder / "base"),
        "out": str(folder / "run"),
        "lr": 2e-3,
        "head_lr": 5e-3,
        "batch_tokens": 64,
        "max_tokens": 32,
        "patience": 0,
        "precision": "no",
        "device": "cpu",
        "threads": 1,
    }
    return make_config({**values, **changes})


if __name__ == "__main__":
    for step in train(read_config(Path(sys.argv[1])), task=WordTagTask):
        if step.number == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
