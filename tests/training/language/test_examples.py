"""Documents as tokens: those of the run time, with the right ones learnt, and nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import tuning_kit as kit
from lmtool_generate.chat import ChatTask
from lmtool_generate.generate import GenerateTask
from lmtool_generate.translate import TranslateTask

from lmtool.documents import Document
from lmtool.training.language.check import check_texts, render_text_report
from lmtool.training.language.examples import (
    Dialogue,
    Example,
    Pair,
    PartReport,
    join_dialogues,
    make_examples,
)
from lmtool.training.language.speech import Speech

FORGETFUL = (
    "{% for m in messages %}{% if loop.last or m['role'] == 'user' %}"
    "[{{ m['role'] }}] {{ m['content'] }}<|endoftext|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
"""A template that leaves out what the assistant said before."""
MESSAGES = kit.dialogues()[0]["messages"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return kit.write_base(tmp_path_factory.mktemp("examples") / "base")


@pytest.fixture(scope="module")
def speech(base: str) -> Speech:
    return kit.speech(base)


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    return kit.speech(kit.write_base(tmp_path_factory.mktemp("forgetful") / "base", FORGETFUL))


def shown(speech: Speech, example: Example) -> list[tuple[str, bool]]:
    """Return the text of an example in stretches, and which of them are learnt."""
    found: list[tuple[list[int], bool]] = []
    for token, is_learnt in zip(example.ids.tolist(), example.is_learnt.tolist(), strict=True):
        if not found or found[-1][1] != is_learnt:
            found.append(([], is_learnt))
        found[-1][0].append(token)
    return [(speech.tokenizer.decode(ids), is_learnt) for ids, is_learnt in found]


def made(speech: Speech, task: Any, *records: dict[str, Any], context: int = 128) -> Any:
    report = PartReport()
    examples = make_examples(kit.documents(records), task, speech.encoder, context, report)
    return examples, report


# ── what is learnt ───────────────────────────────────────────────────────────────────────────


def test_a_completion_is_learnt_and_its_prompt_is_not(speech: Speech) -> None:
    example = speech.encoder.pair(Pair("en>zh: He runs.\n", "他在跑。"))
    assert shown(speech, example) == [
        ("en>zh: He runs.\n", False), ("他在跑。<|endoftext|>", True),
    ]  # fmt: skip


def test_a_task_and_the_run_time_give_the_same_prompt(speech: Speech) -> None:
    task = TranslateTask({"from": "en", "to": "zh"})
    (example,), _ = made(speech, task, kit.translations()[0])
    prompt = task.prompt(Document(text="A dog barks."), task.Options())
    assert isinstance(prompt, str)
    ids = speech.prompts.encode(prompt)
    assert example.ids[: len(ids)].tolist() == ids
    assert example.is_learnt.tolist().index(True) == len(ids)


def test_a_control_token_in_a_text_is_text(speech: Speech) -> None:
    example = speech.encoder.pair(Pair("say <|endoftext|> now:", " <|endoftext|>"))
    assert example.ids.tolist().count(speech.end) == 1
    assert shown(speech, example)[1] == (" <|endoftext|><|endoftext|>", True)


def test_a_plain_text_is_learnt_from_its_first_token(speech: Speech) -> None:
    example = speech.encoder.pair(Pair("", "The king."))
    assert shown(speech, example) == [
        ("<|endoftext|>", False), ("The king.<|endoftext|>", True),
    ]  # fmt: skip


def test_answers_alone_are_learnt_of_a_dialogue(speech: Speech) -> None:
    system = {"role": "system", "content": "Be kind."}
    dialogue = Dialogue([system, *MESSAGES], [2, 4])
    (example,) = speech.encoder.dialogue(dialogue)
    end = "<|endoftext|>"
    assert shown(speech, example) == [
        (f"System: Be kind.{end}User: Hello!{end}Assistant:", False),
        (f" Hi, who are you?{end}", True),
        (f"User: I am Ann.{end}Assistant:", False),
        (f" Nice to meet you, Ann.{end}", True),
    ]


def test_every_answer_follows_the_prompt_of_the_run_time(speech: Speech) -> None:
    (example,) = speech.encoder.dialogue(Dialogue(MESSAGES, [1, 3]))
    for place in (1, 3):
        prompt = speech.prompts.encode(speech.prompts.chat_prompt(MESSAGES[:place]))
        assert example.ids[: len(prompt)].tolist() == prompt
        assert not example.is_learnt[len(prompt) - 1]
        assert example.is_learnt[len(prompt)]


def test_a_template_that_forgets_gives_an_example_for_each_answer(forgetful: Speech) -> None:
    first, second = forgetful.encoder.dialogue(Dialogue(MESSAGES, [1, 3]))
    end = "<|endoftext|>"
    asked = [f"[user] Hello!{end}[assistant] ", f"[user] Hello!{end}[user] I am Ann.{end}"]
    assert shown(forgetful, first) == [(asked[0], False), (f"Hi, who are you?{end}", True)]
    assert shown(forgetful, second) == [
        (f"{asked[1]}[assistant] ", False), (f"Nice to meet you, Ann.{end}", True),
    ]  # fmt: skip
    prompt = forgetful.prompts.encode(forgetful.prompts.chat_prompt(MESSAGES[:3]))
    assert second.ids[: len(prompt)].tolist() == prompt


def test_pairs_of_one_dialogue_are_joined() -> None:
    pairs = [(MESSAGES[:1], "a"), ([{"role": "user", "content": "new"}], "b"), ("x", "y")]
    answered = [*MESSAGES[:1], {"role": "assistant", "content": "a"}]
    assert list(join_dialogues([*pairs[:1], ([*answered, MESSAGES[2]], "c"), *pairs[1:]])) == [
        Dialogue([*answered, MESSAGES[2], {"role": "assistant", "content": "c"}], [1, 3]),
        Pair("x", "y"),
        Dialogue([*pairs[1][0], {"role": "assistant", "content": "b"}], [1]),
    ]


# ── what is too long ─────────────────────────────────────────────────────────────────────────


def test_a_long_text_is_split_and_each_token_learnt(speech: Speech) -> None:
    examples, report = made(speech, GenerateTask(), {"text": kit.STORY}, context=16)
    assert (report.split, report.too_long) == (1, 0)
    assert max(len(example.ids) for example in examples) == 16
    whole = speech.encoder.pair(Pair("", kit.STORY))
    learnt = [t for e in examples for t in e.ids[e.is_learnt].tolist()]
    assert learnt == whole.ids[1:].tolist()
    assert report.longest == len(whole.ids)


def test_a_long_pair_is_left_out_and_named(speech: Speech) -> None:
    long = {"id": "a", "text": kit.STORY, "completions": [{"text": "The end."}]}
    short = {"text": "Once", "completions": [{"text": " upon a time."}]}
    examples, report = made(speech, GenerateTask(), long, short, context=32)
    assert len(examples) == 1
    assert (report.documents, report.examples, report.too_long) == (2, 1, 1)
    n_tokens = len(speech.encoder.pair(Pair(kit.STORY, "The end.")).ids)
    assert report.named == [f"a ({n_tokens} tokens)"]


def test_a_long_dialogue_keeps_its_last_turns(speech: Speech) -> None:
    said = [text for number in range(6) for text in (f"What is {number}?", f"It is {number}.")]
    examples, report = made(speech, ChatTask(), kit.dialogues([said])[0], context=64)
    assert (report.shortened, report.too_long) == (1, 0)
    (example,) = examples
    assert 32 < len(example.ids) <= 64
    text = speech.tokenizer.decode(example.ids.tolist())
    assert text.startswith("User: What is ")
    assert text.endswith("User: What is 5?<|endoftext|>Assistant: It is 5.<|endoftext|>")


def test_the_report_says_what_is_left_out(speech: Speech) -> None:
    short = {"text": "Once", "completions": [{"text": " upon a time."}]}
    long = {"text": kit.STORY, "completions": [{"text": "The end."}]}
    train, dev = kit.documents([short, long]), kit.documents([short, {"text": " "}])
    found = check_texts(GenerateTask(), speech.encoder, 32, train, dev)
    assert (found.report.train.examples, found.report.dev.examples) == (1, 1)
    assert found.report.train.learnt == found.train[0].is_learnt.sum()
    lines = render_text_report(found.report).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["train", "dev"], ["documents", "2", "2"], ["examples", "1", "1"],
    ]  # fmt: skip
    assert lines[-3].startswith("train: 1 documents do not fit 32 tokens and are left out")
    assert lines[-2:] == [
        "dev: 1 documents have nothing to learn and are left out",
        "1 documents of dev ask what stands in train too",
    ]


def test_no_folder_stays_behind(base: str) -> None:
    speech = kit.speech(base)
    folder = speech.prompts._folder
    assert Path(folder).is_dir()
    del speech
    assert not Path(folder).exists()
