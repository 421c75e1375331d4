"""Identifiers that have a form: addresses of mail, web and machines, phones, cards, accounts.

Pure functions on a text. A form alone is not enough: cards, IBANs and IP addresses are checked,
and what looks like a date, a price, an ISBN or a version number stays.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

KINDS: Final = ("URL", "EMAIL", "ACCOUNT", "CARD", "IP", "PHONE")
"""The kinds, in the order in which they win where two overlap."""


class Found(NamedTuple):
    """An identifier: its characters, half-open, and its kind."""

    start: int
    end: int
    kind: str


def find(text: str) -> list[Found]:
    """Return the identifiers of a text in order; where two overlap, the kind that wins."""
    is_taken = bytearray(len(text))
    found = []
    for kind in KINDS:
        for start, end in _FINDERS[kind](text):
            if is_taken.find(1, start, end) < 0:
                is_taken[start:end] = b"\1" * (end - start)
                found.append(Found(start, end, kind))
    return sorted(found)


# ── addresses ────────────────────────────────────────────────────────────────────────────────

_LETTER: Final = "A-Za-zÀ-ɏ0-9"  # no Chinese: it writes no space before an address
EMAIL: Final = re.compile(
    rf"(?<![{_LETTER}_])[{_LETTER}_][{_LETTER}_.+%'-]{{0,63}}@"
    rf"(?:[{_LETTER}](?:[{_LETTER}-]{{0,61}}[{_LETTER}])?\.){{1,8}}(?:[A-Za-zÀ-ɏ]{{2,24}})"
    rf"(?![{_LETTER}])"
)
URL: Final = re.compile(
    r"""
    (?<![A-Za-z0-9]) (?i: [a-z][a-z0-9+-]{1,20}:// | www\.(?=[a-zÀ-ɏ0-9]) ) [!#-;=?-~À-ɏ]+
    | (?<![A-Za-z0-9.@_-]) [a-z0-9-]++ (?:\.[a-z0-9-]++){0,6} \.[a-z]{2,24}+ / (?!/)[!#-;=?-~À-ɏ]*
    | (?<![A-Za-z0-9.@_/-]) (?:[A-Za-z0-9-]{1,63}\.){1,6} (?:com|org|net|edu|gov|mil|info|biz)
      (?! [A-Za-z0-9_@-] | \.[A-Za-z0-9] )
    """,
    re.VERBOSE,
)
"""With its protocol or www; a host with a path; a bare host under one of the oldest names."""
_CLOSING: Final = ".,;:!?'\")]}"


def _urls(text: str) -> Iterator[tuple[int, int]]:
    for match in URL.finditer(text):
        found = match[0]
        while found and found[-1] in _CLOSING:
            if found[-1] == ")" and found.count("(") >= found.count(")"):
                break
            found = found[:-1]
        if len(found) > 3:
            yield match.start(), match.start() + len(found)


def _emails(text: str) -> Iterator[tuple[int, int]]:
    for match in EMAIL.finditer(text):
        yield match.span()


# ── addresses of machines ────────────────────────────────────────────────────────────────────

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IP4: Final = re.compile(rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\w|\.\d)")
IP6: Final = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{3,39}(?:(?<=:)\d+(?:\.\d+){3})?(?![\w:]|\.\d)")
NUMBERED: Final = re.compile(
    r"(?:\b(?:v|ver|versions?|releases?|build|firmware|driver|sections?|sec|chapter|clause|article"
    r"|tables?|figures?|fig|rule|appendix|step)\.?|§)\s*[#:]?\s*$",
    re.IGNORECASE,
)
"""What stands before four numbers with points that are no address: versions and sections."""


def _machines(text: str) -> Iterator[tuple[int, int]]:
    for match in IP6.finditer(text):
        found = match[0]
        has_form = found.count(":") >= 2 and any(c.isdigit() for c in found)
        if has_form and _is_ip6(found):
            yield match.span()
    for match in IP4.finditer(text):
        if not NUMBERED.search(text, max(0, match.start() - 16), match.start()):
            yield match.span()


def _is_ip6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


# ── cards ────────────────────────────────────────────────────────────────────────────────────

CARD: Final = re.compile(
    r"""
    (?<!\d) (?<!\d[.,-]) (?:
      \d{13,19}
      | \d{4} (?P<s>[ \u00a0.-]) \d{4} (?P=s) \d{4} (?P=s) \d{4} (?: (?P=s) \d{1,3} )?
      | \d{4} [ \u00a0-] \d{6} [ \u00a0-] \d{4,5}
    ) (?! \d | [.,-]\d )
    """,
    re.VERBOSE,
)
ISSUERS: Final = re.compile(
    r"""
    4 (?: \d{12} | \d{15} | \d{18} )                                  # Visa
    | (?: 5[1-5] | 222[1-9] | 22[3-9]\d | 2[3-6]\d\d | 27[01]\d | 2720 ) \d+  # Mastercard, 16
    | 3[47] \d{13}                                                   # American Express
    | 3 (?: 0[0-5] | [689]\d ) \d{11}                                # Diners
    | (?: 6011 | 65\d\d | 64[4-9]\d ) \d{12}                         # Discover
    | 35 (?: 2[89] | [3-8]\d ) \d{12}                                # JCB
    | 62 \d{14,17}                                                   # UnionPay
    | (?: 50 | 5[6-9] | 6[0-9] ) \d{11,17}                           # Maestro
    """,
    re.VERBOSE,
)
"""The first digits and lengths that issuers use (ISO/IEC 7812)."""


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        is_mastercard = digits[0] in "52" and digits[:2] not in ("50", "56", "57", "58", "59")
        fits = ISSUERS.fullmatch(digits) and (len(digits) == 16 or not is_mastercard)
        if fits and passes_luhn(digits) and len(set(digits)) > 1:
            yield match.span()


# ── accounts ─────────────────────────────────────────────────────────────────────────────────

IBAN_LENGTHS: Final = {
    code: int(length)
    for code, length in (
        pair.split(":")
        for pair in (
            "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 "
            "CY:28 CZ:24 DE:22 DJ:27 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 "
            "GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 "
            "KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 "
            "MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 "
            "RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 "
            "UA:29 VA:22 VG:24 XK:20 YE:30"
        ).split()
    )
}
"""The characters of an IBAN by country, as SWIFT's registry of IBANs has them."""
_IBAN_BEGINS: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[ \u00a0-]?\d{2}")
ACCOUNT: Final = re.compile(
    r"""
    \b (?: (?: (?: bank \s+ )? (?: account | acct | a/c ) | social \s+ security | ssn | itin )
           (?: \s* (?: number|num|no|nr|id )\b | \s*\# )?
         | (?: aba | routing ) (?: \s+ (?: transit \s+ )? (?: number|num|no )\b )?
         | sort \s* code | konto (?: nummer | nr )? )
    [.)]? \s* (?: (?: is | was | = | : | \# ) \s* ){0,2}
    (?P<number> \d (?: [ -]? \d ){5,20} ) (?! \d | [.,/]\d )
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""A number of an account that has no check digits, known by the words before it."""
SSN: Final = re.compile(
    r"(?<!\w)(?<!\d[.,\-/])(?!000|666|9)\d{3}([-\u2011])(?!00)\d\d\1(?!0000)\d{4}(?!\w|[.,\-/]\d)"
)
"""A social security number of the United States: area, group and serial, none of those that the
Social Security Administration never assigns (POMS RM 10201.035)."""


def passes_mod97(iban: str) -> bool:
    """Whether the check digits of an IBAN are right (ISO 13616: ISO 7064 MOD 97-10)."""
    moved = iban[4:] + iban[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _accounts(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN_BEGINS.finditer(text):
        end = _iban_end(text, match.start())
        if end is not None:
            yield match.start(), end
    for match in ACCOUNT.finditer(text):
        is_sort_code = match[0][:4].lower() == "sort"
        if is_sort_code or not _begins_with_date(match["number"]):
            yield match.span("number")
    for match in SSN.finditer(text):
        yield match.span()


def _iban_end(text: str, start: int) -> int | None:
    """Return where the IBAN that begins here ends; None where there is none."""
    length = IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    found, at = "", start
    while len(found) < length and at < len(text):
        char = text[at]
        if char.isascii() and char.isalnum():
            found += char.upper()
        elif char not in " \u00a0-" or not (text[at - 1].isascii() and text[at - 1].isalnum()):
            return None
        at += 1
    follows_letter = at < len(text) and text[at].isascii() and text[at].isalnum()
    if not length or len(found) < length or follows_letter or not passes_mod97(found):
        return None
    return at


# ── phones ───────────────────────────────────────────────────────────────────────────────────

_SEP: Final = r"[ \u00a0\u202f.\-\u2011]"
PHONES: Final = (
    # +49 (0)30 1234-567, 0049 30 123456
    re.compile(
        rf"(?<![\w+])(?<!\d[.,\-/])(?:\+|00(?=[1-9]\d{{0,2}}{_SEP}))[1-9]"
        rf"(?:(?:{_SEP}|\(0?\)|/|[ ]?\(|\)[ ]?)?\d)"
        r"{6,14}(?!\d)"
    ),
    # North America: (212) 555-0187, 1-212-555-0187, 212.555.0187
    re.compile(
        rf"(?<![\w(])(?<!\d[.,\-/])(?:1{_SEP})?(?:\([2-9]\d\d\)[ ]?|[2-9]\d\d(?P<s>{_SEP}))"
        rf"[2-9]\d\d(?(s)(?P=s)|[ .\-])\d{{4}}(?![\d]|[.,\-/]\d)"
    ),
    # a trunk 0: 020 7946 0958, 0171/1234567, 089 / 123456, 01 42 68 53 00
    re.compile(
        rf"(?<!\w)(?<!\d[.,\-/])(?:\(0[1-9]\d{{0,4}}\)|0[1-9]\d{{0,4}})"
        rf"(?:{_SEP}|[ ]?/[ ]?|(?<=\))[ ]?)\d{{2,8}}(?:{_SEP}\d{{2,5}}){{0,4}}(?![\d]|[.,\-/]\d)"
    ),
    # Russia: 8 (495) 123-45-67, 8-800-555-35-35, (495) 123-45-67
    re.compile(
        rf"(?<!\w)(?<!\d[.,\-/])(?:8{_SEP}[3489]\d\d{_SEP}|(?:8{_SEP}?)?\([3489]\d\d\)[ ]?)"
        r"\d{3}-\d\d-\d\d(?![\d]|[.,\-/]\d)"
    ),
    # mobile numbers of Brazil
    re.compile(r"(?<!\w)(?<!\d[.,\-/])\([1-9]\d\)[ ]?9\d{4}-\d{4}(?![\d]|[.,\-/]\d)"),
    # mobile numbers of China
    re.compile(r"(?<![\dA-Za-z])(?<!\d[.,\-/])1[3-9]\d([ -]?)\d{4}\1\d{4}(?![\d]|[.,\-/]\d)"),
)
CALLED: Final = re.compile(
    r"(?:\b(?:tel|ph|phone|telephone|telefon|mobile|cell|fax|hotline|whatsapp|call|dial"
    r"|text(?=\s+(?:me|us|him|her|them)\b)|(?:my|his|her|our|their|your)\s+number)\b"
    r"|电话|手机|传真)"
    r"(?:\s+(?:number|no|me|us|him|her|them|at|on|is|office|home|line)\b)*\.?[\s:=#]{0,4}"
    r"(?P<number>\(?\d(?:[ ().\-/]{0,2}\d){6,14})(?!\d|[.,\-/]\d)",
    re.IGNORECASE,
)
"""A number known by the words before it: 555-0187, 2125550187."""
_NO_PHONE: Final = re.compile(
    r"(?:[$€£¥#]|\b(?:ISBN|ISSN|DOI|EUR|USD|GBP)(?:-1[03])?:?"
    r"|\b[A-Z]{2}\d\d(?:[ ]\w{4})*)\s*$",  # groups of an IBAN whose check digits are wrong
    re.IGNORECASE,
)
_GROUP: Final = re.compile(r"(?<!\d)\d{4}[ ]$")  # more of a longer number stands before
_DATE: Final = re.compile(
    r"(?:\d{4}([-./ ])\d{1,2}\1\d{1,2}|\d{1,2}([-./])\d{1,2}\2(?:19|20)?\d\d|(?:19|20)\d\d\s?[-/]"
    r"\s?(?:19|20)\d\d|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01]))(?!\d)"
)


def _phones(text: str) -> Iterator[tuple[int, int]]:
    spans = [m.span() for pattern in PHONES for m in pattern.finditer(text)]
    spans += [m.span("number") for m in CALLED.finditer(text)]
    end = -1
    for start, stop in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= end and _is_phone(text, start, stop):
            yield start, stop
            end = stop


def _is_phone(text: str, start: int, end: int) -> bool:
    """Whether digits of this form are likelier a phone number than anything else."""
    found = text[start:end]
    n_digits = sum(char.isdigit() for char in found)
    if _NO_PHONE.search(text, max(0, start - 40), start) or _begins_with_date(found):
        return False
    if found.startswith("+"):
        return n_digits >= 9 or (n_digits >= 7 and not found[1:].isdigit())
    if found.startswith("0") and _GROUP.search(text, max(0, start - 6), start):
        return False
    if found.lstrip("(").startswith("0") and not CALLED.search(text, max(0, start - 40), end):
        return 9 <= n_digits <= 15
    return 7 <= n_digits <= 15


def _begins_with_date(text: str) -> bool:
    """Whether it begins with a date or a range of years."""
    return _DATE.match(text) is not None


_FINDERS: Final[dict[str, Callable[[str], Iterator[tuple[int, int]]]]] = {
    "URL": _urls,
    "EMAIL": _emails,
    "ACCOUNT": _accounts,
    "CARD": _cards,
    "IP": _machines,
    "PHONE": _phones,
}
