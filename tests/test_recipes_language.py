"""The converters of story-en, chat-en and translate-en-zh, on texts as the sets have them."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

RECIPES = Path(__file__).parents[1] / "recipes"


def load(recipe: str) -> Any:
    """Return a recipe's converter, which is in no package."""
    path = RECIPES / recipe / "prepare.py"
    spec = importlib.util.spec_from_file_location(f"prepare_{recipe.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def story() -> Any:
    return load("story-en")


@pytest.fixture(scope="module")
def chat() -> Any:
    pytest.importorskip("yaml")
    return load("chat-en")


@pytest.fixture(scope="module")
def translate() -> Any:
    return load("translate-en-zh")


# ── story-en ─────────────────────────────────────────────────────────────────────────────────

SENTENCE = "It was the best of times,\nit was the _worst_ of times--so they “said”.\n\n"
BOOK = f"""Produced by Nobody

A TALE

CONTENTS

CHAPTER I. One

CHAPTER II. Two

CHAPTER I. One

The Period

{SENTENCE * 12}
    A verse is short,
    and has its lines.

{SENTENCE}

       *       *       *

[Illustration: a king]

CHAPTER II. Two

{SENTENCE * 12}

End of the Project Gutenberg EBook of A Tale
"""


def test_a_book_becomes_its_chapters(story: Any) -> None:
    paragraph = 'It was the best of times, it was the worst of times--so they "said".'
    first, second = story.chapters(BOOK)
    verse = "A verse is short,\nand has its lines."
    assert first.split("\n\n") == [*[paragraph] * 12, verse, paragraph]
    assert second.split("\n\n") == [paragraph] * 12


@pytest.mark.parametrize(
    ("block", "is_heading"),
    [
        ("CHAPTER XII", True), ("Chapter 3", True), ("IV.", True), ("I. The Period", True),
        ("BOOK TWO: 1805", True), ("I am here.", False), ("Bookish people read.", False),
    ],
)  # fmt: skip
def test_headings(story: Any, block: str, is_heading: bool) -> None:
    assert story.is_heading(block) is is_heading


def test_speeches_in_other_encodings_are_read(story: Any) -> None:
    assert story.decode("naïve".encode()) == "naïve"
    assert story.decode(b"President\xa1\xa6s") == "President’s"
    assert story.decode(b"the \xbd\xa2 decrease") == "the ½¢ decrease"


def test_a_speech_is_what_is_said(story: Any) -> None:
    said = "We gather here. " * 10
    text = f"ADDRESS\n \nMay 1, 1950\n\nTHE PRESIDENT: Mr. Speaker:\n\n{said}(Applause.)\n\n{said}"
    assert story.speech(f"{text}\n\n   WEB RESOURCES >>\nLinks") == "\n\n".join(
        ["Mr. Speaker:", said.strip(), said.strip()]
    )


def test_the_tail_of_the_plays_is_held_out(story: Any, tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("0123456789", "utf-8")
    rows = list(story.read_tinyshakespeare(tmp_path))
    assert [(part, row["text"]) for part, row in rows] == [("train", "012345678"), ("dev", "9")]


# ── chat-en ──────────────────────────────────────────────────────────────────────────────────


def test_turns_become_messages(chat: Any, tmp_path: Path) -> None:
    turns = [{"speaker": "user", "text": "Hi  there"}, {"speaker": "system", "text": "Hello!"}]
    (tmp_path / "sgd.jsonl").write_text(json.dumps({"id": "1_0", "turns": turns}) + "\n", "utf-8")
    assert list(chat.read_sgd(tmp_path / "sgd.jsonl")) == [
        {
            "id": "sgd-1_0",
            "text": "",
            "messages": [
                {"role": "user", "content": "Hi there"},
                {"role": "assistant", "content": "Hello!"},
            ],
        }
    ]


def test_small_talk_is_read_once(chat: Any, tmp_path: Path) -> None:
    files = {
        "emotion": [["Are you sad?", "No.", "Never."], ["are you sad", "no"]],
        "greetings": [["Hello", "Hi", "How are you?"], ["Bye", ""]],
        "politics": [["Who rules?", "I do."]],
    }
    for name, conversations in files.items():
        text = json.dumps({"categories": [name], "conversations": conversations})
        (tmp_path / f"{name}.yml").write_text(text, "utf-8")  # JSON is YAML
    left_out: Counter[str] = Counter()
    assert list(chat.read_chatterbot(tmp_path, left_out)) == [
        ["Are you sad?", "No."], ["Are you sad?", "Never."], ["Hello", "Hi"],
    ]  # fmt: skip
    assert left_out == {"repeated or empty": 2, "politics": 1}


def test_small_talk_goes_on(chat: Any) -> None:
    exchanges = [[f"question {n}", f"answer {n}"] for n in range(10)]
    mixed = list(chat.mix(exchanges, rounds=3))
    assert mixed[:10] == exchanges
    counts = Counter(text for said in mixed for text in said)
    assert set(counts.values()) == {4}
    assert {len(said) // 2 for said in mixed[10:]} <= {1, 2, 3, 4}
    assert mixed == list(chat.mix(exchanges, rounds=3))


def test_a_question_is_in_one_part(chat: Any) -> None:
    assert all(chat.is_dev(f"What is {n}?") == chat.is_dev(f"what is  {n}") for n in range(30))
    assert 40 < sum(chat.is_dev(f"What is {n}?") for n in range(1000)) < 160


# ── translate-en-zh ──────────────────────────────────────────────────────────────────────────


def test_no_english_sentence_is_in_two_parts(translate: Any, tmp_path: Path) -> None:
    lines = [
        f"I see {n} cats.\t我看见{n}只猫。\tCC-BY #1 (Ann{n % 3}) & #2 (Bo)" for n in range(400)
    ]
    lines += [f"i see {n} cats!\t有{n}只猫。\tCC-BY #3 (CK) & #4 (Bo)" for n in range(400)]
    folder = tmp_path / "data" / "cmn_eng"
    folder.mkdir(parents=True)
    (folder / "cmn.txt").write_text("\n".join(lines) + "\n", "utf-8-sig")
    left_out: Counter[str] = Counter()
    parts = translate.split_pairs(translate.read_pairs(folder / "cmn.txt"), left_out)
    keys = {part: [translate.text_key(d["text"]) for d in found] for part, found in parts.items()}
    assert not set(keys["train"]) & {*keys["dev"], *keys["test"]}
    assert not set(keys["dev"]) & set(keys["test"])
    n_held_out = len(keys["dev"]) + len(keys["test"])
    assert 10 < n_held_out < 50
    assert len(keys["train"]) == 2 * (400 - n_held_out)
    assert left_out["further translations in dev and test"] == n_held_out
    assert translate.contributors(parts["train"]).endswith("Ann0, Ann1, Ann2, Bo, CK.\n")


def test_a_translation_that_is_held_out_is_not_learnt(translate: Any) -> None:
    english = [f"Sentence {n}." for n in range(100)]
    dev = next(text for text in english if translate.part_of(text) == "dev")
    train = next(text for text in english if translate.part_of(text) == "train")
    left_out: Counter[str] = Counter()
    parts = translate.split_pairs([(dev, "你好。", "a"), (train, "你好！", "b")], left_out)
    assert [d["text"] for d in parts["dev"]] == [dev]
    assert parts["train"] == []
    assert left_out["Chinese sides that stand in dev or test"] == 1
    assert parts["dev"][0] == {
        "text": dev, "language": "en", "translation": {"text": "你好。", "language": "zh"},
        "attribution": "a",
    }  # fmt: skip


# ── all of them ──────────────────────────────────────────────────────────────────────────────


def test_the_configurations_are_whole() -> None:
    from lmtool.training.config import convert_config, read_toml
    from lmtool.training.language.config import PretrainConfig
    from lmtool.training.language.tuning import make_finetune_config

    for name in ("story-en/story.toml", "translate-en-zh/base.toml"):
        assert convert_config(PretrainConfig, read_toml(RECIPES / name)).objective == "causal"
    for name, task in (
        ("chat-en/chat.toml", "chat"),
        ("translate-en-zh/translate.toml", "translate"),
    ):
        assert make_finetune_config(read_toml(RECIPES / name)).task == task
