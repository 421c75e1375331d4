"""From prompts to token ids and back: control tokens, chat templates, text as it comes."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BundleError, DataError, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_START, _END = "\ue000", "\ue001"
"""Around a control token that a message spells out, while the template is filled in."""


class Prompt(str):
    """A prompt of which some stretches are the model's form, where control tokens count.

    As a text it is whole: `str` of what the model reads. `plain` holds the stretches (start, end)
    that are a user's: what looks like a control token there is read as the text it is.
    """

    plain: tuple[tuple[int, int], ...]
    has_start: bool

    def __new__(
        cls, text: str, plain: Sequence[tuple[int, int]] = (), *, has_start: bool = False
    ) -> Prompt:
        """Make one; `has_start` says that the text brings the token that starts a sequence."""
        prompt = super().__new__(cls, text)
        prompt.plain = tuple(plain)
        prompt.has_start = has_start
        return prompt


def fill_prompt(form: str, **values: str) -> Prompt:
    """Return a form, "Translate: {text}", with values in the place of their names in braces.

    Control tokens that the form spells out count, those in values do not. Other braces stay.
    """
    parts, plain, length = [], [], 0
    pattern = "|".join(re.escape("{" + name + "}") for name in values) or "(?!)"
    for index, part in enumerate(re.split(f"({pattern})", form)):
        if index % 2:
            part = values[part[1:-1]]
            plain.append((length, length + len(part)))
        parts.append(part)
        length += len(part)
    return Prompt("".join(parts), plain)


class PromptEncoder:
    """The tokenizer of a language model, with its chat template if it has one."""

    def __init__(self, folder: Path, eos: Sequence[int] = ()) -> None:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare ones
            raise BundleError(f"{path}: no tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._lock = threading.Lock()
        self.eos = tuple(eos)
        """The tokens that end a text; the first starts one where the tokenizer has none for it."""
        self._start = self._start_tokens()
        self._folder = folder

    def _start_tokens(self) -> list[int]:
        """Return what the tokenizer puts before every text."""
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        whole = self._tokenizer.encode("a", add_special_tokens=True).ids
        fits = (n for n in range(len(whole)) if whole[n : n + len(bare)] == bare)
        return list(whole[: next(fits, 0)])

    @functools.cached_property
    def _control(self) -> re.Pattern[str]:
        """What control tokens look like, the longest first."""
        added = self._tokenizer.get_added_tokens_decoder().values()
        names = sorted((token.content for token in added if token.special), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, names)) or "(?!)")

    @functools.cached_property
    def template(self) -> str:
        """The chat template, "" where the model has none."""
        return read_template(self._folder)

    @functools.cached_property
    def _names(self) -> dict[str, str]:
        """What templates know special tokens by."""
        return _special_names(self._folder)

    @functools.cached_property
    def never_last(self) -> int | None:
        """A token that ends no text, which can pad batches: the byte FF, None without one."""
        for name in ("ÿ", "<0xFF>"):
            if (token := self._tokenizer.token_to_id(name)) is not None:
                return int(token)
        return None

    def encode(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt, at least one.

        In a plain text nothing is a control token; in a `Prompt` those outside `plain` are.
        DataError for a text with halves of characters, as come of bytes that are not UTF-8.
        """
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            place = f"{prompt[error.start]!r} at character {error.start:,} of the prompt"
            raise DataError(
                f"not UTF-8: {place} is no character",
                hint="check how the text is encoded, and the locale of the shell",
            ) from None
        if isinstance(prompt, Prompt):
            start = [] if prompt.has_start else self._start
            ids = start + self._encode_form(prompt)
        else:
            ids = self._start + self.encode_text(prompt)
        # A text that is empty starts where another ended.
        return ids or self._begin()

    def encode_to_score(self, text: str) -> list[int]:
        """Return the tokens of a text behind one that only starts it."""
        ids = self.encode(text)
        has_start = bool(self._start) or (isinstance(text, Prompt) and text.has_start)
        return ids if has_start or not text else [*self._begin(), *ids]

    def _begin(self) -> list[int]:
        return [*self._start, *self.eos][:1] or [0]

    def encode_text(self, text: str) -> list[int]:
        """Return the tokens of a plain text."""
        if not self._control.search(text):
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        with self._lock:
            self._tokenizer.encode_special_tokens = True
            try:
                return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
            finally:
                self._tokenizer.encode_special_tokens = False

    def _encode_form(self, prompt: Prompt) -> list[int]:
        """Encode in one go, but for control tokens that a user spelled out."""
        found = [
            (start + match.start(), start + match.end())
            for start, end in prompt.plain
            for match in self._control.finditer(prompt[start:end])
        ]
        ids, last = [], 0
        for start, end in [*found, (len(prompt), len(prompt))]:
            with self._lock:
                ids += self._tokenizer.encode(str(prompt[last:start]), add_special_tokens=False).ids
            ids += self.encode_text(str(prompt[start:end]))
            last = end
        return ids

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]]) -> Prompt:
        """Return messages in the form of the chat template, ready for the answer."""
        if not self.template:
            raise UsageError(
                "this model has no chat template",
                hint="use a model tuned for dialogue, or lmtool generate without --chat",
            )
        marked = [
            {k: self._marked(v) if isinstance(v, str) else v for k, v in message.items()}
            for message in messages
        ]
        from ._chat import render_chat

        text = render_chat(self.template, marked, self._names)
        parts, plain, length = [], [], 0
        for index, part in enumerate(re.split(f"{_START}([^{_START}{_END}]*){_END}", text)):
            part = part.replace(_START, "").replace(_END, "")
            if index % 2:
                plain.append((length, length + len(part)))
            parts.append(part)
            length += len(part)
        return Prompt("".join(parts), plain, has_start=True)

    def _marked(self, text: str) -> str:
        text = text.replace(_START, "").replace(_END, "")
        return self._control.sub(f"{_START}\\g<0>{_END}", text)

    def tail(self, ids: Sequence[int]) -> list[int]:
        """Return the last tokens of a prompt, one or as many as its last character has."""
        for n in range(1, min(len(ids), 4) + 1):
            tail = list(ids[-n:])
            if "\ufffd" not in self._tokenizer.decode(tail, skip_special_tokens=True):
                return tail
        return list(ids[-1:])

    def decode(self, last: int | Sequence[int], ids: Sequence[int]) -> str:
        """Return the text of tokens that follow the token, or the tokens, `last`."""
        tail = [last] if isinstance(last, int) else [*last]
        before = self._tokenizer.decode(tail, skip_special_tokens=True)
        whole = self._tokenizer.decode([*tail, *ids], skip_special_tokens=True)
        return str(whole[len(before) :])

    def decoder(self, last: int | Sequence[int]) -> Decoder:
        """Return what turns tokens that follow `last` into text, one at a time."""
        return Decoder(self._tokenizer, [last] if isinstance(last, int) else last)


class Decoder:
    """Text as its tokens come, in whole characters."""

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int]) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer
        self._stream = DecodeStream(ids=list(before), skip_special_tokens=True)

    def feed(self, token: int) -> str:
        """Return the characters that are whole with this token, "" for none."""
        return self._stream.step(self._tokenizer, token) or ""


class StopCutter:
    """Cuts a text that comes in pieces at the first stop text.

    A piece is held back as long as its end may be the start of a stop text.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.is_stopped = False

    def feed(self, piece: str) -> str:
        """Return what of the text is sure by now; sets `is_stopped` at a stop text."""
        if not self._stops or self.is_stopped:
            return "" if self.is_stopped else piece
        text = self._held + piece
        found = [start for stop in self._stops if (start := text.find(stop)) >= 0]
        if found:
            self.is_stopped, self._held = True, ""
            return text[: min(found)]
        n_held = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]

    def flush(self) -> str:
        """Return what was held back: the text has ended."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text start the stop text."""
    for n in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:n]):
            return n
    return 0


def read_template(folder: Path) -> str:
    """Return the chat template of a folder of Hugging Face, "" where it has none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    found = _tokenizer_config(folder).get("chat_template") or ""
    if isinstance(found, list):  # several with names
        by_name = {item["name"]: item["template"] for item in found}
        found = by_name.get("default", "")
    return str(found)


def _special_names(folder: Path) -> dict[str, str]:
    """Return what templates know special tokens by: {"bos_token": "<s>"}."""
    names = {}
    for key, value in _tokenizer_config(folder).items():
        if key.endswith("_token"):
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                names[key] = value
    return names


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
    return config
