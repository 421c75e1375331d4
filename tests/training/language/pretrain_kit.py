"""A tiny text and a tiny run of pretraining, in a second or two.

As a script it pretrains with configurations one after the other, in one process or in several
(torchrun), and kills itself after a step where one is given:
python pretrain_kit.py CONFIG… [STEP]
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from lmtool.training.config import convert_config, read_toml
from lmtool.training.language.config import PretrainConfig
from lmtool.training.language.pretrain import prepare_pretraining

WORDS = "the a cat dog bird sees finds likes big small old red house tree river and or in".split()
SHAPE = {
    "vocab_size": 1, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2,
}  # fmt: skip
KINDS = {"causal": "llama", "masked": "bert"}


def sentences(n: int, seed: int = 0) -> list[str]:
    """Return sentences of words at random."""
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(4, 9))) + " ." for _ in range(n)]


def write_text(path: Path, n: int = 200, seed: int = 0) -> str:
    """Write a text of so many lines and return its path."""
    path.write_text("".join(f"{line}\n" for line in sentences(n, seed)), "utf-8")
    return str(path)


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the keys of a configuration that trains on `folder`/text.txt."""
    objective = changes.get("objective", "causal")
    size = folder / f"{objective}.json"
    more = {"tie_word_embeddings": True} if objective == "causal" else {}
    size.write_text(json.dumps({"model_type": KINDS[objective], **SHAPE, **more}), "utf-8")
    if not (folder / "text.txt").exists():
        write_text(folder / "text.txt")
    return {
        "data": [str(folder / "text.txt")], "out": str(folder / "run"), "size": str(size),
        "vocabulary": 300, "length": 16, "batch_tokens": 128, "dev_share": 0.1, "lr": 5e-3,
        "precision": "no", "device": "cpu", "threads": 1, "dropout": 0.0, **changes,
    }  # fmt: skip


def config(folder: Path, **changes: Any) -> PretrainConfig:
    """Return a configuration that trains on `folder`/text.txt."""
    return convert_config(PretrainConfig, values(folder, **changes))


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics without times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    times = ("seconds", "tokens_per_second")
    return [{k: v for k, v in line.items() if k not in times} for line in lines]


def weights(run: Path) -> dict[str, bytes]:
    """Return the bytes of all tensors that a run left."""
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*.safetensors"))}


def main(arguments: list[str]) -> None:
    """Pretrain with each configuration, and print each step."""
    stop = int(arguments.pop()) if arguments[-1].isdigit() else 0
    for name in arguments:
        run = prepare_pretraining(convert_config(PretrainConfig, read_toml(Path(name))))
        for step in run.train():
            if run.is_main:
                print(json.dumps([step.number, step.loss, step.scores]), flush=True)
            if step.number == stop:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
