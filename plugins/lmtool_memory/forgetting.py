"""Forgetting sources."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase

import lmtool

from .locking import alone
from .store import Store


def forget(store: Store, patterns: Sequence[str] | None) -> tuple[int, int]:
    """Forget the sources that patterns match, or all; return how many, and their passages.

    A pattern is a path, a folder or a glob, seen from here; in it `*` matches slashes too.
    NegativeResult, before anything is forgotten, where a pattern matches none.
    """
    with alone(store.path):
        known = store.sources()
        for pattern in patterns or ():
            if not any(is_meant(name, pattern) for _, name, _ in known):
                raise lmtool.NegativeResult(
                    f"{pattern}: no such source in {store.path}",
                    hint="lmtool remember --list prints them",
                )
        meant = [
            (number, n_passages)
            for number, name, n_passages in known
            if patterns is None or any(is_meant(name, pattern) for pattern in patterns)
        ]
        with store.writing():
            for number, _ in meant:
                store.forget(number)
            if patterns is None:
                store.set_model("", "", 0)
        store.shrink()
    return len(meant), sum(n_passages for _, n_passages in meant)


def is_meant(name: str, pattern: str) -> bool:
    """Whether a pattern means a source: by its whole path, a folder above it, or its last parts."""
    if name == pattern:
        return True
    whole = os.path.normpath(os.path.join(os.getcwd(), pattern))
    return (
        fnmatchcase(name, whole)
        or name.startswith(whole.rstrip("/") + "/")
        or fnmatchcase(name, f"*/{pattern}")
    )
