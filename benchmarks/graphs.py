"""Time the forms of an encoder's graph against each other, on one machine, in one run.

    python benchmarks/graphs.py ENCODER TEXT [--tokens 1024] [--clock cpu|wall] [--threads N]

ENCODER is a folder or hub name that Transformers loads and whose tokenizer.json is there; TEXT has
a sentence a line, at least a few hundred. docs/graphs.md holds a result. The clock `cpu` counts the
processor time of one thread and so stays right on a machine that others use; `wall` needs a quiet
one. Variants run in turns, and the better third of the rounds counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from machine import describe
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from transformers import AutoModel

from lmtool._graphs import export_graph, fuse_graph, quantize_graph
from lmtool.signature import Port, Signature

Feed = dict[str, Any]
LENGTHS = (16, 32, 64, 128)
ROUNDS = 6
N_ROWS = 256  # texts that fix the ranges
N_COMPARED = 48
AXES = ("batch", "seq")
CONTRIB = "com.microsoft"
LEVELS = {"none": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "all": "ORT_ENABLE_ALL"}
STANDARD = ("Add", "Attention", "Gelu", "LayerNormalization", "MatMul", "QuantizeLinear")


class Backbone(torch.nn.Module):
    """An encoder with named outputs."""

    def __init__(self, name: str, attention: str) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(name, attn_implementation=attention).eval().float()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, Any]:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return {"hidden": states.last_hidden_state}


@dataclass(frozen=True)
class Variant:
    """A graph file and how a session opens it."""

    name: str
    path: Path
    level: str = "basic"

    def open(self, threads: int, spin: bool = False) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        level = LEVELS[self.level]
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        return onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])


def build_variants(name: str, folder: Path, rows: list[Feed]) -> tuple[Backbone, list[Variant]]:
    """Write every graph and return PyTorch's module with them, the baseline first."""
    ports = tuple(Port(port, "int64", AXES) for port in ("input_ids", "attention_mask"))
    module = Backbone(name, "sdpa")
    hidden = module.encoder.config.hidden_size
    signature = Signature(inputs=ports, outputs=(Port("hidden", "float32", (*AXES, hidden)),))
    ids = torch.arange(16).reshape(2, 8)
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    plain, eager, fused = folder / "plain", folder / "eager", folder / "fused"
    export_graph(module, signature, plain, example)
    export_graph(Backbone(name, "eager"), signature, eager, example)
    fuse_graph(plain, fused)
    common, blocks, dynamic, fixed = (folder / n for n in ("common", "blocks", "dynamic", "fixed"))
    quantize_as_is_common(plain, common)
    quantize_in_blocks(fused, blocks)
    quantize_graph(fused, dynamic)
    quantize_graph(fused, fixed, rows)
    return module, [
        Variant("plain fp32, as it is usually opened", plain, "all"),
        Variant("eager attention, same", eager, "all"),
        Variant("plain fp32, basic", plain),
        Variant("fused fp32, all", fused, "all"),
        Variant("fused fp32, basic", fused),
        Variant("quantize_dynamic on plain, all", common, "all"),
        Variant("8-bit blocks on fused (MatMulNBits)", blocks),
        Variant("int8 dynamic on fused, all", dynamic, "all"),
        Variant("int8 dynamic on fused, basic", dynamic),
        Variant("int8 fixed on fused, all", fixed, "all"),
        Variant("int8 fixed on fused, basic", fixed),
    ]


def quantize_as_is_common(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
    )


def quantize_in_blocks(source: Path, target: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        onnx.load(source), bits=8, block_size=128, is_symmetric=True, accuracy_level=4
    )
    quantizer.process()
    onnx.save(quantizer.model.model, target)


def read_rows(path: Path, tokenizer: Tokenizer, n: int) -> list[Feed]:
    """Return the feeds of n sentences spread over a file, one text each."""
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    lines = [line for line in lines if 20 < len(line) < 400]
    encodings = tokenizer.encode_batch(lines[:: max(len(lines) // n, 1)][:n])
    return [make_feed([encoding.ids]) for encoding in encodings]


def make_feed(rows: list[list[int]]) -> Feed:
    """Pad rows of ids to the longest."""
    width = max(map(len, rows))
    ids = np.array([row + [0] * (width - len(row)) for row in rows], np.int64)
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], np.int64)
    return {"input_ids": ids, "attention_mask": mask}


def make_batch(stream: list[int], length: int, tokens: int, seed: int = 0) -> Feed:
    """Cut real ids into rows of nearly one length, as sorting gives them (8% padding)."""
    random = np.random.default_rng(seed)
    n_rows = max(tokens // length, 1)
    starts = random.integers(0, len(stream) - length, n_rows)
    lengths = [length, *random.integers(int(0.84 * length), length + 1, n_rows - 1)]
    return make_feed([stream[s : s + n] for s, n in zip(starts, lengths, strict=True)])


def time_in_turns(
    runs: Mapping[str, Callable[[], Any]], clock: Callable[[], float], rounds: int = ROUNDS
) -> dict[str, float]:
    """Return the seconds of each run: the third best of its rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            started = clock()
            run()
            run()
            seconds[name].append((clock() - started) / 2)
    return {name: sorted(values)[rounds // 3] for name, values in seconds.items()}


def compare_speed(
    variants: list[Variant], stream: list[int], tokens: int, threads: int, clock: Any
) -> Iterator[str]:
    """Yield a Markdown table of thousands of padded tokens a second, and ratios to the first."""
    sessions = {variant.name: variant.open(threads) for variant in variants}
    speeds: dict[str, list[float]] = {name: [] for name in sessions}
    for length in LENGTHS:
        feed = make_batch(stream, length, tokens)
        runs = {n: partial(s.run, None, feed) for n, s in sessions.items()}
        for name, seconds in time_in_turns(runs, clock).items():
            speeds[name].append(feed["input_ids"].size / seconds / 1000)
    base = speeds[variants[0].name]
    yield "| graph, level | " + " | ".join(f"{n} tokens" for n in LENGTHS) + " |"
    yield "|---|" + "---|" * len(LENGTHS)
    for name, row in speeds.items():
        cells = [f"{x:.1f} k ×{x / b:.2f}" for x, b in zip(row, base, strict=True)]
        yield f"| {name} | " + " | ".join(cells) + " |"


def compare_results(
    module: Backbone, variants: list[Variant], rows: list[Feed], clock: Any
) -> Iterator[str]:
    """Yield a Markdown table of size, load time, exactness, and dependence on the batch."""
    texts = [row["input_ids"][0].tolist() for row in rows]
    texts.sort(key=len)
    groups = [texts[i : i + 16] for i in range(0, len(texts), 16)]
    wanted = [_torch(module, make_feed([text])) for group in groups for text in group]
    yield "| graph, level | MB | load ms | cosine mean | 1% | least | largest difference | alone |"
    yield "|---|---|---|---|---|---|---|---|"
    for variant in variants:
        load = time_in_turns({"load": partial(variant.open, 1)}, clock)["load"]
        session = variant.open(1)
        batched = [
            array[: len(text)]
            for group in groups
            for text, array in zip(group, session.run(None, make_feed(group))[0], strict=True)
        ]
        alone = [session.run(None, make_feed([text]))[0][0] for g in groups for text in g]
        moved = max(np.abs(a - b).max() for a, b in zip(alone, batched, strict=True))
        found, exact = np.concatenate(batched), np.concatenate(wanted)
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1)
        cosine = (found * exact).sum(1) / norms
        yield (
            f"| {variant.name} | {variant.path.stat().st_size / 1e6:.1f} | {load * 1000:.0f} "
            f"| {cosine.mean():.5f} | {np.quantile(cosine, 0.01):.5f} | {cosine.min():.5f} "
            f"| {np.abs(found - exact).max():.2g} | {moved:.2g} |"
        )


def _torch(module: Backbone, feed: Feed) -> Any:
    with torch.no_grad():
        return module(**{k: torch.from_numpy(v) for k, v in feed.items()})["hidden"][0].numpy()


def compare_workers(variant: Variant, stream: list[int], tokens: int) -> Iterator[str]:
    """Yield wall-clock tokens a second of two threads in one run, and of two runs of one thread."""
    one, two, spinning = variant.open(1), variant.open(2), variant.open(2, spin=True)
    pool = ThreadPoolExecutor(2)

    def step(session: Any, work: bool, feed: Feed) -> None:
        hidden = session.run(None, feed)[0]
        if work:  # a decoder in Python, some microseconds a token
            _ = [i * 3 for i in range(hidden.shape[0] * hidden.shape[1] * 25)]

    def go(apply: Callable[..., Any], session: Any, work: bool, feeds: list[Feed]) -> None:
        list(apply(partial(step, session, work), feeds))

    yield "| length, Python work | a run of 2 threads, spinning | not spinning | 2 runs of one |"
    yield "|---|---|---|---|"
    for work in (False, True):
        for length in LENGTHS[1:]:
            feeds = [make_batch(stream, length, tokens, seed) for seed in range(6)]
            size = sum(feed["input_ids"].size for feed in feeds)
            runs = {
                "spinning": partial(go, map, spinning, work, feeds),
                "not spinning": partial(go, map, two, work, feeds),
                "two runs": partial(go, pool.map, one, work, feeds),
            }
            seconds = time_in_turns(runs, time.perf_counter, 4)
            cells = " | ".join(f"{size / s / 1000:.1f} k" for s in seconds.values())
            yield f"| {length}, {'yes' if work else 'no'} | {cells} |"


def compare_batches(variant: Variant, stream: list[int], clock: Any) -> Iterator[str]:
    """Yield tokens a second by the size of a micro-batch."""
    session = variant.open(1)
    sizes = (256, 512, 1024, 2048, 4096, 8192)
    yield "| length | " + " | ".join(map(str, sizes)) + " |"
    yield "|---|" + "---|" * len(sizes)
    for length in (32, 128):
        feeds = {str(size): make_batch(stream, length, size) for size in sizes}
        runs = {n: partial(session.run, None, f) for n, f in feeds.items()}
        seconds = time_in_turns(runs, clock, 4)
        cells = [f"{feeds[n]['input_ids'].size / s / 1000:.1f} k" for n, s in seconds.items()]
        yield f"| {length} | " + " | ".join(cells) + " |"


def compare_kernels(folder: Path, clock: Any) -> Iterator[str]:
    """Yield milliseconds of single kernels on 1,024 tokens: 32 rows of 32, 12 heads of 32."""
    random = np.random.default_rng(0)
    batch, seq, hidden, inner = 32, 32, 384, 1536
    states = random.standard_normal((batch, seq, hidden)).astype(np.float32)
    wide = random.standard_normal((batch, seq, inner)).astype(np.float32)
    mask = np.ones((batch, seq), np.int32)
    mask[1::2, -3:] = 0
    bias = np.where(mask[:, None, None, :] == 1, 0, -1e9).astype(np.float32)
    inputs = {
        "x": states, "x2": states, "w": wide, "mask": mask, "bias": np.tile(bias, (1, 1, seq, 1)),
        "g": np.ones(hidden, np.float32), "b": np.zeros(inner, np.float32),
        "scales": np.full(hidden, 0.02, np.float32), "zeros": np.full(hidden, 128, np.uint8),
        "s": np.float32(0.02), "z": np.uint8(128),
        "matrix": random.standard_normal((hidden, hidden)).astype(np.float32),
        "int8": random.integers(-127, 128, (hidden, hidden)).astype(np.int8),
        "uint8": random.integers(0, 256, (hidden, hidden)).astype(np.uint8),
        "blocks": random.integers(0, 256, (hidden, 3, 128)).astype(np.uint8),
        "block_scales": np.full(hidden * 3, 0.02, np.float32),
    }  # fmt: skip
    heads = {"q_num_heads": 12, "kv_num_heads": 12}
    nbits = {"K": hidden, "N": hidden, "bits": 8, "block_size": 128, "accuracy_level": 4}
    multi = ("MultiHeadAttention", ["x", "x", "x"], {"num_heads": 12})
    kernels: dict[str, list[tuple[str, list[str], dict[str, Any]]]] = {
        "SkipLayerNormalization": [("SkipLayerNormalization", ["x", "x2", "g", "g"], {})],
        "Add, LayerNormalization": [
            ("Add", ["x", "x2"], {}),
            ("LayerNormalization", ["@", "g", "g"], {}),
        ],
        "BiasGelu": [("BiasGelu", ["w", "b"], {})],
        "Add, Gelu": [("Add", ["w", "b"], {}), ("Gelu", ["@"], {})],
        "Attention (ONNX), bias": [("Attention", ["x", "x", "x", "bias"], heads)],
        "MultiHeadAttention, bias": [(multi[0], [*multi[1], "", "", "bias"], multi[2])],
        "MultiHeadAttention, padding mask": [(multi[0], [*multi[1], "", "mask"], multi[2])],
        "MultiHeadAttention, no mask": [multi],
        "MatMul fp32": [("MatMul", ["x", "matrix"], {})],
        "DynamicQuantizeMatMul int8": [("DynamicQuantizeMatMul", ["x", "int8", "g"], {})],
        "DynamicQuantizeMatMul uint8": [("DynamicQuantizeMatMul", ["x", "uint8", "s", "z"], {})],
        "MatMulNBits 8 bits": [("MatMulNBits", ["x", "blocks", "block_scales"], nbits)],
        "QuantizeLinear, then MatMulIntegerToFloat": [
            ("QuantizeLinear", ["x", "s", "z"], {}),
            ("MatMulIntegerToFloat", ["@", "int8", "s", "g", "z"], {}),
        ],
    }
    yield "| kernels | ms |"
    yield "|---|---|"
    feeds: dict[str, tuple[Any, Feed]] = {}
    for index, (name, steps) in enumerate(kernels.items()):
        path = folder / f"kernel{index}"
        feed = _write_chain(path, steps, inputs)
        feeds[name] = (Variant(name, path, "none").open(1), feed)
    runs = {n: partial(s.run, None, f) for n, (s, f) in feeds.items()}
    for name, seconds in time_in_turns(runs, clock, 30).items():
        yield f"| {name} | {seconds * 1000:.2f} |"


def _write_chain(path: Path, steps: list[Any], inputs: Feed) -> Feed:
    """Write a graph of nodes in a row, where @ is the node before; return its feed."""
    nodes, last = [], ""
    for index, (op, names, attributes) in enumerate(steps):
        domain = "" if op in STANDARD else CONTRIB
        names = [last if n == "@" else n for n in names]
        last = f"out{index}"
        nodes.append(helper.make_node(op, names, [last], domain=domain, **attributes))
    used = {n for node in nodes for n in node.input if n in inputs}
    fed = {n for n in used if n in ("x", "x2", "w", "mask", "bias")}
    types = {n: helper.np_dtype_to_tensor_dtype(inputs[n].dtype) for n in fed}
    graph = helper.make_graph(
        nodes,
        "kernels",
        [helper.make_tensor_value_info(n, types[n], inputs[n].shape) for n in sorted(fed)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(inputs[n]), n) for n in sorted(used - fed)],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid(CONTRIB, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=11), path)
    return {n: inputs[n] for n in fed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoder")
    parser.add_argument("text", type=Path)
    parser.add_argument("--tokens", type=int, default=1024, help="padded tokens of a micro-batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    options = parser.parse_args()
    clock = {"cpu": time.process_time, "wall": time.perf_counter}[options.clock]
    torch.set_num_threads(1)
    print(describe("torch", "transformers", "onnxruntime"))
    print(f"clock {options.clock}, {options.threads} threads, {options.tokens} padded tokens")
    tokenizer = Tokenizer.from_file(str(Path(options.encoder) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows = read_rows(options.text, tokenizer, N_ROWS + N_COMPARED)
    fitted, compared = rows[::2][:N_ROWS], rows[1::2][:N_COMPARED]
    stream = [i for row in rows for i in row["input_ids"][0].tolist()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        module, variants = build_variants(options.encoder, folder, fitted)
        best = variants[-1]
        parts = {
            "speed": compare_speed(variants, stream, options.tokens, options.threads, clock),
            "results": compare_results(module, variants, compared, clock),
            "micro-batches": compare_batches(best, stream, clock),
            "workers (wall clock)": compare_workers(best, stream, options.tokens),
            "kernels": compare_kernels(folder, clock),
        }
        for title, lines in parts.items():
            print(f"\n## {title}\n")
            for line in lines:
                print(line, flush=True)


if __name__ == "__main__":
    main()
