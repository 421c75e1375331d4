"""The configuration of `lmtool train` for text tasks: a language model is tuned to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ...errors import UsageError
from ...tasks import Opt
from ..config import (
    Defaults,
    DevFiles,
    DevShare,
    Files,
    LoraRank,
    MinSteps,
    Patience,
    TaskConfig,
    TaskName,
    WeightDecay,
    check_ranges,
    convert_config,
    tuned_defaults,
)
from .config import Decay, Epochs, Floor, LoopConfig, Warmup

Metric = Literal["perplexity", "bleu", "chrf", "exact_match"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig(LoopConfig):
    """How to tune a language model. Every field is a flag of `lmtool train` and a TOML key."""

    task: TaskName
    data: Files
    base: Annotated[
        str,
        Opt("Language model to start from: a Hugging Face folder or hub name, or a checkpoint"),
    ]
    dev: DevFiles = ()
    dev_share: DevShare = 0.1

    tune: Annotated[
        Literal["full", "lora"], Opt("What learns: all weights, or low-rank additions to them")
    ] = "full"
    lora_rank: LoraRank = 16
    adapter: Annotated[
        bool, Opt("Save the additions of --tune lora for peft too, in RUN/best-adapter")
    ] = False

    epochs: Epochs = 3
    min_steps: MinSteps = 0
    batch_tokens: Annotated[int, Opt("Tokens of a step, with padding, over all processes", 1)] = (
        4096
    )
    max_tokens: Annotated[
        int | None,
        Opt("Longest example in tokens (default: the base's context, at most 1024)", 8),
    ] = None

    lr: Annotated[float, Opt("Highest learning rate (lora: 2e-4)", 0)] = 5e-5
    weight_decay: WeightDecay = 0.01
    warmup: Warmup = 0.05
    decay: Decay = "linear"
    floor: Floor = 0.0

    metric: Annotated[
        Metric, Opt("What on the dev documents says which checkpoint is best, and when to stop")
    ] = "perplexity"
    eval_samples: Annotated[
        int, Opt("Dev documents to write texts for, for BLEU, chrF and exact matches", 0)
    ] = 200
    patience: Patience = 3

    form: Annotated[
        dict[str, Any], Opt("What the task's prompts are made with, as its documentation says")
    ] = field(default_factory=dict)
    options: Defaults = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UsageError for what cannot work together, or is out of its range."""
        check_ranges(self)
        if not self.data:
            raise UsageError("data: no files to train on", hint="name at least one file")
        if self.adapter and self.tune != "lora":
            raise UsageError("adapter: of no use without --tune lora", hint="leave it out")
        if self.metric != "perplexity" and not self.eval_samples:
            raise UsageError(
                f"metric: {self.metric} needs texts that are written",
                hint="set --eval-samples above 0, or choose --metric perplexity",
            )

    @property
    def entries(self) -> tuple[TaskConfig, ...]:
        """The one task as a table, as TrainConfig has it."""
        return (TaskConfig(task=self.task, data=self.data, dev=self.dev),)


DEFAULTS: dict[str, dict[str, Any]] = {
    "full": {"min_steps": 200},
    "lora": {"min_steps": 200, "lr": 2e-4},
}
"""What `make_finetune_config` fills in by what is tuned; `min_steps` where no epochs are given."""


def make_finetune_config(values: Mapping[str, Any], where: str = "") -> FinetuneConfig:
    """Return a configuration from decoded TOML or flags, as `training.config.make_config` does."""
    return convert_config(FinetuneConfig, values, where, tuned_defaults(values, DEFAULTS))
