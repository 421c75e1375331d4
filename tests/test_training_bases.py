"""What a run can start from: its kind, its name, and the copy of a hub's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import huggingface_hub as hub_library
from hub_server import Hub

from lmtool import _hf_folders
from lmtool.errors import BundleError, UsageError
from lmtool.testing import run_cli
from lmtool.training.backbone import model_folder, model_name
from lmtool.training.bases import check_base, objective_of

pytestmark = pytest.mark.usefixtures("home")
NAME = "somebody/decoder"


def write_config(folder: Path, kind: str, *architectures: str) -> str:
    folder.mkdir()
    config = {"model_type": kind, "architectures": architectures}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "architectures", "objective"),
    [
        ("llama", ["LlamaForCausalLM"], "causal"),
        ("llama", [], "causal"),
        ("gpt2", ["GPT2LMHeadModel"], "causal"),
        ("bert", ["BertModel"], "masked"),
        ("bert", ["BertForMaskedLM"], "masked"),
        ("bert", ["BertLMHeadModel"], "causal"),
        ("xlm", ["XLMWithLMHeadModel"], "masked"),
        ("vit", [], None),
    ],
)
def test_the_kind_of_a_base(
    tmp_path: Path, kind: str, architectures: list[str], objective: str | None
) -> None:
    assert objective_of(write_config(tmp_path / "base", kind, *architectures)) == objective


def test_the_other_kind_is_said_before_the_data_are_read(tmp_path: Path) -> None:
    bert = write_config(tmp_path / "bert", "bert", "BertForMaskedLM")
    llama = write_config(tmp_path / "llama", "llama", "LlamaForCausalLM")
    flags = ["--data", tmp_path / "not-there.jsonl", "-o", tmp_path / "run"]
    for command, base, said in (
        (["train", "understand"], llama, "it continues texts (objective causal)"),
        (["train", "understand", "--tune", "head"], llama, "it continues texts"),
        (["train", "chat"], bert, "it fills gaps (objective masked)"),
        (["pretrain"], bert, "that continues texts (objective causal) is needed here"),
        (["pretrain", "--objective", "masked"], llama, "choose the other --objective"),
    ):
        result = run_cli(*command, "--base", base, *flags)
        assert result.exit_code == 2, result.stderr
        assert said in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [["pretrain"], ["train", "extract"], ["train", "generate"]])
def test_a_model_that_is_ready_is_no_base(
    command: list[str], tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTOOL_MODELS", str(tiny_bundle.parent))
    flags = ["--data", tmp_path / "not-there.jsonl", "-o", tmp_path / "run"]
    for base in (tiny_bundle.name, tiny_bundle):
        result = run_cli(*command, "--base", base, *flags)
        assert result.exit_code == 2
        assert f"{base}: a model that is ready to run, which cannot be trained on" in result.stderr
        assert "RUN/best" in result.stderr
    result = run_cli("models", "import", tiny_bundle.name)
    assert (result.exit_code, "needs no import" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["no-such-model", "./nowhere", "a/b/c", "", "a b/c"])
def test_only_owner_and_name_are_asked_for_on_a_hub(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmtool.pulling.fetch_files", None)
    with pytest.raises(BundleError, match="no such folder, and no name of a hub") as caught:
        model_folder(name)
    assert "OWNER/NAME" in caught.value.hint


@pytest.fixture
def hub(talker_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a decoder; the library's cache is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = Hub(NAME, talker_folder)
    served.files["pytorch_model.bin"] = b"x"
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    _hf_folders._fetch_once.cache_clear()
    yield served
    _hf_folders._fetch_once.cache_clear()
    hub_library.close_session()
    served.close()


def test_a_base_of_a_hub_is_kept_for_when_there_is_no_network(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(model_folder(NAME))
    assert (folder / "model.safetensors").is_file()
    assert hub.gets["pytorch_model.bin"] == 0
    n_gets = hub.gets.total()
    assert (model_folder(NAME), model_name(NAME)) == (str(folder), NAME)
    assert hub.gets.total() == n_gets
    with pytest.raises(UsageError, match=f"{NAME}: it continues texts"):
        check_base(NAME, "masked")
    _hf_folders._fetch_once.cache_clear()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert model_folder(NAME) == str(folder)


def test_a_hub_that_cannot_be_reached_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    flags = ["--data", tmp_path / "not-there.txt", "-o", tmp_path / "run"]
    for command in (
        ["models", "import", "hf/nothere"],
        ["pretrain", "--base", "hf/nothere", *flags],
    ):
        result = run_cli(*command)
        assert result.exit_code == 4
        first, hint = result.stderr.splitlines()
        assert first.startswith("error: hf/nothere: could not be fetched from http://127.0.0.1:9: ")
        assert "a folder with the model on this machine needs no hub" in hint
    assert caplog.text == ""
