"""`lmtool annotate`: several models over the same texts, with one pass of what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..choice import default_model, heads
from ..errors import BundleError, UsageError
from ..plugins import registry
from ..settings import settings
from ..tasks import EncoderTask
from .choice import complete_models
from .flags import command_function, parameters_of
from .task import RunFlags, run_over

if TYPE_CHECKING:
    from ..models import Model, ModelGroup

DOC = """Run several tasks over texts: sentiment, entities, relations, frames … in one pass.

    Models that share a backbone share its pass, so all layers cost little more than one. The
    output is that of a pipe of the commands: lmtool extract FILE | lmtool roles -
    """


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
) -> None:
    """Hold the flags that only this command has."""


def _annotate(values: dict[str, Any]) -> int:
    names = ",".join(values.pop("layers") or ()).split(",")
    wanted = [name.strip() for name in names if name.strip()]
    refs = values.pop("model") or ()
    flags = RunFlags(**values)
    return run_over(flags, lambda: _group(refs, wanted, flags))


def _group(refs: Sequence[str], wanted: Sequence[str], flags: RunFlags) -> ModelGroup:
    """Load the models that find what is wanted; UsageError names what none finds."""
    from ..models import ModelGroup, load

    models: list[Model] = []
    left, there = set(wanted), set[str]()
    for ref in refs or _default_refs(wanted):
        model = load(
            ref,
            device=flags.device or settings().device,
            threads=settings().threads if flags.threads is None else flags.threads,
            batch_tokens=flags.batch_tokens or settings().batch_tokens,
        )
        there |= set(model.task.parts)
        parts = [part for part in model.task.parts if part in wanted]
        if wanted and not parts:
            continue
        if parts:
            model.options = model.task.limit(model.options, parts)
        left -= set(parts)
        models.append(model)
    if left:
        raise UsageError(
            f"--layers: no model finds {', '.join(sorted(left))}",
            hint=f"{'the models named find' if refs else 'there are'}: {', '.join(sorted(there))}",
        )
    if not models:
        raise BundleError("no model is installed", hint="train one, or name one with --model")
    return ModelGroup(models)


def _default_refs(wanted: Sequence[str]) -> Iterator[str]:
    """Yield the model of each task, and those that have labels for what is wanted besides."""
    registry().load_all()
    chosen = []
    for task in registry().tasks():
        if not issubclass(task, EncoderTask) or not (wanted or task.is_default):
            continue
        try:
            chosen.append(default_model(task.name))
        except BundleError:
            continue
    found = {name: head for name, _, head in heads()}
    have = {part for name in chosen if name in found for part in found[name].labels}
    more = [
        name
        for name, head in found.items()
        if name not in chosen and (set(wanted) - have) & head.labels.keys()
    ]
    yield from [*chosen, *more]
