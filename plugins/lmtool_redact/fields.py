"""The fields of a record: the texts in them, at any depth, and what has offsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def texts_of(value: Any) -> list[str]:
    """Return all texts in a JSON value, in order; keys of objects are names, not texts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts_of(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in texts_of(part)]
    return []


def map_texts(value: Any, texts: Iterator[str]) -> Any:
    """Return a JSON value with the next of these in place of each of its texts."""
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, dict):
        return {key: map_texts(part, texts) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [map_texts(part, texts) for part in value]
    return value


def has_offsets(value: Any) -> bool:
    """Whether a field holds spans, at any depth: objects with a start and an end in numbers."""
    if isinstance(value, dict):
        ends = (value.get("start"), value.get("end"))
        return all(type(end) is int for end in ends) or any(map(has_offsets, value.values()))
    return isinstance(value, list | tuple) and any(map(has_offsets, value))
