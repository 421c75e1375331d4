"""Views: frames drawn under the text, and the layers below it."""

from __future__ import annotations

import random
import re

import pytest

from lmtool.documents import Document, Label, document_from_record
from lmtool.views import Bar, Card, Classes, Frame, Mark, Passage, TextWriter, render
from lmtool.views.marked import cells, sentence_ranges
from lmtool.views.roles import PREFIXES, ROLES, describe
from tests.views_documents import frame, full_document


def shown(document: Document, width: int | None = None, colour: bool = False) -> str:
    return TextWriter(width=width, colour=colour).encode([document]).decode()


def drawn(text: str, *frames: object, width: int | None = None) -> list[str]:
    """Return the lines of the text and its rows, without the legend."""
    lines = shown(Document(text=text, frames=list(frames)), width).split("\n\n")  # type: ignore[arg-type]
    return "\n".join(lines[:-2]).split("\n")


def test_every_layer_of_a_short_document() -> None:
    assert shown(full_document()) == (
        "[Tim Cook PER] met [Angela Merkel PER] in [Berlin LOC].\n"
        "└─ who ARG0 ─┘ ━━━ └─── what ARG1 ───┘ └─ where LOC ─┘\n"
        "\n"
        "who ARG0 · what ARG1 · where ARGM-LOC\n"
        "\n"
        "pair: They met.\n"
        "\n"
        "topic  politics  ███████▌·· 75%\n"
        "       film      ██▌······· 25%\n"
        "\n"
        "stars  3.5\n"
        "\n"
        "Tim Cook —was in→ Berlin 90%\n"
        "Angela Merkel —knows→ e9\n"
        "\n"
        "▌meeting: met 50% · guest: Tim Cook · place: Berlin\n"
        "summary: A meeting.\n"
        "\n"
    )


def test_frames_that_overlap_have_rows_of_their_own() -> None:
    text = "Ann wants to see Rome."
    frames = (
        frame(text, "wants", ARG0="Ann", ARG1="to see Rome"),
        frame(text, "see", ARG0="Ann", ARG1="Rome"),
    )
    assert drawn(text, *frames) == [
        "Ann wants to see Rome.",
        "who ━━━━━ └what ARG1┘",
        "who          ━━━ what",
    ]


def test_rows_go_on_with_the_text_and_name_their_predicate() -> None:
    text = "She wrote a very long letter to her mother."
    found = frame(text, "wrote", ARG0="She", ARG1="a very long letter", ARG2="to her mother")
    assert drawn(text, found, width=22) == [
        "She wrote a very long",
        "who ━━━━━ └what ARG1─",
        "letter to her mother.",
        "─what┘ └to/as ARG2─┘",
    ]
    assert drawn(text, found, width=30) == [
        "She wrote a very long letter",
        "who ━━━━━ └── what ARG1 ───┘",
        "to her mother.",
        "└to/as ARG2─┘",
    ]
    text = text.replace("mother", "old mother")
    found = frame(text, "wrote", ARG0="She", ARG2="to her old mother")
    assert drawn(text, found, width=30)[2:] == ["to her old mother.", "└ wrote: to/as ─┘"]


def test_a_word_without_room_for_a_word_has_a_code_or_a_label_beside() -> None:
    text = "I'd go if he can."
    would = frame(text, "go", ARG0="I", ARGM_MOD="'d", ARGM_ADV="if he can")
    can = frame(text, "can", ARG0="he")
    assert drawn(text, would, can) == [
        "I'd go if he can.",
        "0MO ━━ └adverb─┘",
        "          A0 ━━━",
    ]


def test_predicates_without_arguments_share_a_row() -> None:
    text = "It has been said."
    rows = drawn(text, frame(text, "has"), frame(text, "been"), frame(text, "said", ARG1="It"))
    assert rows == ["It has been said.", "└┘what      ━━━━", "   ━━━ ━━━━"]


def test_arguments_of_one_frame_that_overlap_are_kept_apart() -> None:
    text = "the sale of old houses"
    found = frame(text, "sale", ARG1="of old houses", ARGM_ADJ="houses")
    assert drawn(text, found) == [
        "the sale of old houses",
        "    ━━━━ └ what ARG1 ┘",
        "                which┘",
    ]


def test_wide_characters_align() -> None:
    text = "蒂姆会见了默克尔。"
    found = frame(text, "会见", ARG0="蒂姆", ARG1="默克尔")
    assert drawn(text, found) == ["蒂姆会见了默克尔。", "who┘━━━━  └what┘"]


def test_each_sentence_with_frames_begins_a_line() -> None:
    text = "He left. She came."
    assert drawn(text, frame(text, "left", ARG0="He"), frame(text, "came", ARG0="She")) == [
        "He left.",
        "A0 ━━━━",
        "She came.",
        "who ━━━━",
    ]


def test_white_space_between_paragraphs_takes_no_line() -> None:
    text = "He left.\n\n\nShe came.\n\n\n"
    found = [frame(text, "left", ARG0="He"), frame(text, "came", ARG0="She")]
    whole = shown(Document(text=text, frames=found))
    assert whole == "He left.\nA0 ━━━━\n\nShe came.\nwho ━━━━\n\nwho ARG0\n\n"


def test_no_sentence_ends_inside_a_frame() -> None:
    text = "He left. She came."
    passage = Passage(text, (), (Frame(Mark(3, 7, ""), (Mark(9, 12, "ARG1"),)),))
    assert sentence_ranges(passage) == [(0, 18)]
    assert sentence_ranges(Passage(text)) == [(0, 9), (9, 18)]
    assert sentence_ranges(Passage("")) == [(0, 0)]


def test_control_characters_keep_the_columns() -> None:
    text = "\x1bAnn\tsaw\r\nhim"
    rows = drawn(text, frame(text, "saw", ARG0="Ann", ARG1="him"))
    assert rows == ["␛Ann    saw", " who    ━━━", "him", "└─┘what"]


@pytest.mark.parametrize("width", [20, 33, 80])
@pytest.mark.parametrize("colour", [False, True])
def test_no_row_is_wider_than_the_terminal(width: int, colour: bool) -> None:
    rng = random.Random(7)
    words = ["a", "bc", "会议在北京", "é́", "longer", "👩‍👩‍👧", "x" * 45, "end."]
    for _ in range(10):
        text = " ".join(rng.choices(words, k=rng.randint(1, 25)))
        spans = [sorted(rng.sample(range(len(text) + 1), 2)) for _ in range(6)]
        frames = [
            {
                "predicate": {"start": a, "end": b},
                "sense": None,
                "arguments": [{"role": "ARGM-TMP", "start": c, "end": d} for c, d in spans[3:]],
            }
            for a, b in spans[:3]
        ]
        document = document_from_record({"text": text, "frames": frames})
        out = re.sub(r"\x1b\[[0-9;]*m", "", shown(document, width, colour))
        assert max(map(cells, out.split("\n"))) <= width


def test_colours_of_roles_do_not_change_what_is_written() -> None:
    document = full_document()
    document.entities = None
    coloured = shown(document, colour=True)
    assert "\x1b[32m└ who ─┘\x1b[0m \x1b[1m━━━\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == shown(document)


@pytest.mark.parametrize(
    ("label", "word", "code"),
    [
        ("ARG0", "who", "A0"),
        ("R-ARG1", "→what", "→A1"),
        ("C-ARGM-TMP", "…when", "…TMP"),
        ("ARG1-DSP", "what", "A1"),
        ("C-ARG1-DSP", "…what", "…A1"),
        ("Buyer", "Buyer", "Buy"),
        ("R-Buyer", "R-Buyer", "R-B"),
    ],
)
def test_roles_in_plain_words(label: str, word: str, code: str) -> None:
    assert describe(label)[:2] == (word, code)


def test_each_known_role_has_a_meaning_and_a_word_that_a_prefix_fits() -> None:
    for label in ROLES:
        for prefix in ("", *PREFIXES):
            assert describe(prefix + label).meaning.startswith(ROLES[label].meaning)


def test_cards() -> None:
    card = Card("attack", "hit", (("who", "Ann"), ("whom", "x\x1b")), None)
    assert render(card) == "▌attack: hit · who: Ann · whom: x␛"


def test_roles_of_propbank_are_words_on_cards() -> None:
    card = Card("event", "met", (("ARG0", "Ann"), ("ARGM-TMP", "today"), ("Drug", "tea")))
    assert render(card) == "▌event: met · who: Ann · when: today · Drug: tea"


@pytest.mark.parametrize(
    ("score", "bar"), [(0.0, "·" * 10), (1.0, "█" * 10), (0.999, "█" * 10), (2.0, "█" * 10)]
)
def test_bars(score: float, bar: str) -> None:
    assert render(Classes("s", (Bar("a", score),))).split()[2] == bar


def test_many_classes_are_cut_and_counted_and_none_is_said() -> None:
    labels = [Label(f"c{number}", 0.1) for number in range(7)]
    lines = shown(Document(text="x", labels={"s": labels})).split("\n")
    assert lines[2].startswith("s  c0  █")
    assert lines[7] == "   and 2 more"
    assert shown(Document(text="x", labels={"s": []})) == "x\ns  none\n\n"
