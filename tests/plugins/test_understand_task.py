"""The tasks of understanding: their contract, and from gold to commands that run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lmtool_understand.embedding import EmbedTask
from lmtool_understand.task import UnderstandOptions, UnderstandTask
from tiny_bundle import write_tiny_bundle

import lmtool
from lmtool import Document, Label
from lmtool.documents import encode_document
from lmtool.testing import check_task, run_cli, tiny_backbone

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("home")


def labels(*names: str) -> list[Label]:
    return [Label(label=name) for name in names]


def gold() -> list[Document]:
    """Return texts with gold in four schemes: one, one or none, several, a number."""
    found = []
    for good, bad in zip("good fine great".split(), "bad poor dire".split(), strict=True):
        for word, mood in ((good, labels("glad")), (bad, labels("sad"))):
            text = f"The film was {word} and so was the cast."
            found.append(Document(text=text, labels={"mood": mood, "tags": labels("cast", "film")}))
        text = f"A {good} book, a {bad} day."
        found.append(Document(text=text, labels={"tags": labels("book"), "mood": []}))
        found.append(Document(text=f"{good} {good}!", labels={"stars": [Label(value=5.0)]}))
        found.append(Document(text=f"{bad} {bad}!", labels={"stars": [Label(value=1.0)]}))
    found.append(Document(text="A day.", labels={"topic": labels("time"), "tags": []}))
    found.append(Document(text="A film.", labels={"topic": labels("art")}))
    return found


def vectors(texts: list[str]) -> list[Document]:
    random = np.random.default_rng(0)
    found = []
    for text in texts:
        vector = random.normal(size=32)
        rounded = [round(x, 6) for x in (vector / np.linalg.norm(vector)).tolist()]
        found.append(Document(text=text, fields={"embedding": rounded}))
    return found


TEXTS = [document.text for document in gold()]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("tiny"), TEXTS)


@pytest.fixture(scope="module")
def embedder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint whose embeddings are the mean states of the tiny encoder."""
    return train("embed", vectors(TEXTS), base, tmp_path_factory.mktemp("embed"), "--max-steps=1")


@pytest.fixture(scope="module")
def classifier(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("understand")
    rates = ["--lr", "1e-3", "--head-lr", "5e-3"]
    return train("understand", gold(), base, folder, "--epochs", "60", "--eval-every=60", *rates)


def train(task: str, documents: list[Document], base: Path, folder: Path, *flags: str) -> Path:
    """Train on documents and return the checkpoint."""
    data = folder / "gold.jsonl"
    data.write_bytes(b"".join(map(encode_document, documents)))
    files = ["--data", data, "--dev", data, "--base", base, "-o", folder / "run"]
    result = run_cli("train", task, *files, "--threads", "1", "-q", *flags)
    assert result.exit_code == 0, result.stderr
    return folder / "run" / "best"


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# ── The contract ─────────────────────────────────────────────────────────────────────────────


def test_understand_keeps_the_contract(base: Path) -> None:
    check_task(UnderstandTask, gold(), base=base)


def test_embed_keeps_the_contract(base: Path) -> None:
    check_task(EmbedTask, vectors(TEXTS[:6]), base=base)


def test_gold_is_that_of_the_schemes_of_the_model() -> None:
    task = UnderstandTask({"mood": ["glad"]}, {"pairs": True})
    assert task.has_gold(Document(text="x", labels={"mood": []}))
    assert not task.has_gold(Document(text="x", labels={"topic": []}))
    assert not task.has_gold(Document(text="x"))
    assert task.reads_pairs
    assert UnderstandTask.labels_of({"a": ["x"], "b": []}, ["b"]) == {"b": []}
    assert UnderstandTask.labels_of({"a": ["x"], "b": []}, ["labels"]) == {"a": ["x"], "b": []}


def test_other_schemes_of_a_document_stay() -> None:
    task = UnderstandTask({"mood": ["glad", "sad"]})
    part = lmtool.Part(0, (2, {"mood": np.array([5.0, 0.0])}))
    document = Document(text="x", labels={"topic": labels("art"), "mood": labels("sad")})
    found = task.merge(document, [part], UnderstandOptions())["labels"]
    assert found == {"topic": labels("art"), "mood": [Label(label="glad", score=0.9933)]}


def test_a_text_without_words_has_no_label() -> None:
    task = UnderstandTask({"mood": ["glad", "sad"]})
    part = lmtool.Part(0, (0, {"mood": np.array([5.0, 0.0])}))
    assert task.merge(Document(text=" "), [part], UnderstandOptions())["labels"] == {"mood": []}
    part = lmtool.Part(0, (1, {"mood": np.array([5.0, 0.0])}))  # one for the tokenizer
    assert task.merge(Document(text="…"), [part], UnderstandOptions())["labels"] == {"mood": []}


def test_two_texts_of_which_one_has_no_word_have_no_label() -> None:
    task = UnderstandTask({"inference": ["neutral", "same"]}, {"pairs": True})
    part = lmtool.Part(0, (2, {"inference": np.array([5.0, 0.0])}))
    for pair, names in (("…", []), ("", []), ("A film.", ["neutral"])):
        document = Document(text="A film.", pair=pair)
        found = task.merge(document, [part], UnderstandOptions())["labels"]["inference"]
        assert [label.label for label in found] == names


def test_a_scheme_of_another_model_is_named_with_it() -> None:
    result = run_cli("understand", "--scheme", "sentiment,inference", "--text", "x")
    assert result.exit_code == 2
    assert "unknown scheme 'inference'\n  this model has: intent, sentiment, topic" in result.stderr
    hint = "inference-en has it: lmtool annotate --layers sentiment,inference takes both"
    assert hint in result.stderr


@pytest.mark.parametrize(
    ("records", "at", "message"),
    [
        (
            [{"mail": [{"label": "a"}]}, {"mail": [{"label": "b"}]}, {"mail": [{"value": 1}]}],
            3,
            "labels.mail: some documents have a number, others a label",
        ),
        (
            [{"mail": [{"label": "a"}]}, {"mail": [{"score": 1}]}],
            2,
            "labels.mail: a label with neither name nor value",
        ),
    ],
)
def test_gold_that_cannot_be_learnt_from_is_named_with_its_line(
    records: list[dict[str, Any]], at: int, message: str, base: Path, tmp_path: Path
) -> None:
    file = tmp_path / "gold.jsonl"
    lines = [json.dumps({"text": "A film.", "labels": labels}) + "\n" for labels in records]
    file.write_text("".join(lines), "utf-8")
    flags = ["--data", file, "--base", base, "-o", tmp_path / "run", "--dev-share", "0"]
    result = run_cli("train", "understand", *flags)
    assert result.exit_code == 3
    assert result.stderr.startswith(f"error: {file}:{at}: {message}")


def test_a_text_alone_among_pairs_is_named_with_its_line(base: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    record = {"text": "A film.", "labels": {"mail": [{"label": "a"}]}}
    one.write_text('{"text": "A day."}\n' + json.dumps(record) + "\n", "utf-8")
    two.write_text(json.dumps({**record, "pair": "A book."}) + "\n", "utf-8")
    for train, dev in (([two, one], two), ([two], one)):
        data = [flag for file in train for flag in ("--data", file)]
        flags = [*data, "--dev", dev, "--base", base, "-o", tmp_path / "run"]
        result = run_cli("train", "understand", *flags)
        assert result.exit_code == 3
        said = f"error: {one}:2: no field 'pair', and 'understand' compares two texts"
        assert result.stderr.startswith(said)


# ── From gold to commands ────────────────────────────────────────────────────────────────────


def test_all_kinds_of_schemes_are_learnt(classifier: Path) -> None:
    model = lmtool.load(classifier, device="cpu")
    assert model.task.form["kinds"] == {
        "mood": "one", "stars": "number", "tags": "several", "topic": "one",
    }  # fmt: skip
    for document in gold():
        found = model(document.text).labels or {}
        for scheme, items in (document.labels or {}).items():
            if scheme == "stars":
                assert found[scheme][0].value == pytest.approx(items[0].value, abs=0.5)
            else:
                names = sorted(item.label for item in found[scheme])
                assert names == [item.label for item in items], document.text


def test_the_class_of_a_pair_depends_on_both_texts(base: Path, tmp_path: Path) -> None:
    documents = [
        Document(text="A good film.", pair=pair, labels={"inference": labels(label)})
        for pair, label in (("A good film.", "same"), ("A dire day!", "other"), ("A book.", "new"))
    ]
    rates = ["--lr", "1e-3", "--head-lr", "5e-3"]
    model = train("understand", documents, base, tmp_path, "--epochs=60", "--eval-every=60", *rates)
    loaded = lmtool.load(model, device="cpu")
    found = [loaded(Document(text=d.text, pair=d.pair)).labels or {} for d in documents]
    assert [labels["inference"][0].label for labels in found] == ["same", "other", "new"]
    result = run_cli("understand", "--model", model, "--text", "A good film.")
    assert result.exit_code != 0
    assert "no field 'pair'" in result.stderr


def test_schemes_thresholds_and_top(classifier: Path) -> None:
    flags = ["--model", classifier, "--text", TEXTS[0], "--device", "cpu"]
    (record,) = records(run_cli("understand", *flags, "--scheme", "mood,topic").stdout)
    assert list(record["labels"]) == ["mood", "topic"]
    assert record["labels"]["mood"][0]["label"] == "glad"
    (record,) = records(run_cli("understand", *flags, "--scheme", "mood", "--top", "2").stdout)
    assert [label["label"] for label in record["labels"]["mood"]] == ["glad", "sad"]
    (record,) = records(run_cli("understand", *flags, "--threshold", "1").stdout)
    assert record["labels"]["mood"] == []
    result = run_cli("understand", *flags, "--scheme", "humour")
    assert result.exit_code == 2
    assert "unknown scheme 'humour'" in result.stderr
    assert "mood, stars, tags, topic" in result.stderr


def test_export_keeps_what_was_calibrated(classifier: Path, tmp_path: Path) -> None:
    many = tmp_path / "many.jsonl"
    many.write_bytes(b"".join(map(encode_document, gold() * 3)))
    flags = ["--dev", many, "--precision", "fp32", "--licence", "CC0-1.0"]
    result = run_cli("export", classifier, "-o", tmp_path / "mine", *flags)
    assert result.exit_code == 0, result.stderr
    info = json.loads((tmp_path / "mine" / "bundle.json").read_text("utf-8"))
    assert sorted(info["graphs"]) == ["mood", "stars", "tags", "topic"]
    assert info["form"]["calibration"]["mood"]["documents"] == 27
    assert "mood" in info["form"]["thresholds"]
    exact, exported = lmtool.load(classifier, device="cpu"), lmtool.load(tmp_path / "mine")
    one, other = exact(TEXTS[1]).labels, exported(TEXTS[1]).labels
    assert [label.label for label in (one or {})["mood"]] == ["sad"]
    assert [label.label for label in (other or {})["mood"]] == ["sad"]


def test_evaluate_shows_the_figures_of_each_scheme(classifier: Path) -> None:
    gold_file = classifier.parent.parent / "gold.jsonl"
    result = run_cli("evaluate", classifier, gold_file, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["mood:", "glad", "100.00", "100.00", "100.00", "3"] in rows
    assert ["mood", "oos_recall", "100.00"] in rows
    result = run_cli("evaluate", classifier, gold_file, "--option", 'scheme=["topic"]')
    assert "topic accuracy 100.00" in result.stdout
    assert "mood" not in result.stdout


def test_gold_of_other_schemes_is_named(classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "x", "labels": {"mail": [{"label": "bug"}]}, "entities": []}\n', "utf-8"
    )
    result = run_cli("evaluate", classifier, tmp_path / "a.jsonl", "--device", "cpu")
    assert result.exit_code != 0
    assert "no document has gold for the task 'understand'" in result.stderr
    hint = "the documents have: labels.mail, entities; this model finds: mood, stars, tags, topic"
    assert hint in result.stderr


def test_completion_of_schemes(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from lmtool.cli.choice import complete_schemes

    record = {"task": "understand", "labels": {"mood": ["glad"], "topic": ["art"]}}
    (tmp_path / "bundle.json").write_text(json.dumps(record), "utf-8")
    context: Any = SimpleNamespace(params={"model": str(tmp_path)}, info_name="understand")
    assert complete_schemes(context, "") == ["mood", "topic"]
    assert complete_schemes(context, "mood,t") == ["mood,topic"]


def test_candidates_need_no_training(embedder: Path) -> None:
    flags = ["--model", embedder, "--text", "A film.", "--device", "cpu"]
    names = ["--candidates", "film,day,book"]
    (record,) = records(run_cli("understand", *flags, *names, "--top", "3").stdout)
    found = record["labels"]["candidates"]
    assert {label["label"] for label in found} == {"film", "day", "book"}
    assert sum(label["score"] for label in found) == pytest.approx(1, abs=1e-3)
    (record,) = records(run_cli("understand", *flags, *names, "--scheme", "topic").stdout)
    assert [label["label"] for label in record["labels"]["topic"]] == [found[0]["label"]]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--candidates", "a"], "nothing to choose from: 1 candidate"),
        (["--candidates", "a,b", "--scheme", "c,d"], "2 schemes for one list"),
        (["--candidates", "a,,b"], "--candidates 'a,,b': an empty name"),
        (["--candidates", ""], "--candidates '': an empty name"),
        (["--candidates", "a,…"], "candidates: '…' has no word to compare"),
        (["--candidates", "a,b", "--top", "0"], "'--top': 0 is less than 1"),
    ],
)
def test_candidates_that_make_no_choice(embedder: Path, flags: list[str], message: str) -> None:
    result = run_cli("understand", "--model", embedder, "--text", "x", *flags)
    assert result.exit_code == 2
    assert message in result.stderr


def test_candidates_need_a_model_of_embed(classifier: Path, tmp_path: Path) -> None:
    flags = ["--text", "x", "--candidates", "a,b"]
    result = run_cli("understand", "--model", classifier, *flags)
    assert result.exit_code == 2
    bundle = write_tiny_bundle(tmp_path / "tiny", task="understand")
    result = run_cli("understand", "--model", bundle, *flags)
    assert result.exit_code == 2
    needed = "a model for 'understand'; these options of 'understand' need one for 'embed'"
    assert f"--model {bundle}: {needed}" in result.stderr
    assert "leave the model out, or name one of: base-en" in result.stderr
    with pytest.raises(lmtool.UsageError, match="these options of 'understand' need one"):
        lmtool.load(bundle, task_name="understand", candidates=("a", "b"))
    with pytest.raises(lmtool.UsageError, match="candidates are compared with the text by vectors"):
        lmtool.load(classifier, device="cpu", candidates=("a", "b"))


def test_similarity_of_two_texts_and_of_pairs(embedder: Path, tmp_path: Path) -> None:
    flags = ["--model", embedder, "--device", "cpu"]
    assert run_cli("similarity", "A film.", "A film.", *flags).stdout == "1.0000\n"
    apart = float(run_cli("similarity", "A film.", "Nothing at all, today!", *flags).stdout)
    assert -1 <= apart < 0.9999
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"id": 1, "text": "A film.", "pair": "A film."}\n{"text": "x"}\n', "utf-8")
    result = run_cli("similarity", "--pairs", file, *flags)
    assert result.exit_code == 3
    assert f"{file}:2: no field 'pair', and two texts are compared" in result.stderr
    assert [record["id"] for record in records(result.stdout)] == [1]
    file.write_text(file.read_text("utf-8").splitlines()[0], "utf-8")
    (record,) = records(run_cli("similarity", "--pairs", file, *flags).stdout)
    assert record["labels"] == {"similarity": [{"value": 1.0}]}
    file.write_text('{"text": "A film.", "pair": "…"}\n', "utf-8")
    (record,) = records(run_cli("similarity", "--pairs", file, *flags).stdout)
    assert record["labels"] == {"similarity": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "two texts are compared, not 1"),
        ([], "two texts are compared, not 0"),
        (["a", "b", "--pairs", "c.jsonl"], "two texts and --pairs at once"),
        (["a", "b", "-o", "c.jsonl"], "--output without --pairs"),
        (["a", "b", "--errors", "c.jsonl"], "--errors without --pairs"),
        (["", "b"], "'' has no word: there is nothing to compare"),
        (["a", "…"], "'…' has no word: there is nothing to compare"),
    ],
)
def test_similarity_compares_two(arguments: list[str], message: str) -> None:
    result = run_cli("similarity", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_similarity_of_a_stream_goes_on_after_bad_records(embedder: Path, tmp_path: Path) -> None:
    lines = ['{"text": "A film.", "pair": "A film."}', "{", '{"text": "x"}']
    stdin = "\n".join([*lines, lines[0]])
    flags = ["--model", embedder, "--device", "cpu", "--threads", "1", "--pairs", "-"]
    result = run_cli("similarity", *flags, stdin=stdin)
    assert result.exit_code == 3
    values = [record["labels"]["similarity"] for record in records(result.stdout)]
    assert values == [[{"value": 1.0}]] * 2
    assert "<stdin>:2: " in result.stderr
    assert "<stdin>:3: no field 'pair'" in result.stderr
    out, errors = tmp_path / "out.jsonl", tmp_path / "bad.jsonl"
    result = run_cli("similarity", *flags, "-o", out, "--errors", errors, stdin=stdin)
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"2 failed (the reasons are in {errors})" in result.stderr
    assert len(records(out.read_text("utf-8"))) == 2
    assert [record["line"] for record in records(errors.read_text("utf-8"))] == [2, 3]


def test_embed_writes_npy_in_order(embedder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.npy"
    flags = ["--model", embedder, "--device", "cpu", "-q"]
    texts = "A film.\nA day.\nA film.\n"
    result = run_cli("embed", "--input-format", "txt", "-o", out, *flags, stdin=texts)
    assert result.exit_code == 0, result.stderr
    rows = np.load(out)
    assert rows.shape == (3, 32)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0].tolist() == rows[2].tolist() != rows[1].tolist()


def test_embed_shows_what_a_vector_is(embedder: Path) -> None:
    flags = ["--model", embedder, "--device", "cpu", "-f", "text"]
    shown = run_cli("embed", *flags, "--text", "A film.").stdout
    assert shown.startswith("A film.\nembedding: 32 numbers, length 1.0000: ")
