"""Models: streams in order, windows once, any batches and threads with one result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import write_tiny_bundle

import lmtool
from lmtool.documents import Coverage
from lmtool.models import CHUNK_WINDOWS

TEXTS = ["Tim Cook met Angela Merkel in Berlin.", "", "Nobody.", "Berlin met Tim. " * 40, " \n"]


@pytest.fixture
def model(tiny_bundle: Path) -> lmtool.Model:
    return lmtool.load(tiny_bundle, threads=1)


def names(document: lmtool.Document) -> list[tuple[str, str]]:
    return [(e.text, e.label) for e in document.entities or []]


def test_one_text(model: lmtool.Model) -> None:
    document = model(TEXTS[0])
    assert names(document) == [("Tim Cook", "PER"), ("Angela Merkel", "PER"), ("Berlin", "LOC")]
    assert document.coverage == Coverage(37, 37, 1)


def test_a_stream_keeps_its_order_and_its_fields(model: lmtool.Model) -> None:
    documents = [lmtool.Document(text=t, id=i, fields={"n": i}) for i, t in enumerate(TEXTS)]
    found = list(model.pipe(iter(documents)))
    assert [(d.id, d.fields, d.text) for d in found] == [
        (d.id, d.fields, d.text) for d in documents
    ]


def test_long_texts_are_read_to_the_end(model: lmtool.Model) -> None:
    document = model(TEXTS[3])
    assert names(document) == [("Berlin", "LOC"), ("Tim", "PER")] * 40
    assert document.coverage is not None
    assert (document.coverage.characters, document.coverage.read) == (640, 640)
    assert document.coverage.windows > 10
    assert all(document.text[e.start : e.end] == e.text for e in document.entities or [])


def test_windows_of_long_texts_are_held_in_parts(
    model: lmtool.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    run_windows = lmtool.models._run_windows

    def counting(models: Any, pending: Sequence[Any], parts: Any) -> None:
        held.append(sum(len(window.ids) for _, window in pending))
        run_windows(models, pending, parts)

    expected = model(TEXTS[3])
    monkeypatch.setattr("lmtool.models._run_windows", counting)
    monkeypatch.setattr("lmtool.models.MOST_TOKENS", 50)
    assert model(TEXTS[3]) == expected
    most = 50 + model.encoder.encoding.max_tokens
    assert len(held) > 3
    assert max(held) <= most


@pytest.mark.parametrize(("threads", "batch_tokens"), [(1, 1), (1, 64), (3, 32), (2, 4096)])
def test_batches_and_threads_do_not_change_the_result(
    tiny_bundle: Path, model: lmtool.Model, threads: int, batch_tokens: int
) -> None:
    other = lmtool.load(tiny_bundle, threads=threads, batch_tokens=batch_tokens)
    assert list(other.pipe(TEXTS * 20)) == list(model.pipe(TEXTS * 20))


def test_equal_texts_of_a_chunk_are_computed_once(
    model: lmtool.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    infer = model.task.infer

    def counting(graphs: Any, hidden: Any, windows: Sequence[Any], options: Any) -> list[Any]:
        seen.extend(window.text for window in windows)
        return infer(graphs, hidden, windows, options)

    monkeypatch.setattr(model.task, "infer", counting)
    found = list(model.pipe(["Tim Cook.", "Berlin.", "Tim Cook."]))
    assert sorted(seen) == ["Berlin.", "Tim Cook."]
    assert names(found[0]) == names(found[2]) == [("Tim Cook", "PER")]


def test_a_chunk_depends_only_on_what_follows_its_start(model: lmtool.Model) -> None:
    documents = [lmtool.Document(text="Tim " * (i % 90), id=i) for i in range(3 * CHUNK_WINDOWS)]
    chunks = list(model.chunks(documents))
    assert [d for chunk in chunks for d in chunk] == documents
    assert len(chunks) > 3
    again = list(model.chunks(documents[len(chunks[0]) :]))
    assert again == chunks[1:]


def test_the_model_is_read_lazily(model: lmtool.Model) -> None:
    def endless() -> Any:
        while True:
            yield "Tim Cook."

    assert names(next(model.pipe(endless()))) == [("Tim Cook", "PER")]


def test_options(tiny_bundle: Path) -> None:
    only = lmtool.load(tiny_bundle, labels=("LOC",))
    assert names(only(TEXTS[0])) == [("Berlin", "LOC")]
    assert names(lmtool.load(tiny_bundle, threshold=1.0)(TEXTS[0])) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"treshold": 0.5}, "unknown option 'treshold'"),
        ({"labels": ("LOK",)}, "unknown label 'LOK'"),
        ({"labels": "PER"}, "option 'labels' is 'PER', not a list of texts"),
        ({"labels": None}, "option 'labels' is None, not a list of texts"),
        (
            {"threshold": "0.5"},
            "option 'threshold' is '0.5', not a number of at least 0 and at most 1",
        ),
        ({"threshold": 7}, "option 'threshold' is 7, not a number of at least 0 and at most 1"),
        (
            {"threshold": True},
            "option 'threshold' is True, not a number of at least 0 and at most 1",
        ),
    ],
)
def test_a_wrong_option_is_a_usage_error(
    tiny_bundle: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(lmtool.UsageError) as caught:
        lmtool.load(tiny_bundle, **options)
    assert caught.value.message == message


def test_options_come_in_their_own_types(tiny_bundle: Path) -> None:
    options = lmtool.load(tiny_bundle, labels=["LOC"], threshold=1).options
    assert repr(options).startswith("ExtractOptions(labels=('LOC',), threshold=1.0")


def test_a_wrong_default_of_a_bundle_is_a_bundle_error(tmp_path: Path) -> None:
    record = write_tiny_bundle(tmp_path / "tiny-en") / "bundle.json"
    text = record.read_text("utf-8").replace('"options": {}', '"options": {"threshold": 7}')
    record.write_text(text, "utf-8")
    with pytest.raises(lmtool.BundleError, match="the model's defaults: option 'threshold' is 7"):
        lmtool.load(tmp_path / "tiny-en")


def test_a_model_of_another_task_is_a_usage_error(tiny_bundle: Path) -> None:
    with pytest.raises(lmtool.UsageError, match="a model for 'extract', not for 'understand'"):
        lmtool.load(tiny_bundle, task_name="understand")


def test_a_checkpoint_without_torch_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkpoint.json").touch()
    monkeypatch.delitem(sys.modules, "lmtool.training.checkpoint", raising=False)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(lmtool.UsageError, match="a checkpoint needs safetensors") as caught:
        lmtool.load(tmp_path)
    assert caught.value.hint == 'pip install "lmtool[train]"'


def test_the_model_that_ships_finds_names_in_any_case() -> None:
    model = lmtool.load("extract-en")
    for text in ("Angela Merkel visited Paris.", "angela merkel visited paris.",
                 "ANGELA MERKEL VISITED PARIS."):  # fmt: skip
        found = [(e.text.lower(), e.label) for e in model(text).entities or []]
        assert found == [("angela merkel", "PER"), ("paris", "LOC")]
