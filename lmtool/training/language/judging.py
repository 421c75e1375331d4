"""Scores of a model that is tuned to a task: while it learns, and of its checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...documents import Document
from ...errors import DataError, UsageError
from ...language import Sampling
from ...options import make_options
from ...tasks import TextTask
from ...textmodels import TextModel, find_text_task
from .answers import Autocast, TorchLanguage
from .checkpoint import LanguageRecord
from .examples import PartReport, make_examples
from .loop import Batch, LanguageLearner
from .network import IGNORED
from .packed import PackedBatches, row_width
from .pretrain import figures
from .speech import Speech, speech_of, teach_end

EVAL_TOKENS = 8192
"""Tokens of a batch that is evaluated."""
SPARE_TOKENS = 16
"""Tokens that an answer may have beyond the longest one of the gold, when dev is scored."""


class Evaluation:
    """Scores on dev: the perplexity of what is to be written, and how near what is written comes.

    Texts are written, by the greedy search, for the `documents` alone.
    """

    def __init__(
        self,
        task: TextTask,
        options: Any,
        rows: PackedBatches,
        documents: Sequence[Document],
        speech: Speech,
        context: int,
    ) -> None:
        self._task = task
        self._options = options
        self._rows = rows.one_pass()
        self._documents = documents
        self._speech = speech
        self._context = context
        pairs = [pair for document in documents for pair in task.pairs(document)]
        longest = max((len(speech.prompts.encode_text(text)) for _, text in pairs), default=0)
        self._max_tokens = max(min(longest + SPARE_TOKENS, context // 2), 1)

    def check_metric(self, metric: str) -> None:
        """Raise UsageError for a metric of texts that are written where there are none."""
        if metric != "perplexity" and not self._documents:
            raise UsageError(
                f"metric: dev has no prompts with answers, so there is no {metric}",
                hint="choose --metric perplexity",
            )

    def __call__(self, learner: LanguageLearner) -> dict[str, Any]:
        """Return the scores of a model that learns."""
        return self.scores(learner.model, learner.surprise, learner.accelerator)

    def scores(
        self, model: Any, surprise: Callable[[Batch], float], accelerator: Autocast | None = None
    ) -> dict[str, Any]:
        """Return loss and perplexity, and the task's scores with the "samples" they are of.

        `surprise` gives the sum of -log p of the labels of a batch.
        """
        total = sum(surprise(batch) for batch in self._rows)
        n_labels = sum(int((batch["labels"] != IGNORED).sum()) for batch in self._rows)
        scores = figures(total, n_labels)
        if self._documents:
            written = self._written(model, accelerator)
            scores |= {"samples": len(self._documents), **written}
        return scores

    def _written(self, model: Any, accelerator: Autocast | None) -> dict[str, Any]:
        language: Any = TorchLanguage(
            model, self._speech.prompts, context=self._context, pad=self._speech.pad,
            accelerator=accelerator,
        )  # fmt: skip
        sampling = Sampling(max_tokens=self._max_tokens)
        texts = TextModel(self._task, language, sampling=sampling, options=self._options)
        blank = [self._task.blank(document, self._options) for document in self._documents]
        found = [
            without if isinstance(answered, DataError) else answered
            for without, answered in zip(blank, texts.annotate(blank), strict=True)
        ]
        scores = self._task.score(self._documents, found)
        return {name: value for name, value in scores.items() if name != "errors"}


def evaluate_tuned(
    record: LanguageRecord,
    model: Any,
    tokenizer: Any,
    documents: Sequence[Document],
    surprise: Callable[[Batch], float],
) -> dict[str, Any] | None:
    """Return the scores of a checkpoint on documents with gold; None where there is none of it.

    The texts are written by the greedy search, for all documents.
    """
    if not record.task:
        return None
    task = find_text_task(record.task)(record.form)
    gold = [document for document in documents if task.has_gold(document)]
    if not gold:
        return None
    ends = teach_end(model, tokenizer, record.task)
    speech = speech_of(tokenizer, record.task, ends, needs_chat=bool(record.form.get("chat")))
    examples = make_examples(gold, task, speech.encoder, record.context, PartReport())
    if not examples:
        raise DataError(f"no document fits {record.context} tokens", hint="give shorter ones")
    width = row_width([len(example.ids) for example in examples], record.context)
    rows = PackedBatches(examples, width=width, batch_tokens=EVAL_TOKENS, pad_id=speech.pad)
    options = checked_options(task, record.options)
    evaluation = Evaluation(task, options, rows, gold, speech, record.context)
    scores = evaluation.scores(model, surprise)
    return {"documents": scores.pop("samples"), **scores}


def checked_options(task: TextTask, options: Mapping[str, Any]) -> Any:
    """Return the task's options; UsageError for one that neither it nor Sampling has."""
    own = {field.name for field in dataclasses.fields(task.Options)}
    make_options(Sampling, {k: v for k, v in options.items() if k not in own})
    options = make_options(task.Options, {k: v for k, v in options.items() if k in own})
    task.check_options(options)
    return options
