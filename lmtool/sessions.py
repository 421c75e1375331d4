"""Sessions: graphs that run, on ONNX Runtime or on an engine that a plugin brings."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .errors import BundleError, UsageError
from .signature import Signature
from .tasks import Graph

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

log = logging.getLogger("lmtool")

PROVIDERS_BY_DEVICE = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}


@dataclass(frozen=True, slots=True)
class GraphFile:
    """An ONNX file with its signature."""

    path: Path
    signature: Signature


class Session(Graph, Protocol):
    """A loaded graph that says what it really runs on."""

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of what it runs on, best first."""


class OnnxSession:
    """A graph in ONNX Runtime; on a CPU one run takes one thread.

    Runs in several threads at once are faster than one run on several cores (docs/graphs.md).
    """

    def __init__(self, graph: GraphFile, device: str = "auto") -> None:
        self.signature = graph.signature
        self._inputs = graph.signature.input_names
        self._outputs = graph.signature.output_names
        self._session = _open(graph.path, device)
        self.providers = tuple(self._session.get_providers())

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run once on arrays whose dims fit the signature."""
        outputs = self._session.run(self._outputs, {name: feeds[name] for name in self._inputs})
        return dict(zip(self._outputs, outputs, strict=True))


def n_threads(threads: int = 0) -> int:
    """Return the number of threads to use: the given one, or all cores of this process for 0."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    return threads or (len(affinity(0)) if affinity else os.cpu_count() or 1)


def open_session(graph: GraphFile, device: str = "auto", threads: int = 0) -> Session:
    """Open a graph on a device: auto (CUDA where it works, else CPU), cpu, cuda, or a plugin's.

    Raises UsageError when a device that was asked for by name cannot be had, and BundleError
    when the graph cannot be loaded. `threads` (0: all cores) is for engines of plugins.
    """
    if device in ("auto", *PROVIDERS_BY_DEVICE):
        return OnnxSession(graph, device)
    from .plugins import registry

    registry().load_all()
    session: Session | None = registry().first(
        "lmtool_resolve_session", graph=graph, device=device, threads=n_threads(threads)
    )
    if session is None:
        raise UsageError(
            f"unknown device {device!r}",
            hint="devices are auto, cpu, cuda, and those that plugins bring (see lmtool plugins)",
        )
    return session


def _open(path: Path, device: str) -> onnxruntime.InferenceSession:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    has_cuda = "CUDAExecutionProvider" in available
    if device == "cuda" and not has_cuda:
        raise UsageError(
            f"device cuda: this ONNX Runtime has no CUDA provider (it has: {', '.join(available)})",
            hint="lmtool doctor tells how to install the ONNX Runtime for CUDA",
        )
    wanted = PROVIDERS_BY_DEVICE["cuda" if has_cuda and device != "cpu" else "cpu"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # one is kept for every shape of a batch, for no speed
    options.log_severity_level = 3
    if "CUDAExecutionProvider" not in wanted:
        # Exported graphs have their fastest form on a CPU already (docs/graphs.md).
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:
        raise BundleError(
            f"{path}: ONNX Runtime cannot load it: {error}",
            hint="lmtool models verify checks the files of a bundle",
        ) from error
    obtained = session.get_providers()
    if obtained[0] != wanted[0]:
        if device == "cuda":
            raise UsageError(
                f"device cuda: asked for {wanted[0]}, obtained {', '.join(obtained)}",
                hint="lmtool doctor shows which CUDA library is missing",
            )
        log.warning("asked for %s, running on %s", wanted[0], obtained[0])
    return session
