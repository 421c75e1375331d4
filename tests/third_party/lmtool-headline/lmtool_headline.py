"""Headlines by a language model, as a plugin of lmtool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import lmtool
from lmtool.language import Completion, Message
from lmtool.scoring import text_scores


@dataclass(frozen=True, slots=True)
class HeadlineOptions:
    """What `lmtool headline` can be told."""

    words: Annotated[int, lmtool.Opt("About how many words to ask for", minimum=1)] = 8


class HeadlineTask(lmtool.TextTask):
    """Asks for a headline: by instruction, or as a model is asked that was trained to write it."""

    name = "headline"
    summary = "Write a headline for a text"
    layers = ("headline",)
    main_metric = "chrf"
    Options = HeadlineOptions

    def prompt(
        self, document: lmtool.Document, options: HeadlineOptions
    ) -> str | Sequence[Message] | None:
        """Return what the model is asked; nothing for a text without words."""
        text = document.text.strip()
        if not text:
            return None
        if not self.form.get("chat"):
            return f"{text}\nHeadline:"
        asked = f"Write a headline of about {options.words} words. Only the headline.\n\n{text}"
        return [{"role": "user", "content": asked}]

    def parse(
        self,
        document: lmtool.Document,
        completions: Sequence[Completion],
        options: HeadlineOptions,
    ) -> dict[str, Any]:
        """Return the first line of the answer."""
        lines = completions[0].text.strip().splitlines() if completions else []
        return {"headline": lines[0] if lines else ""}

    def pairs(self, document: lmtool.Document) -> list[tuple[str | Sequence[Message], str]]:
        """Return the prompt and the headline that the gold has."""
        prompt = self.prompt(document, HeadlineOptions())
        gold = document.layer("headline")
        return [(prompt, f" {gold}")] if prompt and gold else []

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return BLEU, chrF and exact matches."""
        wanted, found = ([d.layer("headline") or "" for d in of] for of in (gold, predicted))
        return text_scores(wanted, found)


@lmtool.hookimpl
def lmtool_register_tasks() -> list[type[lmtool.TextTask]]:
    """Return the task behind `lmtool headline`."""
    return [HeadlineTask]
