"""Windows of texts for language models: stretches that leave room for a prompt and an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def window_ends(
    text: str, language: str, count: Callable[[str], int], room: int, unit: str
) -> Iterator[int]:
    """Yield where the windows of a text end, the last at its length.

    A window holds one sentence (unit "sentence") or as many as fit into `room` tokens; a sentence
    that does not fit is cut between words where it has some. White space belongs to one of them.
    """
    from .windows import sentence_ends

    start = n_tokens = end = 0
    for stop in sentence_ends(text, language):
        size = _size(text, end, stop, count, room)
        is_next = unit == "sentence" and text[start:end].strip() and text[end:stop].strip()
        if end > start and (is_next or n_tokens + size > room):
            yield end
            start, n_tokens = end, 0
        while size > room:
            start = _word_end(text, start, stop, count, room)
            yield start
            size = _size(text, start, stop, count, room)
        end, n_tokens = stop, n_tokens + size
    if end > start or not text:
        yield end


def _size(text: str, start: int, stop: int, count: Callable[[str], int], room: int) -> int:
    """Return the tokens of a stretch, or of its beginning where those are far too many already."""
    most = start + 32 * room
    if most < stop and (size := count(text[start:most])) > 2 * room:
        return size
    return count(text[start:stop])


def _word_end(text: str, start: int, stop: int, count: Callable[[str], int], room: int) -> int:
    """Return the end of the longest stretch from `start` that fits, after a space if it has one."""
    low, high = start + 1, min(start + 16 * room, stop - 1)
    while low < high:
        middle = (low + high + 1) // 2
        if count(text[start:middle]) <= room:
            low = middle
        else:
            high = middle - 1
    space = max(text.rfind(" ", start, low), text.rfind("\n", start, low))
    return space + 1 if space > start else low
