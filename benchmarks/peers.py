"""The peer of lmtool in the benchmarks: a transformers pipeline with a checkpoint's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

EXTRACT_TEXT = """\
import sys
from transformers import pipeline
tagger = pipeline("token-classification", model=sys.argv[1], aggregation_strategy="simple")
for entity in tagger(sys.argv[2]):
    print(entity["start"], entity["end"], entity["entity_group"], entity["word"])
"""
"""A program that does what `lmtool extract --text` does: its arguments are a folder and a text."""


def hf_peer(checkpoint: Path, out: Path) -> Path:
    """Write a folder that AutoModelForTokenClassification loads, and return it.

    `checkpoint` is best/ of a training that learnt names. Encoder, head (one linear layer) and
    tokenizer are the same, in fp32. An embedding of case shapes is left out, since the models of
    transformers have no place for it: a look-up and an addition less work for the peer, and its
    answers are a little worse than they should be. Only its time is of interest here.
    """
    import torch
    from lmtool_extract.tags import tag_names
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast

    from lmtool.training.backbone import BACKBONE_FOLDER, quiet
    from lmtool.training.checkpoint import HEADS_FOLDER, read_info

    heads = read_info(checkpoint).heads.items()
    name, labels = next((k, h.labels["entities"]) for k, h in heads if "entities" in h.labels)
    tags = tag_names(labels)
    head = load_file(checkpoint / HEADS_FOLDER / f"{name}.safetensors")
    tokenizer = Tokenizer.from_file(str(checkpoint / BACKBONE_FOLDER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with quiet():
        model: Any = AutoModelForTokenClassification.from_pretrained(
            checkpoint / BACKBONE_FOLDER,
            id2label=dict(enumerate(tags)),
            label2id={tag: number for number, tag in enumerate(tags)},
            dtype=torch.float32,
        )
        with torch.no_grad():
            model.classifier.weight.copy_(head["parts.head.linear.weight"])
            model.classifier.bias.copy_(head["parts.head.linear.bias"])
        model.save_pretrained(out)
        new_tokenizer: Any = PreTrainedTokenizerFast
        new_tokenizer(
            tokenizer_object=tokenizer,
            model_max_length=model.config.max_position_embeddings,
            **_special_tokens(tokenizer, model.config.pad_token_id),
        ).save_pretrained(out)
    return out


def _special_tokens(tokenizer: Any, pad_id: int | None) -> dict[str, str]:
    """Return the special tokens that a pipeline asks for: what pads, begins and ends a text."""
    first, *_, last = tokenizer.encode("a").tokens
    return {"pad_token": tokenizer.id_to_token(pad_id or 0), "cls_token": first, "sep_token": last}


def load_pipeline(folder: Path) -> Any:
    """Return the pipeline on the CPU, all else at its defaults: batches of one, no aggregation.

    It cuts a text off where the model's positions end, and says nothing.
    """
    from transformers import pipeline

    from lmtool.training.backbone import quiet

    with quiet():
        return pipeline("token-classification", model=str(folder), device="cpu")
