"""Gold frames as ranges of words, and as the arrays that a head is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmtool.documents import UNKNOWN, Document, Frame
from lmtool.windows import Window

from .words import BARE, INSIDE, PREDICATE, begins_in, role_words, tags_of

IGNORED = -100


class GoldFrame(NamedTuple):
    """A frame in words of a window."""

    frame: Frame
    predicate: tuple[int, int]
    sentence: tuple[int, int]
    """The words of the sentence that the predicate begins in."""
    arguments: list[tuple[int, int, str]]
    """First word, last word (exclusive) and role, in the sentence, none over another."""


def gold_frames(window: Window, document: Document, roles: Sequence[str]) -> list[GoldFrame]:
    """Return the frames whose predicate begins in the window.

    Where arguments overlap, the longer is kept; roles that are not among `roles` are left out.
    The words that an argument touches without fitting them (it leaves the sentence, or cuts a
    word) are unknown.
    """
    window = role_words(window)
    sentences: list[tuple[int, int]] = []
    found = []
    for frame in document.frames or ():
        if not begins_in(window, frame.predicate.start):
            continue
        first, last = window.words_touched(frame.predicate.start, frame.predicate.end)
        if first < last:
            sentences = sentences or window.sentences()
            sentence = next(bounds for bounds in sentences if first < bounds[1])
            arguments = _gold_arguments(window, frame, sentence, roles)
            found.append(GoldFrame(frame, (first, last), sentence, arguments))
    return found


def _gold_arguments(
    window: Window, frame: Frame, sentence: tuple[int, int], roles: Sequence[str]
) -> list[tuple[int, int, str]]:
    spans: list[tuple[int, int, str]] = []
    taken: set[int] = set()
    for argument in sorted(frame.arguments, key=lambda a: a.start - a.end):
        role = argument.role
        if role != UNKNOWN and role not in roles:
            continue
        words = window.words_of(argument.start, argument.end)
        if words is None or words[0] < sentence[0] or words[1] > sentence[1]:
            touched, role = window.words_touched(argument.start, argument.end), UNKNOWN
            words = max(touched[0], sentence[0]), min(touched[1], sentence[1])
        if words[0] < words[1] and not taken & set(range(*words)):
            taken |= set(range(*words))
            spans.append((*words, role))
    return sorted(spans)


def frame_targets(
    window: Window, document: Document, roles: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return the arrays that `RolesHead` is trained on.

    - predicates, int64 (tokens,): the class of each word, on its first token;
    - sentence_tokens, int64 (frames, words): the first tokens of the words of each sentence;
    - places, int64 (frames,): the predicate's word in it;
    - tags, int64 (frames, words): the tags of the words.

    They are -100 where nothing is or nothing is known. That is every word outside of arguments
    where `annotated` leaves a role out. The first of two frames of one word gives its class.
    """
    known = set((document.annotated or {}).get("frames", roles))
    is_complete = known.issuperset(roles)
    frames = gold_frames(window, document, roles)
    sizes = [frame.sentence[1] - frame.sentence[0] for frame in frames]
    classes = np.zeros(len(window.word_tokens), np.int64)
    sentence_tokens = np.full((len(frames), max(sizes, default=0)), IGNORED)
    tags = sentence_tokens.copy()
    places = np.zeros(len(frames), np.int64)
    for row, (frame, size) in enumerate(zip(frames, sizes, strict=True)):
        first, last = frame.predicate
        origin = frame.sentence[0]
        if not classes[first:last].any():
            classes[first:last] = INSIDE
            classes[first] = _predicate_class(frame.frame, is_complete)
        places[row] = first - origin
        sentence_tokens[row, :size] = window.word_tokens[slice(*frame.sentence)]
        tags[row, :size] = 0 if is_complete else IGNORED
        for begin, end, role in frame.arguments:
            begin_tag, inside_tag = tags_of(role, roles) if role in known else (IGNORED, IGNORED)
            tags[row, begin - origin : end - origin] = inside_tag
            tags[row, begin - origin] = begin_tag
    predicates = np.full(len(window.ids), IGNORED)
    predicates[window.word_tokens] = classes
    return {
        "predicates": predicates,
        "sentence_tokens": sentence_tokens,
        "places": places,
        "tags": tags,
    }


def _predicate_class(frame: Frame, is_complete: bool) -> int:
    """Return the class of a predicate; unknown where nobody looked for all of its arguments."""
    if frame.arguments:
        return PREDICATE
    return BARE if is_complete else IGNORED
