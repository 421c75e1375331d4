"""Speed of pretraining: lmtool's loop beside transformers.Trainer, in one run.

    python benchmarks/pretraining.py [--size small] [--objective causal] [--precision no,bf16]

Both train the same new model on the same rows of the same tokens, in the same precision, with as
many tokens in a step and at once; Trainer is at its defaults otherwise. Tokens are random: the
work does not depend on them. The two take turns, so that another load on the machine meets both.
Exit code 1 when lmtool is less than --gate times as fast.

With a GPU, model FLOPs utilisation follows: lmtool alone with decoders of 30 and 124 million
parameters, compiled, in bf16. A token costs 6 N + 6 L T H floating point operations for N
parameters (the embedding counted once, as its matrix makes the logits), L layers, H hidden and
rows of T tokens, of which causal attention sees half; the peak is that of dense bf16 matrices
(--peak, in TFLOP/s, where the GPU is none of the table's).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from machine import Target, describe, judge
from numpy.typing import NDArray

from lmtool.sessions import n_threads
from lmtool.training.backbone import quiet
from lmtool.training.language.config import SIZES, PretrainConfig, model_config
from lmtool.training.language.loop import LanguageLearner
from lmtool.training.language.rows import CausalRows, MaskedRows

WARM_UP_STEPS = 2
N_TOKENS = 1 << 20
PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L4": 121.0, "4090": 165.0}
"""TFLOP/s of dense bf16 matrices, as the vendor gives them."""
SHAPES = {
    "30 M": {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
             "intermediate_size": 1408},
    "124 M": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
              "intermediate_size": 2048},
}  # fmt: skip
VOCABULARIES = {"30 M": 8192, "124 M": 50304}


class Speed(NamedTuple):
    """What was timed, after the steps that warm up."""

    tokens: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of all threads of this process: what another load on the machine does not change."""

    def __add__(self, other: Any) -> Speed:
        return Speed(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    @property
    def cpu_rate(self) -> float:
        return self.tokens / self.cpu_seconds


class Clock:
    """Times steps of so many tokens, from the end of the warm-up to the end of the time."""

    def __init__(self, seconds: float, tokens: int) -> None:
        self.speed = Speed()
        self._seconds, self._tokens = seconds, tokens
        self._step = 0
        self._started = self._cpu_started = 0.0

    def tick(self) -> bool:
        """Count a step that has ended; true when the time is over."""
        self._step += 1
        if self._step <= WARM_UP_STEPS or self._step % 10 == 0:
            synchronize()  # not each step: a GPU works ahead
        now = time.perf_counter()
        if self._step <= WARM_UP_STEPS:
            self._started, self._cpu_started = now, time.process_time()
            return False
        if now - self._started < self._seconds:
            return False
        synchronize()
        tokens = (self._step - WARM_UP_STEPS) * self._tokens
        spent = time.perf_counter() - self._started
        self.speed = Speed(tokens, spent, time.process_time() - self._cpu_started)
        return True


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> int:
    options = parse()
    torch.set_num_threads(n_threads(options.threads))
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    print(describe("torch", "transformers", "accelerate"))
    print(f"{torch.get_num_threads()} threads of PyTorch{gpu}")
    targets = [compare(options, precision) for precision in options.precision.split(",")]
    if torch.cuda.is_available():
        targets += [utilisation(options, name) for name in SHAPES]
    else:
        print("no GPU that PyTorch can use: no utilisation")
    return judge(targets)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="small", choices=list(SIZES))
    parser.add_argument("--objective", default="causal", choices=["causal", "masked"])
    parser.add_argument("--precision", default="no,bf16", help="of no, bf16, fp16")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each, in each round")
    parser.add_argument("--gate", type=float, default=1.0, help="least ratio")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="compile both")
    parser.add_argument("--peak", type=float, default=0, help="TFLOP/s of the GPU in bf16")
    return parser.parse_args()


def compare(options: argparse.Namespace, precision: str) -> Target:
    """Let both train in turns, print their speeds, and return the ratio beside the gate."""
    runs = {"transformers.Trainer": run_trainer, "lmtool": run_lmtool}
    total = dict.fromkeys(runs, Speed())
    for _ in range(options.rounds):
        for name, run in runs.items():
            total[name] += run(options, precision)
    for name, speed in total.items():
        print(
            f"{options.objective} {options.size} {precision:<5}{name:<21}"
            f"{speed.rate:9,.0f} tokens/s {speed.cpu_rate:9,.0f} tokens/CPU-s"
        )
    theirs, ours = total.values()
    by_cpu = ours.cpu_rate / theirs.cpu_rate
    print(f"lmtool is {ours.rate / theirs.rate:.2f} times as fast ({by_cpu:.2f} by CPU time)")
    name = f"{options.objective} {options.size} {precision}: lmtool to Trainer"
    return Target(name, ours.rate / theirs.rate, options.gate, is_least=True)


def run_lmtool(options: argparse.Namespace, precision: str) -> Speed:
    """Train with lmtool's loop for some seconds."""
    config = make_config(options, precision)
    learner = LanguageLearner(make_model(config), config, is_causal=config.objective == "causal")
    rows = make_rows(config)
    return train(learner, rows, options.seconds, config)


def train(learner: LanguageLearner, rows: Any, seconds: float, config: PretrainConfig) -> Speed:
    clock = Clock(seconds, config.batch_tokens // row_length(config) * row_length(config))
    step = 0
    while True:
        learner.step(rows.batch(step), 1.0)
        if learner.device.type == "cpu" or step % 10 == 0:
            float(learner.loss_sum)  # as the run reads it
        step += 1
        if clock.tick():
            return clock.speed


def run_trainer(options: argparse.Namespace, precision: str) -> Speed:
    """Train with transformers.Trainer for some seconds."""
    config = make_config(options, precision)
    rows = make_rows(config)
    n_rows = config.batch_tokens // row_length(config)
    at_once = min(n_rows, tokens_at_once() // row_length(config))
    clock = Clock(options.seconds, n_rows * row_length(config))

    class Stop(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = clock.tick()

    with quiet(), warnings.catch_warnings(action="ignore"), tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, disable_tqdm=True, report_to="none", max_steps=1_000_000,
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=-(-n_rows // at_once),
            bf16=precision == "bf16", fp16=precision == "fp16", torch_compile=options.compile,
            use_cpu=not torch.cuda.is_available(),
        )  # fmt: skip
        trainer = transformers.Trainer(
            model=make_model(config), args=arguments, train_dataset=examples(rows, config),
            callbacks=[Stop()],
        )  # fmt: skip
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return clock.speed


def examples(rows: CausalRows | MaskedRows, config: PretrainConfig) -> list[dict[str, Any]]:
    """Return rows as Trainer takes them: a causal model shifts the labels itself."""
    found = []
    for step in range(8):
        batch = rows.batch(step)
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
            wanted = ids if config.objective == "causal" else labels
            found.append({"input_ids": torch.tensor(ids), "labels": torch.tensor(wanted)})
    return found


def tokens_at_once() -> int:
    return 32768 if torch.cuda.is_available() else 8192


def make_config(options: argparse.Namespace, precision: str, **changes: Any) -> PretrainConfig:
    told = {
        "data": ("none",), "out": "none", "objective": options.objective, "size": options.size,
        "precision": precision, "length": options.length, "batch_tokens": options.batch_tokens,
        "threads": options.threads, "compile": options.compile,
    }  # fmt: skip
    return PretrainConfig(**{**told, **changes})


def row_length(config: PretrainConfig) -> int:
    assert config.length is not None
    return config.length


def make_model(config: PretrainConfig) -> Any:
    torch.manual_seed(0)
    ids = {"pad_token_id": 0, "eos_token_id": 0}
    vocabulary = SIZES[config.size].vocabulary
    shape = model_config(config, vocabulary, ids, row_length(config))
    kind: Any = transformers.AutoModelForCausalLM
    if config.objective == "masked":
        kind = transformers.AutoModelForMaskedLM
    return kind.from_config(shape, attn_implementation="sdpa").train()


class FewTokens:
    """What MaskedRows asks a tokenizer for."""

    mask_token_id, cls_token_id, sep_token_id = 4, 2, 3
    all_special_ids = (0, 1, 2, 3, 4)

    def __init__(self, n_tokens: int) -> None:
        self._n_tokens = n_tokens

    def __len__(self) -> int:
        return self._n_tokens


def make_rows(config: PretrainConfig, vocabulary: int = 0) -> CausalRows | MaskedRows:
    vocabulary = vocabulary or SIZES[config.size].vocabulary
    tokens: NDArray[Any] = np.random.default_rng(0).integers(5, vocabulary, N_TOKENS, np.uint16)
    length = row_length(config)
    n_rows = config.batch_tokens // length
    if config.objective == "causal":
        return CausalRows(tokens, length, n_rows)
    few = FewTokens(vocabulary)
    return MaskedRows(tokens, length, n_rows, tokenizer=few, share=config.mask_share)


def utilisation(options: argparse.Namespace, name: str) -> Target:
    """Return the model FLOPs utilisation of a decoder, compiled and in bf16, on the GPU."""
    shape = transformers.LlamaConfig(
        **SHAPES[name], vocab_size=VOCABULARIES[name], max_position_embeddings=1024,
        tie_word_embeddings=True, eos_token_id=0, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    config = make_config(
        options, "bf16", compile=True, length=1024, batch_tokens=131_072, objective="causal"
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(shape, attn_implementation="sdpa")
    learner = LanguageLearner(model.train(), config, is_causal=True)
    speed = train(learner, make_rows(config, VOCABULARIES[name]), options.seconds, config)
    n_weights = sum(p.numel() for p in model.parameters())
    width = shape.hidden_size * shape.num_hidden_layers
    flops = 6 * n_weights + 6 * width * row_length(config)
    peak = options.peak or next(
        (value for key, value in PEAKS.items() if key in torch.cuda.get_device_name()), 0.0
    )
    print(f"{name}: {n_weights:,} parameters, {speed.rate:,.0f} tokens/s, {flops:,} FLOP a token")
    share = 100 * speed.rate * flops / (peak * 1e12) if peak else float("nan")
    return Target(f"model FLOPs utilisation, {name}", share, 40, is_least=True, unit=" %")


if __name__ == "__main__":
    sys.exit(main())
