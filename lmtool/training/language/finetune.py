"""Fine-tuning: from a task's documents and a base to a run that is ready to train.

RUN/config.toml     starts the same run again
RUN/metrics.jsonl   a line per evaluation
RUN/best/           the checkpoint with the best score on dev (the last one without dev)
RUN/last/           the newest, with the state to go on from
RUN/best-adapter/   the low-rank additions alone, for peft, where they are asked for
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...bundles import writing
from ...documents import Document
from ...errors import BundleError, DataError, UsageError
from ...sources import BadRecord
from ...tasks import TextTask
from ...textmodels import find_text_task
from ..backbone import model_name
from ..bases import check_base
from ..checkpoint import load_state, recover_checkpoint
from ..config import absolute
from ..data import Data, read_data
from ..folder import check_folder
from ..learner import State, seed_all
from ..lora import add_adapters, check_sums, load_adapters, save_adapters
from .check import (
    TextReport,
    check_texts,
    nothing_to_learn,
    render_text_report,
    shape_check,
)
from .checkpoint import (
    RECORD_FILE,
    LanguageRecord,
    load_language_checkpoint,
    load_model,
    load_text_tokenizer,
)
from .judging import EVAL_TOKENS, Evaluation, checked_options
from .loop import LanguageRun
from .network import mixes_texts
from .packed import PackedBatches, row_width
from .speech import check_form, context_of, form_of, longest, speech_of, teach_end
from .tuning import FinetuneConfig

ADAPTER_FOLDER = "best-adapter"
ADAPTER_RECORD = "adapter_config.json"


def prepare_finetuning(
    config: FinetuneConfig, *, resume: bool = False, task: type[TextTask] | None = None
) -> FinetuneRun:
    """Read and check the data and load the base: all that can fail before the first step.

    With `resume` the run in the folder goes on from its last save, or starts where it has none.
    `task` saves looking the task up among the plugins.

    Raises UsageError for a configuration that cannot work, DataError for data that cannot be
    trained on, BundleError for a base or checkpoint that cannot be loaded.
    """
    config = absolute(config)
    kind = task or find_text_task(config.task)
    is_resumed = check_folder(config, resume=resume, record=RECORD_FILE)
    if not is_resumed:
        check_form(kind, config.form)
        check_base(config.base, "causal")
    data = read_data(config, shape_check(kind, config.form))
    data.refuse_bad()
    train, dev = data.parts[0].train, data.parts[0].dev
    if not (train or dev):
        raise nothing_to_learn(kind, config.data, 0)
    seed_all(config.seed)
    record, model, tokenizer = _start(config, kind, data, is_resumed=is_resumed)
    instance = kind(record.form)
    if not any(instance.pairs(document) for document in train):
        raise nothing_to_learn(kind, config.data, len(train))
    if mixes_texts(model):
        raise BundleError(
            f"{config.base}: a model of the kind {model.config.model_type} cannot keep texts in "
            "one row apart",
            hint="choose a decoder with attention alone, such as Llama or Qwen",
        )
    ends = teach_end(model, tokenizer, config.base)
    speech = speech_of(tokenizer, config.base, ends, needs_chat=record.form["chat"])
    lora = None
    if config.tune == "lora":
        model, lora = _adapted(config, model, is_resumed=is_resumed)
    context = longest(config.max_tokens, record.context, config.base)
    found = check_texts(instance, speech.encoder, context, train, dev)
    if not found.train:
        raise DataError(
            f"no document fits {context} tokens", hint="allow more, or give shorter ones"
        )
    width = row_width([len(e.ids) for e in (*found.train, *found.dev)], context)
    batches = PackedBatches(
        found.train, width=width, batch_tokens=config.batch_tokens, seed=config.seed,
        pad_id=speech.pad, n_epochs=config.epochs, min_steps=config.min_steps,
    )  # fmt: skip
    found.report.gaps = batches.gaps
    options = checked_options(instance, config.options)
    evaluate = None
    if found.dev:
        rows = PackedBatches(found.dev, width=width, batch_tokens=EVAL_TOKENS, pad_id=speech.pad)
        sample = _sample(config, instance, dev)
        evaluate = Evaluation(instance, options, rows, sample, speech, record.context)
        evaluate.check_metric(config.metric)
    elif config.metric != "perplexity":
        raise UsageError(
            f"metric: nothing is held out, so there is no {config.metric}",
            hint="give documents with --dev, or choose --metric perplexity",
        )
    return FinetuneRun(
        config, model, tokenizer, batches, record, evaluate=evaluate, main_metric=config.metric,
        n_steps=batches.n_steps, report=found.report, lora=lora,
    )  # fmt: skip


def _start(
    config: FinetuneConfig, kind: type[TextTask], data: Data, *, is_resumed: bool
) -> tuple[LanguageRecord, Any, Any]:
    """Return record, model and tokenizer at the start: those of the last save, or the base's."""
    if not is_resumed:
        record = LanguageRecord(
            objective="causal",
            task=kind.name,
            form=form_of(kind, data.parts[0].train, config.form),
            options=config.options,
            context=context_of(config.base),
            base=config.base,
            data=data.hashes,
        )
        return record, load_model(config.base, "causal"), load_text_tokenizer(config.base)
    record, model, tokenizer = load_language_checkpoint(Path(config.out) / "last")
    if record.data != data.hashes:
        raise UsageError(
            f"{config.out}: the data files have changed since the run began",
            hint="bring them back, or start anew with another --out",
        )
    return record, model, tokenizer


def _adapted(config: FinetuneConfig, model: Any, *, is_resumed: bool) -> tuple[Any, Any]:
    """Return a model with adapters, and peft's configuration.

    Of a resumed run they are those of the last save, on the base: `model` has the sums.
    """
    base = load_model(config.base, "causal") if is_resumed else model
    holder = SimpleNamespace(encoder=base)
    lora = add_adapters(holder, config.lora_rank)
    if is_resumed:
        load_adapters(holder, load_state(Path(config.out) / "last")[0])
        check_sums(base, model, config.base)
    return base, lora


class FinetuneRun(LanguageRun):
    """A run that tunes a language model; `report` says what is in the data."""

    def __init__(
        self, config: FinetuneConfig, *arguments: Any, report: TextReport, lora: Any, **more: Any
    ) -> None:
        super().__init__(config, *arguments, **more)
        self.report = report
        self._base = model_name(config.base)
        self._lora = lora if config.adapter else None
        if self.is_main and self._lora is not None:
            recover_checkpoint(Path(config.out) / ADAPTER_FOLDER, ADAPTER_RECORD)

    def describe(self) -> str:
        """Return what is in the data, as text."""
        return render_text_report(self.report)

    def _save(self, folder: Path, record: LanguageRecord, state: State | None) -> None:
        super()._save(folder, record, state)
        if self._lora is not None and folder.name == "best":
            adapter = folder.with_name(ADAPTER_FOLDER)
            with writing(adapter, replace=True, record=ADAPTER_RECORD) as new:
                save_adapters(self.learner.model, self._lora, self._base, new)
                self._tokenizer.save_pretrained(new)


def check_files(
    task: type[TextTask],
    base: str,
    max_tokens: int | None,
    train: Sequence[Document],
    dev: Sequence[Document],
    bad: Sequence[BadRecord],
) -> TextReport:
    """Return what a run with this base would find in documents; its weights are not read.

    Raises what `prepare_finetuning` raises for data and tokenizer.
    """
    check_base(base, "causal")
    form = form_of(task, train, {})
    speech = speech_of(load_text_tokenizer(base), base, needs_chat=form["chat"])
    context = longest(max_tokens, context_of(base), base)
    return check_texts(task(form), speech.encoder, context, train, dev, bad).report


def _sample(
    config: FinetuneConfig, task: TextTask, documents: Sequence[Document]
) -> list[Document]:
    """Return the documents to write texts for: some of those that have gold, by the seed."""
    gold = [document for document in documents if task.has_gold(document)]
    order = np.random.default_rng(config.seed).permutation(len(gold))
    return [gold[place] for place in sorted(order[: config.eval_samples].tolist())]
