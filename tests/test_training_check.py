"""The data check: counts, misfits, and its text."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import training_kit as kit

from lmtool.documents import Document, Entity, Label
from lmtool.sources import BadRecord
from lmtool.training.check import (
    CROSSES_WINDOW,
    CUTS_WORD,
    Misfit,
    check_data,
    count_labels,
    render_report,
)
from lmtool.windows import Encoding, TextEncoder


def entity(text: str, part: str, label: str) -> Entity:
    start = text.index(part)
    return Entity(start=start, end=start + len(part), text=part, label=label)


def doc(text: str, *parts: tuple[str, str], id: str | None = None) -> Document:
    return Document(text=text, id=id, entities=[entity(text, *part) for part in parts])


TRAIN = [
    doc("Ada came to Rome .", ("Ada", "PER"), ("Rome", "LOC"), id="a"),
    doc("The Romans left Rome .", ("Roman", "MISC"), ("left", "?")),
    doc("nobody " * 3 + "in London Paris Rome Berlin Vienna Oslo .",
        ("Paris Rome Berlin Vienna", "LOC"), id="long"),
    Document(text="Grace Hopper wrote ."),
    doc(" "),
]  # fmt: skip
DEV = [doc("Ada came to Rome .", ("Ada", "PER"), ("Rome", "GPE"))]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(kit.tiny_tokenizer(), Encoding(max_tokens=10))


def test_the_report_counts_what_is_wrong(encoder: TextEncoder) -> None:
    report = check_data(("entities",), encoder, TRAIN, DEV, [BadRecord("x.jsonl", 3, "not JSON")])
    train = report.train
    assert (train.documents, train.empty, train.without_gold) == (5, 1, 1)
    assert train.windows > 5
    assert train.labels == {"entities": {"LOC": 2, "MISC": 1, "PER": 1}}
    assert report.misfits == {CUTS_WORD: 1, CROSSES_WINDOW: 1}
    assert report.examples == [
        Misfit(document="number 2", layer="entities", label="MISC", text="Roman", reason=CUTS_WORD),
        Misfit(document="long", layer="entities", label="LOC", text="Paris Rome Berlin Vienna",
               reason=CROSSES_WINDOW),
    ]  # fmt: skip
    assert report.dev_only == {"entities": ["GPE"]}
    assert report.duplicates == 1


def test_the_text_names_everything(encoder: TextEncoder) -> None:
    bad = [BadRecord("x.jsonl", 3, "not JSON")]
    text = render_report(check_data(("entities",), encoder, TRAIN, DEV, bad))
    assert text.splitlines()[0].split() == ["train", "dev"]
    assert [line.split() for line in text.splitlines()[4:6]] == [["entities"], ["LOC", "2", "0"]]
    for part in (
        "cannot be read: x.jsonl:3: not JSON",
        "train: 1 texts have no word",
        "train: 1 documents have no gold layer and are left out",
        "dev has labels in entities that train has not: GPE",
        "1 documents of dev have a text that is in train too",
        "  number 2: entities MISC 'Roman'",
        "  long: entities LOC 'Paris Rome Berlin Vienna'",
    ):
        assert part in text


def test_labels_are_counted_in_the_layers_of_the_task() -> None:
    document = doc("Ada", ("Ada", "PER"))
    document.labels = {"tone": [Label("good")], "topic": [Label("sport"), Label("art")]}
    assert count_labels([document], ("labels",)) == {
        "labels.tone": {"good": 1},
        "labels.topic": {"art": 1, "sport": 1},
    }
