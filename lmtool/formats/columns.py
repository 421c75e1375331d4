"""CoNLL columns: a token and its tag a line, a blank line after each sentence."""

from __future__ import annotations

import functools
import logging
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from ..documents import LAYERS, Document, Entity, own_spans
from ..errors import DataError
from ..sources import BadRecord, Reader, ReadOptions, Source, Writer
from .conll import (
    BadSentence,
    Sentence,
    align_tokens,
    join_tokens,
    read_sentences,
    spans_from_tags,
    tags_from_spans,
)
from .lines import RAW_CHARACTERS, read_lines
from .rows import WRITTEN, written_rows

log = logging.getLogger("lmtool")


class ConllReader(Reader):
    """Reads a document a sentence, its tags as entities: BIO, I-only, IOB1, BIOES and BILOU.

    The text is that of the comment "# text = …" where it goes with the tokens, else it is
    built from them with the spaces of written English. "# sent_id = …" is the id.
    """

    name = "conll"
    suffixes = (".conll", ".bio", ".iob", ".iob2")
    summary = "a token and its tag a line, a blank line after each sentence"

    def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
        """Yield a document for each sentence."""
        problems: list[BadRecord] = []

        def lines() -> Iterator[str]:
            for line in read_lines(source, options):
                if line.problem:
                    problems.append(line.problem)
                yield line.text

        # A sentence comes when its last line has been read, so the problems are its own.
        for sentence in read_sentences(lines(), options.token_column, options.tag_column):
            if problems:
                yield from problems
                problems.clear()
            elif isinstance(sentence, BadSentence):
                yield BadRecord(source.name, sentence.line, sentence.message, sentence.hint)
            else:
                self.line = sentence.line
                yield _document(source, sentence)
        yield from problems


def _document(source: Source, sentence: Sentence) -> Document | BadRecord:
    try:
        spans = spans_from_tags(sentence.tags)
    except DataError as error:
        raw = " ".join(sentence.tokens)[:RAW_CHARACTERS]
        return BadRecord(source.name, sentence.line, error.message, error.hint, raw)
    text, offsets = _place_tokens(sentence)
    entities = []
    for first, after, label in spans:
        start, end = offsets[first][0], offsets[after - 1][1]
        entities.append(Entity(start=start, end=end, text=text[start:end], label=label))
    return Document(id=sentence.sent_id, text=text, entities=entities)


def _place_tokens(sentence: Sentence) -> tuple[str, list[tuple[int, int]]]:
    if sentence.text is not None:
        try:
            return sentence.text, align_tokens(sentence.text, sentence.tokens)
        except DataError:
            pass  # In CoNLL-U, "# text" may hold contractions that the tokens take apart.
    return join_tokens(sentence.tokens, attach=True)


class ConllWriter(Writer):
    """Writes the entities as BIO tags, with the comments "# sent_id = …" and "# text = …".

    Tokens are runs of letters and digits, and single other characters, cut further where an
    entity begins or ends. Line ends and tabs become spaces in the comment. Other layers have no
    place and are left out, with one warning.
    """

    name = "conll"
    suffixes = (".conll", ".bio", ".iob", ".iob2")
    summary = "the entities as BIO tags, a token a line"

    def __init__(self) -> None:
        self._has_warned = False

    def encode(self, documents: Iterable[Document]) -> bytes:
        """Return the documents; DataError for entities that overlap or hold no token."""
        encoded = []
        for document in documents:
            encoded.append(_encode(document))
            if not self._has_warned and (left_out := _left_out(document)):
                self._has_warned = True
                message = "conll holds entities only; left out: %s (jsonl holds everything)"
                log.warning(message, ", ".join(left_out))
        return "".join(encoded).encode()


def _left_out(document: Document) -> list[str]:
    """Return the names of the layers that say something and are no entities."""
    known = [name for name in LAYERS if name not in ("entities", "annotated", "coverage")]
    found = [name for name in known if document.layer(name)]
    found += [name for name in WRITTEN if any(written_rows(document, name))]
    return found + [name for name, _ in own_spans(document)]


def _encode(document: Document) -> str:
    entities = sorted(document.entities or (), key=lambda e: e.start)
    words = cut_words(document.text, [i for e in entities for i in (e.start, e.end)])
    if not words:
        raise DataError(
            "a text without words has no place in a column file",
            hint="write JSON Lines instead: --format jsonl",
        )
    tags = _tags(entities, words)
    lines = [] if document.id is None else [f"# sent_id = {_one_line(str(document.id))}"]
    lines.append(f"# text = {_one_line(document.text)}")
    lines += [f"{document.text[a:b]}\t{tag}" for (a, b), tag in zip(words, tags, strict=True)]
    return "\n".join(lines) + "\n\n"


def _tags(entities: Sequence[Entity], words: Sequence[tuple[int, int]]) -> list[str]:
    spans = []
    for entity in entities:
        inside = [i for i, (a, b) in enumerate(words) if entity.start <= a and b <= entity.end]
        where = f"entity {entity.start}:{entity.end}"
        if not inside:
            raise DataError(f"{where} holds no token", hint="it covers white space only")
        if not entity.label or re.search(r"[\t\r\n]", entity.label):
            raise DataError(
                f"{where}: {entity.label!r} cannot be a tag",
                hint="a label must not be empty or hold tabs and line ends",
            )
        spans.append((inside[0], inside[-1] + 1, entity.label))
    return tags_from_spans(spans, len(words))


def _one_line(text: str) -> str:
    return re.sub(r"[\t\r\n]", " ", text)


def cut_words(text: str, borders: Iterable[int] = ()) -> list[tuple[int, int]]:
    """Return the (start, end) of a text's words, none of which crosses a border.

    A word is a run of letters, digits and their combining marks, or one other character.
    """
    cuts = sorted(set(borders))
    words = []
    k = 0
    for match in _word_pattern().finditer(text):
        start, end = match.span()
        while k < len(cuts) and cuts[k] <= start:
            k += 1
        while k < len(cuts) and cuts[k] < end:
            words.append((start, cuts[k]))
            start = cuts[k]
            k += 1
        words.append((start, end))
    return words


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    # Python's \w has no combining marks, which would cut the words of Hindi at each vowel.
    ranges: list[list[int]] = []
    for code in range(0x300, sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    marks = "".join(f"{chr(a)}-{chr(b)}" for a, b in ranges)
    return re.compile(rf"[\w{marks}]+|\S")
