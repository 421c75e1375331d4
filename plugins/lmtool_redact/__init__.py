"""Redaction: names and identifiers masked, and put back with a key, as a plugin of lmtool."""

from __future__ import annotations

import lmtool


@lmtool.hookimpl
def lmtool_register_tasks() -> list[type[lmtool.EncoderTask]]:
    """Return the task behind `lmtool redact`."""
    from .task import RedactTask

    return [RedactTask]
