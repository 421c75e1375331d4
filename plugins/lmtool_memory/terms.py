"""The words of texts and questions, as the index of words takes them."""

from __future__ import annotations

import itertools
import re
from typing import Final

from .passages import EAST_ASIAN

GAP: Final = "\x1f"
"""Stands around each character of a script without spaces, so that it is a word of its own."""
_EAST_ASIAN: Final = re.compile(rf"[{EAST_ASIAN}]")
_TERM: Final = re.compile(rf"[{EAST_ASIAN}]+|[^\W{EAST_ASIAN}]+")

STOP_WORDS: Final = frozenset(
    "a about after again all also am an and any are as at be because been before being but by can "
    "could did do does doing done for from had has have having he her here hers him his how i if "
    "in into is it its just may me might more most my no nor not of on one only or other our out "
    "over own shall she should so some such than that the their them then there these they this "
    "those through to too under up us very was we were what when where which while who whom whose "
    "why will with would you your s t".split()
)
"""English words that say nothing about what a question asks for."""

_CHINESE_STOP: Final = re.compile(
    "为什么|什么时候|什么|怎么样|怎么|怎样|时候|多少|多久|多大|几个|哪里|哪儿|哪个|哪些|哪|谁|"
    "是不是|有没有|是否|如何|可以|应该|我们|你们|他们|她们|它们|这个|那个|这些|那些|"
    "[的了吗呢吧啊么是我你他她它]"
)
"""What questions in Chinese are made with: no pair of characters reaches over it."""


def indexed(text: str) -> str:
    """Return a text as the index takes it."""
    return text if text.isascii() else _EAST_ASIAN.sub(rf"{GAP}\g<0>{GAP}", text)


def terms_of(question: str) -> list[str]:
    """Return the words of a question as FTS5 queries, each once, without stop words.

    Of a script without spaces it is each pair of neighbours; a character that stop words leave
    alone goes with them. Where nothing else is there, they stay.
    """
    words = list(dict.fromkeys(word.lower() for word in _TERM.findall(question)))
    kept = [part for word in words if word not in STOP_WORDS for part in _without_stops(word)]
    return list(dict.fromkeys(f'"{term}"' for word in kept or words for term in _parts(word)))


def _without_stops(word: str) -> list[str]:
    if not _EAST_ASIAN.match(word):
        return [word]
    pieces = _CHINESE_STOP.split(word)
    return [piece for piece in pieces if len(piece) > 1 or piece == word]


def _parts(word: str) -> list[str]:
    if len(word) == 1 or not _EAST_ASIAN.match(word):
        return [word]
    return [f"{a} {b}" for a, b in itertools.pairwise(word)]


def is_pair(term: str) -> bool:
    """Whether a query is a pair of characters of a script without spaces."""
    return " " in term
