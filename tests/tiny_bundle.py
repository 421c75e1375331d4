"""A bundle of a few KB that knows five names by heart: for tests of what is around a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from lmtool.bundles import (
    BackboneInfo,
    BundleInfo,
    GraphInfo,
    backbone_hash,
    sha256,
    write_record,
    writing,
)
from lmtool.signature import Port, Signature

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
TAG_BY_WORD = {
    "Tim": "B-PER",
    "Cook": "I-PER",
    "Angela": "B-PER",
    "Merkel": "I-PER",
    "Berlin": "B-LOC",
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "met", "in", ".", *TAG_BY_WORD]


def write_tiny_bundle(folder: Path, name: str = "tiny-en", task: str = "extract") -> Path:
    """Write the bundle and return its folder."""
    with writing(folder) as temporary:
        backbone = _write_backbone(temporary / "backbone")
        signature = Signature((_port("hidden", "float32", 5),), (_port("logits", "float32", 5),))
        node = helper.make_node("Identity", ["hidden"], ["logits"])
        _write_graph(temporary / "head.onnx", [node], signature, [])
        (temporary / "README.md").write_text(f"# {name}\n\nKnows five names.\n", "utf-8")
        info = BundleInfo(
            name=name,
            task=task,
            labels={"entities": ["LOC", "PER"]},
            graphs={"head": GraphInfo("head.onnx", signature)},
            backbone=backbone.hash,
            files={p.name: sha256(p) for p in sorted(temporary.iterdir()) if p.is_file()},
            licence="CC0-1.0",
        )
        write_record(temporary / "bundle.json", info)
    return folder


def _write_backbone(folder: Path) -> BackboneInfo:
    folder.mkdir()
    _tokenizer().save(str(folder / "tokenizer.json"))
    table = np.zeros((len(WORDS), len(TAGS)), np.float32)
    for row, word in enumerate(WORDS):
        table[row, TAGS.index(TAG_BY_WORD.get(word, "O"))] = 10
    signature = Signature((_port("input_ids", "int64"),), (_port("hidden", "float32", 5),))
    node = helper.make_node("Gather", ["table", "input_ids"], ["hidden"])
    tensors = [numpy_helper.from_array(table, "table")]
    _write_graph(folder / "backbone.onnx", [node], signature, tensors)
    files = {p.name: sha256(p) for p in sorted(folder.iterdir())}
    info = BackboneInfo(
        hash=backbone_hash(files),
        precision="fp32",
        hidden_size=5,
        signature=signature,
        encoding={"max_tokens": 16},
        files=files,
    )
    write_record(folder / "backbone.json", info)
    return info


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _port(name: str, dtype: str, *sizes: int) -> Port:
    return Port(name, dtype, ("batch", "seq", *sizes))


def _write_graph(path: Path, nodes: list[Any], signature: Signature, tensors: list[Any]) -> None:
    kinds = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}

    def values(ports: tuple[Port, ...]) -> list[Any]:
        return [helper.make_tensor_value_info(p.name, kinds[p.dtype], p.dims) for p in ports]

    graph = helper.make_graph(
        nodes, path.stem, values(signature.inputs), values(signature.outputs), tensors
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
