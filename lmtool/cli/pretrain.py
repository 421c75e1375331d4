"""`lmtool pretrain`: a language model from raw text; the flags are fields of PretrainConfig."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from ..training.config import convert_config
from ..training.language.config import PretrainConfig
from .console import note
from .flags import command_function, options_from, parameters_of
from .needs import TRAINING, need
from .train import above_file, flags_of, run_flags, sizes, watch

EPILOG = (
    "A run writes RUN/config.toml, which starts it again with --config, RUN/metrics.jsonl, "
    "RUN/best and RUN/last. A run that was stopped goes on with: lmtool pretrain --resume -o RUN. "
    "Several processes: accelerate launch -m lmtool.cli.main pretrain …"
)


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    parameters = [
        *options_from(PretrainConfig, shorts={"out": "-o"}),
        *parameters_of(run_flags),
    ]
    doc = "Train a language model on raw text: txt, jsonl and all that the other commands read."
    app.command("pretrain", epilog=EPILOG)(command_function(_pretrain, parameters, doc))


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
    note(sizes(run))
    best = Path(config.out) / "best"
    watch(run, "lmtool pretrain", f"{best}: lmtool evaluate {best} FILE tells how good it is")
    return 0


def config_of(values: Mapping[str, Any]) -> PretrainConfig:
    """Return what flags say, above the --config file or the run that is resumed."""
    flags = flags_of((PretrainConfig,), values)
    example = "lmtool pretrain --data TEXT.txt --size tiny -o RUN, or --config FILE"
    return convert_config(PretrainConfig, *above_file(flags, values, ("data", "out"), example))
