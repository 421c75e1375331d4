"""Documents of a text task as tokens: what is fed to a language model, and what of it is learnt.

The tokens of a prompt are made by the code of the run time, and what follows never changes them.
Dialogues go through the tokenizer's chat template. A whole dialogue is one example, with every
answer in it learnt, where each prompt's tokens stand at its head as they are; elsewhere (a template
may leave out what it said before) each answer is an example of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..._prompts import Prompt, PromptEncoder
from ...documents import Document
from ...tasks import TextTask

N_NAMED = 5
"""Documents that are named where some are too long."""


class Example(NamedTuple):
    """A text as tokens."""

    ids: NDArray[np.int32]
    """(tokens,)"""
    is_learnt: NDArray[np.bool_]
    """(tokens,): which tokens the model learns to write; never the first one."""


class Pair(NamedTuple):
    """A prompt and the text that is to follow it; an empty prompt makes a plain text of it."""

    prompt: str
    completion: str


class Dialogue(NamedTuple):
    """Messages, and the places of those that are learnt, the last message among them."""

    messages: list[Mapping[str, Any]]
    learnt: list[int]


class PartReport(msgspec.Struct, kw_only=True):
    """What became of the documents of one part of the data."""

    documents: int = 0
    without_gold: int = 0
    """Documents that the task makes no pair of: they are left out."""
    examples: int = 0
    tokens: int = 0
    learnt: int = 0
    """Tokens that the model learns to write."""
    longest: int = 0
    """Tokens of the longest example, before anything was split, shortened or left out."""
    too_long: int = 0
    """Documents with a pair that is longer than the context: they are left out."""
    named: list[str] = []
    """Some of them, with their tokens."""
    split: int = 0
    """Plain texts that were split."""
    shortened: int = 0
    """Dialogues that lost their oldest turns."""
    lengths: list[int] = []
    """Tokens of each example that is trained on."""


class ExampleEncoder:
    """Makes examples of pairs and dialogues.

    `prompts` is the run time's encoder of prompts, and `end` the token that ends a text.
    """

    def __init__(self, prompts: PromptEncoder, end: int) -> None:
        self._prompts = prompts
        self._end = end
        self._ends = {end, *prompts.eos}

    def examples(self, pairs: Iterable[tuple[Any, str]]) -> Iterator[tuple[Example, bool]]:
        """Yield the examples of a document's pairs, and of each whether it is a plain text."""
        for item in join_dialogues(pairs):
            if isinstance(item, Pair):
                yield self.pair(item), not item.prompt
            else:
                yield from ((example, False) for example in self.dialogue(item))

    def n_tokens(self, pairs: Iterable[tuple[Any, str]]) -> int:
        """Return about how many tokens the longest example has, without making them all."""
        counts = [0]
        for item in join_dialogues(pairs):
            if isinstance(item, Pair):
                counts.append(len(self.pair(item).ids))
            else:
                prompt = len(self._chat(item.messages[: item.learnt[-1]]))
                whole = self._answered(item.messages)
                counts.append(self._end_of(whole, prompt, len(whole)) or len(whole))
        return max(counts)

    def pair(self, pair: Pair) -> Example:
        """Return a prompt and its completion; of a plain text all is learnt."""
        prompt = self._prompts.encode(pair.prompt)
        whole = self._prompts.encode(_followed(pair))
        if whole[: len(prompt)] != prompt:
            whole = prompt + self._prompts.encode_text(pair.completion)
        return _example([*whole, self._end], [(len(prompt), len(whole) + 1)])

    def dialogue(self, dialogue: Dialogue) -> list[Example]:
        """Return a dialogue as one example, or as one for each answer where it cannot be one."""
        messages, learnt = dialogue
        prompts = [self._chat(messages[:place]) for place in learnt]
        whole = self._answered(messages)
        ranges = []
        for prompt, limit in zip(prompts, [*map(len, prompts[1:]), len(whole)], strict=True):
            end = self._end_of(whole, len(prompt), limit)
            if end is None or whole[: len(prompt)] != prompt:
                break
            ranges.append((len(prompt), end))
        else:
            return [_example(whole[: ranges[-1][1]], ranges)]
        if len(learnt) > 1:
            parts = [Dialogue(messages[: place + 1], [place]) for place in learnt]
            return [example for part in parts for example in self.dialogue(part)]
        return [self._answer(prompts[0], str(messages[-1]["content"]))]

    def _answer(self, prompt: list[int], text: str) -> Example:
        whole = [*prompt, *self._prompts.encode_text(text), self._end]
        return _example(whole, [(len(prompt), len(whole))])

    def _answered(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return a dialogue as it is fed when its last answer has been given and more is asked."""
        return self._chat([*messages, {"role": "user", "content": "?"}])

    def _chat(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        return self._prompts.encode(self._prompts.chat_prompt(messages))

    def _end_of(self, ids: Sequence[int], start: int, limit: int) -> int | None:
        """Return the place behind the first token at or after `start` that ends an answer."""
        places = (place + 1 for place in range(start, limit) if ids[place] in self._ends)
        return next(places, None)


def make_examples(
    documents: Iterable[Document],
    task: TextTask,
    encoder: ExampleEncoder,
    context: int,
    report: PartReport,
) -> list[Example]:
    """Return the examples of documents, none longer than `context`, and count in `report`.

    A plain text that is too long is split, with one token of overlap, so that each token is
    learnt. A dialogue loses its oldest turns, as it does at run time. Pairs are left out.
    """
    found: list[Example] = []
    for number, document in enumerate(documents, 1):
        report.documents += 1
        examples = _pieces(encoder.examples(task.pairs(document)), context, report)
        report.without_gold += not examples
        longest = n_tokens = _longest(examples)
        if longest > context:
            examples, n_tokens = _shortened(document, task, encoder, context, examples)
        report.longest = max(report.longest, longest)
        report.shortened += longest > context >= n_tokens
        if n_tokens > context:
            report.too_long += 1
            if len(report.named) < N_NAMED:
                name = f"number {number}" if document.id is None else str(document.id)
                report.named.append(f"{name} ({longest:,} tokens)")
            examples = [example for example in examples if len(example.ids) <= context]
        found += examples
    report.examples += len(found)
    report.lengths += [len(example.ids) for example in found]
    report.tokens += sum(len(example.ids) for example in found)
    report.learnt += sum(int(example.is_learnt.sum()) for example in found)
    return found


def _shortened(
    document: Document,
    task: TextTask,
    encoder: ExampleEncoder,
    context: int,
    examples: list[Example],
) -> tuple[list[Example], int]:
    """Return the examples of a document with as much left out as must be, and their longest.

    The same as before, where the task can leave nothing out, or not enough.
    """
    options = task.Options()
    shorter = task.shorter(document, options)
    while shorter is not None:
        pairs = task.pairs(shorter)
        if encoder.n_tokens(pairs) <= context:
            found = [example for example, _ in encoder.examples(pairs)]
            if _longest(found) <= context:
                return found, _longest(found)
        shorter = task.shorter(shorter, options)
    return examples, _longest(examples)


def _longest(examples: Sequence[Example]) -> int:
    return max((len(example.ids) for example in examples), default=0)


def join_dialogues(pairs: Iterable[tuple[Any, str]]) -> Iterator[Pair | Dialogue]:
    """Yield pairs of texts as they are, and join pairs of messages that continue one another."""
    dialogue = Dialogue([], [])
    for prompt, completion in pairs:
        if isinstance(prompt, str):
            yield Pair(prompt, completion)
            continue
        messages = list(prompt)
        if messages[: len(dialogue.messages)] != dialogue.messages:
            yield dialogue
            dialogue = Dialogue([], [])
        answer = {"role": "assistant", "content": completion}
        dialogue = Dialogue([*messages, answer], [*dialogue.learnt, len(messages)])
    if dialogue.learnt:
        yield dialogue


def split_text(example: Example, context: int) -> list[Example]:
    """Return a text in pieces of at most `context` tokens; each begins with the last one's end."""
    starts = range(0, len(example.ids) - 1, context - 1)
    pieces = [example.ids[start : start + context] for start in starts]
    return [_example(ids, [(1, len(ids))]) for ids in pieces]


def _followed(pair: Pair) -> str:
    """Return a prompt with its completion, in which nothing is a control token."""
    whole = str(pair.prompt) + pair.completion
    if not isinstance(pair.prompt, Prompt):
        return whole
    plain = [*pair.prompt.plain, (len(pair.prompt), len(whole))]
    return Prompt(whole, plain, has_start=pair.prompt.has_start)


def _pieces(
    examples: Iterable[tuple[Example, bool]], context: int, report: PartReport
) -> list[Example]:
    """Return examples with the plain texts among them split where they have to be."""
    found = []
    for example, is_plain in examples:
        is_split = is_plain and len(example.ids) > context
        if is_split:
            report.split += 1
            report.longest = max(report.longest, len(example.ids))
        found += split_text(example, context) if is_split else [example]
    return found


def _example(ids: Sequence[int] | NDArray[Any], ranges: Sequence[tuple[int, int]]) -> Example:
    is_learnt = np.zeros(len(ids), np.bool_)
    for start, end in ranges:
        is_learnt[start:end] = True
    is_learnt[:1] = False
    return Example(np.asarray(ids, np.int32), is_learnt)
