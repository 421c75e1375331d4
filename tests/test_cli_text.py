"""Tasks for language models on the command line: prompts, batches, dialogues, translations."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from language_kit import STORIES, TRANSLATIONS

from lmtool.cli.evaluate import scores_text
from lmtool.testing import Result, run_cli

pytestmark = pytest.mark.usefixtures("home")
KING = STORIES["The king"]

Lmtool = Callable[..., Result]


@pytest.fixture
def lmtool(talker: Path) -> Lmtool:
    """Return a function that runs a task with the tiny model."""

    def run(task: str, *arguments: object, stdin: str | bytes | None = None) -> Result:
        return run_cli(task, "--model", talker, *arguments, stdin=stdin)

    return run


def completions(line: str) -> list[str]:
    return [item["text"] for item in json.loads(line)["completions"]]


# ── prompts ──────────────────────────────────────────────────────────────────────────────────


def test_a_prompt(lmtool: Lmtool) -> None:
    result = lmtool("generate", "The king")
    assert (result.exit_code, result.stderr) == (0, "")
    record = json.loads(result.stdout)
    assert 5 < record["completions"][0].pop("tokens") < len(KING)
    assert record == {
        "text": "The king",
        "completions": [{"text": KING, "finish": "stop"}],
        "coverage": {"characters": 8, "read": 8, "windows": 1},
    }


def test_text_is_the_completion_alone(lmtool: Lmtool, tmp_path: Path) -> None:
    assert lmtool("generate", "The king", "-f", "text").stdout == f"{KING.strip()}\n"
    lmtool("generate", "The king", "-o", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text("utf-8") == f"The king\ncompletion: {KING.strip()}\n\n"


def test_text_is_what_a_search_found_alone(lmtool: Lmtool) -> None:
    result = lmtool("generate", "The king", "-f", "text", "--beams", 3)
    assert (result.stdout, result.stderr) == (f"{KING.strip()}\n", "")
    source, target = next(iter(TRANSLATIONS.items()))
    asked = ["translate", "--text", f"{source} {source}\n{source}", "-f", "text"]
    assert lmtool(*asked, "--beams", 3).stdout == f"{target}{target}\n{target}\n"


def test_a_completion_that_is_cut_is_said(lmtool: Lmtool) -> None:
    result = lmtool("generate", "The king", "-f", "text", "--max-tokens", 3)
    assert KING.strip().startswith(result.stdout.strip())
    assert result.stderr == "(cut at 3 tokens: --max-tokens)\n"
    assert lmtool("generate", "The king", "-f", "text", "--max-tokens", 3, "-q").stderr == ""
    shortest = lmtool("generate", "The king", "-f", "text", "--max-tokens", 1)
    assert shortest.stderr == "(cut at 1 token: --max-tokens)\n"


def test_a_completion_that_fills_the_context_is_said(lmtool: Lmtool, tmp_path: Path) -> None:
    flags = ["-f", "text", "--temperature", 9, "--seed", 1]
    prompt = "I like tea. " * 60
    while (result := lmtool("generate", prompt, *flags)).exit_code:  # until it fits
        prompt = prompt[12:]
    assert re.search("tokens?: the model's context is full", result.stderr)
    firm = lmtool("generate", prompt, *flags, "--max-tokens", 24)
    assert (firm.exit_code, "with max_tokens=24 that is" in firm.stderr) == (3, True)


def test_a_pipe_of_prompts(lmtool: Lmtool) -> None:
    result = lmtool("generate", stdin="Once upon a time\nThe king\n")
    assert [completions(line) for line in result.stdout.splitlines()] == [
        [STORIES["Once upon a time"]],
        [KING],
    ]


def test_files_of_prompts(lmtool: Lmtool, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The king\n", "utf-8")
    (tmp_path / "b.jsonl").write_text('{"id":7,"prompt":"Once upon a time"}\n', "utf-8")
    flags = ["--from", tmp_path / "b.jsonl", "--text-field", "prompt"]
    (line,) = lmtool("generate", *flags).stdout.splitlines()
    assert json.loads(line)["id"] == 7
    shell = [tmp_path / "a.txt", tmp_path / "a.txt"]  # as --from *.txt
    assert len(lmtool("generate", "--from", *shell).stdout.splitlines()) == 2


def test_what_does_not_fit_fails_alone(lmtool: Lmtool, tmp_path: Path) -> None:
    file, out = tmp_path / "a.txt", tmp_path / "out.jsonl"
    file.write_text(f"The king\n{'I like tea. ' * 60}\nOnce upon a time\n", "utf-8")
    result = lmtool("generate", "--from", file, "-o", out)
    assert result.exit_code == 3
    assert [completions(line) for line in out.read_text("utf-8").splitlines()] == [
        [KING],
        [STORIES["Once upon a time"]],
    ]
    (bad,) = (tmp_path / "out.jsonl.errors.jsonl").read_text("utf-8").splitlines()
    assert json.loads(bad)["record"] == 2
    assert "context holds 128" in json.loads(bad)["reason"]
    strict = lmtool("generate", "--from", file, "--strict")
    assert strict.exit_code == 3
    assert strict.stderr.startswith(f"error: {file}:2: the prompt has")
    windows = lmtool("generate", "--from", file, "--windows")
    assert windows.exit_code == 0
    coverage = json.loads(windows.stdout.splitlines()[1])["coverage"]
    assert coverage["read"] == coverage["characters"] == 720


def test_a_run_that_was_stopped_goes_on(lmtool: Lmtool, tmp_path: Path) -> None:
    file, out = tmp_path / "a.txt", tmp_path / "out.jsonl"
    prompts = ["The king", "Once upon a time", "The cat", "I like tea. The king", "sea"]
    file.write_text("".join(f"{prompt}\n" for prompt in prompts * 60), "utf-8")
    whole = tmp_path / "whole.jsonl"
    assert lmtool("generate", "--from", file, "-o", whole, "-q").exit_code == 0
    stop_at_the_second_chunk(lmtool, "--from", file, "-o", out)
    n_written = len((tmp_path / "out.jsonl.partial").read_bytes().splitlines())
    assert 0 < n_written < 300
    other = lmtool("generate", "--from", file, "-o", out, "--resume", "--max-tokens", 3)
    assert (other.exit_code, "sampling" in other.stderr) == (2, True)
    resumed = lmtool("generate", "--from", file, "-o", out, "--resume")
    assert (resumed.exit_code, "of an earlier run" in resumed.stderr) == (0, True)
    assert out.read_bytes() == whole.read_bytes()


def test_a_drawn_seed_is_kept_for_the_run_that_goes_on(lmtool: Lmtool, tmp_path: Path) -> None:
    file, out, whole = tmp_path / "a.txt", tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    file.write_text("The king\nOnce upon a time\n" * 140, "utf-8")
    flags = ["--from", file, "--temperature", 3, "--max-tokens", 2]
    stop_at_the_second_chunk(lmtool, *flags, "-o", out)
    partial = (tmp_path / "out.jsonl.partial").read_bytes()
    assert lmtool("generate", *flags, "-o", out, "--resume", "-q").exit_code == 0
    found = out.read_bytes()
    assert found.startswith(partial)
    records = [json.loads(line) for line in found.splitlines()]
    (seed,) = {item["seed"] for record in records for item in record["completions"]}
    assert lmtool("generate", *flags, "--seed", seed, "-o", whole, "-q").exit_code == 0
    assert whole.read_bytes() == found
    assert lmtool("generate", *flags, "-o", tmp_path / "other.jsonl", "-q").exit_code == 0
    assert (tmp_path / "other.jsonl").read_bytes() != found


def test_equal_prompts_are_drawn_for_anew_in_every_chunk(lmtool: Lmtool, tmp_path: Path) -> None:
    file, out, whole = tmp_path / "a.txt", tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    file.write_text("x\n" * 512, "utf-8")
    flags = ["--from", file, "--temperature", 3, "--max-tokens", 4, "--seed", 1]
    assert lmtool("generate", *flags, "-o", whole, "-q").exit_code == 0
    texts = [completions(line)[0] for line in whole.read_text("utf-8").splitlines()]
    assert sum(a == b for a, b in zip(texts[:256], texts[256:], strict=True)) < 25
    stop_at_the_second_chunk(lmtool, *flags, "-o", out)
    assert lmtool("generate", *flags, "-o", out, "--resume", "-q").exit_code == 0
    assert out.read_bytes() == whole.read_bytes()


def stop_at_the_second_chunk(lmtool: Lmtool, *flags: object) -> None:
    """Run generate, and interrupt it there."""
    from lmtool.textmodels import TextModel

    n_chunks = 0
    annotate = TextModel.annotate_from

    def stop(self: TextModel, number: int, documents: object) -> object:
        nonlocal n_chunks
        n_chunks += 1
        if n_chunks == 2:
            raise KeyboardInterrupt
        return annotate(self, number, documents)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextModel, "annotate_from", stop)
        assert lmtool("generate", *flags).exit_code == 130


# ── sampling ─────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_texts(lmtool: Lmtool) -> None:
    flags = ["--temperature", 3, "--max-tokens", 12, "--choices", 3]
    first, again, other = (
        lmtool("generate", "The king", *flags, "--seed", seed).stdout for seed in (1, 1, 2)
    )
    assert first == again
    assert completions(first) != completions(other)
    assert len(set(completions(first))) > 1
    assert {item["seed"] for item in json.loads(first)["completions"]} == {1}


def test_stop(lmtool: Lmtool) -> None:
    (found,) = json.loads(lmtool("generate", "The king", "--stop", "hat").stdout)["completions"]
    assert (found["text"], found["finish"]) == (" lost his ", "stop")
    several = lmtool("generate", "The king", "--stop", "sea", "--stop", " lost")
    assert completions(several.stdout) == [""]
    assert completions(lmtool("generate", "The king", "--stop", r"\n").stdout) == [KING]


def test_a_schema(lmtool: Lmtool, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    properties = {"animal": {"enum": ["cat", "hat"]}}
    schema = {"type": "object", "properties": properties, "required": ["animal"]}
    file.write_text(json.dumps({**schema, "additionalProperties": False}), "utf-8")
    (text,) = completions(lmtool("generate", "The king", "--schema", file).stdout)
    assert json.loads(text)["animal"] in ("cat", "hat")
    missing = lmtool("generate", "The king", "--schema", tmp_path / "no.json")
    assert missing.exit_code == 2
    assert f"{tmp_path / 'no.json'}: cannot be read: No such file" in missing.stderr
    assert "name a file of a JSON schema" in missing.stderr
    file.write_text("nonsense", "utf-8")
    wrong = lmtool("generate", "The king", "--schema", file)
    assert f"--schema {file}: the schema is not JSON" in wrong.stderr
    assert 'write {"type": "object", …}' in wrong.stderr


def test_what_does_nothing_without_chance_is_said(lmtool: Lmtool) -> None:
    flags = ["--seed", 7, "--top-p", 0.9]
    said = "(without --temperature nothing is drawn by chance: no --seed and no --top-p)\n"
    assert lmtool("generate", "The king", *flags).stderr == said
    assert lmtool("generate", "The king", *flags, "-q").stderr == ""
    assert lmtool("generate", "The king", *flags, "--temperature", 0.1).stderr == ""


def test_a_view_says_the_seed_that_was_drawn(lmtool: Lmtool) -> None:
    flags = ["generate", "x", "-f", "text", "--temperature", 3, "--max-tokens", 8, "--choices"]
    for n_choices in (1, 2):
        drawn = lmtool(*flags, n_choices)
        (seed,) = re.findall(r"\(drawn with --seed (\d+)\)\n", drawn.stderr)
        again = lmtool(*flags, n_choices, "--seed", seed)
        assert (again.stdout, "drawn" in again.stderr) == (drawn.stdout, False)


def test_templates(lmtool: Lmtool, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text":"rain"}\n{"text":"rain","title":"The king"}\n', "utf-8")
    ours = lmtool("generate", "rain", "--template", "Write a headline: {text}")
    assert completions(ours.stdout) == [STORIES["Write a headline: rain"]]
    titles = lmtool("generate", "--from", file, "--template", "{title}")
    assert (titles.exit_code, completions(titles.stdout)) == (3, [KING])
    assert f"{file}:1: template: the record has no field 'title'" in titles.stderr
    assert "news, email, reply" in " ".join(lmtool("generate", "--help").stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate"], "no prompt"),
        (["generate", "The", "king"], "2 prompts"),
        (["generate", "x", "--choices", "2"], "without sampling they are all the same"),
        (["generate", "x", "--choices", "3", "--beams", "2"], "2 beams give 2 at most"),
        (["generate", "x", "--stop", ""], "an empty text stops nothing"),
        (["generate", "x", "--template", "poem"], "no template 'poem'"),
        (["generate", "x", "--temperature", "-1"], "-1"),
        (["generate", "x", "--beams", "40"], "40 is more than 32"),
        (["generate", "x", "--max-tokens", "128"], "the model's context holds 128 tokens"),
        (["generate", "x", "--schema", os.devnull, "--stop", "}"], "the schema is not JSON"),
        (["generate", "--from", "no-such.txt"], "no-such.txt: no such file"),
        (["generate", "a b", "--from", "no-such.txt"], "a prompt itself is given without --from"),
        (["translate", "--text", "x", "--to", "de"], "does not translate to 'de'"),
        (["translate", "--text", "x", "--from", "fr"], "it translates en to zh"),
        (["chat", "Hello!"], "files stand behind --from"),
        (["chat", "-o", "a.jsonl"], "--output goes with --from FILES"),
        (["chat", "--text", "x", "--load", "a.jsonl"], "--load does not go with --text"),
        (["chat", "--from", "a.jsonl", "--save", "b.jsonl"], "--save does not go with --from"),
        (["chat", "-f", "html"], "a dialogue is text or jsonl"),
        (["chat", "--choices", "2"], "--choices"),
        (["chat", "--save", "no-such/a.jsonl"], "--save no-such/a.jsonl: there is no such folder"),
    ],
)
def test_wrong_use(lmtool: Lmtool, arguments: list[str], message: str) -> None:
    result = lmtool(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


# ── translate ────────────────────────────────────────────────────────────────────────────────


def test_translate(lmtool: Lmtool, tmp_path: Path) -> None:
    first, second = list(TRANSLATIONS)[:2]
    text = f" {first} {second}\n\n{first}\n"
    result = lmtool("translate", "--from", "en", "--to", "zh", "--text", text)
    record = json.loads(result.stdout)
    a, b = TRANSLATIONS[first], TRANSLATIONS[second]
    assert record["translation"]["text"] == f"{a}{b}\n\n{a}"
    assert record["translation"]["language"] == "zh"
    assert [
        (text[s["start"] : s["end"]], s["translation"]) for s in record["translation"]["sentences"]
    ] == [(first, a), (second, b), (first, a)]
    assert record["coverage"] == {"characters": len(text), "read": len(text), "windows": 3}
    assert lmtool("translate", "--text", text, "-f", "text").stdout == f"{a}{b}\n\n{a}\n"
    (tmp_path / "a.txt").write_text(f"{first}\n", "utf-8")
    assert a in lmtool("translate", tmp_path / "a.txt").stdout
    drawn = ("translate", "--text", text, "--temperature", "1", "--seed", "3")
    said = json.loads(lmtool(*drawn).stdout)["translation"]["text"]
    shown = lmtool(*drawn, "-f", "text").stdout
    assert "zh:" + "".join(said.split()) in "".join(shown.split())  # drawn together, as in a pipe


def test_a_record_in_another_language_fails_alone(lmtool: Lmtool) -> None:
    first = next(iter(TRANSLATIONS))
    records = [{"text": first, "language": "en"}, {"text": "Salut.", "language": "fr"}]
    result = lmtool("translate", stdin="".join(json.dumps(r) + "\n" for r in records))
    assert (result.exit_code, len(result.stdout.splitlines())) == (3, 1)
    assert "does not translate from 'fr'" in result.stderr


# ── chat ─────────────────────────────────────────────────────────────────────────────────────


def messages(line: str) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in json.loads(line)["messages"]]


def test_a_dialogue_through_a_pipe(lmtool: Lmtool) -> None:
    result = lmtool("chat", stdin="Hello!\nI am Ann.\n")
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert messages(first) == [("user", "Hello!"), ("assistant", "Hi, who are you?")]
    assert messages(second)[1] == ("assistant", "Nice to meet you, Ann.")
    spoken = lmtool("chat", "-f", "text", "--system", "Be kind.", stdin="Hello!\nI am Ann.\n")
    assert spoken.stdout == "Hi, who are you?\nNice to meet you, Ann.\n"


def test_commands_of_a_dialogue(lmtool: Lmtool, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    said = (
        f"Hello!\nWhat is up?\n/undo\nI am Ann.\n/save {file}\n/clear\nWhat is up?\n/quit\nHello!\n"
    )
    result = lmtool("chat", "-f", "text", stdin=said)
    answers = result.stdout.splitlines()
    assert (answers[0], answers[2], answers[3:]) == (
        "Hi, who are you?",
        "Nice to meet you, Ann.",
        ["Not much."],
    )
    assert f"({file}: 4 messages, and what comes)" in result.stderr
    assert f"({file} is left as it is; /save FILE keeps what comes)" in result.stderr
    (line,) = file.read_text("utf-8").splitlines()  # /clear does not empty it
    assert [content for _, content in messages(line)] == [
        "Hello!", "Hi, who are you?", "I am Ann.", "Nice to meet you, Ann.",
    ]  # fmt: skip
    wrong = lmtool("chat", "-f", "text", stdin="/sing\n/save\n/undo\nHello!\n/help\n")
    assert (wrong.exit_code, wrong.stdout) == (3, "Hi, who are you?\n")
    for message in ("no command /sing", "/save: no file", "nothing to take back", "/undo  "):
        assert message in wrong.stderr


def test_a_dialogue_is_saved_and_loaded(lmtool: Lmtool, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    lmtool("chat", "--save", file, stdin="Hello!\n")
    assert json.loads(file.read_text("utf-8")) == {
        "text": "",
        "messages": [
            {"role": "user", "content": "Hello!"},
            {"role": "assistant", "content": "Hi, who are you?"},
        ],
    }
    taken = lmtool("chat", "--save", file, stdin="Hello!\n")
    assert (taken.exit_code, "exists" in taken.stderr) == (2, True)
    flags = ["--load", file, "--save", file, "-f", "text"]
    assert lmtool("chat", *flags, stdin="I am Ann.\n").stdout == "Nice to meet you, Ann.\n"
    assert len(json.loads(file.read_text("utf-8"))["messages"]) == 4
    other = tmp_path / "b.jsonl"
    said = f"/save {other}\n/load {file}\nHello!\n/save {other}\n/save {file}\n/clear\nHello!\n"
    result = lmtool("chat", stdin=said)
    assert result.stderr.count("exists") == 1  # only the one that it goes on with is replaced
    assert json.loads(other.read_text("utf-8"))["messages"] == []
    assert len(json.loads(file.read_text("utf-8"))["messages"]) == 6
    missing = lmtool("chat", stdin="/load no-such.jsonl\n").stderr
    assert "no-such.jsonl: no such file\n  name one that --save or /save wrote" in missing
    file.write_text('{"text":"no dialogue"}\n', "utf-8")
    assert lmtool("chat", "--load", file, stdin="Hello!\n").exit_code == 2


def test_the_system_text_is_a_message_of_the_dialogue(lmtool: Lmtool, tmp_path: Path) -> None:
    file, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    said = f"Hello!\n/save {file}\n"
    assert lmtool("chat", "--system", "Be kind.", stdin=said).exit_code == 0
    said = f"/system\nHello!\n/save {other}\n"
    assert lmtool("chat", "--system", "Be kind.", stdin=said).exit_code == 0
    turns = [("user", "Hello!"), ("assistant", "Hi, who are you?")]
    assert messages(file.read_text("utf-8")) == [("system", "Be kind."), *turns]
    assert messages(other.read_text("utf-8")) == turns
    told = ["chat", "--load", file, "--save", file]
    assert lmtool(*told, "--system", "Be brief.", stdin="/save\n").exit_code == 0
    assert messages(file.read_text("utf-8")) == [("system", "Be brief."), *turns]
    assert lmtool(*told, stdin="/save\n").exit_code == 0
    assert messages(file.read_text("utf-8"))[0] == ("system", "Be brief.")


def test_a_dialogue_that_cannot_be_saved_goes_on(lmtool: Lmtool, tmp_path: Path) -> None:
    file, gone = tmp_path / "a.jsonl", tmp_path / "gone" / "a.jsonl"
    said = f"Hello!\n/save {gone}\nI am Ann.\n/save {file}\n"
    result = lmtool("chat", stdin=said)
    assert (result.exit_code, len(result.stdout.splitlines())) == (3, 2)
    assert f"error: {gone}: cannot be written: there is no such folder\n" in result.stderr
    assert "/save FILE keeps it in another place" in result.stderr
    assert len(messages(file.read_text("utf-8"))) == 4
    unsaved = lmtool("chat", "--save", tmp_path / "b.jsonl", stdin=f"/load {file}\nHello!\n")
    assert (unsaved.exit_code, len(unsaved.stdout.splitlines())) == (0, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"messages":[1,2]}', "no list of messages: number 1 is 1"),
        ('{"messages":[{"content":"x"}]}', "number 1 has the role None"),
        ('{"messages":[{"role":"user","content":1}]}', "number 1 has no text as its content"),
        ('{"text":"x"}', "no list of messages: it is None"),
        ('{"messages":[]}\n{"messages":[]}', "several records, where a dialogue is one"),
        ("", "no record"),
        ("{", "a.jsonl:1"),
    ],
)
def test_a_file_that_holds_no_dialogue(
    lmtool: Lmtool, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(f"{content}\n" if content else "", "utf-8")
    result = lmtool("chat", stdin=f"/load {file}\n/system X\n/undo\nHello!\n")
    assert (result.exit_code, len(result.stdout.splitlines())) == (3, 1)
    assert message in result.stderr
    assert "internal" not in result.stderr
    assert lmtool("chat", "--load", file, stdin="Hello!\n").exit_code == 2


def test_a_line_that_is_not_utf8_is_refused_alone(lmtool: Lmtool) -> None:
    result = lmtool("chat", "-f", "text", stdin=b"Hell\xff!\nHello!\n")
    assert (result.exit_code, result.stdout) == (3, "Hi, who are you?\n")
    assert result.stderr.startswith("error: not UTF-8: ")


def test_a_dialogue_with_beams(lmtool: Lmtool) -> None:
    result = lmtool("chat", "--beams", 3, "-f", "text", stdin="Hello!\nI am Ann.\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "Hi, who are you?\nNice to meet you, Ann.\n"


def test_several_lines_are_one_text(lmtool: Lmtool) -> None:
    said = '"""\nHello!\nI am Ann.\n"""\nHello!\\\nI am Ann.\n//quit\n'
    lines = lmtool("chat", stdin=said).stdout.splitlines()
    assert [messages(line)[0][1] for line in lines] == ["Hello!\nI am Ann."] * 2 + ["/quit"]


def test_a_full_context_is_said(lmtool: Lmtool) -> None:
    result = lmtool("chat", "-f", "text", stdin="Hello!\n" * 20 + "so " * 200 + "\nHello!\n")
    assert result.exit_code == 3
    assert len(result.stdout.splitlines()) == 21
    assert "it no longer reads the first" in result.stderr
    assert "error: the prompt has" in result.stderr


def test_dialogues_in_batch(lmtool: Lmtool, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    asked = [{"role": "user", "content": "Hello!"}]
    answered = [*asked, {"role": "assistant", "content": "Hi, who are you?"}]
    records = [{"id": 1, "messages": asked}, {"id": 2, "messages": answered}]
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    result = lmtool("chat", "--from", file)
    assert result.exit_code == 3
    (line,) = result.stdout.splitlines()
    assert messages(line) == [(m["role"], m["content"]) for m in answered]
    assert f"{file}:2: the last message is the assistant's" in result.stderr
    assert messages(lmtool("chat", "--text", "Hello!").stdout) == messages(line)


# ── beside other models ──────────────────────────────────────────────────────────────────────


def test_without_a_model_the_ways_to_one_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTOOL_MODELS", str(tmp_path))
    monkeypatch.setattr("lmtool.plugins.Registry.bundles", lambda _: {})  # none ships
    result = run_cli("generate", "The king")
    assert result.exit_code == 4
    assert "no model for 'generate' is installed" in result.stderr
    assert "import one (lmtool models import OWNER/NAME), train one" in result.stderr
    assert "models import" not in run_cli("extract", "--text", "x").stderr


def test_the_only_model_of_a_task_is_its_default(
    talker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTOOL_MODELS", str(talker.parent))
    assert messages(run_cli("chat", "--text", "Hello!").stdout)[1][0] == "assistant"


def test_annotate_goes_on_beside_language_models(
    talker: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTOOL_MODELS", str(talker.parent))
    monkeypatch.setenv("LMTOOL_MODEL_EXTRACT", str(tiny_bundle))
    result = run_cli("annotate", "--layers", "entities", "--text", "in Berlin")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [e["text"] for e in json.loads(result.stdout)["entities"]] == ["Berlin"]
    wrong = run_cli("annotate", "--model", talker, "--text", "x")
    assert (wrong.exit_code, "a language model" in wrong.stderr) == (4, True)


def test_evaluate(talker: Path, tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    pairs = [("The king", KING), ("Once upon a time", " there was a dog.")]
    records = [{"text": a, "completions": [{"text": b}]} for a, b in pairs]
    long = {"text": "I like tea. " * 60, "completions": [{"text": "x"}]}
    lines = [json.dumps(r) + "\n" for r in (*records, long, {"text": "The king lost his hat."})]
    gold.write_text("".join(lines), "utf-8")
    result = run_cli("evaluate", talker, gold, "--format", "json", "--worst", "1")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["documents"], report["exact_match"], report["texts"]) == (3, 33.33, 1)
    assert report["perplexity"] > 1
    assert report["worst"][0]["gold"] == {"completions": [{"text": " there was a dog."}]}
    assert "1 of 3 documents could not be asked; the first: the prompt has" in result.stderr
    assert "--windows" not in result.stderr
    text = run_cli("evaluate", talker, gold).stdout
    assert "bits_per_byte" in text
    gold.write_text('{"text":"The king lost his hat."}\n', "utf-8")
    plain = json.loads(run_cli("evaluate", talker, gold, "--format", "json").stdout)
    assert plain == {
        "documents": 1,
        **{key: report[key] for key in ("texts", "perplexity", "bits_per_byte")},
    }


def test_one_document_is_counted_as_one() -> None:
    row = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
    assert scores_text({"documents": 1, "micro": row}).startswith("1 document\n")
    assert scores_text({"documents": 2, "micro": row}).startswith("2 documents\n")


def test_plain_texts_have_a_perplexity_whatever_the_model_is_for(
    talker_folder: Path, talker: Path, tmp_path: Path
) -> None:
    tuned = tmp_path / "tuned"
    shutil.copytree(talker, tuned)
    info = json.loads((tuned / "bundle.json").read_text("utf-8")) | {"task": "chat"}
    (tuned / "bundle.json").write_text(json.dumps(info), "utf-8")
    gold = tmp_path / "gold.txt"
    gold.write_text("The king lost his hat.\n", "utf-8")
    plain, other = (
        json.loads(run_cli("evaluate", model, gold, "--format", "json").stdout)
        for model in (talker, tuned)
    )
    assert other == plain
    (tmp_path / "empty.jsonl").write_text('{"text":""}\n', "utf-8")
    nothing = run_cli("evaluate", tuned, tmp_path / "empty.jsonl")
    assert (nothing.exit_code, "no document has gold" in nothing.stderr) == (3, True)


def test_a_folder_that_is_no_bundle_names_the_way_to_one(talker_folder: Path) -> None:
    result = run_cli("generate", "--model", talker_folder, "The king")
    assert result.exit_code == 4
    assert f"lmtool models import {talker_folder} makes one" in result.stderr


def test_the_help_of_chat_shows_no_words_that_are_refused() -> None:
    assert "[OPTIONS] [--from FILES]" in run_cli("chat", "--help").stdout


# ── on a terminal ────────────────────────────────────────────────────────────────────────────


class Terminal:
    """A process with a terminal of its own."""

    def __init__(self, *arguments: object) -> None:
        self.main, terminal = pty.openpty()
        command = [sys.executable, "-m", "lmtool.cli.main", *map(str, arguments)]
        variables = {"TERM": "dumb", "COLUMNS": "80"}
        self.process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal,
            env={**os.environ, **variables}, start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(terminal)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.main, text.encode())

    def until(self, text: str, typing: str = "") -> str:
        """Read until a text has come; return what came before it, and it.

        `typing` is typed again and again meanwhile: a key that comes before the process reads
        keys may be lost.
        """
        end = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if typing:
                self.type(typing)
            if not self._read():
                raise AssertionError(self.seen)
        found, _, self.seen = self.seen.partition(text)
        return found + text

    def end(self, typing: str = "") -> int:
        """Return the exit code."""
        end = time.monotonic() + 60
        while self.process.poll() is None or typing == "":
            if time.monotonic() > end:
                self.process.kill()
                raise AssertionError(self.seen)
            if typing:
                self.type(typing)
            if not self._read():
                break
        os.close(self.main)
        return self.process.wait(60)

    def _read(self) -> bool:
        """Read what is there, waiting for it a little; return whether more may come."""
        if select.select([self.main], [], [], 0.3)[0]:
            try:
                self.seen += os.read(self.main, 4096).decode().replace("\r\n", "\n")
            except OSError:  # the other end is closed
                return False
        return True


def test_a_completion_comes_to_a_terminal(talker: Path) -> None:
    terminal = Terminal("generate", "-m", talker, "The king")
    assert terminal.until("sea.\n") == f"{KING.strip()}\n"
    assert terminal.end() == 0


def test_ctrl_c_and_ctrl_d_in_a_dialogue(talker: Path) -> None:
    terminal = Terminal("chat", "-m", talker)
    terminal.until("> ")
    terminal.type("Hello!\n")
    assert "Hi, who are you?\n" in terminal.until("> ")
    terminal.until("(Ctrl-D or /quit ends)", typing="\x03")
    terminal.type("I am Ann.\n")
    terminal.until("Nice to meet you, Ann.")
    assert terminal.end(typing="\x04") == 0


def test_an_answer_that_was_stopped_counts(
    talker: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from lmtool.cli.dialogue import Dialogue
    from lmtool.textmodels import load_text_model

    dialogue = Dialogue(load_text_model(talker, task_name="chat"), [])
    dialogue.is_live = True
    written = []

    def write(answer: object, *, quiet: bool) -> None:
        for piece in answer:  # type: ignore[attr-defined]
            written.append(piece)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("lmtool.cli.dialogue.write_answer", write)
    dialogue._answer("Hello!")
    *_, last = dialogue.messages
    assert last == {"role": "assistant", "content": written[0].strip(), "finish": "length"}
    assert b"(stopped)" in capfdbinary.readouterr().err


def test_a_question_that_was_stopped_before_an_answer_is_taken_back(
    talker: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from lmtool.cli.dialogue import Dialogue
    from lmtool.textmodels import load_text_model

    dialogue = Dialogue(load_text_model(talker, task_name="chat"), [])
    dialogue.is_live = True

    def read(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dialogue.model.model, "stream", read)  # while it reads the prompt
    dialogue._answer("Hello!")
    monkeypatch.undo()
    monkeypatch.setattr("lmtool.cli.dialogue.write_answer", read)  # before its first token
    dialogue._answer("Hello!")
    assert dialogue.messages == []
    assert capfd.readouterr().err.count("(stopped before an answer") == 2
