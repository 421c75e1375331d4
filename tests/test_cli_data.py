"""`lmtool data check` and `lmtool train` of text tasks: what is wrong with the data, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lmtool.testing import run_cli

pytestmark = pytest.mark.usefixtures("home")
USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


@pytest.mark.parametrize(
    ("messages", "wrong"),
    [
        ("Hi", "it is 'Hi'"),
        (["Hi"], "number 1 is 'Hi'"),
        ([USER, {"role": "bot", "content": "Ho"}], "number 2 has the role 'bot'"),
        ([USER, {"role": "assistant"}], "number 2 has no text as its content"),
    ],
)
def test_dialogues_of_another_shape_are_listed(
    messages: object, wrong: str, talker_folder: Path, tmp_path: Path
) -> None:
    file = write(
        tmp_path / "a.jsonl",
        {"messages": [USER, ANSWER]},
        {"text": "", "messages": messages},
        {"said": "Hi"},
    )
    result = run_cli("data", "check", "chat", file, "--base", talker_folder)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert f"cannot be read: {file}:2: messages is no list of messages: {wrong}" in lines
    assert '  write "messages": [{"role": "user"' in result.stdout
    assert f"cannot be read: {file}:3: no field 'text' (it has: said)" in lines
    assert lines[-1].startswith("  it learns from: messages")
    assert lines[1].split() == ["documents", "1", "0"]
    result = run_cli("train", "chat", "--data", file, "--base", talker_folder, "-o", tmp_path / "r")
    assert result.exit_code == 3
    assert (
        f"error: {file}:2: messages is no list of messages: {wrong} (and 1 more)" in result.stderr
    )


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "no documents to learn for the task 'generate'"),
        ([{"text": ""}, {"text": " "}, {"text": "\n"}], "documents has anything to learn"),
    ],
)
def test_data_without_anything_to_learn(
    records: list[object], said: str, talker_folder: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.jsonl", *records)
    flags = ["--base", talker_folder]
    for command in (
        ["data", "check", "generate", file, *flags],
        ["train", "generate", "--data", file, *flags, "-o", tmp_path / "run"],
    ):
        result = run_cli(*command)
        assert result.exit_code == 3
        assert f"error: {file}: " in result.stderr
        assert said in result.stderr
        assert "it learns from: completions" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_text_without_words_is_nothing_to_pretrain_on(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n \n", "utf-8")
    write(tmp_path / "a.jsonl", {"text": ""}, {"text": " "})
    result = run_cli("pretrain", "--data", tmp_path / name, "-o", tmp_path / "run")
    assert result.exit_code == 3
    assert f"error: {tmp_path / name}: no text to learn from" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_text_task_has_its_own_help() -> None:
    own, encoder = (
        " ".join(run_cli("train", *words).stdout.split())
        for words in (("chat", "--help"), ("extract", "--help"))
    )
    assert "--epochs N Times to go through the data [default: 3]" in own
    assert "[default: 4096]" in own
    assert "--tune <full|lora>" in own
    assert "--freeze" not in own
    assert "--freeze" in encoder
    assert "[default: 5]" in encoder


def test_the_size_of_the_run_is_said(talker_folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", *({"messages": [{**USER, "content": f"Hi {n}"}, ANSWER]}
                                         for n in range(4)))  # fmt: skip
    flags = ["--data", file, "--base", talker_folder, "--eval-samples", "0", "--device", "cpu"]
    for tune, wanted in (
        ("full", "parameters, 2 steps on cpu"),
        ("lora", "of them learn), 2 steps"),
    ):
        run = ["--tune", tune, "--max-steps", "2", "-o", tmp_path / tune]
        result = run_cli("train", "chat", *flags, *run)
        assert result.exit_code == 0, result.stderr
        assert wanted in result.stderr
