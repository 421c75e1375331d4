"""Summaries that a language model writes: what it is asked, long texts in parts, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lmtool_summarize.abstractive import AbstractiveModel, AbstractTask
from lmtool_summarize.prompts import instruction, language_of
from lmtool_summarize.task import SummarizeOptions

import lmtool
from lmtool.documents import Summary, SummaryPart
from lmtool.language import Sampling, load_language_model
from lmtool.testing import run_cli

HATS = " ".join(f"The king number {i} lost his hat. Where is the sea?" for i in range(20))
CATS = "国王在海里丢了帽子。猫在睡觉，海在哪里？" * 12


def load(talker: Path, **options: Any) -> AbstractiveModel:
    given = {"template": "{text}", "max_tokens": 16, **options}
    model = lmtool.load(talker, task_name="summarize", device="cpu", abstractive=True, **given)
    assert isinstance(model, AbstractiveModel)
    return model


def test_what_is_asked() -> None:
    def asked(language: str, step: Any, **options: Any) -> str:
        return instruction(language, step, SummarizeOptions(abstractive=True, **options))

    end = " Answer with the summary and nothing else."
    assert asked("en", "whole") == f"Summarize the text below in at most 3 sentences.{end}"
    assert asked("de", "whole", words=9) == f"Summarize the text below in at most 9 words.{end}"
    assert asked("en", "merge", words=9, sentences=2, query="Who\n{limits}?") == (
        "Below are summaries of the parts of one text, in their order. Write one summary of the "
        f"whole text in at most 2 sentences and 9 words. Say what it tells about this: Who "
        f"{{limits}}?{end}"
    )
    assert "9" not in asked("en", "part", words=9, sentences=9)  # that is for the whole
    assert asked("zh-TW", "whole", sentences=2, words=60, query="谁丢了帽子") == (
        "请概括下面的文章，不超过2句话、60个字。请说明文中与此有关的内容：谁丢了帽子。"
        "只写概括，不写别的。"
    )


def test_the_language_of_a_text() -> None:
    found = [
        language_of(text) for text in ("A cat.", CATS, "用 GPU 训练模型很快", "猫が寝ています", "")
    ]
    assert found == ["en", "zh", "zh", "en", "en"]


def test_prompts() -> None:
    options = SummarizeOptions(abstractive=True)
    plain, chat = AbstractTask(), AbstractTask({"chat": True})
    document = lmtool.Document(text=" 猫在睡觉。\n")
    assert plain.prompt(document, options) == (
        "请概括下面的文章，不超过3句话。只写概括，不写别的。\n\n猫在睡觉。\n\n概括："
    )
    document.fields = {"language": "en"}
    asked = "Summarize the text below in at most 3 sentences. Answer with the summary and nothing "
    assert chat.prompt(document, options) == [
        {"role": "user", "content": f"{asked}else.\n\n猫在睡觉。"}
    ]
    own = AbstractTask({"prompt": "{text}\nTL;DR:"})
    assert own.prompt(document, options) == "猫在睡觉。\nTL;DR:"
    options = SummarizeOptions(abstractive=True, template="{query}? {text}", query="{text}")
    assert own.prompt(document, options) == "{text}? 猫在睡觉。"
    assert plain.form["stop"] == ["\n\n"]
    assert "stop" not in chat.form


def test_a_text_that_fits_is_asked_at_once_by_the_chat_template(talker: Path) -> None:
    found = load(talker)(lmtool.Document(text="Hello!", id=7, fields={"from": "x"}))
    assert found.summary == Summary("Hi, who are you?")
    assert (found.id, found.fields) == (7, {"from": "x"})
    assert found.coverage is not None
    assert (found.coverage.read, found.coverage.windows) == (6, 1)
    assert load(talker)("  \n").summary == Summary("")
    cut = load(talker, max_tokens=2)("Hello!").summary
    assert cut is not None
    assert cut.finish == "length"


@pytest.mark.parametrize("text", [HATS, CATS])
def test_a_long_text_is_read_in_parts_and_their_summaries_are_summarized(
    text: str, talker: Path
) -> None:
    """Each completion is that of the model to the prompt that the docs promise."""
    model = load_language_model(talker, device="cpu")

    def ask(piece: str) -> str:
        prompt = model.chat_prompt([{"role": "user", "content": piece}])
        assert model.count(prompt) + 16 <= model.context
        return model.complete([prompt], Sampling(max_tokens=16))[0][0].text.strip()

    found = load(talker)(text)
    assert found.summary is not None
    parts = found.summary.parts
    assert len(parts) > 3
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert (parts[0].start, parts[-1].end) == (0, len(text))
    for part in parts:
        assert text[: part.end].rstrip()[-1] in ".?。？"  # cut at the end of a sentence
        assert part.text == ask(text[part.start : part.end].strip())
    assert found.coverage is not None
    assert (found.coverage.read, found.coverage.windows) == (len(text), len(parts))
    joined = "\n".join(part.text for part in parts)
    whole = model.chat_prompt([{"role": "user", "content": joined}])
    if model.count(whole) + 16 <= model.context:
        assert found.summary.text == ask(joined)
    else:
        again = load(talker)(joined).summary
        assert again is not None
        assert found.summary.text == again.text


def test_a_text_that_no_summary_makes_shorter_is_an_error_in_its_place(talker: Path) -> None:
    model = load(talker, max_tokens=100)
    found = model.annotate([lmtool.Document(text=text) for text in (HATS, "Hello!")])
    assert isinstance(found[0], lmtool.DataError)
    assert "as long as the text" in found[0].message
    assert isinstance(found[1], lmtool.Document)
    with pytest.raises(lmtool.DataError, match="as long as the text"):
        model(HATS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.5}, "--ratio with --abstractive"),
        ({"diversity": 0.5}, "--diversity with --abstractive"),
        ({"template": "In one line"}, "--template has no {text}"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str, talker: Path) -> None:
    with pytest.raises(lmtool.UsageError, match=message):
        load(talker, **options)


def test_the_command(talker: Path, tmp_path: Path) -> None:
    for name, text in (("a", "Hello!"), ("b", "What is up?"), ("c", HATS)):
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    told = ["summarize", "--abstractive", "--template", "{text}", "--device", "cpu"]
    done = run_cli(*told, "-m", talker, "--whole-file", *files, tmp_path / "c.txt")
    assert done.exit_code == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["summary"]["text"] for r in found[:2]] == ["Hi, who are you?", "Not much."]
    assert found[2]["coverage"]["windows"] == len(found[2]["summary"]["parts"])
    shown = run_cli(*told, "-m", talker, "--whole-file", tmp_path / "c.txt", "-f", "text")
    last = found[2]["summary"]["parts"][-1]
    assert f"characters {last['start']:,} to {len(HATS):,}" in shown.stdout
    rows = run_cli(*told, "-m", talker, "--whole-file", tmp_path / "c.txt", "-f", "csv").stdout
    assert f",summary.part,,{last['start']},{len(HATS)}," in rows
    done = run_cli(*told, "-m", talker, "--whole-file", "--together", *files)
    (record,) = map(json.loads, done.stdout.splitlines())
    assert [(d["start"], d["end"]) for d in record["documents"]] == [(0, 6), (8, 19)]
    assert record["coverage"]["read"] == 19
    assert "no language model is named" in run_cli(*told, *files).stderr
    refused = run_cli("summarize", "--template", "{text}", "-m", talker, *files)
    assert (refused.exit_code, "say --abstractive" in refused.stderr) == (2, True)
    refused = run_cli("summarize", "-m", talker, *files)
    assert (refused.exit_code, "a language model" in refused.stderr) == (2, True)


def test_a_run_goes_on_with_the_same_options_alone(talker: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl"
    texts = ["Hello!", "What is up?"]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    told = ["summarize", "--abstractive", "-m", talker, file, "-o", out, "-q", "--resume"]
    assert run_cli(*told, "--template", "{text}").exit_code == 0
    written = out.read_bytes()
    assert run_cli(*told, "--template", "{text}").exit_code == 0
    assert out.read_bytes() == written
    out.rename(tmp_path / "out.jsonl.partial")
    (tmp_path / "out.jsonl.progress").write_text("{}", "utf-8")
    other = run_cli(*told, "--template", "Why? {text}")
    assert other.exit_code == 2


def test_parts_are_read_again(talker: Path) -> None:
    from lmtool.documents import document_from_record, encode_document

    found = load(talker)(HATS)
    again = document_from_record(json.loads(encode_document(found)))
    assert again == found
    assert again.summary is not None
    assert isinstance(again.summary.parts[0], SummaryPart)
