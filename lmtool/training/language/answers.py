"""A model of PyTorch that answers prompts, for scores while it is trained.

It takes the place of `lmtool.language.LanguageModel` in a `TextModel`, so a checkpoint is scored by
the code that runs a bundle: the same prompts, the same reading of what comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..._decoding import RowWatch
from ..._prompts import PromptEncoder
from ...errors import UsageError
from ...language import Completion, PromptTooLong, Sampling

BATCH_TOKENS = 8192
"""Tokens of prompts and answers that are computed together."""


class Autocast(Protocol):
    """What an accelerator of accelerate is used for."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the precision of the training."""


class TorchLanguage:
    """The likeliest continuations of prompts, by transformers' generate."""

    providers: tuple[str, ...] = ("torch",)

    def __init__(
        self,
        model: Any,
        prompts: PromptEncoder,
        *,
        context: int,
        pad: int,
        name: str = "checkpoint",
        accelerator: Autocast | None = None,
    ) -> None:
        self.name = name
        self.context = context
        self._model = model
        self._prompts = prompts
        self._pad = pad
        self._accelerator = accelerator

    @property
    def has_chat(self) -> bool:
        """Whether it has a chat template."""
        return bool(self._prompts.template)

    def count(self, text: str) -> int:
        """Return the number of tokens of a prompt."""
        return len(self._prompts.encode(text))

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return messages by the chat template, ready for the answer."""
        return self._prompts.chat_prompt(messages)

    def complete(
        self, prompts: Sequence[str], sampling: Sampling | None = None
    ) -> list[list[Completion]]:
        """Return the likeliest completion of each prompt, in order.

        Raises PromptTooLong for the first that does not fit, and UsageError where anything but
        the likeliest completion is asked for.
        """
        sampling = sampling or Sampling()
        if sampling.is_random or sampling.beams > 1 or sampling.choices > 1 or sampling.schema:
            raise UsageError("a checkpoint gives the likeliest completion alone: export it first")
        rows = [self._prompts.encode(prompt) for prompt in prompts]
        for index, row in enumerate(rows):
            if len(row) + sampling.max_tokens > self.context:
                raise PromptTooLong(index, len(row), sampling, self.context)
        found: dict[int, Completion] = {}
        for batch in _batches([len(row) for row in rows], sampling.max_tokens):
            answers = self._generate([rows[place] for place in batch], sampling)
            for place, answer in zip(batch, answers, strict=True):
                found[place] = self._completion(rows[place], answer, sampling)
        return [[found[place]] for place in range(len(rows))]

    def _generate(self, rows: Sequence[list[int]], sampling: Sampling) -> list[list[int]]:
        """Return the tokens that follow each row, computed as one batch padded on the left."""
        import torch
        import transformers

        width = max(map(len, rows))
        device = self._model.device
        ids = torch.tensor([[self._pad] * (width - len(row)) + row for row in rows], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        kind: Any = transformers.GenerationConfig
        how = kind(
            max_new_tokens=sampling.max_tokens,
            do_sample=False,
            repetition_penalty=sampling.repetition_penalty,
            eos_token_id=list(self._prompts.eos),
            pad_token_id=self._pad,
            bos_token_id=None,
        )
        was_training, own = self._model.training, self._model.generation_config
        self._model.eval()
        self._model.generation_config = how  # what a model samples with by itself would mix in
        try:
            with torch.no_grad(), self._autocast():
                whole = self._model.generate(
                    input_ids=ids, attention_mask=mask.to(device), generation_config=how
                )
        finally:
            self._model.generation_config = own
            self._model.train(was_training)
        return [row[width:].tolist() for row in whole]

    def _autocast(self) -> AbstractContextManager[Any]:
        from contextlib import nullcontext

        return nullcontext() if self._accelerator is None else self._accelerator.autocast()

    def _completion(self, prompt: list[int], ids: list[int], sampling: Sampling) -> Completion:
        watch = RowWatch(self._prompts, prompt, sampling.stop)
        for token in ids:
            watch.feed(token)
        row = watch.row()
        return Completion(
            row.text, "stop" if row.is_ended else "length", row.n_tokens, len(prompt), None
        )


def _batches(lengths: Sequence[int], n_more: int) -> Iterator[list[int]]:
    """Yield places of prompts of about one length, as many as BATCH_TOKENS holds."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if batch and (len(batch) + 1) * (lengths[place] + n_more) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
