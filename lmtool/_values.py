"""Values of any shape, as tasks make them: layers and parts, looked at without knowing them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np


def spans(name: str, value: Any) -> Iterator[tuple[str, int, int, str | None]]:
    """Yield path, start, end and text of all that has offsets in a layer of plain values."""
    if isinstance(value, dict):
        start, end = value.get("start"), value.get("end")
        if isinstance(start, int) and isinstance(end, int):
            yield name, start, end, value.get("text")
        for key, inner in value.items():
            if key == "sentences" and name == "summary":
                yield from (("summary.sentences", a, b, None) for a, b in inner)
            yield from spans(f"{name}.{key}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from spans(f"{name}[{index}]", inner)


def labelled_spans(layer: Any) -> list[Any]:
    """Return the items of a layer that is a list of spans with labels, else nothing."""
    found = layer if isinstance(layer, list) else []
    dicts = [value for value in plain(found) if isinstance(value, dict)]
    are_spans = all({"start", "end", "label"} <= value.keys() for value in dicts)
    return found if are_spans and len(dicts) == len(found) else []


def items(layer: Any) -> list[Any]:
    """Return what a layer says, without ids and scores, sorted; None is like nothing."""
    value = plain(layer)
    kept = [_without(item) for item in value] if isinstance(value, list) else [_without(value)]
    return sorted((item for item in kept if item), key=repr)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        dropped = ("id", "score", "entity", "head", "tail")
        return {k: _without(v) for k, v in value.items() if k not in dropped and v is not None}
    return [_without(item) for item in value] if isinstance(value, list) else value


def changed(item: Any, **changes: Any) -> Any:
    """Return a copy of a dict, a dataclass or a struct with other values."""
    if isinstance(item, dict):
        return {**item, **changes}
    if isinstance(item, msgspec.Struct):
        return msgspec.structs.replace(item, **changes)
    return dataclasses.replace(item, **changes)


def moved(value: Any, by: int, name: str = "") -> Any:
    """Return a layer of plain values with every offset moved."""
    if isinstance(value, dict):
        found = {key: moved(inner, by) for key, inner in value.items()}
        if isinstance(value.get("start"), int) and isinstance(value.get("end"), int):
            found |= {key: value[key] + by for key in ("start", "end")}
        if name == "summary" and "sentences" in value:
            found["sentences"] = [[a + by, b + by] for a, b in value["sentences"]]
        return found
    return [moved(item, by) for item in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """Return a layer as the dicts and lists of its JSON form."""
    return msgspec.to_builtins(value)


def keeps_view(value: Any, n_windows: int) -> bool:
    """Whether an array inside is a view of one that holds many windows."""
    if isinstance(value, np.ndarray):
        base = value.base
        return n_windows > 1 and isinstance(base, np.ndarray) and base.size >= 2 * value.size + 64
    return any(keeps_view(inner, n_windows) for inner in _inner(value))


def _inner(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name) for name in value.__struct_fields__]
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, list | tuple):
        return list(value)
    return list(vars(value).values()) if hasattr(value, "__dict__") else []


def same(first: Any, second: Any, tolerance: float) -> bool:
    """Whether two values are equal, numbers up to a tolerance."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        a, b = np.asarray(first), np.asarray(second)
        if a.dtype.kind == "f":
            return a.shape == b.shape and np.allclose(a, b, 0, tolerance, equal_nan=True)
        return np.array_equal(a, b)
    if type(first) is not type(second):
        return False
    if isinstance(first, float | np.floating):
        return bool(abs(first - second) <= tolerance)
    if isinstance(first, Mapping) and list(first) != list(second):
        return False
    ones, others = _inner(first), _inner(second)
    if ones or others:
        return len(ones) == len(others) and all(
            same(a, b, tolerance) for a, b in zip(ones, others, strict=True)
        )
    return bool(hasattr(first, "__dict__") or first == second)
