"""PropBank's roles in plain words: ARG0 is "who", ARGM-TMP is "when".

The roles are those of the frame files of PropBank 3 and its guidelines (Bonial et al. 2015,
"English PropBank Annotation Guidelines"). What ARG2 to ARG5 mean depends on the verb; the words
here fit most of them.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Role(NamedTuple):
    """How a role is shown: a word, a code where there is no room for it, and what it means."""

    word: str
    code: str
    meaning: str


ROLES: Final[dict[str, Role]] = {
    "ARG0": Role("who", "A0", "agent: who or what does it (subject)"),
    "ARG1": Role("what", "A1", "patient: what or whom it is done to (object)"),
    "ARG2": Role("to/as", "A2", "receiver, instrument, attribute or result: to whom, as what"),
    "ARG3": Role("from", "A3", "starting point, instrument or attribute: from what, with what"),
    "ARG4": Role("up to", "A4", "end point: where to, up to what"),
    "ARG5": Role("further", "A5", "a further participant, special to the verb"),
    "ARGA": Role("causer", "AA", "who makes the agent do it"),
    "ARGM-ADJ": Role("which", "ADJ", "an adjective of a noun: which, of what kind"),
    "ARGM-ADV": Role("adverb", "ADV", "circumstance: if, although, probably"),
    "ARGM-CAU": Role("why", "CAU", "cause: why"),
    "ARGM-COM": Role("with", "COM", "company: with whom"),
    "ARGM-CXN": Role("than", "CXN", "the rest of a construction: than what, so that"),
    "ARGM-DIR": Role("whereto", "DIR", "direction: where to, where from"),
    "ARGM-DIS": Role("link", "DIS", "link to what was said before: but, also, however"),
    "ARGM-DSP": Role("quote", "DSP", "direct speech"),
    "ARGM-EXT": Role("how much", "EXT", "extent: how much, how far"),
    "ARGM-GOL": Role("for", "GOL", "goal: for whom, onto what"),
    "ARGM-LOC": Role("where", "LOC", "place: where"),
    "ARGM-LVB": Role("verb", "LVB", "the light verb of a noun: take in “take a walk”"),
    "ARGM-MNR": Role("how", "MNR", "manner: how"),
    "ARGM-MOD": Role("modal", "MOD", "modal verb: can, must, will"),
    "ARGM-NEG": Role("not", "NEG", "negation: not, never"),
    "ARGM-PNC": Role("for what", "PNC", "purpose, no cause: what for"),
    "ARGM-PRD": Role("state", "PRD", "the state somebody is in meanwhile"),
    "ARGM-PRP": Role("for what", "PRP", "purpose: what for"),
    "ARGM-PRR": Role("act", "PRR", "the noun that says what a light verb does"),
    "ARGM-REC": Role("self", "REC", "each other, himself"),
    "ARGM-TMP": Role("when", "TMP", "time: when, how long, how often"),
}
"""The roles of arguments; each also stands with the prefixes and the suffix below."""

PREFIXES: Final = {
    "R-": ("→", "a pronoun that points to the argument: who, which"),
    "C-": ("…", "the argument goes on here"),
}
SUFFIX: Final = "-DSP"
"""Ends the role of an argument that is direct speech (ARG1-DSP)."""


def describe(role: str) -> Role:
    """Return how a role is shown; one that PropBank does not know is its own word."""
    prefix = role[:2] if role[:2] in PREFIXES else ""
    core = role.removeprefix(prefix)
    known = ROLES.get(core) or ROLES.get(core.removesuffix(SUFFIX))
    if known is None:
        return Role(role, role[:3], "")
    sign, reason = PREFIXES.get(prefix, ("", ""))
    speech = "in direct speech" if core not in ROLES else ""
    meaning = "; ".join(part for part in (known.meaning, speech, reason) if part)
    return Role(sign + known.word, sign + known.code, meaning)


def short_name(role: str) -> str:
    """Return the role without what all modifiers share: TMP for ARGM-TMP."""
    return role.replace("ARGM-", "", 1)
