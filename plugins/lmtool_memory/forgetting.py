"""Forgetting sources."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

import lmtool

from .locking import alone
from .store import Store


def forget(store: Store, patterns: Sequence[str] | None) -> tuple[int, int]:
    """Forget the sources that patterns match, or all; return how many, and their passages.

    `meant` says what a pattern is. NegativeResult, before anything is forgotten, where one
    matches none.
    """
    with alone(store.path):
        known = store.sources()
        names = {name for _, name, _ in known}
        wanted = names if patterns is None else set[str]()
        for pattern in patterns or ():
            found = meant(names, pattern)
            if not found:
                raise lmtool.NegativeResult(
                    f"{pattern}: no such source in {store.path}",
                    hint="lmtool remember --list prints them",
                )
            wanted |= found
        gone = [(number, n_passages) for number, name, n_passages in known if name in wanted]
        with store.writing():
            for number, _ in gone:
                store.forget(number)
            if not store.count():
                store.set_model("", "", 0)
        store.shrink()
    return len(gone), sum(n_passages for _, n_passages in gone)


def meant(names: Collection[str], pattern: str) -> set[str]:
    """Return the sources that a pattern means, seen from here.

    It is the name of one, a path, or a folder above some. Only where there is none such, it is the
    last parts of their paths, and only where none has these either, a glob, in which `*` matches
    slashes too.
    """
    whole = os.path.normpath(os.path.join(os.getcwd(), pattern))
    below = whole.rstrip("/") + "/"
    exact = {name for name in names if name in (pattern, whole) or name.startswith(below)}
    if exact:
        return exact
    if last := {name for name in names if name.endswith(f"/{pattern}")}:
        return last
    here = os.path.join(glob.escape(os.getcwd()), pattern)
    globs = (pattern, os.path.normpath(here), f"*/{pattern}")
    return {name for name in names if any(fnmatchcase(name, one) for one in globs)}
