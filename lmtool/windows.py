"""From text to windows: the one encoding that training, scoring and production share.

A text is cut at sentence ends into windows that fit the model. Nothing is dropped: the windows
of a text, joined, are the text. Labels belong to words, and the words are the tokenizer's own
(split further at punctuation and between Chinese characters where a tokenizer does not), so a
span of the text is a range of words whatever the spacing.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, DataError, UsageError
from .sentences import sentence_ends as sentence_ends

if TYPE_CHECKING:
    from .documents import Document

BLOCK_CHARACTERS = 50_000
"""A text is tokenised in blocks of about this size, so memory does not grow with it."""

_FIRST_MARK = 0x300  # the first combining mark of Unicode

N_SHAPES = 8
_LOWER, _CAPITAL, _UPPER, _MIXED, _DIGIT, _ALNUM, _OTHER = range(1, N_SHAPES)


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """How texts become windows; saved with a backbone, since its weights depend on it."""

    max_tokens: int = 128
    """The longest window in tokens, with the tokenizer's special tokens."""
    language: str = "en"
    """The language of the sentence splitter, as an ISO 639-1 code."""
    has_shapes: bool = False
    """Whether the backbone takes the case shape of each word as a further input."""


class Window:
    """A stretch of a document that fits the model.

    Attributes:
        start: its first character in the document.
        text: its characters; the windows of a document partition it.
        ids: token ids with special tokens, int64 (tokens,).
        shapes: the shape of each token's word, int64 (tokens,); 0 for special tokens.
        word_tokens: the index in `ids` of each word's first token, int64 (words,).
        word_starts, word_ends: the words' characters in `text`, int64 (words,).
        language: of the sentence splitter.
        document: the document it is of, for a task that takes layers of it as given; else None.
    """

    __slots__ = (
        "document",
        "ids",
        "language",
        "shapes",
        "start",
        "text",
        "word_ends",
        "word_starts",
        "word_tokens",
    )

    def __init__(
        self,
        start: int,
        text: str,
        ids: NDArray[np.int64],
        shapes: NDArray[np.int64],
        words: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
        language: str = "en",
    ) -> None:
        self.language = language
        self.document: Document | None = None
        self.start = start
        self.text = text
        self.ids = ids
        self.shapes = shapes
        self.word_tokens, self.word_starts, self.word_ends = words

    @property
    def key(self) -> tuple[Any, ...]:
        """What two windows share when a model must give them the same answer."""
        ids, shapes, words = self.ids, self.shapes, self.word_tokens
        given = () if self.document is None else (id(self.document), self.start)
        return self.text, ids.tobytes(), shapes.tobytes(), words.tobytes(), *given

    def sentences(self) -> list[tuple[int, int]]:
        """Return the ranges of words that are the sentences of the window; together all words."""
        ends = np.searchsorted(self.word_starts, sentence_ends(self.text, self.language))
        bounds = [0, *ends.tolist()]
        return [(a, b) for a, b in itertools.pairwise(bounds) if a < b]

    def words_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the range of words that covers the characters start to end of the document.

        None when the span lies outside the window, or does not begin and end with its words.
        """
        first = int(np.searchsorted(self.word_starts, start - self.start))
        last = int(np.searchsorted(self.word_ends, end - self.start))
        if (
            last >= len(self.word_ends)
            or first > last
            or self.word_starts[first] != start - self.start
            or self.word_ends[last] != end - self.start
        ):
            return None
        return first, last + 1

    def words_touched(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of words that share a character with start to end of the document."""
        first = int(np.searchsorted(self.word_ends, start - self.start, "right"))
        last = int(np.searchsorted(self.word_starts, end - self.start, "left"))
        return first, last


class TextEncoder:
    """Cuts texts into windows with a tokenizer (tokenizers.Tokenizer, from tokenizer.json)."""

    def __init__(self, tokenizer: Any, encoding: Encoding) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.encoding = encoding
        probe = tokenizer.encode("a")
        body = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
        if not body:
            raise BundleError(
                "the tokenizer gives no token for the text 'a'",
                hint="train or choose a tokenizer whose vocabulary covers letters",
            )
        self._prefix = np.array(probe.ids[: body[0]], np.int64)
        self._suffix = np.array(probe.ids[body[-1] + 1 :], np.int64)
        self._room = encoding.max_tokens - len(self._prefix) - len(self._suffix)
        if self._room < 1:
            raise UsageError(f"windows of {encoding.max_tokens} tokens leave no room for text")

    @classmethod
    def from_file(cls, path: Path, encoding: Encoding) -> TextEncoder:
        """Load tokenizer.json; BundleError when it is missing or damaged."""
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_file(str(path)), encoding)
        except BundleError:
            raise
        except Exception as error:  # tokenizers raises bare Exception
            raise BundleError(
                f"{path}: no readable tokenizer: {error}",
                hint="a fast tokenizer (tokenizer.json) is needed",
            ) from error

    def windows(self, text: str) -> Iterator[Window]:
        """Yield the windows of a text in order; a text without words has one without words."""
        return (window for _, window in self.windows_of([text]))

    def windows_of(self, texts: Iterable[str]) -> Iterator[tuple[int, Window]]:
        """Yield the windows of many texts in order, each with the number of its text.

        Short texts are tokenised together, which is faster than one by one.
        """
        group: list[_Piece] = []
        size = 0
        for number, text in enumerate(texts):
            start = 0
            for end in _block_ends(text):
                group.append(_Piece(number, start, text[start:end]))
                size += end - start + 1
                start = end
                if size >= BLOCK_CHARACTERS:
                    yield from self._group(group)
                    group, size = [], 0
        if group:
            yield from self._group(group)

    def windows_of_documents(
        self, documents: Iterable[Document], *, pairs: bool = False
    ) -> Iterator[tuple[int, Window]]:
        """Yield the windows of many documents in order, each with the number of its document.

        With `pairs` each window is followed by the whole of the document's `pair`; its words are
        those of the text alone. DataError for a document that has none, or one too long for that.
        """
        if not pairs:
            yield from self.windows_of(document.text for document in documents)
            return
        for number, document in enumerate(documents):
            yield from ((number, window) for window in self._pair_windows(document))

    def _pair_windows(self, document: Document) -> Iterator[Window]:
        if document.pair is None:
            raise DataError(
                "no field 'pair', and this model compares two texts",
                hint='write each record as {"text": "…", "pair": "…"}',
            )
        pair = _Tokens(self.tokenizer, [document.pair])
        shapes = pair.word_shapes() if self.encoding.has_shapes else pair.no_shapes
        room = self._room - len(pair.ids) - len(self._suffix)
        if room < self._room // 2:
            raise DataError(
                f"'pair' has {len(pair.ids)} tokens, more than half of what fits a window",
                hint=f"at most {self._room - self._room // 2 - len(self._suffix)} fit; the text, "
                "not the pair, may be long",
            )
        none = np.zeros(len(self._suffix), np.int64)
        for start, end in itertools.pairwise([0, *_block_ends(document.text)]):
            piece = _Piece(0, start, document.text[start:end])
            for _, window in self._group([piece], room):
                window.ids = np.concatenate((window.ids, pair.ids, self._suffix))
                window.shapes = np.concatenate((window.shapes, shapes, none))
                yield window

    def _group(
        self, pieces: Sequence[_Piece], room: int | None = None
    ) -> Iterator[tuple[int, Window]]:
        room = room or self._room
        tokens = _Tokens(self.tokenizer, [piece.text for piece in pieces])
        first = tokens.first
        shapes = tokens.word_shapes() if self.encoding.has_shapes else tokens.no_shapes
        n_prefix, n_special = len(self._prefix), len(self._prefix) + len(self._suffix)
        for piece, origin, low, high in tokens.pieces(pieces):
            cut = origin
            for begin, stop in self._ranges(piece.text, origin, tokens, (low, high), room):
                end = tokens.token_starts[stop] if stop < high else origin + len(piece.text)
                a, b = np.searchsorted(first, (begin, stop))
                ids = np.empty(stop - begin + n_special, np.int64)
                ids[:n_prefix] = self._prefix
                ids[n_prefix : n_prefix + stop - begin] = tokens.ids[begin:stop]
                ids[n_prefix + stop - begin :] = self._suffix
                window_shapes = np.zeros(len(ids), np.int64)
                window_shapes[n_prefix : n_prefix + stop - begin] = shapes[begin:stop]
                words = (
                    first[a:b] - (begin - n_prefix),
                    tokens.word_starts[a:b] - cut,
                    # a word too long for a window ends with it
                    np.minimum(tokens.word_ends[a:b], end) - cut,
                )
                text = piece.text[cut - origin : end - origin]
                start = piece.start + cut - origin
                language = self.encoding.language
                yield piece.number, Window(start, text, ids, window_shapes, words, language)
                cut = end

    def _ranges(
        self, text: str, origin: int, tokens: _Tokens, bounds: tuple[int, int], room: int
    ) -> Iterator[tuple[int, int]]:
        """Yield token ranges: as many whole sentences as fit, a long one cut between words."""
        low, high = bounds
        if high - low <= room:
            yield low, high
            return
        starts, is_first = tokens.token_starts, tokens.is_first
        begin = stop = low
        for end in sentence_ends(text, self.encoding.language):
            after = bisect.bisect_left(starts, origin + end, low, high)
            if after - begin > room and stop > begin:
                yield begin, stop
                begin = stop
            while after - begin > room:
                cut = begin + room
                while cut > begin and not is_first[cut]:
                    cut -= 1
                cut = cut if cut > begin else begin + room
                yield begin, cut
                begin = cut
            stop = after
        if begin < high:
            yield begin, high


class _Piece(NamedTuple):
    """A text, or a block of one: the number of the text and where in it the block starts."""

    number: int
    start: int
    text: str


class _Tokens:
    """The tokens and words of some texts, as arrays over all of them, one after the other.

    Offsets count characters of the texts joined, with a line end between them.
    """

    def __init__(self, tokenizer: Any, texts: Sequence[str]) -> None:
        encodings = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        lengths = [len(encoding.ids) for encoding in encodings]
        self.text = "\n".join(texts)
        self.origins = np.concatenate(([0], np.cumsum([len(text) + 1 for text in texts])))
        self.bounds = np.concatenate(([0], np.cumsum(lengths)))
        self.ids = np.array([i for e in encodings for i in e.ids], np.int64)
        spans = np.array([span for e in encodings for span in e.offsets], np.int64).reshape(-1, 2)
        spans += np.repeat(self.origins[:-1], lengths)[:, None]
        words = np.array([word for e in encodings for word in e.word_ids], np.int64)
        is_new = np.append(True, words[1:] != words[:-1])[: len(words)]
        is_new[self.bounds[:-1][np.array(lengths) > 0]] = True
        self.first = _word_firsts(self.text, spans, is_new)
        self.is_first = np.zeros(len(self.ids), bool)
        self.is_first[self.first] = True
        self.token_starts: list[int] = spans[:, 0].tolist()
        self.word_starts = spans[self.first, 0]
        self.word_ends = _word_ends(spans, self.first)
        if not self.text.isascii():
            _take_marks(self.text, self.word_ends)

    @property
    def no_shapes(self) -> NDArray[np.int64]:
        """Zeros, for a backbone that takes no shapes."""
        return np.zeros(len(self.ids), np.int64)

    def word_shapes(self) -> NDArray[np.int64]:
        """Return the shape of each token's word."""
        shapes = self.no_shapes
        if len(self.first):
            text = self.text
            bounds = zip(self.word_starts.tolist(), self.word_ends.tolist(), strict=True)
            by_word = [
                (_shape if end - start <= _LONGEST_KEPT else _shape_of)(text[start:end])
                for start, end in bounds
            ]
            n_tokens = np.diff(np.append(self.first, len(self.ids)))
            shapes[self.first[0] :] = np.repeat(by_word, n_tokens)
        return shapes

    def pieces(self, pieces: Sequence[_Piece]) -> Iterator[tuple[_Piece, int, int, int]]:
        """Yield each piece with its first character and its range of tokens."""
        origins, bounds = self.origins.tolist(), self.bounds.tolist()
        for i, piece in enumerate(pieces):
            yield piece, origins[i], bounds[i], bounds[i + 1]


def _block_ends(text: str) -> Iterator[int]:
    """Yield where the blocks of a text end, at a line end or space where there is one."""
    start = 0
    while len(text) - start > BLOCK_CHARACTERS:
        limit = start + BLOCK_CHARACTERS
        end = max(text.rfind("\n", start + BLOCK_CHARACTERS // 2, limit), 0)
        end = end or max(text.rfind(" ", start + BLOCK_CHARACTERS // 2, limit), 0)
        start = end + 1 if end else limit
        yield start
    yield len(text)


def _word_firsts(
    text: str, spans: NDArray[np.int64], is_new: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the index of each word's first token, and trim white space off `spans` in place.

    `is_new` says where the tokenizer begins a word.
    """
    if not len(spans):
        return np.zeros(0, np.int64)
    characters = _characters(text)
    for i in _with_spaces(text, characters, spans):
        start, end = spans[i].tolist()
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        spans[i] = start, end
    starts, ends = spans[:, 0], spans[:, 1]
    is_first = is_new.copy()
    inside = np.flatnonzero(~is_first & (starts >= np.append(0, np.maximum.accumulate(ends)[:-1])))
    for i in inside.tolist():
        is_first[i] = _splits(text, int(starts[i]))
    is_first &= starts < ends
    for i in np.flatnonzero(is_first & (characters[starts] >= _FIRST_MARK)).tolist():
        is_first[i] = not _is_marked(text, int(starts[i]))
    return np.flatnonzero(is_first)


def _word_ends(spans: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each word ends: tokens of white space alone, now empty, are not part of it."""
    if not len(first):
        return np.zeros(0, np.int64)
    ends = np.where(spans[:, 0] < spans[:, 1], spans[:, 1], 0)
    return np.maximum.reduceat(ends, first)


def _is_marked(text: str, index: int) -> bool:
    """Whether a combining mark stands here that belongs to the character before it."""
    return index > 0 and _is_mark(text[index]) and not text[index - 1].isspace()


def _characters(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text, and a 0 after the last."""
    return np.frombuffer((text + "\0").encode("utf-32-le", "surrogatepass"), np.uint32)


def _with_spaces(text: str, characters: NDArray[np.uint32], spans: NDArray[np.int64]) -> list[int]:
    """Return the tokens whose spans begin or end with white space (byte-level tokenizers)."""
    characters = characters[:-1]
    is_space = np.zeros(len(characters) + 1, bool)
    common = np.flatnonzero((characters <= 0x20) | (characters > 0x7E))
    is_space[common] = [text[i].isspace() for i in common.tolist()]
    edges = is_space[spans[:, 0]] | is_space[np.maximum(spans[:, 1] - 1, 0)]
    return [int(i) for i in np.flatnonzero(edges & (spans[:, 0] < spans[:, 1]))]


def _take_marks(text: str, ends: NDArray[np.int64]) -> None:
    """Let each word end after the combining marks that follow it, which tokenizers may strip."""
    for i in np.flatnonzero(_characters(text)[ends] >= _FIRST_MARK).tolist():
        while ends[i] < len(text) and _is_mark(text[ends[i]]):
            ends[i] += 1


def _splits(text: str, index: int) -> bool:
    """Whether a word of its own begins here, inside what the tokenizer takes for one word."""
    return any(_is_alone(c) for c in text[max(index - 1, 0) : index + 1])


@functools.lru_cache(4096)
def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


@functools.lru_cache(4096)
def _is_alone(character: str) -> bool:
    """Whether a character is a word by itself: punctuation, symbols, Chinese characters."""
    category = unicodedata.category(character)
    if category == "Lo":
        return unicodedata.east_asian_width(character) == "W"
    return category[0] not in "LNM"


def _shape_of(word: str) -> int:
    """Return the case shape of a word: what an uncased tokenizer throws away."""
    if word.islower():
        return _LOWER
    if word.isdigit():
        return _DIGIT
    if word.isupper():
        return _UPPER if len(word) > 1 else _CAPITAL
    if word[:1].isupper() and word[1:].islower():
        return _CAPITAL
    if any(map(str.isupper, word)):
        return _MIXED
    return _ALNUM if word.isalnum() else _OTHER


_shape = functools.lru_cache(1 << 14)(_shape_of)
_LONGEST_KEPT = 64  # characters: a cache of longer words could take any amount of memory
