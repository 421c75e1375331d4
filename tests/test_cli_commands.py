"""The core commands around models and data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from lmtool_extract.task import ExtractTask
from tiny_bundle import write_tiny_bundle

from lmtool.cli import doctor, needs
from lmtool.errors import DataError
from lmtool.sources import BadRecord
from lmtool.testing import run_cli
from lmtool.training.data import Data

pytestmark = pytest.mark.usefixtures("home")
GOLD = (
    '{"id":"a","text":"Tim Cook in Berlin","entities":['
    '{"start":0,"end":8,"label":"PER"},{"start":12,"end":18,"label":"LOC"}]}\n'
    '{"id":"b","text":"Angela in Rome","entities":[{"start":10,"end":14,"label":"LOC"}]}\n'
)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the user's folder of models, with the tiny one in it."""
    folder = tmp_path / "models"
    write_tiny_bundle(folder / "tiny-en")
    monkeypatch.setenv("LMTOOL_MODELS", str(folder))
    return folder


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    file = tmp_path / "gold.jsonl"
    file.write_text(GOLD, "utf-8")
    return file


# ── models ───────────────────────────────────────────────────────────────────────────────────


def test_models_list(models: Path) -> None:
    (row,) = [
        row
        for row in json.loads(run_cli("models", "list", "--format", "json").stdout)
        if row["name"] == "tiny-en"
    ]
    assert (row["task"], row["labels"]) == ("extract", ["LOC", "PER"])
    assert row["folder"] == str(models / "tiny-en")
    assert "tiny-en" in run_cli("models", "list").stdout


@pytest.mark.parametrize(("columns", "has_labels"), [(40, False), (80, True)])
def test_the_list_of_models_fits_a_terminal(
    models: Path, monkeypatch: pytest.MonkeyPatch, columns: int, has_labels: bool
) -> None:
    monkeypatch.setattr("lmtool.cli.models.is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run_cli("models", "list").stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith("in ")) <= columns
    tiny = next(number for number, line in enumerate(lines) if line.startswith("tiny-en"))
    assert lines[tiny - 1] == f"in {models}"
    assert ("LOC, PER" in lines[tiny]) == has_labels


def test_a_damaged_model_is_listed(models: Path) -> None:
    (models / "tiny-en" / "bundle.json").write_text("{", "utf-8")
    result = run_cli("models", "list")
    assert result.exit_code == 0
    assert "broken" in next(x for x in result.stdout.splitlines() if x.startswith("tiny-en"))


def test_models_show(models: Path) -> None:
    text = run_cli("models", "show", "tiny-en").stdout
    assert "labels     entities: LOC, PER\n" in text
    assert "licence    CC0-1.0\n" in text
    assert text.endswith("# tiny-en\n\nKnows five names.\n")
    assert run_cli("models", "show", "no-such").exit_code == 4


def test_models_verify(models: Path) -> None:
    assert run_cli("models", "verify", "tiny-en").stdout == "tiny-en: ok\n"
    graph = models / "tiny-en" / "backbone" / "backbone.onnx"
    graph.write_bytes(graph.read_bytes() + b"x")
    (models / "tiny-en" / "head.onnx").unlink()
    result = run_cli("models", "verify", "tiny-en")
    assert result.exit_code == 4
    assert "head.onnx: missing" in result.stdout
    assert "backbone.onnx: changed" in result.stdout


def test_models_remove(models: Path) -> None:
    asked = run_cli("models", "remove", "tiny-en", stdin="")
    assert (asked.exit_code, (models / "tiny-en").exists()) == (2, True)
    assert "--yes" in asked.stderr
    assert run_cli("models", "remove", "tiny-en", "--yes").exit_code == 0
    assert list(models.iterdir()) == []


@pytest.mark.parametrize("name", ["no-such", "../models/tiny-en", ".", "/"])
def test_models_remove_touches_nothing_else(models: Path, name: str) -> None:
    result = run_cli("models", "remove", name, "--yes")
    assert result.exit_code == 2
    assert (models / "tiny-en" / "bundle.json").is_file()


def test_a_linked_model_is_unlinked_only(models: Path, tmp_path: Path) -> None:
    shutil.move(models / "tiny-en", tmp_path / "elsewhere")
    (models / "tiny-en").symlink_to(tmp_path / "elsewhere")
    assert run_cli("models", "remove", "tiny-en", "-y").exit_code == 0
    assert (tmp_path / "elsewhere" / "bundle.json").is_file()


# ── config ───────────────────────────────────────────────────────────────────────────────────


def test_config(home: Path) -> None:
    file = home / "config" / "lmtool" / "config.toml"
    assert run_cli("config", "path").stdout == f"{file}\n"
    file.parent.mkdir(parents=True)
    file.write_text('device = "cpu"\n[model]\nextract = "mine"\n', "utf-8")
    assert run_cli("config", "show", env={"LMTOOL_THREADS": "1"}).stdout == (
        "device = cpu\nthreads = 1\nbatch_tokens = 1024\nprogress = true\nmodel.extract = mine\n"
    )
    rows = run_cli("config", "show", "--origin", env={"LMTOOL_THREADS": "1"}).stdout.splitlines()
    assert [row.split() for row in rows[1:3]] == [
        ["device", "cpu", str(file)],
        ["threads", "1", "$LMTOOL_THREADS"],
    ]
    file.write_text("divice = 1", "utf-8")
    result = run_cli("config", "show")
    assert (result.exit_code, f"{file}: unknown key 'divice'" in result.stderr) == (2, True)


# ── evaluate ─────────────────────────────────────────────────────────────────────────────────


def test_evaluate(models: Path, gold: Path) -> None:
    result = run_cli("evaluate", "tiny-en", gold, "--confusion", "--worst", "5")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["LOC", "100.00", "50.00", "66.67", "2"] in rows
    assert ["PER", "50.00", "100.00", "66.67", "1"] in rows
    assert ["gold", "\\", "predicted", "LOC", "PER", "O"] in rows
    assert "worst 1: document b" in result.stdout
    assert "gold       Angela in [Rome LOC]" in result.stdout
    assert "predicted  [Angela PER] in Rome" in result.stdout
    assert "worst 2" not in result.stdout


def test_evaluate_in_json(models: Path, gold: Path) -> None:
    result = run_cli("evaluate", "tiny-en", gold, "--format", "json", "--worst", "1")
    report = json.loads(result.stdout)
    assert (report["documents"], report["micro_f1"]) == (2, 66.67)
    assert report["worst"][0]["id"] == "b"
    assert "errors" not in report


def test_evaluate_without_gold(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("Berlin\n", "utf-8")
    result = run_cli("evaluate", "tiny-en", file)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no document has gold for the task 'extract'" in result.stderr


# ── data ─────────────────────────────────────────────────────────────────────────────────────


def test_convert_there_and_back(gold: Path, tmp_path: Path) -> None:
    assert run_cli("data", "convert", gold, "-o", tmp_path / "a.conll", "-q").exit_code == 0
    result = run_cli("data", "convert", tmp_path / "a.conll", "-o", "-", "-f", "jsonl", "-q")
    texts = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert texts == ["Tim Cook in Berlin", "Angela in Rome"]


def test_convert_makes_gold_of_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    rows = [
        {"text": "a", "team": " sales ", "stars": "4.5", "tags": ["x", 2], "kept": 1},
        {"text": "b", "team": "", "stars": None, "tags": []},
        {"text": "c", "team": "sales", "stars": "many", "tags": []},
        {"text": "d", "team": True, "stars": 1},
        {"text": "e", "team": {}, "stars": 1, "tags": []},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    out = tmp_path / "out.jsonl"
    flags = ["--classes", "team=team", "--classes", "about=tags", "--numbers", "stars=stars"]
    result = run_cli("data", "convert", file, "-o", out, *flags)
    assert result.exit_code == 3
    assert [json.loads(line) for line in out.read_text("utf-8").splitlines()] == [
        {
            "text": "a",
            "kept": 1,
            "labels": {
                "team": [{"label": "sales"}],
                "about": [{"label": "x"}, {"label": "2"}],
                "stars": [{"value": 4.5}],
            },
        },
        {"text": "b", "labels": {"about": []}},
    ]
    errors = (tmp_path / "out.jsonl.errors.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["reason"] for line in errors] == [
        "field 'stars': 'many' is no number",
        "no field 'tags'",
        "field 'team': {} is no label",
    ]
    assert run_cli("data", "convert", file, "-o", out, "--classes", "team").exit_code == 2


def test_convert_keeps_count_of_what_failed(gold: Path, tmp_path: Path) -> None:
    gold.write_text(GOLD + "no json\n", "utf-8")
    result = run_cli("data", "convert", gold, "-o", tmp_path / "a.jsonl")
    assert result.exit_code == 3
    assert "2 documents, 1 failed" in result.stderr


def test_convert_reads_what_the_flags_say(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_bytes("x\tné\tB-LOC\tx\n\nx\tY\tno-tag\tx\n\n".encode("latin-1"))
    flags = ["--token-column", "1", "--tag-column", "2", "--encoding", "latin-1"]
    bad = tmp_path / "bad.jsonl"
    result = run_cli("data", "convert", file, "-o", "-", "-f", "jsonl", "--errors", bad, *flags)
    assert result.exit_code == 3
    (entity,) = json.loads(result.stdout)["entities"]
    assert (entity["text"], entity["label"]) == ("né", "LOC")
    assert "no-tag" in bad.read_text("utf-8")
    result = run_cli("data", "convert", file, "-o", tmp_path / "b.jsonl", "--encoding", "klingon")
    assert result.exit_code == 2
    assert not list(tmp_path.glob("b.*"))


@pytest.mark.parametrize("command", ["check", "evaluate", "convert"])
def test_a_bad_record_is_named_once(models: Path, tmp_path: Path, command: str) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(b"")
    if command == "check":
        result = run_cli("data", "check", "extract", file, "--base", "tiny-en")
    elif command == "convert":
        result = run_cli("data", "convert", file, "-o", "-", "-f", "jsonl")
    else:
        result = run_cli("evaluate", "tiny-en", file)
    lines = (result.stdout + result.stderr).splitlines()
    (line,) = [line for line in lines if "empty file" in line]
    assert line.count(str(file)) == 1
    assert f"{file}:1: an empty file is no gz data" in line


def test_a_damaged_table_has_no_line_0(tmp_path: Path) -> None:
    bad = BadRecord("a.parquet", 0, "a.parquet: cannot be read")
    assert (bad.where, bad.message) == ("a.parquet", "a.parquet: cannot be read")
    data = Data([], [bad], {}, {})
    with pytest.raises(DataError, match=r"^a\.parquet: cannot be read"):
        data.refuse_bad()


def test_check(models: Path, gold: Path) -> None:
    result = run_cli("data", "check", "extract", gold, "--base", "tiny-en")
    assert (result.exit_code, result.stderr) == (0, "")
    assert ["LOC", "2", "0"] in [line.split() for line in result.stdout.splitlines()]


# ── what is missing ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command",
    [
        ["train", "extract", "--data", "a", "--base", "b", "-o", "c"],
        ["export", "run", "-o", "x", "--dev", "y"],
    ],
)
def test_training_without_torch_says_what_to_install(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    result = run_cli(*command)
    assert result.exit_code == 2
    assert 'pip install "lmtool[train]"' in result.stderr


# ── doctor ───────────────────────────────────────────────────────────────────────────────────


def test_doctor_runs_each_model(models: Path) -> None:
    result = run_cli("doctor")
    assert result.exit_code == 0, result.stdout
    assert "tiny-en: loaded in" in result.stdout
    assert "CPUExecutionProvider" in result.stdout


def test_doctor_finds_what_is_wrong(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "tiny-en" / "head.onnx").write_bytes(b"x")
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0")
    result = run_cli("doctor")
    assert result.exit_code == 1
    assert "onnxruntime and onnxruntime-gpu are both installed" in result.stdout
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in result.stdout
    assert "pip uninstall -y onnxruntime-genai onnxruntime-genai-cuda" in result.stdout
    assert "head.onnx: changed" in result.stdout
    assert "3 of these want mending" in result.stderr


def test_the_number_of_damaged_models(models: Path) -> None:
    record = models / "tiny-en" / "backbone" / "backbone.json"
    record.write_text(record.read_text("utf-8").replace("tokenizer.json", "words.json"), "utf-8")
    result = run_cli("models", "verify", "tiny-en")
    assert "tokenizer.json has no sha256" in result.stdout
    assert "1 of 1 model is damaged" in result.stderr
    assert "1 of 2 models is damaged" in run_cli("models", "verify", "tiny-en", "base-en").stderr


def test_evaluate_worst_of_a_task_that_counts_no_errors(
    models: Path, gold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExtractTask, "score", lambda *_: {"micro_f1": 50.0})
    result = run_cli("evaluate", "tiny-en", gold, "--worst", "1")
    assert (result.exit_code, result.stdout) == (0, "documents 2\nmicro_f1 50.00\n")
    assert "the task 'extract' reports no errors by document" in result.stderr
