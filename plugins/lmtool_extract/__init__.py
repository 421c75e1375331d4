"""Extraction: entities, relations and events, as a plugin of lmtool."""

from __future__ import annotations

import lmtool


@lmtool.hookimpl
def lmtool_register_tasks() -> list[type[lmtool.EncoderTask]]:
    """Return the task behind `lmtool extract`."""
    from .task import ExtractTask

    return [ExtractTask]
