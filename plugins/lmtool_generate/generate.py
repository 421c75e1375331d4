"""The task of `lmtool generate`: texts that follow a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import lmtool

from .templates import READY, fields_of, record_of, render, template_of

if TYPE_CHECKING:
    from lmtool.language import Completion, Message

LAYER = "completions"


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """What `lmtool generate` can be told."""

    template: Annotated[
        str,
        lmtool.Opt(
            "What to ask, with fields of the record, as 'Write a headline: {text}', or the name "
            f"of a ready template: {', '.join(READY)}"
        ),
    ] = ""
    system: Annotated[
        str, lmtool.Opt("What the model is told before, where it has a chat template")
    ] = ""
    chat: Annotated[
        bool | None,
        lmtool.Opt(
            "Ask through the model's chat template, or have the prompt continued as it is "
            "(default: as the model was made for)"
        ),
    ] = None


class GenerateTask(lmtool.TextTask):
    """Continues a prompt, or answers it where the model was made to.

    `form` holds "prompt", what stands around the text of a record ("{text}" by default), "stop"
    and "chat".
    """

    name: ClassVar[str] = "generate"
    summary: ClassVar[str] = "Continue a text, or write what a prompt asks for"
    layers: ClassVar[tuple[str, ...]] = (LAYER,)
    main_metric: ClassVar[str] = "chrf"
    Options: ClassVar[type[Any]] = GenerateOptions
    command: ClassVar[Literal["files", "prompt", "dialogue"]] = "prompt"
    takes_choices: ClassVar[bool] = True
    form_keys: ClassVar[tuple[str, ...]] = ("prompt",)

    @classmethod
    def collect_form(cls, documents: Sequence[lmtool.Document]) -> dict[str, Any]:
        """Return the prompt: the text as it is, to be continued."""
        return {"prompt": "{text}"}

    def check_options(self, options: GenerateOptions) -> None:
        """Refuse a template that is none, and a system prompt where there is no place for it."""
        if options.template:
            template_of(options.template)
        if options.system and not self._asks_by_chat(options):
            raise lmtool.UsageError(
                "--system: this prompt does not go through a chat template",
                hint="leave --system away, or take a model with a chat template and --chat",
            )

    def prompt(
        self, document: lmtool.Document, options: GenerateOptions
    ) -> str | Sequence[Message] | None:
        """Return the text in the template, then in the model's own form or as a message."""
        text = document.text
        if options.template:
            text = render(template_of(options.template), record_of(document))
        form = self.form.get("prompt", "{text}")
        if not self._asks_by_chat(options):
            from lmtool.language import fill_prompt

            return fill_prompt(form, text=text)
        text = form.replace("{text}", text)
        system: list[Message] = []
        if options.system:
            system.append({"role": "system", "content": options.system})
        return [*system, {"role": "user", "content": text}]

    def n_read(self, document: lmtool.Document, options: GenerateOptions) -> int:
        """Return the characters of the text, none where the template leaves it out."""
        shows = not options.template or "text" in fields_of(template_of(options.template))
        return self.n_characters(document) if shows else 0

    def _asks_by_chat(self, options: GenerateOptions) -> bool:
        return self.form.get("chat", False) if options.chat is None else options.chat

    def parse(
        self,
        document: lmtool.Document,
        completions: Sequence[Completion],
        options: GenerateOptions,
    ) -> dict[str, Any]:
        """Return each completion with why it ended, its tokens, and the seed it was drawn with."""
        return {LAYER: [_item(completion) for completion in completions]}

    def join(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: GenerateOptions
    ) -> dict[str, Any]:
        """Return the completions of the windows below each other, the first with the first."""
        by_window = [part.value[LAYER] for part in parts if part.value[LAYER]]
        joined = []
        for items in zip(*by_window, strict=True):
            finishes = {item["finish"] for item in items}
            whole = {
                "text": "\n".join(item["text"].strip() for item in items),
                "finish": "length" if "length" in finishes else "stop",
                "tokens": sum(item["tokens"] for item in items),
            }
            seeds = {item.get("seed") for item in items}  # one for all that was asked at once
            seed = seeds.pop() if len(seeds) == 1 else None
            joined.append(whole if seed is None else {**whole, "seed": seed})
        return {LAYER: joined}

    def pairs(self, document: lmtool.Document) -> list[tuple[str | Sequence[Message], str]]:
        """Return the prompt with each completion; all of the text where there is none."""
        gold = completions_of(document)
        if gold is None:
            return [("", document.text)] if document.text.strip() else []
        prompt = self.prompt(document, GenerateOptions())
        return [] if prompt is None else [(prompt, text) for text in gold]

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return BLEU, chrF and exact matches of the first completions with the gold's first."""
        from .scoring import compare

        wanted, found = ([first(document) for document in of] for of in (gold, predicted))
        return compare(wanted, found)


def completions_of(document: lmtool.Document) -> list[str] | None:
    """Return the texts of the layer; None where there is none, DataError for another shape."""
    layer = document.layer(LAYER)
    if layer is None:
        return None
    if not isinstance(layer, list) or not all(
        isinstance(item, dict) and isinstance(item.get("text"), str) for item in layer
    ):
        raise lmtool.DataError(
            f"{LAYER} is no list of texts", hint='write "completions": [{"text": "…"}]'
        )
    return [item["text"] for item in layer]


def first(document: lmtool.Document) -> str:
    """Return the first completion, or an empty text."""
    return (completions_of(document) or [""])[0]


def _item(completion: Completion) -> dict[str, Any]:
    item = {
        "text": completion.text,
        "finish": completion.finish,
        "tokens": completion.tokens,
    }
    return item if completion.seed is None else {**item, "seed": completion.seed}
