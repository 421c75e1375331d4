"""How a base reads and ends texts, and how much of them."""

from __future__ import annotations

import dataclasses
import shutil
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypedDict

import msgspec

from ..._prompts import PromptEncoder
from ...documents import Document
from ...errors import BundleError, UsageError
from ...plugins import registry
from ...tasks import TextTask
from .checkpoint import is_language_checkpoint, read_language_checkpoint
from .examples import ExampleEncoder
from .pretrain import positions

DEFAULT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{ 'System: ' }}"
    "{%- elif message['role'] == 'user' -%}{{ 'User: ' }}"
    "{%- else -%}{{ 'Assistant: ' }}{%- endif -%}"
    "{{ message['content'] + eos_token }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}"
)
"""The chat template of a base that has none."""

LONGEST = 1024
"""Most tokens of an example where nothing else is said."""


@dataclasses.dataclass(frozen=True, slots=True)
class Speech:
    """How a base reads and ends texts."""

    tokenizer: Any
    prompts: PromptEncoder
    """What encodes prompts, and knows the tokens at which the run time stops."""

    @property
    def end(self) -> int:
        """The token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        """The token that fills rows up."""
        found = self.tokenizer.pad_token_id
        return self.end if found is None else int(found)

    @property
    def encoder(self) -> ExampleEncoder:
        """What makes examples."""
        return ExampleEncoder(self.prompts, self.end)


def speech_of(tokenizer: Any, base: str, ends: Collection[int] = (), *, needs_chat: bool) -> Speech:
    """Return how a base reads and ends texts; the tokenizer gets a chat template if it needs one.

    `ends` are tokens that end texts beside the tokenizer's own. BundleError where it has none.
    """
    if tokenizer.eos_token_id is None:
        raise BundleError(
            f"{base}: its tokenizer has no token that ends a text",
            hint="name one in its tokenizer_config.json, as eos_token",
        )
    if needs_chat and not tokenizer.chat_template:
        tokenizer.chat_template = DEFAULT_TEMPLATE
    all_ends = sorted({int(tokenizer.eos_token_id), *ends})
    folder = mkdtemp(prefix="lmtool-")  # the encoder of prompts reads files
    tokenizer.save_pretrained(folder)
    prompts = PromptEncoder(Path(folder), all_ends)
    weakref.finalize(prompts, shutil.rmtree, folder, ignore_errors=True)
    return Speech(tokenizer, prompts)


def teach_end(model: Any, tokenizer: Any, base: str) -> set[int]:
    """Let a model's own configuration stop at the tokenizer's end of text; return all its ends.

    BundleError for a tokenizer with more tokens than the model.
    """
    n_rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > n_rows:
        raise BundleError(
            f"{base}: its tokenizer has {len(tokenizer)} tokens, its weights {n_rows}",
            hint="the tokenizer belongs to another model",
        )
    own = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    ends = own | _ids(model.config.eos_token_id) | _ids(model.generation_config.eos_token_id)
    for config in (model.config, model.generation_config):
        if not own <= _ids(config.eos_token_id):
            config.eos_token_id = sorted(ends) if len(ends) > 1 else min(ends)
    return ends


def context_of(base: str) -> int:
    """Return how many tokens a base reads."""
    limit = positions(base) or LONGEST
    if not is_language_checkpoint(base):
        return limit
    return min(read_language_checkpoint(base).context, limit)


class _Form(TypedDict, total=False):
    prompt: str
    stop: list[str]
    chat: bool


def check_form(task: type[TextTask], form: Mapping[str, Any]) -> None:
    """Raise UsageError for a form that a task does not read, or that leaves the text out.

    Under the name of another task stands what is that task's.
    """
    known = ("chat", "stop", *task.form_keys)
    for key, value in form.items():
        if key in known or (isinstance(value, Mapping) and registry().task(key) is not None):
            continue
        raise UsageError(
            f"form: {task.name} reads no key {key!r}", hint=f"the keys are: {', '.join(known)}"
        )
    try:
        prompt = msgspec.convert(form, _Form).get("prompt", "{text}")
    except msgspec.ValidationError as error:
        text, _, at = str(error).partition(" - at `$")
        raise UsageError(f"form{at.rstrip('`')}: {text}", hint="see docs/finetune.md") from None
    if "{text}" not in prompt:
        raise UsageError(
            f"form.prompt: {prompt!r} has no {{text}}: all documents would ask the same",
            hint="write {text} where the text of a document stands",
        )


def form_of(
    task: type[TextTask], train: Sequence[Document], form: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the form of a task that learns from documents, with what is said of it.

    "chat" tells whether its prompts go through a chat template.
    """
    whole = {**task.collect_form(train), **form}
    prompts = (prompt for document in train for prompt, _ in task(whole).pairs(document))
    return {"chat": not isinstance(next(prompts, ""), str), **whole}


def longest(max_tokens: int | None, context: int, base: str) -> int:
    """Return how many tokens an example may have; UsageError for more than the base can read."""
    if max_tokens is not None and max_tokens > context:
        raise UsageError(
            f"max_tokens: {max_tokens} is more than the {context} that {base} reads",
            hint=f"choose at most {context}",
        )
    return max_tokens or min(context, LONGEST)


def _ids(found: int | Sequence[int] | None) -> set[int]:
    """Return token ids of a configuration, which has one, several or none."""
    if found is None:
        return set()
    return {found} if isinstance(found, int) else set(found)
