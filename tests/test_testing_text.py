"""The test kit on tasks for language models: ours pass, and each bad one is told what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lmtool_generate.chat import ChatTask
from lmtool_generate.generate import GenerateTask
from lmtool_generate.translate import TranslateTask

import lmtool
from lmtool.language import Completion, Message
from lmtool.testing import check_task, tiny_decoder

pytest.importorskip("torch")
Pairs = list[tuple[str | Sequence[Message], str]]


def document(text: str, **fields: Any) -> lmtool.Document:
    return lmtool.Document(text=text, fields=fields)


PAIRS = [
    document("Once", completions=[{"text": " upon a time."}]),
    document("The king", completions=[{"text": " lost his hat."}, {"text": " slept."}]),
    document("A text that is learnt as a whole."),
]
DIALOGUES = [
    document(
        "",
        messages=[
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi there."},
            {"role": "user", "content": "Who are you?"},
            {"role": "assistant", "content": "Ann."},
        ],
    )
]
TRANSLATIONS = [
    document("Tea.", language="en", translation={"text": "茶。", "language": "zh"}),
    document("A cat. A sea.", language="en", translation={"text": "猫。海。", "language": "zh"}),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_decoder(tmp_path_factory.mktemp("decoder"), ["Once upon a time. The king, 猫。"])


@pytest.mark.parametrize(
    ("task", "documents"),
    [(GenerateTask, PAIRS), (ChatTask, DIALOGUES), (TranslateTask, TRANSLATIONS)],
)
def test_our_tasks_pass(
    task: type[lmtool.TextTask], documents: Sequence[lmtool.Document], base: Path
) -> None:
    check_task(task, documents, base=base)


class NoCommand(GenerateTask):
    name = "Generate It"


class ThawedForm(GenerateTask):
    @classmethod
    def collect_form(cls, documents: Sequence[lmtool.Document]) -> dict[str, Any]:
        return {"prompt": {1, 2}.__iter__()}


class HalfScore(GenerateTask):
    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        return {"chrf": super().score(gold, predicted)["chrf"] / 2}


class OtherPrompt(GenerateTask):
    def pairs(self, document: lmtool.Document) -> Pairs:
        return [(f"{prompt} ", text) for prompt, text in super().pairs(document)]


class LostGold(GenerateTask):
    def parse(
        self, document: lmtool.Document, completions: Sequence[Completion], options: Any
    ) -> dict[str, Any]:
        found = super().parse(document, completions, options)["completions"]
        return {"completions": [{**item, "text": item["text"][3:]} for item in found]}


class Brittle(GenerateTask):
    def parse(
        self, document: lmtool.Document, completions: Sequence[Completion], options: Any
    ) -> dict[str, Any]:
        completions[0].text.split()[0]
        return super().parse(document, completions, options)


class OtherLayer(GenerateTask):
    def parse(
        self, document: lmtool.Document, completions: Sequence[Completion], options: Any
    ) -> dict[str, Any]:
        return {**super().parse(document, completions, options), "more": 1}


class NoPrompt(GenerateTask):
    def prompt(self, document: lmtool.Document, options: Any) -> Any:
        return 7

    def pairs(self, document: lmtool.Document) -> Any:
        return [(7, "x")]


class Blind(ChatTask):
    def blank(self, document: lmtool.Document, options: Any) -> lmtool.Document:
        return document


class Unsteady(GenerateTask):
    def prompt(self, document: lmtool.Document, options: Any) -> str | Sequence[Message] | None:
        if not document.text.strip():
            raise ValueError("no words")
        return super().prompt(document, options)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (NoCommand, "the name is no command name"),
        (ThawedForm, "collect_form fails"),
        (HalfScore, "score(gold, gold) with gold is not 100 in chrf"),
        (OtherPrompt, "the last prompt is not what `prompt` makes"),
        (LostGold, "gold -> pairs -> parse scores"),
        (Brittle, "the completion '' fails: IndexError"),
        (OtherLayer, "layers that are not in `layers`"),
        (NoPrompt, "a prompt is no text and no messages"),
        (Unsteady, "an empty text fails: ValueError: no words"),
    ],
)
def test_what_is_wrong_is_said(task: type[lmtool.TextTask], message: str, base: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        check_task(task, PAIRS, base=base)
    assert message in str(caught.value)


def test_gold_that_stays_is_said(base: Path) -> None:
    with pytest.raises(AssertionError, match="blank leaves the gold in a document"):
        check_task(Blind, DIALOGUES, base=base)


def test_documents_without_gold_are_said(base: Path) -> None:
    with pytest.raises(AssertionError, match="no document has gold in translation"):
        check_task(TranslateTask, [document("Tea.")], base=base)


def test_the_same_decoder_is_made_again(base: Path, tmp_path: Path) -> None:
    again = tiny_decoder(tmp_path / "again", ["Once upon a time. The king, 猫。"])
    for name in ("model.safetensors", "tokenizer.json"):
        assert (again / name).read_bytes() == (base / name).read_bytes()
