"""Decoding and prompt processing of lmtool beside onnxruntime-genai called directly, in one run.

    python benchmarks/decoding.py --bundle story-en --text FILE.txt
    python benchmarks/decoding.py --parts random

bundle  lmtool (`LanguageModel.stream` for one prompt, `complete` for several: from text to text)
        and genai (its generator alone: from tokens to tokens, made before the clock starts) on the
        same files, with the same threads, greedily, for prompts of --prompt-tokens tokens.
        Prompt processing is the time to the first token. Decoding is the time that --tokens more
        take: the time of all less that of one. The two take turns; ratios are medians over rounds.
random  the same for a Qwen2 of 0.5 billion parameters with random weights, in int4; then, one
        prompt at a time, transformers' generate on the same weights (fp32, and bf16 where the
        processor has it: the faster one counts) and CTranslate2 in int8 where it is installed.
        Such a model says nothing, but each of its tokens costs what one of a trained model costs.
batch   --prompts prompts of 4 to 48 tokens with --batch-tokens tokens each: all by one command
        (`lmtool generate --from`), and by a command for each (twenty of them, the time scaled up);
        the same inside a process, in one `complete` and one by one (every tenth of them).

A model may end a text early: tokens that came are counted, and prompts that end at once left out.
Ratios of rounds that a load on the machine disturbed show in the spread. Exit code 1 when a target
is missed. --tiny makes the random model small, to try the command.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime_genai as og
from machine import Target, describe, judge

from lmtool.bundles import LanguageInfo, find_bundle
from lmtool.language import LanguageModel, Sampling, load_language_model, open_folder
from lmtool.language_export import build
from lmtool.sessions import n_threads

Run = Callable[[int], int]
"""Completes the prompts with that many tokens each; returns how many came in all."""
QWEN = {
    "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
    "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936,
}  # fmt: skip
TINY = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 128, "vocab_size": 2000,
}  # fmt: skip


class Rates(NamedTuple):
    """Tokens a second, of prompts and of what follows them."""

    prompt: float
    decoding: float


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--parts", default="bundle,batch", help="of bundle, random, batch")
    parser.add_argument("--bundle", default="", help="name or folder of a language model")
    parser.add_argument("--text", type=Path, default=Path(__file__).parent.parent / "README.md")
    parser.add_argument("--threads", type=int, default=n_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--batch-tokens", type=int, default=32)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    parts = options.parts.split(",")
    packages = ("onnxruntime", "onnxruntime-genai", "torch", "transformers", "ctranslate2")
    print(describe(*packages), f"{options.threads} threads", sep="; ")
    targets: list[Target] = []
    if options.bundle:
        model = load_language_model(options.bundle, device="cpu", threads=options.threads)
        if "bundle" in parts:
            folder = find_bundle(options.bundle)
            targets += beside_genai(options.bundle, model, folder, options)
        if "batch" in parts:
            targets += all_at_once(model, options)
    if "random" in parts:
        with tempfile.TemporaryDirectory() as folder:
            targets += random_model(Path(folder), options)
    return judge(targets)


# ── lmtool and genai ─────────────────────────────────────────────────────────────────────────


def beside_genai(
    name: str, model: LanguageModel, folder: Path, options: argparse.Namespace
) -> list[Target]:
    """Measure both, and return the targets of one prompt and of eight."""
    engine = open_genai(folder, options.threads)
    targets = []
    for n_rows in (1, 8):
        prompts = long_prompts(model, options, n_rows)
        rows = [model.encode(prompt) for prompt in prompts]
        runs = {"lmtool": by_lmtool(model, prompts), "genai": by_genai(engine, rows)}
        n_prompt = sum(map(len, rows))
        rounds = [
            {key: measure(run, n_prompt, options.tokens) for key, run in runs.items()}
            for _ in range(options.rounds + 1)
        ][1:]  # the first one warms up
        for field in Rates._fields:
            rates = {key: [getattr(r[key], field) for r in rounds] for key in runs}
            ratios = [a / b for a, b in zip(rates["lmtool"], rates["genai"], strict=True)]
            cells = ", ".join(
                f"{key} {statistics.median(values):,.0f}" for key, values in rates.items()
            )
            spread = f"ratios {min(ratios):.3f} to {max(ratios):.3f}"
            print(f"{name}, {field}, batch {n_rows}: {cells} tokens a second; {spread}")
            figure = statistics.median(ratios)
            title = f"{name}, {field} at batch {n_rows}, lmtool / genai"
            targets.append(Target(title, figure, 0.95, is_least=True))
    return targets


def measure(run: Run, n_prompt: int, n_tokens: int) -> Rates:
    """Return the rates of one round, from the best of three times of one token and of many."""
    one_seconds, one = min(timed(run, 1) for _ in range(3))
    seconds, n_all = min(timed(run, n_tokens + 1) for _ in range(3))
    return Rates(n_prompt / one_seconds, (n_all - one) / max(seconds - one_seconds, 1e-9))


def timed(run: Run, n_tokens: int) -> tuple[float, int]:
    began = time.perf_counter()
    n_came = run(n_tokens)
    return time.perf_counter() - began, n_came


def by_lmtool(model: LanguageModel, prompts: Sequence[str]) -> Run:
    def run(n_tokens: int) -> int:
        sampling = Sampling(max_tokens=n_tokens)
        if len(prompts) > 1:
            found = [completion for (completion,) in model.complete(prompts, sampling)]
        else:
            stream = model.stream(prompts[0], sampling)
            for _ in stream:
                pass
            assert stream.completion is not None
            found = [stream.completion]
        return sum(completion.tokens for completion in found)

    return run


def by_genai(engine: og.Model, rows: Sequence[Sequence[int]]) -> Run:
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), rows[0][0], np.int32)
    for number, row in enumerate(rows):  # the rows are as good as equally long
        ids[number, longest - len(row) :] = row

    def run(n_tokens: int) -> int:
        params = og.GeneratorParams(engine)
        params.set_search_options(
            max_length=longest + n_tokens, batch_size=len(rows), do_sample=False
        )
        generator = og.Generator(engine, params)
        generator.append_tokens(ids if len(rows) > 1 else ids[0])
        n_steps = 0
        while not generator.is_done():
            generator.generate_next_token()
            generator.get_next_tokens()
            n_steps += 1
        return n_steps * len(rows)

    return run


def open_genai(folder: Path, threads: int) -> og.Model:
    config = og.Config(str(folder))
    config.clear_providers()
    session = {"session_options": {"intra_op_num_threads": threads}}
    config.overlay(json.dumps({"model": {"decoder": session}}))
    return og.Model(config)


def long_prompts(model: LanguageModel, options: argparse.Namespace, n: int) -> list[str]:
    """Return n stretches of the text with as many tokens, which the model goes on with."""
    n_prompt = min(options.prompt_tokens, model.context - options.tokens - 1)
    if n_prompt < 1:
        sys.exit(f"a context of {model.context} tokens is too short for --tokens {options.tokens}")
    wanted = Sampling(max_tokens=options.tokens + 1)
    found: list[str] = []
    for prompt in stretches(model, options.text, lambda _: n_prompt):
        if model.complete([prompt], wanted)[0][0].finish == "length":
            found.append(prompt)
        if len(found) == n:
            return found
    sys.exit(
        f"{options.text}: only {len(found)} prompts that the model goes on with: --tokens less"
    )


def stretches(model: LanguageModel, path: Path, size: Callable[[int], int]) -> Any:
    """Yield stretches of a text, the n-th with size(n) tokens, over and over."""
    words = path.read_text("utf-8").split(" ")
    place = number = 0
    while number < 100_000:
        wanted, n_words = size(number), 1
        while model.count(" ".join(words[place : place + n_words])) < wanted:
            n_words += 1
            if place + n_words > len(words):
                place, n_words = 0, 1
        text = " ".join(words[place : place + n_words])
        while text and model.count(text) > wanted:
            text = text[:-1]
        yield text
        place, number = place + n_words, number + 1
        if place >= len(words):
            place = number % 7  # another cut of the same text


# ── a batch ──────────────────────────────────────────────────────────────────────────────────


def all_at_once(model: LanguageModel, options: argparse.Namespace) -> list[Target]:
    """Compare a batch with the same prompts one by one, by commands and inside a process."""
    chance = random.Random(0)
    most = min(48, model.context - options.batch_tokens)
    texts = stretches(model, options.text, lambda _: chance.randint(min(4, most), most))
    prompts = [next(texts) for _ in range(options.prompts)]
    sampling = Sampling(max_tokens=options.batch_tokens)
    model.complete(prompts[:16], sampling)
    some, few = prompts[::10], prompts[:: max(len(prompts) // 20, 1)]
    command = [str(Path(sys.executable).with_name("lmtool")), "generate", "-m", options.bundle]
    command += ["-q", "-f", "jsonl", f"--max-tokens={options.batch_tokens}"]
    command += ["--no-chat", f"--threads={options.threads}", "--device=cpu"]

    def a_command_each() -> None:
        for prompt in few:
            subprocess.run([*command, "--", prompt], check=True, stdout=subprocess.DEVNULL)

    def one_command() -> None:
        lines = "".join(json.dumps({"text": prompt}) + "\n" for prompt in prompts)
        files = ["--from", "-", "--input-format=jsonl"]
        subprocess.run(
            [*command, *files], input=lines.encode(), check=True, stdout=subprocess.DEVNULL
        )

    seconds = {
        "a command for each": seconds_of(a_command_each) * len(prompts) / len(few),
        "one command": seconds_of(one_command),
        "one by one in a process": seconds_of(
            lambda: [model.complete([prompt], sampling) for prompt in some]
        ) * len(prompts) / len(some),
        "together in a process": seconds_of(lambda: model.complete(prompts, sampling)),
    }  # fmt: skip
    for name, taken in seconds.items():
        print(f"batch: {len(prompts):,} prompts, {name}: {taken:.1f} s")
    commands, one, alone, together = seconds.values()
    print(f"batch: together in a process {alone / together:.1f} times faster than one by one in it")
    title = "a batch by one command, times faster than a command for each"
    return [Target(title, commands / one, 5, is_least=True)]


def seconds_of(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


# ── a random model, and its peers ────────────────────────────────────────────────────────────


def random_model(work: Path, options: argparse.Namespace) -> list[Target]:
    source, folder = work / "source", work / "int4"
    write_random(source, TINY if options.tiny else QWEN)
    build(source, folder, "int4")
    info = LanguageInfo(
        name="random", task="generate", tasks=["generate"], context=0, precision="int4", files={}
    )
    model = open_folder(folder, info, device="cpu", threads=options.threads)
    targets = beside_genai("random Qwen2 in int4", model, folder, options)
    (prompt,) = long_prompts(model, options, 1)
    ids = model.encode(prompt)
    runs: dict[str, Run] = {"lmtool": by_lmtool(model, [prompt])}
    runs |= by_transformers(source, ids, options.threads)
    runs |= by_ctranslate2(source, work / "ctranslate2", ids, options.threads)
    rates = {}
    for key, run in runs.items():
        run(2)
        found = [measure(run, len(ids), options.tokens) for _ in range(min(options.rounds, 3))]
        rates[key] = statistics.median(rate.decoding for rate in found)
        print(f"random Qwen2, decoding, batch 1: {key} {rates[key]:,.1f} tokens a second")
    best = max(rate for key, rate in rates.items() if key.startswith("transformers"))
    title = "random Qwen2, decoding at batch 1, lmtool int4 / transformers"
    return [*targets, Target(title, rates["lmtool"] / best, 4, is_least=True)]


def write_random(folder: Path, sizes: dict[str, int]) -> None:
    """Write a Qwen2 with random weights and a tokenizer of its vocabulary's size."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<|endoftext|>", *alphabet]
    names += [f"Ġword{number}" for number in range(sizes["vocab_size"] - len(names))]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    torch.manual_seed(0)
    network = Qwen2ForCausalLM(
        Qwen2Config(
            **sizes, tie_word_embeddings=True, max_position_embeddings=2048, bos_token_id=None,
            eos_token_id=0, pad_token_id=0,
        )
    )  # fmt: skip
    print(f"random Qwen2: {sum(p.numel() for p in network.parameters()) / 1e6:,.0f} M parameters")
    network.save_pretrained(folder)
    end = {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **end).save_pretrained(folder)


def by_transformers(source: Path, ids: list[int], threads: int) -> dict[str, Run]:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    rows = torch.tensor([ids])

    def run_with(network: Any) -> Run:
        def run(n_tokens: int) -> int:
            with torch.inference_mode():
                found = network.generate(
                    rows, attention_mask=torch.ones_like(rows), do_sample=False,
                    max_new_tokens=n_tokens, min_new_tokens=n_tokens,
                )  # fmt: skip
            return int(found.shape[1]) - len(ids)

        return run

    kinds = {"fp32": torch.float32}
    if torch.cpu._is_avx512_bf16_supported():  # elsewhere it is emulated
        kinds["bf16"] = torch.bfloat16
    return {
        f"transformers {name}": run_with(
            AutoModelForCausalLM.from_pretrained(source, dtype=kind).eval()
        )
        for name, kind in kinds.items()
    }


def by_ctranslate2(source: Path, folder: Path, ids: list[int], threads: int) -> dict[str, Run]:
    try:
        import ctranslate2
    except ModuleNotFoundError:
        return {}
    from tokenizers import Tokenizer

    converter = ctranslate2.converters.TransformersConverter(str(source))
    converter.convert(str(folder), quantization="int8")
    generator = ctranslate2.Generator(str(folder), compute_type="int8", intra_threads=threads)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    prompt = [tokenizer.id_to_token(token) for token in ids]

    def run(n_tokens: int) -> int:
        (found,) = generator.generate_batch(
            [prompt], max_length=n_tokens, min_length=n_tokens, include_prompt_in_result=False
        )
        return len(found.sequences_ids[0])

    return {"CTranslate2 int8": run}


if __name__ == "__main__":
    sys.exit(main())
