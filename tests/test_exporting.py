"""Export: what stops it leaves nothing behind."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("torch")

import training_kit as kit

from lmtool.errors import NegativeResult, UsageError
from lmtool.exporting import ExportOptions, _check_gate, export_bundle
from lmtool.training.run import train


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    kit.write_base(folder / "base")
    kit.write_documents(folder / "data.jsonl")
    list(train(kit.config(folder, task="extract", max_steps=1)))
    return folder / "run" / "best"


def dev() -> dict[str, list[kit.lmtool.Document]]:
    return {"dev": [kit.document(text) for text in kit.SENTENCES]}


def test_a_gate_that_is_not_passed_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    """No model passes this gate: it asks for a gain of a point."""
    options = ExportOptions(name="a", precision="fp32", gate=-1)
    with pytest.raises(
        NegativeResult, match=r"fp32 loses 0\.00 points .* the gate is -1"
    ) as caught:
        export_bundle(checkpoint, tmp_path / "out", dev(), options)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_score_that_is_no_number_does_not_pass() -> None:
    metrics = {
        "fp32": {"metric": "f1", "all": 90.0}, "int8": {"metric": "f1", "all": math.nan},
    }  # fmt: skip
    with pytest.raises(NegativeResult, match="nan"):
        _check_gate(metrics, ExportOptions(name="a"))


def test_the_checkpoint_is_not_overwritten_by_its_export(checkpoint: Path) -> None:
    options = ExportOptions(name="a", overwrite=True)
    for out in (checkpoint, checkpoint.parent):
        with pytest.raises(UsageError, match="holds the checkpoint"):
            export_bundle(checkpoint, out, dev(), options)
    assert (checkpoint / "checkpoint.json").is_file()
