"""Semantic roles: predicates and their arguments, as a plugin of lmtool."""

from __future__ import annotations

import lmtool


@lmtool.hookimpl
def lmtool_register_tasks() -> list[type[lmtool.EncoderTask]]:
    """Return the task behind `lmtool roles`."""
    from .task import RolesTask

    return [RolesTask]
