"""Checkpoints of language models: folders that anybody's transformers reads too.

    NAME/language.json     what it is, and the sha256 of its files
    NAME/model/            config.json, model.safetensors, tokenizer.json, tokenizer_config.json
    NAME/state.*           what a stopped run needs to go on (in last/ only)

They are written whole or not at all, and nothing in them is pickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from ...bundles import problems, read_record, writing
from ...errors import BundleError
from ..backbone import load_tokenizer, model_folder, quiet, reading, set_dropout
from ..checkpoint import code_versions, find_checkpoint, save_state, write_last
from ..learner import State
from ..lora import adapters, merged_weights
from .config import Objective
from .network import sees_ahead

FORMAT: Final = 1
RECORD_FILE: Final = "language.json"
MODEL_FOLDER: Final = "model"


class LanguageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """language.json."""

    format: int = FORMAT
    objective: Objective
    task: str = ""
    """The text task that it was tuned for; "" for a model that is pretrained only."""
    form: dict[str, Any] = {}
    """What the task needs to be made again."""
    options: dict[str, Any] = {}
    """The task's options that are the model's defaults."""
    context: int
    """The most tokens that it was trained to read at once."""
    base: str = ""
    """The model that training began with; "" for random weights."""
    step: int = 0
    metrics: dict[str, Any] = {}
    """The scores on the held-out text at this step."""
    versions: dict[str, str] = {}
    data: dict[str, str] = {}
    """sha256 by name of the files that it was trained on."""
    files: dict[str, str] = {}
    """sha256 of the checkpoint's own files, by name."""


def is_language_checkpoint(folder: Path | str) -> bool:
    """Whether a folder is the checkpoint of a language model."""
    return (find_checkpoint(Path(folder), RECORD_FILE) / RECORD_FILE).is_file()


def save_language_checkpoint(
    folder: Path,
    model: Any,
    tokenizer: Any,
    record: LanguageRecord,
    state: State | None = None,
) -> None:
    """Write a checkpoint; until it is complete on the disk, the one before it stays.

    Adapters of a model are added to its weights. `state` is what a run may be resumed from.
    """
    with writing(folder, replace=True, record=RECORD_FILE) as new:
        with quiet():
            weights = merged_weights(model) if adapters(model) else None
            model.save_pretrained(new / MODEL_FOLDER, state_dict=weights)
            tokenizer.save_pretrained(new / MODEL_FOLDER)
        if state is not None:
            save_state(new, state)
        write_last(new, RECORD_FILE, msgspec.structs.replace(record, versions=code_versions()))


def read_language_checkpoint(folder: Path | str) -> LanguageRecord:
    """Read language.json; BundleError when it is missing, damaged or of another format."""
    what = "checkpoint of a language model"
    hint = "give a folder that lmtool pretrain or train wrote, such as RUN/best, or train again"
    path = find_checkpoint(Path(folder), RECORD_FILE) / RECORD_FILE
    return read_record(path, LanguageRecord, FORMAT, what=what, hint=hint)


def load_language_checkpoint(folder: Path | str) -> tuple[LanguageRecord, Any, Any]:
    """Return the record, the model in float32 and the tokenizer of a checkpoint.

    Raises BundleError when a file is missing or damaged.
    """
    found = find_checkpoint(Path(folder), RECORD_FILE)
    record = read_language_checkpoint(found)
    for problem in problems(found, record.files):
        raise BundleError(problem, hint="train again, or use another checkpoint of the run")
    return record, load_model(str(found), record.objective), load_text_tokenizer(str(found))


def load_model(base: str, objective: Objective, dropout: float | None = None) -> Any:
    """Load a causal or masked model from a checkpoint, a Hugging Face folder or hub name.

    The weights are in float32. Only safetensors are read, and no code of the model's is run.
    `dropout`, where given, replaces the model's own. Raises BundleError when there is none.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    kind: Any = AutoModelForCausalLM if objective == "causal" else AutoModelForMaskedLM
    folder = model_folder(base)
    with reading(base, kind.__name__):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if dropout is not None:
            set_dropout(config, dropout)
        model, info = kind.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    wrong = sorted(map(str, info["mismatched_keys"]))
    missing = sorted(info["missing_keys"])
    if objective == "masked":  # an encoder without the head that fills gaps begins a new one
        missing = [name for name in missing if "embeddings" in name]
    if wrong or missing:
        raise BundleError(
            f"{base}: its weights are no {objective} model's: {', '.join((wrong + missing)[:3])}",
            hint="choose a base of that kind, or the other --objective",
        )
    if objective == "causal" and sees_ahead(model):
        raise BundleError(
            f"{base}: no causal model: it sees the tokens that it has to predict",
            hint="choose a decoder; where it was trained as one, its config.json has to say "
            '"is_decoder": true',
        )
    return model.train()


def load_text_tokenizer(base: str) -> Any:
    """Load the tokenizer of a model as transformers has it; it must have a fast form."""
    import transformers

    kind: Any = transformers.PreTrainedTokenizerFast
    folder = base if (Path(base) / "tokenizer.json").is_file() else model_folder(base)
    with reading(base):
        if (Path(folder) / "tokenizer.json").is_file() and not (
            Path(folder) / "tokenizer_config.json"
        ).is_file():  # a backbone of lmtool train
            return with_known_tokens(kind(tokenizer_object=load_tokenizer(base)))
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise BundleError(f"{base}: no fast tokenizer", hint="the folder needs a tokenizer.json")
    return tokenizer


def with_known_tokens(tokenizer: Any) -> Any:
    """Name the special tokens of BERT or RoBERTa in a tokenizer that has them without names."""
    names = {
        "cls_token": ("[CLS]", "<s>"),
        "sep_token": ("[SEP]", "</s>"),
        "pad_token": ("[PAD]", "<pad>"),
        "unk_token": ("[UNK]", "<unk>"),
        "mask_token": ("[MASK]", "<mask>"),
    }
    vocabulary = tokenizer.get_vocab()
    for name, tokens in names.items():
        found = next((token for token in tokens if token in vocabulary), None)
        if found is not None:
            setattr(tokenizer, name, found)
    return tokenizer
