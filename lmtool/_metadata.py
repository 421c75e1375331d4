"""Entry points read straight from the metadata folders of the installed distributions.

It finds what `importlib.metadata` finds on the file system, in 3 ms where that takes 60: it
opens one small file of each distribution, and the metadata only of those that have a plugin.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import NamedTuple


class Distribution(NamedTuple):
    """What the metadata of an installed distribution says, and its entry points of a group."""

    name: str
    version: str
    summary: str
    points: dict[str, str]


def distributions(group: str) -> Iterator[Distribution]:
    """Yield the distributions with entry points in this group, in the order of `sys.path`.

    Of two distributions with one name only the first counts, as in an import.
    """
    seen = set()
    for folder in dict.fromkeys(sys.path):
        for path in _metadata_folders(folder or os.curdir):
            stem = os.path.basename(path).rpartition(".")[0]
            name = stem.partition("-")[0].lower().replace("_", "-").replace(".", "-")
            if name not in seen:
                seen.add(name)
                if points := _points(os.path.join(path, "entry_points.txt"), group):
                    yield _distribution(path, name, points)


def _metadata_folders(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [name for name in names if name.endswith((".dist-info", ".egg-info"))]
    return [os.path.join(folder, name) for name in sorted(found)]


def _points(path: str, group: str) -> dict[str, str]:
    """Return the entry points of a group, value by name."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    if b"[%s]" % group.encode() not in data:
        return {}
    points: dict[str, str] = {}
    section = ""
    for line in map(str.strip, data.decode("utf-8", "replace").splitlines()):
        if line.startswith("["):
            section = line[1:-1]
        elif section == group and "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            points[name.strip()] = value.strip()
    return points


def _distribution(path: str, name: str, points: dict[str, str]) -> Distribution:
    """Read name, version and summary: the head of METADATA, or of a development PKG-INFO."""
    fields = {"name": name, "version": "", "summary": ""}
    for file_name in ("METADATA", "PKG-INFO"):
        try:
            with open(os.path.join(path, file_name), "rb") as file:
                for line in file:
                    key, colon, value = line.decode("utf-8", "replace").partition(":")
                    if not colon or not line.strip():
                        break
                    if key.lower() in fields:
                        fields[key.lower()] = value.strip()
        except OSError:
            continue
        break
    return Distribution(points=points, **fields)
