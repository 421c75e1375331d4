"""Scores of classes, by scheme and over all."""

from __future__ import annotations

import numpy as np
import pytest
from lmtool_understand.schemes import NUMBER, SEVERAL, Scheme
from lmtool_understand.scoring import correlation, ranks, score_schemes
from lmtool_understand.task import UnderstandOptions, UnderstandTask

from lmtool import Document, Label

INTENT = Scheme("intent", ("bye", "hello"), has_none=True)
TAGS = Scheme("tags", ("a", "b"), SEVERAL)
STARS = Scheme("stars", (), NUMBER)


def documents(scheme: str, *rows: list[str] | None) -> list[Document]:
    """Make documents from labels, "LABEL" or "LABEL SCORE"; None has no gold."""
    found = []
    for row in rows:
        pairs = [(*item.split(), None)[:2] for item in row or ()]
        items = [Label(label=name, score=score and float(score)) for name, score in pairs]
        found.append(Document(text="x", labels=None if row is None else {scheme: items}))
    return found


def stars(*values: float | None) -> list[Document]:
    gold = [[] if value is None else [Label(value=value)] for value in values]
    return [Document(text="x", labels={"stars": items}) for items in gold]


def test_one_label_and_texts_out_of_scope() -> None:
    gold = documents("intent", ["bye"], ["hello"], ["hello"], [], [], None, ["?"])
    found = documents(
        "intent", ["bye 0.9"], ["hello 0.6"], [], [], ["bye 0.5"], ["bye 1"], ["bye 1"]
    )
    report = score_schemes(gold, found, {"intent": INTENT, "other": TAGS})
    assert report["mean"] == report["schemes"]["intent"]["accuracy"] == 60
    assert report["errors"] == [0, 0, 1, 0, 1, 0, 0]
    scheme = report["schemes"]["intent"]
    assert scheme["in_scope_accuracy"] == pytest.approx(66.67)
    assert (scheme["oos_precision"], scheme["oos_recall"], scheme["oos_f1"]) == (50, 50, 50)
    assert scheme["macro_f1"] == pytest.approx(66.67)
    assert scheme["ece"] == pytest.approx(100 * (0.1 + 0.4 + 0.5) / 3, abs=0.01)
    assert scheme["documents"] == 5
    assert report["intent accuracy"] == 60
    assert report["confusion"] == {
        "labels": ["bye", "hello", "(none)"],
        "counts": [[1, 0, 0], [0, 1, 1], [1, 0, 1]],
    }
    assert report["labels"]["hello"] == {
        "precision": 100.0, "recall": 50.0, "f1": pytest.approx(66.67), "support": 2,
    }  # fmt: skip


def test_several_labels() -> None:
    gold = documents("tags", ["a", "b"], [], ["a", "?"])
    found = documents("tags", ["b 0.9", "a 0.8"], ["a 0.6"], ["b 0.7", "a 0.6"])
    scheme = score_schemes(gold, found, {"tags": TAGS})["schemes"]["tags"]
    assert (scheme["micro"]["precision"], scheme["micro"]["recall"]) == (75, 100)
    assert scheme["metric"] == "micro_f1"
    assert scheme["accuracy"] == pytest.approx(66.67)


def test_gold_that_the_model_does_not_know_counts_as_missed() -> None:
    gold = documents("intent", ["bye"], ["thanks"])
    report = score_schemes(gold, documents("intent", ["bye 1"], ["bye 1"]), {"intent": INTENT})
    assert report["mean"] == 50
    assert report["labels"]["thanks"]["support"] == 1


def test_numbers() -> None:
    report = score_schemes(stars(1, 2, 3, 4), stars(2, 4, 6, 8), {"stars": STARS})
    scheme = report["schemes"]["stars"]
    assert (scheme["pearson"], scheme["spearman"], scheme["mse"]) == (100, 100, 7.5)
    assert report["mean"] == 100
    missing = score_schemes(stars(1, 2, 3), stars(None, 2, 3), {"stars": STARS})
    assert missing["errors"] == [1, 0, 0]
    assert score_schemes(stars(1, 2), stars(2, 1), {"stars": STARS})["mean"] == 0


def test_the_main_metric_is_the_mean_over_the_schemes_that_were_asked_for() -> None:
    gold = documents("intent", ["bye"], ["bye"])
    gold += stars(1, 2)
    found = documents("intent", ["bye 1"], ["hello 1"])
    found += stars(1, 2)
    schemes = {"intent": INTENT, "stars": STARS}
    both = score_schemes(gold, found, schemes)
    assert both["mean"] == 75
    assert list(both["labels"]) == ["intent: bye", "intent: hello"]
    assert "confusion" not in both
    task = UnderstandTask({"intent": ["bye", "hello"], "stars": []}, {"kinds": {"stars": "number"}})
    asked = task.narrowed(UnderstandOptions(scheme=("intent",)))
    assert asked.score(gold, found)["mean"] == 50
    assert not asked.has_gold(gold[2])
    assert task.narrowed(UnderstandOptions()).score(gold, found)["mean"] == 75


def test_ranks_and_correlation() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 9.0])).tolist() == [2.5, 1.0, 2.5, 4.0]
    assert correlation(np.array([1.0, 1.0]), np.array([1.0, 2.0])) == 0
    assert correlation(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 100
