"""`lmtool train`: a model from labelled documents; the flags are the fields of TrainConfig."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from typer.core import TyperCommand

from ..errors import UsageError
from ..training.config import CONFIG_FILE, TrainConfig, make_config, read_toml
from ..training.language.tuning import FinetuneConfig, make_finetune_config
from .console import note, progress_bar
from .convert import HELP_FLAGS, convert_plainly
from .flags import command_function, given, options_from, options_of, pair, parameters_of
from .needs import TRAINING, need

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..tasks import EncoderTask, TextTask
    from ..training.language.finetune import FinetuneRun
    from ..training.loop import Step
    from ..training.run import Run

TABLES = ("labels", "form", "options", "tasks")
"""Fields that hold a table: flags of the form NAME=VALUE."""
FILES = ("data", "dev")
"""Fields that name files, which may have a comma in their names."""

DOC = "Train a model on documents that hold gold layers."
EPILOG = (
    "Tasks of language models (generate, chat, translate) are tuned from a language model and have "
    "settings and defaults of their own: lmtool train chat --help, docs/finetune.md. A run writes "
    "RUN/config.toml, which starts it again with --config, RUN/metrics.jsonl, RUN/best and "
    "RUN/last. A run that was stopped goes on with: lmtool train --resume -o RUN"
)


def add_commands(app: typer.Typer) -> None:
    """Add the command: the flags of TrainConfig, and those that FinetuneConfig has beside them."""
    shared = {field.name for field in dataclasses.fields(TrainConfig)}
    parameters = [
        *parameters_of(_more)[:1],
        *options_from(TrainConfig, without=("task", *TABLES), shorts={"out": "-o"}),
        *options_from(FinetuneConfig, without=shared),
        *parameters_of(_more)[1:],
        *parameters_of(run_flags),
    ]
    command = app.command("train", epilog=EPILOG, cls=TrainCommand)
    command(command_function(_train, parameters, DOC))


class TrainCommand(TyperCommand):
    """The command, whose --help beside the name of a task shows the settings of its kind."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        named = map(_task, args) if set(HELP_FLAGS) & set(args) else ()
        for task in (task for task in named if task is not None):
            own = typer.Typer(add_completion=False)
            kind = _kind(task)
            parameters = [
                *parameters_of(_more)[:1],
                *options_from(kind, without=("task", *TABLES), shorts={"out": "-o"}),
                *parameters_of(_more)[1 if kind is TrainConfig else 2 :],
                *parameters_of(run_flags),
            ]
            own.command()(command_function(_train, parameters, DOC))
            self.params = typer.main.get_command(own).params
            convert_plainly(self)
        return super().parse_args(ctx, args)


def _more(
    task: Annotated[
        str | None, typer.Argument(help="The task, as extract; --help behind it shows its flags.")
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="Labels of a layer (default: those of the data).", metavar="LAYER=A,B"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="A default of the task's options in the model.", metavar="NAME=VALUE"),
    ] = None,
) -> None:
    """Hold the flags that are no fields of TrainConfig."""


def run_flags(
    config: Annotated[
        str | None, typer.Option(help="A TOML file with these settings; flags have precedence.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder --out.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Hold the flags of every command that trains."""


def _train(values: dict[str, Any]) -> int:
    config = config_of(values)
    need("lmtool train", TRAINING)
    run = _prepare(config, resume=values["resume"])
    if not run.is_main or values["quiet"]:
        for _ in run.train():
            pass
        return 0
    note(run.describe() + "\n")
    if isinstance(config, FinetuneConfig):
        note(sizes(run))
    best = Path(config.out) / "best"
    export = f"make it run with lmtool export {best} -o FOLDER --dev FILE"
    watch(run, "lmtool train", f"{best}: {export}")
    return 0


def _prepare(config: TrainConfig | FinetuneConfig, *, resume: bool) -> Run | FinetuneRun:
    if isinstance(config, FinetuneConfig):
        from ..training.language.finetune import prepare_finetuning

        return prepare_finetuning(config, resume=resume)
    from ..training.run import prepare_run

    return prepare_run(config, resume=resume)


def config_of(values: Mapping[str, Any]) -> TrainConfig | FinetuneConfig:
    """Return what flags say, above the --config file or the run that is resumed."""
    flags = flags_of((TrainConfig, FinetuneConfig), values)
    if values.get("labels"):
        pairs = [pair("--labels", text) for text in values["labels"]]
        flags["labels"] = {layer: names.split(",") for layer, names in pairs}
    if values.get("option"):
        flags["options"] = options_of(values["option"])
    task = _task(flags.get("task"))
    base = "ENCODER" if _kind(task) is TrainConfig else "MODEL"
    command = f"lmtool train {task.name if task else 'extract'} --data train.jsonl --base {base}"
    example = f"{command} --out RUN, or --config"
    settings, where = above_file(flags, values, ("task", "data", "base", "out"), example)
    name = settings.get("task")
    kind = _kind(_task(name))
    for flag in flags.keys() - {field.name for field in dataclasses.fields(kind)}:
        raise UsageError(
            f"--{flag.replace('_', '-')}: no setting of {name or 'several tasks'}",
            hint=f"leave it out; lmtool train {name or 'extract'} --help shows what there is",
        )
    make = make_finetune_config if kind is FinetuneConfig else make_config
    return make(settings, where)


def flags_of(classes: Sequence[type[Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of configurations that were given as flags, without tables."""
    plain = {name: value for name, value in values.items() if name not in (*TABLES, *FILES)}
    flags = {name: value for cls in classes for name, value in given(cls, plain).items()}
    return flags | {name: tuple(values[name]) for name in FILES if values.get(name)}


def above_file(
    flags: dict[str, Any], values: Mapping[str, Any], required: Sequence[str], example: str
) -> tuple[dict[str, Any], str]:
    """Return flags above the settings of --config, or of the run that is resumed, and that file.

    Without a file, "", UsageError names what is missing, with the example.
    """
    out = flags.get("out", "")
    own = Path(out) / CONFIG_FILE
    path = values.get("config") or ""
    if not path and values.get("resume") and out and own.is_file():
        path = str(own)
    if path:
        return {**read_toml(Path(path)), **flags}, path
    missing = [name for name in required if name not in flags]
    if missing and values.get("resume") and out:
        raise UsageError(
            f"{out}: no run to resume, it has no {CONFIG_FILE}",
            hint="give the folder that --out named when the run began",
        )
    if missing:
        names = ["TASK" if name == "task" else f"--{name}" for name in missing]
        raise UsageError(f"missing: {', '.join(names)}", hint=example)
    return flags, ""


def _task(name: object) -> type[EncoderTask] | type[TextTask] | None:
    """Return the task of this name, if there is one."""
    from ..plugins import registry

    return registry().task(name) if isinstance(name, str) and name else None


def _kind(task: type[EncoderTask] | type[TextTask] | None) -> type[TrainConfig | FinetuneConfig]:
    """Return the configuration of the kind of a task; that of encoders where it is not known."""
    from ..tasks import TextTask

    is_text = task is not None and issubclass(task, TextTask)
    return FinetuneConfig if is_text else TrainConfig


def sizes(run: Any) -> str:
    """Return how large the model of a language run is, what of it learns, and for how long."""
    weights = list(run.learner.model.parameters())
    n_weights = sum(weight.numel() for weight in weights)
    n_learnt = sum(weight.numel() for weight in weights if weight.requires_grad)
    learnt = f" ({n_learnt:,} of them learn)" if n_learnt < n_weights else ""
    return f"{n_weights:,} parameters{learnt}, {run.n_steps:,} steps on {run.learner.device}"


class Watched(Protocol):
    """A run that is ready to train, of whatever kind."""

    @property
    def config(self) -> Any:
        """What it was told; `out` is its folder."""

    @property
    def saved_step(self) -> int:
        """The step that --resume would go on from; 0 where nothing is saved."""

    n_steps: int
    first_step: int

    def train(self) -> Iterator[Step]:
        """Train and yield each step."""


def watch(run: Watched, command: str, last: str) -> None:
    """Train and show how it goes; `last` is said at the end.

    When it is interrupted, what goes on with it is said, by the command.
    """
    try:
        _watch(run)
    except KeyboardInterrupt:
        if run.saved_step:
            resume = f"{command} --resume -o {run.config.out} goes on"
            note(f"saved at step {run.saved_step:,}; {resume}")
        else:
            note("stopped before anything was saved")
        raise
    note(last)


def _watch(run: Watched) -> None:
    if run.first_step:
        note(f"goes on after step {run.first_step:,} of {run.n_steps:,}")
    best, has_scores, done = "", False, run.first_step
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar("{task.description}"))
        line = bar.add_task("", total=run.n_steps, completed=run.first_step) if bar else None
        for step in run.train():
            if bar is not None and line is not None:
                bar.update(line, completed=step.number, description=_state(step, run, bar))
            done = step.number
            if step.scores is not None:
                scores, has_scores = _scores(step), True
                best = scores if step.is_best else best
                say = bar.console.print if bar else note
                say(f"{scores}{'  (best)' if step.is_best else ''}")
    if best:
        note(f"best: {best}")
    elif done == run.first_step:
        note("nothing to do: the run is complete")
    else:
        note("no better than before" if has_scores else "nothing was held out to evaluate on")


def _state(step: Step, run: Watched, bar: Progress) -> str:
    """Return what stands beside the bar."""
    done = step.number - run.first_step
    elapsed = bar.tasks[0].elapsed or 0.0
    left = int(elapsed / max(done, 1) * (step.total - step.number))
    return (
        f"step {step.number:,} of {step.total:,}, epoch {step.epoch}, loss {step.loss:.4f}, "
        f"rate {step.lr:.1e}, {step.tokens_per_second:,.0f} tokens/s, "
        f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
    )


def _scores(step: Step) -> str:
    figures = {k: v for k, v in (step.scores or {}).items() if isinstance(v, float)}
    if "loss" in figures:  # the other loss on this line is that of the training
        figures = {"held-out loss": figures.pop("loss"), **figures}
    shown = ", ".join(
        f"{name} {value:.{4 if name == 'held-out loss' else 2}f}" for name, value in figures.items()
    )
    return f"step {step.number:,}, epoch {step.epoch}: loss {step.loss:.4f}, {shown}"
