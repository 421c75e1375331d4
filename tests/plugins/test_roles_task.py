"""The task of roles: its contract, its options, and a model that learns its texts by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from lmtool_roles.task import RolesOptions, RolesTask
from roles_kit import DOCUMENTS, document

import lmtool
from lmtool import Part
from lmtool.documents import Frame, FrameArgument, Span
from lmtool.testing import check_task, tiny_backbone

torch = pytest.importorskip("torch")
LABELS = {"roles": ["ARG0", "ARG1"]}
GIVEN = RolesOptions(predicates="given")


def test_it_keeps_the_contract() -> None:
    check_task(RolesTask, DOCUMENTS)


def test_labels_and_form() -> None:
    assert RolesTask.collect_labels(DOCUMENTS) == {
        "roles": ["ARG0", "ARG1", "ARG2", "ARGM-LOC", "ARGM-NEG", "ARGM-TMP", "R-ARG1"]
    }
    assert RolesTask.collect_form(DOCUMENTS) == {"width": 128, "layers": 2, "feedforward": 256}
    task = RolesTask(LABELS, {"width": 64, "layers": 1})
    head = task.build_head(32)
    sizes = [tuple(p.shape) for name, p in head.named_parameters() if "inner.weight" in name]
    assert sizes == [(256, 64)]
    with pytest.raises(lmtool.UsageError, match="width is 100"):
        RolesTask(LABELS, {"width": 100}).build_head(32)


def test_documents_without_frames_are_not_trained_on() -> None:
    task = RolesTask(LABELS)
    assert task.labels_of({"roles": ["ARG0"]}, ["entities"]) == {}
    assert task.targets(None, lmtool.Document(text="Ada left")) == {}  # type: ignore[arg-type]


def test_unknown_roles_are_refused() -> None:
    with pytest.raises(lmtool.UsageError, match="unknown role 'ARG7'"):
        RolesTask(LABELS).check_options(RolesOptions(roles=("ARG0", "ARG7")))


def test_merge_sorts_and_chooses() -> None:
    from lmtool_roles.finding import FoundFrame

    first = FoundFrame(4, 8, 0.9, [(0, 3, "ARG0", 0.8), (9, 12, "ARG1", 0.4)])
    second = FoundFrame(0, 3, 0.7, [])
    gold = lmtool.Document(text="Ada left Bob. It rained")
    parts = [Part(14, [second]), Part(0, [first])]
    task = RolesTask(LABELS)
    arguments = [FrameArgument("ARG0", 0, 3, "Ada", 0.8), FrameArgument("ARG1", 9, 12, "Bob", 0.4)]
    left, rained = Span(4, 8, "left", 0.9), Span(14, 17, "It ", 0.7)
    assert task.merge(gold, parts, RolesOptions()) == {
        "frames": [Frame(left, None, arguments), Frame(rained, None, [])]
    }
    for options, kept in (
        (RolesOptions(threshold=0.5), arguments[:1]),
        (RolesOptions(roles=("ARG1",)), arguments[1:]),
    ):
        frames = task.merge(gold, parts, options)["frames"]
        assert frames[0].arguments == kept


def test_punctuation_is_no_predicate_and_not_the_end_of_an_argument() -> None:
    from lmtool_roles.finding import FoundFrame

    text = "However, Ada , left. 艾达，走"
    spans = [(0, 8, "ARGM-DIS", 0.9), (9, 14, "ARG0", 0.9), (13, 14, "ARG1", 0.9)]
    found = [
        FoundFrame(15, 19, 0.9, spans),
        FoundFrame(19, 20, 0.9, []),
        FoundFrame(24, 25, 0.9, [(21, 24, "ARG0", 1.0)]),
    ]
    merged = RolesTask(LABELS).merge(lmtool.Document(text=text), [Part(0, found)], RolesOptions())
    assert [(f.predicate.text, [a.text for a in f.arguments]) for f in merged["frames"]] == [
        ("left", ["However", "Ada"]),
        ("走", ["艾达"]),
    ]


def test_given_frames_keep_their_predicates_and_senses() -> None:
    from lmtool_roles.finding import FoundFrame

    task = RolesTask(LABELS)
    gold = document("Ada left and wept", ("wept", {"Ada": "ARG0"}), ("left", {"Ada": "ARG1"}))
    assert gold.frames is not None
    gold.frames[0].sense = "weep.01"
    blank = task.blank(gold, GIVEN)
    bare = [Frame(Span(13, 17, "wept"), "weep.01"), Frame(Span(4, 8, "left"))]
    assert blank.frames == bare
    assert task.blank(gold, RolesOptions()).frames is None
    found = [Part(0, [FoundFrame(4, 8, 1.0, [(0, 3, "ARG0", 0.9)], 1)])]
    bare[1].arguments = [FrameArgument("ARG0", 0, 3, "Ada", 0.9)]
    assert task.merge(blank, found, GIVEN) == {"frames": bare}
    with pytest.raises(lmtool.DataError, match="no layer 'frames'"):
        task.merge(lmtool.Document(text="Ada"), [], GIVEN)


def test_the_graph_of_arguments_is_the_same_in_onnx(tmp_path: Path) -> None:
    from lmtool._graphs import export_graph, fuse_graph

    torch.manual_seed(0)
    task = RolesTask(LABELS, {"width": 64})
    module = task.build_head(32).eval().arguments
    examples = task.example_inputs({"hidden": torch.zeros(2, 8, 32)})
    plain, fused = tmp_path / "plain.onnx", tmp_path / "fused.onnx"
    export_graph(module, module.signature, plain, examples)
    assert fuse_graph(plain, fused) == 2
    rng = np.random.default_rng(0)
    for pairs, words in ((1, 1), (1, 7), (4, 1), (3, 12)):
        sizes = rng.integers(1, words + 1, pairs)
        feeds = {
            "tokens": rng.normal(size=(pairs, words, 64)).astype(np.float32),
            "predicate": rng.normal(size=(pairs, 32)).astype(np.float32),
            "distances": rng.integers(0, 65, (pairs, words)),
            "mask": np.arange(words) < sizes[:, None],
        }
        with torch.no_grad():
            wanted = module(**{k: torch.from_numpy(v) for k, v in feeds.items()})["tags"].numpy()
        for path in (plain, fused):
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            (found,) = session.run(["tags"], feeds)
            assert found.shape == (pairs, words, 5)
            np.testing.assert_allclose(found[feeds["mask"]], wanted[feeds["mask"]], atol=1e-5)


def test_a_batch_without_predicates_trains() -> None:
    torch.manual_seed(0)
    head = RolesTask(LABELS).build_head(32)
    hidden = torch.randn(2, 4, 32, requires_grad=True)
    outputs = head(hidden, torch.zeros(2, 0, 0).long(), torch.zeros(2, 0).long())
    targets = {
        "predicates": torch.tensor([[-100, 0, 0, -100]] * 2),
        "places": torch.zeros(2, 0).long(),
        "tags": torch.zeros(2, 0, 0).long(),
    }
    loss = head.loss(outputs, targets)
    loss.backward()
    assert torch.isfinite(loss)
    assert float(hidden.grad.abs().sum()) > 0  # type: ignore[union-attr]


def test_padding_changes_no_tag() -> None:
    torch.manual_seed(0)
    head = RolesTask(LABELS).build_head(32).eval()
    hidden = torch.randn(1, 6, 32)
    alone = head(hidden, torch.tensor([[[1, 2, 3]]]), torch.tensor([[1]]))["tags"]
    words = torch.tensor([[[1, 2, 3, -100, -100], [1, 2, 3, 4, 5], [-100] * 5]])
    both = head(hidden, words, torch.tensor([[1, 4, -100]]))["tags"]
    assert both.shape == (2, 5, 5)
    torch.testing.assert_close(both[:1, :3], alone)


def test_training_and_running_attend_alike() -> None:
    torch.manual_seed(0)
    head = RolesTask(LABELS).build_head(32)
    for module in head.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    inputs = torch.randn(1, 6, 32), torch.tensor([[[1, 2, 3, -100]]]), torch.tensor([[1]])
    torch.testing.assert_close(head.eval()(*inputs), head.train()(*inputs))


def test_it_learns_its_texts_by_heart(tmp_path: Path) -> None:
    from lmtool.evaluation import evaluate
    from lmtool.models import load
    from lmtool.training.config import make_config
    from lmtool.training.run import train

    data = tmp_path / "data.jsonl"
    data.write_bytes(b"".join(map(lmtool.documents.encode_document, DOCUMENTS)))
    base = tiny_backbone(tmp_path / "base", [d.text for d in DOCUMENTS])
    values = {
        "task": "roles", "data": [str(data)], "dev": [str(data)], "base": str(base),
        "out": str(tmp_path / "run"), "epochs": 60, "lr": 3e-3, "head_lr": 3e-3,
        "batch_tokens": 256, "max_tokens": 48, "eval_every": 60, "patience": 0,
        "precision": "no", "device": "cpu", "threads": 1,
        "form": {"width": 32, "feedforward": 64},
    }  # fmt: skip
    for _ in train(make_config(values)):
        pass
    for options in ({}, {"predicates": "given"}):
        report = evaluate(load(tmp_path / "run/best", device="cpu", **options), DOCUMENTS)
        assert (report["argument_f1"], report["predicate_f1"]) == (100, 100)
