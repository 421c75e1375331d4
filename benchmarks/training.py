"""Speed of training: lmtool's loop against transformers.Trainer at its defaults, in one run.

    python benchmarks/training.py --base ENCODER --data DATA.jsonl [--data MORE.jsonl]

Both train the same encoder with a token classification head on the same windows of the same
documents, in the same precision. Trainer has batches of 8 in random order (its default), padded
by transformers' collator; lmtool has its default of 2,048 padded tokens. What counts is real
tokens per second, padding left out. The two take turns, so that another load on the machine meets
both. Exit code 1 when lmtool is less than --gate times as fast.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from lmtool_extract.task import ExtractTask
from machine import describe

from lmtool.sessions import n_threads
from lmtool.training.backbone import load_backbone, load_tokenizer, quiet
from lmtool.training.batches import Examples, Source
from lmtool.training.config import TrainConfig, make_config
from lmtool.training.data import read_data
from lmtool.training.learner import Learner
from lmtool.training.loop import fit
from lmtool.windows import Encoding, TextEncoder

WARM_UP_STEPS = 2
IGNORED = -100


class Speed(NamedTuple):
    """What was timed, after the steps that warm up."""

    tokens: int
    padded: int
    seconds: float
    cpu_seconds: float
    """Of all threads of this process: what another load on the machine does not change."""

    def __add__(self, other: Any) -> Speed:
        return Speed(*(a + b for a, b in zip(self, other, strict=True)))

    def __str__(self) -> str:
        return (
            f"{self.tokens / self.seconds:8,.0f} tokens/s "
            f"{self.tokens / self.cpu_seconds:8,.0f} tokens/CPU-s "
            f"{self.padded / self.tokens:6.2f} padded per real token"
        )


def main() -> int:
    """Run the rounds, print a table, and return the exit code."""
    options = parse()
    torch.set_num_threads(n_threads(options.threads))
    print(machine())
    config = make_config(
        {
            "task": "extract", "base": options.base, "data": options.data, "out": "unused",
            "dev_share": 0.0, "epochs": 100, "threads": options.threads,
        }
    )  # fmt: skip
    task, examples = read_examples(config)
    print(f"{len(examples):,} windows, {examples.n_tokens:,} tokens in {', '.join(options.data)}")
    slowest = float("inf")
    for precision in options.precision.split(","):
        total = {"transformers.Trainer": Speed(0, 0, 0, 0), "lmtool": Speed(0, 0, 0, 0)}
        for _ in range(options.rounds):
            for name, run in (("transformers.Trainer", run_trainer), ("lmtool", run_lmtool)):
                total[name] += run(config, task, examples, precision, options.seconds)
        for name, speed in total.items():
            print(f"{precision:<5}{name:<22}{speed}")
        theirs, ours = total.values()
        ratio = (ours.tokens / ours.seconds) / (theirs.tokens / theirs.seconds)
        by_cpu = (ours.tokens / ours.cpu_seconds) / (theirs.tokens / theirs.cpu_seconds)
        print(f"{precision:<5}lmtool is {ratio:.2f} times as fast ({by_cpu:.2f} by CPU time)")
        slowest = min(slowest, ratio)
    return 0 if slowest >= options.gate else 1


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", required=True, help="folder of a Hugging Face encoder")
    parser.add_argument("--data", required=True, action="append", help="documents with entities")
    parser.add_argument("--precision", default="no,bf16", help="of no, bf16, fp16")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15, help="of each, in each round")
    parser.add_argument("--gate", type=float, default=1.3, help="least ratio")
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


def machine() -> str:
    """Return what the figures depend on beside the code: processor, threads, GPU, versions."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    threads = f"{torch.get_num_threads()} threads of PyTorch"
    return f"{describe('torch', 'transformers', 'accelerate')}; {threads}{gpu}"


def read_examples(config: TrainConfig) -> tuple[ExtractTask, Examples]:
    """Return the task and the windows with targets that both train on."""
    documents = read_data(config).parts[0].train
    task = ExtractTask(ExtractTask.collect_labels(documents))
    encoder = TextEncoder(load_tokenizer(config.base), Encoding())
    return task, Examples([Source(task, documents)], encoder)


def run_lmtool(
    config: TrainConfig, task: ExtractTask, examples: Examples, precision: str, seconds: float
) -> Speed:
    """Train with lmtool's loop for some seconds."""
    config = make_config({**vars_of(config), "precision": precision})
    backbone = load_backbone(config.base)
    learner = Learner(backbone, {"": task.build_head(backbone.hidden_size)}, config)
    batches = examples.batches(0, config.batch_tokens)
    clock = Clock(seconds, lambda i: [e.n_tokens for e in batches[i % len(batches)]])
    for _ in fit(learner, examples, 1_000_000, None, task.main_metric):
        if clock.tick():
            break
    return clock.speed


def run_trainer(
    config: TrainConfig, task: ExtractTask, examples: Examples, precision: str, seconds: float
) -> Speed:
    """Train with transformers.Trainer, all at its defaults, for some seconds."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=load_tokenizer(config.base), pad_token="[PAD]"
    )
    tokenizer.backend_tokenizer.no_padding()
    pad = transformers.DataCollatorForTokenClassification(tokenizer)
    lengths: list[list[int]] = []

    def collate(rows: list[dict[str, Any]]) -> Any:
        lengths.append([len(row["input_ids"]) for row in rows])
        return pad(rows)

    clock = Clock(seconds, lambda i: lengths[i])

    class Stop(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = clock.tick()

    with quiet(), warnings.catch_warnings(action="ignore"), tempfile.TemporaryDirectory() as folder:
        n_tags = 1 + 2 * len(task.labels["entities"])
        arguments = transformers.TrainingArguments(
            output_dir=folder, disable_tqdm=True, report_to="none", num_train_epochs=100,
            bf16=precision == "bf16", fp16=precision == "fp16",
            use_cpu=not torch.cuda.is_available(),
        )  # fmt: skip
        trainer = transformers.Trainer(
            model=transformers.AutoModelForTokenClassification.from_pretrained(
                config.base, num_labels=n_tags, dtype=torch.float32
            ),
            args=arguments,
            train_dataset=[row(example) for example in examples.epoch(0)],
            data_collator=collate,
            callbacks=[Stop()],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return clock.speed


def row(example: Any) -> dict[str, Any]:
    """Return an example as Trainer takes it: the one allowed tag of a token as its label."""
    allowed = example.targets["allowed"]
    labels = np.where(allowed.sum(-1) == 1, allowed.argmax(-1), IGNORED)
    return {
        "input_ids": example.window.ids.tolist(),
        "attention_mask": [1] * example.n_tokens,
        "labels": labels.tolist(),
    }


class Clock:
    """Counts the tokens of steps, from the end of the warm-up to the end of the time."""

    def __init__(self, seconds: float, lengths: Callable[[int], list[int]]) -> None:
        self.speed = Speed(0, 0, 0, 0)
        self._seconds = seconds
        self._lengths = lengths
        self._step = 0
        self._started = self._cpu_started = 0.0

    def tick(self) -> bool:
        """Count a step that has ended; true when the time is over."""
        self._step += 1
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._step <= WARM_UP_STEPS:
            self._started, self._cpu_started = now, time.process_time()
            return False
        lengths = self._lengths(self._step - 1)
        padded = len(lengths) * max(lengths)
        self.speed = Speed(
            self.speed.tokens + sum(lengths),
            self.speed.padded + padded,
            now - self._started,
            time.process_time() - self._cpu_started,
        )
        return self.speed.seconds >= self._seconds


def vars_of(config: TrainConfig) -> dict[str, Any]:
    """Return the fields of a configuration."""
    return {name: getattr(config, name) for name in config.__slots__}


if __name__ == "__main__":
    sys.exit(main())
