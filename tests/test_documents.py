"""The document record: the examples of its page, round trips, and what is refused."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lmtool.documents import (
    LAYERS,
    UNKNOWN,
    Document,
    Entity,
    Label,
    document_from_record,
    document_to_record,
    encode_document,
)
from lmtool.errors import DataError

PAGE = (Path(__file__).parent.parent / "docs/documents.md").read_text("utf-8")
EXAMPLES = [msgspec.json.decode(e) for e in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def filled(record: Any, text: str) -> Any:
    """The record with the text of each span, which the input may leave out."""
    if isinstance(record, list):
        return [filled(item, text) for item in record]
    if not isinstance(record, dict):
        return record
    new = {key: filled(value, text) for key, value in record.items()}
    if "start" in new:
        new["text"] = text[new["start"] : new["end"]]
    return new


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_of_the_page_come_back_as_they_went(example: dict[str, Any]) -> None:
    document = document_from_record(example)
    record = msgspec.json.decode(msgspec.json.encode(document_to_record(document)))
    assert record == filled(example, example["text"])
    line = encode_document(document)
    assert line.endswith(b"}\n")
    assert document_from_record(msgspec.json.decode(line)) == document


def test_page_shows_every_layer() -> None:
    assert [name for name in LAYERS if not any(name in example for example in EXAMPLES)] == []
    assert [name for name in LAYERS if f"| `{name}` |" not in PAGE] == []
    assert f"`{UNKNOWN}`" in PAGE


def test_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {"line": msgspec.json.encode(EXAMPLES[1])}
    exec(code, names)
    assert capsys.readouterr().out == "PER Tim Cook\nPER Angela Merkel\nLOC Berlin\n"
    assert names["line"] == encode_document(document_from_record(EXAMPLES[1]))


def test_absent_and_empty_layers_differ() -> None:
    assert encode_document(Document(text="a", entities=[])) == b'{"text":"a","entities":[]}\n'
    assert encode_document(Document(text="a")) == b'{"text":"a"}\n'


def test_text_field_becomes_the_text() -> None:
    document = document_from_record({"body": "a", "id": 3, "n": None}, text_field="body")
    assert document_to_record(document) == {"id": 3, "text": "a", "n": None}


def test_a_dialogue_needs_no_text() -> None:
    messages = [{"role": "user", "content": "a"}]
    document = document_from_record({"id": 1, "messages": messages})
    assert document_to_record(document) == {"id": 1, "text": "", "messages": messages}
    with pytest.raises(DataError, match="no field 'body'"):
        document_from_record({"messages": messages}, text_field="body")


def entity(start: int, end: int, text: str) -> dict[str, Any]:
    return {"text": "a😀b", "entities": [{"start": start, "end": end, "text": text, "label": "X"}]}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([], "a:1: not a JSON object but list"),
        ({}, "a:1: no field 'text' (it has: no field at all)"),
        ({"text": 1}, "a:1: Expected `str`, got `int` - at `$.text`"),
        (
            {"text": "a", "entities": {}},
            "a:1: Expected `array | null`, got `object` - at `$.entities`",
        ),
        (
            entity(1, 4, ""),
            "a:1: entities[0]: offsets 1:4 do not fit a text of 3 characters",
        ),
        (entity(1, 1, ""), "a:1: entities[0]: offsets 1:1 do not fit a text of 3 characters"),
        (entity(2, 3, "😀"), "a:1: entities[0]: text is '😀' but 2:3 covers 'b'"),
        (
            {"text": "a", "events": [{"label": "x", "trigger": {"start": 0, "end": 2}}]},
            "a:1: events[0].trigger: offsets 0:2 do not fit a text of 1 characters",
        ),
    ],
)
def test_record_that_cannot_be_used_says_why(record: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        document_from_record(record, where="a:1")
    assert caught.value.message == message


def test_layers_of_plugins_live_in_fields() -> None:
    document = Document(text="a", fields={"own": 1, "x": 2})
    changed = document.with_layers({"own": [3], "labels": {"s": [Label("b")]}})
    assert changed.layer("own") == [3]
    assert changed.layer("labels") == {"s": [Label("b")]}
    assert document.layer("own") == 1
    assert changed.without_layers(["own", "labels"]) == Document(text="a", fields={"x": 2})


def test_span_text_is_filled_in() -> None:
    document = document_from_record(entity(1, 2, ""))
    assert document.entities == [Entity(start=1, end=2, text="😀", label="X")]
