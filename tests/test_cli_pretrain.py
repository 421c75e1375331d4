"""`lmtool pretrain`, from text to a model that others begin with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lmtool.cli.pretrain import config_of
from lmtool.errors import UsageError
from lmtool.testing import run_cli

pytestmark = pytest.mark.usefixtures("home")
LINES = ["Tim met Angela in Berlin .", "Angela went to Rome .", "nobody met nobody ."] * 20
GOLD = [("Tim met Angela .", [(0, 3), (8, 14)]), ("Angela went to Rome .", [(0, 6)])] * 4
FAST = ("--batch-tokens", "128", "--length", "16", "--device", "cpu", "--lr", "5e-3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text("\n".join(LINES), "utf-8")
    shape = {
        "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64,
    }  # fmt: skip
    (folder / "shape.json").write_text(json.dumps(shape), "utf-8")
    return folder


def test_a_masked_model_is_the_base_of_an_encoder_task(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = ["--size", folder / "shape.json", "--vocabulary", "120", "-o", run, *FAST]
    command = ["pretrain", "--objective", "masked", "--data", folder / "text.txt", *flags]
    result = run_cli(*command)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert "training a tokenizer of 120 tokens" in result.stderr
    assert "to learn from: " in result.stderr
    assert "(best)" in result.stderr
    assert f"lmtool evaluate {run / 'best'}" in result.stderr
    assert run_cli("pretrain", "--resume", "-o", run, "-q").exit_code == 0
    assert "exists and is not empty" in run_cli(*command).stderr

    gold = tmp_path / "gold.jsonl"
    records = [
        {"text": t, "entities": [{"start": s, "end": e, "label": "PER"} for s, e in spans]}
        for t, spans in GOLD
    ]
    gold.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    for base in (run / "best", run / "best" / "model"):
        out = tmp_path / f"extract-{base.name}"
        more = ["--data", gold, "--dev", gold, "--base", base, "--max-tokens", "32", "-o", out]
        result = run_cli("train", "extract", *more, "--max-steps", "2", "--device", "cpu", "-q")
        assert result.exit_code == 0, result.stderr
        text = (out / "best" / "checkpoint.json").read_text("utf-8")
        assert json.loads(text)["base"] == str(base)
    result = run_cli("export", run / "best", "-o", tmp_path / "bundle")
    assert result.exit_code != 0
    assert "Traceback" not in result.stderr


def test_bad_data_leave_the_folder_free(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"txt": 1}\n', "utf-8")
    result = run_cli("pretrain", "--data", tmp_path / "bad.jsonl", "-o", tmp_path / "run")
    assert result.exit_code == 3
    assert "bad.jsonl:1: no field 'text'" in result.stderr
    assert "--skip-bad" in result.stderr or "--text-field" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--base", "b", "--tokenizer", "t"], "tokenizer: given beside --base"),
        (["--tokenizer", "t", "--vocabulary", "300"], "vocabulary: of no use"),
        (["--lowercase"], "lowercase: a causal model"),
        (["--size", "huge"], "size: huge: no configuration of transformers"),
        (["--dev", "-"], "cannot come from stdin"),
        (["--vocabulary", "100"], "vocabulary: 100 tokens are too few"),
        (["--size", "SHAPE"], "size: transformers has no causal model of the kind"),
    ],
)
def test_what_cannot_work_is_said(
    flags: list[str], said: str, folder: Path, tmp_path: Path
) -> None:
    flags = [str(folder / "wrong.json") if flag == "SHAPE" else flag for flag in flags]
    (folder / "wrong.json").write_text('{"model_type": "vit"}', "utf-8")
    command = ["pretrain", "--data", folder / "text.txt", "-o", tmp_path / "run", *FAST]
    result = run_cli(*command, *flags)
    assert result.exit_code == 2, result.stderr
    assert said in result.stderr
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_named() -> None:
    result = run_cli("pretrain", "--size", "tiny")
    assert result.exit_code == 2
    assert "missing: --data, --out" in result.stderr


def test_flags_are_above_the_file(tmp_path: Path) -> None:
    file = tmp_path / "pretrain.toml"
    file.write_text('data = ["a,b.txt"]\nout = "o"\nepochs = 3\nsize = "tiny"\n', "utf-8")
    config = config_of({"config": str(file), "epochs": 4, "dev": ["c,d.txt"]})
    assert (config.epochs, config.size, config.data) == (4, "tiny", ("a,b.txt",))
    assert config.dev == ("c,d.txt",)
    file.write_text("epoch = 3\n", "utf-8")
    with pytest.raises(UsageError, match="unknown key 'epoch'") as caught:
        config_of({"config": str(file)})
    assert str(file) in caught.value.message


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom lmtool.cli.main import run\nrun(['pretrain', '--help'])\n"
        "sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=dict(os.environ))
    assert done.returncode == 0
    assert b"--objective" in done.stdout
