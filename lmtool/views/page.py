"""Documents as one self-contained HTML page: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Final

from ..documents import Document
from ..sources import Writer
from .arcs import arcs
from .blocks import (
    Bar,
    Block,
    Card,
    Classes,
    Extract,
    Frame,
    Links,
    Mark,
    Note,
    Passage,
    Turns,
    one_line,
    view,
)
from .marked import clean, colour_number, cut, sentence_ranges
from .roles import describe
from .style import N_COLOURS, style_sheet


class HtmlWriter(Writer):
    """Writes a page for people: a section for each document."""

    name = "html"
    suffixes = (".html", ".htm")
    summary = "a page for people: spans, arcs, frames, event cards, class bars"

    def header(self) -> bytes:
        """Return the start of the page, with the style sheet."""
        head = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>Documents</title>\n<style>{style_sheet()}{_WHOLE_PAGE}</style>\n</head>\n"
            '<body class="lmtool">\n<main>\n'
        )
        return head.encode()

    def encode(self, documents: Iterable[Document]) -> bytes:
        """Return a section for each document."""
        text = "".join(f"{section(document)}\n" for document in documents)
        return text.encode("utf-8", "backslashreplace")

    def footer(self) -> bytes:
        """Return the end of the page."""
        return b"</main>\n</body>\n</html>\n"


_WHOLE_PAGE: Final = "body{margin:0}"


def fragment(document: Document) -> str:
    """Return the section of a document with its style, for a page of somebody else."""
    text = f'<div class="lmtool"><style>{style_sheet()}</style>{section(document)}</div>'
    return text.encode("utf-8", "backslashreplace").decode()


def section(document: Document) -> str:
    """Return what there is to see of a document as an <article>."""
    parts = ["<article>"]
    if document.id is not None:
        parts.append(f"<h2>{_text(str(document.id))}</h2>")
    for kind, blocks in groupby(view(document), key=type):
        if kind is Card:
            parts += _cards([block for block in blocks if isinstance(block, Card)])
        else:
            for block in blocks:
                parts += _block(block)
    return "".join([*parts, "</article>"])


def _text(text: str) -> str:
    return escape(clean(text))


def _block(block: Block) -> Iterator[str]:
    match block:
        case Passage():
            yield from _passage(block)
        case Links():
            yield from _links(block)
        case Classes():
            yield from _classes(block)
        case Note():
            yield f"<h3>{_text(block.title.capitalize())}</h3>"
            yield f'<p class="text" dir="auto" lang="">{_text(block.text)}</p>'
        case Extract():
            yield f"<h3>{_text(block.title.capitalize())}</h3>"
            for sentence, place in block.sentences:
                yield f'<p class="text" dir="auto" lang="">{_text(sentence)} '
                yield f'<span class="score">({_text(place)})</span></p>'
        case Turns():
            for who, text in block.turns:
                yield f'<div class="turn"><h3>{_text(who)}</h3>'
                yield f'<p class="text" dir="auto" lang="">{_text(text)}</p></div>'


# ── the text ─────────────────────────────────────────────────────────────────────────────────


def _passage(passage: Passage) -> Iterator[str]:
    if not passage.frames:
        yield f'<div class="text" dir="auto" lang="">{_marked(passage)}</div>'
    else:
        for sentence in _sentences(passage):
            yield '<div class="sentence"><div class="text" dir="auto" lang="">'
            yield f"{_marked(sentence)}</div>"
            yield from _frames(sentence)
            yield "</div>"
    yield from _legend(passage)


def _sentences(passage: Passage) -> Iterator[Passage]:
    """Yield each sentence as a passage of its own; a mark over a sentence's end is cut there.

    Blank lines between them are left out: the page sets sentences apart.
    """
    ranges = sentence_ranges(passage)
    starts = [start for start, _ in ranges]
    ranges = [_seen(passage.text, start, end) for start, end in ranges]
    marks: list[list[Mark]] = [[] for _ in ranges]
    frames: list[list[Frame]] = [[] for _ in ranges]
    for mark in passage.marks:
        number = max(bisect_right(starts, mark.start) - 1, 0)
        while number < len(ranges) and starts[number] < mark.end:
            start, end = ranges[number]
            marks[number].append(_moved(mark, start, end))
            number += 1
    for frame in passage.frames:
        number = bisect_right(starts, frame.start) - 1
        start, end = ranges[number]
        arguments = tuple(_moved(mark, start, end) for mark in frame.arguments)
        frames[number].append(Frame(_moved(frame.predicate, start, end), arguments))
    for (start, end), some, found in zip(ranges, marks, frames, strict=True):
        if start < end:
            yield Passage(passage.text[start:end], tuple(some), tuple(found))


def _seen(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a range without blank lines before it and white space behind it."""
    words = text[start:end].rstrip()
    blank = re.match(r"\s*\n", words)
    return start + (blank.end() if blank else 0), start + len(words)


def _moved(mark: Mark, start: int, end: int) -> Mark:
    first, last = (min(max(place, start), end) - start for place in (mark.start, mark.end))
    return Mark(first, last, mark.label)


def _marked(passage: Passage) -> str:
    """Return the text with its marks; where marks cross, the inner one is cut in two."""
    parts: list[str] = []
    open_marks: list[Mark] = []
    for piece in cut(passage):
        kept = 0
        while (
            kept < len(open_marks) and open_marks[kept : kept + 1] == piece.inside[kept : kept + 1]
        ):
            kept += 1
        parts += ["</mark>" for _ in open_marks[kept:]]
        parts += [f'<mark class="{_colour(mark.label)}">' for mark in piece.inside[kept:]]
        parts.append(_text(piece.text))
        open_marks = list(piece.inside)
        for mark in piece.closed:
            parts.append(f"<small>{_text(mark.label)}</small>")
            if open_marks[-1] == mark:
                parts.append("</mark>")
                open_marks.pop()
    parts += ["</mark>" for _ in open_marks]
    return "".join(parts)


def _colour(label: str) -> str:
    return f"c{colour_number(label, N_COLOURS)}"


def _legend(passage: Passage) -> Iterator[str]:
    counts = Counter(mark.label for piece in cut(passage) for mark in piece.opened)
    roles = {mark.label for frame in passage.frames for mark in frame.arguments}
    if counts:
        yield '<ul class="legend" aria-label="Labels">'
        for label, count in sorted(counts.items()):
            yield f'<li><mark class="{_colour(label)}">{_text(label)}</mark> {count}</li>'
        yield "</ul>"
    if roles:
        yield '<ul class="legend" aria-label="Roles">'
        for label in sorted(roles):
            role = describe(label)
            meaning = f" {_text(role.meaning)}" if role.meaning else ""
            yield f"<li><strong>{_text(role.word)}</strong> {_text(label)}{meaning}</li>"
        yield "</ul>"


def _frames(sentence: Passage) -> Iterator[str]:
    """Yield a line for each frame; predicates without arguments share the last one."""
    alone = []
    for frame in sentence.frames:
        if frame.arguments:
            yield f'<div class="frame">{_spans(sentence.text, frame)}</div>'
        else:
            alone.append(_spans(sentence.text, frame))
    if alone:
        yield f'<div class="frame">{"".join(alone)}</div>'


def _spans(text: str, frame: Frame) -> str:
    """Return the spans of a frame in their order, each over its role."""
    spans = sorted(
        [(frame.predicate, True), *((mark, False) for mark in frame.arguments)],
        key=lambda pair: (pair[0].start, pair[0].end),
    )
    parts = []
    position: int | None = None
    for mark, is_predicate in spans:
        if position is not None and text[position : mark.start].strip():
            parts.append('<span class="gap">…</span>')
        position = max(position or 0, mark.end)
        words = _text(one_line(text[mark.start : mark.end]))
        if is_predicate:
            sense = _text(mark.label)
            parts.append(f'<span><b>{words}</b><span class="role">{sense}</span></span>')
        else:
            role = describe(mark.label)
            name = f"<strong>{_text(role.word)}</strong> " if role.word != mark.label else ""
            parts.append(
                f'<span><i>{words}</i><span class="role" title="{_text(role.meaning)}">'
                f"{name}{_text(mark.label)}</span></span>"
            )
    return "".join(parts)


# ── what stands below it ─────────────────────────────────────────────────────────────────────


def _links(block: Links) -> Iterator[str]:
    yield "<h3>Relations</h3>"
    yield from (f'<div class="arcs">{svg}</div>' for svg in arcs(block))
    yield '<ul class="links">'
    for link in block.links:
        head, tail = (
            f'<mark class="{_colour(mark.label)}">{_text(block.name(mark))}</mark>'
            for mark in (link.head, link.tail)
        )
        yield f"<li>{head} —{_text(link.label)}→ {tail}{_score(link.score)}</li>"
    yield "</ul>"


def _cards(cards: Sequence[Card]) -> Iterator[str]:
    yield '<h3>Events</h3><div class="cards">'
    for card in cards:
        yield f'<div class="card"><p>{_text(card.label)}{_score(card.score)}</p><dl>'
        yield f"<dt>trigger</dt><dd>{_text(card.trigger)}</dd>"
        for label, text in card.arguments:
            role = describe(label)
            title = f' title="{_text(f"{label}, {role.meaning}")}"' if role.meaning else ""
            yield f"<dt{title}>{_text(role.word)}</dt><dd>{_text(text)}</dd>"
        yield "</dl></div>"
    yield "</div>"


SHOWN_CLASSES: Final = 10
"""How many classes of a scheme are shown."""


def _classes(classes: Classes) -> Iterator[str]:
    yield f"<h3>{_text(classes.scheme)}</h3>"
    if not classes.bars:
        yield "<p>none</p>"
        return
    yield '<div class="bars">'
    for bar in classes.bars[:SHOWN_CLASSES]:
        yield f'<span class="name">{_text(bar.label)}</span>{_bar(bar)}'
    yield "</div>"
    if (more := len(classes.bars) - SHOWN_CLASSES) > 0:
        yield f"<p>and {more} more</p>"


def _bar(bar: Bar) -> str:
    if bar.score is None:
        return "<span></span><span></span>"
    share = min(max(bar.score, 0.0), 1.0)
    track = f'<div class="track"><div style="width:{share:.1%}"></div></div>'
    return f"{track}<span>{bar.score:.0%}</span>"


def _score(score: float | None) -> str:
    return "" if score is None else f' <span class="score">{score:.0%}</span>'
