"""The folder of a run, whatever it trains: taken or resumed, logged to and saved in at each step.

RUN/config.toml     starts the same run again
RUN/metrics.jsonl   a line per evaluation
RUN/best/           the checkpoint with the best score on dev (the last one without dev)
RUN/last/           the newest, with the state to go on from
RUN/tensorboard/    where TensorBoard is installed
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from ..errors import UsageError
from ..plugins import registry
from .checkpoint import load_state, recover_checkpoint
from .config import CONFIG_FILE, convert_config, read_toml, write_config
from .interrupt import Interrupt
from .learner import RunConfig, State, from_main, join_processes, seed_all
from .logs import Logs, plain_scores
from .loop import Learning, Step

MAY_DIFFER = ("out", "device", "threads", "save_every")
"""What a resumed run may be told otherwise."""


def check_folder(config: RunConfig, *, resume: bool, record: str) -> bool:
    """Return whether the folder of a run holds a save to go on from, tidied up after a crash.

    `record` is the file that tells a checkpoint. The main process looks, and the others wait for
    what it says. Raises UsageError when the folder is in the way, or the run is to be resumed as
    another.
    """
    return from_main(join_processes(config), lambda: _holds_save(config, resume, record))


def _holds_save(config: RunConfig, resume: bool, record: str) -> bool:
    out = Path(config.out)
    path = out / CONFIG_FILE
    if not resume:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(
                f"{out} exists and is not empty",
                hint="go on with it with --resume, or choose another --out",
            )
        return False
    if not path.is_file():
        return False
    before = convert_config(type(config), read_toml(path), str(path))
    for field in dataclasses.fields(config):
        old, new = getattr(before, field.name), getattr(config, field.name)
        if field.name not in MAY_DIFFER and old != new:
            raise UsageError(
                f"{field.name}: the run in {out} has {old!r}, not {new!r}",
                hint="resume it as it was, or start anew with another --out",
            )
    recover_checkpoint(out / "best", record)
    return recover_checkpoint(out / "last", record)


class RunFolder:
    """The folder of a run that trains.

    Attributes:
        first_step: steps done before, by the run that is resumed; 0 in a new one.
        saved_step: the step that --resume would go on from; 0 where nothing is saved.
        is_main: whether this process writes; false in the others under `accelerate launch`.
    """

    def __init__(
        self,
        config: RunConfig,
        learner: Learning,
        record: Any,
        save: Callable[[Path, Any, State | None], None],
        *,
        is_evaluated: bool,
    ) -> None:
        """Take over a folder that `check_folder` has seen.

        `record` is that of last/ in a resumed run, and of step 0 in a new one. `save` writes a
        checkpoint, best/ or last/, with a record that has the step and the last scores, and with
        the state in last/. Without evaluations the last checkpoint is the best.
        """
        self._config = config
        self._out = Path(config.out)
        self._learner = learner
        self._record = record
        self._write = save
        self._is_evaluated = is_evaluated
        self.first_step: int = record.step
        self.saved_step: int = record.step
        self.is_main: bool = learner.accelerator.is_main_process

    def train(
        self, start: Callable[[], Iterator[Step]], same: AbstractContextManager[Any]
    ) -> Iterator[Step]:
        """Yield each step, after it was logged and, where it is due, saved.

        `start` gives the steps, from where the learner is when it is called; they are taken in
        the context `same`. On SIGINT the state is saved after the step under way, then
        KeyboardInterrupt is raised; a second one stops at once.
        """
        registry().load_all()  # a plugin may do nothing but observe
        accelerator = self._learner.accelerator
        accelerator.wait_for_everyone()
        if self.first_step:
            self._learner.restore(*load_state(self._out / "last"))
        else:
            seed_all(self._config.seed + accelerator.process_index)
        logs = self._open_logs() if self.is_main else None
        steps = start()
        with same, Interrupt() as interrupt:
            try:
                for step in steps:
                    is_saved = self._is_save_due(step)
                    if logs is not None:
                        self._take_in(step, logs, is_saved=is_saved)
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
        if not self.first_step:
            write_config(self._config)
        return Logs(self._out, self._learner.progress.step)

    def _is_save_due(self, step: Step) -> bool:
        every = self._config.save_every
        return step.scores is not None or step.is_last or bool(every and step.number % every == 0)

    def _take_in(self, step: Step, logs: Logs, *, is_saved: bool) -> None:
        """Save and log a step. last/ comes at the end: a resumed run does the rest again."""
        if step.scores is not None:
            self._record = msgspec.structs.replace(self._record, metrics=plain_scores(step.scores))
        if step.is_best or (step.is_last and not self._is_evaluated):
            self._save("best")
        logs.add(step)
        if is_saved:
            self._save("last")

    def _save(self, name: str) -> None:
        step = self._learner.progress.step
        state = self._learner.state() if name == "last" else None
        self._write(self._out / name, msgspec.structs.replace(self._record, step=step), state)
        if state is not None:
            self.saved_step = step
