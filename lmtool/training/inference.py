"""A checkpoint as a model: PyTorch modules behind the interface of sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from ..errors import UsageError
from ..models import BATCH_TOKENS, Model
from ..sessions import n_threads
from ..tasks import make_options
from .frozen import FrozenBackbone

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..signature import Signature
    from ..tasks import EncoderTask, Graph
    from .checkpoint import Checkpoint, CheckpointInfo, Head


class TorchGraph:
    """A module with a signature that runs on numpy arrays, in float32 and without gradients."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.signature: Signature = module.signature  # type: ignore[assignment]

    @property
    def providers(self) -> tuple[str, ...]:
        """What it runs on."""
        return (f"PyTorch on {self._device}",)

    @property
    def _device(self) -> torch.device:
        return next(self.module.parameters()).device

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run once in evaluation mode; the module's mode is left as it was."""
        was_training = self.module.training
        self.module.eval()
        with torch.no_grad():
            outputs = self.module(
                **{
                    name: torch.from_numpy(feeds[name]).to(self._device)
                    for name in self.signature.input_names
                }
            )
        self.module.train(was_training)
        return {name: value.float().cpu().numpy() for name, value in outputs.items()}


def model_from_checkpoint(
    checkpoint: Checkpoint,
    options: Mapping[str, Any] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    *,
    states: Graph | None = None,
    head: Head | None = None,
    device: str = "",
    threads: int = 0,
) -> Model:
    """Return a model that runs the checkpoint's modules, also while they are being trained.

    `head` is one of the checkpoint's, by default the only one. `device` moves them: auto (CUDA
    where there is one), cpu, cuda, or what torch takes; by default they stay where they are.
    `threads` (0: as it is) sets torch's own.
    """
    head = head or checkpoint.head()
    task = head.task
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device:
        try:
            checkpoint.backbone.to(device)
            head.module.to(device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"device {device}: PyTorch cannot use it: {error}") from error
    if threads:
        torch.set_num_threads(threads)
    backbone = checkpoint.backbone
    is_frozen = isinstance(backbone, FrozenBackbone)
    return Model(
        task,
        checkpoint.encoder,
        states or (backbone if isinstance(backbone, FrozenBackbone) else TorchGraph(backbone)),
        {name: TorchGraph(module) for name, module in task.graphs(head.module).items()},
        name=_identity(checkpoint.info, task),
        options=make_options(task.Options, options or {}, head.options),
        batch_tokens=batch_tokens,
        threads=n_threads(threads) if is_frozen and device else 1,
    )


def _identity(info: CheckpointInfo, task: EncoderTask) -> str:
    """Return a name that another checkpoint does not have; before it is saved, by its scores."""
    digest = hashlib.sha256(msgspec.json.encode([info.files, info.step, info.metrics, task.labels]))
    return f"checkpoint {task.name} {digest.hexdigest()[:16]}"
