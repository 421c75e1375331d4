"""Identifiers that have a form: what is found, and what stays."""

from __future__ import annotations

import time

import pytest
from lmtool_redact.patterns import find, passes_luhn, passes_mod97


def found(text: str) -> list[tuple[str, str]]:
    return [(text[start:end], kind) for start, end, kind in find(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Write to tim.cook@apple.com.", "tim.cook@apple.com"),
        ("<o'neil+news@mail.example.co.uk>", "o'neil+news@mail.example.co.uk"),
        ("mailto:a_b@x.org", "a_b@x.org"),
        ("...tim@x.com...", "tim@x.com"),
        ("联系tim@x.com或来电", "tim@x.com"),
        ("jürgen@müller.de,", "jürgen@müller.de"),
        ("at x@y.com.", "x@y.com"),
    ],
)
def test_mail(text: str, wanted: str) -> None:
    assert found(text) == [(wanted, "EMAIL")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("See https://example.com/a?b=c#d.", "https://example.com/a?b=c#d"),
        ("(http://en.wikipedia.org/wiki/A_(b))", "http://en.wikipedia.org/wiki/A_(b)"),
        ("on www.paris.fr/news, he", "www.paris.fr/news"),
        ("at bit.ly/3xYz!", "bit.ly/3xYz"),
        ("like Booking.com does", "Booking.com"),
        ("https://u:p@host:80/x", "https://u:p@host:80/x"),
        ("ftp://files.example/a", "ftp://files.example/a"),
        ("in postgres://ann:secret@db.example.com/x.", "postgres://ann:secret@db.example.com/x"),
        ("file:///home/ann/x.txt", "file:///home/ann/x.txt"),
        (
            "https://de.wikipedia.org/wiki/Jürgen_Müller.",
            "https://de.wikipedia.org/wiki/Jürgen_Müller",
        ),
        ("www.müller.de", "www.müller.de"),
        ('{"url":"https://x.org/a","user":1}', "https://x.org/a"),
    ],
)
def test_web(text: str, wanted: str) -> None:
    assert found(text) == [(wanted, "URL")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("from 192.168.0.12:8080", "192.168.0.12"),
        ("10.0.0.0/8", "10.0.0.0"),
        ("at 8.8.8.8.", "8.8.8.8"),
        ("ping 2001:db8::ff00:42:8329 now", "2001:db8::ff00:42:8329"),
        ("[fe80::1]", "fe80::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_machines(text: str, wanted: str) -> None:
    assert found(text) == [(wanted, "IP")]


@pytest.mark.parametrize(
    "card",
    [
        "4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "3782 822463 10005",
        "378282246310005", "30569309025904", "6011111111111117", "3530111333300000",
        "2223003122003222", "4222222222222", "6759649826438453", "4111.1111.1111.1111",
    ],
)  # fmt: skip
def test_cards(card: str) -> None:
    assert found(f"Card {card}, valid") == [(card, "CARD")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF", "DE89 3704 0044 0532 0130 00"),
        ("GB29NWBK60161331926819.", "GB29NWBK60161331926819"),
        ("fr14 2004 1010 0505 0001 3m02 606", "fr14 2004 1010 0505 0001 3m02 606"),
        ("NO93 8601 1117 947 today", "NO93 8601 1117 947"),
        ("my account number is 12345678.", "12345678"),
        ("Acct #: 0012-3456-789", "0012-3456-789"),
        ("routing number 021000021", "021000021"),
        ("Sort code: 20-00-00", "20-00-00"),
        ("Born in 1971, 078-05-1120.", "078-05-1120"),
        ("SSN 219\u201109\u20119999", "219\u201109\u20119999"),
        ("SSN: 078 05 1120", "078 05 1120"),
        ("social security number (SSN): 219099999", "219099999"),
        ("an ITIN is 987-65-4321", "987-65-4321"),
    ],
)
def test_accounts(text: str, wanted: str) -> None:
    assert found(text) == [(wanted, "ACCOUNT")]


@pytest.mark.parametrize(
    "phone",
    [
        "+1 212 555 0187", "+12125550187", "(212) 555-0187", "212-555-0187", "212.555.0187",
        "1-800-555-0199", "+44 20 7946 0958", "+44 (0)20 7946 0958", "020 7946 0958",
        "07700 900123", "+49 30 1234567", "0171/1234567", "(030) 1234567", "01 42 68 53 00",
        "+33 1 42 68 53 00", "0049 151 12345678", "13812345678", "138-1234-5678",
        "+86 138 1234 5678", "089 / 12 34 56 78", "01\u202f42\u202f68\u202f53\u202f00",
        "212\u2011555\u20110187", "8 (495) 123-45-67", "8-800-555-35-35", "(495) 123-45-67",
        "(11) 98765-4321",
    ],
)  # fmt: skip
def test_phones(phone: str) -> None:
    assert found(f"Reach me under {phone}, please.") == [(phone, "PHONE")]
    assert found(phone) == [(phone, "PHONE")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Tel. 555-0187", "555-0187"),
        ("call me at 2125550187", "2125550187"),
        ("fax: 5550187", "5550187"),
        ("电话：010-12345678", "010-12345678"),
        ("phone number is 555 0187.", "555 0187"),
        ("text me at 5551234567", "5551234567"),
        ("my number is 555-0187", "555-0187"),
        ("Telefon: 5550187", "5550187"),
    ],
)
def test_phones_by_the_words_before(text: str, wanted: str) -> None:
    assert found(text) == [(wanted, "PHONE")]


@pytest.mark.parametrize(
    "text",
    [
        # dates, times and years
        "on 2024-05-17", "on 17.05.2024", "05/17/2024 10:30", "01.02.2020 10:30", "1999-2003",
        "in 1984 2001 2010", "20240517", "17-05-2024", "at 12:34:56", "2024-05-17T10:30:00Z",
        "call 2015-2020", "phone 2015-01-17", "the 1990s, 2000s and 2010s",
        # prices and other numbers
        "$1,299.00", "€ 12.345.678", "1,000,000,000", "3.14159265358979", "$212 555 0187",
        "1 000 000 000", "about 4000000000 people", "+1500000 jobs", "a score of 101-99-87",
        # ISBN, ISSN, DOI
        "ISBN 978-0-306-40615-7", "ISBN 0-306-40615-2", "9780306406157", "ISSN 0378-5955",
        "ISBN: 0306406152", "978 3 16 148410 0", "10.1000/182",
        # versions and sections
        "version 1.2.3.4", "v1.2.3.4", "Chrome 91.0.4472.124", "Python 3.11.4", "section 3.2.1.1",
        "1.2.3", "release 10.0.0.1", "§ 1.2.3.4", "256.1.1.1", "1.2.3.4.5",
        # what has the form of a card or an IBAN, but not the check digits
        "4396 0306 2027 8684",
        "4111 1111 1111 1112", "1234567812345670", "DE89 3704 0044 0532 0130 01",
        "XX89 3704 0044 0532 0130 00", "0000 0000 0000 0000", "1111111111111117",
        # what has the form of a social security number, but is never one
        "000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000",
        "123-45-6789-0", "1-123-45-6789", "123-45 6789", "123-45-678", "Social Security 1935-1940",
        # words
        "e.g. this, i.e. that", "readme.md and setup.py", "and/or", "he said...no", "a@b",
        "@timcook", "std::vector", "Foo::Bar", "::", "a: b: c", "user@localhost", "3:2 and 1:1",
        "and/or://", "full text 5550187", "the number is 5550187", "300 400-12-15",
        "Node.js", "U.S.A.", "1/2 of it", "account of 2015", "24/7", "DE 10 of them",
        "the account 20150117", "sort of 20 00 00",
        "",
    ],
)  # fmt: skip
def test_what_stays(text: str) -> None:
    assert found(text) == []


def test_several_in_order() -> None:
    text = "From a@b.com to http://x.org/?m=c@d.com, 4111111111111111 or 212-555-0187."
    assert [kind for _, kind in found(text)] == ["EMAIL", "URL", "CARD", "PHONE"]


def test_check_digits() -> None:
    assert passes_luhn("79927398713")
    assert not passes_luhn("79927398710")
    assert passes_mod97("GB82WEST12345698765432")
    assert not passes_mod97("GB82WEST12345698765433")


@pytest.mark.parametrize(
    "piece", "a.|a@|1 |1-|(1|ab:|0.|+1|DE12|tel |a-b.|www.|ssn |8 |a://|1-11-".split("|")
)
def test_time_grows_with_the_text_alone(piece: str) -> None:
    def seconds(n: int) -> float:
        began = time.process_time()
        find(piece * n)
        return time.process_time() - began

    seconds(10)
    assert seconds(20_000) < 60 * max(seconds(2_000), 0.001)
