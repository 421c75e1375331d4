"""The configuration: ranges, types, unknown keys, and TOML there and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lmtool.errors import UsageError
from lmtool.training.config import (
    TrainConfig,
    absolute,
    config_options,
    format_config,
    make_config,
    read_config,
)

LEAST: dict[str, Any] = {"task": "extract", "data": ["a.jsonl"], "base": "b", "out": "o"}


def test_every_field_has_help() -> None:
    options = config_options()
    assert [field.name for field in dataclasses.fields(TrainConfig)] == list(options)
    assert all(option.help for option in options.values())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lr": 1e-05, "shapes": True, "dropout": 0.0, "dev": ["d.jsonl", "e.jsonl"]},
        {"base": 'a "quoted" \\ name\n\x7f – ö'},
        {"labels": {"entities": ["PER", "A b"]}, "options": {"threshold": 0.5, "x": ["y"]}},
    ],
)
def test_toml_there_and_back(changes: dict[str, Any], tmp_path: Path) -> None:
    config = make_config({**LEAST, **changes})
    (tmp_path / "config.toml").write_text(format_config(config), "utf-8")
    assert read_config(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lrr": 1}, "c.toml: unknown key 'lrr'"),
        ({"lr": "fast"}, "c.toml: lr: Expected `float`, got `str`"),
        ({"epochs": 1.5}, "c.toml: epochs: Expected `int`, got `float`"),
        ({"data": [1]}, "c.toml: data[0]: Expected `str`, got `int`"),
        ({"optimizer": "adam"}, "c.toml: optimizer: Invalid enum value 'adam'"),
        ({"epochs": 0}, "c.toml: epochs: 0 is out of range, it must be at least 1"),
        ({"warmup": 2}, "c.toml: warmup: 2.0 is out of range, it must be from 0 to 1"),
        ({"data": []}, "c.toml: data: no files to train on"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        make_config({**LEAST, **changes}, "c.toml")
    assert caught.value.message == message


TABLE: dict[str, Any] = {"task": "extract", "data": ["a.jsonl"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weigth": 2}, "c.toml: tasks[1]: unknown key 'weigth'"),
        ({"epochs": 2}, "c.toml: tasks[1]: unknown key 'epochs'"),
        ({"weight": 0}, "c.toml: tasks[1].weight: 0.0 is out of range, it must be above 0"),
        ({"weight": "2"}, "c.toml: tasks[1].weight: Expected `float`, got `str`"),
        ({"data": []}, "c.toml: tasks[1].data: no files to train on"),
        ({"task": ""}, "c.toml: tasks[1].task: no task to train"),
    ],
)
def test_a_wrong_key_of_a_table_is_named_with_it(changes: dict[str, Any], message: str) -> None:
    values = {"base": "b", "out": "o", "tasks": [TABLE, {**TABLE, **changes}]}
    with pytest.raises(UsageError) as caught:
        make_config(values, "c.toml")
    assert caught.value.message == message


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UsageError, match="missing required field `base`"):
        make_config({"task": "extract", "data": ["a"], "out": "o"})


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("lr = \n")
    with pytest.raises(UsageError, match=r"c\.toml: not TOML: Invalid value \(at line 1"):
        read_config(tmp_path / "c.toml")
    with pytest.raises(UsageError, match=r"none\.toml: cannot be read: No such file"):
        read_config(tmp_path / "none.toml")


def test_paths_become_absolute_but_hub_names_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "enc").mkdir()
    config = absolute(make_config({**LEAST, "base": "enc", "dev": ["*.jsonl"]}))
    assert config.data == (str(tmp_path / "a.jsonl"),)
    assert config.dev == (str(tmp_path / "*.jsonl"),)
    assert config.base == str(tmp_path / "enc")
    assert absolute(make_config({**LEAST, "base": "org/name"})).base == "org/name"
