"""Documents whose views the tests look at."""

from __future__ import annotations

from lmtool.documents import (
    Document,
    Entity,
    Event,
    EventArgument,
    Frame,
    FrameArgument,
    Label,
    Relation,
    Span,
    Summary,
)

TEXT = "Tim Cook met Angela Merkel in Berlin."


def at(text: str, word: str) -> tuple[int, int]:
    return text.index(word), text.index(word) + len(word)


def frame(text: str, predicate: str, sense: str | None = None, **roles: str) -> Frame:
    """Make a frame of words of the text; an underscore of a role is a hyphen."""
    arguments = [FrameArgument(r.replace("_", "-"), *at(text, word)) for r, word in roles.items()]
    return Frame(Span(*at(text, predicate)), sense, arguments)


def full_document() -> Document:
    """Return a document with every layer."""
    cook, merkel, berlin = (at(TEXT, word) for word in ("Tim Cook", "Angela Merkel", "Berlin"))
    return Document(
        id="7",
        text=TEXT,
        pair="They met.",
        labels={
            "topic": [Label("politics", 0.75), Label("film", 0.25)],
            "stars": [Label(value=3.5)],
        },
        entities=[
            Entity(id="e1", start=cook[0], end=cook[1], label="PER"),
            Entity(id="e2", start=merkel[0], end=merkel[1], label="PER"),
            Entity(id="e3", start=berlin[0], end=berlin[1], label="LOC"),
        ],
        relations=[Relation("e1", "e3", "was in", 0.9), Relation("e2", "e9", "knows")],
        events=[
            Event(
                "meeting",
                Span(9, 12, score=0.5),
                [EventArgument("guest", "e1"), EventArgument("place", None, *berlin)],
            )
        ],
        frames=[
            frame(
                TEXT, "met", "meet.02", ARG0="Tim Cook", ARG1="Angela Merkel", ARGM_LOC="in Berlin"
            )
        ],
        summary=Summary("A meeting."),
    )
