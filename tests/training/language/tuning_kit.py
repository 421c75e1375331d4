"""A tiny decoder that has learnt nothing, and tiny documents of text tasks.

As a script it tunes with a configuration, in one process or in several (torchrun), and prints each
step: python tuning_kit.py CONFIG
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lmtool.documents import Document, document_from_record
from lmtool.training.backbone import quiet
from lmtool.training.config import read_toml
from lmtool.training.language.checkpoint import load_text_tokenizer
from lmtool.training.language.examples import ExampleEncoder
from lmtool.training.language.finetune import prepare_finetuning
from lmtool.training.language.speech import Speech, speech_of
from lmtool.training.language.tokenizers import train_tokenizer
from lmtool.training.language.tuning import FinetuneConfig, make_finetune_config

CONTEXT = 128
TRANSLATIONS = {
    "A dog barks.": "狗在叫。",
    "I am here.": "我在这里。",
    "He runs.": "他在跑。",
    "We eat rice.": "我们吃米饭。",
    "Good night.": "晚安。",
    "It is cold.": "天气很冷。",
    "She reads a book.": "她在看书。",
    "Thank you.": "谢谢你。",
}
DIALOGUES = (
    ("Hello!", "Hi, who are you?", "I am Ann.", "Nice to meet you, Ann."),
    ("What is up?", "Not much."),
    ("Are you well?", "Yes, I am.", "And your cat?", "She sleeps."),
)
STORY = "Once upon a time there was a king who had lost his hat in the sea. " * 4


def translations() -> list[dict[str, Any]]:
    """Return records of `translate`."""
    return [
        {"text": text, "language": "en", "translation": {"text": gold, "language": "zh"}}
        for text, gold in TRANSLATIONS.items()
    ]


def dialogues(turns: Sequence[Sequence[str]] = DIALOGUES) -> list[dict[str, Any]]:
    """Return records of `chat`, of texts that user and assistant say by turns."""
    return [
        {
            "text": "",
            "messages": [
                {"role": ("user", "assistant")[number % 2], "content": text}
                for number, text in enumerate(said)
            ],
        }
        for said in turns
    ]


def documents(records: Sequence[dict[str, Any]]) -> list[Document]:
    """Return records as documents."""
    return [document_from_record(record) for record in records]


def write_records(path: Path, records: Sequence[dict[str, Any]]) -> str:
    """Write records as JSON Lines and return the path."""
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    path.write_text("".join(lines), "utf-8")
    return str(path)


def write_base(folder: Path, template: str | None = None) -> str:
    """Write a Llama with two layers of 64, random weights, and return its folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    texts = [STORY, "en>zh: User Assistant System", *TRANSLATIONS, *TRANSLATIONS.values()]
    texts += [" ".join(said) for said in DIALOGUES]
    tokenizer = train_tokenizer(lambda: iter(texts), "causal", 500)
    if template is not None:
        tokenizer.chat_template = template
    config: Any = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=CONTEXT,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def speech(base: str, *, needs_chat: bool = True) -> Speech:
    """Return how a base reads and ends texts."""
    return speech_of(load_text_tokenizer(base), base, needs_chat=needs_chat)


def encoder(base: str) -> ExampleEncoder:
    """Return what makes examples for a base."""
    return speech(base).encoder


def config(folder: Path, **changes: Any) -> FinetuneConfig:
    """Return a configuration that tunes on `folder`/base with data.jsonl, both dev and train."""
    values = {
        "task": "translate",
        "data": [str(folder / "data.jsonl")],
        "dev": [str(folder / "data.jsonl")],
        "base": str(folder / "base"),
        "out": str(folder / "run"),
        "lr": 1e-2,
        "batch_tokens": 256,
        "patience": 0,
        "precision": "no",
        "device": "cpu",
        "threads": 1,
    }
    return make_finetune_config({**values, **changes})


if __name__ == "__main__":
    run = prepare_finetuning(make_finetune_config(read_toml(Path(sys.argv[1]))))
    for step in run.train():
        if run.is_main:
            print(json.dumps([step.number, step.loss, step.scores]), flush=True)
