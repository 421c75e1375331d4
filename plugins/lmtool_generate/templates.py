"""Templates: texts with the fields of a record in braces, and those that are ready by name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import lmtool

READY: Final = {
    "news": "Write a short news article in plain, factual sentences, with a headline on its first "
    "line. Use nothing but these facts:\n\n{text}",
    "email": "Write a polite and brief e-mail with a subject line. What it has to say:\n\n{text}",
    "reply": "Write a polite and brief reply to this message:\n\n{text}",
}
"""The templates that have a name: for any model that follows instructions."""

_PIECES: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def template_of(name_or_text: str) -> str:
    """Return a template given by its name or as a text with fields in braces.

    UsageError for a name that there is not, and for braces that do not fit.
    """
    if "{" not in name_or_text and "}" not in name_or_text:
        if name_or_text not in READY:
            raise lmtool.UsageError(
                f"no template {name_or_text!r}",
                hint=f"there are {', '.join(READY)}; one of your own has a field in braces, as "
                "'Write a headline: {text}'",
            )
        return READY[name_or_text]
    for match in _PIECES.finditer(name_or_text):
        if match[0] in ("{", "}") or match[1] == "":
            raise lmtool.UsageError(
                f"template: a stray {match[0]!r} at character {match.start()}",
                hint="a field is written {name}, a brace itself {{ or }}",
            )
    return name_or_text


def fields_of(template: str) -> frozenset[str]:
    """Return the fields that a template names."""
    found = (match[1] for match in _PIECES.finditer(template))
    return frozenset(name.strip() for name in found if name)


def render(template: str, record: Mapping[str, Any]) -> str:
    """Return a template with the fields of a record; DataError for a field that it does not have.

    Texts stand there as they are, everything else as JSON. What a field says is never read as
    a template.
    """

    def piece(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        name = match[1].strip()
        if name not in record:
            raise lmtool.DataError(
                f"template: the record has no field {name!r}",
                hint=f"it has: {', '.join(record)}; a brace itself is written {{{{ or }}}}",
            )
        value = record[name]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return _PIECES.sub(piece, template)


def record_of(document: lmtool.Document) -> dict[str, Any]:
    """Return what a template may name: id, text, pair and the fields and layers of a document."""
    import msgspec

    from lmtool.documents import document_to_record

    fields: dict[str, Any] = msgspec.to_builtins(document_to_record(document))
    return fields
