"""The views of what language models write: completions, translations, dialogues."""

from __future__ import annotations

from typing import Any

import pytest

from lmtool.documents import Document
from lmtool.views import HtmlWriter, Note, Passage, TextWriter, Turns, view

COMPLETIONS = Document(
    text="The king",
    fields={"completions": [{"text": " lost.\n"}, {"text": " won", "finish": "length"}]},
)
TRANSLATION = Document(
    text="Tea.", fields={"translation": {"text": "茶。", "language": "zh", "finish": "stop"}}
)
TURNS = (("user", "Who <is> it?"), ("assistant", "Ann.\nAnd you?"))
MESSAGES = [{"role": role, "content": text} for role, text in TURNS]
DIALOGUE = Document(text="", id=7, fields={"messages": MESSAGES})


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (COMPLETIONS, "The king\ncompletion 1: lost.\ncompletion 2 (cut): won\n\n"),
        (TRANSLATION, "Tea.\nzh: 茶。\n\n"),
        (DIALOGUE, "user: Who <is> it?\nassistant: Ann.\nAnd you?\n\n"),
    ],
)
def test_as_text(document: Document, text: str) -> None:
    assert TextWriter().encode([document]).decode() == text


def test_control_characters_are_shown() -> None:
    document = Document(text="x", fields={"completions": [{"text": "a\x1b[31mb"}]})
    assert TextWriter(colour=True).encode([document]).count(b"\x1b[31m") == 0
    turns = Document(text="", fields={"messages": [{"role": "user\x07", "content": "\x1b]0;x"}]})
    assert b"\x1b]" not in TextWriter().encode([turns])


def test_the_text_of_a_dialogue_stands_there_once() -> None:
    assert view(DIALOGUE) == [Turns(TURNS)]
    asked = Document(text="Who <is> it?", fields=DIALOGUE.fields)
    assert view(asked) == [Turns(TURNS)]
    other = Document(text="About Ann", fields=DIALOGUE.fields)
    assert view(other) == [Passage("About Ann"), Turns(TURNS)]


def test_as_a_page() -> None:
    page = HtmlWriter().encode([DIALOGUE, COMPLETIONS]).decode()
    assert '<div class="turn"><h3>user</h3>' in page
    assert "Who &lt;is&gt; it?" in page
    assert "<h3>Completion 2 (cut)</h3>" in page


@pytest.mark.parametrize(
    "fields",
    [
        {"completions": "x"},
        {"completions": ["x"]},
        {"completions": []},
        {"translation": "x"},
        {"translation": {"language": "zh"}},
        {"messages": [{"role": "user"}]},
        {"messages": {"role": "user", "content": "x"}},
        {"messages": []},
    ],
)
def test_a_field_of_another_shape_is_no_layer(fields: dict[str, Any]) -> None:
    assert view(Document(text="x", fields=fields)) == [Passage("x")]


def test_a_translation_without_language() -> None:
    document = Document(text="x", fields={"translation": {"text": "y", "finish": "length"}})
    assert view(document) == [Passage("x"), Note("translation (cut)", "y")]
