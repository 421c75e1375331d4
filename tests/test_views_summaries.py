"""The views of summaries: the sentences with their places, in the place of the text."""

from __future__ import annotations

from typing import Any

import pytest

from lmtool.documents import Document, Entity, Summary, SummaryPart
from lmtool.views import Extract, HtmlWriter, Note, Passage, TextWriter, view

TEXT = "A heading\n\nRain\nfell <all> day. Nobody went out.\n\nThe end."
SUMMARY = Summary("Rain fell <all> day. The end.", [(11, 32), (50, 58)])


def document(**more: Any) -> Document:
    """Return the text with its summary."""
    return Document(text=TEXT, summary=SUMMARY, **more)


@pytest.mark.parametrize(
    ("made", "places"),
    [
        (document(), ("characters 11 to 32", "characters 50 to 58")),
        (document(id="a.txt"), ("a.txt, characters 11 to 32", "a.txt, characters 50 to 58")),
        (
            document(
                fields={
                    "documents": [
                        {"source": "b.txt", "id": "b", "start": 0, "end": 48},
                        {"source": "c.txt", "start": 50, "end": 58},
                    ]
                }
            ),
            ("b, characters 11 to 32", "c.txt, characters 0 to 8"),
        ),
        (
            document(fields={"documents": [3, {"source": "b.txt", "start": "0", "end": 99}]}),
            ("characters 11 to 32", "characters 50 to 58"),
        ),
        (document(fields={"documents": 3}), ("characters 11 to 32", "characters 50 to 58")),
    ],
)
def test_sentences_with_their_places(made: Document, places: tuple[str, str]) -> None:
    sentences = ("Rain fell <all> day.", "The end.")
    assert view(made) == [Extract("summary", tuple(zip(sentences, places, strict=True)))]


def test_as_text() -> None:
    assert TextWriter().encode([document(id="a\x1b[1m")]).decode() == (
        "summary:\n"
        "Rain fell <all> day. (a␛[1m, characters 11 to 32)\n"
        "The end. (a␛[1m, characters 50 to 58)\n\n"
    )


def test_as_a_page() -> None:
    page = HtmlWriter().encode([document()]).decode()
    assert "<h3>Summary</h3>" in page
    assert "Rain fell &lt;all&gt; day. " in page
    assert "(characters 50 to 58)" in page
    assert "heading" not in page


def test_marks_stay() -> None:
    made = document(entities=[Entity(start=11, end=15, label="THING")])
    passage, extract = view(made)
    assert isinstance(passage, Passage)
    assert isinstance(extract, Extract)


def test_what_a_model_wrote_with_its_parts() -> None:
    parts = [SummaryPart(0, 30, "It rained."), SummaryPart(30, 1058, "They stayed", "length")]
    made = Document(text=TEXT, summary=Summary("All stayed.", [], parts))
    assert view(made) == [
        Note("summary", "All stayed."),
        Note("characters 0 to 30", "It rained."),
        Note("characters 30 to 1,058 (cut)", "They stayed"),
    ]
