"""Addresses: what one is, and that nothing inside one is found."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from lmtool_extract.addresses import addresses, is_part_of_address

import lmtool


def found(text: str) -> list[str]:
    return [text[start:end] for start, end in addresses(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to anna.schmidt@bahn.de, or else.", ["anna.schmidt@bahn.de"]),
        ("See (www.paris.fr/news).", ["www.paris.fr/news"]),
        ("https://berlin.de/Angela_Merkel, HTTP://X.Y!", ["https://berlin.de/Angela_Merkel", "HTTP://X.Y"]),
        ("pic.twitter.com/abc and bit.ly/Paris", ["pic.twitter.com/abc", "bit.ly/Paris"]),
        ("请看www.paris.fr新闻 联系张三anna@bahn.de吧", ["www.paris.fr", "anna@bahn.de"]),
        ("müller@web.de's <a@b.org>", ["müller@web.de", "a@b.org"]),
        ("Booking.com, U.S./Canada, St.Louis/Missouri, AT&T/IBM, he/she, e.g./i.e., 3.5/4", []),
        ("@BarackObama at a@b, Awww.Paris Awww...Paris", []),
        ("", []),
    ],
)  # fmt: skip
def test_addresses(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def test_a_part_is_less_than_the_whole() -> None:
    inside = addresses("see www.paris.fr")
    assert inside == [(4, 16)]
    spans = [(8, 13), (4, 8), (4, 16), (0, 3), (0, 13)]
    assert [is_part_of_address(span, inside) for span in spans] == [True, True, False, False, False]


@pytest.mark.parametrize("piece", ["a", "a.", "a@", "a.b@", "www.", "a-", "a@b.", "http://", "a/"])
def test_long_texts_take_time_by_their_length(piece: str) -> None:
    began = time.perf_counter()
    addresses(piece * 100_000)
    assert time.perf_counter() - began < 2  # by its square it would be an hour


def test_names_inside_an_address_are_no_entities(tiny_bundle: Path) -> None:
    model = lmtool.load(tiny_bundle)
    document = model("Tim@Berlin.in met www.Berlin.in Berlin.")
    assert [(e.start, e.text) for e in document.entities or ()] == [(32, "Berlin")]
