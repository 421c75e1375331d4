"""The test kit: it passes good tasks, and says what is wrong with each bad one."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lmtool_extract.finding import FoundEntity
from lmtool_extract.task import ExtractTask

import lmtool
from lmtool.documents import UNKNOWN
from lmtool.testing import check_task, tiny_backbone

pytest.importorskip("torch")
Task = type[lmtool.EncoderTask]


def document(marked: str) -> lmtool.Document:
    """Make a document of "[Tim Cook PER] met nobody."."""
    text, entities = "", []
    for piece in re.split(r"(\[[^]]+\])", marked):
        inside, label = piece[1:-1].rsplit(" ", 1) if piece.startswith("[") else (piece, "")
        if label:
            end = len(text) + len(inside)
            entities.append(lmtool.Entity(start=len(text), end=end, text=inside, label=label))
        text += inside
    return lmtool.Document(text=text, entities=entities)


DOCUMENTS = [
    document("[Tim Cook PER] met [Angela Merkel PER] in [Berlin LOC]."),
    document("[Siemens ORG] is based in [Munich LOC]. So is [BMW ORG]."),
    document("Nobody came. [Paris LOC] was empty, said [Jane Doe PER] of [Acme ORG]."),
    document("The cat sat on the mat."),
    document("[温家宝 PER] was in [北京 LOC]."),
    document("[Re\u0301ne\u0301e PER] likes [Zu\u0308rich LOC]."),
    document("[Smith PER]-[Jones PER] left [New York LOC]; [Smith PER] stayed in [Rome LOC]."),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [document.text for document in DOCUMENTS]
    return tiny_backbone(tmp_path_factory.mktemp("tiny"), texts)


@pytest.fixture(scope="module")
def shout() -> Any:
    path = Path(__file__).parent / "third_party/lmtool-shout/lmtool_shout.py"
    spec = importlib.util.spec_from_file_location("lmtool_shout", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lmtool_shout"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["lmtool_shout"]


# ── Good tasks ───────────────────────────────────────────────────────────────────────────────


def test_the_task_of_extract_passes(base: Path) -> None:
    check_task(ExtractTask, DOCUMENTS, base=base)


def test_the_task_of_an_outsider_passes(shout: Any) -> None:
    lines = [
        "*HELP ME* said the man*!*",
        "The *DOG* barks *!*",
        "Nobody said a word.",
        "*STOP* now, or *GO AWAY**!!*",
        "A quiet day in May.",
    ]
    check_task(shout.ShoutTask, [shout.document_of(line.split("*")) for line in lines])


# ── Bad tasks ────────────────────────────────────────────────────────────────────────────────


class NoSummary(ExtractTask):
    summary = ""


class ReservedLayer(ExtractTask):
    layers = ("entities", "coverage")


class BadName(ExtractTask):
    name = "Extract It"


class Abstract(ExtractTask):
    infer = lmtool.EncoderTask.infer  # type: ignore[assignment]


Abstract.__abstractmethods__ = frozenset({"infer"})


@dataclass
class Thawed:
    threshold: float = 0.0


class ThawedOptions(ExtractTask):
    Options = Thawed


@dataclass(frozen=True)
class Needed:
    threshold: float


class NeededOptions(ExtractTask):
    Options = Needed


@dataclass(frozen=True)
class Odd:
    threshold: complex = 0j


class OddOptions(ExtractTask):
    Options = Odd


@dataclass(frozen=True)
class Taken:
    output: str = ""


class TakenOptions(ExtractTask):
    Options = Taken


class UnsortedLabels(ExtractTask):
    @classmethod
    def collect_labels(cls, documents: Any) -> dict[str, list[str]]:
        return {"entities": ["PER", "LOC", "ORG"]}


class UnknownAsLabel(ExtractTask):
    @classmethod
    def collect_labels(cls, documents: Any) -> dict[str, list[str]]:
        return {"entities": [UNKNOWN, "LOC", "ORG", "PER"]}


class NoMainMetric(ExtractTask):
    main_metric = "f2"


class HalfScore(ExtractTask):
    def score(self, gold: Any, predicted: Any) -> dict[str, Any]:
        report = super().score(gold, predicted)
        return {**report, "micro_f1": report["micro_f1"] / 100}


class BlindScore(ExtractTask):
    def score(self, gold: Any, predicted: Any) -> dict[str, Any]:
        return {"micro_f1": 100.0}


class ForgetsUnknown(ExtractTask):
    def targets(self, window: Any, document: Any) -> Any:
        known = [e for e in document.entities or () if e.label != UNKNOWN]
        return super().targets(window, document.with_layers({"entities": known}))


class ScoresUnknown(ExtractTask):
    def score(self, gold: Any, predicted: Any) -> dict[str, Any]:
        known = [
            d.with_layers({"entities": [e for e in d.entities or () if e.label != UNKNOWN]})
            for d in gold
        ]
        return super().score(known, predicted)


class LosesAPart(ExtractTask):
    def merge(self, document: Any, parts: Any, options: Any) -> dict[str, Any]:
        return super().merge(document, parts[:-1] if len(parts) > 1 else parts, options)


class LosesTheLastEntity(ExtractTask):
    def merge(self, document: Any, parts: Any, options: Any) -> dict[str, Any]:
        return {"entities": super().merge(document, parts, options)["entities"][:-1]}


class OffByOne(ExtractTask):
    def merge(self, document: Any, parts: Any, options: Any) -> dict[str, Any]:
        layers = super().merge(document, parts, options)
        for entity in layers["entities"]:
            entity.end += 1
        return layers


class OffsetsOfTheWindow(ExtractTask):
    def merge(self, document: Any, parts: Any, options: Any) -> dict[str, Any]:
        moved = [part._replace(start=0) for part in parts]
        return super().merge(document, moved, options)


class ForeignLayer(ExtractTask):
    def merge(self, document: Any, parts: Any, options: Any) -> dict[str, Any]:
        return {**super().merge(document, parts, options), "extra": 1}


class MergeRaises(ExtractTask):
    def merge(self, document: Any, parts: Any, options: Any) -> dict[str, Any]:
        raise KeyError("no luck")


class ConstantLoss(ExtractTask):
    def build_head(self, hidden_size: int) -> Any:
        head: Any = super().build_head(hidden_size)
        head.loss = lambda outputs, targets: outputs["logits"].sum() * 0 + 1
        return head


class BatchedLoss(ExtractTask):
    def build_head(self, hidden_size: int) -> Any:
        head: Any = super().build_head(hidden_size)
        head.loss = lambda outputs, targets: outputs["logits"].sum(2)
        return head


class NotANumber(ExtractTask):
    def build_head(self, hidden_size: int) -> Any:
        head: Any = super().build_head(hidden_size)
        head.loss = lambda outputs, targets: outputs["logits"].sum() / 0
        return head


class NoSignature(ExtractTask):
    def build_head(self, hidden_size: int) -> Any:
        head = super().build_head(hidden_size)
        del head.signature
        return head


CHEAP: list[tuple[Task, str]] = [
    (NoSummary, "class attribute 'summary' is not set"),
    (ReservedLayer, "layers holds a reserved name: ['coverage']"),
    (BadName, "the name is no command name: Extract It"),
    (Abstract, "not implemented: infer"),
    (ThawedOptions, "Options is no frozen dataclass"),
    (NeededOptions, "an option has no default"),
    (OddOptions, "an option cannot become a flag"),
    (TakenOptions, "an option cannot become a flag"),
    (UnsortedLabels, "labels of 'entities' are not sorted"),
    (UnknownAsLabel, "collect_labels takes '?' for a label"),
    (NoMainMetric, "score has no main metric 'f2'"),
    (HalfScore, "score(gold, gold) with gold is not 100 in micro_f1: 1.0"),
    (BlindScore, "score of no predictions at all is 100"),
    (ForgetsUnknown, "targets treat a span of entities labelled '?' like no span"),
    (ScoresUnknown, "score counts a prediction where the gold of entities is '?'"),
    (LosesAPart, "gold -> gold_parts -> merge loses or changes entities in a text of"),
    (LosesTheLastEntity, "gold -> gold_parts -> merge loses or changes entities"),
    (OffByOne, "text[start:end] is not the span's text in entities"),
    (OffsetsOfTheWindow, "gold -> gold_parts -> merge loses or changes entities"),
    (ForeignLayer, "merge wrote layers that are not in `layers`: ['extra']"),
    (MergeRaises, "gold -> gold_parts -> merge fails: KeyError: 'no luck'"),
    (ConstantLoss, "the loss does not fall"),
    (BatchedLoss, "the loss is no scalar"),
    (NotANumber, "the loss is no number"),
    (NoSignature, "the head of build_head has no 'signature'"),
]


@pytest.mark.parametrize(
    ("task", "message"), CHEAP, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_bad_task_is_told_what_is_wrong(base: Path, task: Task, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_task(task, DOCUMENTS, base=base)
    assert str(caught.value).startswith(f"task {task.name!r}: ")
    assert message in str(caught.value)


def found(score: float) -> dict[str, Any]:
    return {"entities": [FoundEntity(0, 1, "PER", score)]}


class DependsOnTheOrder(ExtractTask):
    def infer(self, graphs: Any, hidden: Any, windows: Any, options: Any) -> Any:
        return [
            found(float(index)) if len(window.word_tokens) else {"entities": []}
            for index, window in enumerate(windows)
        ]


class TakesPaddingForWords(ExtractTask):
    def infer(self, graphs: Any, hidden: Any, windows: Any, options: Any) -> Any:
        logits = graphs["head"].run(hidden)["logits"]
        return [
            found(float(row.sum())) if len(window.word_tokens) else {"entities": []}
            for row, window in zip(logits, windows, strict=True)
        ]


class LosesAWindow(ExtractTask):
    def infer(self, graphs: Any, hidden: Any, windows: Any, options: Any) -> Any:
        return super().infer(graphs, hidden, windows, options)[:-1]


class KeepsViews(ExtractTask):
    def infer(self, graphs: Any, hidden: Any, windows: Any, options: Any) -> Any:
        return [{"logits": row} for row in graphs["head"].run(hidden)["logits"]]

    def merge(self, document: Any, parts: Any, options: Any) -> dict[str, Any]:
        return {"entities": []}

    def gold_parts(self, window: Any, document: Any) -> Any:
        return None


class FailsOnEmptyTexts(ExtractTask):
    def infer(self, graphs: Any, hidden: Any, windows: Any, options: Any) -> Any:
        for window in windows:
            if window.text.isspace():
                window.word_starts[0]
        return super().infer(graphs, hidden, windows, options)


class FailsOnLongTexts(ExtractTask):
    def merge(self, document: Any, parts: Any, options: Any) -> dict[str, Any]:
        if len(document.text) > 1500:
            raise ValueError("too long")
        return super().merge(document, parts, options)


class RunsOtherwiseInOnnx(ExtractTask):
    def build_head(self, hidden_size: int) -> Any:
        import torch

        class Shifty(torch.nn.Module):
            def __init__(self, head: Any) -> None:
                super().__init__()
                self.head, self.signature, self.loss = head, head.signature, head.loss

            def forward(self, hidden: Any) -> dict[str, Any]:
                logits = self.head(hidden)["logits"]
                return {"logits": logits + float(torch.compiler.is_exporting())}

        return Shifty(super().build_head(hidden_size))


DEAR: list[tuple[Task, str]] = [
    (DependsOnTheOrder, "infer depends on the batch"),
    (TakesPaddingForWords, "infer depends on the batch"),
    (LosesAWindow, "infer gave"),
    (KeepsViews, "a part keeps a view of the whole batch's array"),
    (FailsOnEmptyTexts, "a text of white space fails: IndexError"),
    (FailsOnLongTexts, "a text ten times too long fails: ValueError: too long"),
    (RunsOtherwiseInOnnx, "PyTorch and ONNX differ by more than 0.001: 1"),
]


@pytest.mark.parametrize(
    ("task", "message"), DEAR, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_task_that_runs_badly_is_told_what_is_wrong(base: Path, task: Task, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_task(task, DOCUMENTS[:4], base=base)
    assert message in str(caught.value)


def test_documents_without_gold_prove_nothing(base: Path) -> None:
    with pytest.raises(AssertionError, match="no document has gold in entities"):
        check_task(ExtractTask, [lmtool.Document(text="No gold.")], base=base)


# ── The backbone ─────────────────────────────────────────────────────────────────────────────


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_the_tiny_backbone_is_the_same_each_time(tmp_path: Path) -> None:
    texts = [document.text for document in DOCUMENTS]
    made = [tiny_backbone(tmp_path / name, texts) for name in ("a", "b")]
    assert list(hashes(made[0])) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert hashes(made[0]) == hashes(made[1])
    other = tiny_backbone(tmp_path / "c", texts, seed=1)
    assert hashes(other)["model.safetensors"] != hashes(made[0])["model.safetensors"]
    assert hashes(other)["tokenizer.json"] == hashes(made[0])["tokenizer.json"]


def test_the_tiny_backbone_has_the_size_asked_for(tmp_path: Path) -> None:
    from lmtool.training.backbone import load_backbone

    folder = tiny_backbone(tmp_path / "b", ["a text"], hidden_size=8, layers=1, vocabulary=300)
    assert load_backbone(str(folder)).hidden_size == 8
    assert sum(p.stat().st_size for p in folder.iterdir()) < 200_000


@pytest.mark.parametrize(
    ("text", "words"),
    [("温家宝met", ["温", "家", "宝", "met"]), ("Don't!", ["Don", "'", "t", "!"])],
)
def test_the_words_of_the_tiny_backbone(base: Path, text: str, words: list[str]) -> None:
    from lmtool.windows import Encoding, TextEncoder

    encoder = TextEncoder.from_file(base / "tokenizer.json", Encoding())
    (window,) = encoder.windows(text)
    spans = zip(window.word_starts, window.word_ends, strict=True)
    assert [text[start:end] for start, end in spans] == words
