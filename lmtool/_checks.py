"""What `lmtool.testing.check_task` proves of a task: one function for each property.

Each raises an AssertionError that names the task, the property and what was found.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from . import _values
from .batching import cut_batches
from .documents import (
    LAYERS,
    UNKNOWN,
    Document,
    document_from_record,
    document_to_record,
    encode_document,
)
from .errors import LmtoolError, UsageError
from .models import Model
from .tasks import EncoderTask, Part, TextTask, make_options
from .windows import Encoding, TextEncoder, Window

if TYPE_CHECKING:
    from .training.checkpoint import Checkpoint

MAX_TOKENS = 48
"""Windows are short here, so that most documents have several."""

STEPS = 40
FILLER = "Nothing of note happened on that day. "

ODD_TEXTS = {
    "an empty text": "",
    "a text of one character": "a",
    "a text of white space": " \t\n\u00a0\u2003\r\n ",
    "a text of emoji": "👍🏽 \N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL} met 🇩🇪🏳️\u200d🌈!",
    "a text of decomposed characters": "Re\u0301ne\u0301e met Zoe\u0308 in Zu\u0308rich, \u0301.",
    "a Chinese text": "温家宝在北京会见了默克尔。你好，世界！",
    "a text without spaces": "a" * 400 + "," * 400,
}


def require(condition: object, task: Any, what: str, found: object = "") -> None:
    """Raise an AssertionError with the task's name and the property unless it holds."""
    if not condition:
        name = getattr(task, "name", None) or getattr(task, "__name__", str(task))
        raise AssertionError(f"task {name!r}: {what}" + (f": {found}" if found != "" else ""))


@contextlib.contextmanager
def telling(task: Any, what: str) -> Iterator[None]:
    """Turn what the task's own code raises into an AssertionError that says what was tried."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise AssertionError(f"task {task.name!r}: {what} fails: {found}") from error


# ── The class ────────────────────────────────────────────────────────────────────────────────


def check_class(task: type[EncoderTask] | type[TextTask]) -> None:
    """The class attributes are set, and nothing abstract is left."""
    kinds = {"name": str, "summary": str, "layers": tuple, "main_metric": str, "Options": type}
    for name, kind in kinds.items():
        value = getattr(task, name, None)
        require(isinstance(value, kind) and value, task, f"class attribute {name!r} is not set")
    pattern = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
    require(re.fullmatch(pattern, task.name), task, "the name is no command name", task.name)
    require("\n" not in task.summary, task, "the summary is more than one line")
    names = all(isinstance(name, str) for name in task.layers)
    require(names, task, "layers is no tuple of names", task.layers)
    reserved = {"id", "text", "annotated", "coverage"} & set(task.layers)
    require(not reserved, task, "layers holds a reserved name", sorted(reserved))
    left = sorted(task.__abstractmethods__)
    require(not left, task, "not implemented", ", ".join(left))


def check_options(task: type[EncoderTask] | type[TextTask]) -> None:
    """The options are a frozen dataclass with defaults that becomes flags; a typo is an error."""
    options = task.Options
    parameters = getattr(options, "__dataclass_params__", None)
    require(parameters and parameters.frozen, task, "Options is no frozen dataclass")
    try:
        options()
    except TypeError as error:
        require(False, task, "an option has no default", error)
    try:
        make_options(options, {"no_such_option": 1})
    except UsageError:
        pass
    else:
        require(False, task, "an unknown option is no UsageError")
    from .cli.task import task_command

    try:
        task_command(task)
    except LmtoolError as error:
        require(False, task, "an option cannot become a flag", error)


# ── Gold, labels and scores ──────────────────────────────────────────────────────────────────


def check_labels(task: type[EncoderTask], documents: Sequence[Document]) -> EncoderTask:
    """The labels are sorted, without "?", and make an instance; return it."""
    gold = [d for d in documents if any(d.layer(name) for name in task.layers)]
    require(gold, task, f"no document has gold in {', '.join(task.layers)}: give some that have")
    labels = task.collect_labels(documents)
    for key, names in labels.items():
        require(UNKNOWN not in names, task, f"collect_labels takes {UNKNOWN!r} for a label")
        require(names == sorted(set(names)), task, f"labels of {key!r} are not sorted", names)
    return task(labels, task.collect_form(documents))


def check_scores(task: EncoderTask | TextTask, documents: Sequence[Document]) -> None:
    """Gold against gold is 100, also read back from JSON; missing everything is less."""
    gold, metric = list(documents), task.main_metric
    read = [_read_back(document) for document in gold]
    for name, first, second in (
        ("gold", gold, gold),
        ("gold read from JSON", read, gold),
        ("predictions read from JSON", gold, read),
    ):
        report = task.score(first, second)
        require(metric in report, task, f"score has no main metric {metric!r}", sorted(report))
        what = f"score(gold, gold) with {name} is not 100 in {metric}"
        require(math.isclose(report[metric], 100), task, what, report[metric])
        errors = report.get("errors")
        right = errors is None or list(errors) == [0] * len(gold)
        require(right, task, "score: errors is not a 0 for each document of gold", errors)
    empty = [document.without_layers(task.layers) for document in gold]
    worst = task.score(gold, empty)[metric]
    require(worst < 100, task, f"score of no predictions at all is 100 in {metric}")


def check_unknown(task: EncoderTask, encoder: TextEncoder, documents: Sequence[Document]) -> None:
    """A gold span with the label "?" is neither trained on nor scored."""
    for document in documents:
        for name in task.layers:
            for index, item in enumerate(_values.labelled_spans(document.layer(name))):
                layer = list(document.layer(name))
                hidden = [_values.changed(item, label=UNKNOWN), *layer[:index], *layer[index + 1 :]]
                unknown = document.with_layers({name: hidden})
                absent = document.with_layers({name: hidden[1:]})
                as_unknown = _targets(task, encoder, unknown)
                what = f"targets treat a span of {name} labelled {UNKNOWN!r} like "
                is_absent = _values.same(as_unknown, _targets(task, encoder, absent), 0)
                require(not is_absent, task, f"{what}no span", item)
                is_known = _values.same(as_unknown, _targets(task, encoder, document), 0)
                require(not is_known, task, f"{what}its label", item)
                score = task.score([unknown], [document])[task.main_metric]
                one = task.score([document], [document])[task.main_metric]
                what = f"score counts a prediction where the gold of {name} is {UNKNOWN!r}"
                has_other = bool(hidden[1:])
                require(score == one or not has_other, task, what, item)
                break


def check_round_trip(
    task: EncoderTask, encoder: TextEncoder, documents: Sequence[Document]
) -> None:
    """Gold -> gold_parts -> merge gives the gold again, in every window of a long text too."""
    options = task.Options()
    for document in documents:
        for shifted in (document, _shifted(document, FILLER * 12)):
            windows = list(encoder.windows(shifted.text))
            if not all(_fits(windows, *span[1:3]) for span in spans_of(task, shifted)):
                continue
            blank = shifted.without_layers(task.layers)
            parts = [Part(w.start, task.gold_parts(w, shifted)) for w in windows]
            if any(part.value is None for part in parts):
                return
            layers = task.merge(blank, parts, options)
            check_layers(task, blank, layers, "merge of gold parts")
            merged = blank.with_layers(layers)
            where = f"in a text of {len(windows)} windows"
            for name in task.layers:
                gold, found = _values.items(shifted.layer(name)), _values.items(merged.layer(name))
                what = f"gold -> gold_parts -> merge loses or changes {name} {where}"
                require(found == gold, task, what, f"gold {gold}, merged {found}")
            score = task.score([shifted], [merged])[task.main_metric]
            best = task.score([shifted], [shifted])[task.main_metric]
            what = f"gold -> gold_parts -> merge scores {score}, not {best} {where}"
            require(score == best, task, what)


def check_layers(task: EncoderTask | TextTask, document: Document, layers: Any, where: str) -> None:
    """A result holds only the task's layers, every span says the text that it covers."""
    require(isinstance(layers, Mapping), task, f"{where}: merge gave no dict", type(layers))
    others = sorted(layers.keys() - set(task.layers))
    require(not others, task, f"{where}: merge wrote layers that are not in `layers`", others)
    annotated = document.with_layers(layers)
    for name, start, end, text in spans_of(task, annotated):
        what = f"{where}: {name} {start}:{end} does not fit a text of {len(document.text)}"
        require(0 <= start < end <= len(document.text), task, what)
        covered = document.text[start:end]
        what = f"{where}: text[start:end] is not the span's text in {name} {start}:{end}"
        require(text in (None, covered), task, what, f"{text!r}, the text there is {covered!r}")
    try:
        read = document_from_record(msgspec.json.decode(encode_document(annotated)))
    except (LmtoolError, TypeError) as error:
        require(False, task, f"{where}: the layers cannot be written and read again", error)
    same = msgspec.to_builtins(document_to_record(read)) == msgspec.to_builtins(
        document_to_record(annotated)
    )
    require(same, task, f"{where}: the layers change when they are written and read again")


# ── Training and export ──────────────────────────────────────────────────────────────────────


def train_briefly(
    task: EncoderTask, base: Path, encoder: TextEncoder, documents: Sequence[Document]
) -> Checkpoint:
    """Build the head, prove that its loss falls within some steps, and return a checkpoint."""
    import torch

    from .training.backbone import load_backbone
    from .training.batches import Example, Source, examples_of, pad
    from .training.checkpoint import Checkpoint, CheckpointInfo, Head, HeadInfo
    from .training.learner import Network

    backbone = load_backbone(str(base))
    head = task.build_head(backbone.hidden_size)
    for name in ("signature", "loss"):
        require(hasattr(head, name), task, f"the head of build_head has no {name!r}")
    source = Source(task, documents, task.name)
    examples = [e for found in examples_of(source, encoder, documents) for e in found]
    for example in examples:
        for key, array in example.targets.items():
            right = isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
            require(right, task, f"targets: {key!r} is no array of numbers", type(array))
    by_kind: dict[tuple[str, ...], list[Example]] = {}
    for example in examples:
        by_kind.setdefault(example.kind, []).append(example)
    batches = [
        pad([kind[i] for i in batch])
        for kind in by_kind.values()
        for batch in cut_batches([example.n_tokens for example in kind], 2048)
    ]
    network = Network(backbone, {task.name: head})
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses: list[float] = []
    for step in range(STEPS):
        batch = batches[step % len(batches)]
        loss = network.eval()(task.name, batch.inputs, batch.targets)
        require(loss.ndim == 0, task, "the loss is no scalar", tuple(loss.shape))
        losses.append(float(loss.detach()))
        require(math.isfinite(losses[-1]), task, "the loss is no number", losses[-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    n = min(len(batches), STEPS // 2)
    first, last = sum(losses[:n]) / n, sum(losses[-n:]) / n
    falls = f"the loss does not fall in {STEPS} steps"
    require(last < first, task, falls, f"{first:.4f} to {last:.4f}")
    infos = {task.name: HeadInfo(task=task.name, labels=task.labels, form=task.form)}
    info = CheckpointInfo(heads=infos, encoding=encoder.encoding, base=str(base))
    heads = {task.name: Head(task, head.eval(), {})}
    return Checkpoint(info, backbone.eval(), encoder, heads)


def check_export(checkpoint: Checkpoint, folder: Path, tolerance: float) -> tuple[Model, Model]:
    """The head gives the same numbers in PyTorch and ONNX; return a model with each."""
    from .exporting import largest_difference, open_heads, write_heads
    from .training.inference import model_from_checkpoint

    head = checkpoint.head()
    task = head.task
    write_heads(checkpoint, head, folder)
    graphs = open_heads(head, folder)
    first = model_from_checkpoint(checkpoint)
    second = Model(task, checkpoint.encoder, first.backbone, graphs, name="check")
    text = FILLER * 12
    windows = [w for t in (*ODD_TEXTS.values(), text) for w in checkpoint.encoder.windows(t)]
    difference = largest_difference(first, second, windows)
    what = f"PyTorch and ONNX differ by more than {tolerance:g}"
    require(difference <= tolerance, task, what, f"{difference:.2g}")
    return first, second


def check_runs_agree(first: Model, second: Model, documents: Sequence[Document]) -> None:
    """A PyTorch model and its ONNX graphs write the same layers."""
    task = first.task
    blank = [document.without_layers(task.layers) for document in documents]
    for document, a, b in zip(blank, first.annotate(blank), second.annotate(blank), strict=True):
        for name in task.layers:
            what = f"PyTorch and ONNX write other {name} for {document.text[:60]!r}"
            one, other = _values.plain(a.layer(name)), _values.plain(b.layer(name))
            require(_values.same(one, other, 1e-2), task, what, f"{one} and {other}")


# ── Running ──────────────────────────────────────────────────────────────────────────────────


def check_batches(model: Model, texts: Sequence[str], tolerance: float) -> None:
    """A window gets the same part alone, in a batch, and in a batch of another order."""
    task, options = model.task, model.task.Options()
    windows = [window for text in texts for window in model.encoder.windows(text)][:64]
    order = np.random.default_rng(0).permutation(len(windows)).tolist()

    def run(batch: Sequence[Window]) -> list[Any]:
        parts = task.infer(model.graphs, model.hidden(batch), batch, options)
        what = f"infer gave {len(parts)} parts for {len(batch)} windows"
        require(len(parts) == len(batch), task, what)
        return parts

    together = run(windows)
    shuffled = dict(zip(order, run([windows[i] for i in order]), strict=True))
    for index, window in enumerate(windows):
        require(
            not _values.keeps_view(together[index], len(windows)),
            task,
            "infer: a part keeps a view of the whole batch's array, copy what it needs",
        )
        for other, name in (
            (run([window])[0], "a batch of 1"),
            (shuffled[index], "a batch in another order"),
        ):
            what = f"infer depends on the batch: {name} gives another part for {window.text[:40]!r}"
            same = _values.same(together[index], other, tolerance)
            require(same, task, what, f"{together[index]!r} and {other!r}")


def check_texts(model: Model, texts: Mapping[str, str]) -> None:
    """Texts of every kind give layers with spans that fit; the document is left as it was."""
    task = model.task
    for name, text in texts.items():
        document = Document(text=text, id=name, fields={"other": [1]})
        before = encode_document(document)
        with telling(task, name):
            (annotated,) = model.annotate([document])
        check_layers(task, document, _written(model, document, annotated), name)
        require(encode_document(document) == before, task, f"{name}: the document was changed")


def odd_texts(encoder: TextEncoder, documents: Sequence[Document]) -> dict[str, str]:
    """Return the texts that every task must stand, one of them ten windows long."""
    real = " ".join(document.text for document in documents)
    while len(real) < 2000 or len(list(encoder.windows(real))) < 10:
        real += " " + FILLER + real
    return {**ODD_TEXTS, "a text ten times too long": real}


def encoder_of(base: Path) -> TextEncoder:
    """Return an encoder with short windows for the tokenizer of an encoder's folder."""
    from .training.backbone import load_tokenizer

    return TextEncoder(load_tokenizer(str(base)), Encoding(max_tokens=MAX_TOKENS))


# ── Documents ────────────────────────────────────────────────────────────────────────────────


def spans_of(
    task: EncoderTask | TextTask, document: Document
) -> Iterator[tuple[str, int, int, str | None]]:
    """Yield name, start, end and text of all that has offsets in the layers of a task."""
    for name in task.layers:
        yield from _values.spans(name, _values.plain(document.layer(name)))


def _shifted(document: Document, filler: str) -> Document:
    """Return the document with `filler` before its text and every offset moved."""
    record = {
        name: value
        if name == "annotated"
        else _values.moved(_values.plain(value), len(filler), name)
        for name, value in document_to_record(document).items()
    }
    return document_from_record({**record, "text": filler + document.text})


def _fits(windows: Sequence[Window], start: int, end: int) -> bool:
    return any(window.words_of(start, end) is not None for window in windows)


def _targets(task: EncoderTask, encoder: TextEncoder, document: Document) -> list[Any]:
    return [task.targets(window, document) for window in encoder.windows(document.text)]


def _written(model: Model, document: Document, annotated: Document) -> dict[str, Any]:
    """Return the layers that a run added to or changed in a document."""
    names = {*LAYERS, *annotated.fields} - {"coverage"}
    pairs = {name: (document.layer(name), annotated.layer(name)) for name in names}
    return {name: new for name, (old, new) in pairs.items() if new is not old}


def _read_back(document: Document) -> Document:
    return document_from_record(msgspec.json.decode(encode_document(document)))
