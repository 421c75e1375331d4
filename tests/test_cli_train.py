"""Training, evaluation and export on the command line, from documents to a model that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmtool.cli.train import config_of, watch
from lmtool.errors import UsageError
from lmtool.testing import run_cli, tiny_backbone
from lmtool.training.config import TrainConfig
from lmtool.training.loop import Step

pytestmark = pytest.mark.usefixtures("home")
GOLD = [
    ("Tim met Angela in Berlin .", [(0, 3, "PER"), (8, 14, "PER"), (18, 24, "LOC")]),
    ("Angela went to Rome .", [(0, 6, "PER"), (15, 19, "LOC")]),
    ("Berlin is far from Rome .", [(0, 6, "LOC"), (19, 23, "LOC")]),
    ("nobody met nobody .", []),
]


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("gold") / "gold.jsonl"
    records = [
        {"text": text, "entities": [{"start": s, "end": e, "label": y} for s, e, y in spans]}
        for text, spans in GOLD
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return file


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("base"), [text for text, _ in GOLD])


def test_from_documents_to_a_model_that_runs(gold: Path, base: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["train", "extract", "--data", gold, "--dev", gold, "--base", base, "-o", run]
    rates = ["--lr", "1e-3", "--head-lr", "1e-2"]
    result = run_cli(*command, "--epochs", "40", "--eval-every", "40", *rates)
    assert (result.exit_code, result.stdout) == (0, "")
    lines = [line.split() for line in result.stderr.splitlines()]
    assert ["documents", "4", "4"] in lines
    assert "warning: 4 of 4 dev documents have a text that is in train too" in result.stderr
    assert ["LOC", "4", "4"] in lines
    assert "micro_f1 100.00" in result.stderr
    assert f"lmtool export {run / 'best'}" in result.stderr

    result = run_cli("train", "--resume", "-o", run, "-q")
    assert result.exit_code == 0

    result = run_cli("evaluate", run / "best", gold, "--format", "json")
    assert json.loads(result.stdout)["micro_f1"] == 100

    model = tmp_path / "models" / "mine"
    flags = ["--dev", gold, "--precision", "fp32", "--licence", "CC0-1.0", "--data", "gold=here"]
    result = run_cli("export", run / "best", "-o", model, *flags)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"warning: --dev {gold}: the model was trained on this file: its" in result.stderr
    assert "fp32: micro_f1 100.00" in result.stderr
    shown = run_cli("models", "show", model).stdout
    assert "data       gold here\n" in shown

    result = run_cli("export", run / "best", "-o", tmp_path / "alone", *flags, "--no-backbone")
    assert result.exit_code == 0
    assert "is in no installed bundle" in result.stderr
    assert result.stderr.splitlines()[-1] == f"{tmp_path / 'alone'}: a model for 'extract'"
    beside = model.parent / "beside"
    result = run_cli("export", run / "best", "-o", beside, *flags, "--no-backbone")
    assert "is in no installed bundle" not in result.stderr
    assert f"try lmtool extract --model {beside}" in result.stderr

    result = run_cli("extract", "--model", model, "--text", "Tim met Angela in Berlin .")
    entities = [(e["text"], e["label"]) for e in json.loads(result.stdout)["entities"]]
    assert entities == [("Tim", "PER"), ("Angela", "PER"), ("Berlin", "LOC")]


def test_a_folder_that_is_taken(gold: Path, base: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").write_text("", "utf-8")
    command = ["train", "extract", "--data", gold, "--base", base, "-o", tmp_path / "run"]
    result = run_cli(*command)
    assert result.exit_code == 2
    assert "exists and is not empty" in result.stderr


def test_what_is_missing_is_named() -> None:
    result = run_cli("train", "--data", "a.jsonl")
    assert result.exit_code == 2
    assert "missing: TASK, --base, --out" in result.stderr
    assert "lmtool train extract --data train.jsonl --base ENCODER --out RUN" in result.stderr
    said = run_cli("train", "chat", "--data", "a.jsonl").stderr
    assert "lmtool train chat --data train.jsonl --base MODEL --out RUN" in said


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_there_is_no_run_to_resume(command: str, tmp_path: Path) -> None:
    result = run_cli(command, "--resume", "-o", tmp_path / "none")
    assert result.exit_code == 2
    assert f"{tmp_path / 'none'}: no run to resume, it has no config.toml" in result.stderr


def test_a_run_is_no_checkpoint(tmp_path: Path) -> None:
    best = tmp_path / "run" / "best"
    best.mkdir(parents=True)
    (best / "checkpoint.json").write_text("{}", "utf-8")
    result = run_cli("export", best.parent, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert f"{best.parent}: a run, no checkpoint\n  give {best}\n" in result.stderr


def test_flags_are_above_the_file(tmp_path: Path) -> None:
    file = tmp_path / "train.toml"
    text = 'task = "extract"\ndata = ["a,b.jsonl"]\nbase = "b"\nout = "o"\nepochs = 3\nseed = 7\n'
    file.write_text(text, "utf-8")
    options = ["threshold=0.5", "mode=fast"]
    flags = {"epochs": 4, "data": ["c,d.jsonl", "e.jsonl"], "option": options}
    config = config_of({"config": str(file), **flags, "labels": ["entities=PER,LOC"]})
    assert (config.epochs, config.seed, config.base) == (4, 7, "b")
    assert config.data == ("c,d.jsonl", "e.jsonl")
    assert config.options == {"threshold": 0.5, "mode": "fast"}
    assert config.labels == {"entities": ["PER", "LOC"]}


def test_an_unknown_key_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "train.toml"
    file.write_text("epoch = 3\n", "utf-8")
    with pytest.raises(UsageError, match="unknown key 'epoch'") as caught:
        config_of({"config": str(file)})
    assert str(file) in caught.value.message


@pytest.mark.parametrize(
    ("task", "flag", "message"),
    [
        ("extract", ["--adapter"], "--adapter: no setting of extract"),
        ("extract", ["--floor", "0.1"], "--floor: no setting of extract"),
        ("chat", ["--head-lr", "0.1"], "--head-lr: no setting of chat"),
        ("chat", ["--labels", "a=B"], "--labels: no setting of chat"),
    ],
)
def test_a_flag_of_another_kind_of_task_is_refused(
    task: str, flag: list[str], message: str
) -> None:
    result = run_cli("train", task, "--data", "a.jsonl", "--base", "b", "-o", "o", *flag)
    assert result.exit_code == 2
    assert message in result.stderr
    assert f"lmtool train {task} --help shows what there is" in result.stderr


@pytest.mark.parametrize(
    ("task", "own", "others"),
    [
        ("extract", ["--head-lr", "--labels", "<full|head|lora>"], ["--adapter", "text tasks"]),
        ("chat", ["--adapter", "<full|lora>"], ["--head-lr", "--labels"]),
    ],
)
def test_help_behind_a_task_is_of_its_kind(task: str, own: list[str], others: list[str]) -> None:
    shown = " ".join(run_cli("train", task, "--help").stdout.split())
    assert [flag for flag in own if flag not in shown] == []
    assert [flag for flag in others if flag in shown] == []
    head = "head: 400, " if task == "extract" else ""
    assert f"more than once (default: 200, {head}with --epochs: 0)" in shown


@pytest.mark.parametrize("flags", [{"option": ["x"]}, {"labels": ["=A"]}])
def test_a_pair_without_a_name(flags: dict[str, list[str]]) -> None:
    with pytest.raises(UsageError, match="no NAME=VALUE"):
        config_of(flags)


class Steps:
    """A run of these steps, after two of an earlier process."""

    config = TrainConfig(task="extract", data=("a",), base="b", out="o")
    n_steps, first_step, saved_step = 4, 2, 2

    def __init__(self, *scores: dict[str, float] | None) -> None:
        self.scores = scores

    def train(self) -> Iterator[Step]:
        for number, scores in enumerate(self.scores, 3):
            yield Step(
                number=number, total=4, epoch=1, loss=1.5, lr=0.1, tokens_per_second=1.0,
                seconds=1.0, scores=scores, is_best=number == 3, is_last=number == 4,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((), "nothing to do: the run is complete"),
        ((None, None), "nothing was held out to evaluate on"),
        (
            ({"loss": 2.25, "perplexity": 9.5},),
            "best: step 3, epoch 1: loss 1.5000, held-out loss 2.2500, perplexity 9.50",
        ),
    ],
)
def test_what_is_said_of_a_run_that_goes_on(
    scores: tuple[dict[str, float] | None, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    watch(Steps(*scores), "lmtool train", "done")
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0], *lines[-2:]) == ("goes on after step 2 of 4", said, "done")
