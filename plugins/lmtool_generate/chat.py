"""The task of `lmtool chat`: the answer that comes next in a dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import lmtool

if TYPE_CHECKING:
    from lmtool.language import Completion, Message

LAYER = "messages"


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What `lmtool chat` can be told."""

    system: Annotated[str, lmtool.Opt("What the model is told before the dialogue begins")] = ""


class ChatTask(lmtool.TextTask):
    """Answers the last message of a dialogue; a document without messages asks with its text.

    Prompts go through the model's chat template. Where a dialogue is longer than the context,
    its oldest turns are left out, never its system prompt.
    """

    name: ClassVar[str] = "chat"
    summary: ClassVar[str] = "Talk with a model"
    layers: ClassVar[tuple[str, ...]] = (LAYER,)
    main_metric: ClassVar[str] = "chrf"
    Options: ClassVar[type[Any]] = ChatOptions
    command: ClassVar[Literal["files", "prompt", "dialogue"]] = "dialogue"

    def prompt(
        self, document: lmtool.Document, options: ChatOptions
    ) -> str | Sequence[Message] | None:
        """Return the messages with the system prompt first; DataError where all is answered."""
        messages = messages_of(document)
        if not messages:
            return None
        if messages[-1]["role"] == "assistant":
            raise lmtool.DataError(
                "the last message is the assistant's: there is nothing to answer",
                hint='end "messages" with one of the role "user"',
            )
        return _with_system(messages, options.system)

    def parse(
        self, document: lmtool.Document, completions: Sequence[Completion], options: ChatOptions
    ) -> dict[str, Any]:
        """Return the messages and the answer; "finish" says where it was cut at its limit."""
        messages: list[dict[str, Any]] = [
            dict(message) for message in _with_system(messages_of(document), options.system)
        ]
        for completion in completions[:1]:
            answer = {"role": "assistant", "content": completion.text.strip()}
            cut = {"finish": completion.finish} if completion.finish == "length" else {}
            messages.append({**answer, **cut})
        return {LAYER: messages}

    def shorter(self, document: lmtool.Document, options: ChatOptions) -> lmtool.Document | None:
        """Return the document without its oldest turn: a question with what answered it."""
        messages = messages_of(document)
        said = [i for i, message in enumerate(messages) if message["role"] != "system"]
        asked = [i for i in said[1:] if messages[i]["role"] == "user"]
        if not asked:
            return None
        kept = [m for i, m in enumerate(messages) if i >= asked[0] or m["role"] == "system"]
        return document.with_layers({LAYER: kept})

    def n_characters(self, document: lmtool.Document) -> int:
        """Return the characters of all messages."""
        return sum(len(message["content"]) for message in messages_of(document))

    def has_gold(self, document: lmtool.Document) -> bool:
        """Whether somebody has answered."""
        return any(message["role"] == "assistant" for message in messages_of(document))

    def blank(self, document: lmtool.Document, options: ChatOptions) -> lmtool.Document:
        """Return the dialogue up to its last answer, without it."""
        return document.with_layers({LAYER: messages_of(document)[: _last_answer(document)]})

    def pairs(self, document: lmtool.Document) -> list[tuple[str | Sequence[Message], str]]:
        """Return each answer of the assistant with all messages before it."""
        messages = messages_of(document)
        return [
            (messages[:number], message["content"])
            for number, message in enumerate(messages)
            if message["role"] == "assistant" and number
        ]

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return BLEU, chrF and exact matches of the last answers."""
        from .scoring import compare

        wanted, found = ([_answer(document) for document in of] for of in (gold, predicted))
        return compare(wanted, found)


def messages_of(document: lmtool.Document) -> list[Message]:
    """Return the messages of a document, or its text as one; DataError for another shape."""
    layer = document.layer(LAYER)
    if layer is None:
        return [{"role": "user", "content": document.text}] if document.text.strip() else []
    from lmtool.language import check_messages

    return [{"role": item["role"], "content": item["content"]} for item in check_messages(layer)]


def _with_system(messages: list[Message], system: str) -> list[Message]:
    """Return the messages, behind a system prompt where one is given and they have none."""
    has_one = any(message["role"] == "system" for message in messages)
    return messages if has_one or not system else [{"role": "system", "content": system}, *messages]


def _last_answer(document: lmtool.Document) -> int:
    """Return the place of the last answer; the number of messages where there is none."""
    messages = messages_of(document)
    places = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    return places[-1] if places else len(messages)


def _answer(document: lmtool.Document) -> str:
    messages = messages_of(document)
    place = _last_answer(document)
    return messages[place]["content"] if place < len(messages) else ""
