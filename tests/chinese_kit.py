"""Chinese samples, documents of mixed scripts, and tiny encoders with tokenizers of four kinds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lmtool.documents import Document, document_from_record, encode_document
from lmtool.formats import reader_for
from lmtool.inputs import FileSource
from lmtool.sources import ReadOptions
from lmtool.testing import Result, run_cli, tiny_backbone

DATA = Path(__file__).parent / "data" / "chinese"
KINDS = ("vocab.txt", "wordpiece", "bytes", "unigram")
ODD = (
    "今天天气很好",
    "ＡＢＣ集團（上海）　宣佈：iPhone-15 Pro🎉售價￥9,999！",
    "👨‍👩‍👧说：“Zürich很美”……真的？！",
    "他在 GitHub上写Python代码 。",
    "𠮷野家",
    "①②③",
    "　",
)
"""Texts without spaces, of mixed scripts, with full-width marks, emoji and rare characters."""

MIXED: dict[str, list[dict[str, Any]]] = {
    "entities": [
        {
            "text": "🎉张三在Apple公司（北京）工作，ＡＢＣ集团的李四😀也去了Zürich！",
            "entities": [("张三", "PER"), ("Apple公司", "ORG"), ("北京", "LOC"),
                         ("ＡＢＣ集团", "ORG"), ("李四", "PER"), ("Zürich", "LOC")],
        },
        {"text": "没有人😴。", "entities": []},
    ],
    "frames": [
        {
            "text": "🎉昨天李四用iPhone😀买了《ＡＢＣ》！王五没来。",
            "frames": [
                ("买", [("昨天", "ARGM-TMP"), ("李四", "ARG0"), ("《ＡＢＣ》", "ARG1")]),
                ("来", [("王五", "ARG0"), ("没", "ARGM-NEG")]),
            ],
        },
    ],
    "events": [
        {
            "text": "🚀Apple公司（美国）以１００亿元收购了ＡＢＣ集团50％股权😀！",
            "events": [
                ("收购", "投资",
                 [("Apple公司", "sub"), ("１００亿元", "money"), ("ＡＢＣ集团", "obj")]),
            ],
        },
        {"text": "没有消息😴。", "events": []},
    ],
}  # fmt: skip
"""Gold for texts of mixed scripts; spans are the first place of their text."""


def span(text: str, part: str) -> dict[str, int]:
    """Return the offsets of the first place of a part."""
    start = text.index(part)
    return {"start": start, "end": start + len(part)}


def mixed(layer: str) -> list[Document]:
    """Return the documents of MIXED with this layer."""
    return [document_from_record(_record(record)) for record in MIXED[layer]]


def _record(record: dict[str, Any]) -> dict[str, Any]:
    text = record["text"]
    made: dict[str, Any] = {"text": text}
    if "entities" in record:
        made["entities"] = [{**span(text, e), "label": label} for e, label in record["entities"]]
    if "frames" in record:
        made["frames"] = [
            {"predicate": span(text, p), "arguments": _roles(text, roles)}
            for p, roles in record["frames"]
        ]
    if "events" in record:
        made["events"] = [
            {"label": label, "trigger": span(text, t), "arguments": _roles(text, roles)}
            for t, label, roles in record["events"]
        ]
    return made


def _roles(text: str, roles: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{**span(text, part), "role": role} for part, role in roles]


def samples(name: str, n: int | None = None) -> list[Document]:
    """Return the first documents of a sample file."""
    path = str(DATA / name)
    records = reader_for(path).read(FileSource(path), ReadOptions())
    return [record for record in records if isinstance(record, Document)][:n]


def all_texts() -> list[str]:
    """Return the texts of the samples and of this module, for the vocabularies."""
    files = ("entities.iob2", "roles.jsonl", "events.jsonl", "topics.jsonl")
    texts = [document.text for name in files for document in samples(name)]
    return [*texts, *ODD, *(record["text"] for records in MIXED.values() for record in records)]


def write_base(folder: Path, texts: Sequence[str], kind: str) -> Path:
    """Write a tiny encoder with random weights whose tokenizer is one of KINDS; return the folder.

    "vocab.txt" and "wordpiece" are BERT, with that file alone and with tokenizer.json; "bytes" is
    a RoBERTa with byte-level BPE, "unigram" an XLM-RoBERTa with pieces after SentencePiece.
    """
    if kind in ("vocab.txt", "wordpiece"):
        tiny_backbone(folder, texts, vocabulary=4000)
        if kind == "vocab.txt":
            file = folder / "tokenizer.json"
            ids: dict[str, int] = json.loads(file.read_text("utf-8"))["model"]["vocab"]
            (folder / "vocab.txt").write_text("\n".join(sorted(ids, key=ids.__getitem__)), "utf-8")
            file.unlink()
        return folder
    import torch
    from transformers import RobertaConfig, RobertaModel, XLMRobertaConfig, XLMRobertaModel

    from lmtool.training.backbone import quiet

    is_bytes = kind == "bytes"
    tokenizer = _byte_tokenizer(texts) if is_bytes else _unigram_tokenizer(texts)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config_of, model_of = (
        (RobertaConfig, RobertaModel) if is_bytes else (XLMRobertaConfig, XLMRobertaModel)
    )
    config: Any = config_of(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=64, max_position_embeddings=260,
        pad_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        model_of(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def _byte_tokenizer(texts: Sequence[str]) -> Any:
    """Return byte-level BPE: of every six characters one stays a token a byte."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bytes_of: dict[str, str] = {}
    for character in sorted(set("".join(texts))):
        bytes_of[character] = "".join(piece for piece, _ in split.pre_tokenize_str(character))
    merges: dict[tuple[str, str], None] = {}
    for number, letters in enumerate(bytes_of.values()):
        if number % 6 == 0:
            continue
        merges |= {(letters[:i], letters[i]): None for i in range(1, len(letters))}
    pieces = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer: Any = Tokenizer(models.BPE(ids, list(merges)))
    tokenizer.pre_tokenizer = split
    return _with_special(tokenizer)


def _unigram_tokenizer(texts: Sequence[str]) -> Any:
    """Return Unigram over NFKC with "▁" for spaces: characters and words of Latin letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    normalizer = normalizers.NFKC()
    text = normalizer.normalize_str(" ".join(texts))
    pieces = [(character, -8.0) for character in sorted(set(text) - {" "} | {"▁"})]
    words = sorted(set(re.findall("[A-Za-z]{2,}", text)))
    pieces += [(mark + word, -9.0) for word in words for mark in ("", "▁")]
    vocabulary = [(special, 0.0) for special in SPECIAL] + pieces
    tokenizer: Any = Tokenizer(models.Unigram(vocabulary, SPECIAL.index("<unk>")))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return _with_special(tokenizer)


def _with_special(tokenizer: Any) -> Any:
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def run(*arguments: object, stdin: str | None = None) -> Result:
    """Run a command line that must succeed."""
    result = run_cli(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result


RATES = ("--lr", "2e-3", "--head-lr", "5e-3", "--dropout", 0, "--batch-tokens", 256)
QUIET = ("--max-tokens", 256, "--threads", 1, "--patience", 0, "--eval-every", 100_000, "-q")


def train_and_export(folder: Path, base: Path, *files: Path, task: str, epochs: int = 40) -> Path:
    """Train a task on files and export it, on the command line; return the model's folder."""
    out, model = folder / "run", folder / "model"
    data, dev = ([w for f in files for w in (flag, f)] for flag in ("--data", "--dev"))
    length = ("--epochs", epochs, "--language", "zh")
    run("train", task, *data, *dev, "--base", base, "-o", out, *length, *RATES, *QUIET)
    run("export", out / "best", "-o", model, *dev, "--precision", "fp32")
    return model


def write_documents(path: Path, documents: Sequence[Document]) -> Path:
    """Write documents as JSON Lines and return the path."""
    path.write_bytes(b"".join(map(encode_document, documents)))
    return path


def annotate(task: str, model: Path, documents: Sequence[Document], *flags: str) -> list[Document]:
    """Run a model on the texts of documents, and check that each span has the text it covers."""
    bare = [Document(text=document.text, pair=document.pair) for document in documents]
    lines = b"".join(map(encode_document, bare)).decode()
    result = run(task, "-", "--model", model, "-q", *flags, stdin=lines)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    for record in records:
        for found in _spans(record):
            assert found["text"] == record["text"][found["start"] : found["end"]] != ""
        coverage = record["coverage"]
        assert coverage["read"] == coverage["characters"] == len(record["text"])
    return [document_from_record(record) for record in records]


def _spans(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every span in the JSON form of a document."""
    if isinstance(value, dict):
        if "start" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _spans(item)


def facts(document: Document) -> set[tuple[object, ...]]:
    """Return what the layers of a document say, without scores."""
    found: set[tuple[object, ...]] = set()
    for entity in document.entities or ():
        found.add((entity.start, entity.end, entity.label))
    for frame in document.frames or ():
        predicate = (frame.predicate.start, frame.predicate.end)
        found.add(predicate)
        found |= {(predicate, a.start, a.end, a.role) for a in frame.arguments}
    for event in document.events or ():
        trigger = (event.trigger.start, event.trigger.end, event.label)
        found.add(trigger)
        found |= {(trigger, a.start, a.end, a.role) for a in event.arguments}
    for scheme, labels in (document.labels or {}).items():
        found |= {(scheme, label.label) for label in labels}
    return found
