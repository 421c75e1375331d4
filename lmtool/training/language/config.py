"""The configuration of a run that trains a language model: flags and keys of a TOML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from ...errors import UsageError
from ...tasks import Opt
from ..config import (
    Clip,
    Device,
    EvalEvery,
    MaxSteps,
    Out,
    Patience,
    Precision,
    SaveEvery,
    Seed,
    Threads,
    WeightDecay,
    check_ranges,
)

Objective = Literal["causal", "masked"]
DEFAULT_SIZE = "small"

# What is told of pretraining and tuning alike, with defaults of their own.
Epochs = Annotated[int, Opt("Times to go through the data", 1)]
Warmup = Annotated[float, Opt("Share of the steps in which the rate rises", 0, 1)]
Decay = Annotated[Literal["linear", "cosine", "constant"], Opt("How the rate falls afterwards")]
Floor = Annotated[float, Opt("Share of the highest rate that it falls to", 0, 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """What the loop of all language models is told, whatever they learn from."""

    command: ClassVar[str] = "lmtool train"

    out: Out

    epochs: Epochs = 1
    max_steps: MaxSteps = 0
    batch_tokens: Annotated[int, Opt("Tokens of a step, over all processes", 1)] = 16384
    memory_tokens: Annotated[
        int, Opt("Tokens that a process computes at once (0: 2048, on a GPU 32768)", 0)
    ] = 0

    lr: Annotated[float, Opt("Highest learning rate", 0)] = 1e-3
    weight_decay: WeightDecay = 0.1
    beta2: Annotated[float, Opt("AdamW's decay of the mean of squares", 0, 1)] = 0.95
    warmup: Warmup = 0.02
    decay: Decay = "cosine"
    floor: Floor = 0.1
    clip: Clip = 1.0

    eval_every: EvalEvery = 0
    save_every: SaveEvery = 0
    patience: Patience = 0

    seed: Seed = 0
    precision: Precision = "auto"
    compile: Annotated[
        bool, Opt("Compile the model (torch.compile): slow to start, fast afterwards")
    ] = False
    deterministic: Annotated[
        bool, Opt("The same bits each time on a GPU too, which is slower (a CPU does it anyway)")
    ] = False
    device: Device = "auto"
    threads: Threads = 0

    def __post_init__(self) -> None:
        """Raise UsageError when a number is out of its range."""
        check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig(LoopConfig):
    """How to pretrain. Every field is a flag of `lmtool pretrain` and a TOML key."""

    command: ClassVar[str] = "lmtool pretrain"

    objective: Annotated[
        Objective,
        Opt("causal: a decoder that continues text; masked: an encoder that fills gaps"),
    ] = "causal"
    data: Annotated[tuple[str, ...], Opt("Files, folders or globs of text to learn from")]
    dev: Annotated[tuple[str, ...], Opt("Files of held-out text")] = ()
    dev_share: Annotated[
        float, Opt("Share of the text to hold out when there is no --dev", 0, 0.9)
    ] = 0.05

    size: Annotated[
        str,
        Opt("tiny, small, base, or a JSON file of a configuration of transformers"),
    ] = DEFAULT_SIZE
    base: Annotated[
        str,
        Opt("Model to go on from: a checkpoint, a Hugging Face folder or a name on its hub"),
    ] = ""
    tokenizer: Annotated[
        str, Opt("Take the tokenizer of this folder or hub name (default: train one)")
    ] = ""
    vocabulary: Annotated[
        int, Opt("Tokens of a trained tokenizer (0: 4096, 8192 or 16384 by the size)", 0)
    ] = 0
    lowercase: Annotated[
        bool, Opt("Lower-case and take accents off (masked, when a tokenizer is trained)")
    ] = False
    length: Annotated[
        int | None, Opt("Tokens of a row: the context (default: 512, or the base's if less)", 8)
    ] = None
    dropout: Annotated[
        float | None,
        Opt("Dropout inside the model (default: none, or that of the base or file)", 0, 0.9),
    ] = None
    mask_share: Annotated[float, Opt("Share of the tokens to fill in (masked)", 0.01, 0.9)] = 0.15

    text_field: Annotated[str, Opt("Field or column that holds the text (jsonl, csv, …)")] = "text"
    whole_file: Annotated[
        bool, Opt("A text file is one document, as a book is (default: each line is one)")
    ] = False
    encoding: Annotated[str, Opt("Encoding of text files")] = "utf-8"
    input_format: Annotated[str, Opt("What the files hold (default: by their suffix)")] = ""
    skip_bad: Annotated[
        bool, Opt("Leave records out that cannot be read (default: refuse the data)")
    ] = False

    def __post_init__(self) -> None:
        """Raise UsageError for what cannot work together, or is out of its range."""
        check_ranges(self)
        if not self.data:
            raise UsageError("data: no files to learn from", hint="name at least one file")
        if "-" in (*self.data, *self.dev):
            raise UsageError(
                "data: the text to learn from cannot come from stdin", hint="write it to a file"
            )
        if self.base and self.tokenizer:
            raise UsageError(
                "tokenizer: given beside --base, which has its own", hint="leave one of them out"
            )
        if (self.base or self.tokenizer) and self.vocabulary:
            raise UsageError("vocabulary: of no use where no tokenizer is trained")
        if self.lowercase and self.objective == "causal":
            raise UsageError(
                "lowercase: a causal model writes text as it reads it",
                hint="leave it out, or choose --objective masked",
            )


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of a model, and the vocabulary that suits it."""

    hidden: int
    layers: int
    heads: int
    vocabulary: int

    @property
    def gated(self) -> int:
        """The inner width of a gated feed-forward block (8/3, in steps of 64)."""
        return -(-8 * self.hidden // 3 // 64) * 64


SIZES = {
    "tiny": Size(hidden=128, layers=4, heads=4, vocabulary=4096),
    "small": Size(hidden=320, layers=6, heads=5, vocabulary=8192),
    "base": Size(hidden=512, layers=8, heads=8, vocabulary=16384),
}
"""About 1.4, 10 and 34 million parameters, decoder or encoder."""
_SIZES_HINT = f"choose {', '.join(SIZES)}, or a JSON file with model_type, such as llama's"


def model_config(config: PretrainConfig, vocabulary: int, ids: dict[str, int], length: int) -> Any:
    """Return transformers' configuration of a new model.

    `ids` holds "eos_token_id" and "pad_token_id". A JSON file gives the shape alone: vocabulary,
    ids and, for the named sizes, positions are those of the run, and a kind that can be both is a
    decoder or an encoder by the objective. UsageError for a file that is none.
    """
    from ..backbone import set_dropout

    found = _shape(config, vocabulary, ids, length)
    if config.dropout is not None:
        set_dropout(found, config.dropout)
    return found


def _shape(config: PretrainConfig, vocabulary: int, ids: dict[str, int], length: int) -> Any:
    from transformers import BertConfig, LlamaConfig

    shared: dict[str, Any] = {"vocab_size": vocabulary, "pad_token_id": ids["pad_token_id"]}
    if config.size not in SIZES:
        least = max(length, 512) if config.objective == "masked" else length
        found = _from_file(Path(config.size), least, {**shared, **ids})
        if hasattr(found, "is_decoder"):
            found.is_decoder = config.objective == "causal"
        return found
    size = SIZES[config.size]
    shape: dict[str, Any] = {
        "hidden_size": size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
    }
    if config.objective == "masked":
        return BertConfig(
            **shared,
            **shape,
            intermediate_size=4 * size.hidden,
            max_position_embeddings=max(length, 512),
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    return LlamaConfig(
        **shared,
        **shape,
        intermediate_size=size.gated,
        max_position_embeddings=length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ids["eos_token_id"],
    )


def _from_file(path: Path, least: int, values: dict[str, Any]) -> Any:
    import json

    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        fields = json.loads(path.read_text("utf-8"))
        kind = fields.pop("model_type")
        positions = max(int(fields.get("max_position_embeddings", 0)), least)
        return AutoConfig.for_model(
            kind, **{**fields, **values, "max_position_embeddings": positions}
        )
    except KeyError as error:
        raise UsageError(
            f"size: {path}: no configuration of transformers: it has no {error}", hint=_SIZES_HINT
        ) from error
    except (OSError, ValueError, AttributeError, TypeError, StrictDataclassError) as error:
        raise UsageError(
            f"size: {path}: no configuration of transformers: {error}", hint=_SIZES_HINT
        ) from error
