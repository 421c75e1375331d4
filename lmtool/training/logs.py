"""What a run writes beside its checkpoints: metrics.jsonl, and TensorBoard's where it is there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from .loop import Step

_LEFT_OUT = ("errors", "confusion")
"""Keys of a score that are long and of no use over time."""


def plain_scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a score is kept, as plain data; NumPy's numbers become Python's."""
    kept = {key: value for key, value in scores.items() if key not in _LEFT_OUT}
    plain: dict[str, Any] = msgspec.to_builtins(kept, str_keys=True, enc_hook=_plain)
    return plain


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


class Logs:
    """The logs of a run folder. On resume, what was logged after `step` is taken back."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "metrics.jsonl"
        _truncate(self.path, step)
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, step: Step) -> None:
        """Log a step: loss, rate and speed to TensorBoard, a line per evaluation to the file."""
        if self._board is not None:
            self._add_to_board(step)
        if step.scores is None:
            return
        line = {
            "step": step.number,
            "epoch": step.epoch,
            "loss": step.loss,
            "lr": step.lr,
            "scores": plain_scores(step.scores),
            "is_best": step.is_best,
            "seconds": round(step.seconds, 1),
            "tokens_per_second": round(step.tokens_per_second),
        }
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Write what TensorBoard still holds back."""
        if self._board is not None:
            self._board.close()

    def _add_to_board(self, step: Step) -> None:
        if step.number % 10 == 0 or step.scores is not None:
            self._board.add_scalar("train/loss", step.loss, step.number)
            self._board.add_scalar("train/lr", step.lr, step.number)
            self._board.add_scalar("train/tokens_per_second", step.tokens_per_second, step.number)
        for name, value in _numbers(plain_scores(step.scores or {})):
            self._board.add_scalar(f"dev/{name}", value, step.number)


def _numbers(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in scores.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")


def _truncate(path: Path, step: int) -> None:
    """Keep the whole lines up to this step."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if not line.endswith(b"\n") or msgspec.json.decode(line)["step"] > step:
                break
        except msgspec.DecodeError:
            break
        kept.append(line)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(b"".join(kept))
    new.replace(path)
