"""Models of language on the command line: imported, exported, listed, checked, removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub as hub_library
import pytest
from hub_server import Hub
from language_kit import STORIES
from test_language_export import language_checkpoint
from tiny_bundle import write_tiny_bundle

import lmtool
from lmtool.bundles import LanguageBundle, load_bundle
from lmtool.choice import default_model
from lmtool.testing import run_cli
from lmtool.textmodels import TextModel

KING = STORIES["The king"]


@pytest.fixture
def models(home: Path, talker: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the user's folder of models, with the talker in it."""
    folder = home / "models"
    shutil.copytree(talker, folder / "talker-en")
    monkeypatch.setenv("LMTOOL_MODELS", str(folder))
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("".join(f"{prompt}{rest}\n" for prompt, rest in STORIES.items()), "utf-8")
    return file


def facts(name: str) -> dict[str, str]:
    lines = run_cli("models", "show", name).stdout.split("\n\n")[0].splitlines()
    return dict(line.split(maxsplit=1) for line in lines if " " in line.strip())


# ── bundles of this kind ─────────────────────────────────────────────────────────────────────


def test_load_gives_a_text_model(models: Path) -> None:
    model = lmtool.load("talker-en", max_tokens=24)
    assert isinstance(model, TextModel)
    assert model("The king").fields["completions"][0]["text"] == KING
    assert isinstance(lmtool.load("talker-en", task_name="translate"), TextModel)


def test_an_option_that_a_language_model_does_not_have(models: Path) -> None:
    with pytest.raises(lmtool.UsageError, match="unknown option 'threshold'"):
        lmtool.load("talker-en", threshold=0.5)
    with pytest.raises(lmtool.UsageError, match="no task 'extract' of language models"):
        lmtool.load("talker-en", task_name="extract")


def test_it_is_listed_and_shown(models: Path) -> None:
    rows = json.loads(run_cli("models", "list", "--format", "json").stdout)
    (row,) = [row for row in rows if row["name"] == "talker-en"]
    assert (row["task"], row["tasks"]) == ("generate", ["generate", "chat", "translate"])
    assert "also chat, translate" in run_cli("models", "list").stdout
    found = facts("talker-en")
    assert (found["context"], found["precision"]) == ("128 tokens", "fp32")
    assert found["tasks"] == "generate, chat, translate"


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "tokenizer.json"])
def test_a_changed_file_is_refused(models: Path, name: str) -> None:
    assert run_cli("models", "verify", "talker-en").stdout == "talker-en: ok\n"
    with (models / "talker-en" / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(lmtool.BundleError, match="changed since it was written"):
        lmtool.load("talker-en")
    result = run_cli("models", "verify", "talker-en")
    assert (result.exit_code, "sha256 differs" in result.stdout) == (4, True)


def test_a_file_that_nobody_accounts_for_is_refused(models: Path) -> None:
    # onnxruntime-genai reads what it finds, such as further tokenizer files.
    (models / "talker-en" / "added_tokens.json").write_text("{}", "utf-8")
    with pytest.raises(lmtool.BundleError, match=r"added_tokens\.json: has no sha256"):
        lmtool.load("talker-en")


def test_a_newer_format_is_refused(models: Path) -> None:
    path = models / "talker-en" / "bundle.json"
    path.write_text(path.read_text("utf-8").replace('"format": 1', '"format": 2'), "utf-8")
    with pytest.raises(lmtool.BundleError, match="format 2, this lmtool reads 1"):
        lmtool.load("talker-en")


def test_it_is_removed(models: Path) -> None:
    assert run_cli("models", "remove", "talker-en", "--yes").exit_code == 0
    assert not (models / "talker-en").exists()


def test_doctor_tries_it(models: Path) -> None:
    out = run_cli("doctor").stdout
    assert "talker-en: loaded in" in out
    assert "8 tokens in" in out
    assert "onnxruntime-genai 0." in out


def test_a_model_of_its_own_goes_before_one_that_also_serves(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmtool.plugins.Registry.bundles", lambda _: {})  # none ships
    assert default_model("chat") == "talker-en"
    path = models / "talker-en" / "bundle.json"
    shutil.copytree(path.parent, models / "mine")
    own = json.loads(path.read_text("utf-8")) | {"task": "chat", "name": "mine"}
    (models / "mine" / "bundle.json").write_text(json.dumps(own), "utf-8")
    assert default_model("chat") == "mine"
    assert default_model("generate") == "talker-en"


def test_a_language_model_is_no_base_of_a_head(models: Path, tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"text":"a","labels":{"mood":[{"label":"x"}]}}\n' * 4, "utf-8")
    result = run_cli(
        "train", "understand", "--tune", "head", "--data", gold, "--dev", gold,
        "--base", "talker-en", "-o", tmp_path / "run",
    )  # fmt: skip
    assert result.exit_code == 4
    assert "has no backbone" in result.stderr


# ── import ───────────────────────────────────────────────────────────────────────────────────


def test_import(models: Path, talker_folder: Path, text: Path) -> None:
    result = run_cli(
        "models", "import", talker_folder, "--name", "mine", "--precision", "int8",
        "--text", text, "--licence", "CC0-1.0",
    )  # fmt: skip
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert "fp32 says what PyTorch says:" in result.stderr
    assert result.stderr.endswith("try lmtool chat --model mine\n")
    bundle = load_bundle("mine")
    assert isinstance(bundle, LanguageBundle)
    assert bundle.info.tasks == ["chat", "generate", "translate"]
    assert (bundle.info.precision, bundle.info.licence) == ("int8", "CC0-1.0")
    said = run_cli("generate", "--model", "mine", "The king", "--max-tokens", "24").stdout
    assert json.loads(said)["text"] == "The king"
    again = run_cli("models", "import", talker_folder, "--name", "mine")
    assert (again.exit_code, "exists" in again.stderr) == (2, True)


@pytest.mark.parametrize("name", ["a/b", "..", ".a", ""])
def test_a_name_is_one_of_a_folder(talker_folder: Path, tmp_path: Path, name: str) -> None:
    flags = ("--name", name, "-o", tmp_path / "out")
    for command in (["models", "import"], ["export"]):
        result = run_cli(*command, talker_folder, *flags)
        assert (result.exit_code, f"--name {name}: no name" in result.stderr) == (2, True)


def test_import_says_no(models: Path, talker_folder: Path, text: Path) -> None:
    arguments = ("models", "import", talker_folder, "--name", "mine")
    result = run_cli(*arguments, "--task", "generate", "--gate", "0", "--text", text)
    assert result.exit_code in (0, 1)  # int4 may be better by chance
    assert (models / "mine").exists() == (result.exit_code == 0)
    (text.parent / "empty.txt").write_text("\n", "utf-8")
    result = run_cli(*arguments, "--text", text.parent / "empty.txt")
    assert (result.exit_code, "no text in" in result.stderr) == (2, True)


@pytest.fixture
def bare(talker_folder: Path, tmp_path: Path) -> Path:
    """Return the folder of a model without a chat template."""
    folder = tmp_path / "bare"
    shutil.copytree(talker_folder, folder)
    (folder / "chat_template.jinja").unlink()
    return folder


@pytest.mark.parametrize("command", ["import", "export"])
def test_a_task_that_the_model_cannot_serve(bare: Path, tmp_path: Path, command: str) -> None:
    arguments: list[object] = ["models", "import", bare]
    if command == "export":
        arguments = ["export", language_checkpoint(tmp_path / "best", bare)]
    for task, said in (
        ("nonsense", "no task 'nonsense' of language models: no plugin has it"),
        ("extract", "no task 'extract' of language models: it reads with an encoder"),
        ("chat", "task 'chat' asks in messages, and the model has no chat template"),
        ("translate", "task 'translate' asks in messages"),
    ):
        flags = ("--task", "generate", "--task", task, "-o", tmp_path / "out")
        result = run_cli(*arguments, *flags)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("of", ["run", "best"])
def test_a_checkpoint_is_exported_not_imported(
    home: Path, talker_folder: Path, tmp_path: Path, of: str
) -> None:
    best = language_checkpoint(tmp_path / "run" / "best", talker_folder)
    result = run_cli("models", "import", best if of == "best" else best.parent)
    assert result.exit_code == 2
    assert "a checkpoint of lmtool, which is exported and not imported" in result.stderr
    assert f"lmtool export {best} -o FOLDER" in result.stderr


def test_a_checkpoint_that_is_not_there(home: Path, tmp_path: Path) -> None:
    result = run_cli("export", tmp_path / "nothere", "-o", tmp_path / "out")
    assert (result.exit_code, "nothere: no such folder" in result.stderr) == (2, True)


def test_import_from_a_hub_fetches_what_is_safe_only(
    models: Path, talker_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    hub = Hub("some/talker", talker_folder)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.files |= {"pytorch_model.bin": b"x", "modeling_own.py": b"x"}
    try:
        out = tmp_path / "out"
        result = run_cli("models", "import", "some/talker", "--precision", "fp32", "-o", out)
        assert result.exit_code == 0, result.stderr
        assert load_bundle(out).info.versions.data == {"model": "some/talker"}
        assert hub.gets["pytorch_model.bin"] == hub.gets["modeling_own.py"] == 0
        del hub.files["model.safetensors"]
        result = run_cli("models", "import", "some/talker")
        assert result.exit_code == 2
        assert "its weights are pickled (pytorch_model.bin)" in result.stderr
        assert hub.gets["pytorch_model.bin"] == 0
    finally:
        hub_library.close_session()
        hub.close()


# ── export ───────────────────────────────────────────────────────────────────────────────────


def test_export_of_a_checkpoint(home: Path, talker_folder: Path, tmp_path: Path) -> None:
    form = {"prompt": "{text}"}
    folder = language_checkpoint(
        tmp_path / "run" / "best", talker_folder, task="generate", form=form, context=64
    )
    dev = tmp_path / "dev.jsonl"
    rows = [{"text": p, "completions": [{"text": rest}]} for p, rest in STORIES.items()]
    dev.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    out = tmp_path / "out"
    result = run_cli(
        "export", folder, "-o", out, "--dev", dev, "--precision", "int8", "--name", "mine",
        "--task", "chat", "--data", "stories=made up", "--option", "repetition_penalty=1.01",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    info = load_bundle(out).info
    assert isinstance(info, lmtool.bundles.LanguageInfo)
    assert (info.name, info.task, info.tasks) == ("mine", "generate", ["generate", "chat"])
    assert (info.form, info.context) == (form, 64)
    assert info.options == {"repetition_penalty": 1.01}
    assert info.versions.data == {"stories": "made up"}
    model = lmtool.load(out, max_tokens=24)
    assert model("The king").fields["completions"][0]["text"] == KING


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--head", "x"), "--head: a language model has no such thing"),
        (("--no-backbone",), "--no-backbone: a language model has no such thing"),
        (("--precision", "int8-dynamic"), "unknown precision 'int8-dynamic'"),
        (("--option", "temprature=1"), "temprature"),
    ],
)
def test_flags_of_the_other_kind(
    home: Path, talker_folder: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    folder = language_checkpoint(tmp_path / "best", talker_folder)
    result = run_cli("export", folder, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_encoder_needs_documents(home: Path, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "x")
    result = run_cli("export", tmp_path / "x", "-o", tmp_path / "out")
    assert (result.exit_code, "--dev FILE" in result.stderr) == (2, True)


def test_a_checkpoint_is_exported_before_it_runs(talker_folder: Path, tmp_path: Path) -> None:
    folder = language_checkpoint(tmp_path / "best", talker_folder)
    with pytest.raises(lmtool.UsageError, match="runs when it is exported"):
        lmtool.load(folder)
