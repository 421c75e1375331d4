"""Answers that a language model gives from passages, with citations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lmtool.errors import DataError

if TYPE_CHECKING:
    from lmtool.language import LanguageModel, Sampling

    from .recalling import Found

SYSTEM: Final = (
    "Answer the question from the numbered passages alone. After each statement, cite the passage "
    "it comes from by its number, as in [1]. Where the passages do not hold the answer, say so."
)
_CITATION: Final = re.compile(r"\[(\d+(?:\s*,\s*\d+)*)\]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, the passages that it read, and which of them it cites, from 1."""

    text: str
    read: Sequence[Found]
    cited: Sequence[int]
    is_cut: bool
    """Whether it was cut at the greatest number of tokens."""


def answer(
    question: str, found: Sequence[Found], model: LanguageModel, sampling: Sampling
) -> Answer:
    """Return a model's answer from the passages, of which the best are taken that fit.

    DataError where not even the best fits the model's context.
    """
    for n_read in range(len(found), 0, -1):
        prompt = _prompt(question, found[:n_read], model)
        if model.count(prompt) + sampling.max_tokens <= model.context:
            break
    else:
        raise DataError(
            f"{model.name}: no passage fits its context of {model.context:,} tokens",
            hint="allow fewer tokens (--max-tokens), or take a model with a longer context",
        )
    completion = model.complete([prompt], sampling)[0][0]
    text = completion.text.strip()
    return Answer(text, found[:n_read], cited(text, n_read), completion.finish == "length")


def cited(text: str, n_passages: int) -> list[int]:
    """Return the numbers of passages that a text cites, each once, those that exist."""
    numbers = [int(n) for group in _CITATION.findall(text) for n in group.split(",")]
    return [n for n in dict.fromkeys(numbers) if 1 <= n <= n_passages]


def _prompt(question: str, found: Sequence[Found], model: LanguageModel) -> str:
    from lmtool.language import fill_prompt

    numbered = [f"[{n}] {item.passage.text}" for n, item in enumerate(found, 1)]
    passages = "\n\n".join(numbered)
    if model.has_chat:
        asked = f"Passages:\n\n{passages}\n\nQuestion: {question}"
        return model.chat_prompt(
            [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]
        )
    form = "{system}\n\n{passages}\n\nQuestion: {question}\nAnswer:"
    return fill_prompt(form, system=SYSTEM, passages=passages, question=question)
