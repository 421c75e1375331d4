"""Column files, tag schemes, and texts rebuilt from tokens."""

import random
import re

import pytest

from lmtool.errors import DataError
from lmtool.formats.conll import (
    BadSentence,
    Sentence,
    align_tokens,
    join_tokens,
    read_sentences,
    spans_from_tags,
    tags_from_spans,
)


def sentences(text: str, **columns: int) -> list[Sentence]:
    found = list(read_sentences(text.splitlines(keepends=True), **columns))
    assert all(isinstance(item, Sentence) for item in found)
    return [item for item in found if isinstance(item, Sentence)]


def pairs(text: str, **columns: int) -> list[list[tuple[str, str]]]:
    return [list(zip(s.tokens, s.tags, strict=True)) for s in sentences(text, **columns)]


# ── read_sentences ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("\n\n \n", [], id="blank lines only"),
        pytest.param("a\tO\nb\tB-X\n", [[("a", "O"), ("b", "B-X")]], id="tabs"),
        pytest.param("a O\nb B-X", [[("a", "O"), ("b", "B-X")]], id="spaces, no last newline"),
        pytest.param("a\tO\r\n\r\nb\tO\r\n", [[("a", "O")], [("b", "O")]], id="CRLF"),
        pytest.param("\ufeffa\tO\n", [[("a", "O")]], id="byte order mark"),
        pytest.param("a\tO\n\t\nb\tO\n \n", [[("a", "O")], [("b", "O")]], id="blank with a tab"),
        pytest.param("a\tO\n\n\n\nb\tO\n", [[("a", "O")], [("b", "O")]], id="several blank lines"),
        pytest.param("ke s\tO\n", [[("ke s", "O")]], id="a space inside a token"),
        pytest.param("5\u00a0km O\n", [[("5\u00a0km", "O")]], id="a no-break space inside a token"),
        pytest.param(
            "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n",
            [[("EU", "B-ORG"), ("rejects", "O")]],
            id="CoNLL-2003, four columns",
        ),
        pytest.param("#\tO\n#UN\tB-ORG\n", [[("#", "O"), ("#UN", "B-ORG")]], id="# as a token"),
        pytest.param("# O\n1 O\n", [[("#", "O"), ("1", "O")]], id="# as a token, spaces"),
        pytest.param("# a remark\n#\na\tO\n", [[("a", "O")]], id="comments"),
        pytest.param(
            "x\tB-creative-work\n", [[("x", "B-creative-work")]], id="label with a hyphen"
        ),
    ],
)
def test_read_sentences_reads_tokens_and_tags(
    text: str, expected: list[list[tuple[str, str]]]
) -> None:
    assert pairs(text) == expected


def test_read_sentences_reads_universal_ner_with_its_comments() -> None:
    text = (
        "# newdoc id = d1\n# sent_id = d1-1\n# text = It's O\n"
        "1-2\tIt's\t_\t_\t_\n1\tIt\tO\t-\t-\n2\t's\tB-PER\t-\tann\n\n"
        "# sent_id = d1-2\n# text = Yes\n1\tYes\tO\t-\t-\n\n"
        "# newdoc id = d2\n# sent_id = d2-1\n1\tNo\tO\t-\t-\n"
    )
    found = sentences(text)
    assert [s.tokens for s in found] == [("It", "'s"), ("Yes",), ("No",)]
    assert [s.tags for s in found] == [("O", "B-PER"), ("O",), ("O",)]
    assert [s.text for s in found] == ["It's O", "Yes", None]
    assert [s.sent_id for s in found] == ["d1-1", "d1-2", "d2-1"]
    assert [s.document for s in found] == [1, 1, 2]
    assert [s.line for s in found] == [5, 10, 14]


def test_read_sentences_counts_documents_at_docstart() -> None:
    text = "a O\n\n-DOCSTART- O\n\nb O\n\nc O\n-DOCSTART- -X- O O\nd O\n"
    assert [(s.tokens, s.document) for s in sentences(text)] == [
        (("a",), 0),
        (("b",), 1),
        (("c",), 1),
        (("d",), 2),
    ]


def test_read_sentences_reads_the_chosen_columns() -> None:
    text = "B-PER\tx\tAnn\tO\n"
    assert pairs(text, token_column=2, tag_column=0) == [[("Ann", "B-PER")]]
    assert sentences(text, token_column=2, tag_column=0)[0].rows == (("B-PER", "x", "Ann", "O"),)


def test_read_sentences_takes_a_numbered_list_of_one_column_pairs_as_tokens() -> None:
    assert pairs("1\tB-NUM\n2\tB-NUM\n") == [[("1", "B-NUM"), ("2", "B-NUM")]]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a\tO\nb\n", 2, "one column only, 'b': a token needs a tag"),
        ("#tag\n", 1, "one column only, '#tag': a token needs a tag"),
        ("a\tO\n\tB-X\n", 2, "a tag without a token, 'B-X'"),
        ("a\tNN\n", 1, "'NN' is no tag"),
        ("a\tB-\n", 1, "'B-' is no tag"),
    ],
)
def test_read_sentences_yields_a_bad_sentence_and_goes_on(
    text: str, line: int, message: str
) -> None:
    found = list(read_sentences(f"{text}\nnext\tO\n".splitlines(keepends=True)))
    assert [type(item) for item in found] == [BadSentence, Sentence]
    assert (found[0].line, getattr(found[0], "message", "")) == (line, message)


def test_read_sentences_names_a_missing_column() -> None:
    found = list(read_sentences(["a\tO\n"], tag_column=3))
    assert found == [
        BadSentence(
            1,
            "2 columns, so there is no column 3",
            "choose the columns of the token and the tag, counted from 0",
        )
    ]


# ── tags ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("", []),
        ("O O", []),
        ("B-A I-A O B-A", [(0, 2, "A"), (3, 4, "A")]),  # BIO
        ("B-A B-A I-B", [(0, 1, "A"), (1, 2, "A"), (2, 3, "B")]),  # I- of another label begins
        ("I-A I-A O I-B I-A", [(0, 2, "A"), (3, 4, "B"), (4, 5, "A")]),  # IO
        ("I-A I-A B-A I-A", [(0, 2, "A"), (2, 4, "A")]),  # IOB1
        ("B-A I-A E-A S-A S-A", [(0, 3, "A"), (3, 4, "A"), (4, 5, "A")]),  # BIOES
        ("B-A L-A U-B O B-C I-C L-C", [(0, 2, "A"), (2, 3, "B"), (4, 7, "C")]),  # BILOU
        ("E-A I-A", [(0, 1, "A"), (1, 2, "A")]),  # an end without a beginning
        ("B-creative-work I-creative-work", [(0, 2, "creative-work")]),
    ],
)
def test_spans_from_tags(tags: str, spans: list[tuple[int, int, str]]) -> None:
    assert spans_from_tags(tags.split()) == spans


@pytest.mark.parametrize("tag", ["PER", "B", "B-", "X-PER", "", "_"])
def test_spans_from_tags_refuses_what_is_no_tag(tag: str) -> None:
    with pytest.raises(DataError, match="is no tag"):
        spans_from_tags(["O", tag])


def test_tags_from_spans_is_the_inverse_of_spans_from_tags() -> None:
    spans = [(0, 1, "A"), (1, 3, "A"), (4, 6, "B")]
    tags = tags_from_spans(spans, 7)
    assert tags == ["B-A", "B-A", "I-A", "O", "B-B", "I-B", "O"]
    assert spans_from_tags(tags) == spans


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 4, "A")], "does not fit 3 tokens"),
        ([(2, 2, "A")], "does not fit 3 tokens"),
        ([(0, 2, "A"), (1, 3, "B")], "overlaps another one"),
    ],
)
def test_tags_from_spans_refuses_spans_that_do_not_fit(
    spans: list[tuple[int, int, str]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        tags_from_spans(spans, 3)


# ── join_tokens ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello, world!",
        "It was 5% (or [more]); see: page 3.",
        "She paid $5, not £6… right?!",
        '"Yes," he said, "I will."',
        '," said he. "Come in," he said, "and sit."',
        "He said “no” and ‘never’.",
        "the ``quoted'' word",
        "The players' union met.",
        "They said 'no' to it.",
        "It's Ann's: they'll, we're, I'd, I'm, you've, don't, CAN'T.",
        "don’t, it’s",
        "well-known and/or 24/7",
        "at 5:30 pm",
        "good :) day ;-) all",
        "a - b",
        "我在2008年去了北京。",
        "他用Python写程序，很快。",
        "東京タワーへ行く",
        "Kong Huan (昊) wrote",
        "Wait... what?!",
        "(“Why?”)",
    ],
)
def test_join_tokens_writes_punctuation_as_in_english(text: str) -> None:
    assert join_tokens(_split(text), attach=True)[0] == text


def _split(text: str) -> list[str]:
    """A tokenizer in the manner of the corpora, small enough to be checked by eye."""
    pattern = (
        r"n['’]t\b|['’](?:s|re|ve|ll|d|m)\b|\w+(?=n['’]t\b)|[:;]-?\)|\d+/\d+|[A-Za-z]+(?:[-/][A-Za-z]+)+"
        r"|[A-Za-z]+|\d+|``|''|\.\.\.|\?!|[\u3040-\u9fff]{1,2}|\S"
    )
    return re.findall(pattern, text, re.IGNORECASE)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("don ' t", "don't"),
        ("ca n ' t", "can't"),
        ("That ´ s it", "That´s it"),
        ("the ' 90s", "the '90s"),
        ("1 , 000 people", "1,000 people"),
        ("in 5 , 10 or 15", "in 5, 10 or 15"),
        (". . .", "..."),
        ("two - year", "two - year"),
        ('he said . "', 'he said."'),
    ],
)
def test_join_tokens_mends_odd_tokenisations(tokens: str, text: str) -> None:
    assert join_tokens(tokens.split(), attach=True)[0] == text


def test_join_tokens_sticks_glue_to_both_sides() -> None:
    tokens = "a two - year , and / or".split()
    assert join_tokens(tokens, attach=True, glue={"-", "/"})[0] == "a two-year, and/or"


def test_join_tokens_without_attach_parts_all_by_single_spaces() -> None:
    assert join_tokens(["(", "a", ")", "."], attach=False) == (
        "( a ) .",
        [(0, 1), (2, 3), (4, 5), (6, 7)],
    )


@pytest.mark.parametrize("attach", [True, False])
def test_join_tokens_offsets_are_exact_for_any_tokens(attach: bool) -> None:
    alphabet = [
        "a",
        "Bc",
        "n",
        "t",
        "'s",
        "n't",
        "1",
        "000",
        "😀",
        "北京",
        "年",
        "e\u0301",
        "-",
        "/",
    ]
    alphabet += list(".,;:!?%()[]{}$#\"'’“”`…@&") + ["``", "''", "...", ":)", '."', "'t", "s"]
    draw = random.Random(7)
    for _ in range(2000):
        tokens = draw.choices(alphabet, k=draw.randrange(12))
        text, offsets = join_tokens(tokens, attach, glue={"-"})
        assert [text[start:end] for start, end in offsets] == tokens
        assert align_tokens(text, tokens) == offsets


# ── align_tokens ─────────────────────────────────────────────────────────────────────────────


def test_align_tokens_finds_tokens_whatever_white_space_parts_them() -> None:
    assert align_tokens("  It's\u00a0 a\tdog.\n", ["It", "'s", "a", "dog", "."]) == [
        (2, 4),
        (4, 6),
        (8, 9),
        (10, 13),
        (13, 14),
    ]


@pytest.mark.parametrize(
    ("text", "tokens", "message"),
    [
        ("a b", ["a", "c"], "token 1, 'c', is not at character 2"),
        ("a b", ["a"], "goes on after the last token: ' b'"),
        ("a", ["a", "b"], "token 1, 'b', is not at character 1"),
        ("ab c", ["a", "c"], "token 1, 'c', is not at character 1"),
    ],
)
def test_align_tokens_refuses_other_texts(text: str, tokens: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        align_tokens(text, tokens)
