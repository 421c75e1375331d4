"""Pulling models from a hub on this machine: whole, broken half-way, damaged, private, offline."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub

import lmtool
from lmtool.bundles import LanguageInfo, load_bundle, sha256, write_record
from lmtool.errors import BundleError, UsageError
from lmtool.pulling import pull_models
from lmtool.testing import run_cli

hub_library = pytest.importorskip("huggingface_hub")
NAME = "somebody/names-en"
Serve = Callable[..., Hub]


@pytest.fixture
def models(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the user's folder of models, empty; the library finds no token and no proxy."""
    monkeypatch.setenv("LMTOOL_MODELS", str(home / "models"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    return home / "models"


@pytest.fixture
def serve(models: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Return a function that serves a folder, by default that of the tiny bundle."""
    hubs = []

    def start(folder: Path = tiny_bundle, token: str = "") -> Hub:
        hub = Hub(NAME, folder, token)
        hubs.append(hub)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        return hub

    yield start
    hub_library.close_session()
    for hub in hubs:
        hub.close()


def visible(models: Path) -> list[str]:
    return sorted(p.name for p in models.iterdir()) if models.is_dir() else []


def test_a_model_is_pulled_and_runs(serve: Serve, models: Path) -> None:
    hub = serve()
    hub.files["pytorch_model.bin"] = b"not wanted"
    result = run_cli("models", "pull", NAME)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert f"{models / 'names-en'}: a model for 'extract'" in result.stderr
    assert visible(models) == ["names-en"]
    assert hub.gets["pytorch_model.bin"] == 0
    document = lmtool.load("names-en")("Tim met Angela.")
    assert [e.text for e in document.entities or ()] == ["Tim", "Angela"]
    n_gets = hub.gets.total()
    assert pull_models(NAME) == [models / "names-en"]  # it is there: only its record is read
    assert hub.gets.total() == n_gets + 1
    assert visible(models) == ["names-en"]


def test_a_connection_that_breaks_goes_on_where_it_was(
    serve: Serve, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 64)
    hub = serve()
    hub.faults["backbone/backbone.onnx"] = ["break", "break"]
    pull_models(NAME)
    first = len(hub.files["backbone/backbone.onnx"]) // 2 // 64 * 64  # whole pieces are kept
    second = first + (len(hub.files["backbone/backbone.onnx"]) - first) // 2 // 64 * 64
    assert [asked for _, asked in hub.ranges] == [f"bytes={first}-", f"bytes={second}-"]
    load_bundle(models / "names-en")


def test_a_pull_that_was_stopped_keeps_the_files_that_are_whole(serve: Serve, models: Path) -> None:
    hub = serve()
    hub.faults["backbone/tokenizer.json"] = ["forbid"]
    with pytest.raises(BundleError, match=f"{NAME}: could not be fetched from http.*403"):
        pull_models(NAME)
    assert visible(models) == [".pull"]
    pull_models(NAME)
    assert visible(models) == ["names-en"]
    assert hub.gets["backbone/backbone.onnx"] == 1
    assert hub.gets["backbone/tokenizer.json"] == 2


@pytest.mark.parametrize("name", ["head.onnx", "backbone/backbone.onnx"])
def test_a_file_that_came_damaged_is_fetched_once_more(
    serve: Serve, models: Path, name: str
) -> None:
    hub = serve()
    hub.faults[name] = ["corrupt"]
    pull_models(NAME)
    assert hub.gets[name] == 2
    load_bundle(models / "names-en")


def test_a_damaged_repository_never_becomes_visible(serve: Serve, models: Path) -> None:
    hub = serve()
    hub.faults["head.onnx"] = ["corrupt", "corrupt"]
    result = run_cli("models", "pull", NAME)
    assert result.exit_code == 4
    assert f"{NAME}: head.onnx: not what bundle.json says" in result.stderr
    assert visible(models) == [".pull"]
    assert ".pull" not in run_cli("models", "list").stdout
    pull_models(NAME)  # when its owner has mended it
    assert visible(models) == ["names-en"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("head.onnx", None, "head.onnx is missing"),
        ("bundle.json", b"{", "bundle.json is no record of lmtool"),
        ("bundle.json", b'{"files": {"../x": "0"}}', "../x leads out of the bundle"),
        ("bundle.json", None, "no model of lmtool, there is no bundle.json in it"),
        ("backbone/backbone.json", None, "its backbone [0-9a-f]{12} is in no installed bundle"),
    ],
)
def test_a_repository_that_is_no_whole_model(
    serve: Serve, models: Path, name: str, data: bytes | None, message: str
) -> None:
    hub = serve()
    if data is None:
        del hub.files[name]
    else:
        hub.files[name] = data
    with pytest.raises(BundleError, match=message):
        pull_models(NAME)
    assert "names-en" not in visible(models)


def test_several_models_of_a_repository_share_its_backbone(
    serve: Serve, models: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "all" / "whole")
    shutil.copytree(tiny_bundle, tmp_path / "all" / "a-head")
    shutil.rmtree(tmp_path / "all" / "a-head" / "backbone")
    serve(tmp_path / "all")
    with pytest.raises(UsageError, match="holds 2 models, and --to names one folder"):
        pull_models(NAME, to=tmp_path / "x")
    assert pull_models(NAME) == [models / "whole", models / "a-head"]
    assert visible(models) == ["a-head", "whole"]
    assert not (models / "a-head" / "backbone").exists()
    load_bundle("a-head")
    assert pull_models(f"{NAME}/whole", to=tmp_path / "x") == [tmp_path / "x"]
    load_bundle(tmp_path / "x")


def test_a_language_model_is_pulled_too(serve: Serve, models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small-en"
    folder.mkdir()
    for name in ("genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json"):
        (folder / name).write_text(name, "utf-8")
    info = LanguageInfo(
        name="small-en", task="generate", tasks=["generate"], context=64, precision="fp32",
        files={p.name: sha256(p) for p in folder.iterdir()},
    )  # fmt: skip
    write_record(folder / "bundle.json", info)
    hub = serve(folder)
    hub.files[".gitattributes"] = b"*.onnx filter=lfs"
    (target,) = pull_models(NAME)
    assert load_bundle(target).info == info
    assert sorted(p.name for p in target.rglob("*")) == sorted([*info.files, "bundle.json"])


def test_what_is_there_is_replaced_only_on_request(serve: Serve, models: Path) -> None:
    hub = serve()
    pull_models(NAME)
    hub.files["bundle.json"] = hub.files["bundle.json"].replace(b"CC0-1.0", b"MIT")
    with pytest.raises(UsageError, match="names-en exists, and is another model or version"):
        pull_models(NAME)
    pull_models(NAME, overwrite=True, revision=COMMIT)
    assert load_bundle("names-en").info.licence == "MIT"
    assert visible(models) == ["names-en"]


def test_a_private_repository_needs_a_token(
    serve: Serve, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(token="secret")
    with pytest.raises(BundleError, match="has no such model, or it is private") as caught:
        pull_models(NAME)
    assert "HF_TOKEN" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", "secret")
    pull_models(NAME)
    assert visible(models) == ["names-en"]


def test_what_is_not_there_is_named(serve: Serve, models: Path) -> None:
    serve()
    with pytest.raises(BundleError, match=r"nobody/nothing: http.* has no such model"):
        pull_models("nobody/nothing")
    with pytest.raises(BundleError, match=f"{NAME}: no such revision"):
        pull_models(NAME, revision="v9")
    for name in ("", "a//b", "../x", "a b/c"):
        with pytest.raises(UsageError, match="no name of a repository"):
            pull_models(name)


def test_offline_is_said(serve: Serve, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve().close()
    with pytest.raises(BundleError, match=r"could not be fetched from http://127.*ConnectError"):
        pull_models(NAME)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BundleError, match="not fetched, HF_HUB_OFFLINE forbids it"):
        pull_models(NAME)
    assert visible(models) == []


def test_the_library_is_asked_for_by_name(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmtool.pulling.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs huggingface_hub") as caught:
        pull_models(NAME)
    assert caught.value.hint == 'pip install "lmtool[hub]"'
