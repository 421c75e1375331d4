"""Settings: the order of their origins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtool.errors import UsageError
from lmtool.models import BATCH_TOKENS
from lmtool.settings import Settings, read_settings, settings_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_defaults(file: Path) -> None:
    assert read_settings(file, {}) == Settings()
    assert Settings().batch_tokens == BATCH_TOKENS


def test_the_file_is_above_the_defaults(file: Path) -> None:
    file.write_text('device = "cpu"\n[model]\nextract = "mine"\n', "utf-8")
    found = read_settings(file, {})
    assert (found.device, found.threads, found.model) == ("cpu", 0, {"extract": "mine"})
    assert list(found.items()) == [
        ("device", "cpu", str(file)),
        ("threads", 0, "default"),
        ("batch_tokens", 1024, "default"),
        ("progress", True, "default"),
        ("model.extract", "mine", str(file)),
    ]


def test_variables_are_above_the_file(file: Path) -> None:
    file.write_text('device = "cpu"\nthreads = 2\n[model]\nextract = "mine"\n', "utf-8")
    variables = {"LMTOOL_DEVICE": "cuda", "LMTOOL_MODEL_EXTRACT": "other", "LMTOOL_PROGRESS": "no"}
    found = read_settings(file, {**variables, "LMTOOL_THREADS": "", "LMTOOL_MODELS": "elsewhere"})
    assert found == Settings("cuda", 2, 1024, False, {"extract": "other"})
    assert found.origin["device"] == "$LMTOOL_DEVICE"
    assert found.origin["model.extract"] == "$LMTOOL_MODEL_EXTRACT"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('devise = "cpu"', "unknown key 'devise'", "did you mean 'device'?"),
        ("zzz = 1", "unknown key 'zzz'", "the keys are: device, threads"),
        ('threads = "two"', "threads is 'two', not a whole number", "config show"),
        ("threads = true", "threads is True, not a whole number", "config show"),
        ("threads = -1", "threads is -1, less than 0", ""),
        ("batch_tokens = 0", "batch_tokens is 0, less than 1", ""),
        ("[model]\nextract = 3", "model.extract is 3, not a text", "config show"),
        ('model = "x"', "model is no table", "[model]"),
        ("device = ", "no valid TOML", ""),
    ],
)
def test_a_wrong_file_is_named_with_its_key(file: Path, text: str, message: str, hint: str) -> None:
    file.write_text(text, "utf-8")
    with pytest.raises(UsageError) as caught:
        read_settings(file, {})
    assert caught.value.message.startswith(f"{file}: ")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_wrong_variable_is_named(file: Path) -> None:
    with pytest.raises(UsageError, match="LMTOOL_THREADS is 'x', not a whole number"):
        read_settings(file, {"LMTOOL_THREADS": "x"})
    with pytest.raises(UsageError, match="LMTOOL_PROGRESS is 'maybe', not true or false"):
        read_settings(file, {"LMTOOL_PROGRESS": "maybe"})


def test_a_file_with_a_byte_order_mark(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbfdevice = "cpu"\r\n')
    assert read_settings(file, {}).device == "cpu"


def test_where_the_file_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LMTOOL_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_file() == tmp_path / "lmtool" / "config.toml"
    monkeypatch.setenv("LMTOOL_CONFIG", "/elsewhere.toml")
    assert settings_file() == Path("/elsewhere.toml")
