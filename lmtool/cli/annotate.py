"""`lmtool annotate`: several models over the same texts, with one pass of what they share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..bundles import installed_bundles, load_bundle, load_encoder_bundle
from ..choice import default_model, heads
from ..errors import BundleError, UsageError
from ..plugins import registry
from ..tasks import EncoderTask, make_options
from .choice import complete_models
from .flags import comma_list, command_function, options_of, parameters_of
from .task import RunFlags, machine_of, run_over

if TYPE_CHECKING:
    from ..models import Model, ModelGroup

DOC = """Run several tasks over texts: sentiment, entities, relations, frames … in one pass.

    Models that share a backbone share its pass, so all layers cost little more than one. The
    output is that of a pipe of the commands: lmtool extract FILE | lmtool roles -
    """

Options = Mapping[str, Mapping[str, Any]]
"""Options by task."""


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    flags = [p for p in parameters_of(RunFlags) if p.name != "model"]
    app.command("annotate")(command_function(_annotate, [*flags, *parameters_of(_more)], DOC))


def _more(
    layers: Annotated[
        list[str] | None,
        typer.Option(
            help="What to find, as entities,frames,sentiment (default: all that the installed "
            "models find without being told more).",
            metavar="A,B,…",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Name or folder of a model, as often as needed (default: those of the tasks).",
            autocompletion=complete_models,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of a task, as extract.threshold=0.8, as often as needed.",
            metavar="TASK.NAME=VALUE",
        ),
    ] = None,
) -> None:
    """Hold the flags that only this command has."""


def _annotate(values: dict[str, Any]) -> int:
    wanted = comma_list("--layers", values.pop("layers") or ())
    refs = values.pop("model") or ()
    options = _by_task(values.pop("option") or ())
    flags = RunFlags(**values)
    return run_over(flags, lambda: _group(refs, wanted, options, flags))


def _by_task(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the options that flags --option TASK.NAME=VALUE give, by task."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in options_of(texts).items():
        task, dot, name = key.partition(".")
        if not dot:
            raise UsageError(
                f"--option {key}: no TASK.NAME=VALUE",
                hint="say whose option it is, as --option extract.threshold=0.8",
            )
        found.setdefault(task, {})[name] = value
    return found


def _group(
    refs: Sequence[str], wanted: Sequence[str], options: Options, flags: RunFlags
) -> ModelGroup:
    """Load the models that find what is wanted; UsageError names what none finds."""
    from ..models import ModelGroup

    models: list[Model] = []
    left, there = set(wanted), set[str]()
    for ref in refs or _default_refs(wanted):
        known = _parts(ref)
        there |= known or set()
        if wanted and known is not None and not known & set(wanted):
            continue
        model = _load(ref, options, flags, is_named=bool(refs))
        there |= set(model.task.parts)
        parts = [part for part in model.task.parts if part in wanted]
        if wanted and not parts:
            continue
        if parts:
            model.options = model.task.limit(model.options, parts)
        left -= set(parts)
        models.append(model)
    if left:
        every = there if refs else {part for name, _, _ in heads() for part in _parts(name) or ()}
        raise UsageError(
            f"--layers: no model finds {', '.join(sorted(left))}",
            hint=f"{'the models named find' if refs else 'there are'}: {', '.join(sorted(every))}",
        )
    if not models:
        raise BundleError("no model is installed", hint="train one, or name one with --model")
    if idle := sorted(options.keys() - {model.task.name for model in models}):
        raise UsageError(
            f"--option {idle[0]}.…: no model of a task {idle[0]!r} runs",
            hint=f"the tasks are: {', '.join(sorted({model.task.name for model in models}))}",
        )
    return ModelGroup(models)


def _parts(ref: str) -> set[str] | None:
    """Return what a bundle can be asked for, from its record alone; None where that is unknown."""
    if (Path(ref) / "checkpoint.json").is_file():
        return None
    try:
        info = load_encoder_bundle(ref, verify=False).info
    except BundleError:
        return None  # loading it says why
    task = registry().task(info.task)
    if task is None or not issubclass(task, EncoderTask):
        return None
    return set(task(info.labels, info.form).parts)


def _load(ref: str, options: Options, flags: RunFlags, *, is_named: bool) -> Model:
    """Load a model with the options of its task; BundleError says which one is damaged."""
    from ..models import load_encoder

    told = machine_of(flags)
    try:
        model = load_encoder(ref, **told)
    except BundleError as error:
        if is_named:
            raise
        hint = f"{error.hint}; --layers runs the others without it"
        raise BundleError(f"the model {ref}: {error.message}", hint=hint) from error
    task = type(model.task)
    given = options.get(task.name)
    if not given:
        return model
    try:
        wanted = make_options(task.Options, given)
        if task.open(ref, wanted, **told) is not None or model.task.joins(wanted):
            raise UsageError(
                f"{', '.join(given)}: not beside other tasks, which read each text by itself",
                hint=f"say so to lmtool {task.name}",
            )
        return load_encoder(ref, **told, **given)  # a text among them is read by the model first
    except UsageError as error:
        raise UsageError(f"--option {task.name}.…: {error.message}", error.hint) from error


def _default_refs(wanted: Collection[str]) -> Iterator[str]:
    """Yield the model of each task, and those that have labels for what is wanted besides.

    Where something is wanted, a task whose model is missing, damaged or not to be told from
    others matters only when it could find that.
    """
    registry().load_all()
    chosen = []
    for task in registry().tasks():
        if not issubclass(task, EncoderTask) or not (wanted or task.is_default):
            continue
        try:
            chosen.append(default_model(task.name))
        except BundleError as error:
            if not wanted:
                _name_damaged(error)
        except UsageError:
            if not wanted or _could_find(task) & set(wanted):
                raise
    found = {name: head for name, _, head in heads()}
    have = {part for name in chosen if name in found for part in found[name].labels}
    more = [
        name
        for name, head in found.items()
        if name not in chosen and (set(wanted) - have) & head.labels.keys()
    ]
    yield from [*chosen, *more]


def _could_find(task: type[EncoderTask]) -> set[str]:
    """Return what the installed models of a task can be asked for."""
    names = [name for name, _, head in heads() if head.task == task.name]
    return {part for name in names for part in _parts(name) or ()}


def _name_damaged(missing: BundleError) -> None:
    """Raise BundleError where a task has no model and an installed one cannot be read.

    It may be the model of that task: to leave the task out in silence would be wrong.
    """
    for name, folder in sorted(installed_bundles().items()):
        try:
            load_bundle(folder, verify=False)
        except BundleError as error:
            raise BundleError(
                f"{missing.message}, and the model {name} cannot be read: {error.message}",
                hint=f"{error.hint}; --layers runs the others without it",
            ) from error
