"""Export: from a checkpoint to a bundle, with a comparison and a gate before it is written."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from .batching import pad_windows
from .bundles import (
    BackboneInfo,
    BundleInfo,
    GraphInfo,
    Versions,
    backbone_hash,
    sha256,
    write_record,
    writing,
)
from .cards import model_card
from .documents import Document
from .errors import DataError, NegativeResult, UsageError
from .evaluation import annotate_again, scoring_task
from .models import Model
from .sessions import GraphFile, OnnxSession, n_threads
from .tasks import make_options

if TYPE_CHECKING:
    from .tasks import EncoderTask, Graph
    from .training.checkpoint import Checkpoint, Head
    from .windows import TextEncoder, Window

PRECISIONS = ("int8", "int8-dynamic", "fp32", "fp16")
CALIBRATION_WINDOWS = 256
LARGE_HEAD = 1_000_000
"""Bytes of a head's graph in fp32 from which on int8 is worth it."""
TOLERANCE = 1e-3
"""The largest difference between PyTorch and ONNX, fp32, in any output of a head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What an export can be told."""

    name: str
    precision: str = "int8"
    """int8 fixes the ranges of activations on the calibration texts, so that a text's result does
    not depend on what else is in its batch; int8-dynamic takes them from each batch."""
    gate: float = 0.5
    """Points of the task's main metric that the exported precision may lose against fp32."""
    heads: tuple[str, ...] = ()
    """The heads of a checkpoint that become bundles (default: all)."""
    with_backbone: bool = True
    """False leaves the backbone out: another installed bundle must hold the same one."""
    licence: str = ""
    notes: str | Mapping[str, str] = ""
    """Markdown for the model card: data, intended use, what the model is bad at; or by head."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Versions or sources of the training data, by name."""
    overwrite: bool = False


def export_bundle(
    checkpoint_folder: Path,
    out: Path,
    dev: Mapping[str, Sequence[Document]],
    options: ExportOptions,
    calibration: Mapping[str, Sequence[Document]] | None = None,
) -> dict[str, BundleInfo]:
    """Export a checkpoint, compare it with PyTorch on the dev documents, and write its bundles.

    A checkpoint with one head becomes the bundle `out`; with several, each becomes a bundle in the
    folder `out` under its own name, and the first holds the backbone that all share.

    `dev` holds the gold documents by set; a head is measured on the sets that have gold for it.
    `calibration`, by set too, gives the texts that fix the backbone's ranges of int8 (default: the
    dev texts; their gold is not used); those of large heads are fixed on dev texts. Raises
    NegativeResult, with nothing written, when the exported graphs differ from PyTorch, or when
    quantization loses more than the gate.
    """
    from .training.checkpoint import load_checkpoint
    from .training.frozen import FrozenBackbone

    if options.precision not in PRECISIONS:
        raise UsageError(
            f"unknown precision {options.precision!r}", hint=f"one of {', '.join(PRECISIONS)}"
        )
    if out.exists() and checkpoint_folder.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            f"{out}: holds the checkpoint that is exported", hint="choose another folder"
        )
    checkpoint = load_checkpoint(checkpoint_folder)
    is_single = len(checkpoint.heads) == 1
    for name in options.heads:
        checkpoint.head(name)
    names = [name for name in checkpoint.heads if name in options.heads or not options.heads]
    targets = {name: out if is_single else out / name for name in names}
    sets = {name: _sets_of(checkpoint.heads[name], dev) for name in names}
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folders = {
            name: stack.enter_context(writing(target, replace=options.overwrite))
            for name, target in targets.items()
        }
        if isinstance(checkpoint.backbone, FrozenBackbone):
            options = replace(options, precision=checkpoint.backbone.info.precision)
        write_backbones(checkpoint, work, options.precision, calibration or dev)
        infos = {}
        for name, folder in folders.items():
            own = replace(options, name=options.name if is_single else name)
            infos[name] = _write_bundle(checkpoint, name, work, folder, sets[name], own)
        if options.with_backbone:
            shutil.copytree(work / "final", next(iter(folders.values())) / "backbone")
        return infos


def _sets_of(head: Head, dev: Mapping[str, Sequence[Document]]) -> dict[str, list[Document]]:
    """Return the gold documents of a head, by set."""
    task = head.task.narrowed(make_options(head.task.Options, {}, head.options))
    found = {name: [d for d in gold if task.has_gold(d)] for name, gold in dev.items()}
    found = {name: gold for name, gold in found.items() if gold}
    if not found:
        raise DataError(
            f"no dev documents for the task {head.task.name!r}",
            hint=f"give files with gold in {', '.join(head.task.layers)} with --dev",
        )
    return found


def write_backbones(
    checkpoint: Checkpoint,
    work: Path,
    precision: str,
    texts: Mapping[str, Sequence[Document]],
) -> None:
    """Write the backbone in fp32, work/exact, and in the final precision, work/final.

    One that was not trained is an ONNX graph already: both are copies of it.
    """
    from ._graphs import export_graph, fuse_graph, half_graph, quantize_graph
    from .training.frozen import FrozenBackbone

    exact, final = work / "exact", work / "final"
    if isinstance(checkpoint.backbone, FrozenBackbone):
        for folder in (exact, final):
            checkpoint.backbone.copy_to(folder)
        return
    exact.mkdir()
    final.mkdir()
    windows = _some_windows(checkpoint.encoder, texts, CALIBRATION_WINDOWS)
    backbone, example = checkpoint.backbone.eval(), _example(checkpoint)
    raw, fp32, target = work / "raw.onnx", exact / "backbone.onnx", final / "backbone.onnx"
    export_graph(backbone, backbone.signature, raw, example)
    fuse_graph(raw, fp32)
    raw.unlink()
    if precision == "fp32":
        shutil.copyfile(fp32, target)
    elif precision == "fp16":
        half_graph(fp32, target)
    else:
        names = backbone.signature.input_names
        rows = [{n: pad_windows([window])[n] for n in names} for window in windows]
        quantize_graph(fp32, target, rows if precision == "int8" else ())
    checkpoint.encoder.tokenizer.save(str(final / "tokenizer.json"))
    files = {p.name: sha256(p) for p in sorted(final.iterdir())}
    info = BackboneInfo(
        hash=backbone_hash(files),
        precision=precision,
        hidden_size=backbone.hidden_size,
        signature=backbone.signature,
        encoding=msgspec.to_builtins(checkpoint.encoder.encoding),
        files=files,
    )
    write_record(final / "backbone.json", info)


def _write_bundle(
    checkpoint: Checkpoint,
    name: str,
    work: Path,
    folder: Path,
    dev: Mapping[str, Sequence[Document]],
    options: ExportOptions,
) -> BundleInfo:
    """Write a head's graphs and records, after it was compared, calibrated and measured."""
    from .training.inference import model_from_checkpoint

    head = checkpoint.heads[name]
    exact = work / "heads" / name
    exact.mkdir(parents=True)
    write_heads(checkpoint, head, exact)
    reference = model_from_checkpoint(checkpoint, head=head)
    models = {"fp32": _model(checkpoint, head, work / "exact", exact)}
    _compare(reference, models["fp32"], dev)
    gold = [document for documents in dev.values() for document in documents]
    _write_final_heads(models["fp32"], exact, folder, options.precision, gold)
    if options.precision != "fp32":
        models[options.precision] = _model(checkpoint, head, work / "final", folder)
    metrics = {}
    for precision, model in models.items():
        blank = [model.task.blank(document, model.options) for document in gold]
        calibrated = model.task.calibrate(gold, model.parts(blank))
        model.task = type(model.task)(model.task.labels, {**model.task.form, **calibrated})
        metrics[precision] = _measure(model, dev)
    metrics["fp32"]["megabytes"] = _megabytes(work / "exact")
    metrics[options.precision]["megabytes"] = _megabytes(work / "final")
    for row in metrics.values():
        row["head_megabytes"] = _megabytes(folder)
    _check_gate(metrics, options)
    if checkpoint.info.is_frozen and len(metrics) > 1:
        del metrics["fp32"]  # its backbone was the final one
    return _write_records(head, models[options.precision].task, work, folder, metrics, options)


def _write_final_heads(
    model: Model, exact: Path, folder: Path, precision: str, texts: Sequence[Document]
) -> None:
    """Write the head's graphs in their final precision: int8 where a graph is large, else fp32.

    Ranges are fixed on what the graphs are fed when the model reads some of the texts.
    """
    from ._graphs import fuse_graph, quantize_graph

    large = [n for n in model.graphs if (exact / f"{n}.onnx").stat().st_size > LARGE_HEAD]
    if precision not in ("int8", "int8-dynamic"):
        large = []
    seen = {name: _Recording(model.graphs[name]) for name in large if precision == "int8"}
    if seen:
        some = texts[:: max(len(texts) // CALIBRATION_WINDOWS, 1)]
        watched = Model(
            model.task, model.encoder, model.backbone, {**model.graphs, **seen},
            name="calibration", options=model.options,
        )  # fmt: skip
        watched.parts([model.task.blank(document, model.options) for document in some])
    for name in model.graphs:
        source, target = exact / f"{name}.onnx", folder / f"{name}.onnx"
        if name in large:
            fuse_graph(source, source)
            quantize_graph(source, target, seen[name].feeds if name in seen else ())
        else:
            shutil.copyfile(source, target)


class _Recording:
    """A graph that keeps what it is fed, at most CALIBRATION_WINDOWS times."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.signature = graph.signature
        self.feeds: list[dict[str, Any]] = []

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        if len(self.feeds) < CALIBRATION_WINDOWS:
            names = self.signature.input_names
            self.feeds.append({name: np.array(feeds[name]) for name in names if name in feeds})
        return self._graph.run(feeds)


def write_heads(checkpoint: Checkpoint, head: Head, folder: Path) -> None:
    """Write the graphs of a head, fp32."""
    from ._graphs import export_graph

    example = _example(checkpoint)
    states = {**_hidden(checkpoint, example), "attention_mask": example["attention_mask"]}
    states |= head.task.example_inputs(states)
    for name, module in head.task.graphs(head.module.eval()).items():
        signature: Any = module.signature
        inputs = {port: states[port] for port in signature.input_names}
        export_graph(module, signature, folder / f"{name}.onnx", inputs)


def open_heads(head: Head, folder: Path) -> dict[str, Graph]:
    """Open the graphs that `write_heads` wrote."""
    graphs: dict[str, Graph] = {}
    for name, module in head.task.graphs(head.module).items():
        signature: Any = module.signature
        graphs[name] = OnnxSession(GraphFile(folder / f"{name}.onnx", signature), "cpu")
    return graphs


def _hidden(checkpoint: Checkpoint, example: dict[str, Any]) -> dict[str, Any]:
    """Return the outputs of the backbone as tensors."""
    import torch

    if isinstance(checkpoint.backbone, torch.nn.Module):
        hidden: dict[str, Any] = checkpoint.backbone.eval()(**example)
        return hidden
    arrays = checkpoint.backbone.run({name: t.numpy() for name, t in example.items()})
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _example(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return backbone inputs to trace with, (2, 8): plain ids, nothing of them is fixed."""
    import torch

    ids = torch.arange(16).reshape(2, 8) % checkpoint.encoder.tokenizer.get_vocab_size()
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if checkpoint.encoder.encoding.has_shapes:
        example["shape_ids"] = torch.ones_like(ids)
    return example


def _model(checkpoint: Checkpoint, head: Head, backbone: Path, heads: Path) -> Model:
    signature: Any = checkpoint.backbone.signature
    session = OnnxSession(GraphFile(backbone / "backbone.onnx", signature), "cpu")
    return Model(
        head.task,
        checkpoint.encoder,
        session,
        open_heads(head, heads),
        name="export",
        options=make_options(head.task.Options, {}, head.options),
        threads=n_threads(),
    )


def _compare(reference: Model, exported: Model, dev: Mapping[str, Sequence[Document]]) -> None:
    """Raise NegativeResult when PyTorch and ONNX differ on some real rows."""
    windows = list(_some_windows(reference.encoder, dev, 32))
    difference = largest_difference(reference, exported, windows)
    if not difference <= TOLERANCE:
        raise NegativeResult(
            f"the exported graph differs from PyTorch by {difference:.2g} on real rows "
            f"(at most {TOLERANCE:g} is allowed)",
            hint="the encoder may use an operation that ONNX computes otherwise",
        )


def largest_difference(first: Model, second: Model, windows: Sequence[Window]) -> float:
    """Return the largest absolute difference between two models, in hidden states and heads.

    A head is compared when the backbone gives all its inputs.
    """
    largest = 0.0
    for window in windows:
        pairs = [(first.hidden([window]), second.hidden([window]))]
        feeds = pairs[0][0]
        for name, graph in first.graphs.items():
            if set(graph.signature.input_names) <= feeds.keys():
                pairs.append((graph.run(feeds), second.graphs[name].run(feeds)))
        for a, b in pairs:
            largest = max(largest, *(float(np.abs(a[key] - b[key]).max()) for key in a))
    return largest


def _some_windows(
    encoder: TextEncoder, sets: Mapping[str, Sequence[Document]], n: int
) -> Iterator[Window]:
    """Yield the first window of about n documents, as many of each set."""
    for documents in sets.values():
        wanted = max(n // len(sets), 1)
        for document in documents[:: max(len(documents) // wanted, 1)][:wanted]:
            is_pair = document.pair is not None
            yield next(encoder.windows_of_documents([document], pairs=is_pair))[1]


def _measure(model: Model, dev: Mapping[str, Sequence[Document]]) -> dict[str, Any]:
    """Return the main metric on each set and over all, and the speed in tokens per second."""
    texts = [document for documents in dev.values() for document in documents]
    windows = model.encoder.windows_of_documents(texts, pairs=model.task.reads_pairs)
    n_tokens = sum(len(window.ids) for _, window in windows)
    started = time.perf_counter()
    pairs = {name: annotate_again(model, documents) for name, documents in dev.items()}
    seconds = time.perf_counter() - started
    metric = model.task.main_metric
    gold, predicted = (
        [document for pair in pairs.values() for document in pair[side]] for side in (0, 1)
    )
    task = scoring_task(model)
    scores = task.score(gold, predicted)
    return {
        "metric": metric,
        "all": scores[metric],
        "scores": {key: value for key, value in scores.items() if isinstance(value, float)},
        "sets": {name: task.score(*pair)[metric] for name, pair in pairs.items()},
        "tokens_per_second": round(n_tokens / seconds),
    }


def _check_gate(metrics: Mapping[str, dict[str, Any]], options: ExportOptions) -> None:
    lost = metrics["fp32"]["all"] - metrics[options.precision]["all"]
    if not lost <= options.gate:  # NaN does not pass
        raise NegativeResult(
            f"{options.precision} loses {lost:.2f} points of {metrics['fp32']['metric']} "
            f"({metrics['fp32']['all']:.2f} to {metrics[options.precision]['all']:.2f}); "
            f"the gate is {options.gate:g}. Nothing was written",
            hint="--precision fp32 keeps the score, --gate allows a larger loss",
        )


def _write_records(
    head: Head,
    task: EncoderTask,
    work: Path,
    folder: Path,
    metrics: dict[str, Any],
    options: ExportOptions,
) -> BundleInfo:
    """Write bundle.json and the model card; `task` is the head's with what calibration found."""
    backbone = msgspec.json.decode((work / "final/backbone.json").read_bytes(), type=BackboneInfo)
    graphs = {}
    for name, module in task.graphs(head.module).items():
        signature: Any = module.signature
        graphs[name] = GraphInfo(f"{name}.onnx", signature)
    info = BundleInfo(
        name=options.name,
        task=task.name,
        labels=task.labels,
        form=task.form,
        options=head.options,
        graphs=graphs,
        backbone=backbone.hash,
        files={},
        licence=options.licence,
        versions=Versions(code=_versions(), data=dict(options.data)),
        metrics=metrics,
    )
    notes = options.notes
    if not isinstance(notes, str):
        notes = notes.get(options.name, "")
    (folder / "README.md").write_text(model_card(info, backbone, notes), "utf-8")
    files = {p.name: sha256(p) for p in sorted(folder.iterdir()) if p.is_file()}
    info = msgspec.structs.replace(info, files=files)
    write_record(folder / "bundle.json", info)
    return info


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from .training.checkpoint import code_versions

    return {**code_versions(), "onnx": version("onnx"), "onnxruntime": version("onnxruntime")}


def _megabytes(folder: Path) -> float:
    return round(sum(p.stat().st_size for p in folder.glob("*.onnx*")) / 1e6, 2)
