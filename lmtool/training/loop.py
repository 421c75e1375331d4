"""The training loop: one for all tasks. It yields steps and knows no disk and no log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import PluginError, UsageError
from .batches import Examples
from .learner import Learner, Progress, State, StateRecord, from_main, rate

if TYPE_CHECKING:
    from torch import Tensor

READ_STEPS = 10
"""The loss is read from a GPU every so many steps, since reading waits for it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was taken."""

    number: int
    """Steps done, from 1."""
    total: int
    """Steps that there will be, if training is not stopped early."""
    epoch: int
    """The epoch it belongs to, from 1."""
    loss: float
    """The loss of the step (on a GPU the mean of the last few), and the mean loss since the last
    evaluation where there are scores."""
    lr: float
    """The learning rate of the backbone, or of the heads where they alone are trained."""
    tokens_per_second: float
    """Real tokens, without padding, of the last steps; time for evaluation is not counted."""
    seconds: float
    """Time since the start, of a resumed run too."""
    scores: dict[str, Any] | None = None
    """What `evaluate` gave, on the steps that were evaluated."""
    is_best: bool = False
    """Whether the main metric is the best so far."""
    is_last: bool = False
    """Whether training ends with this step, stopped early or not."""


def count_steps(learner: Learner, examples: Examples) -> int:
    """Return the steps of a whole run. The epochs may differ a little, so each is cut.

    Where the data is little, `examples` takes as many passes an epoch as give the least steps.
    """
    config = learner.config
    one_pass = len(learner.groups(examples.batches_of_pass(0, config.batch_tokens)))
    examples.n_passes = max(math.ceil(config.min_steps / (one_pass * config.epochs)), 1)
    n_steps = sum(
        len(learner.groups(examples.batches(epoch, config.batch_tokens)))
        for epoch in range(config.epochs)
    )
    return min(n_steps, config.max_steps) if config.max_steps else n_steps


def fit(
    learner: Learner,
    examples: Examples,
    n_steps: int,
    evaluate: Callable[[], dict[str, Any]] | None,
    main_metric: str,
) -> Iterator[Step]:
    """Train from where the learner's progress is, and yield each step after it was taken.

    When a step is yielded the learner's state is whole: saved there and restored, training goes
    on bit for bit as if never stopped. `evaluate` is called after every `eval_every` steps, or
    each epoch, and after the last step. Raises UsageError when the loss is no number.
    """
    config, progress = learner.config, learner.progress
    meter = Meter(learner)
    while progress.step < n_steps and not progress.is_stale(config.patience):
        epoch = progress.epoch
        groups = learner.groups(examples.batches(epoch, config.batch_tokens))
        for group in groups[progress.group :]:
            meter.start()
            factor = rate(progress.step, n_steps, config)
            batches = [learner.pad(batch) for batch in group]
            learner.step(batches, factor)
            progress.advance(len(groups))
            meter.stop(sum(batch.n_tokens for batch in batches))
            scores, is_best = None, False
            if evaluate is not None and _is_evaluation_due(progress, n_steps, config.eval_every):
                meter.read_all()
                scores = from_main(learner.accelerator, evaluate)
                is_best = progress.judge(_number(scores, main_metric))
            is_last = progress.step == n_steps or progress.is_stale(config.patience)
            yield Step(
                number=progress.step, total=n_steps, epoch=epoch + 1, loss=meter.loss,
                lr=(config.lr or config.head_lr) * factor,
                tokens_per_second=meter.tokens_per_second, seconds=meter.clock(),
                scores=scores, is_best=is_best, is_last=is_last,
            )  # fmt: skip
            if is_last:
                return


def _is_evaluation_due(progress: Progress, n_steps: int, every: int) -> bool:
    """Whether the step just taken is followed by an evaluation."""
    is_due = progress.step % every == 0 if every else progress.group == 0
    return is_due or progress.step == n_steps


def _number(scores: Mapping[str, Any], metric: str) -> float:
    try:
        score = float(scores[metric])
    except (KeyError, TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise PluginError(
            f"score gave no number for the main metric {metric!r}: {scores.get(metric)!r}",
            hint="the task's score must return it as a number from 0 to 100",
        )
    return score


class Learning(Protocol):
    """What learners of all kinds have: the sum of their losses, and how far they are."""

    accelerator: Any
    loss_sum: Tensor
    progress: Progress

    def state(self) -> State:
        """Return what a resumed run needs beside the weights."""

    def restore(self, tensors: dict[str, Tensor], record: StateRecord) -> None:
        """Go on from a state."""


class Meter:
    """Reads loss and speed: at every step on a CPU, every READ_STEPS elsewhere."""

    def __init__(self, learner: Learning) -> None:
        self._learner = learner
        self._every = 1 if learner.accelerator.device.type == "cpu" else READ_STEPS
        self.loss = math.nan
        self.tokens_per_second = 0.0
        self._n_tokens = self._n_steps = 0
        self._seconds = 0.0
        self._read_sum = float(learner.loss_sum)
        self._read_steps = learner.progress.n_losses
        self._clock = self._started = time.perf_counter()

    def start(self) -> None:
        """Begin to time a step."""
        self._started = time.perf_counter()

    def stop(self, n_tokens: int) -> None:
        """End a step of so many real tokens, and read it if it is the first or its turn."""
        self._n_tokens += n_tokens
        self._n_steps += 1
        is_read = self._n_steps == self._every or math.isnan(self.loss)
        if is_read:
            self._read()
        self._seconds += time.perf_counter() - self._started
        if is_read:
            self.tokens_per_second = self._n_tokens / self._seconds
            self._n_tokens, self._n_steps, self._seconds = 0, 0, 0.0

    def read_all(self) -> None:
        """Take the mean loss of all steps since the last evaluation, and begin a new mean."""
        progress = self._learner.progress
        self._read_sum, self._read_steps = 0.0, 0
        self._read()
        self._learner.loss_sum.zero_()
        self._read_sum, self._read_steps, progress.n_losses = 0.0, 0, 0

    def clock(self) -> float:
        """Return the run's seconds until now, and keep them in the progress."""
        now = time.perf_counter()
        self._learner.progress.seconds += now - self._clock
        self._clock = now
        return self._learner.progress.seconds

    def _read(self) -> None:
        """Take the mean loss of the steps since the last reading."""
        total, n_losses = float(self._learner.loss_sum), self._learner.progress.n_losses
        self.loss = (total - self._read_sum) / (n_losses - self._read_steps)
        self._read_sum, self._read_steps = total, n_losses
        if not math.isfinite(self.loss):
            raise UsageError(
                f"the loss is {self.loss} at step {self._learner.progress.step}",
                hint="choose smaller learning rates, or --precision no",
            )
