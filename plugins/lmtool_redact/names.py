"""Names: which mentions mean the same, and where else in a text they stand.

Pure functions; a mention is (start, end, label), half-open in characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

KIND_BY_LABEL: Final = {
    "PERSON": "PER", "PERS": "PER", "ORGANIZATION": "ORG", "ORGANISATION": "ORG",
    "LOCATION": "LOC", "GPE": "LOC", "PLACE": "LOC", "FAC": "LOC",
}  # fmt: skip
"""The kinds of labels that other models use."""
NAMED: Final = ("PER", "ORG", "LOC")

_TITLES: Final = (
    r"(?:(?:mr|mrs|ms|miss|dr|prof|professor|sir|lady|lord|president|senator)\b\.?\s+)+"
)
_TITLE: Final = re.compile(f"^{_TITLES}")
_TITLE_BEFORE: Final = re.compile(rf"\b{_TITLES}$", re.IGNORECASE)
_APART: Final = frozenset("mr mrs miss ms sir lady lord".split())
"""Titles of which two mean two persons; those of an office or a degree go with any."""
TITLE_CHARACTERS: Final = 24
"""How far before a name its title is looked for."""
_OF_MEN: Final = frozenset(
    "mr sir lord adam alan albert alexander andrew anthony arthur benjamin bill bob brian charles "
    "christopher daniel david dennis donald douglas edward eric frank fred gary george gerald "
    "gregory harold harry henry howard jack jacob james jason jeffrey jim joe john jonathan joseph "
    "joshua keith kenneth kevin larry lawrence louis mark martin matthew michael nicholas patrick "
    "paul peter philip ralph raymond richard robert roger ronald samuel scott simon stephen steven "
    "thomas tim timothy tom walter william".split()
)
_OF_WOMEN: Final = frozenset(
    "mrs ms miss lady alice amanda amy andrea angela ann anna anne barbara betty caroline "
    "catherine charlotte christine cynthia deborah diana diane donna dorothy elizabeth ellen emily "
    "emma eva frances georgiana grace hannah heather helen irene jane janet jennifer jessica joan "
    "judith julia karen katherine laura linda lisa louise lucy lydia margaret maria marie martha "
    "mary megan melissa michelle nancy nicole olivia pamela patricia rachel rebecca rose ruth "
    "sandra sarah sharon sophia stephanie susan teresa theresa victoria virginia".split()
)
"""Titles, and given names that are common in English and seldom those of others."""
_POSSESSIVE: Final = re.compile(r"['’]s?$")


def kind_of(label: str) -> str:
    """Return the kind that masks of an entity with this label have."""
    return KIND_BY_LABEL.get(label.upper(), label.upper())


def normal(kind: str, text: str) -> str:
    """Return what two mentions of the same thing share: without case, spacing and punctuation."""
    if kind in ("PHONE", "CARD", "ACCOUNT"):
        return "".join(char for char in text if char.isalnum() or char == "+").upper()
    if kind == "MASK":
        return text
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    if kind in ("URL", "EMAIL", "IP"):
        return text
    text = _POSSESSIVE.sub("", text)
    return (_TITLE.sub("", text) if kind == "PER" else text) or text


def plain(text: str) -> str:
    """Return what mentions of one name share, whatever kind a model takes it for."""
    return normal("PER", text)


def titled(text: str, start: int, end: int) -> str:
    """Return a mention with the title before it, where there is one."""
    title = _TITLE_BEFORE.search(text, max(start - TITLE_CHARACTERS, 0), start)
    return text[title.start() if title else start : end]


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a mention without what a model took along: punctuation, quotes, "of" at its end."""
    tail = _TAIL.search(text, start, end)
    if tail and tail.start() > start and not _SHORTENED.search(text, start, end):
        end = tail.start()
    while start < end and not text[start].isalnum():
        start += 1
    return start, end


_TAIL: Final = re.compile(
    r"(?:[\s.,;:!?\"'“”‘’()\[\]<>-]|\s(?:of|in|at|on|and|or|for|the|to|by|with))+$"
)
_SHORTENED: Final = re.compile(r"(?:\b(?:\w|Inc|Corp|Ltd|Co|Jr|Sr|St|Bros|Mt)|\w\.\w)\.$")


class _Person(NamedTuple):
    """What a mention says of a person."""

    title: str
    """One of _APART, or empty."""
    words: tuple[str, ...]
    sexes: frozenset[str]

    @property
    def detail(self) -> tuple[int, bool]:
        return len(self.words), bool(self.title)

    def may_be(self, other: _Person) -> bool:
        """Whether neither title nor given name says that it is somebody else."""
        has_other_title = self.title and other.title and self.title != other.title
        return not has_other_title and len(self.sexes | other.sexes) < 2


def person_names(mentions: Iterable[str]) -> dict[str, str]:
    """Return the name of the person that each mention of a document means.

    A mention stands with its title. One that says less means the one that says more: "Tim", "Cook"
    and "Mr. Cook" mean "Tim Cook", and "Cook" means "Mr. Cook". Where it fits two, or somebody who
    must be another fits the same one (Mrs. and Miss Bennet, and Jane Bennet), it means itself. The
    title is part of a name of a single word, and where two persons share all words.
    """
    persons = {mention: _person(mention) for mention in mentions}
    able: dict[tuple[str, ...], set[_Person]] = {}
    """Who may be meant by some words: those whose name begins or ends with them."""
    for person in persons.values():
        for n in range(1, len(person.words) + 1):
            for part in (person.words[:n], person.words[-n:]):
                able.setdefault(part, set()).add(person)
    fuller = {
        person: [o for o in able[person.words] if o.detail > person.detail and o.may_be(person)]
        for person in persons.values()
    }
    shorter: dict[_Person, list[_Person]] = {}
    for person, others in fuller.items():
        for other in others:
            shorter.setdefault(other, []).append(person)
    meant: dict[_Person, _Person] = {}
    for person in sorted(fuller, key=lambda p: p.detail, reverse=True):
        found = {meant[other] for other in fuller[person]}
        full = found.pop() if len(found) == 1 else person
        is_sure = all(person.may_be(other) for other in shorter.get(full, ()))
        meant[person] = full if is_sure else person

    def name(person: _Person) -> str:
        same = (other for other in able[person.words] if other.words == person.words)
        is_told_apart = len(person.words) == 1 or not all(map(person.may_be, same))
        return " ".join((person.title, *person.words) if is_told_apart else person.words).strip()

    return {mention: name(meant[person]) for mention, person in persons.items()}


def _person(mention: str) -> _Person:
    text = " ".join(mention.casefold().split())
    found = _TITLE.match(text)
    titles = found[0].replace(".", " ").split() if found else []
    title = next((word for word in titles if word in _APART), "")
    words = tuple(normal("PER", mention).split()) or ("",)
    return _Person(title, words, frozenset(_sexes(mention)))


def _sexes(mention: str) -> Iterator[str]:
    """Yield what the title of a mention says, and the given name where a surname follows it."""
    words = [word.strip(".").casefold() for word in mention.split()]
    for word in words[:-1]:
        if word in _OF_MEN:
            yield "m"
        elif word in _OF_WOMEN:
            yield "f"
        elif not _TITLE.match(f"{word} "):
            return


def repeated(
    texts: Sequence[str], mentions: Iterable[tuple[str, str]]
) -> list[list[tuple[int, int, str]]]:
    """Return where the mentions (text, kind) of a document stand in each of its texts.

    A model may find a name once and miss it elsewhere. A single word counts as a name everywhere
    only where it has a capital and the document has it nowhere in small letters.
    """
    kinds: dict[str, str] = {}
    for text, kind in mentions:
        kinds.setdefault(text, kind)
    small = {word for text in texts for word in re.findall(r"\w+", text) if word.islower()}
    wanted = sorted((text for text in kinds if _is_telling(text, small)), key=len, reverse=True)
    by_first: dict[str, list[str]] = {}
    unspaced = []
    for name in wanted:
        first = _WORD.match(name)
        if first:
            by_first.setdefault(first[0], []).append(name)
        else:
            unspaced.append(name)
    return [
        [(start, end, kinds[text[start:end]]) for start, end in _places(text, by_first, unspaced)]
        for text in texts
    ]


_WORD: Final = re.compile(r"[A-Za-zÀ-ɏ0-9]+")


def _places(
    text: str, by_first: Mapping[str, Sequence[str]], unspaced: Sequence[str]
) -> Iterator[tuple[int, int]]:
    """Yield where names stand: those known by their first word, and those of unspaced scripts."""
    for word in _WORD.finditer(text) if by_first else ():
        for name in by_first.get(word[0], ()):
            end = word.start() + len(name)
            if text.startswith(name, word.start()) and not _WORD.match(text[end - 1 : end + 1], 1):
                yield word.start(), end
                break
    for name in unspaced:
        start = text.find(name)
        while start >= 0:
            yield start, start + len(name)
            start = text.find(name, start + len(name))


def surnames(mentions: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the last words of the names of persons among mentions (text, kind)."""
    words = (text.split() for text, kind in mentions if kind == "PER")
    return [(of[-1], "PER") for of in words if len(of) > 1 and of[-1].isalpha()]


def _is_telling(text: str, small: Collection[str]) -> bool:
    """Whether a mention is a name wherever it stands."""
    words = re.findall(r"\w+", text)
    if len(text) < 3 or not any(char.isupper() for char in text):
        return len(text) > 1 and not text.isascii() and bool(words)  # scripts without capitals
    return len(words) > 1 or (len(words) == 1 and words[0].lower() not in small)


def without_overlaps(
    spans: Iterable[tuple[int, int, str]], text: str
) -> list[tuple[int, int, str]]:
    """Return spans of which none overlaps another, in order; the first given win.

    What a later one covers beside an earlier one stays covered, where it has a letter or digit:
    nothing that somebody found may show.
    """
    is_taken = bytearray(len(text))
    kept: list[tuple[int, int, str]] = []
    for start, end, kind in spans:
        for a, b in _free(is_taken, start, end):
            if (a, b) != (start, end):
                while a < b and not text[a].isalnum():
                    a += 1
                while a < b and not text[b - 1].isalnum():
                    b -= 1
            if a < b:
                is_taken[a:b] = b"\1" * (b - a)
                kept.append((a, b, kind))
    return sorted(kept)


def _free(is_taken: bytearray, start: int, end: int) -> list[tuple[int, int]]:
    """Return the stretches from start to end that nobody has taken."""
    found = []
    while start < end:
        first = is_taken.find(0, start, end)
        if first < 0:
            break
        last = is_taken.find(1, first, end)
        last = end if last < 0 else last
        found.append((first, last))
        start = last
    return found
