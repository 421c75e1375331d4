"""Passages: where texts are cut, offsets, lines, and the words of questions."""

from __future__ import annotations

from lmtool_memory.passages import LEAST_WORDS, MOST_WORDS, cut_passages
from lmtool_memory.terms import indexed, terms_of

SENTENCE = "The {} cat sat on the mat and looked at the old clock for a while. "  # 16 words


def story(n_sentences: int, first: int = 0) -> str:
    return "".join(SENTENCE.format(first + i) for i in range(n_sentences))


def test_passages_end_at_sentence_ends_and_offsets_fit() -> None:
    text = "\n\n" + story(31) + "\n\nThe end."
    found = list(cut_passages(text))
    assert [len(p.text.split()) for p in found] == [112, 112, 128, 146]
    assert all(text[p.start : p.end] == p.text for p in found)
    assert all(p.text.endswith(".") for p in found)
    assert " ".join(" ".join(p.text.split()) for p in found) == " ".join(text.split())


def test_a_short_rest_goes_with_the_one_before() -> None:
    (only,) = cut_passages(story(7) + "\n\n" + story(1))
    assert only.text == story(7) + "\n\n" + story(1).strip()


def test_lines_are_counted_or_given() -> None:
    text = "\n" + story(7) + "\n\n\n" + story(7, 50) + "\n"
    assert [p.line for p in cut_passages(text)] == [2, 5]
    assert [p.line for p in cut_passages(text, line=9)] == [9, 9]


def test_a_heading_begins_a_passage() -> None:
    text = story(5) + "\n\n## Of dogs\n\n" + story(7, 20)
    assert [p.text[:9] for p in cut_passages(text)] == ["The 0 cat", "## Of dog"]


def test_a_sentence_that_never_ends_is_cut_between_words() -> None:
    text = "word " * 450
    found = list(cut_passages(text))
    assert [len(p.text.split()) for p in found] == [200, 200, 50]


def test_texts_without_words_have_no_passage() -> None:
    assert list(cut_passages("")) == []
    assert list(cut_passages(" \n\n … !?\n")) == []


def test_chinese_is_cut_at_its_sentence_ends() -> None:
    text = "猫坐在垫子上看着旧钟。" * 30  # 10 words each
    found = list(cut_passages(text, "zh"))
    assert [len(p.text) for p in found] == [220, 110]
    assert "".join(p.text for p in found) == text


def test_cutting_meets_again_after_a_change() -> None:
    text = "\n\n".join(story(1 + i % 5, 10 * i) for i in range(80))
    before = {p.text for p in cut_passages(text)}
    after = {p.text for p in cut_passages("A new first sentence, of some words. " + text)}
    assert len(after - before) <= 4 < len(before)
    assert LEAST_WORDS < MOST_WORDS


def test_terms_of_a_question() -> None:
    assert terms_of("Who pays the RENT, and the rent's tax?") == ['"pays"', '"rent"', '"tax"']
    assert terms_of("to be or not to be") == ['"to"', '"be"', '"or"', '"not"']
    assert terms_of("猫在睡觉 tea 茶") == ['"猫 在"', '"在 睡"', '"睡 觉"', '"tea"', '"茶"']
    assert terms_of('?! "') == []
    assert indexed("a猫b") == "a\x1f猫\x1fb"
