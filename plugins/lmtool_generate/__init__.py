"""Texts from language models: completions, dialogues and translations, as a plugin of lmtool."""

from __future__ import annotations

import lmtool


@lmtool.hookimpl
def lmtool_register_tasks() -> list[type[lmtool.TextTask]]:
    """Return the tasks behind `lmtool generate`, `lmtool chat` and `lmtool translate`."""
    from .chat import ChatTask
    from .generate import GenerateTask
    from .translate import TranslateTask

    return [GenerateTask, ChatTask, TranslateTask]
