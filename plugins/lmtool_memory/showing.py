"""What the commands print: passages for people, with their words marked, or JSON Lines."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import lmtool

if TYPE_CHECKING:
    from .answers import Answer
    from .recalling import Found

DIGITS = 4


def is_terminal() -> bool:
    """Whether people read stdout."""
    return bool(sys.stdout is not None and sys.stdout.isatty())


def has_colour() -> bool:
    """Whether stdout shows colours."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def write_records(records: Sequence[dict[str, Any]]) -> None:
    """Print records as JSON Lines."""
    import msgspec

    for record in records:
        print(msgspec.json.encode(record).decode())


def record_of(found: Found) -> dict[str, Any]:
    """Return a passage as a document record: its text, where it stands, its score."""
    passage = found.passage
    return {
        "text": passage.text,
        "source": passage.source,
        "start": passage.start,
        "end": passage.end,
        "line": passage.line,
        "score": round(found.score, DIGITS),
        **({"masked": True} if passage.is_masked else {}),
    }


def answer_record(question: str, answer: Answer) -> dict[str, Any]:
    """Return an answer as a document record, with what it cites."""
    citations = [{"number": n, **record_of(answer.read[n - 1])} for n in answer.cited]
    cut = {"finish": "length"} if answer.is_cut else {}
    return {"text": answer.text, "question": question, "citations": citations, **cut}


def place_of(found: Found) -> str:
    """Return file:line, the file as seen from here where it lies below."""
    name = found.passage.source
    if not name.startswith("<"):
        near = os.path.relpath(name)
        name = name if near.startswith("..") else near
    return clean(f"{name}:{found.passage.line}")


def show(found: Sequence[Found], question: str) -> str:
    """Return passages for people: place and score, and the text with the question's words."""
    from .recalling import marks

    texts = [item.passage.text for item in found]
    shown = []
    for item, places in zip(found, marks(question, texts), strict=True):
        head = f"{bold(place_of(item))}  {item.score:.2f}"
        shown.append(f"{head}\n{indented(item.passage.text, places)}\n")
    return "\n".join(shown)


def show_answer(answer: Answer) -> str:
    """Return an answer for people, and below it the places that it cites."""
    places = [f"[{n}] {place_of(answer.read[n - 1])}" for n in answer.cited]
    lines = "\n".join(clean(line) for line in answer.text.splitlines())
    return lines + "\n" + ("\n" + "\n".join(places) + "\n" if places else "")


def indented(text: str, places: Sequence[tuple[int, int]]) -> str:
    """Return a text with its lines, those cut that do not fit the terminal, words marked.

    Marked stretches stand between stars, or bold where the terminal can.
    """
    width = min(shutil.get_terminal_size().columns, 100) - 2
    lines: list[str] = []
    for line in re.finditer(r"[^\n]*\n|[^\n]+", text):
        lead = line[0][: len(line[0]) - len(line[0].lstrip())].strip("\r\n").expandtabs(4)
        lead = lead if len(lead) < width // 2 else ""
        lines.append(lead)
        used = len(lead)
        for word in re.finditer(r"\S+", line[0]):
            start = line.start() + word.start()
            has_room = used + 1 + len(word[0]) <= width
            if used > len(lead) and not has_room:
                lines.append(lead)
                used = len(lead)
            gap = " " if used > len(lead) else ""
            lines[-1] += gap + _marked(text, start, start + len(word[0]), places)
            used += len(gap) + len(word[0])
    return "\n".join(f"  {line}".rstrip() for line in lines)


def _marked(text: str, start: int, end: int, places: Sequence[tuple[int, int]]) -> str:
    """Return a stretch of a text, and what of it is in one of the places marked."""
    on, off = ("\x1b[1;33m", "\x1b[0m") if has_colour() else ("*", "*")
    piece, at = "", start
    for low, high in places:
        if start < high and low < end:
            low, high = max(low, start), min(high, end)
            piece += clean(text[at:low]) + on + clean(text[low:high]) + off
            at = high
    return piece + clean(text[at:end])


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def bold(text: str) -> str:
    """Return a text in bold where stdout shows it."""
    return f"\x1b[1m{text}\x1b[0m" if has_colour() else text


def clean(text: str) -> str:
    """Return a text whose control characters are shown, never sent to a terminal."""
    if text.isprintable():
        return text
    from lmtool.views import clean as shown

    return shown(text)


def check_format(format: str | None) -> str:
    """Return how to print: what was asked for, or text on a terminal and jsonl in a pipe."""
    if format not in (None, "text", "jsonl"):
        raise lmtool.UsageError(f"--format {format}: not text or jsonl")
    return format or ("text" if is_terminal() else "jsonl")
