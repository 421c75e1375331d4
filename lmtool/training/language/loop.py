"""The training loop of language models, for raw text and for a task's examples alike.

`LanguageRun` is a run that is ready to train; what it learns from is a `Batches`, what it is told
a `LoopConfig`. Every process makes the whole batch of a step and computes its share of the rows,
so that several processes take the steps that one takes.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import UsageError
from ...sessions import n_threads
from ..folder import RunFolder
from ..learner import (
    Progress,
    State,
    StateRecord,
    deterministic,
    from_main,
    make_accelerator,
    rate,
    restore_state,
    seed_all,
    state_of,
)
from ..loop import Meter, Step
from ..lora import adapters
from .checkpoint import LanguageRecord, save_language_checkpoint
from .config import LoopConfig
from .network import IGNORED, LanguageNetwork

Batch: TypeAlias = Mapping[str, NDArray[np.int64]]
LOWER_IS_BETTER = ("loss", "perplexity", "bits_per_byte")


class Batches(Protocol):
    """What a model learns from: a batch for each step, the same each time it is asked for.

    A batch holds arrays int64 (rows, length):
        input_ids: the tokens.
        labels: for each position the token that it has to predict, not shifted again (for a
            causal model the next token); IGNORED (-100) where nothing is learnt.
        position_ids: the place of each token (default: counted in each segment, or row).
        segments: the number of the text that a token is of, where a row holds several; tokens
            see those of their own text alone. -1 is padding.
    """

    def batch(self, step: int) -> Batch:
        """Return the batch of all processes at a step, counted from 0 over the whole run."""


class LanguageLearner:
    """A language model that learns: one call of `step` per batch."""

    def __init__(self, model: Any, config: LoopConfig, *, is_causal: bool) -> None:
        self.model = model
        self.config = config
        self.progress = Progress()
        torch.set_num_threads(n_threads(config.threads))
        self.accelerator = make_accelerator(config, finds_unused=not is_causal)
        self.device = self.accelerator.device
        self._optimizer = make_adamw(model, config)
        network = LanguageNetwork(model, is_causal=is_causal, compiles=config.compile)
        self._network, self._prepared = self.accelerator.prepare(network, self._optimizer)
        self._network.train()
        self.loss_sum = torch.zeros((), device=self.device)
        seed_all(config.seed + self.accelerator.process_index)

    @property
    def tokens_at_once(self) -> int:
        """Tokens that are computed at once."""
        return self.config.memory_tokens or (2048 if self.device.type == "cpu" else 32768)

    def step(self, batch: Batch, rate: float) -> None:
        """Take one step on the batch of all processes, with the learning rate times `rate`."""
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
        n_targets = max(int((batch["labels"] != IGNORED).sum()), 1)
        world = self.accelerator.num_processes
        parts = list(self._parts(self._share(batch)))
        total = torch.zeros((), device=self.device)
        for index, part in enumerate(parts):
            is_last = index == len(parts) - 1
            sync = contextlib.nullcontext() if is_last else self.accelerator.no_sync(self._network)
            with sync:
                loss = self._network(**self._move(part)) / n_targets
                self.accelerator.backward(loss * world)  # DDP takes the mean of the processes
            total += loss.detach()
        self.loss_sum += self.accelerator.reduce(total, "sum") if world > 1 else total
        if self.config.clip:
            trained = [p for p in self._network.parameters() if p.requires_grad]
            self.accelerator.clip_grad_norm_(trained, self.config.clip)
        self._prepared.step()
        self._prepared.zero_grad()

    def surprise(self, batch: Batch) -> float:
        """Return the sum of -log p (nats) of the labels of a batch, computed by this process."""
        self._network.eval()
        network = self.accelerator.unwrap_model(self._network, keep_torch_compile=True)
        total = 0.0
        with torch.no_grad(), self.accelerator.autocast():
            for part in self._parts(batch):
                total += float(network(**self._move(part)))
        self._network.train()
        return total

    def state(self) -> State:
        """Return what a resumed run needs beside the weights."""
        tensors, record = state_of(self._optimizer, self.accelerator, self.progress)
        tensors["loss_sum"] = self.loss_sum.cpu()
        return tensors | {name: t.cpu() for name, t in adapters(self.model).items()}, record

    def restore(self, tensors: dict[str, Tensor], record: StateRecord) -> None:
        """Go on from a state; BundleError when it is not one of this optimizer and model."""
        restore_state(self._optimizer, self.accelerator, tensors, record, self.config)
        self.loss_sum = tensors["loss_sum"].to(self.device)
        self.progress = msgspec.structs.replace(record.progress)

    def _share(self, batch: Batch) -> Batch:
        """Return this process's rows; where there are none, one without labels."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        if rank < len(batch["labels"]):
            return {name: array[rank::world] for name, array in batch.items()}
        row = {name: array[:1] for name, array in batch.items()}
        return {**row, "labels": np.full_like(row["labels"], IGNORED)}

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """Cut a batch by the tokens that fit at once, into parts of nearly one size."""
        n_rows, length = batch["labels"].shape
        n_parts = math.ceil(n_rows / max(self.tokens_at_once // length, 1))
        size = math.ceil(n_rows / n_parts)
        for start in range(0, n_rows, size):
            yield {name: array[start : start + size] for name, array in batch.items()}

    def _move(self, batch: Batch) -> dict[str, Tensor]:
        tensors = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in batch.items()}
        if self.device.type == "cuda":
            tensors = {k: t.pin_memory() for k, t in tensors.items()}
        return {k: t.to(self.device, non_blocking=True) for k, t in tensors.items()}


class LanguageRun:
    """A run that is ready to train.

    Attributes:
        config: what it was told, with absolute paths.
        learner: the model with its optimizer, for `evaluate`.
        n_steps: steps of the whole run, if it is not stopped early.
        first_step: steps done before, by the run that is resumed.
        is_main: whether this process writes; false in the others under `accelerate launch`.
    """

    def __init__(
        self,
        config: LoopConfig,
        model: Any,
        tokenizer: Any,
        batches: Batches,
        record: LanguageRecord,
        *,
        evaluate: Callable[[LanguageLearner], dict[str, Any]] | None = None,
        main_metric: str = "loss",
        n_steps: int,
    ) -> None:
        """Put the model on its device.

        `evaluate` gives scores, among them `main_metric` (the lower the better for those of
        LOWER_IS_BETTER); without it the last checkpoint is the best. `n_steps` are those of all
        epochs, which max_steps may cut. A resumed run is given the model and the record of its
        last/.
        """
        self.config = config
        self._tokenizer = tokenizer
        self._batches = batches
        self._evaluate = evaluate
        self._main_metric = main_metric
        self.learner = LanguageLearner(model, config, is_causal=record.objective == "causal")
        self._all_steps = n_steps
        self.n_steps = min(n_steps, config.max_steps) if config.max_steps else n_steps
        self._folder = RunFolder(
            config, self.learner, record, self._save, is_evaluated=evaluate is not None
        )
        self.first_step = self._folder.first_step
        self.is_main = self._folder.is_main

    @property
    def saved_step(self) -> int:
        """The step that --resume would go on from; 0 where nothing is saved."""
        return self._folder.saved_step

    def train(self) -> Iterator[Step]:
        """Train and yield each step, saved and interrupted as `RunFolder.train` says.

        Raises UsageError when the loss is no number.
        """
        is_same = self.config.deterministic
        same = deterministic(self.learner.device) if is_same else contextlib.nullcontext()
        return self._folder.train(self._steps, same)

    def _steps(self) -> Iterator[Step]:
        learner, config = self.learner, self.config
        progress, total, evaluate = learner.progress, self.n_steps, self._evaluate
        meter = Meter(learner)
        while progress.step < total and not progress.is_stale(config.patience):
            number = progress.step
            meter.start()
            factor = learning_rate(number, total, config)
            batch = self._batches.batch(number)
            learner.step(batch, factor)
            progress.step, progress.n_losses = number + 1, progress.n_losses + 1
            progress.epoch = self._epoch(progress.step)
            meter.stop(n_real(batch))
            scores, is_best = None, False
            if evaluate is not None and self._is_evaluation_due(number):
                meter.read_all()
                scores = from_main(learner.accelerator, functools.partial(evaluate, learner))
                is_best = progress.judge(self._judged(scores))
            is_last = progress.step == total or progress.is_stale(config.patience)
            yield Step(
                number=progress.step, total=total, epoch=self._epoch(number) + 1, loss=meter.loss,
                lr=config.lr * factor, tokens_per_second=meter.tokens_per_second,
                seconds=meter.clock(), scores=scores, is_best=is_best, is_last=is_last,
            )  # fmt: skip
            if is_last:
                return

    def _epoch(self, step: int) -> int:
        """Return the epoch, from 0, of a step counted from 0."""
        return step * self.config.epochs // self._all_steps

    def _is_evaluation_due(self, number: int) -> bool:
        """Whether a step, counted from 0, is followed by an evaluation."""
        done, every = number + 1, self.config.eval_every
        is_due = done % every == 0 if every else self._epoch(done) != self._epoch(number)
        return is_due or done == self.n_steps

    def _judged(self, scores: Mapping[str, Any]) -> float:
        """Return the main metric so that more is better; UsageError when it is no number."""
        value = scores.get(self._main_metric)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise UsageError(
                f"the {self._main_metric} on the held-out text is {value!r}",
                hint="choose a smaller --lr, or --precision no",
            )
        return -float(value) if self._main_metric in LOWER_IS_BETTER else float(value)

    def _save(self, folder: Path, record: LanguageRecord, state: State | None) -> None:
        save_language_checkpoint(folder, self.learner.model, self._tokenizer, record, state)


def learning_rate(step: int, n_steps: int, config: LoopConfig) -> float:
    """Return the share of the highest learning rate at a step, counted from 0."""
    share = rate(step, n_steps, config)
    if step < math.ceil(config.warmup * n_steps):
        return share
    return config.floor + (1 - config.floor) * share


def n_real(batch: Batch) -> int:
    """Return the tokens of a batch, without padding."""
    segments = batch.get("segments")
    return int(batch["input_ids"].size if segments is None else (segments >= 0).sum())


def make_adamw(model: nn.Module, config: LoopConfig) -> torch.optim.AdamW:
    """Return AdamW; tensors with fewer than two axes (biases, norms) have no weight decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in trained if (p.ndim >= 2) is is_matrix],
            "initial_lr": config.lr,
            "weight_decay": config.weight_decay if is_matrix else 0.0,
        }
        for is_matrix in (True, False)
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, config.beta2), fused=True)
