"""Export: from a checkpoint to a bundle, with a comparison and a gate before it is written."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from .evaluation import annotate_again
from .models import Model
from .sessions import GraphFile, OnnxSession, n_threads

if TYPE_CHECKING:
    from .tasks import Graph
    from .training.checkpoint import Checkpoint
    from .windows import Window

PRECISIONS = ("int8", "int8-dynamic", "fp32", "fp16")
CALIBRATION_WINDOWS = 256
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
    with_backbone: bool = True
    """False leaves the backbone out: another installed bundle must hold the same one."""
    licence: str = ""
    notes: str = ""
    """Markdown for the model card: data, intended use, what the model is bad at."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Versions or sources of the training data, by name."""
    overwrite: bool = False


def export_bundle(
    checkpoint_folder: Path,
    out: Path,
    dev: Mapping[str, Sequence[Document]],
    options: ExportOptions,
    calibration: Mapping[str, Sequence[Document]] | None = None,
) -> BundleInfo:
    """Export a checkpoint, compare it with PyTorch on the dev documents, and write a bundle.

    `dev` holds the gold documents by set. `calibration`, by set too, gives the texts that fix the
    ranges of int8 (default: the dev texts; their gold is not used). Raises NegativeResult, with
    nothing written, when the exported graphs differ from PyTorch, or when quantization loses more
    than the gate.
    """
    from .training.checkpoint import load_checkpoint
    from .training.inference import model_from_checkpoint

    if options.precision not in PRECISIONS:
        raise UsageError(
            f"unknown precision {options.precision!r}", hint=f"one of {', '.join(PRECISIONS)}"
        )
    if out.exists() and checkpoint_folder.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            f"{out}: holds the checkpoint that is exported", hint="choose another folder"
        )
    if not any(dev.values()):
        raise DataError("no dev documents", hint="give files with gold layers with --dev")
    checkpoint = load_checkpoint(checkpoint_folder)
    with writing(out, replace=options.overwrite) as folder:
        exact, final = folder / "exact", folder / "backbone"
        exact.mkdir()
        final.mkdir()
        reference = model_from_checkpoint(checkpoint)
        windows = _some_windows(reference, calibration or dev, CALIBRATION_WINDOWS)
        rows = [pad_windows([window]) for window in windows]
        _write_graphs(checkpoint, (exact, final, folder), options.precision, rows)
        models = {"fp32": _model(checkpoint, exact, folder)}
        _compare(reference, models["fp32"], dev)
        if options.precision != "fp32":
            models[options.precision] = _model(checkpoint, final, folder)
        metrics = {name: _measure(model, dev) for name, model in models.items()}
        metrics["fp32"]["megabytes"] = _megabytes(exact)
        metrics[options.precision]["megabytes"] = _megabytes(final)
        _check_gate(metrics, options)
        shutil.rmtree(exact)
        return _write_records(checkpoint, folder, metrics, options)


def _write_graphs(
    checkpoint: Checkpoint, folders: tuple[Path, Path, Path], precision: str, rows: Sequence[Any]
) -> None:
    """Write the fp32 backbone, the one in the final precision, and the heads."""
    from ._graphs import export_graph, fuse_graph, half_graph, quantize_graph

    exact, final, heads = folders
    backbone, example = checkpoint.backbone.eval(), _example(checkpoint)
    raw, fp32, target = exact / "raw.onnx", exact / "backbone.onnx", final / "backbone.onnx"
    export_graph(backbone, backbone.signature, raw, example)
    fuse_graph(raw, fp32)
    raw.unlink()
    if precision == "fp32":
        shutil.copyfile(fp32, target)
    elif precision == "fp16":
        half_graph(fp32, target)
    else:
        quantize_graph(fp32, target, rows if precision == "int8" else ())
    checkpoint.encoder.tokenizer.save(str(final / "tokenizer.json"))
    write_heads(checkpoint, heads)


def write_heads(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the graphs of the head, fp32."""
    from ._graphs import export_graph

    example = _example(checkpoint)
    hidden = checkpoint.backbone.eval()(**example)
    states = {**hidden, "attention_mask": example["attention_mask"]}
    states |= checkpoint.task.example_inputs(states)
    for name, module in checkpoint.task.graphs(checkpoint.head.eval()).items():
        signature: Any = module.signature
        inputs = {port: states[port] for port in signature.input_names}
        export_graph(module, signature, folder / f"{name}.onnx", inputs)


def open_heads(checkpoint: Checkpoint, folder: Path) -> dict[str, Graph]:
    """Open the graphs that `write_heads` wrote."""
    graphs: dict[str, Graph] = {}
    for name, module in checkpoint.task.graphs(checkpoint.head).items():
        signature: Any = module.signature
        graphs[name] = OnnxSession(GraphFile(folder / f"{name}.onnx", signature), "cpu")
    return graphs


def _example(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return backbone inputs to trace with, (2, 8): plain ids, nothing of them is fixed."""
    import torch

    ids = torch.arange(16).reshape(2, 8) % checkpoint.encoder.tokenizer.get_vocab_size()
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if checkpoint.encoder.encoding.has_shapes:
        example["shape_ids"] = torch.ones_like(ids)
    return example


def _model(checkpoint: Checkpoint, backbone: Path, heads: Path) -> Model:
    signature: Any = checkpoint.backbone.signature
    session = OnnxSession(GraphFile(backbone / "backbone.onnx", signature), "cpu")
    graphs = open_heads(checkpoint, heads)
    return Model(
        checkpoint.task, checkpoint.encoder, session, graphs, name="export", threads=n_threads()
    )


def _compare(reference: Model, exported: Model, dev: Mapping[str, Sequence[Document]]) -> None:
    """Raise NegativeResult when PyTorch and ONNX differ on some real rows."""
    windows = list(_some_windows(reference, dev, 32))
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


def _some_windows(model: Model, sets: Mapping[str, Sequence[Document]], n: int) -> Iterator[Window]:
    """Yield the first window of about n documents, as many of each set."""
    for documents in sets.values():
        wanted = max(n // len(sets), 1)
        for document in documents[:: max(len(documents) // wanted, 1)][:wanted]:
            yield next(model.encoder.windows(document.text))


def _measure(model: Model, dev: Mapping[str, Sequence[Document]]) -> dict[str, Any]:
    """Return the main metric on each set and over all, and the speed in tokens per second."""
    texts = [document.text for documents in dev.values() for document in documents]
    n_tokens = sum(len(window.ids) for _, window in model.encoder.windows_of(texts))
    started = time.perf_counter()
    pairs = {name: annotate_again(model, documents) for name, documents in dev.items()}
    seconds = time.perf_counter() - started
    metric = model.task.main_metric
    gold, predicted = (
        [document for pair in pairs.values() for document in pair[side]] for side in (0, 1)
    )
    return {
        "metric": metric,
        "all": model.task.score(gold, predicted)[metric],
        "sets": {name: model.task.score(*pair)[metric] for name, pair in pairs.items()},
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
    checkpoint: Checkpoint, folder: Path, metrics: dict[str, Any], options: ExportOptions
) -> BundleInfo:
    backbone = _write_backbone(checkpoint, folder / "backbone", options.precision)
    if not options.with_backbone:
        shutil.rmtree(folder / "backbone")
    task = checkpoint.task
    graphs = {}
    for name, module in task.graphs(checkpoint.head).items():
        signature: Any = module.signature
        graphs[name] = GraphInfo(f"{name}.onnx", signature)
    info = BundleInfo(
        name=options.name,
        task=task.name,
        labels=task.labels,
        options=checkpoint.info.options,
        graphs=graphs,
        backbone=backbone.hash,
        files={},
        licence=options.licence,
        versions=Versions(code=_versions(), data=dict(options.data)),
        metrics=metrics,
    )
    (folder / "README.md").write_text(model_card(info, backbone, options.notes), "utf-8")
    files = {p.name: sha256(p) for p in sorted(folder.iterdir()) if p.is_file()}
    info = msgspec.structs.replace(info, files=files)
    write_record(folder / "bundle.json", info)
    return info


def _write_backbone(checkpoint: Checkpoint, folder: Path, precision: str) -> BackboneInfo:
    backbone: Any = checkpoint.backbone
    files = {p.name: sha256(p) for p in sorted(folder.iterdir())}
    info = BackboneInfo(
        hash=backbone_hash(files),
        precision=precision,
        hidden_size=backbone.hidden_size,
        signature=backbone.signature,
        encoding=msgspec.to_builtins(checkpoint.encoder.encoding),
        files=files,
    )
    write_record(folder / "backbone.json", info)
    return info


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from .training.checkpoint import code_versions

    return {**code_versions(), "onnx": version("onnx"), "onnxruntime": version("onnxruntime")}


def _megabytes(folder: Path) -> float:
    return round(sum(p.stat().st_size for p in folder.glob("*.onnx*")) / 1e6, 2)
