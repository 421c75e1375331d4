"""Graphs for ONNX Runtime: export from PyTorch, fuse attention, quantize to int8.

Part of the `train` extra: only the exporter imports it, never a run. docs/graphs.md tells what was
measured. A graph that went through `fuse_graph` has the form that is fastest on a CPU, so a session
opens it with `ORT_ENABLE_BASIC` at the most: the fusions that ONNX Runtime makes above that level,
SkipLayerNormalization and BiasGelu, are slower than what they replace.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass

if TYPE_CHECKING:
    import onnxruntime
    import torch

    from lmtool.signature import Port, Signature

Array = np.ndarray[Any, np.dtype[Any]]

OPSET = 23  # the first with Attention
CONTRIB = "com.microsoft"
MASKED = np.float32(-1e9)  # finite, so a row that is padding throughout stays free of NaN
LARGE = 2**31  # bytes: a protobuf file holds no more
TABLE = 2**16  # elements: smaller look-up tables stay fp32
SAMPLE = 8  # rows kept of each activation in each feed, to choose its smoothing
HEADROOM = 1.1  # room above what was seen of an activation
SMOOTH_ABOVE = (0.98, 0.99, 0.995)  # quantiles of the channels' sizes
WORTH = 0.5  # a smoothing must bring the squared error of a product below this part


# --- export ------------------------------------------------------------------------------------


def export_graph(
    module: torch.nn.Module, signature: Signature, path: Path, example: Mapping[str, torch.Tensor]
) -> None:
    """Export a module to one ONNX file with the inputs, outputs and dynamic axes of its signature.

    `module` takes the inputs by name and returns its outputs by name, or as a tuple in order. Use
    sizes of at least 2 in `example`: an axis of size 1 is taken to be fixed. To become one node,
    attention must be `scaled_dot_product_attention` (Transformers' default, "sdpa").
    """
    import torch

    dims: dict[str, Any] = {}
    axes = {port.name: _dynamic_axes(port, dims) for port in signature.inputs}
    names = signature.output_names

    class Ordered(torch.nn.Module):
        """The module with its outputs as a tuple in the signature's order."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            outputs = self.module(**dict(zip(axes, inputs, strict=True)))
            return tuple(outputs[n] for n in names) if isinstance(outputs, dict) else tuple(outputs)

    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            Ordered().eval(),
            tuple(example[name] for name in axes),
            input_names=list(axes),
            output_names=names,
            dynamic_shapes={"inputs": tuple(axes.values())},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # stack traces with the paths of this machine
    _save(program.model, path)


def _dynamic_axes(port: Port, dims: dict[str, Any]) -> dict[int, Any]:
    """Return the dynamic axes of an input by number; equal names share one dimension."""
    import torch

    named = {axis: dim for axis, dim in enumerate(port.dims) if isinstance(dim, str)}
    return {axis: dims.setdefault(dim, torch.export.Dim(dim)) for axis, dim in named.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the exporter says about itself and its missing optional packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


# --- fusion ------------------------------------------------------------------------------------


def fuse_graph(source: Path, target: Path) -> int:
    """Fold constants, give each attention its fastest form, and return how many were found.

    The result is plain ONNX. A graph in which no attention is found stays correct as it is.
    """
    from onnxscript import optimizer

    model = ir.load(source)
    with _quiet():
        optimizer.optimize(model)
    masks: dict[str, ir.Value] = {}
    nodes = [node for node in model.graph if node.op_type == "Attention" and node.domain == ""]
    count = sum(_fuse_attention(model.graph, node, masks) for node in nodes)
    RemoveUnusedNodesPass()(model)
    _save(model, target)
    return count


def _fuse_attention(graph: ir.Graph, node: ir.Node, masks: dict[str, ir.Value]) -> bool:
    """Let an attention split and join the heads itself: (batch, seq, hidden) in and out."""
    inputs = [_split_heads(value) for value in node.inputs[:3]]
    joined = _joined_heads(node.outputs[0])
    if joined is None or len(node.outputs) > 1 or len(node.inputs) > 4 or None in inputs:
        return False
    query, key, value = (found for found in inputs if found is not None)
    mask = node.inputs[3] if len(node.inputs) == 4 else None
    fused = ir.node(
        "Attention",
        [query.source, key.source, value.source, _additive_mask(graph, mask, masks)],
        {**node.attributes, "q_num_heads": query.n_heads, "kv_num_heads": key.n_heads},
        version=node.version,
    )
    graph.insert_before(node, fused)
    _replace(joined, fused.outputs[0])
    return True


class Heads(NamedTuple):
    """A value (batch, seq, hidden) whose hidden axis is so many heads."""

    source: ir.Value
    n_heads: int


def _split_heads(value: ir.Value | None) -> Heads | None:
    """Find the (batch, seq, hidden) value that was reshaped and transposed to this one.

    `value` is (batch, head, seq, size).
    """
    transpose = _producer(value, "Transpose")
    reshape = _producer(transpose.inputs[0], "Reshape") if transpose else None
    if transpose is None or reshape is None or _permutation(transpose) != [0, 2, 1, 3]:
        return None
    source, shape = reshape.inputs[0], transpose.outputs[0].shape
    if source is None or source.shape is None or shape is None or len(source.shape) != 3:
        return None
    count, size, hidden = shape[1], shape[3], source.shape[2]
    if not isinstance(count, int) or not isinstance(size, int) or count * size != hidden:
        return None
    return Heads(source, count)


def _joined_heads(value: ir.Value) -> ir.Value | None:
    """Find the (batch, seq, hidden) value that this one is transposed and reshaped to.

    `value` is (batch, head, seq, size).
    """
    transpose = _only_user(value, "Transpose")
    if transpose is None or _permutation(transpose) != [0, 2, 1, 3]:
        return None
    reshape = _only_user(transpose.outputs[0], "Reshape")
    shape = reshape.outputs[0].shape if reshape else None
    return reshape.outputs[0] if reshape and shape is not None and len(shape) == 3 else None


def _additive_mask(
    graph: ir.Graph, mask: ir.Value | None, known: dict[str, ir.Value]
) -> ir.Value | None:
    """Turn a boolean mask into an additive one, once and not in each layer."""
    if mask is None or mask.dtype != ir.DataType.BOOL or mask.name is None:
        return mask
    if mask.name not in known:
        kept = _constant(graph, f"{mask.name}_kept", np.float32(0))
        masked = _constant(graph, f"{mask.name}_masked", MASKED)
        where = ir.node("Where", [mask, kept, masked])
        producer = mask.producer()
        if producer is None:  # an input of the graph
            graph.insert_before(graph[0], where)
        else:
            graph.insert_after(producer, where)
        known[mask.name] = where.outputs[0]
    return known[mask.name]


# --- quantization ------------------------------------------------------------------------------


def quantize_graph(source: Path, target: Path, rows: Iterable[Mapping[str, Array]] = ()) -> int:
    """Make weights and tables int8; return how many matrix products became int8.

    Weights are symmetric with a scale per output channel; tables have a scale per row. Activations
    are uint8. With `rows` (feeds of real text, a few hundred, best one text each) their ranges are
    fixed and outlier channels are smoothed: more exact, and a text's result does not depend on its
    batch. Without, every batch has its own ranges.
    """
    model = ir.load(source)
    model.graph.opset_imports[CONTRIB] = 1
    sites = _find_sites(model.graph)
    ranges = _observe(model, [site.source for site in sites], rows)
    for site in sites:
        _quantize_site(model.graph, site, ranges.get(_name(site.source)))
    for node in [node for node in model.graph if node.op_type == "Gather"]:
        _quantize_table(model.graph, node)
    RemoveUnusedNodesPass()(model)
    _save(model, target)
    return sum(len(site.products) for site in sites)


class Product(NamedTuple):
    """A matrix product with a constant matrix."""

    weight: Array  # (in, out)
    bias: ir.Value | None  # the constant vector that is added to it
    result: ir.Value  # after that addition


class Site(NamedTuple):
    """A value and all the products that read it, so it is quantized once for all of them."""

    source: ir.Value
    before: ir.Node
    products: list[Product]


def _find_sites(graph: ir.Graph) -> list[Site]:
    """List the products with constant matrices, by the value that they read."""
    sites: dict[str, Site] = {}
    for node in graph:
        weight = _array(node.inputs[1]) if node.op_type == "MatMul" else None
        source = node.inputs[0] if node.inputs else None
        if source is None or weight is None or weight.ndim != 2 or weight.dtype != np.float32:
            continue
        site = sites.setdefault(_name(source), Site(source, node, []))
        site.products.append(_with_bias(weight, node.outputs[0]))
    return list(sites.values())


def _with_bias(weight: Array, result: ir.Value) -> Product:
    """Take the addition of a constant vector into the product that it follows."""
    add = _only_user(result, "Add")
    for value in add.inputs if add else ():
        bias = _array(value)
        if add and bias is not None and bias.shape == weight.shape[1:]:
            return Product(weight, value, add.outputs[0])
    return Product(weight, None, result)


class Range(NamedTuple):
    """What was seen of an activation."""

    low: Array  # (channel,)
    high: Array  # (channel,)
    sample: Array  # (row, channel)


def _observe(
    model: ir.Model, values: list[ir.Value], rows: Iterable[Mapping[str, Array]]
) -> dict[str, Range]:
    """Run the graph on `rows` and note the ranges of `values` by name; empty without rows."""
    feeds = list(rows)
    if not feeds:
        return {}
    seen: dict[str, list[Range]] = {}
    names = [_name(value) for value in values]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observed.onnx"
        n_outputs = len(model.graph.outputs)
        model.graph.outputs.extend(value for value in values if not value.is_graph_output())
        _save(model, path)
        del model.graph.outputs[n_outputs:]
        session = _session(path)
        for feed in feeds:
            for name, array in zip(names, session.run(names, dict(feed)), strict=True):
                flat = array.reshape(-1, array.shape[-1])  # (token, channel)
                few = flat[:: 1 + len(flat) // SAMPLE].copy()
                seen.setdefault(name, []).append(Range(flat.min(0), flat.max(0), few))
    return {
        name: Range(
            np.min([part.low for part in parts], axis=0),
            np.max([part.high for part in parts], axis=0),
            np.concatenate([part.sample for part in parts]),
        )
        for name, parts in seen.items()
    }


def _quantize_site(graph: ir.Graph, site: Site, seen: Range | None) -> None:
    """Quantize a value once, and multiply it with each of its int8 matrices."""
    smooth = np.ones(site.products[0].weight.shape[0], np.float32)
    if seen is None:
        node = ir.node("DynamicQuantizeLinear", [site.source], num_outputs=3)
        quantized, scale, zero = node.outputs
        nodes = [node]
    else:
        smooth = _choose_smoothing(seen, np.concatenate([p.weight for p in site.products], axis=1))
        quantized, scale, zero, nodes = _static_quantize(graph, site.source, seen, smooth)
    for product in site.products:
        weight, by_channel = _quantize_weight(product.weight * smooth[:, None])
        name = _name(product.result)
        inputs = [
            quantized,
            _constant(graph, f"{name}_weight", weight),
            scale,
            _constant(graph, f"{name}_scale", by_channel),
            zero,
            None,
            product.bias,
        ]
        nodes.append(ir.node("MatMulIntegerToFloat", inputs, domain=CONTRIB))
        _replace(product.result, nodes[-1].outputs[0])
    graph.insert_before(site.before, nodes)


def _static_quantize(
    graph: ir.Graph, source: ir.Value, seen: Range, smooth: Array
) -> tuple[ir.Value, ir.Value, ir.Value, list[ir.Node]]:
    """Make the nodes that smooth and quantize a value with a fixed scale and zero point."""
    name = _name(source)
    nodes: list[ir.Node] = []
    if (smooth != 1).any():
        nodes.append(ir.node("Mul", [source, _constant(graph, f"{name}_smooth", 1 / smooth)]))
        source = nodes[-1].outputs[0]
    step, zero_point = _grid(seen, smooth)
    scale = _constant(graph, f"{name}_step", np.float32(step))
    zero = _constant(graph, f"{name}_zero", np.uint8(zero_point))
    nodes.append(ir.node("QuantizeLinear", [source, scale, zero]))
    return nodes[-1].outputs[0], scale, zero, nodes


def _grid(seen: Range, smooth: Array) -> tuple[float, int]:
    """Fit the step and the zero point of a uint8 grid to what was seen, with some headroom."""
    low = min(0.0, float((seen.low / smooth).min())) * HEADROOM
    high = max(0.0, float((seen.high / smooth).max())) * HEADROOM
    step = max(high - low, 1e-6) / 255
    return step, round(-low / step)


def _choose_smoothing(seen: Range, weight: Array) -> Array:
    """Choose divisors per channel that bring outlier channels down to the size of the others.

    As in SmoothQuant (Xiao et al., 2023), the matrix takes the factor over. It is worth its
    multiplication only where it makes the product's error much smaller.
    """
    size = np.maximum(np.abs(seen.low), np.abs(seen.high))  # (channel,)
    wanted = seen.sample @ weight
    candidates = [np.ones_like(size)]
    for part in SMOOTH_ABOVE:
        limit = max(float(np.quantile(size, part)), 1e-6)
        candidates.append(np.maximum(size / limit, 1).astype(np.float32))
    errors = []
    for smooth in candidates:
        step, zero = _grid(seen, smooth)
        grid = np.clip(np.round(seen.sample / smooth / step) + zero, 0, 255) - zero
        matrix, scale = _quantize_weight(weight * smooth[:, None])
        found = (grid.astype(np.float32) * step) @ (matrix.astype(np.float32) * scale)
        errors.append(float(np.square(found - wanted).mean()))
    best = int(np.argmin(errors))
    return candidates[best if errors[best] < WORTH * errors[0] else 0]


def _quantize_weight(weight: Array) -> tuple[Array, Array]:
    """Round a matrix (in, out) to int8 with a scale for each output channel."""
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-8) / 127
    return np.round(weight / scale).astype(np.int8), scale.astype(np.float32)


def _quantize_table(graph: ir.Graph, node: ir.Node) -> None:
    """Look rows up in an int8 table with a scale per row, if the table is large."""
    table = _array(node.inputs[0])
    if table is None or table.ndim != 2 or table.dtype != np.float32 or table.size < TABLE:
        return
    if node.attributes.get_int("axis", 0) != 0:
        return
    by_channel, scale = _quantize_weight(table.T)
    name = _name(node.outputs[0])
    ids = node.inputs[1]
    rows = ir.node("Gather", [_constant(graph, f"{name}_rows", by_channel.T.copy()), ids])
    scales = ir.node("Gather", [_constant(graph, f"{name}_scales", scale[:, None]), ids])
    cast = ir.node("Cast", [rows.outputs[0]], {"to": ir.DataType.FLOAT.value})
    product = ir.node("Mul", [cast.outputs[0], scales.outputs[0]])
    graph.insert_before(node, [rows, scales, cast, product])
    _replace(node.outputs[0], product.outputs[0])


# --- half precision ----------------------------------------------------------------------------


def half_graph(source: Path, target: Path) -> None:
    """Make a graph fp16 inside, for GPUs; its inputs and outputs keep their types."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        model = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    onnx.save(model, target)


# --- small things ------------------------------------------------------------------------------


def _session(path: Path) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU as it is."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _save(model: ir.Model, path: Path) -> None:
    """Write a model as one file, with its tensors beside it only above protobuf's limit."""
    values = model.graph.initializers.values()
    size = sum(value.const_value.nbytes for value in values if value.const_value is not None)
    ir.save(model, path, external_data=f"{path.name}.data" if size >= LARGE else None)


def _array(value: ir.Value | None) -> Array | None:
    """Return the content of a constant value."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return value.const_value.numpy()


def _constant(graph: ir.Graph, name: str, content: Any) -> ir.Value:
    """Add a constant to a graph."""
    array = np.asarray(content)
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(array.shape),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def _replace(old: ir.Value, new: ir.Value) -> None:
    """Let all users of a value use another, which takes its name and shape over."""
    new.shape, new.type, name = old.shape, old.type, old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    old.name, new.name = f"{name}_before", name


def _name(value: ir.Value) -> str:
    """Return the name of a value; all have one after a model is loaded."""
    assert value.name is not None
    return value.name


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that makes a value, if it is of this type."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def _only_user(value: ir.Value, op_type: str) -> ir.Node | None:
    """Return the only user of a value, if it is of this type and the value is no output."""
    users = [use.node for use in value.uses()]
    if len(users) != 1 or value.is_graph_output():
        return None
    return users[0] if users[0].op_type == op_type else None


def _permutation(transpose: ir.Node) -> list[int]:
    """Return the order of axes of a transposition."""
    return list(transpose.attributes.get_ints("perm", ()))
