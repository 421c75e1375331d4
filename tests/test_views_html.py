"""Views: the HTML page, and what a notebook shows."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

import lmtool
from lmtool import Document, Entity
from lmtool.documents import (
    Event,
    EventArgument,
    Frame,
    FrameArgument,
    Label,
    Relation,
    Span,
)
from lmtool.formats import writer_for
from lmtool.views import HtmlWriter, fragment
from lmtool.views.page import section
from lmtool.views.style import DARK, DARK_LABELS, LIGHT, LIGHT_LABELS, style_sheet
from tests.views_documents import TEXT, frame, full_document

VOID = {"meta"}


class Page(HTMLParser):
    """A strict reader: every element closed in its turn; collects the text and the attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names))
        assert not [name for name in names if name.startswith("on") or name in ("src", "href")]
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)


def page_of(*documents: Document) -> str:
    writer = HtmlWriter()
    return (writer.header() + writer.encode(documents) + writer.footer()).decode()


def test_a_page_has_a_section_for_each_document_and_loads_nothing() -> None:
    html = page_of(full_document(), Document(text="x"), Document(text=""))
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>\n<html lang=")
    assert page.tags.count("article") == 3
    assert not {"script", "link", "img", "iframe"}.intersection(page.tags)
    assert not re.search(r"https?:|url\(|@import", html)


def test_chunks_make_the_same_page() -> None:
    writer = HtmlWriter()
    documents = [full_document(), Document(text="x")]
    whole = writer.encode(documents)
    assert whole == b"".join(writer.encode([document]) for document in documents)


def test_every_layer_is_written() -> None:
    texts = [text.strip() for text in Page(section(full_document())).texts]
    for words in (
        ["7", "Tim Cook", "PER", "met", "Angela Merkel", "PER", "in", "Berlin", "LOC", "."],
        ["Tim Cook", "who", "ARG0", "met", "meet.02", "Angela Merkel", "what", "ARG1"],
        ["in Berlin", "where", "ARGM-LOC"],
        ["Pair", "They met."],
        ["topic", "politics", "75%", "film", "25%", "stars", "3.5"],
        ["Relations", "was in"],
        ["Tim Cook", "—was in→", "Berlin", "90%"],
        ["Angela Merkel", "—knows→", "e9"],
        ["Events", "meeting", "50%", "trigger", "met", "guest", "Tim Cook", "place", "Berlin"],
        ["Summary", "A meeting."],
    ):
        joined = "\0".join(text for text in texts if text)
        assert "\0".join(words) in joined, words


NASTY = "<script>alert(\"1\")</script> & 'q'\n\x00\x1b\x85\u202e\ud800"


def test_nothing_of_a_document_is_markup() -> None:
    document = Document(
        id=NASTY,
        text=NASTY,
        pair=NASTY,
        labels={NASTY: [Label(NASTY, 0.5)]},
        entities=[
            Entity(id="a", start=0, end=8, label=NASTY),
            Entity(id="b", start=9, end=14, label=NASTY),
        ],
        relations=[Relation("a", "b", NASTY), Relation("a", NASTY, NASTY)],
        frames=[Frame(Span(0, 8), NASTY, [FrameArgument(NASTY, 8, 20)])],
    )
    html = page_of(document)
    page = Page(html)
    assert "script" not in page.tags
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800]", html)
    assert "".join(page.texts).count('<script>alert("1")</script> & ') >= 3


def marked(text: str, *spans: tuple[int, int, str]) -> str:
    entities = [Entity(start=start, end=end, label=label) for start, end, label in spans]
    html = section(Document(text=text, entities=entities))
    Page(html)
    return re.sub(' class="c."', "", html.split('lang="">')[1].split("</div>")[0])


def test_marks_nest_and_crossing_ones_are_cut() -> None:
    assert marked("a b", (0, 3, "X"), (0, 1, "Y")) == (
        "<mark><mark>a<small>Y</small></mark> b<small>X</small></mark>"
    )
    assert marked("a b c", (0, 3, "X"), (2, 5, "Y")) == (
        "<mark>a <mark>b<small>X</small></mark></mark><mark> c<small>Y</small></mark>"
    )
    assert marked("a", (0, 1, "X"), (0, 1, "X")).count("<mark>") == 2


def framed(text: str, *frames: Frame, **layers: Any) -> str:
    html = section(Document(text=text, frames=list(frames), **layers))
    Page(html)
    return html


def test_white_space_alone_is_no_sentence_and_a_frame_is_one_line() -> None:
    text = "He left\nthe house.\n\n\nShe came.\n\n"
    html = framed(text, frame(text, "He", ARG1="left\nthe"), frame(text, "came", ARG0="She"))
    texts = re.findall('<div class="sentence"><div[^>]*>([^<]*)</div>', html)
    assert texts == ["He left\nthe house.", "She came."]
    assert "<i>left the</i>" in html


def test_a_mark_over_the_end_of_a_sentence_is_cut_there() -> None:
    text = "He saw Rome. It shone."
    entities = [Entity(start=7, end=15, label="X")]
    html = framed(text, frame(text, "saw", ARG0="He"), entities=entities)
    assert html.count("<small>X</small>") == 2
    assert re.findall("<mark[^>]*>([^<]*)<small>", html) == ["Rome.", "It"]


def test_predicates_without_arguments_share_a_line() -> None:
    text = "It has been said."
    html = framed(text, frame(text, "has"), frame(text, "been"), frame(text, "said", ARG1="It"))
    assert html.count('<div class="frame">') == 2
    assert html.index("<b>said</b>") < html.index("<b>has</b>") < html.index("<b>been</b>")


def test_roles_of_propbank_are_words_on_cards() -> None:
    argument = EventArgument("ARG0", None, 0, 3)
    html = framed("Ann ran.", events=[Event("event", Span(4, 7), [argument])])
    agent = "ARG0, agent: who or what does it (subject)"
    assert f'<dt title="{agent}">who</dt><dd>Ann</dd>' in html


def arcs_of(*relations: tuple[int, int], words: str = "Ann met Bob and Eve.") -> list[str]:
    starts = [match.start() for match in re.finditer("[A-Z]", words)]
    entities = [Entity(id=str(i), start=s, end=s + 3, label="P") for i, s in enumerate(starts)]
    found = [Relation(str(head), str(tail), f"r{head}{tail}") for head, tail in relations]
    html = section(Document(text=words, entities=entities, relations=found))
    Page(html)
    return re.findall("<svg.*?</svg>", html)


def test_arcs_over_a_sentence_end_at_the_entities() -> None:
    (svg,) = arcs_of((0, 1))
    assert 'aria-label="Relations: r01"' in svg
    assert [float(x) for x in re.findall(r'd="M([\d.]+) \d+V', svg)] == [1.5 * 7.8 + 4]
    assert [float(x) for x in re.findall(r'class="tip" d="M([\d.]+)', svg)] == [
        pytest.approx(9.5 * 7.8 - 8, abs=0.05)
    ]


def test_arcs_that_overlap_have_lanes_of_their_own() -> None:
    (svg,) = arcs_of((0, 1), (0, 2), (1, 2))
    heights = [int(y) for y in re.findall(r'class="label"[^>]* y="(\d+)"', svg)]
    assert len(heights) == 3
    assert len(set(heights)) >= 2


def test_a_label_may_be_longer_than_its_arc() -> None:
    assert ">publication date<" in arcs_between("publication date")
    assert ">located in the administra…<" in arcs_between("located in the administrative region")


def arcs_between(label: str) -> str:
    """Return the page of a relation between neighbours."""
    entities = [
        Entity(id="a", start=0, end=1, label="P"),
        Entity(id="b", start=2, end=3, label="P"),
    ]
    return section(Document(text="A B", entities=entities, relations=[Relation("a", "b", label)]))


def test_one_arc_for_all_relations_of_a_pair() -> None:
    text = "Ann met Bob."
    entities = [
        Entity(id="a", start=0, end=3, label="P"),
        Entity(id="b", start=8, end=11, label="P"),
    ]
    relations = [Relation("a", "b", "x"), Relation("a", "b", "y")]
    html = section(Document(text=text, entities=entities, relations=relations))
    assert html.count('class="tip"') == 1
    assert ">x, y<" in html


def test_no_arcs_over_sentences_or_where_they_would_not_be_readable() -> None:
    assert arcs_of((0, 1), words="Ann left. Bob came.") == []
    assert arcs_of((0, 0)) == []
    names = " ".join(["Abe"] * 30)
    assert arcs_of(*((i, i + 1) for i in range(29)), words=names) == []


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("colours", "labels"), [(LIGHT, LIGHT_LABELS), (DARK, DARK_LABELS)])
def test_colours_have_contrast(colours: dict[str, str], labels: tuple[str, ...]) -> None:
    for ground in (colours["paper"], colours["panel"], *labels):
        assert contrast(colours["ink"], ground) >= 7
    for ground in (colours["paper"], colours["panel"]):
        assert contrast(colours["soft"], ground) >= 4.5
        assert contrast(colours["bar"], ground) >= 3


def test_a_notebook_gets_the_section_with_its_style_scoped() -> None:
    document = full_document()
    html = document._repr_html_()
    Page(html)
    assert html == fragment(document)
    assert html.startswith('<div class="lmtool"><style>')
    assert section(document) in html
    without_media = re.sub(r"@media[^{]*\{", "", style_sheet())
    selectors = re.findall(r"([^{}]+)\{", without_media)
    parts = [part for selector in selectors for part in selector.split(",")]
    assert parts
    assert all(part.startswith(".lmtool") for part in parts)
    Page(Document(text="\ud800")._repr_html_()).texts[0].encode()


def test_the_section_is_dark_where_the_page_around_it_is() -> None:
    sheet = style_sheet()
    for page in ("[data-jp-theme-light=false]", ".vscode-dark", "[theme=dark]"):
        assert f".lmtool:is({page} *)" in sheet
    dark = sheet.index(".lmtool:is([data-jp-theme-light=false] *)")
    assert sheet.index("@media screen{") < sheet.index(".lmtool:is([theme=light] *)") < dark
    assert sheet[dark:].split("{")[1].startswith(f"color-scheme:dark;--paper:{DARK['paper']}")


def test_the_writer_is_known_by_name_and_suffix() -> None:
    assert isinstance(writer_for(name="html"), HtmlWriter)
    assert isinstance(writer_for("a.html"), HtmlWriter)
    assert isinstance(writer_for("a.htm.gz"), HtmlWriter)


def test_a_document_of_the_package_has_the_view() -> None:
    assert TEXT in re.sub("<[^>]*>", "", lmtool.Document(text=TEXT)._repr_html_())
