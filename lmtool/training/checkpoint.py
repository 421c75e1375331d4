"""Checkpoints: the folders that training writes, whole or not at all, and goes on from.

    NAME/checkpoint.json      what it is, and the sha256 of its files
    NAME/backbone/            config.json, model.safetensors, tokenizer.json; or, where the heads
                              alone are trained, backbone.json, backbone.onnx, tokenizer.json
    NAME/shapes.safetensors   the embedding of case shapes, where there is one
    NAME/heads/HEAD.safetensors
    NAME/state.*              what a stopped run needs to go on (in last/ only)

Nothing in it is pickled.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .. import __version__
from ..bundles import problems, read_record, sha256, write_record, writing
from ..errors import BundleError, UsageError
from ..tasks import EncoderTask
from ..windows import Encoding, TextEncoder
from .backbone import (
    BACKBONE_FOLDER,
    SHAPES_FILE,
    Backbone,
    load_backbone,
    load_tokenizer,
    quiet,
)
from .config import TrainConfig
from .frozen import FrozenBackbone, onnx_folder
from .learner import State, StateRecord
from .lora import adapters, merged_weights

FORMAT: Final = 2
RECORD_FILE: Final = "checkpoint.json"
HEADS_FOLDER: Final = "heads"


class HeadInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a head is: its task, labels and form."""

    task: str
    labels: dict[str, list[str]]
    form: dict[str, Any] = {}
    options: dict[str, Any] = {}
    """The task's options that are the model's defaults."""


class CheckpointInfo(msgspec.Struct, frozen=True, kw_only=True):
    """checkpoint.json."""

    format: int = FORMAT
    heads: dict[str, HeadInfo]
    """By name."""
    encoding: Encoding
    base: str
    """The encoder that training began with."""
    is_frozen: bool = False
    """Whether backbone/ is an ONNX graph, which was used as it is."""
    step: int = 0
    metrics: dict[str, Any] = {}
    """The scores on the dev documents at this step."""
    versions: dict[str, str] = {}
    data: dict[str, str] = {}
    """sha256 by name of the files that it was trained on."""
    files: dict[str, str] = {}
    """sha256 of the checkpoint's own files, by name."""


@dataclass(frozen=True, slots=True)
class Head:
    """A task with its torch module."""

    task: EncoderTask
    module: nn.Module
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Heads on a backbone: what is trained, saved and exported."""

    info: CheckpointInfo
    backbone: Backbone | FrozenBackbone
    encoder: TextEncoder
    heads: dict[str, Head]

    def head(self, name: str | None = None, task: str | None = None) -> Head:
        """Return the head of this name or task, or the only one; UsageError when there is none."""
        found = [
            key
            for key, head in self.heads.items()
            if name in (None, key) and task in (None, head.task.name)
        ]
        if len(found) != 1:
            there = ", ".join(f"{key} ({head.task.name})" for key, head in self.heads.items())
            wanted = f"named {name!r}" if name else f"for the task {task!r}" if task else "alone"
            raise UsageError(
                f"the checkpoint has {len(found) or 'no'} {'heads' if found else 'head'} {wanted}",
                hint=f"choose one with --head: {there}",
            )
        return self.heads[found[0]]


def code_versions() -> dict[str, str]:
    """Return the versions of what makes a checkpoint."""
    import torch
    import transformers

    return {
        "lmtool": __version__,
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    }


def save_checkpoint(folder: Path, checkpoint: Checkpoint, state: State | None = None) -> None:
    """Write a checkpoint; until it is complete on the disk, the one before it stays.

    `state` is what `Learner.state` gives, for a run that may be resumed.
    """
    with writing(folder, replace=True, record=RECORD_FILE) as new:
        if isinstance(checkpoint.backbone, FrozenBackbone):
            checkpoint.backbone.copy_to(new / BACKBONE_FOLDER)
        else:
            _save_encoder(checkpoint.backbone, checkpoint.encoder, new)
        (new / HEADS_FOLDER).mkdir()
        for name, head in checkpoint.heads.items():
            _save(head.module.state_dict(), new / HEADS_FOLDER / f"{name}.safetensors")
        if state is not None:
            save_state(new, state)
        info = msgspec.structs.replace(checkpoint.info, versions=code_versions())
        write_last(new, RECORD_FILE, info)


def save_state(folder: Path, state: State) -> None:
    """Write what a resumed run needs beside the weights; `load_state` reads it."""
    _save(state[0], folder / "state.safetensors")
    write_record(folder / "state.json", state[1])


def write_last(folder: Path, name: str, info: Any) -> None:
    """Write the record of a checkpoint, with the sha256 of its files, and wait for the disk."""
    files = {str(p.relative_to(folder)): sha256(p) for p in sorted(_files(folder))}
    write_record(folder / name, msgspec.structs.replace(info, files=files))
    for path in _files(folder):
        _flush(path)


def _save_encoder(backbone: Backbone, encoder: TextEncoder, folder: Path) -> None:
    with quiet():
        weights = merged_weights(backbone.encoder) if adapters(backbone.encoder) else None
        backbone.encoder.save_pretrained(folder / BACKBONE_FOLDER, state_dict=weights)
    encoder.tokenizer.save(str(folder / BACKBONE_FOLDER / "tokenizer.json"))
    if backbone.shape_embedding is not None:
        _save(backbone.shape_embedding.state_dict(), folder / SHAPES_FILE)


def load_encoder(config: TrainConfig) -> tuple[Backbone, TextEncoder]:
    """Return the encoder that a run starts from, and its encoder of texts.

    What the configuration leaves open is as in the checkpoint that is the base, where it is one.
    Raises BundleError when the tokenizer is of another encoder.
    """
    if onnx_folder(config.base) is not None:
        raise BundleError(
            f"{config.base}: its backbone is an ONNX graph, which cannot be trained",
            hint="choose --tune head, or an encoder or a checkpoint with PyTorch weights",
        )
    is_checkpoint = (Path(config.base) / RECORD_FILE).is_file()
    own = read_info(Path(config.base)).encoding if is_checkpoint else Encoding()
    encoding = Encoding(
        max_tokens=own.max_tokens if config.max_tokens is None else config.max_tokens,
        language=own.language if config.language is None else config.language,
        has_shapes=own.has_shapes if config.shapes is None else config.shapes,
    )
    backbone = load_backbone(
        config.base,
        has_shapes=encoding.has_shapes,
        max_tokens=encoding.max_tokens,
        dropout=config.dropout,
    )
    encoder = TextEncoder(load_tokenizer(config.base), encoding)
    n_ids = encoder.tokenizer.get_vocab_size()
    n_rows = backbone.encoder.get_input_embeddings().num_embeddings
    if n_ids > n_rows:
        raise BundleError(
            f"{config.base}: its tokenizer has {n_ids} tokens, its weights {n_rows}",
            hint="the tokenizer belongs to another encoder",
        )
    return backbone, encoder


def load_checkpoint(
    folder: Path | str, *, task: type[EncoderTask] | None = None, attention: str = "sdpa"
) -> Checkpoint:
    """Load a checkpoint; `task` saves looking its task up among the plugins.

    Raises BundleError when a file is missing or damaged, or the task does not fit it.
    """
    folder = find_checkpoint(Path(folder))
    info = read_info(folder)
    for problem in problems(folder, info.files):
        raise BundleError(problem, hint="train again, or use another checkpoint of the run")
    backbone: Backbone | FrozenBackbone
    if info.is_frozen:
        backbone = FrozenBackbone(folder / BACKBONE_FOLDER)
    else:
        has_shapes = info.encoding.has_shapes
        backbone = load_backbone(str(folder), has_shapes=has_shapes, attention=attention).eval()
    heads = {
        name: load_head(folder, name, head, task, backbone.hidden_size)
        for name, head in info.heads.items()
    }
    encoder = TextEncoder.from_file(folder / BACKBONE_FOLDER / "tokenizer.json", info.encoding)
    return Checkpoint(info, backbone, encoder, heads)


def load_head(
    folder: Path, name: str, info: HeadInfo, task: type[EncoderTask] | None, hidden_size: int
) -> Head:
    """Load one head of a checkpoint; BundleError when it does not fit its task."""
    if task is None:
        from ..models import task_of

        task = task_of(info.task, str(folder))
    instance = task(info.labels, info.form)
    module = instance.build_head(hidden_size)
    try:
        module.load_state_dict(_load(folder / HEADS_FOLDER / f"{name}.safetensors"))
    except RuntimeError as error:
        raise BundleError(
            f"{folder}: the head {name!r} does not fit the task {info.task!r} that is installed: "
            f"{error}",
            hint="it was trained with another version of the plugin",
        ) from error
    return Head(instance, module.eval(), info.options)


def load_state(folder: Path) -> State:
    """Load what `save_checkpoint` was given as `state`; BundleError when there is none."""
    path = folder / "state.json"
    try:
        return _load(folder / "state.safetensors"), msgspec.json.decode(
            path.read_bytes(), type=StateRecord
        )
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(
            f"{path}: no state to go on from: {error}", hint="resume from the last/ of a run"
        ) from error


def read_info(folder: Path) -> CheckpointInfo:
    """Read checkpoint.json; BundleError when it is missing, damaged or of another format."""
    hint = "give a folder that lmtool train wrote, such as RUN/best, or train again"
    path = folder / RECORD_FILE
    return read_record(path, CheckpointInfo, FORMAT, what="checkpoint", hint=hint)


def find_checkpoint(folder: Path, record: str = RECORD_FILE) -> Path:
    """Return the folder, or the complete one beside it that a crash kept from its name.

    A run that dies in the instant between two renames leaves the new checkpoint under a
    temporary name, and the old one too.
    """
    if (folder / record).is_file():
        return folder
    beside = [p for p in folder.parent.glob(f".{folder.name}.*") if (p / record).is_file()]
    if not folder.exists() and beside:
        return min(beside, key=lambda p: p.suffix == ".old")
    return folder


def recover_checkpoint(folder: Path, record: str = RECORD_FILE) -> bool:
    """Tidy up after a crash: give a complete checkpoint its name back, remove torn ones.

    Returns whether there is a checkpoint. Only for the process that writes the folder.
    """
    found = find_checkpoint(folder, record)
    if found != folder:
        found.rename(folder)
    for torn in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(torn, ignore_errors=True)
    return (folder / record).is_file()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path}: damaged or missing: {error}") from error


def _flush(path: Path) -> None:
    """Wait until a file is on the disk, so that a power cut cannot tear what was renamed."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
