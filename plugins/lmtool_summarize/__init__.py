"""Summaries of any length made of a text's own sentences, as a plugin of lmtool."""

from __future__ import annotations

import lmtool


@lmtool.hookimpl
def lmtool_register_tasks() -> list[type[lmtool.EncoderTask]]:
    """Return the task behind `lmtool summarize`."""
    from .task import SummarizeTask

    return [SummarizeTask]
