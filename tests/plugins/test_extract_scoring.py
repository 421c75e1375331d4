"""Scores of entities."""

from __future__ import annotations

from lmtool_extract.scoring import score_entities

from lmtool import Document, Entity


def test_gold_that_the_model_does_not_know_counts_as_missed() -> None:
    place, work = Entity(start=0, end=4, label="LOC"), Entity(start=5, end=9, label="WORK")
    gold = Document(text="Rome Emma", entities=[place, work])
    report = score_entities([gold], [Document(text="Rome Emma", entities=[place])], ["LOC", "PER"])
    assert (report["micro"]["recall"], report["micro"]["support"]) == (50.0, 2)
    assert list(report["labels"]) == ["LOC", "PER", "WORK"]
    assert report["labels"]["WORK"]["support"] == 1
    assert report["confusion"]["labels"] == ["LOC", "PER", "WORK", "O"]
    assert report["confusion"]["counts"][2] == [0, 0, 0, 1]
    assert report["errors"] == [1]
