"""Masks: how they look, which name has which, and what stands behind each.

In a reversible style a mask is known in any text by its form alone. That form cannot begin or
end inside another mask, since its first and its last character stand nowhere else in it: so
every mask that a text of masks shows is one that was put there, given that what looked like one
before was masked as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

import lmtool


class Style:
    """How masks look: a text with {kind} and {n} in it, or neither: "[{kind}-{n}]", "█████"."""

    def __init__(self, template: str) -> None:
        if not template:
            raise lmtool.UsageError(
                "--mask is empty", hint='write what stands for a name, as --mask "[{kind}-{n}]"'
            )
        self.template = template
        self.is_numbered = "{n}" in template
        self.has_kind = "{kind}" in template
        pieces = re.split(r"(\{kind\}|\{n\})", template)
        bare = re.sub(r"\{kind\}|\{n\}", "", template)
        if unknown := re.search(r"\{\w*\}", bare):
            raise lmtool.UsageError(
                f"--mask {template}: {unknown[0]} stands for nothing",
                hint="{kind} and {n} are replaced, by what it is and its number",
            )
        ends = (template[0], template[-1])
        self.is_reversible = (
            template.count("{n}") == 1
            and template.count("{kind}") <= 1
            and "{kind}{n}" not in template
            and "{n}{kind}" not in template
            and len(bare) >= 2
            and not any(end.isalnum() or end.isspace() or end in "{}." for end in ends)
            and bare.count(ends[0]) == bare.count(ends[1]) == 1
        )
        forms = {"{kind}": "[A-Z][A-Z_]*", "{n}": r"[0-9]+(?:\.[0-9]+)?"}
        self.pattern = re.compile("".join(forms.get(p, re.escape(p)) for p in pieces))

    def write(self, kind: str, number: str) -> str:
        """Return the mask of this kind and number."""
        return self.template.replace("{kind}", kind).replace("{n}", number)

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where a text has what looks like a mask; of styles without numbers, nothing."""
        if self.is_numbered:
            for match in self.pattern.finditer(text):
                yield match.span()


class Entry(msgspec.Struct):
    """What a mask stands for."""

    text: str
    """The original, as it was spelt."""
    kind: str
    name: str
    """Its normal form, that all spellings share; of a shorter name, that of the longer one."""
    number: int
    spelling: int = 1


class Masks:
    """Gives each name its mask: the same to the same name, as long as it lives.

    With `is_exact`, other spellings of a name get masks of their own, "[PER-1.2]" beside
    "[PER-1]", so that each can be put back as it was.
    """

    def __init__(self, style: Style, *, is_exact: bool = False) -> None:
        self.style = style
        self.is_exact = is_exact
        self.entries: dict[str, Entry] = {}
        """What each mask stands for, in the order of their making; only where `is_exact`."""
        self._numbers: dict[tuple[str, str], int] = {}
        self._counts: dict[str, int] = {}
        self._masks: dict[tuple[str, int, str], str] = {}
        self._n_spellings: dict[tuple[str, int], int] = {}

    def mask(self, kind: str, name: str, text: str) -> str:
        """Return the mask of a name in this spelling; `name` is its normal form."""
        if not self.style.is_numbered:
            return self.style.write(kind, "")
        number = self._numbers.get((kind, name))
        if number is None:
            number = self._counts.get(self._counted(kind), 0) + 1
        if not self.is_exact:
            self._count(kind, name, number)
            return self.style.write(kind, str(number))
        known = self._masks.get((kind, number, text))
        if known is not None:
            return known
        spelling = self._n_spellings.get((kind, number), 0) + 1
        self._take(Entry(text, kind, name, number, spelling))
        return self._masks[kind, number, text]

    def take(self, entries: Iterable[Entry]) -> None:
        """Go on from masks that were made before, in their order."""
        for entry in entries:
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        kind, number = entry.kind, entry.number
        self._count(kind, entry.name, number)
        self._n_spellings[kind, number] = entry.spelling
        suffix = f".{entry.spelling}" if entry.spelling > 1 else ""
        mask = self.style.write(kind, f"{number}{suffix}")
        self._masks[kind, number, entry.text] = mask
        self.entries[mask] = entry

    def _count(self, kind: str, name: str, number: int) -> None:
        self._numbers.setdefault((kind, name), number)
        counted = self._counted(kind)
        self._counts[counted] = max(self._counts.get(counted, 0), number)

    def _counted(self, kind: str) -> str:
        """Return what has numbers of its own: a kind, or where the style hides it, all kinds."""
        return kind if self.style.has_kind else ""


def restore(text: str, style: Style, entries: Mapping[str, Entry]) -> tuple[str, list[str]]:
    """Return a text with the originals in place of its masks, and the masks that have none."""
    unknown = []

    def original(match: re.Match[str]) -> str:
        entry = entries.get(match[0])
        if entry is None:
            unknown.append(match[0])
        return match[0] if entry is None else entry.text

    return style.pattern.sub(original, text), unknown
