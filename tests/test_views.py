"""Views: documents as text for people."""

from __future__ import annotations

import re

import pytest

from lmtool import Document, Entity
from lmtool.views import VIEWS, Mark, Passage, TextWriter, render, view
from lmtool.views.marked import colour_number

TEXT = "Tim Cook met Angela Merkel in Berlin."
MARKS = (Mark(0, 8, "PER"), Mark(13, 26, "PER"), Mark(30, 36, "LOC"))
PLAIN = "[Tim Cook PER] met [Angela Merkel PER] in [Berlin LOC]."


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def marked(text: str, *words: tuple[str, str]) -> Passage:
    return Passage(text, tuple(Mark(text.index(w), text.index(w) + len(w), y) for w, y in words))


def test_view_of_entities() -> None:
    document = Document(text=TEXT, entities=[Entity(start=30, end=36, label="LOC")])
    assert view(document) == [Passage(TEXT, (Mark(30, 36, "LOC"),))]


def test_a_document_without_a_known_layer_is_its_text() -> None:
    assert view(Document(text=TEXT, fields={"own": [1]})) == [Passage(TEXT)]


def test_an_empty_layer_shows_the_text() -> None:
    assert view(Document(text=TEXT, entities=[])) == [Passage(TEXT)]


def test_a_layer_of_its_own_gets_a_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIEWS, "mood", lambda d: [Passage(f"mood: {d.layer('mood')}")])
    assert view(Document(text="x", fields={"mood": "fine"})) == [Passage("mood: fine")]


def test_marks_in_brackets() -> None:
    assert render(Passage(TEXT, MARKS)) == PLAIN


def test_colours_keep_the_text_and_add_a_legend() -> None:
    text = render(Passage(TEXT, MARKS), colour=True)
    assert "\x1b[" in text
    first, legend = without_colours(text).split("\n")
    assert first == " Tim Cook PER  met  Angela Merkel PER  in  Berlin LOC ."
    assert legend.split() == ["LOC", "1", "PER", "2"]


def test_nested_marks() -> None:
    passage = marked("New York University", ("New York", "LOC"), ("New York University", "ORG"))
    assert render(passage) == "[[New York LOC] University ORG]"


def test_crossing_marks_lose_nothing() -> None:
    passage = marked("a b c", ("a b", "X"), ("b c", "Y"))
    assert render(passage) == "[a [b X] c Y]"
    assert without_colours(render(passage, colour=True)).startswith(" a  b X  c Y")


@pytest.mark.parametrize(("start", "end"), [(3, 3), (5, 2), (-1, 2), (0, 99)])
def test_a_mark_that_does_not_fit_is_left_out(start: int, end: int) -> None:
    mark = Mark(start, end, "A")
    assert render(Passage("hello", (mark,))) == "hello"
    assert without_colours(render(Passage("hello", (mark,)), colour=True)) == "hello"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\x00b\x07c", "a␀b␇c"),
        ("a\rb", "a␍b"),
        ("a\r\nb", "a\nb"),
        ("del\x7f", "del␡"),
        ("csi\x9b2J", "csi\ufffd2J"),
        ("\u202eabc", "\ufffdabc"),
        ("[bold]no markup[/bold] :smile:", "[bold]no markup[/bold] :smile:"),
    ],
)
@pytest.mark.parametrize("colour", [False, True])
def test_control_characters_are_shown(text: str, shown: str, colour: bool) -> None:
    assert without_colours(render(Passage(text), colour=colour)) == shown


def test_control_characters_in_labels_are_shown() -> None:
    assert render(Passage("ab", (Mark(0, 2, "X\x1b"),))) == "[ab X␛]"


def test_offsets_hold_beside_control_characters() -> None:
    text = "\x1b\r\nBerlin"
    assert render(Passage(text, (Mark(3, 9, "LOC"),))) == "␛\n[Berlin LOC]"


def test_long_lines_are_cut_at_word_ends() -> None:
    text = render(Passage("one two three four five six seven"), width=20)
    assert text == "one two three four\nfive six seven"


@pytest.mark.parametrize(
    ("colour", "lines"),
    [
        (False, ["We saw", "[Ann PER],", "[Bob PER]."]),
        (True, ["We saw", " Ann PER ,", " Bob PER .", " PER  2"]),
    ],
)
def test_a_label_stays_with_its_word_and_what_follows(colour: bool, lines: list[str]) -> None:
    passage = marked("We saw Ann, Bob.", ("Ann", "PER"), ("Bob", "PER"))
    assert without_colours(render(passage, width=12, colour=colour)).split("\n") == lines


def test_the_legend_is_cut_at_the_width() -> None:
    passage = Passage("abc", tuple(Mark(n, n + 1, label) for n, label in enumerate("XYZ")))
    shown = without_colours(render(passage, width=14, colour=True)).split("\n")
    assert shown[-2:] == [" X  1   Y  1", " Z  1"]


def test_usual_labels_have_colours_of_their_own() -> None:
    labels = ("PER", "ORG", "LOC", "MISC", "TIME", "NUM")
    assert [colour_number(label, 10) for label in labels] == list(range(6))


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    "text", ["東京で人工知能の会議が開かれた。" * 4, "👩‍👩‍👧 👍🏽 " * 20, "éa̐ỗ " * 30, "x" * 100]
)
def test_no_line_is_wider_than_the_terminal(text: str, colour: bool) -> None:
    from rich.cells import cell_len

    shown = without_colours(render(Passage(text), width=24, colour=colour))
    assert max(map(cell_len, shown.split("\n"))) <= 24
    assert shown.replace("\n", "").replace(" ", "") == text.replace(" ", "")


def test_marks_on_wide_characters() -> None:
    assert render(marked("会议在北京举行", ("北京", "LOC"))) == "会议在[北京 LOC]举行"


def test_the_writer_gives_a_line_for_each_text() -> None:
    documents = [Document(text="one"), Document(text="two\nlines"), Document(text="")]
    assert TextWriter().encode(documents) == b"one\ntwo\nlines\n\n\n"


def test_the_writer_never_fails_on_an_odd_text() -> None:
    assert TextWriter().encode([Document(text="\ud800")]) == b"\\ud800\n"


def test_the_writer_is_known_by_its_name() -> None:
    from lmtool.formats import writer_for

    assert isinstance(writer_for(name="text"), TextWriter)


def test_own_layers_of_spans_are_marks_and_other_fields_are_not_seen() -> None:
    fields = {"shouts": [{"start": 0, "end": 2, "label": "LOUD"}], "tags": ["a"], "empty": []}
    document = Document(text="HO ho", fields=fields)
    assert view(document) == [Passage("HO ho", (Mark(0, 2, "LOUD"),))]
    assert view(Document(text="HO", fields={"at": [{"start": "0", "end": 1, "label": "x"}]})) == [
        Passage("HO")
    ]


def test_a_vector_is_its_size_length_and_first_numbers() -> None:
    document = Document(text="HO", fields={"embedding": [0.6, -0.8, *[0.0] * 6], "at": [1.5, 2.5]})
    shown = "embedding: 8 numbers, length 1.0000: 0.6000 -0.8000 0.0000 0.0000 0.0000 0.0000 …"
    assert TextWriter().encode([document]).decode() == f"HO\n{shown}\n\n"
    assert view(Document(text="HO", fields={"scores": [1, 2, 3, 4, 5, 6, 7, 8]})) == [Passage("HO")]
