"""Addresses in a text: of the web and of mail. What stands inside one is no mention of a thing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

ADDRESS: Final = re.compile(
    r"""
    (?i: (?<![a-z0-9]) (?: https?:// | ftp:// | www\.(?=[a-z0-9]) ) )
    [!-;=?-~]+                                        # all of ASCII but space, < and >
    | (?<![a-z0-9.-]) [a-z0-9-]++ (?:\.[a-z0-9-]++)* \.[a-z]{2,}+ / [!-;=?-~]*
    | (?<![A-Za-zÀ-ɏ0-9_.+%-]) [A-Za-zÀ-ɏ0-9_.+%-]++ @ [A-Za-zÀ-ɏ0-9-]++ (?:\.[A-Za-zÀ-ɏ0-9-]++)+
    """,
    re.VERBOSE,
)
"""An address with its protocol or www, a host in lower case with a path, or an address of mail.

ASCII, since scripts that write no spaces may go on right behind it. A bare host may be a name
(Booking.com), so it is none.
"""
_CLOSING: Final = ".,;:!?'\")]}"


def addresses(text: str) -> list[tuple[int, int]]:
    """Return the characters of each address, half-open, without punctuation at its end."""
    found = ((match.start(), match[0].rstrip(_CLOSING)) for match in ADDRESS.finditer(text))
    return [(start, start + len(address)) for start, address in found]


def is_part_of_address(span: tuple[int, int], inside: Sequence[tuple[int, int]]) -> bool:
    """Whether a span lies inside one of the addresses; the whole of one does not."""
    return any(span != one and one[0] <= span[0] and span[1] <= one[1] for one in inside)
