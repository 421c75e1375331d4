"""What changes while training: weights, optimizer, random states and progress."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from ..errors import BundleError, LmtoolError, PluginError, UsageError
from ..sessions import n_threads
from ..signature import Signature
from .backbone import Backbone
from .batches import Batch, Example, pad
from .config import TrainConfig
from .frozen import FrozenBackbone, States
from .language.config import LoopConfig
from .lora import adapters


class Progress(msgspec.Struct, kw_only=True):
    """How far a run is: what a resumed one goes on from."""

    step: int = 0
    """Steps done."""
    epoch: int = 0
    """The epoch of the next step, from 0."""
    group: int = 0
    """The next step's place in its epoch."""
    best: float | None = None
    """The best main metric so far."""
    stale: int = 0
    """Evaluations since the best one."""
    n_losses: int = 0
    """Steps since the last evaluation, those whose losses are summed up."""
    seconds: float = 0.0
    """Time that the run has taken, over all its parts."""

    def advance(self, n_groups: int) -> None:
        """Count a step in an epoch of so many."""
        self.step += 1
        self.n_losses += 1
        self.group += 1
        if self.group == n_groups:
            self.epoch, self.group = self.epoch + 1, 0

    def judge(self, score: float) -> bool:
        """Take in the score of an evaluation and return whether it is the best so far."""
        if self.best is not None and score <= self.best:
            self.stale += 1
            return False
        self.best, self.stale = score, 0
        return True

    def is_stale(self, patience: int) -> bool:
        """Whether so many evaluations have brought no gain; never when patience is 0."""
        return 0 < patience <= self.stale


class StateRecord(msgspec.Struct, kw_only=True):
    """state.json: the part of a learner's state that is no tensor."""

    progress: Progress
    numpy_rest: tuple[int, int, float]
    """Position, whether there is a cached normal number, and that number."""
    python_gauss: float | None
    threads: int
    scaler: dict[str, float] | None = None


RunConfig: TypeAlias = TrainConfig | LoopConfig
State: TypeAlias = tuple[dict[str, Tensor], StateRecord]
"""What a resumed run needs beside the weights, as tensors and a record."""
T = TypeVar("T")


class Network(nn.Module):
    """Backbone and heads with the loss behind them: one forward, so that DDP sees all of it."""

    def __init__(self, backbone: Backbone | FrozenBackbone, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.backbone = backbone if isinstance(backbone, Backbone) else None
        self._names = list(heads)
        self.heads = nn.ModuleList(heads.values())  # a ModuleDict refuses names such as "a.b"
        self._backbone_inputs = backbone.signature.input_names
        self._head_inputs = [signature_of(head).input_names for head in self.heads]

    def forward(self, name: str, inputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the loss of a head, a scalar in float32.

        `inputs` are those of the backbone or, where it is frozen, its outputs and the mask.
        """
        number = self._names.index(name)
        head: Any = self.heads[number]
        states = inputs
        if self.backbone is not None:
            states = self.backbone(**{key: inputs[key] for key in self._backbone_inputs})
        given = {**targets, "attention_mask": inputs["attention_mask"], **states}
        outputs = head(**{key: given[key] for key in self._head_inputs[number] if key in given})
        with torch.autocast(inputs["attention_mask"].device.type, enabled=False):
            outputs = {k: v.float() if v.is_floating_point() else v for k, v in outputs.items()}
            loss: Tensor = head.loss(outputs, targets)
        return loss


def signature_of(module: Any) -> Signature:
    """Return the signature of a head or backbone; PluginError when it has none."""
    signature = getattr(module, "signature", None)
    if not isinstance(signature, Signature):
        raise PluginError(
            f"{type(module).__name__} has no signature",
            hint="build_head returns a module with the attribute signature (lmtool.Signature)",
        )
    return signature


class Learner:
    """A network that learns: one call of `step` per group of batches.

    `progress` is kept by the loop; `state` and `restore` take it along.
    """

    def __init__(
        self,
        backbone: Backbone | FrozenBackbone,
        heads: Mapping[str, nn.Module],
        config: TrainConfig,
        states: States | None = None,
    ) -> None:
        self.backbone = backbone
        self._states = states
        self.config = config
        self.progress = Progress()
        torch.set_num_threads(n_threads(config.threads))
        self.accelerator = make_accelerator(config)
        self._optimizer = make_optimizer(backbone, heads.values(), config)
        self._network, self._prepared = self.accelerator.prepare(
            Network(backbone, heads), self._optimizer
        )
        self._network.train()
        self.loss_sum = torch.zeros((), device=self.accelerator.device)
        seed_all(config.seed + self.accelerator.process_index)

    def groups(self, batches: Sequence[list[Example]]) -> list[list[list[Example]]]:
        """Return the batches of each step of an epoch: those of this process.

        The last group may be smaller; with several processes it is filled up with batches from
        the start, so that all have as many.
        """
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = self.config.accumulate * world
        groups = [list(batches[i : i + size]) for i in range(0, len(batches), size)]
        for group in groups:
            group += itertools.islice(itertools.cycle(batches), -len(group) % world)
        return [group[rank::world] for group in groups]

    def pad(self, examples: Sequence[Example]) -> Batch:
        """Pad a batch; where the backbone is frozen, its hidden states take its inputs' place."""
        batch = pad(examples)
        if self._states is None:
            return batch
        hidden = self._states.run({name: t.numpy() for name, t in batch.inputs.items()})
        inputs = {name: torch.from_numpy(array) for name, array in hidden.items()}
        return batch._replace(inputs={**inputs, "attention_mask": batch.inputs["attention_mask"]})

    def step(self, batches: Sequence[Batch], rate: float) -> None:
        """Take one step on a group of batches, with the learning rates times `rate`."""
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
        for index, batch in enumerate(batches):
            is_last = index == len(batches) - 1
            sync = contextlib.nullcontext() if is_last else self.accelerator.no_sync(self._network)
            with sync:
                inputs, targets = self._move(batch.inputs), self._move(batch.targets)
                loss = self._network(batch.head, inputs, targets)
                loss = loss / len(batches)
                self.accelerator.backward(loss)
            self.loss_sum += loss.detach()
        if self.config.clip:
            trained = [p for p in self._network.parameters() if p.requires_grad]
            self.accelerator.clip_grad_norm_(trained, self.config.clip)
        self._prepared.step()
        self._prepared.zero_grad()

    def _move(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        device = self.accelerator.device
        if device.type == "cuda":
            return {k: v.pin_memory().to(device, non_blocking=True) for k, v in tensors.items()}
        return {k: v.to(device) for k, v in tensors.items()}

    def state(self) -> State:
        """Return what a resumed run needs beside the weights."""
        tensors, record = state_of(self._optimizer, self.accelerator, self.progress)
        tensors["loss_sum"] = self.loss_sum.cpu()
        if isinstance(self.backbone, Backbone):
            tensors |= {name: t.cpu() for name, t in adapters(self.backbone.encoder).items()}
        return tensors, record

    def restore(self, tensors: dict[str, Tensor], record: StateRecord) -> None:
        """Go on from a state; BundleError when it is not one of this optimizer and network."""
        restore_state(self._optimizer, self.accelerator, tensors, record, self.config)
        self.loss_sum = tensors["loss_sum"].to(self.accelerator.device)
        self.progress = msgspec.structs.replace(record.progress)


def state_of(optimizer: Any, accelerator: Accelerator, progress: Progress) -> State:
    """Return the state of an optimizer and of all that is random."""
    tensors = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).cpu().contiguous()
    _, keys, *numpy_rest = np.random.get_state(legacy=True)
    _, python_keys, gauss = random.getstate()
    tensors["rng.torch"] = torch.get_rng_state()
    tensors["rng.numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    tensors["rng.python"] = torch.tensor(python_keys)
    if torch.cuda.is_available():
        for index, tensor in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"rng.cuda.{index}"] = tensor
    scaler = accelerator.scaler
    record = StateRecord(
        progress=msgspec.structs.replace(progress),
        numpy_rest=tuple(numpy_rest),  # type: ignore[arg-type]
        python_gauss=gauss,
        threads=torch.get_num_threads(),
        scaler=scaler.state_dict() if scaler is not None else None,
    )
    return tensors, record


def restore_state(
    optimizer: Any,
    accelerator: Accelerator,
    tensors: dict[str, Tensor],
    record: StateRecord,
    config: RunConfig,
) -> None:
    """Take over what `state_of` gave; BundleError when it does not fit the optimizer."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".")
            states.setdefault(int(number), {})[name] = tensor
    try:
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": states, "param_groups": groups})
        torch.set_rng_state(tensors["rng.torch"])
        keys = tensors["rng.numpy"].numpy().astype(np.uint32)
        np.random.set_state(("MT19937", keys, *record.numpy_rest))
        python_keys = tuple(tensors["rng.python"].tolist())
        random.setstate((3, python_keys, record.python_gauss))
        if torch.cuda.is_available():
            for index in range(torch.cuda.device_count()):
                if (state := tensors.get(f"rng.cuda.{index}")) is not None:
                    torch.cuda.set_rng_state(state, index)
    except (KeyError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"the saved state does not fit: {error}", hint="start the training anew"
        ) from error
    if accelerator.scaler is not None and record.scaler is not None:
        accelerator.scaler.load_state_dict(record.scaler)
    if not config.threads:
        torch.set_num_threads(record.threads)  # sums in another order would differ
    if accelerator.process_index:
        seed_all(hash((config.seed, accelerator.process_index, record.progress.step)))


def make_optimizer(
    backbone: Backbone | FrozenBackbone, heads: Iterable[nn.Module], config: TrainConfig
) -> Any:
    """Return the optimizer, with one rate for the encoder and one for what is new.

    New are the heads and the embedding of case shapes. Tensors with fewer than two axes
    (biases, norms) have no weight decay.
    """
    new = [parameter for head in heads for parameter in head.parameters()]
    old: list[nn.Parameter] = []
    if isinstance(backbone, Backbone):
        old = list(backbone.encoder.parameters())
        if backbone.shape_embedding is not None:
            new += [p for p in backbone.shape_embedding.parameters() if p.requires_grad]
    groups = []
    for trained, lr in ((old, config.lr), (new, config.head_lr)):
        parameters = [p for p in trained if p.requires_grad]
        for is_matrix in (True, False):
            groups.append(
                {
                    "params": [p for p in parameters if (p.ndim >= 2) is is_matrix],
                    "lr": lr,
                    "initial_lr": lr,
                    "weight_decay": config.weight_decay if is_matrix else 0.0,
                }
            )
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, fused=True)
    if config.optimizer == "adafactor":
        return torch.optim.Adafactor(groups)
    return torch.optim.AdamW(groups, fused=True)


def rate(step: int, n_steps: int, config: RunConfig) -> float:
    """Return what the learning rates are multiplied with at a step, counted from 0."""
    n_warmup = math.ceil(config.warmup * n_steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    if config.decay == "constant":
        return 1.0
    done = (step - n_warmup) / max(n_steps - n_warmup, 1)
    return 1 - done if config.decay == "linear" else 0.5 * (1 + math.cos(math.pi * done))


def choose_precision(precision: str, device: torch.device) -> str:
    """Return "no", "bf16" or "fp16"; auto is bf16 where the hardware multiplies it faster."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    if device.type == "cpu":
        has_bf16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return "bf16" if has_bf16 else "no"
    return "no"


def make_accelerator(config: RunConfig, *, finds_unused: bool = True) -> Accelerator:
    """Return the accelerator for a device and precision; UsageError when it cannot be had.

    `finds_unused` is for networks of which a step may use a part only.
    """
    state = join_processes(config)
    is_cpu = state.device.type == "cpu"
    precision = choose_precision(config.precision, state.device)
    if precision == "fp16" and state.device.type == "cpu":
        raise UsageError("precision: fp16 needs a GPU", hint="choose bf16, auto or no")
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=finds_unused)]
    return Accelerator(cpu=is_cpu, mixed_precision=precision, kwargs_handlers=handlers)


def join_processes(config: RunConfig) -> PartialState:
    """Return this process's place among those of the run; UsageError for a missing device."""
    kind, colon, number = config.device.partition(":")
    is_there = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if kind not in is_there or (colon and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(
            f"device: {config.device!r} is unknown", hint="choose auto, cpu, cuda, cuda:N or mps"
        )
    if not is_there[kind]:
        raise UsageError(
            f"device: this PyTorch ({torch.__version__}) has no {kind}",
            hint="install PyTorch for it, or choose --device cpu",
        )
    if number:
        if int(number) >= torch.cuda.device_count():
            raise UsageError(
                f"device: PyTorch sees no {config.device}",
                hint=f"the last one is cuda:{torch.cuda.device_count() - 1}",
            )
        torch.cuda.set_device(int(number))
    if PartialState._shared_state and PartialState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)  # of an earlier run
    has_gpu = is_there["cuda"] or is_there["mps"]
    return PartialState(cpu=kind == "cpu" or not has_gpu)  # told, it joins processes on CPUs too


def from_main(processes: Accelerator | PartialState, work: Callable[[], T]) -> T:
    """Return what `work` gives in the main process, or raise its error, in every process."""
    if processes.num_processes == 1:
        return work()
    found: list[Any] = [None, None]
    if processes.is_main_process:
        try:
            found[0] = work()
        except LmtoolError as error:
            found[1] = error
    result, failure = broadcast_object_list(found)
    if failure is not None:
        raise failure
    return result  # type: ignore[no-any-return]


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and PyTorch."""
    seed %= 2**32
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Let a GPU choose the algorithms that give the same bits each time; a CPU does anyway."""
    if device.type != "cuda":
        yield
        return
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]
