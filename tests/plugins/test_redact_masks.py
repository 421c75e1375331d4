"""Names that mean the same, masks, and key files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from lmtool_redact.keys import KeyFile, read_key, write_private
from lmtool_redact.masks import Masks, Style, restore
from lmtool_redact.names import (
    kind_of,
    normal,
    person_names,
    repeated,
    surnames,
    titled,
    trimmed,
    without_overlaps,
)

import lmtool

STYLE = Style("[{kind}-{n}]")


# ── names ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "text", "wanted"),
    [
        ("PER", "TIM  Cook's", "tim cook"),
        ("PER", "Mr. Tim\nCook", "tim cook"),
        ("PER", "Dr", "dr"),
        ("ORG", "Lord & Taylor’s", "lord & taylor"),
        ("PHONE", "+1 (212) 555-0187", "+12125550187"),
        ("ACCOUNT", "de89 3704", "DE893704"),
        ("EMAIL", "Tim@X.com", "tim@x.com"),
        ("MASK", "[PER-1]", "[PER-1]"),
    ],
)
def test_normal_names(kind: str, text: str, wanted: str) -> None:
    assert normal(kind, text) == wanted


def test_kinds_of_other_labels() -> None:
    kinds = [kind_of(label) for label in ("person", "GPE", "PER", "Drug")]
    assert kinds == ["PER", "LOC", "PER", "DRUG"]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("Tim Cook; COOK; Tim; Cook's; Merkel", "tim cook; tim cook; tim cook; tim cook; merkel"),
        ("tim cook; james cook; cook", "tim cook; james cook; cook"),
        ("Tim D. Cook; D. Cook; Cook", "tim d. cook; tim d. cook; tim d. cook"),
        ("Ann Lee Ann; Lee", "ann lee ann; lee"),
        ("Ann James; James", "ann james; ann james"),
        (" ; Cook", "; cook"),
        ("", ""),
        # titles
        ("Mr. Smith; Smith; Dr. Smith; Mr Smith's", "mr smith; mr smith; mr smith; mr smith"),
        ("Mr. Smith; Miss Smith; Smith; Prof. Smith", "mr smith; miss smith; smith; smith"),
        ("Mrs. Smith; Miss\nSmith; Ms. Smith", "mrs smith; miss smith; ms smith"),
        ("John Smith; Mary Smith; Mr. Smith; Miss Smith; Smith",
         "john smith; mary smith; john smith; mary smith; smith"),
        ("Mr. Smith; Miss Smith; Lee Smith", "mr smith; miss smith; lee smith"),
        ("Mr. Bingley; CAROLINE BINGLEY; Bingley", "mr bingley; caroline bingley; bingley"),
        ("Miss Bingley; Caroline Bingley", "caroline bingley; caroline bingley"),
        ("Mr. Cook; Tim Cook; Ann Cook; Cook", "tim cook; tim cook; ann cook; cook"),
        ("Mr Cook; Dr. Lee Cook; Cook", "lee cook; lee cook; lee cook"),
        ("Mr Cook; Mrs. Lee Cook", "mr cook; lee cook"),
        ("Mr. Lee Cook; Lee Cook; Lee", "lee cook; lee cook; lee cook"),
        ("Mr. Lee Cook; Mrs. Lee Cook; Lee Cook", "mr lee cook; mrs lee cook; lee cook"),
        ("John Smith; Mrs. John Smith", "john smith; mrs john smith"),
        ("Mrs. Bennet; Miss Bennet; Jane Bennet; Bennet",
         "mrs bennet; miss bennet; jane bennet; bennet"),
        ("Mrs. Bennet; Miss Jane; Jane Bennet", "mrs bennet; miss jane; jane bennet"),
        ("Mr. Smith; John Smith; Bob Smith; Smith", "mr smith; john smith; bob smith; smith"),
        ("Lady Anne; Miss Anne", "lady anne; miss anne"),
    ],
)  # fmt: skip
def test_names_of_persons(names: str, wanted: str) -> None:
    mentions = names.split("; ")
    found = person_names(mentions)
    assert "; ".join(found[mention] for mention in mentions) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("When Mr.\nBingley", "Mr.\nBingley"),
        ("The Prof. Dr. Bingley", "Prof. Dr. Bingley"),
        ("Farmr Bingley", "Bingley"),
        ("miss. Bingley", "miss. Bingley"),
        ("Bingley", "Bingley"),
    ],
)
def test_titles_before_names(text: str, wanted: str) -> None:
    assert titled(text, text.index("Bingley"), len(text)) == wanted


def test_names_that_stand_elsewhere_too() -> None:
    texts = ["Tim Cook will go. Will stays, Cooking too.", "cook Tim Cook, Cook; Bill's 李明说"]
    mentions = [("Tim Cook", "PER"), ("Cook", "PER"), ("Bill", "PER"), ("Will", "PER")]
    found = repeated(texts, [*mentions, ("李明", "PER"), ("X", "ORG"), ("the", "ORG")])
    assert [[texts[i][a:b] for a, b, _ in of] for i, of in enumerate(found)] == [
        ["Tim Cook"],  # "will" and "cook" stand there in small letters: no names by themselves
        ["Tim Cook", "Bill", "李明"],
    ]


def test_surnames() -> None:
    mentions = [("Tim Cook", "PER"), ("Ada", "PER"), ("New York", "LOC"), ("Henry 4", "PER")]
    assert surnames(mentions) == [("Cook", "PER")]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Tim Cook of", "Tim Cook"),
        ("Merkel.", "Merkel"),
        ("“Ada”", "Ada"),
        ("Apple Inc.", "Apple Inc."),
        ("U.S.", "U.S."),
        ("John F.", "John F."),
        ("(Rome), in the", "Rome"),
        ("of", "of"),
        ("...", ""),
    ],
)
def test_trimmed(text: str, wanted: str) -> None:
    start, end = trimmed(text, 0, len(text))
    assert text[start:end] == wanted


def test_what_overlaps_stays_covered() -> None:
    text = "Ada Lee ada@x.org [PER-1]!"
    spans = [(18, 25, "MASK"), (8, 17, "EMAIL"), (0, 17, "PER"), (15, 24, "ORG"), (4, 7, "LOC")]
    found = without_overlaps(spans, text)
    assert found == [(0, 7, "PER"), (8, 17, "EMAIL"), (18, 25, "MASK")]


# ── masks ────────────────────────────────────────────────────────────────────────────────────


def test_one_name_has_one_mask() -> None:
    masks = Masks(STYLE)
    given = [("PER", "a", "A"), ("PER", "b", "B"), ("ORG", "a", "A"), ("PER", "a", "a")]
    assert [masks.mask(*one) for one in given] == ["[PER-1]", "[PER-2]", "[ORG-1]", "[PER-1]"]
    assert masks.entries == {}


def test_exact_masks_tell_spellings_apart() -> None:
    masks = Masks(STYLE, is_exact=True)
    given = [("PER", "a", "A"), ("PER", "a", "a"), ("PER", "a", "A")]
    assert [masks.mask(*one) for one in given] == ["[PER-1]", "[PER-1.2]", "[PER-1]"]


def test_masks_go_on_where_others_stopped() -> None:
    before = Masks(STYLE, is_exact=True)
    before.mask("PER", "tim cook", "Cook")  # a short name, of which the document says the long one
    before.mask("PER", "tim cook", "Tim Cook")
    after = Masks(STYLE, is_exact=True)
    after.take(before.entries.values())
    assert after.entries == before.entries
    given = [("PER", "tim cook", "TIM"), ("PER", "cook", "Cook"), ("PER", "tim cook", "Cook")]
    assert [after.mask(*one) for one in given] == ["[PER-1.3]", "[PER-2]", "[PER-1]"]


@pytest.mark.parametrize(
    ("template", "mask", "is_reversible"),
    [
        ("[{kind}-{n}]", "[PER-1]", True),
        ("<{n}>", "<1>", True),
        ("«{n}|{kind}»", "«1|PER»", True),
        ("█████", "█████", False),
        ("<{kind}>", "<PER>", False),
        ("{kind}{n}", "PER1", False),
        ("({kind}{n})", "(PER1)", False),
        ("#{n}#", "#1#", False),
        ("[[{n}]]", "[[1]]", False),
        ("x{n}y", "x1y", False),
        ("[{n}-{n}]", "[1-1]", False),
    ],
)
def test_styles(template: str, mask: str, is_reversible: bool) -> None:
    style = Style(template)
    assert Masks(style).mask("PER", "a", "A") == mask
    assert style.is_reversible is is_reversible


def test_a_style_without_kinds_numbers_all_together() -> None:
    masks = Masks(Style("<{n}>"))
    assert [masks.mask(kind, "a", "A") for kind in ("PER", "ORG")] == ["<1>", "<2>"]


def test_no_style() -> None:
    with pytest.raises(lmtool.UsageError, match="--mask is empty"):
        Style("")


def test_restoring_knows_masks_by_their_form() -> None:
    masks = Masks(STYLE, is_exact=True)
    masks.mask("PER", "a", "[PER-1]")
    assert restore("x[PER-1][PER-1.2] [PER-12]]", STYLE, masks.entries) == (
        "x[PER-1][PER-1.2] [PER-12]]",
        ["[PER-1.2]", "[PER-12]"],
    )


# ── key files ────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_private_whole_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    key = KeyFile(path, STYLE)
    assert not path.exists()
    key.masks.mask("PER", "a", "Ä\n")
    key.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_bytes()
    key.save()
    assert path.read_bytes() == first
    again = KeyFile(path, STYLE)
    assert again.masks.mask("PER", "b", "B") == "[PER-2]"
    again.save()
    found = read_key(path)
    assert found is not None
    assert {mask: entry.text for mask, entry in found.masks.items()} == {
        "[PER-1]": "Ä\n",
        "[PER-2]": "B",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["key.json"]


def test_an_empty_run_leaves_a_key(tmp_path: Path) -> None:
    KeyFile(tmp_path / "key.json", STYLE).save()
    found = read_key(tmp_path / "key.json")
    assert found is not None
    assert found.masks == {}


def test_two_runs_cannot_write_one_key(tmp_path: Path) -> None:
    one, other = (KeyFile(tmp_path / "key.json", STYLE) for _ in range(2))
    one.save()
    other.masks.mask("PER", "a", "A")
    with pytest.raises(lmtool.UsageError, match="another run has written"):
        other.save()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no key of lmtool redact"),
        ('{"masks": {}}', "no key of lmtool redact"),
        ('{"format": 2, "mask": "", "masks": {}}', "a key of format 2"),
    ],
)
def test_what_is_no_key(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(content, "utf-8")
    with pytest.raises(lmtool.DataError, match=message):
        KeyFile(tmp_path / "key.json", STYLE)


def test_a_key_has_one_style(tmp_path: Path) -> None:
    KeyFile(tmp_path / "key.json", STYLE).save()
    with pytest.raises(lmtool.UsageError, match="its masks look like"):
        KeyFile(tmp_path / "key.json", Style("<{n}>"))


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.json"
    write_private(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(lmtool.UsageError, match="No space left"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["key.json"]
