"""Templates: fields, braces, names."""

from __future__ import annotations

import pytest
from lmtool_generate.templates import READY, render, template_of

from lmtool.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("template", "record", "text"),
    [
        ("Write a headline: {text}", {"text": "rain"}, "Write a headline: rain"),
        ("{a}{b} { a }", {"a": "1", "b": "2"}, "12 1"),
        ('{{"json": {n}}} }}{{', {"n": [1, "é"]}, '{"json": [1, "é"]} }{'),
        ("{text}", {"text": "{other} {{x}}"}, "{other} {{x}}"),
        ("{first name}", {"first name": "Ann"}, "Ann"),
        ("no field {{}}", {}, "no field {}"),
    ],
)
def test_a_template_is_filled(template: str, record: dict[str, object], text: str) -> None:
    assert render(template_of(template), record) == text


def test_an_unknown_field_names_those_there_are() -> None:
    with pytest.raises(DataError, match="the record has no field 'title'") as caught:
        render("{title}", {"id": 1, "text": "x"})
    assert "it has: id, text" in caught.value.hint


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a { b", "a stray '{' at character 2"),
        ("a } b", "a stray '}' at character 2"),
        ("a {} b", "a stray '{}' at character 2"),
        ("{{text}", "a stray '}' at character 6"),
        ("poem", "no template 'poem'"),
    ],
)
def test_a_template_that_is_none(template: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        template_of(template)
    assert "{" in caught.value.hint


def test_ready_templates_take_a_text() -> None:
    assert sorted(READY) == ["email", "news", "reply"]
    for name in READY:
        assert render(template_of(name), {"text": "It rains."}).endswith("\n\nIt rains.")
