"""A training run: from a configuration to a folder of checkpoints, stopped and resumed at will.

RUN/config.toml     starts the same run again
RUN/metrics.jsonl   a line per evaluation
RUN/best/           the checkpoint with the best score on dev (the last one without dev)
RUN/last/           the newest, with the state to go on from
RUN/tensorboard/    where TensorBoard is installed
"""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from ..documents import Document
from ..errors import BundleError, DataError, UsageError
from ..evaluation import evaluate
from ..models import find_task
from ..plugins import registry
from ..tasks import EncoderTask, make_options
from ..windows import Encoding, TextEncoder
from .backbone import load_backbone, load_tokenizer
from .batches import Examples
from .check import DataReport, check_data
from .checkpoint import (
    Checkpoint,
    CheckpointInfo,
    load_checkpoint,
    load_state,
    recover_checkpoint,
    save_checkpoint,
)
from .config import TrainConfig, absolute, format_config, read_config
from .data import Data, read_data
from .inference import model_from_checkpoint
from .learner import Learner, deterministic, seed_all
from .logs import Logs, plain_scores
from .loop import Step, count_steps, fit

_MAY_DIFFER = ("out", "device", "threads", "save_every")
"""What a resumed run may be told otherwise."""


def train(
    config: TrainConfig, *, resume: bool = False, task: type[EncoderTask] | None = None
) -> Iterator[Step]:
    """Train, and yield each step; see `prepare_run` and `Run.train`."""
    yield from prepare_run(config, resume=resume, task=task).train()


def resumed_config(out: Path | str) -> TrainConfig:
    """Return the configuration of a run's folder, also where the folder was moved."""
    path = Path(out) / "config.toml"
    if not path.is_file():
        raise UsageError(f"{out}: no run to resume, it has no config.toml")
    return dataclasses.replace(read_config(path), out=str(out))


def prepare_run(
    config: TrainConfig, *, resume: bool = False, task: type[EncoderTask] | None = None
) -> Run:
    """Read and check the data and load the encoder: all that can fail before the first step.

    With `resume` the run in the folder goes on from its last save, or starts where it has none.
    `task` saves looking the task up among the plugins.

    Raises UsageError for a configuration that cannot work, DataError for data that cannot be
    trained on, BundleError for an encoder or checkpoint that cannot be loaded.
    """
    config = absolute(config)
    out = Path(config.out)
    task = task or find_task(config.task)
    is_resumed = _check_out(out, config, resume)
    data = read_data(config)
    data.refuse_bad()
    documents = _with_gold(data.train, task)
    if is_resumed:
        checkpoint = load_checkpoint(out / "last", task=task)
        if checkpoint.info.data != data.hashes:
            raise UsageError(
                f"{out}: the data files have changed since the run began",
                hint="bring them back, or start anew with another --out",
            )
    else:
        seed_all(config.seed)
        checkpoint = _new_checkpoint(config, task, documents, data)
    report = check_data(task.layers, checkpoint.encoder, data.train, data.dev)
    examples = Examples(
        checkpoint.task, checkpoint.encoder, documents,
        seed=config.seed, lower_share=config.lower_share,
    )  # fmt: skip
    if not len(examples):
        raise DataError("no document to train on has a word", hint="see lmtool data check")
    return Run(config, checkpoint, examples, data.dev, report, is_resumed=is_resumed)


class Run:
    """A run that is ready to train.

    Attributes:
        config: what it was told, with absolute paths.
        report: what is in the data (`check.render_report` makes text of it).
        n_steps: steps of the whole run, if it is not stopped early.
        first_step: steps done before, by the run that is resumed.
        saved_step: the step that --resume would go on from; 0 where nothing is saved.
        is_main: whether this process writes; false in the others under `accelerate launch`.
    """

    def __init__(
        self,
        config: TrainConfig,
        checkpoint: Checkpoint,
        examples: Examples,
        dev: list[Document],
        report: DataReport,
        *,
        is_resumed: bool,
    ) -> None:
        self.config = config
        self.report = report
        self._out = Path(config.out)
        self._checkpoint = checkpoint
        self._examples = examples
        self._is_resumed = is_resumed
        self._learner = Learner(checkpoint.backbone, checkpoint.head, config)
        self._model = model_from_checkpoint(checkpoint, checkpoint.info.options)
        gold = [d for d in dev if any(d.layer(layer) is not None for layer in self._layers)]
        self._dev = gold
        self._scores = dict(checkpoint.info.metrics)
        self.n_steps = count_steps(self._learner, examples)
        self.first_step = checkpoint.info.step if is_resumed else 0
        self.saved_step = self.first_step
        self.is_main = self._learner.accelerator.is_main_process

    @property
    def _layers(self) -> tuple[str, ...]:
        return self._checkpoint.task.layers

    def train(self) -> Iterator[Step]:
        """Train and yield each step, after it was logged and, where it is due, saved.

        On SIGINT the state is saved after the step under way, then KeyboardInterrupt is raised;
        a second one stops at once.
        """
        registry().load_all()  # a plugin may do nothing but observe
        learner = self._learner
        learner.accelerator.wait_for_everyone()
        if self._is_resumed:
            learner.restore(*load_state(self._out / "last"))
        else:
            seed_all(self.config.seed + learner.accelerator.process_index)
        logs = self._open_logs() if self.is_main else None
        score = (lambda: evaluate(self._model, self._dev)) if self._dev else None
        metric = self._checkpoint.task.main_metric
        with deterministic(learner.accelerator.device), _Interrupt() as interrupt:
            try:
                for step in fit(learner, self._examples, self.n_steps, score, metric):
                    is_saved = self._is_save_due(step)
                    if logs is not None:
                        self._record(step, logs, is_saved=is_saved)
                    registry().observe("lmtool_on_train_step", step=step)
                    yield step
                    if interrupt.came and not step.is_last:
                        if self.is_main and not is_saved:
                            self._save("last")
                        raise KeyboardInterrupt
            finally:
                if logs is not None:
                    logs.close()

    def _open_logs(self) -> Logs:
        self._out.mkdir(parents=True, exist_ok=True)
        if not self._is_resumed:
            new = self._out / ".config.toml.new"
            new.write_text(format_config(self.config), "utf-8")
            new.replace(self._out / "config.toml")
        return Logs(self._out, self._learner.progress.step)

    def _is_save_due(self, step: Step) -> bool:
        every = self.config.save_every
        return step.scores is not None or step.is_last or bool(every and step.number % every == 0)

    def _record(self, step: Step, logs: Logs, *, is_saved: bool) -> None:
        """Save and log a step. last/ comes at the end: a resumed run does the rest again."""
        if step.scores is not None:
            self._scores = plain_scores(step.scores)
        if step.is_best or (step.is_last and not self._dev):
            self._save("best")
        logs.add(step)
        if is_saved:
            self._save("last")

    def _save(self, name: str) -> None:
        info = msgspec.structs.replace(
            self._checkpoint.info, step=self._learner.progress.step, metrics=self._scores
        )
        checkpoint = dataclasses.replace(self._checkpoint, info=info)
        state = self._learner.state() if name == "last" else None
        save_checkpoint(self._out / name, checkpoint, state)
        if state is not None:
            self.saved_step = info.step


class _Interrupt:
    """Takes the first SIGINT as a wish to stop after the step; the second one has its way."""

    def __init__(self) -> None:
        self.came = False
        self._before: Any = None
        self._is_main_thread = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> _Interrupt:
        if self._is_main_thread:
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_main_thread:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True


def _check_out(out: Path, config: TrainConfig, resume: bool) -> bool:
    """Return whether there is a save to go on from; UsageError when the folder is in the way."""
    if not resume:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(
                f"{out} exists and is not empty",
                hint="go on with it with --resume, or choose another --out",
            )
        return False
    if not (out / "config.toml").is_file():
        return False
    before = read_config(out / "config.toml")
    for field in dataclasses.fields(config):
        if field.name not in _MAY_DIFFER:
            old, new = getattr(before, field.name), getattr(config, field.name)
            if old != new:
                raise UsageError(
                    f"{field.name}: the run in {out} has {old!r}, not {new!r}",
                    hint="resume it as it was, or start anew with another --out",
                )
    recover_checkpoint(out / "best")
    return recover_checkpoint(out / "last")


def _with_gold(documents: list[Document], task: type[EncoderTask]) -> list[Document]:
    found = [d for d in documents if any(d.layer(layer) is not None for layer in task.layers)]
    if not found:
        raise DataError(
            f"none of the {len(documents)} documents has gold for the task {task.name!r}",
            hint=f"it learns from: {', '.join(task.layers)} (see docs/documents.md)",
        )
    return found


def _new_checkpoint(
    config: TrainConfig, task: type[EncoderTask], documents: list[Document], data: Data
) -> Checkpoint:
    """Return the modules at the start: the base encoder with a new head."""
    make_options(task.Options, config.options)
    labels = config.labels or task.collect_labels(documents)
    encoding = Encoding(
        max_tokens=config.max_tokens, language=config.language, has_shapes=config.shapes
    )
    backbone = load_backbone(
        config.base,
        has_shapes=config.shapes,
        max_tokens=config.max_tokens,
        dropout=config.dropout,
    )
    encoder = TextEncoder(load_tokenizer(config.base), encoding)
    n_ids = encoder.tokenizer.get_vocab_size()
    n_rows = backbone.encoder.get_input_embeddings().num_embeddings
    if n_ids > n_rows:
        raise BundleError(
            f"{config.base}: its tokenizer has {n_ids} tokens, its weights {n_rows}",
            hint="the tokenizer belongs to another encoder",
        )
    instance = task(labels)
    info = CheckpointInfo(
        task=task.name,
        labels=instance.labels,
        options=config.options,
        encoding=encoding,
        base=config.base,
        data=data.hashes,
    )
    return Checkpoint(info, instance, backbone, instance.build_head(backbone.hidden_size), encoder)
