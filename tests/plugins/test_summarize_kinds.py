"""Which sentences can stand in a summary."""

from __future__ import annotations

import pytest
from lmtool_summarize.kinds import APART, SHORT, WHOLE, kinds_of
from lmtool_summarize.sentences import split
from lmtool_summarize.words import words_of


def kinds(text: str) -> dict[str, int]:
    """Return the kind of each sentence of a text."""
    spans = split(text)
    found = kinds_of(text, spans, [len(words_of(text[a:b])) for a, b in spans])
    return {
        " ".join(text[a:b].split()): int(kind) for (a, b), kind in zip(spans, found, strict=True)
    }


GOOD = "The council voted on Tuesday to build a line."


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        (GOOD, WHOLE),
        ("Will it be ready by the end of May?", WHOLE),
        ("“It is much too late for this,” she said.”", WHOLE),
        ("The line was built in the year 1902.[12]", WHOLE),
        ("*It is much too late for this now.*", WHOLE),
        ("今天的天气很好。", WHOLE),
        ("So let us begin.", SHORT),
        ("City council approves the new tram line", APART),
        ("By Maria Lopez, Staff Writer of this paper", APART),
        ("I need three things from you by Friday:", APART),
        ("THE LAST OF THE MEN OF THE VALLEY.", APART),
        ("# What is it that we do here?", APART),
        ("> Can we please get a confirmation of the hotel?", APART),
        ("| Ann | writes a draft of the blog post. |", APART),
        ("Subject: The hotel is cancelled and we move on.", APART),
    ],
)
def test_kinds(sentence: str, kind: int) -> None:
    text = f"{GOOD}\n\n{sentence}\n\n{GOOD}"
    start = len(GOOD) + 2
    spans = [(0, len(GOOD)), (start, start + len(sentence)), (len(text) - len(GOOD), len(text))]
    n_words = [len(words_of(text[a:b])) for a, b in spans]
    assert kinds_of(text, spans, n_words).tolist() == [WHOLE, kind, WHOLE]
    assert kinds_of(sentence, [(0, len(sentence))], n_words[1:2]).tolist() == [kind]


def test_lines_beside_a_sentence_are_apart_alone() -> None:
    head = "From: Ann\nSubject: It is cancelled.\n\n"
    text = f"{head}{GOOD}\n> It is cancelled, I am told today.\n{GOOD}"
    found = kinds(text)
    assert [kind for kind in found.values() if kind == WHOLE] == [WHOLE]
    assert found[GOOD] == WHOLE


def test_code_between_fences_is_apart() -> None:
    code = "This is a comment about how it runs."
    text = f"{GOOD}\n\n```python\nrun()\n\n{code}\n```\n\nWe know that it runs on all machines."
    assert kinds(text)[code] == APART
    assert kinds(text)["We know that it runs on all machines."] == WHOLE
    assert kinds(f"{GOOD}\n```\n\n{code}")[code] == WHOLE  # nothing ends it


def test_a_sentence_cut_in_two_is_apart() -> None:
    text = "It is for them to protect the rights of all citizens. It is for us to help them."
    spans = [(0, 18), (19, 53), (54, len(text))]
    assert kinds_of(text, spans, [5, 6, 7]).tolist() == [APART, APART, WHOLE]
    below = text[:18] + "\n" + text[19:]
    assert kinds_of(below, spans, [5, 6, 7]).tolist() == [APART, WHOLE, WHOLE]
