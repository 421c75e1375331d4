"""Export, fusion and quantization, on tiny random encoders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
)

from lmtool._graphs import export_graph, fuse_graph, half_graph, quantize_graph
from lmtool.signature import Port, Signature

onnxruntime = pytest.importorskip("onnxruntime")

SIZES = {"vocab_size": 3000, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "bert": lambda: BertModel(BertConfig(**SIZES, intermediate_size=64)),
    "roberta": lambda: RobertaModel(RobertaConfig(**SIZES, intermediate_size=64)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=3000, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
    ),
    "eager": lambda: BertModel(
        BertConfig(**SIZES, intermediate_size=64, attn_implementation="eager")
    ),
}
FUSED = {"bert": 2, "roberta": 2, "distilbert": 2, "eager": 0}
AXES = ("batch", "seq")
SIGNATURE = Signature(
    inputs=tuple(Port(n, "int64", AXES) for n in ("input_ids", "attention_mask", "shape_ids")),
    outputs=(Port("hidden", "float32", (*AXES, 32)),),
)


class Backbone(torch.nn.Module):
    """An encoder with an embedding of the word's shape."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.shapes = torch.nn.Embedding(8, 32)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, shape_ids: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        words = self.encoder.get_input_embeddings()(input_ids)  # (batch, seq, hidden)
        states = self.encoder(
            inputs_embeds=words + self.shapes(shape_ids), attention_mask=attention_mask
        )
        return {"hidden": states.last_hidden_state}


def make_feed(lengths: list[int], seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths))
    mask = (np.arange(shape[1]) < np.array(lengths)[:, None]).astype(np.int64)
    ids = random.integers(5, 3000, shape) * mask
    return {"input_ids": ids, "attention_mask": mask, "shape_ids": random.integers(0, 8, shape)}


def run(path: Path, feed: dict[str, Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(["hidden"], feed)[0]


def tensors(feed: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in feed.items()}


def count(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def make_module(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return Backbone(CONFIGS[name]()).eval()


@pytest.fixture(scope="module", params=CONFIGS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the name, the module, and the paths of its graph as exported and as fused."""
    folder = tmp_path_factory.mktemp(request.param)
    module = make_module(request.param)
    plain, fused = folder / "plain.onnx", folder / "fused.onnx"
    export_graph(module, SIGNATURE, plain, tensors(make_feed([8, 8])))
    assert fuse_graph(plain, fused) == FUSED[request.param]
    return request.param, module, plain, fused


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the fused graph of a tiny BERT."""
    folder = tmp_path_factory.mktemp("quantize")
    export_graph(make_module("bert"), SIGNATURE, folder / "p", tensors(make_feed([8, 8])))
    fuse_graph(folder / "p", folder / "fused.onnx")
    return folder / "fused.onnx"


@pytest.mark.parametrize("lengths", [[1], [5], [3, 9, 6], [30, 2]])
def test_graphs_equal_pytorch_where_there_is_text(encoder: Any, lengths: list[int]) -> None:
    _, module, plain, fused = encoder
    feed = make_feed(lengths)
    kept = feed["attention_mask"] == 1
    with torch.no_grad():
        wanted = module(**tensors(feed))["hidden"].numpy()[kept]
    assert np.abs(run(plain, feed)[kept] - wanted).max() < 1e-5
    assert np.abs(run(fused, feed)[kept] - wanted).max() < 1e-5


def test_inputs_and_axes_are_those_of_the_signature(encoder: Any) -> None:
    _, _, plain, fused = encoder
    for path in (plain, fused):
        graph = onnx.load(path).graph
        for ports, values in ((SIGNATURE.inputs, graph.input), (SIGNATURE.outputs, graph.output)):
            found = [
                (v.name, tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim))
                for v in values
            ]
            assert found == [(port.name, port.dims) for port in ports]


def test_fused_attention_has_no_transposes(encoder: Any) -> None:
    name, _, plain, fused = encoder
    assert (count(fused)["Transpose"] == 0) == (FUSED[name] > 0)
    assert count(plain)["Attention"] == count(fused)["Attention"] == FUSED[name]


def test_a_row_of_padding_gives_numbers(fused: Path) -> None:
    assert np.isfinite(run(fused, make_feed([6, 0]))).all()


@pytest.mark.parametrize("n_rows", [0, 40])
def test_quantized_graph_is_small_and_close(fused: Path, tmp_path: Path, n_rows: int) -> None:
    path = tmp_path / "int8.onnx"
    rows = [make_feed([5 + i % 7], seed=i) for i in range(n_rows)]
    assert quantize_graph(fused, path, rows) == 12
    assert path.stat().st_size < 0.45 * fused.stat().st_size
    feed = make_feed([3, 9, 6], seed=99)
    kept = feed["attention_mask"] == 1
    exact, found = run(fused, feed)[kept], run(path, feed)[kept]
    cosine = (exact * found).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.999
    assert count(path)["MatMul"] == 0
    assert count(path)["DynamicQuantizeLinear"] == (0 if n_rows else 8)


def test_fixed_ranges_make_a_result_independent_of_its_batch(fused: Path, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    quantize_graph(fused, path, [make_feed([9], seed=i) for i in range(20)])
    feed = make_feed([4, 11, 7], seed=7)
    together = run(path, feed)
    for i, length in enumerate([4, 11, 7]):
        alone = run(path, {name: array[i : i + 1, :length] for name, array in feed.items()})
        assert np.abs(alone[0] - together[i, :length]).max() < 1e-5


def test_outlier_channels_are_smoothed(fused: Path, tmp_path: Path) -> None:
    model = onnx.load(fused)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("embeddings.LayerNorm.weight"):
            scale = onnx.numpy_helper.to_array(tensor).copy()
            scale[3] = 60
            tensor.CopyFrom(onnx.numpy_helper.from_array(scale, tensor.name))
    onnx.save(model, tmp_path / "outlier.onnx")
    quantize_graph(
        tmp_path / "outlier.onnx",
        tmp_path / "int8.onnx",
        [make_feed([9], seed=i) for i in range(20)],
    )
    names = {tensor.name for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert any(name.endswith("_smooth") for name in names)


def test_half_graph_keeps_its_signature(fused: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    half_graph(fused, path)
    feed = make_feed([3, 9], seed=5)
    kept = feed["attention_mask"] == 1
    assert path.stat().st_size < 0.6 * fused.stat().st_size
    assert run(path, feed).dtype == np.float32
    assert np.abs(run(path, feed) - run(fused, feed))[kept].max() < 0.02


def test_a_head_is_exported_by_position(tmp_path: Path) -> None:
    head = torch.nn.Linear(32, 9)

    class Head(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor]:
            return (head(hidden),)

    signature = Signature(
        inputs=(Port("hidden", "float32", (*AXES, 32)),),
        outputs=(Port("logits", "float32", (*AXES, 9)),),
    )
    export_graph(Head(), signature, tmp_path / "head.onnx", {"hidden": torch.zeros(2, 3, 32)})
    hidden = np.random.default_rng(0).standard_normal((4, 7, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "head.onnx")
    wanted = head(torch.from_numpy(hidden)).detach().numpy()
    assert np.abs(session.run(["logits"], {"hidden": hidden})[0] - wanted).max() < 1e-5


def test_graphs_hold_no_paths_of_this_machine(encoder: Any) -> None:
    _, _, plain, fused = encoder
    for path in (plain, fused):
        assert b"site-packages" not in path.read_bytes()
        assert str(Path(__file__).parent).encode() not in path.read_bytes()
