"""Where sentences end: what sentencex finds, and the cases in which it finds too little."""

from __future__ import annotations

import pytest

from lmtool.sentences import LONG, sentence_ends


def pieces(text: str, language: str = "en") -> list[str]:
    """Return the sentences of a text with all of their white space."""
    ends = sentence_ends(text, language)
    found = [text[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    assert "".join(found) == text
    assert text == "" or all(found)
    return found


def sentences(text: str, language: str = "en") -> list[str]:
    """Return those with words, stripped."""
    return [piece.strip() for piece in pieces(text, language) if piece.strip()]


def test_ends_cover_the_text() -> None:
    assert sentence_ends("He came. He left.", "en") == [9, 17]
    assert sentence_ends("", "en") == [0]
    assert sentence_ends("no end", "en") == [6]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(4) It is. It was. It is.", ["(4) It is.", "It was.", "It is."]),
        ("Go.\n  (a) It is. It was.", ["Go.", "(a) It is.", "It was."]),
        ("(see it) It is. It was.", ["(see it) It is.", "It was."]),
    ],
)
def test_a_number_of_a_list_hides_no_end(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@pytest.mark.parametrize("blank", ["\n \n", "\n\t \n", "\n\n", "\n \n  \n", "\r\n\r\n", "\n \r\n"])
def test_a_line_of_white_space_ends_a_paragraph(blank: str) -> None:
    assert sentences(f"A heading{blank}A sentence. And more.") == [
        "A heading", "A sentence.", "And more.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "SCHOOLS AND WORK \nSixth: we go. It is.",
            ["SCHOOLS AND WORK", "Sixth: we go.", "It is."],
        ),
        ("It is.\n\n## What we do\nWe go.", ["It is.", "## What we do", "We go."]),
        ("NASA SAID\nthat it is. We go.", ["NASA SAID\nthat it is.", "We go."]),
        ("It is at\nNASA AND\nThe wall.", ["It is at\nNASA AND\nThe wall."]),
        ("BRUTUS:\nI go.", ["BRUTUS:\nI go."]),
        ("IN ALL\nTHE WORLD. It is.", ["IN ALL\nTHE WORLD.", "It is."]),
        ("I\nGo.", ["I\nGo."]),
    ],
)
def test_a_heading_ends_with_its_line(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


MANY = ["It went on."] * 60
"""More than LONG characters."""


@pytest.mark.parametrize(
    ("before", "after", "n_short"),
    [
        ('A 3" bolt.', 'A 4" bolt.', 2),
        ("In '62 it was.", "The teachers' way.", 2),
        ("He said: “It is.", "So it is.”", 2),
        ("It was (so he said.", "And he was right.)", 1),
        ("He said: “Stop!” he did.", "It is.", 4),
    ],
)
def test_a_long_stretch_is_cut_inside_of_pairs(before: str, after: str, n_short: int) -> None:
    text = " ".join([before, *MANY, after, "The end."])
    assert len(text) > LONG
    assert sentences(text) == [before, *MANY, after, "The end."]
    short = f"{before} It is. {after} The end."
    assert len(sentences(short)) == n_short


def test_no_end_before_a_small_letter_in_a_long_stretch() -> None:
    inside = " ".join(MANY)
    found = sentences(f'He wrote: "{inside} “Stop it!” he said. We don\'t know." The end.')
    assert found[60] == "“Stop it!” he said."
    assert found[61:] == ["We don't know.\"", "The end."]


def test_a_long_sentence_stays_one() -> None:
    text = "They went on " + "and on " * 200 + "to the end."
    assert sentences(f"{text} It is.") == [text, "It is."]


def test_chinese() -> None:
    long = "他走了。" * 200
    found = sentences(f"他说：“{long}你走吗？”我走了。", "zh")
    assert found == ["他说：“他走了。", *["他走了。"] * 199, "你走吗？”", "我走了。"]
