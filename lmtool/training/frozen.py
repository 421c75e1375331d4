"""A backbone that is not trained: an ONNX graph, and the hidden states that it gave, on disk."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..batching import cut_batches, pad_windows
from ..bundles import BackboneInfo, find_bundle, load_encoder_bundle, problems, read_backbone
from ..documents import Document
from ..errors import BundleError, UsageError
from ..models import BATCH_TOKENS, CHUNK_WINDOWS, backbone_session
from ..sessions import Session, n_threads
from ..signature import Signature
from ..windows import Encoding, TextEncoder, Window

if TYPE_CHECKING:
    from ..tasks import Graph
    from .config import TrainConfig

CALIBRATION_TEXTS = 96
"""Texts that fix the ranges of int8 when a run exports its base: quick, and enough for them."""

BACKBONE_FILES = ("backbone.json", "backbone.onnx", "tokenizer.json")


class FrozenBackbone:
    """An ONNX backbone as a bundle holds it, in the place of the PyTorch one.

    `folder` has the BACKBONE_FILES and `info` is its record. It runs as a `Graph`; the session is
    opened when it first does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info: BackboneInfo = read_backbone(folder)
        self.signature: Signature = self.info.signature
        self.hidden_size = self.info.hidden_size
        self._device = "auto"

    @property
    def encoding(self) -> Encoding:
        """How texts become windows for it."""
        return msgspec.convert(self.info.encoding, Encoding)

    @property
    def session(self) -> Session:
        """The session, one for all that share the backbone."""
        return backbone_session(self.folder, self.info, self._device, 0)

    @property
    def providers(self) -> tuple[str, ...]:
        """What it runs on."""
        return self.session.providers

    def to(self, device: str) -> None:
        """Run on the device with this name of PyTorch: cpu, cuda, cuda:N; others as auto."""
        kind = device.partition(":")[0]
        self._device = kind if kind in ("cpu", "cuda") else "auto"

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run once on padded inputs."""
        return self.session.run(feeds)

    def copy_to(self, folder: Path) -> None:
        """Write its files into a new folder, as links where the disk is the same."""
        folder.mkdir()
        for name in BACKBONE_FILES:
            try:
                os.link(self.folder / name, folder / name)
            except OSError:
                shutil.copyfile(self.folder / name, folder / name)


class States:
    """The hidden states of windows, each computed once: a graph that remembers.

    They lie in float16 in a file without a name in `folder`, so memory does not grow with the
    data (but for 150 bytes or so a window) and nothing is left behind.
    """

    def __init__(self, backbone: Graph, folder: Path) -> None:
        self.signature = backbone.signature
        self.providers: tuple[str, ...] = getattr(backbone, "providers", ())
        self._backbone = backbone
        self._folder = folder
        self._inputs = [n for n in self.signature.input_names if n != "attention_mask"]
        self._widths = [int(port.dims[-1]) for port in self.signature.outputs]
        self._places: dict[bytes, int] = {}
        self._size = 0
        self._file: int | None = None
        self._lock = threading.Lock()

    def add(self, windows: Iterable[Window], threads: int = 0) -> None:
        """Compute the states of windows that are not known yet, on all cores."""
        with ThreadPoolExecutor(n_threads(threads)) as pool:
            for chunk in _chunks(windows, CHUNK_WINDOWS):
                unknown = {self._key_of(window): window for window in chunk}
                found = [window for key, window in unknown.items() if key not in self._places]
                lengths = [len(window.ids) for window in found]
                batches = [
                    pad_windows([found[i] for i in batch])
                    for batch in cut_batches(lengths, BATCH_TOKENS)
                ]
                for inputs, outputs in zip(
                    batches, pool.map(self._backbone.run, batches), strict=True
                ):
                    self._keep(self._keys(inputs), inputs, outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs for padded inputs, zero at the padding; unknown rows are computed."""
        keys = self._keys(feeds)
        missing = [row for row, key in enumerate(keys) if key not in self._places]
        if missing:
            inputs = {name: array[missing] for name, array in feeds.items()}
            self._keep([keys[row] for row in missing], inputs, self._backbone.run(inputs))
        n_rows, n_tokens = feeds["attention_mask"].shape
        width = sum(self._widths)
        states = np.zeros((n_rows, n_tokens, width), np.float32)  # (batch, seq, width)
        for row, n in enumerate(feeds["attention_mask"].sum(1).tolist()):
            states[row, :n] = self._read(self._places[keys[row]], n * width).reshape(n, width)
        parts = np.split(states, np.cumsum(self._widths)[:-1], axis=-1)
        return dict(zip(self.signature.output_names, parts, strict=True))

    def _keep(
        self,
        keys: Sequence[bytes],
        inputs: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, NDArray[Any]],
    ) -> None:
        states = np.concatenate([outputs[n] for n in self.signature.output_names], axis=-1)
        lengths = inputs["attention_mask"].sum(1).tolist()
        with self._lock:
            if self._file is None:
                self._file = self._open()
            for key, row, n in zip(keys, states.astype(np.float16), lengths, strict=True):
                if key not in self._places:
                    data = row[:n].tobytes()
                    os.pwrite(self._file, data, self._size)
                    self._places[key] = self._size
                    self._size += len(data)

    def _read(self, place: int, size: int) -> NDArray[np.float16]:
        assert self._file is not None
        return np.frombuffer(os.pread(self._file, 2 * size, place), np.float16)

    def _open(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        number, path = tempfile.mkstemp(prefix=".states.", dir=self._folder)
        os.unlink(path)
        weakref.finalize(self, os.close, number)
        return number

    def _key_of(self, window: Window) -> bytes:
        arrays = {"input_ids": window.ids, "shape_ids": window.shapes}
        return _digest([arrays[name] for name in self._inputs])

    def _keys(self, feeds: Mapping[str, NDArray[Any]]) -> list[bytes]:
        lengths = feeds["attention_mask"].sum(1).tolist()
        return [
            _digest([feeds[name][row, :n] for name in self._inputs])
            for row, n in enumerate(lengths)
        ]


def _digest(arrays: Sequence[NDArray[Any]]) -> bytes:
    return hashlib.blake2b(b"".join(a.tobytes() for a in arrays), digest_size=16).digest()


def _chunks(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    iterator = iter(windows)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def frozen_backbone(
    config: TrainConfig, texts: Sequence[Document]
) -> tuple[FrozenBackbone, TextEncoder]:
    """Return the backbone that `config.base` names, and its encoder of texts.

    It is that of a bundle (a name or folder) or of a checkpoint of the heads alone as it is; an
    encoder is exported, int8, with ranges fixed on some of the texts.

    Raises UsageError for settings that a backbone as it is contradicts.
    """
    folder = onnx_folder(config.base)
    backbone = _exported(config, texts) if folder is None else FrozenBackbone(folder)
    for problem in problems(backbone.folder, backbone.info.files):
        raise BundleError(problem, hint="export or install the model again")
    encoding = backbone.encoding
    for name, value in (
        ("max_tokens", encoding.max_tokens),
        ("language", encoding.language),
        ("shapes", encoding.has_shapes),
    ):
        wanted = getattr(config, name)
        if wanted not in (None, value):
            raise UsageError(
                f"{name}: the backbone of {config.base} has {value!r}, not {wanted!r}",
                hint=f"leave {name} out, or choose another base",
            )
    return backbone, TextEncoder.from_file(backbone.folder / "tokenizer.json", encoding)


def onnx_folder(base: str) -> Path | None:
    """Return the folder of the ONNX backbone that a base names; None where it names an encoder."""
    path = Path(base)
    if (path / "checkpoint.json").is_file():
        folder = path / "backbone"
        return folder if (folder / "backbone.json").is_file() else None
    if (path / "bundle.json").is_file() or (not path.exists() and "/" not in base):
        try:
            find_bundle(base)
        except BundleError:
            return None  # a name on the hub
        return load_encoder_bundle(base).backbone_folder
    return path if (path / "backbone.json").is_file() else None


def _exported(config: TrainConfig, texts: Sequence[Document]) -> FrozenBackbone:
    """Export the encoder that `config.base` names into a temporary folder."""
    from ..exporting import write_backbones
    from .backbone import quiet
    from .checkpoint import Checkpoint, CheckpointInfo, load_encoder

    backbone, encoder = load_encoder(config)
    info = CheckpointInfo(heads={}, encoding=encoder.encoding, base=config.base)
    work = Path(tempfile.mkdtemp(prefix="lmtool-"))
    try:
        with quiet():
            some = texts[:: max(len(texts) // CALIBRATION_TEXTS, 1)]
            write_backbones(Checkpoint(info, backbone, encoder, {}), work, "int8", {"": some})
        shutil.rmtree(work / "exact")
        final = FrozenBackbone(work / "final")
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    weakref.finalize(final, shutil.rmtree, work, ignore_errors=True)
    return final
