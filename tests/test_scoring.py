"""Measures of texts: BLEU, chrF and exact matches."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from lmtool.errors import UsageError
from lmtool.scoring import text_scores

WORDS = "the cat sat on the mat and looked at the bird".split()


@pytest.mark.parametrize(
    ("references", "hypotheses", "language"),
    [(["the cat sat on the mat"], [" the cat sat on the mat\n"], "en"), (["你好"], ["你好"], "zh")],
)
def test_equal_texts_have_full_scores(
    references: list[str], hypotheses: list[str], language: str
) -> None:
    found = text_scores(references, hypotheses, language)
    assert found == {"bleu": 100.0, "chrf": 100.0, "exact_match": 100.0}


def test_different_texts_have_none() -> None:
    assert text_scores(["abc"] * 4, ["xyz"] * 4) == {"bleu": 0.0, "chrf": 0.0, "exact_match": 0.0}


def test_scores_are_those_of_sacrebleu() -> None:
    from sacrebleu import corpus_bleu, corpus_chrf

    wanted = [" ".join(WORDS), " ".join(WORDS[:6]), " ".join(WORDS[4:])]
    found = [" ".join(WORDS[:8]), " ".join(WORDS[:6]), " ".join(WORDS[5:])]
    assert text_scores(wanted, found) == {
        "bleu": round(corpus_bleu(found, [wanted]).score, 2),
        "chrf": round(corpus_chrf(found, [wanted]).score, 2),
        "exact_match": 33.33,
    }


def test_chinese_is_scored_by_its_characters() -> None:
    from sacrebleu import corpus_bleu

    wanted, found = ["这里夏天非常炎热。"], ["这里夏天很炎热。"]
    bleu = round(corpus_bleu(found, [wanted], tokenize="zh").score, 2)
    assert bleu > 0
    for language in ("zh", "zh-Hans", "ZH"):
        assert text_scores(wanted, found, language)["bleu"] == bleu
    assert text_scores(wanted, found, "en")["bleu"] < bleu


def test_nothing_scores_nothing() -> None:
    assert text_scores([], []) == {"bleu": 0.0, "chrf": 0.0, "exact_match": 0.0}
    with pytest.raises(ValueError, match="1 references, 2 hypotheses"):
        text_scores(["a"], ["a", "b"])


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("sacrebleu"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="sacrebleu")
        return load(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="BLEU and chrF need sacrebleu") as caught:
        text_scores(["a"], ["a"])
    assert caught.value.hint == 'pip install "lmtool[train]"'
