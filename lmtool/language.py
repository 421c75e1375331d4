"""Language models: decoders that continue a text, on onnxruntime-genai.

    model = load_language_model("story-en")
    for piece in model.stream("Once upon a time", Sampling(max_tokens=60)):
        print(piece, end="")

A run imports no torch.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypedDict

import msgspec

from ._decoding import Row, RowWatch, run_rows, scored_windows
from ._prompts import Prompt, PromptEncoder, fill_prompt
from .errors import DataError, UsageError
from .options import Opt

if TYPE_CHECKING:
    from ._engine import Engine
    from .bundles import LanguageInfo

__all__ = [
    "Completion",
    "LanguageModel",
    "Likelihood",
    "Message",
    "Prompt",
    "PromptTooLong",
    "Sampling",
    "Stream",
    "check_messages",
    "fill_prompt",
    "load_language_model",
]

SEEDS = 2**31 - 1
MOST_BEAMS = 32
"""What onnxruntime-genai takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a text is continued."""

    max_tokens: Annotated[int, Opt("Most tokens of a completion", 1)] = 256
    temperature: Annotated[
        float, Opt("0: always the likeliest token; 1: as likely as learnt", 0)
    ] = 0.0
    top_p: Annotated[float, Opt("Choose among the likeliest tokens of this share", 0, 1)] = 1.0
    top_k: Annotated[int, Opt("Choose among this many likeliest tokens (0: all)", 0)] = 0
    repetition_penalty: Annotated[float, Opt("Above 1: repeat less", 0.01)] = 1.0
    seed: Annotated[int | None, Opt("The same seed gives the same text", 0, SEEDS)] = None
    stop: Annotated[tuple[str, ...], Opt("Text to stop before")] = ()
    beams: Annotated[int, Opt("Search with this many beams (1: none)", 1, MOST_BEAMS)] = 1
    choices: Annotated[int, Opt("Completions of each prompt", 1)] = 1
    schema: Annotated[str, Opt("JSON schema that the completion fits")] = ""
    shrinks: Annotated[
        bool, Opt("Fewer tokens where a prompt leaves no room for max_tokens, in place of an error")
    ] = False

    def __post_init__(self) -> None:
        """Raise UsageError for options that contradict each other."""
        if self.beams > 1 and self.temperature > 0:
            raise UsageError(
                f"beams with temperature={self.temperature:g}: a search draws nothing",
                hint="set temperature to 0, or beams to 1",
            )
        if self.beams > 1 and self.schema:
            raise UsageError("a schema with beams: not possible", hint="set beams to 1")
        if self.choices > 1 and self.temperature == 0 and self.beams < self.choices:
            if self.beams > 1:
                raise UsageError(
                    f"choices={self.choices}: {self.beams} beams give {self.beams} at most",
                    hint=f"set beams to {self.choices} or more",
                )
            raise UsageError(
                f"choices={self.choices}: without sampling they are all the same",
                hint=f"set temperature above 0, or beams to {self.choices} or more",
            )
        if self.stop and self.schema:
            raise UsageError(
                "a schema with stop texts: JSON that is cut at one fits no schema",
                hint="leave stop out: the text ends where its JSON does",
            )
        if "" in self.stop:
            raise UsageError("stop: an empty text stops nothing", hint="leave it out")

    @property
    def is_random(self) -> bool:
        """Whether tokens are drawn by chance."""
        return self.temperature > 0


class Completion(msgspec.Struct):
    """What a model said to a prompt."""

    text: str
    finish: Literal["stop", "length"]
    """"stop": it ended, or came to a stop text; "length": max_tokens were reached."""
    tokens: int
    prompt_tokens: int
    seed: int | None
    """The seed that gives this text again; None where nothing was drawn by chance."""


class Message(TypedDict):
    """A turn of a dialogue."""

    role: Literal["system", "user", "assistant"]
    content: str


ROLES: Final = ("system", "user", "assistant")


def check_messages(layer: Any) -> list[dict[str, Any]]:
    """Return the layer "messages" of a document, each with its role and content.

    DataError for another shape.
    """
    if wrong := _wrong_with(layer):
        raise DataError(
            f"messages is no list of messages: {wrong}",
            hint='write "messages": [{"role": "user", "content": "…"}]; the roles are '
            f"{', '.join(ROLES)}",
        )
    messages: list[dict[str, Any]] = layer
    return messages


def _wrong_with(layer: Any) -> str:
    """Return what keeps a layer from being a list of messages, "" for nothing."""
    if not isinstance(layer, list):
        return f"it is {layer!r:.40}"
    for number, item in enumerate(layer, 1):
        if not isinstance(item, dict):
            return f"number {number} is {item!r:.40}"
        if item.get("role") not in ROLES:
            return f"number {number} has the role {item.get('role')!r:.40}"
        if not isinstance(item.get("content"), str):
            return f"number {number} has no text as its content"
    return ""


class PromptTooLong(DataError):
    """A prompt that does not fit the context together with the tokens that may follow.

    `index` is its number among the prompts given, from 0; `max_tokens` are those that had to fit.
    """

    def __init__(self, index: int, tokens: int, sampling: Sampling, context: int) -> None:
        self.index, self.tokens, self.context = index, tokens, context
        self.max_tokens = n = 1 if sampling.shrinks else sampling.max_tokens
        more = "" if sampling.shrinks else f"; with max_tokens={n:,} that is {tokens + n:,}"
        super().__init__(
            f"the prompt has {tokens:,} tokens{more}, and the model's context holds {context:,}",
            hint="shorten the prompt" + ("" if sampling.shrinks else " or allow fewer tokens"),
        )


class Likelihood(msgspec.Struct, frozen=True):
    """How likely texts are: `nats` is the sum of -log p over their tokens."""

    nats: float
    tokens: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """Of a token; depends on the tokenizer."""
        return math.exp(min(self.nats / max(self.tokens, 1), 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Of a byte in UTF-8; compares models with different tokenizers."""
        return self.nats / math.log(2) / max(self.bytes, 1)


class Stream:
    """The pieces of a completion as they come: whole characters, nothing of a stop text.

    When it has ended, `completion` holds all of it. `close` ends it early: what has come until
    then is the completion, and its finish "length".
    """

    def __init__(
        self, engine: Engine, encoder: PromptEncoder, ids: list[int], sampling: Sampling
    ) -> None:
        self._seed = seed = seed_of(sampling)
        self._n_prompt = len(ids)
        self._watch = RowWatch(encoder, ids, sampling.stop)
        own = None if seed is None else batch_seed(seed, 0, 0)
        self._steps = engine.steps(engine.generator([ids], sampling, own))
        self.completion: Completion | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.completion is not None:
            raise StopIteration
        watch = self._watch
        for tokens in self._steps:
            piece = watch.feed(int(tokens[0]))
            if watch.is_ended:
                break
            if piece:
                return piece
        else:
            piece = ""
        piece += watch.finish()
        self.close()
        if not piece:
            raise StopIteration
        return piece

    def close(self) -> None:
        """End it."""
        if self.completion is None:
            watch, self._steps = self._watch, iter(())
            row = Row(watch.text, len(watch.tokens), watch.is_ended)
            self.completion = _completion(row, self._n_prompt, self._seed)


class LanguageModel:
    """A loaded model. Several threads may use it: they take turns, step by step."""

    def __init__(
        self, name: str, info: LanguageInfo, encoder: PromptEncoder, engine: Engine
    ) -> None:
        self.name = name
        self.info = info
        self.context = min(info.context or engine.shape.context, engine.shape.context)
        self.providers = engine.providers
        self._encoder = encoder
        self._engine = engine

    @property
    def has_chat(self) -> bool:
        """Whether it has a chat template."""
        return bool(self._encoder.template)

    def count(self, text: str) -> int:
        """Return the number of tokens of a prompt."""
        return len(self._encoder.encode(text))

    def chat_prompt(self, messages: Sequence[Message]) -> Prompt:
        """Return messages by the model's chat template, ready for the answer.

        What looks like a control token in a message is read as the text it is. Raises UsageError
        when the model has no template, or when it refuses the messages.
        """
        return self._encoder.chat_prompt(messages)

    def stream(self, prompt: str, sampling: Sampling | None = None) -> Stream:
        """Return the completion of a prompt, piece by piece; PromptTooLong when it does not fit."""
        sampling = sampling or Sampling()
        if sampling.beams > 1 or sampling.choices > 1:
            raise UsageError(
                "beams and several choices are known at the end only", hint="use complete"
            )
        ids = self._encoder.encode(prompt)
        limit = self._limit(0, len(ids), sampling)
        return Stream(self._engine, self._encoder, ids, replace(sampling, max_tokens=limit))

    def complete(
        self, prompts: Sequence[str], sampling: Sampling | None = None, *, number: int = 0
    ) -> list[list[Completion]]:
        """Return the completions of prompts, `choices` of each, in order.

        They run in batches of like lengths: the same prompts with the same seed and `number` give
        the same texts, other prompts beside them may give others where tokens are drawn by chance.
        A caller that asks in several goes gives another `number` with each, so that one seed does
        not draw the same again. Raises PromptTooLong, before anything runs, for the first that
        does not fit.
        """
        sampling = sampling or Sampling()
        ids = [self._encoder.encode(prompt) for prompt in prompts]
        limits = [self._limit(index, len(row), sampling) for index, row in enumerate(ids)]
        seed = seed_of(sampling)
        found: list[list[Completion]] = [[] for _ in ids]
        n_run = 0
        for owners, limited in self._batches(ids, limits, sampling):
            rows = [ids[owner] for owner in owners]
            own = None if seed is None else batch_seed(seed, number, n_run)
            results = run_rows(self._engine, self._encoder, rows, limited, own)
            each = len(results) // len(owners)
            for place, result in enumerate(results):
                owner = owners[place // each]
                found[owner].append(_completion(result, len(ids[owner]), seed))
            n_run += len(owners)
        return found

    def _batches(
        self, ids: Sequence[Sequence[int]], limits: Sequence[int], sampling: Sampling
    ) -> Iterator[tuple[list[int], Sampling]]:
        """Yield prompts that run together, each as often as it is drawn for, all of one limit."""
        repeats = 1 if sampling.beams > 1 else sampling.choices
        for limit in sorted(set(limits), reverse=True):
            limited = replace(sampling, max_tokens=limit)
            able = [index for index, own in enumerate(limits) if own == limit]
            owners = [index for index in able for _ in range(repeats)]
            for batch in self._engine.batches([ids[owner] for owner in owners], limited):
                yield [owners[number] for number in batch], limited

    def encode(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt."""
        return self._encoder.encode(prompt)

    def greedy(self, ids: list[int], max_tokens: int) -> list[int]:
        """Return the likeliest tokens after these, up to the end of the text."""
        generator = self._engine.generator([ids], Sampling(max_tokens=max_tokens), None)
        return [int(tokens[0]) for tokens in self._engine.steps(generator)]

    def score(self, texts: Iterable[str], prompts: Iterable[str] | None = None) -> Likelihood:
        """Return how likely texts are, each from its start on, or from the end of its prompt.

        `prompts` are what the texts begin with that is given, and neither scored nor counted. A
        text longer than the context is read in windows that overlap by half, so that every
        token has at least half a context before it, where the text has.
        """
        nats, n_tokens, n_bytes = 0.0, 0, 0
        given = itertools.repeat("") if prompts is None else prompts
        for text, prompt in zip(texts, given, strict=prompts is not None):
            if prompt:  # read as a completion is run: without a token that starts texts
                ids = self._encoder.encode(text)
                n_given = max(sum(1 for _ in _common(ids, self._encoder.encode(prompt))), 1)
            else:
                ids, n_given = self._encoder.encode_to_score(text), 1
            nats += self._nats(ids, n_given)
            n_tokens += len(ids) - n_given
            n_bytes += len(text[len(prompt) :].encode())
        return Likelihood(nats, n_tokens, n_bytes)

    def _nats(self, ids: list[int], n_given: int) -> float:
        """Return the sum of -log p of tokens after those that are given, at least one."""
        return sum(
            self._engine.nats(ids[begin:end], max(first, n_given) - begin)
            for begin, first, end in scored_windows(len(ids), self.context)
            if end > n_given
        )

    def _limit(self, index: int, n_tokens: int, sampling: Sampling) -> int:
        """Return how many tokens may follow a prompt; PromptTooLong where it does not fit."""
        room = self.context - n_tokens
        if room < (1 if sampling.shrinks else sampling.max_tokens):
            raise PromptTooLong(index, n_tokens, sampling, self.context)
        return min(room, sampling.max_tokens)


def _common(first: Iterable[int], second: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Return the tokens with which both begin."""
    return itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))


def seed_of(sampling: Sampling) -> int | None:
    """Return the seed to draw with, a new one where none is set; None where nothing is drawn."""
    if not sampling.is_random:
        return None
    return random.SystemRandom().randrange(SEEDS) if sampling.seed is None else sampling.seed


def batch_seed(seed: int, number: int, n_run: int) -> int:
    """Return the seed of a batch: `n_run` prompts of the go of this number ran before it.

    A hash, since the batches of neighbouring seeds must not share theirs.
    """
    digest = hashlib.sha256(f"{seed} {number} {n_run}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % SEEDS


def _completion(row: Row, n_prompt: int, seed: int | None) -> Completion:
    finish: Literal["stop", "length"] = "stop" if row.is_ended else "length"
    return Completion(row.text, finish, row.n_tokens, n_prompt, seed)


def load_language_model(
    ref: str | Path, *, device: str = "auto", threads: int = 0
) -> LanguageModel:
    """Load a bundle of a language model, by its name or folder.

    Raises BundleError when it is none, damaged or cannot be loaded, and UsageError when a device
    that was asked for by name cannot be had. `threads` 0 means all cores.
    """
    from .bundles import load_language_bundle

    bundle = load_language_bundle(ref)
    return open_folder(bundle.folder, bundle.info, bundle.identity, device, threads)


def open_folder(
    folder: Path, info: LanguageInfo, name: str = "", device: str = "auto", threads: int = 0
) -> LanguageModel:
    """Open the files of onnxruntime-genai in a folder, unchecked."""
    from ._engine import open_engine

    encoder = PromptEncoder(folder)
    engine = open_engine(folder, device, threads, pad=encoder.never_last)
    encoder.eos = engine.shape.eos
    return LanguageModel(name or info.name, info, encoder, engine)
