"""`lmtool pretrain`: a language model from raw text; the flags are fields of PretrainConfig."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from ..training.config import convert_config, read_toml
from ..training.language.config import PretrainConfig
from .console import note
from .flags import command_function, given, options_from, parameters_of
from .needs import TRAINING, need
from .train import check_resumed, watch

EPILOG = (
    "A run writes RUN/config.toml, which starts it again with --config, RUN/metrics.jsonl, "
    "RUN/best and RUN/last. A run that was stopped goes on with: lmtool pretrain --resume -o RUN. "
    "Several processes: accelerate launch -m lmtool.cli.main pretrain …"
)
REQUIRED = ("data", "out")


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    parameters = [
        *options_from(PretrainConfig, shorts={"out": "-o"}),
        *parameters_of(_more),
    ]
    doc = "Train a language model on raw text: txt, jsonl and all that the other commands read."
    app.command("pretrain", epilog=EPILOG)(command_function(_pretrain, parameters, doc))


def _more(
    config: Annotated[
        str | None, typer.Option(help="A TOML file with these settings; flags have precedence.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder --out.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Hold the flags that are no fields of PretrainConfig."""


def _pretrain(values: dict[str, Any]) -> int:
    config = config_of(values)
    need("lmtool pretrain", TRAINING)
    from ..training.language.pretrain import prepare_pretraining

    say = (lambda text: None) if values["quiet"] else note
    run = prepare_pretraining(config, resume=values["resume"], note=say)
    if not run.is_main or values["quiet"]:
        for _ in run.train():
            pass
        return 0
    n_weights = sum(p.numel() for p in run.learner.model.parameters())
    note(f"{n_weights:,} parameters, {run.n_steps:,} steps on {run.learner.device}")
    best = Path(config.out) / "best"
    watch(run, "lmtool pretrain", f"{best}: lmtool evaluate {best} FILE tells how good it is")
    return 0


def config_of(values: Mapping[str, Any]) -> PretrainConfig:
    """Return what flags say, above the --config file or the run that is resumed."""
    flags = given(PretrainConfig, values)
    for name in ("data", "dev"):  # a file may have a comma in its name
        if values.get(name):
            flags[name] = tuple(values[name])
    if path := values.get("config"):
        return convert_config(PretrainConfig, {**read_toml(Path(path)), **flags}, path)
    out = flags.get("out")
    if values.get("resume") and out and (Path(out) / "config.toml").is_file():
        from ..training.language.pretrain import resumed_config

        return dataclasses.replace(resumed_config(out), **flags)
    if missing := [f"--{name}" for name in REQUIRED if name not in flags]:
        check_resumed(values)
        raise UsageError(
            f"missing: {', '.join(missing)}",
            hint="lmtool pretrain --data TEXT.txt --size tiny -o RUN, or --config FILE",
        )
    return convert_config(PretrainConfig, flags)
