"""The task of extract: its contract, its options, and models that learn their texts by heart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extract_kit import DOCUMENTS, NOMINALS, happening, related, window
from lmtool_extract.finding import FoundRelation
from lmtool_extract.relations import RelationForm
from lmtool_extract.task import ExtractOptions, ExtractTask

import lmtool
from lmtool import Document, Entity
from lmtool.documents import encode_document
from lmtool.testing import check_task, run_cli, tiny_backbone

torch = pytest.importorskip("torch")
LABELS = {
    "entities": ["LOC", "PER"], "relations": ["friend"], "events": ["Harm", "event"],
    "arguments": ["Drug"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "between", "names"),
    [
        ("Then ", " ", ["Tim Cook"]),
        ("Then ", "\n  ", ["Tim\n  Cook"]),
        ("Then ", "\n\n", ["Tim"]),
        ("Then ", "\r\n \t\r\n ", ["Tim"]),
        ("Best,\n  ", "\n", ["Tim", "Cook"]),
        ("", "\r\n", ["Tim", "Cook"]),
    ],
)
def test_an_entity_ends_with_its_line(
    before: str, between: str, names: list[str], tiny_bundle: Path
) -> None:
    """With one that it fills, or before a blank one; not where a paragraph is broken."""
    document = lmtool.load(tiny_bundle)(f"{before}Tim{between}Cook met Angela Merkel.")
    found = [entity.text for entity in document.entities or ()]
    assert found == [*names, "Angela Merkel"]


@pytest.mark.parametrize(
    "documents",
    [DOCUMENTS, DOCUMENTS[6:7], NOMINALS],
    ids=["all layers", "triggers", "nominals"],
)
def test_it_keeps_the_contract(documents: Sequence[Document]) -> None:
    check_task(ExtractTask, documents)


def test_labels() -> None:
    assert ExtractTask.collect_labels(DOCUMENTS) == {
        "entities": ["LOC", "PER"],
        "relations": ["friend", "residence", "workplace"],
        "events": ["Harm", "Help", "event"],
        "arguments": ["Drug", "Effect", "Subject", "Subject.Age"],
    }
    assert ExtractTask.collect_labels(DOCUMENTS[6:]) == {"entities": ["LOC"], "events": ["event"]}
    assert ExtractTask.collect_labels([Document(text="Ada")]) == {"entities": []}
    assert list(ExtractTask.labels_of(LABELS, ["events"])) == ["events", "arguments"]
    assert list(ExtractTask.labels_of(LABELS, ["relations"])) == ["relations"]
    assert ExtractTask.labels_of(LABELS, ["arguments"]) == {}  # of no use without their events


def test_form() -> None:
    assert list(ExtractTask.collect_form(DOCUMENTS)) == ["relations", "events"]
    assert ExtractTask.collect_form(DOCUMENTS[7:]) == {}


def test_gold_is_of_the_layers_that_the_model_has() -> None:
    events = ExtractTask({"events": ["Harm"]})
    assert [events.has_gold(document) for document in DOCUMENTS] == [False] * 4 + [True] * 3 + [
        False
    ]


@pytest.mark.parametrize(
    ("only", "f1"),
    [
        ((), {"entities": 66.67, "relations": 100}),
        (("entities", "relations"), {"entities": 66.67, "relations": 100}),
        (("relations",), {"friend": 100}),
        (("entities",), {"LOC": 0, "PER": 100}),
    ],
)
def test_what_nobody_asked_for_is_not_scored(only: tuple[str, ...], f1: dict[str, float]) -> None:
    gold = related("Ada met Bob in Rome .", ["Ada/PER", "Bob/PER", "Rome/LOC"], [(1, 2, "friend")])
    entities = list(gold.entities or ())
    found = gold.with_layers({"entities": [*entities[:2], Entity(start=0, end=7, label="LOC")]})
    task = ExtractTask({"entities": ["LOC", "PER"], "relations": ["friend"]})
    asked = task.narrowed(ExtractOptions(only=only))
    report = asked.score([gold], [found])
    assert {name: row["f1"] for name, row in report["labels"].items()} == f1
    assert asked.has_gold(Document(text="x", entities=[])) is (only != ("relations",))


def test_what_names_no_entity_is_no_gold() -> None:
    for document in (*DOCUMENTS, *NOMINALS):
        ExtractTask.check_gold(document)
    without = related("Ada met Bob .", ["Ada/PER", "Bob/PER"], [(1, 3, "friend")])
    with pytest.raises(lmtool.DataError) as caught:
        ExtractTask.check_gold(without)
    assert caught.value.message == "relations[0].tail: no entity of the document has the id 'e3'"
    by_id = happening("Ada left .", ("Go", "left", {"Ada": "Who"}))
    (argument,) = (by_id.events or ())[0].arguments
    argument.entity, argument.start, argument.end = "e1", None, None
    with pytest.raises(lmtool.DataError, match=r"events\[0\]\.arguments\[0\]\.entity: no entity"):
        ExtractTask.check_gold(by_id)
    ExtractTask.check_gold(by_id.with_layers({"entities": related("Ada", ["Ada/P"]).entities}))


def test_relations_of_entities_without_ids_are_named_with_their_line(tmp_path: Path) -> None:
    good = related("Ada met Bob .", ["Ada/PER", "Bob/PER"], [(1, 2, "friend")])
    ends = [Entity(start=0, end=3, label="PER"), Entity(start=8, end=11, label="PER")]
    bad = good.with_layers({"entities": ends})
    data = tmp_path / "gold.jsonl"
    data.write_bytes(b"".join(map(encode_document, (good, bad, bad))))
    base = tiny_backbone(tmp_path / "base", [good.text])
    message = f"{data}:2: relations[0].head: no entity of the document has the id 'e1'"
    result = run_cli("data", "check", "extract", data, "--base", base)
    assert result.exit_code == 3
    assert f"cannot be read: {message}" in result.stdout
    flags = ["--data", data, "--base", base, "-o", tmp_path / "run"]
    result = run_cli("train", "extract", "--layers", "relations", *flags)
    assert result.exit_code == 3
    assert f"error: {message} (and 1 more)" in result.stderr


def test_targets_are_of_the_layers_that_the_document_has() -> None:
    task = ExtractTask(LABELS)
    pairs = ["mentions", "mention_groups", "group_types", "pairs", "pair_distances", "pair_labels"]
    arguments = ["triggers", "trigger_types", "argument_tags"]
    for document, names in (
        (DOCUMENTS[0], ["allowed", *pairs]),
        (DOCUMENTS[4], ["allowed_events", *arguments]),
        (DOCUMENTS[6], ["allowed_events"]),
        (DOCUMENTS[7], ["allowed"]),
        (Document(text="Ada"), []),
    ):
        assert list(task.targets(window(document), document)) == names
    alone = ExtractTask({"relations": ["friend"]})
    assert list(alone.targets(window(DOCUMENTS[0]), DOCUMENTS[0])) == pairs


def test_a_model_of_entities_alone_has_the_graph_that_it_always_had() -> None:
    task = ExtractTask({"entities": ["LOC", "PER"]})
    head = task.build_head(8)
    assert sorted(head.state_dict()) == ["linear.bias", "linear.weight"]
    graphs = task.graphs(head)
    signature: Any = graphs["head"].signature
    assert (list(graphs), signature.input_names, signature.output_names) == (
        ["head"], ["hidden"], ["logits"],
    )  # fmt: skip
    assert list(task.graphs(ExtractTask(LABELS).build_head(8))) == [
        "head", "relations", "events", "arguments",
    ]  # fmt: skip


def test_options_that_do_not_fit_are_refused() -> None:
    task = ExtractTask({"entities": ["LOC"], "events": ["event"]})
    task.check_options(ExtractOptions(labels=("LOC",), only=("events",)))
    with pytest.raises(lmtool.UsageError, match="unknown label 'PER'"):
        task.check_options(ExtractOptions(labels=("PER",)))
    with pytest.raises(lmtool.UsageError, match="unknown layer 'relations'"):
        task.check_options(ExtractOptions(only=("relations",)))


def test_given_layers() -> None:
    task, nominals = ExtractTask(LABELS), ExtractTask({"relations": ["Cause"]})
    assert task.given_layers(ExtractOptions()) == ()
    assert task.given_layers(ExtractOptions(only=("relations",))) == ("entities",)
    assert task.given_layers(ExtractOptions(only=("entities", "relations"))) == ()
    assert task.given_layers(ExtractOptions(frames=True)) == ("frames",)
    assert task.given_layers(ExtractOptions(only=("entities",), frames=True)) == ()
    assert nominals.given_layers(ExtractOptions()) == ("entities",)
    blank = nominals.blank(NOMINALS[0], ExtractOptions())
    assert (blank.entities, blank.relations) == (NOMINALS[0].entities, None)
    assert task.blank(NOMINALS[0], ExtractOptions()).entities is None


@pytest.mark.parametrize(
    ("options", "scores"),
    [
        (ExtractOptions(), [0.8808, 0.7311]),
        (ExtractOptions(threshold=0.8), [0.8808]),
        (ExtractOptions(relation_threshold=0.9), []),
        (ExtractOptions(threshold=0.9, relation_threshold=0.8), [0.8808]),
        (ExtractOptions(threshold=0.9, relation_threshold=0.0), [0.8808, 0.7311]),
    ],
)
def test_relations_may_have_a_threshold_of_their_own(
    options: ExtractOptions, scores: list[float]
) -> None:
    task = ExtractTask({"relations": ["friend", "enemy"]})
    found = [FoundRelation(0, 1, "friend", 2.0), FoundRelation(1, 0, "enemy", 1.0)]
    merged = task.merge(DOCUMENTS[3], [lmtool.Part(0, {"relations": found})], options)
    assert [relation.score for relation in merged["relations"]] == scores


# ── The head ─────────────────────────────────────────────────────────────────────────────────


def test_threshold_loss() -> None:
    from lmtool_extract.model import threshold_loss

    logits = torch.tensor([[[0.0, 1.0, 2.0, -1.0]]])
    e = np.exp

    def loss(*labels: int) -> float:
        return float(threshold_loss(logits, torch.tensor([[labels]])))

    none = np.log((1 + e(1) + e(2) + e(-1)) / 1)
    one = np.log((1 + e(1)) / e(1)) + np.log(1 + e(2) + e(-1))
    two = sum(np.log((1 + e(1) + e(2)) / e(x)) for x in (1, 2)) + np.log(1 + e(-1))
    assert loss(0, 0, 0, 0) == pytest.approx(none, abs=1e-6)
    assert loss(0, 1, 0, 0) == pytest.approx(one, abs=1e-6)
    assert loss(0, 1, 1, 0) == pytest.approx(two, abs=1e-6)
    assert loss(0, 1, -100, -100) == pytest.approx(np.log((1 + e(1)) / e(1)), abs=1e-6)
    assert loss(0, -100, -100, -100) == 0


@pytest.mark.parametrize("is_exclusive", [False, True])
def test_padding_changes_no_relation(is_exclusive: bool) -> None:
    from lmtool_extract.finding import stack
    from lmtool_extract.model import RelationHead
    from lmtool_extract.relations import gold_pairs

    torch.manual_seed(0)
    form = RelationForm(("friend", "residence"), ("LOC", "PER"), is_exclusive=is_exclusive)
    head = RelationHead(16, form).eval()
    names = head.signature.input_names
    documents = [DOCUMENTS[3], DOCUMENTS[0]]
    rows = [gold_pairs(window(d), d, form) for d in documents]
    n_tokens = [len(window(d).ids) for d in documents]
    assert n_tokens == [6, 8]
    hidden, mask = torch.randn(2, 8, 16), torch.ones(2, 8, dtype=torch.long)
    mask[0, 6:] = 0

    def run(hidden: Any, mask: Any, rows: list[dict[str, Any]]) -> tuple[Any, Any]:
        stacked = {name: torch.from_numpy(stack([r[name] for r in rows])) for name in rows[0]}
        inputs = {"hidden": hidden, "attention_mask": mask, **stacked}
        outputs = head(**{name: inputs[name] for name in names})
        return outputs["relations"], head.loss(outputs, stacked)

    both, loss = run(hidden, mask, rows)
    losses = []
    for row, n in enumerate(n_tokens):
        alone, one = run(hidden[row : row + 1, :n], mask[row : row + 1, :n], rows[row : row + 1])
        n_pairs = alone.shape[1]
        torch.testing.assert_close(both[row : row + 1, :n_pairs], alone)
        losses.append((one * n_pairs, n_pairs))
    mean = sum(x for x, _ in losses) / sum(n for _, n in losses)
    torch.testing.assert_close(loss, mean)


# ── Models ───────────────────────────────────────────────────────────────────────────────────


def trained(folder: Path, documents: Sequence[Document], **changes: Any) -> Path:
    """Train on these documents until they are known by heart; return the checkpoint."""
    from lmtool.training.config import make_config
    from lmtool.training.run import train

    data = folder / "data.jsonl"
    data.write_bytes(b"".join(map(encode_document, documents)))
    base = tiny_backbone(folder / "base", [document.text for document in documents])
    values = {
        "task": "extract", "data": [str(data)], "dev": [str(data)], "base": str(base),
        "out": str(folder / "run"), "epochs": 40, "lr": 3e-3, "head_lr": 3e-3,
        "batch_tokens": 256, "max_tokens": 48, "eval_every": 40, "patience": 0,
        "precision": "no", "device": "cpu", "threads": 1, **changes,
    }  # fmt: skip
    for _ in train(make_config(values)):
        pass
    return folder / "run/best"


def test_it_learns_all_layers_by_heart(tmp_path: Path) -> None:
    from lmtool.evaluation import evaluate

    checkpoint = trained(tmp_path, DOCUMENTS)
    model = lmtool.load(checkpoint, device="cpu")
    report = evaluate(model, DOCUMENTS)
    f1 = {name: row["f1"] for name, row in report["labels"].items()}
    assert f1 == {"entities": 100, "relations": 100, "triggers": 100, "arguments": 100}
    assert (report["micro_f1"], report["errors"]) == (100, [0] * 8)

    blank = [model.task.blank(document, model.options) for document in DOCUMENTS]
    calibrated = model.task.calibrate(DOCUMENTS, model.parts(blank))
    form = model.task.form["relations"]
    assert calibrated == {"relations": {**form, "bias": calibrated["relations"]["bias"]}}
    model.task = ExtractTask(model.task.labels, {**model.task.form, **calibrated})
    assert evaluate(model, DOCUMENTS)["micro_f1"] == 100
    assert model.task.calibrate(DOCUMENTS[4:], model.parts(blank[4:])) == {}

    ada, paris = DOCUMENTS[0], DOCUMENTS[7]
    only = lmtool.load(checkpoint, device="cpu", only=("relations",))
    (given,) = only.annotate([only.task.blank(ada, only.options)])
    assert (given.entities, given.events) == (ada.entities, None)
    ends = {(r.head, r.tail, r.label) for r in given.relations or ()}
    assert ends == {(r.head, r.tail, r.label) for r in ada.relations or ()}
    report = evaluate(only, DOCUMENTS)
    assert (report["documents"], list(report["labels"])) == (4, model.labels["relations"])
    (found,) = only.annotate([Document(text=ada.text)])
    assert [e.text for e in found.entities or ()] == ["Ada", "Babbage", "London"]
    assert len(found.relations or ()) == 3
    only = lmtool.load(checkpoint, device="cpu", only=("entities",))
    report = evaluate(only, DOCUMENTS)
    assert (report["documents"], list(report["labels"])) == (5, ["LOC", "PER"])
    (found,) = only.annotate([Document(text=paris.text)])
    assert (found.relations, found.events) == (None, None)
    only = lmtool.load(checkpoint, device="cpu", labels=("PER",), threshold=1.0)
    (found,) = only.annotate([Document(text=ada.text)])
    assert (found.entities, found.relations, found.events) == ([], [], [])


def test_it_learns_relations_of_given_nominals_by_heart(tmp_path: Path) -> None:
    from lmtool.evaluation import evaluate

    model = lmtool.load(trained(tmp_path, NOMINALS, layers=["relations"]), device="cpu")
    assert model.task.form["relations"]["exclusive"] is True
    assert list(model.task.labels) == ["relations"]
    report = evaluate(model, NOMINALS)
    assert list(report["labels"]) == ["Cause", "Part"]
    assert (report["micro_f1"], report["macro_f1"]) == (100, 100)
    (without,) = model.annotate([Document(text="The fire caused smoke .")])
    assert (without.entities, without.relations) == (None, [])


def test_entities_with_the_same_name_are_one(tmp_path: Path) -> None:
    names = ["Ada/PER", "Babbage/PER", "Ada/PER", "London/LOC"]
    document = related(
        "Ada met Babbage . Ada lived in London .", names, [(1, 2, "friend"), (1, 4, "residence")],
        clusters=[["e1", "e3"]],
    )  # fmt: skip
    model = lmtool.load(trained(tmp_path, [document]), device="cpu")
    (found,) = model.annotate([Document(text=document.text)])
    ends = [(r.head, r.tail, r.label) for r in found.relations or ()]
    assert ends == [("e1", "e2", "friend"), ("e1", "e4", "residence")]


def test_what_is_not_annotated_is_found_all_the_same(tmp_path: Path) -> None:
    sets = [
        happening("Aspirin hurt him .", ("Harm", "hurt", {"Aspirin": "Drug"}),
                  annotated={"events": ["Harm"]}),
        happening("Nobody came here .", ("event", "came", {}),
                  annotated={"events": ["event"], "arguments": []}),
    ]  # fmt: skip
    model = lmtool.load(trained(tmp_path, sets), device="cpu")
    assert model.task.form["events"] == {"roles": {"Harm": ["Drug"], "event": []}, "reach": 0}
    first, second = model.annotate([Document(text=d.text) for d in sets])
    assert [(e.label, [a.role for a in e.arguments]) for e in first.events or ()] == [
        ("Harm", ["Drug"])
    ]
    assert [(e.label, e.arguments) for e in second.events or ()] == [("event", [])]


def test_entities_may_be_given_without_ids() -> None:
    entities = [Entity(start=4, end=8, label="X"), Entity(start=16, end=21, label="X")]
    document = Document(text="The fire caused smoke .", entities=entities, relations=[])
    task = ExtractTask({"relations": ["Cause"]})
    pairs = task.targets(window(document), document)["pairs"]
    assert pairs.tolist() == [[0, 1], [1, 0]]
