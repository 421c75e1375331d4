"""The fp32 model of onnxruntime-genai against PyTorch: what it answers, token for token."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from .documents import Document
from .errors import LmtoolError, NegativeResult, UsageError
from .language import LanguageModel, Message
from .tasks import TextTask
from .textmodels import find_text_task, form_for

PROMPTS: Final = (
    "The", "Once upon a time, there was", "Question: what is 2 + 3?\nAnswer:", "今天天气",
)  # fmt: skip
COMPARED_TOKENS: Final = 32
"""Most tokens of an answer that are compared."""
GOLD_PROMPTS: Final = 32
"""Most prompts of gold documents whose answers are compared, evenly chosen."""
LEAST_TOKENS: Final = 64
"""Fewest tokens that are compared."""
TIE: Final = 1e-3
"""Two tokens whose logits differ by less are equally likely: either is right."""


def compared_prompts(
    task_name: str, documents: Sequence[Document], model: LanguageModel
) -> list[str]:
    """Return prompts to compare answers to: PROMPTS, and what the task asks.

    That is what its gold asks in documents, or without any what it would ask about PROMPTS. A
    task that no plugin has asks nothing.
    """
    found: list[str | Sequence[Message]] = []
    with contextlib.suppress(UsageError):
        task = find_text_task(task_name)(form_for(task_name, model))
        found = [prompt for gold in documents for prompt, _ in task.pairs(gold) if prompt]
        found = found[:: -(-len(found) // GOLD_PROMPTS) or 1] or list(asked(task, PROMPTS))
    own = [prompt if isinstance(prompt, str) else model.chat_prompt(prompt) for prompt in found]
    return list(dict.fromkeys([*PROMPTS, *own]))


def compare(
    source: Path, model: LanguageModel, prompts: Sequence[str], texts: Sequence[str]
) -> int:
    """Compare greedy output with PyTorch's and return the number of equal tokens.

    A model may answer in few tokens, so that beginnings of the texts, one token longer each, are
    continued too until LEAST_TOKENS are compared. Raises NegativeResult at the first difference
    that is no tie, and UsageError where they are too few.
    """
    import torch

    from .training.language.checkpoint import load_model

    reference = load_model(str(source), "causal").eval()

    def n_same(prompt: str, ids: list[int]) -> int:
        size = min(COMPARED_TOKENS, model.context - len(ids))
        if size < 1:
            return 0
        found = model.greedy(ids, size)
        logits = reference(torch.tensor([ids + found])).logits[0, len(ids) - 1 :]
        return _same_tokens(prompt, found, logits)

    starts = [" ".join(text.split()[:8]) for text in texts[:4]]
    with torch.no_grad():
        n_equal = sum(n_same(prompt, model.encode(prompt)) for prompt in [*prompts, *starts])
        for text in texts:
            ids = model.encode(text)[: model.context]
            for end in range(1, len(ids)):
                if n_equal >= LEAST_TOKENS:
                    return n_equal
                n_equal += n_same(f"{end} tokens of {text[:40]!r}", ids[:end])
    if n_equal < LEAST_TOKENS:
        raise UsageError(
            f"{n_equal} tokens could be compared with PyTorch's, {LEAST_TOKENS} are needed",
            hint="name more texts to begin with: --text FILE in an import, --dev FILE in an export",
        )
    return n_equal


def _same_tokens(prompt: str, found: Sequence[int], logits: Any) -> int:
    """Check each token against the likeliest by PyTorch, after the same tokens before it."""
    for place, token in enumerate(found):
        best = int(logits[place].argmax())
        lead = float(logits[place, best] - logits[place, token])
        if not lead <= TIE:  # NaN does not pass
            raise NegativeResult(
                f"the exported fp32 model differs from PyTorch: after {prompt!r}, token "
                f"{place + 1} is {token} and not {best} (logits differ by {lead:.3g}). "
                "Nothing was written",
                hint="the model may use an operation that the builder writes otherwise",
            )
    return len(found)


def asked(task: TextTask, texts: Iterable[str]) -> Iterator[str | Sequence[Message]]:
    """Yield what a task asks about texts, nothing where it has to be told more than them."""
    with contextlib.suppress(LmtoolError):
        for text in texts:
            if (prompt := task.prompt(Document(text=text), task.Options())) is not None:
                yield prompt
