"""A training run: from a configuration to a folder of checkpoints, stopped and resumed at will."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..documents import Document
from ..errors import DataError, UsageError
from ..evaluation import evaluate, scoring_task
from ..models import Model, find_task
from ..tasks import EncoderTask, make_options
from ..windows import TextEncoder, Window
from .backbone import Backbone
from .bases import check_base
from .batches import Examples, Source
from .check import check_data, render_report, warn_of_duplicates
from .checkpoint import (
    RECORD_FILE,
    Checkpoint,
    CheckpointInfo,
    Head,
    HeadInfo,
    load_checkpoint,
    load_encoder,
    load_head,
    load_state,
    read_info,
    save_checkpoint,
)
from .config import TrainConfig, absolute
from .data import Data, TaskData, read_data
from .folder import RunFolder, check_folder
from .frozen import FrozenBackbone, States, frozen_backbone, onnx_folder
from .inference import model_from_checkpoint
from .learner import Learner, State, deterministic, seed_all
from .loop import Step, count_steps, fit
from .lora import add_adapters, check_sums, load_adapters

MEAN_METRIC = "mean"
"""The mean of the main metrics of several heads."""


def train(
    config: TrainConfig, *, resume: bool = False, task: type[EncoderTask] | None = None
) -> Iterator[Step]:
    """Train, and yield each step; see `prepare_run` and `Run.train`."""
    yield from prepare_run(config, resume=resume, task=task).train()


def prepare_run(
    config: TrainConfig, *, resume: bool = False, task: type[EncoderTask] | None = None
) -> Run:
    """Read and check the data and load the encoder: all that can fail before the first step.

    With `resume` the run in the folder goes on from its last save, or starts where it has none.
    `task` saves looking the task up among the plugins.

    Raises UsageError for a configuration that cannot work, DataError for data that cannot be
    trained on, BundleError for an encoder or checkpoint that cannot be loaded.
    """
    config = absolute(config)
    tasks = {entry.task: task or find_task(entry.task) for entry in config.entries}
    is_resumed = check_folder(config, resume=resume, record=RECORD_FILE)
    if not is_resumed and (config.tune != "head" or onnx_folder(config.base) is None):
        check_base(config.base, "masked")
    data = read_data(config, lambda document: _check_gold(tasks.values(), document))
    data.refuse_bad()
    if is_resumed:
        checkpoint = load_checkpoint(Path(config.out) / "last", task=task)
        if config.tune == "lora":
            checkpoint = dataclasses.replace(checkpoint, backbone=_adapted(config, checkpoint))
        if checkpoint.info.data != data.hashes:
            raise UsageError(
                f"{config.out}: the data files have changed since the run began",
                hint="bring them back, or start anew with another --out",
            )
    else:
        seed_all(config.seed)
        checkpoint = _new_checkpoint(config, tasks, data)
    sources = []
    for part in data.parts:
        head = checkpoint.heads[part.entry.head]
        _check_pairs(head.task, part, data, checkpoint.encoder)
        instance = _learning(head.task, part.entry.layers)
        documents = _with_gold(part.train, instance)
        sources.append(Source(instance, documents, part.entry.head, part.entry.weight))
    examples = Examples(
        sources, checkpoint.encoder, seed=config.seed, lower_share=config.lower_share
    )
    if not len(examples):
        raise DataError("no document to train on has a word", hint="see lmtool data check")
    return Run(config, checkpoint, examples, data)


class Run:
    """A run that is ready to train.

    Attributes:
        config: what it was told, with absolute paths.
        reports: what is in the data of each head (`check.render_report` makes text of it).
        n_steps: steps of the whole run, if it is not stopped early.
        first_step: steps done before, by the run that is resumed.
        is_main: whether this process writes; false in the others under `accelerate launch`.
    """

    def __init__(
        self, config: TrainConfig, checkpoint: Checkpoint, examples: Examples, data: Data
    ) -> None:
        self.config = config
        self._checkpoint = checkpoint
        self._examples = examples
        self._states: States | None = None
        if isinstance(checkpoint.backbone, FrozenBackbone):
            checkpoint.backbone.to(config.device)
            self._states = States(checkpoint.backbone, Path(config.out))
        elif config.freeze is not None:
            checkpoint.backbone.freeze(config.freeze)
        modules = {name: head.module for name, head in checkpoint.heads.items()}
        self._learner = Learner(checkpoint.backbone, modules, config, self._states)
        self._models: dict[str, Model] = {}
        self._dev: dict[str, list[Document]] = {}
        self.reports = {}
        for name, head in checkpoint.heads.items():
            self._models[name] = model_from_checkpoint(
                checkpoint, head.options, head=head, states=self._states
            )
            parts = [part for part in data.parts if part.entry.head == name]
            train, dev = ([d for p in parts for d in getattr(p, k)] for k in ("train", "dev"))
            self.reports[name] = check_data(head.task.layers, checkpoint.encoder, train, dev)
            if gold := list(filter(scoring_task(self._models[name]).has_gold, dev)):
                self._dev[name] = gold
        self.n_steps = count_steps(self._learner, examples)
        self._folder = RunFolder(
            config, self._learner, checkpoint.info, self._save, is_evaluated=bool(self._dev)
        )
        self.first_step = self._folder.first_step
        self.is_main = self._folder.is_main
        if self.is_main:
            warn_of_duplicates(self.reports.values())

    @property
    def saved_step(self) -> int:
        """The step that --resume would go on from; 0 where nothing is saved."""
        return self._folder.saved_step

    def describe(self) -> str:
        """Return what is in the data of each head, as text."""
        reports = [(f"{name}\n", render_report(report)) for name, report in self.reports.items()]
        return "\n\n".join(title * (len(reports) > 1) + text for title, text in reports)

    def _evaluate(self) -> dict[str, Any]:
        """Return the scores of the head, or of several by name with the mean as MEAN_METRIC."""
        scores = {name: evaluate(self._models[name], dev) for name, dev in self._dev.items()}
        if len(self._models) == 1:
            return scores.popitem()[1]
        metrics = [scores[name][self._models[name].task.main_metric] for name in scores]
        return {MEAN_METRIC: sum(metrics) / len(metrics), **scores}

    @property
    def _main_metric(self) -> str:
        if len(self._models) > 1:
            return MEAN_METRIC
        return next(iter(self._models.values())).task.main_metric

    def train(self) -> Iterator[Step]:
        """Train and yield each step, saved and interrupted as `RunFolder.train` says."""
        return self._folder.train(self._steps, deterministic(self._learner.accelerator.device))

    def _steps(self) -> Iterator[Step]:
        if self._states is not None:
            self._states.add(self._windows(), self.config.threads)
        score = self._evaluate if self._dev else None
        return fit(self._learner, self._examples, self.n_steps, score, self._main_metric)

    def _windows(self) -> Iterator[Window]:
        """Yield all windows that are trained and evaluated on."""
        yield from self._examples.windows(self.config.epochs)
        for name, documents in self._dev.items():
            model = self._models[name]
            blank = (model.task.blank(document, model.options) for document in documents)
            pairs = model.task.reads_pairs
            for _, window in model.encoder.windows_of_documents(blank, pairs=pairs):
                yield window

    def _save(self, folder: Path, info: CheckpointInfo, state: State | None) -> None:
        save_checkpoint(folder, dataclasses.replace(self._checkpoint, info=info), state)


def _check_gold(tasks: Iterable[type[EncoderTask]], document: Document) -> None:
    """Raise DataError for a document that one of the tasks cannot learn from."""
    for task in tasks:
        task.check_gold(document)


def _check_pairs(task: EncoderTask, part: TaskData, data: Data, encoder: TextEncoder) -> None:
    """Raise DataError for the first document of a task that compares two texts without a pair.

    Or with one that is too long.
    """
    if not task.reads_pairs:
        return
    for document in filter(task.has_gold, (*part.train, *part.dev)):
        place = data.places[id(document)]
        if document.pair is None:
            raise DataError(
                f"{place}: no field 'pair', and {part.entry.head!r} compares two texts, as others "
                "of its documents have one",
                hint='write each record as {"text": "…", "pair": "…"}; texts alone are learnt by '
                "a head of their own, as [[tasks]] with a name",
            )
        try:
            next(encoder.windows_of_documents([document], pairs=True))
        except DataError as error:
            raise DataError(f"{place}: {error.message}", error.hint) from error


def _learning(task: EncoderTask, layers: Sequence[str]) -> EncoderTask:
    """Return the task as it learns these layers alone, or as it is where there are none."""
    if not layers:
        return task
    return type(task)(task.labels_of(task.labels, layers), task.form)


def _with_gold(documents: list[Document], task: EncoderTask) -> list[Document]:
    found = [document for document in documents if task.has_gold(document)]
    if not found:
        raise DataError(
            f"none of the {len(documents)} documents has gold for the task {task.name!r}",
            hint=f"it learns from: {', '.join(task.layers)} (see docs/documents.md)"
            + (
                "; lmtool data convert --classes makes them of a column" * ("labels" in task.layers)
            ),
        )
    return found


def _new_checkpoint(
    config: TrainConfig, tasks: Mapping[str, type[EncoderTask]], data: Data
) -> Checkpoint:
    """Return the modules at the start: the base encoder with new heads."""
    instances = {name: _new_task(name, tasks, data) for name in dict.fromkeys(_names(data))}
    backbone: Backbone | FrozenBackbone
    if config.tune == "head":
        texts = [document for part in data.parts for document in part.train]
        backbone, encoder = frozen_backbone(config, texts)
    else:
        backbone, encoder = load_encoder(config)
        shapes = backbone.shape_embedding
        if config.freeze is not None and shapes is not None and not shapes.weight.any():
            raise UsageError(
                "shapes: they are new, and freeze keeps them at zero",
                hint="leave out one of them, or take a base that was trained with shapes",
            )
        if config.tune == "lora":
            add_adapters(backbone, config.lora_rank)
    heads = {
        name: Head(task, task.build_head(backbone.hidden_size), options)
        for name, (task, options) in instances.items()
    }
    _take_heads(heads, Path(config.base), backbone.hidden_size)
    infos = {
        name: HeadInfo(task=h.task.name, labels=h.task.labels, form=h.task.form, options=h.options)
        for name, h in heads.items()
    }
    info = CheckpointInfo(
        heads=infos,
        encoding=encoder.encoding,
        base=config.base,
        is_frozen=config.tune == "head",
        data=data.hashes,
    )
    return Checkpoint(info, backbone, encoder, heads)


def _take_heads(heads: dict[str, Head], base: Path, hidden_size: int) -> None:
    """Let heads go on from those of a base checkpoint with their name, task and (all) labels."""
    if not (base / RECORD_FILE).is_file():
        return
    for name, info in read_info(base).heads.items():
        head = heads.get(name)
        if head and head.task.name == info.task and _are_labels_of(head.task, info.labels):
            info = msgspec.structs.replace(info, form={**head.task.form, **info.form})
            trained = load_head(base, name, info, type(head.task), hidden_size)
            heads[name] = dataclasses.replace(trained, options=head.options)


def _are_labels_of(task: EncoderTask, labels: Mapping[str, Sequence[str]]) -> bool:
    return all(set(names) <= set(labels.get(key, ())) for key, names in task.labels.items())


def _adapted(config: TrainConfig, checkpoint: Checkpoint) -> Backbone:
    """Return the base encoder with the adapters that the last save of the run has."""
    backbone, _ = load_encoder(config)
    add_adapters(backbone, config.lora_rank)
    load_adapters(backbone, load_state(Path(config.out) / "last")[0])
    saved = checkpoint.backbone
    assert isinstance(saved, Backbone)
    check_sums(backbone.encoder, saved.encoder, config.base)
    if backbone.shape_embedding is not None and saved.shape_embedding is not None:
        backbone.shape_embedding.load_state_dict(saved.shape_embedding.state_dict())
    return backbone


def _names(data: Data) -> list[str]:
    return [part.entry.head for part in data.parts]


def _new_task(
    name: str, tasks: Mapping[str, type[EncoderTask]], data: Data
) -> tuple[EncoderTask, dict[str, Any]]:
    """Return the task of a head, with the labels of all its documents, and its options."""
    parts = [part for part in data.parts if part.entry.head == name]
    kinds = sorted({part.entry.task for part in parts})
    if len(kinds) > 1:
        raise UsageError(
            f"tasks: the head {name!r} is to be trained for {' and '.join(kinds)}",
            hint="give each task a name of its own",
        )
    task = tasks[kinds[0]]
    every: dict[str, list[str]] = {}
    labels: dict[str, list[str]] = {}
    options: dict[str, Any] = {}
    for part in parts:
        found = part.entry.labels or data.collect(task.collect_labels, part.train)
        every |= found
        if part.entry.layers:
            found = task.labels_of(found, part.entry.layers)
        for key, names in found.items():
            known = labels.setdefault(key, [])
            known += [label for label in dict.fromkeys(names) if label not in known]
        options |= part.entry.options
    documents = [document for part in parts for document in part.train]
    labels = {
        key: names if any(p.entry.labels for p in parts) else sorted(names)
        for key, names in labels.items()
    }
    collected = data.collect(task.collect_form, documents)
    given = {key: value for part in parts for key, value in part.entry.form.items()}
    _check_form_keys(task, given, (*task.form_keys, *collected))
    form = collected | given
    make_options(task.Options, options)
    _with_gold(documents, task(every, form))
    _check_layers(task, every, [layer for part in parts for layer in part.entry.layers])
    instance = task(labels, form)
    _with_gold(documents, instance)
    instance.check_form(given)
    return instance, options


def _check_form_keys(
    task: type[EncoderTask], form: Mapping[str, Any], known: Sequence[str], table: str = ""
) -> None:
    """Raise UsageError for a key of a form that the task does not read; `known` are all it does."""
    for key, value in form.items():
        path = f"{table}{key}"
        inside = [name for name in known if name.startswith(f"{path}.")]
        if inside and not isinstance(value, Mapping):
            raise UsageError(
                f"form: {path} is {value!r}, no table", hint=f"its keys are: {', '.join(inside)}"
            )
        if inside:
            _check_form_keys(task, value, inside, f"{path}.")
        elif path not in known:
            raise UsageError(
                f"form: {task.name} reads no key {path!r}",
                hint=f"the keys are: {', '.join(sorted(set(known))) or 'none'}",
            )


def _check_layers(
    task: type[EncoderTask], labels: dict[str, list[str]], layers: Sequence[str]
) -> None:
    """Raise UsageError for a layer to learn that the gold, which has these labels, has not."""
    names = dict.fromkeys((*task.layers, *labels))
    there = [name for name in names if task.labels_of(labels, [name])] if labels else task.layers
    for layer in layers:
        if layer not in there:
            raise UsageError(
                f"layers: the data has no gold for {layer!r}", hint=f"it has: {', '.join(there)}"
            )
