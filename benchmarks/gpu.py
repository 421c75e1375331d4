"""Speed of a backbone on a GPU by length, beside PyTorch compiled in bf16.

    python benchmarks/gpu.py ENCODER [--tokens 16384] [--seconds 3]

ENCODER is a checkpoint of lmtool (best/ of a run) or a Hugging Face folder. It is exported as
`lmtool export --precision fp16` does it, and opened as `lmtool --device auto` does it: the
provider obtained is printed, and how many of the graph's nodes it runs (ONNX Runtime gives those
that CUDA cannot do to the CPU, and says nothing). The peer is the same module in PyTorch: bf16,
torch.compile, once for each shape.

Both take int64 arrays from the host's memory and bring float32 hidden states back to it, as a run
of lmtool does: so the bus is part of the figure. Batches are full (no padding) and hold about
--tokens tokens. The two take turns; what counts is the median of at least five runs of each in
--seconds seconds, after a warm-up. Differences of the hidden states from PyTorch's fp32 are
printed as cosines.

Without a GPU the script says so and makes a short pass in fp32 on the CPU (PyTorch eager), which
proves that it works and is no figure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from machine import describe, n_cores
from numpy.typing import NDArray

from lmtool._graphs import export_graph, fuse_graph, half_graph
from lmtool.sessions import GraphFile, OnnxSession
from lmtool.training.backbone import Backbone, load_backbone
from lmtool.training.checkpoint import load_checkpoint
from lmtool.windows import N_SHAPES

LENGTHS = (32, 128, 512)
WARM_UP = 3
LEAST_RUNS = 5
CPU_TOKENS = 2048

Feeds = Mapping[str, NDArray[Any]]


def main() -> int:
    options = parse()
    has_gpu = torch.cuda.is_available()
    has_provider = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    gpu = torch.cuda.get_device_name() if has_gpu else "no GPU that PyTorch can use"
    print(describe("onnxruntime", "onnxruntime-gpu", "torch", "transformers"))
    print(f"{gpu}, CUDA {torch.version.cuda}")
    if has_gpu != has_provider:
        print(
            "only one of PyTorch and ONNX Runtime has CUDA here: install torch with CUDA and "
            "onnxruntime-gpu (lmtool doctor tells more)"
        )
    is_real = has_gpu and has_provider and not options.cpu
    if not is_real:
        print("No GPU figures: a short pass in fp32 on the CPU proves that the script works.")
    torch.set_num_threads(n_cores())
    tokens = options.tokens or (16_384 if is_real else CPU_TOKENS)
    backbone = load(options.encoder)
    with tempfile.TemporaryDirectory() as name:
        path = export(backbone, Path(name), half=is_real)
        device = "auto" if is_real else "cpu"
        session = OnnxSession(GraphFile(path, backbone.signature), device)
        print(f"provider obtained: {session.providers[0]} (of {', '.join(session.providers)})")
        print(f"nodes by provider: {placement(path, session, make_feeds(backbone, 2, 32))}")
        for line in compare(backbone, session, tokens, options.seconds, is_real=is_real):
            print(line, flush=True)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("encoder", help="a checkpoint of lmtool, or a Hugging Face folder")
    parser.add_argument("--tokens", type=int, default=0, help="of a batch (GPU: 16384, CPU: 2048)")
    parser.add_argument("--seconds", type=float, default=3, help="of each, for each length")
    parser.add_argument("--cpu", action="store_true", help="make the pass on the CPU all the same")
    return parser.parse_args()


def load(encoder: str) -> Backbone:
    """Return the backbone of a checkpoint or of a Hugging Face folder."""
    if (Path(encoder) / "checkpoint.json").is_file():
        return load_checkpoint(encoder).backbone
    return load_backbone(encoder).eval()


def export(backbone: Backbone, folder: Path, *, half: bool) -> Path:
    """Write the graph as lmtool.exporting does, fp16 or fp32."""
    raw, fused, path = folder / "raw.onnx", folder / "fused.onnx", folder / "backbone.onnx"
    feeds = make_feeds(backbone, 2, 8)
    example = {name: torch.from_numpy(array) for name, array in feeds.items()}
    export_graph(backbone, backbone.signature, raw, example)
    fuse_graph(raw, fused)
    if not half:
        return fused
    half_graph(fused, path)
    return path


def make_feeds(backbone: Backbone, n_rows: int, length: int) -> dict[str, NDArray[Any]]:
    """Return full windows of random ids, int64 (batch, seq): the work does not depend on them."""
    random = np.random.default_rng(0)
    shape = (n_rows, length)
    feeds = {
        "input_ids": random.integers(0, backbone.encoder.config.vocab_size, shape),
        "attention_mask": np.ones(shape, np.int64),
    }
    if backbone.has_shapes:
        feeds["shape_ids"] = random.integers(0, N_SHAPES, shape)
    return feeds


def placement(path: Path, session: OnnxSession, feeds: Feeds) -> str:
    """Run once with ONNX Runtime's profile, and count the nodes by the provider that ran them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = str(path.with_name("profile"))
    profiled = onnxruntime.InferenceSession(path, options, providers=list(session.providers))
    profiled.run(None, dict(feeds))
    events = json.loads(Path(profiled.end_profiling()).read_text("utf-8"))
    ran = (e["args"].get("provider") for e in events if e.get("cat") == "Node" and "args" in e)
    counts = Counter(provider for provider in ran if provider)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def compare(
    backbone: Backbone, session: OnnxSession, tokens: int, seconds: float, *, is_real: bool
) -> Iterator[str]:
    """Yield a Markdown table with a row for each length."""
    exact = torch_runner(backbone, "cpu", torch.float32, compiled=False)
    peer = torch_runner(backbone, "cuda", torch.bfloat16, compiled=True) if is_real else exact
    names = ("lmtool fp16", "PyTorch bf16") if is_real else ("lmtool fp32", "PyTorch fp32")
    runs = {names[0]: lambda feeds: session.run(feeds)["hidden"], names[1]: peer}
    heads = [f"{name}, tokens/s" for name in names]
    yield "\n| " + " | ".join(["length", "batch", *heads, "ratio", "cosines"]) + " |"
    yield "|---|---|---|---|---|---|"
    for length in LENGTHS:
        feeds = make_feeds(backbone, max(tokens // length, 1), length)
        first, second = time_in_turns(runs, feeds, seconds).values()
        few = {name: array[:2] for name, array in feeds.items()}
        wanted = exact(few)
        cosines = " ".join(f"{cosine(run(few), wanted):.5f}" for run in runs.values())
        cells = [length, len(feeds["input_ids"]), f"{first:,.0f}", f"{second:,.0f}"]
        yield "| " + " | ".join(map(str, [*cells, f"{first / second:.2f}", cosines])) + " |"


def torch_runner(
    backbone: Backbone, device: str, dtype: torch.dtype, *, compiled: bool
) -> Callable[[Feeds], NDArray[Any]]:
    """Return a function from feeds to float32 hidden states on the host, by PyTorch."""
    import copy

    module = copy.deepcopy(backbone).to(device, dtype)
    call = torch.compile(module, dynamic=False) if compiled else module

    def run(feeds: Feeds) -> NDArray[Any]:
        inputs = {name: torch.from_numpy(array).to(device) for name, array in feeds.items()}
        with torch.inference_mode():
            hidden: torch.Tensor = call(**inputs)["hidden"]
        array: NDArray[Any] = hidden.float().cpu().numpy()  # waits for the GPU
        return array

    return run


def time_in_turns(
    runs: Mapping[str, Callable[[Feeds], Any]], feeds: Feeds, seconds: float
) -> dict[str, float]:
    """Return the tokens a second of each run, by the median of its times."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(WARM_UP):
            run(feeds)
    while min(map(sum, times.values())) < seconds or min(map(len, times.values())) < LEAST_RUNS:
        for name, run in runs.items():
            started = time.perf_counter()
            run(feeds)
            times[name].append(time.perf_counter() - started)
    size = feeds["input_ids"].size
    return {name: size / statistics.median(found) for name, found in times.items()}


def cosine(found: NDArray[Any], exact: NDArray[Any]) -> float:
    """Return the mean cosine of the hidden states of all tokens."""
    a, b = found.astype(np.float64), exact.astype(np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(((a * b).sum(-1) / norms).mean())


if __name__ == "__main__":
    sys.exit(main())
