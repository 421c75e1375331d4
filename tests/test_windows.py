"""Windows: nothing of a text is lost, and words have the offsets that a reader would give them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from lmtool import windows as windows_module
from lmtool.errors import BundleError, UsageError
from lmtool.windows import BLOCK_CHARACTERS, Encoding, TextEncoder, Window

NEWS = (
    "Dr. Smith met Mr. Jones at 3.30 p.m. in St. Louis. They left. "
    "“Don’t,” she said — “it’s O'Neil’s co-op’s e-mail: a.b@c.co.uk, https://x.y/z?q=1#t”…"
)
FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}\u200d\N{BOY}"
TEXTS = {
    "empty": "",
    "one space": " ",
    "line ends": "\n\n\r\n",
    "one character": "a",
    "news": NEWS,
    "emoji": f"family {FAMILY} and 🏳️\u200d🌈 flags 🇩🇪🇫🇷 ok 👍🏽! 1️⃣",
    "decomposed accents": "cafe\u0301 re\u0301sume\u0301 A\u030angstro\u0308m Zu\u0308rich.",
    "a mark alone": "\u0301starts with a mark \u0301 alone, 1\u0301 2",
    "many marks": "Z\u0351\u036b\u0343a\u0363\u0300l\u0334g\u0321o\u0322 text",
    "Chinese": "温家宝在北京会见了Angela Merkel。你好，世界！",
    "Japanese and Korean": "東京タワーに行きました。 とても楽しかった。 한국어 문장입니다.",
    "Hindi, Thai, Arabic, Hebrew": "हिन्दी में एक वाक्य। ภาษาไทยไม่มีช่องว่าง العَرَبِيَّة שָׁלוֹם",
    "odd spaces": "tabs\tand\u00a0no\u2003spaces\u200bzero\u00adsoft\ufeffmark\x00nul\x07bell",
    "line kinds": "line one\r\nline two\r\n\r\nline four\u2028line five\x85six\n",
    "compatibility": "ﬁne ﬂuﬀy ½ ² ™ ½ İstanbul STRAẞE ﬃ Ǆ",
    "beyond the first plane": "𝓗𝓮𝓵𝓵𝓸 𠀀𪛖 🜁",
    "hyphens without end": "a-" * 200,
    "Chinese without end": "日本" * 200,
    "spaces without end": "word" + " " * 500 + "word",
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
AROUND = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)
CORPUS = [text for text in TEXTS.values() if text.strip()] * 3


def wordpiece(lowercase: bool) -> Tokenizer:
    """Like BERT: lowercase also strips accents."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.WordPieceTrainer(vocab_size=600, special_tokens=SPECIAL, show_progress=False),
    )
    return tokenizer


def byte_level() -> Tokenizer:
    """Like RoBERTa and GPT-2: tokens carry the space before them, a character may be four."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    """Like XLM-R and T5: NFKC, and words that begin with a visible space."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=400, unk_token="[UNK]", special_tokens=SPECIAL, show_progress=False
        ),
    )
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "cased WordPiece": lambda: wordpiece(lowercase=False),
    "uncased WordPiece": lambda: wordpiece(lowercase=True),
    "byte-level BPE": byte_level,
    "Unigram with Metaspace": unigram,
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    made = KINDS[request.param]()
    made.post_processor = AROUND
    return made


@pytest.fixture(scope="module")
def cased() -> Tokenizer:
    made = wordpiece(lowercase=False)
    made.post_processor = AROUND
    return made


def windows_of(tokenizer: Tokenizer, text: str, max_tokens: int = 128) -> list[Window]:
    encoder = TextEncoder(tokenizer, Encoding(max_tokens=max_tokens, has_shapes=True))
    return list(encoder.windows(text))


def words(windows: list[Window]) -> list[tuple[int, int]]:
    """The words of a document's windows, as spans of the document."""
    return [
        (window.start + int(start), window.start + int(end))
        for window in windows
        for start, end in zip(window.word_starts, window.word_ends, strict=True)
    ]


def word_texts(tokenizer: Tokenizer, text: str) -> list[str]:
    return [text[start:end] for start, end in words(windows_of(tokenizer, text))]


# ── What holds for every text and every tokenizer ────────────────────────────────────────────


@pytest.mark.parametrize("max_tokens", [16, 128])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_windows_partition_the_text(tokenizer: Tokenizer, text: str, max_tokens: int) -> None:
    windows = windows_of(tokenizer, text, max_tokens)
    position = 0
    for window in windows:
        assert window.start == position
        assert window.text == text[position : position + len(window.text)]
        position += len(window.text)
    assert position == len(text)
    assert windows  # also an empty text has its window


@pytest.mark.parametrize("max_tokens", [16, 128])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_windows_lose_no_token_and_fit(tokenizer: Tokenizer, text: str, max_tokens: int) -> None:
    windows = windows_of(tokenizer, text, max_tokens)
    assert all(len(window.ids) <= max_tokens for window in windows)
    assert all(window.ids[0] == 2 and window.ids[-1] == 3 for window in windows)
    inner = [i for window in windows for i in window.ids[1:-1].tolist()]
    assert inner == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("max_tokens", [16, 128])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_words_are_tight_and_do_not_overlap(
    tokenizer: Tokenizer, text: str, max_tokens: int
) -> None:
    for window in windows_of(tokenizer, text, max_tokens):
        tokens = window.word_tokens.tolist()
        assert tokens == sorted(set(tokens))
        assert all(0 < token < len(window.ids) - 1 for token in tokens)
        spans = list(zip(window.word_starts.tolist(), window.word_ends.tolist(), strict=True))
        assert all(0 <= start < end <= len(window.text) for start, end in spans)
        assert all(first[1] <= second[0] for first, second in pairwise(spans))
        found = [window.text[start:end] for start, end in spans]
        assert found == [word.strip() for word in found]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_window_size_gives_the_same_words(tokenizer: Tokenizer, text: str) -> None:
    whole = words(windows_of(tokenizer, text, 100_000))
    assert words(windows_of(tokenizer, text, 40)) == whole


@pytest.mark.parametrize("text", [NEWS, TEXTS["decomposed accents"], TEXTS["emoji"]])
def test_no_visible_character_is_outside_the_words(tokenizer: Tokenizer, text: str) -> None:
    covered = np.zeros(len(text), bool)
    for start, end in words(windows_of(tokenizer, text)):
        covered[start:end] = True
    lost = "".join(c for c, is_covered in zip(text, covered, strict=True) if not is_covered)
    assert lost.replace("\u200d", "").strip() == ""


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("Tim Cook met Angela Merkel.", "Angela Merkel"),
        ("“Angela Merkel”, she said", "Angela Merkel"),
        ("in the cafe\u0301 there", "cafe\u0301"),
        ("Zu\u0308rich", "Zu\u0308rich"),
        ("ok 👍 then", "👍"),
        ("A\u00a0B\u2003C", "B"),
    ],
)
def test_a_span_is_a_range_of_words(tokenizer: Tokenizer, text: str, span: str) -> None:
    start = text.index(span)
    (window,) = windows_of(tokenizer, text)
    found = window.words_of(start, start + len(span))
    assert found is not None
    first, last = found
    assert text[window.word_starts[first] : window.word_ends[last - 1]] == span


def test_a_span_of_chinese_characters_is_a_range_of_words(cased: Tokenizer) -> None:
    (window,) = windows_of(cased, "温家宝在北京会见了Angela Merkel。")
    assert window.words_of(0, 3) == (0, 3)
    assert window.words_of(4, 6) == (4, 6)
    assert window.words_of(9, 22) == (9, 11)


# ── Words ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop, ok?", ["Don", "'", "t", "stop", ",", "ok", "?"]),
        ("温家宝 met", ["温", "家", "宝", "met"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("  two  words ", ["two", "words"]),
    ],
)
def test_words_of_wordpiece(cased: Tokenizer, text: str, expected: list[str]) -> None:
    assert word_texts(cased, text) == expected


def test_words_split_where_the_tokenizer_does_not() -> None:
    by_character = Tokenizer(models.Unigram([("<u>", 0), *((c, -1.0) for c in "▁a温家,")], 0))
    by_character.pre_tokenizer = pre_tokenizers.Metaspace()
    assert word_texts(by_character, "aa温家,aa aa") == ["aa", "温", "家", ",", "aa", "aa"]


def test_a_mark_belongs_to_the_character_before_it() -> None:
    tokenizer = byte_level()
    assert word_texts(tokenizer, "e\u0301 \u0301 x") == ["e\u0301", "\u0301", "x"]


def test_a_word_ends_before_a_token_of_white_space() -> None:
    tokenizer = byte_level()
    assert word_texts(tokenizer, "one\n\ntwo   three \t") == ["one", "two", "three"]


# ── words_of, words_touched ──────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def second(cased: Tokenizer) -> Window:
    """The second window of a text: "Two words.", which begins at character 11."""
    _, second = windows_of(cased, "One word. \nTwo words.", 10)[-2:]
    assert (second.start, second.text) == (11, "Two words.")
    return second


@pytest.mark.parametrize(
    ("span", "of", "touched"),
    [
        ((11, 14), (0, 1), (0, 1)),
        ((11, 20), (0, 2), (0, 2)),
        ((15, 21), (1, 3), (1, 3)),
        ((12, 14), None, (0, 1)),  # begins inside a word
        ((11, 16), None, (0, 2)),  # ends inside a word
        ((14, 15), None, (1, 1)),  # a space
        ((14, 20), None, (1, 2)),  # begins with a space
        ((4, 14), None, (0, 1)),  # begins in the window before
        ((4, 8), None, (0, 0)),  # in the window before
        ((20, 30), None, (2, 3)),  # goes on after the window
        ((30, 40), None, (3, 3)),  # after the window
    ],
)
def test_words_of_and_words_touched(
    second: Window, span: tuple[int, int], of: tuple[int, int] | None, touched: tuple[int, int]
) -> None:
    assert second.words_of(*span) == of
    assert second.words_touched(*span) == touched


def test_a_window_without_words_touches_nothing(cased: Tokenizer) -> None:
    (window,) = windows_of(cased, "   ")
    assert window.words_of(0, 1) is None
    assert window.words_touched(0, 3) == (0, 0)


# ── Where windows are cut ────────────────────────────────────────────────────────────────────


def test_windows_hold_whole_sentences(cased: Tokenizer) -> None:
    text = "One word. Two words. Three words. Four words."
    parts = [window.text for window in windows_of(cased, text, 22)]
    assert "".join(parts) == text
    assert len(parts) > 1
    assert all(part.rstrip().endswith(".") for part in parts)


def test_a_long_sentence_is_cut_between_words(cased: Tokenizer) -> None:
    text = " ".join(["unbreakable"] * 40)
    windows = windows_of(cased, text, 30)
    assert len(windows) > 2
    assert all(window.text.strip().startswith("unbreakable") for window in windows)
    assert all(window.text.endswith(("unbreakable ", "unbreakable")) for window in windows)


def test_a_word_too_long_for_a_window_ends_with_it() -> None:
    tokenizer = byte_level()
    text = "".join(chr(ord("a") + i * i % 26) for i in range(400)) + " end"
    windows = windows_of(tokenizer, text, 16)
    assert "".join(window.text for window in windows) == text
    assert all(len(window.ids) <= 16 for window in windows)
    found = words(windows)
    assert found[0] == (0, len(windows[0].text))  # what the first window sees of it
    assert text[slice(*found[-1])] == "end"


def test_windows_of_one_text_and_other_words_have_other_keys() -> None:
    """A word's middle, and a word, can have the same tokens: one must not answer for the other."""
    tokenizer = Tokenizer(models.BPE({"x": 0, "Ġ": 1}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["a"])
    first, second = windows_of(tokenizer, "x" * 16, 8)
    assert (first.text, first.ids.tolist()) == (second.text, second.ids.tolist())
    assert (len(first.word_tokens), len(second.word_tokens)) == (1, 0)
    assert first.key != second.key
    assert first.key == windows_of(tokenizer, "x" * 8, 8)[0].key


def test_windows_of_other_shapes_have_other_keys() -> None:
    empty = np.zeros(0, np.int64)
    lower, upper = (
        Window(0, "a", np.array([1]), np.array([shape]), (empty, empty, empty)) for shape in (1, 3)
    )
    assert lower.key != upper.key


def test_long_words_are_not_kept() -> None:
    tokenizer = wordpiece(lowercase=True)
    windows_module._shape.cache_clear()
    (window,) = TextEncoder(tokenizer, Encoding(has_shapes=True)).windows("A" * 65 + " Apple")
    assert window.shapes[window.word_tokens].tolist() == [3, 2]
    assert windows_module._shape.cache_info().currsize == 1


def test_windows_end_with_sentences_behind_a_number_in_brackets(cased: Tokenizer) -> None:
    text = "(4) " + "Two words. " * 400
    windows = windows_of(cased, text, 64)
    assert "".join(window.text for window in windows) == text
    assert len(windows) > 10
    assert all(window.text.endswith("words. ") for window in windows)


@pytest.mark.parametrize("filler", ["word ", "word\n", "wörd. ", "日本", "x"])
def test_long_texts_go_through_blocks(cased: Tokenizer, filler: str) -> None:
    text = filler * (2 * BLOCK_CHARACTERS // len(filler) + 100)
    windows = windows_of(cased, text, 512)
    assert "".join(window.text for window in windows) == text
    assert windows[-1].start + len(windows[-1].text) == len(text)
    if filler.strip() == "word":
        assert len(words(windows)) == len(text.split())


# ── Shapes, special tokens, errors ───────────────────────────────────────────────────────────


def test_shapes_tell_what_lower_case_hides() -> None:
    tokenizer = wordpiece(lowercase=True)
    tokenizer.post_processor = AROUND
    (window,) = windows_of(tokenizer, "apple Apple APPLE McApple 12 a1 , A")
    shapes = window.shapes[window.word_tokens].tolist()
    assert shapes == [1, 2, 3, 4, 5, 1, 7, 2]
    assert window.shapes[0] == window.shapes[-1] == 0
    assert len(window.shapes) == len(window.ids)


def test_all_tokens_of_a_word_have_its_shape(cased: Tokenizer) -> None:
    (window,) = windows_of(cased, "Stones")
    assert len(window.ids) > 3
    assert set(window.shapes[1:-1].tolist()) == {2}


def test_without_shapes_they_are_zero(cased: Tokenizer) -> None:
    (window,) = TextEncoder(cased, Encoding()).windows("Some Text")
    assert not window.shapes.any()


def test_truncation_of_the_tokenizer_is_switched_off(cased: Tokenizer, tmp_path: Path) -> None:
    """Most tokenizer.json files of the world truncate and pad."""
    copy = Tokenizer.from_str(cased.to_str())
    copy.enable_truncation(4)
    copy.enable_padding(length=64)
    copy.save(str(tmp_path / "tokenizer.json"))
    encoder = TextEncoder.from_file(tmp_path / "tokenizer.json", Encoding())
    (window,) = encoder.windows("one two three four five six seven")
    assert len(window.word_tokens) == 7


def test_a_tokenizer_without_special_tokens_works() -> None:
    (window,) = windows_of(byte_level(), "a word")
    assert window.word_tokens[0] == 0


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_a_damaged_tokenizer_is_an_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BundleError, match="no readable tokenizer"):
        TextEncoder.from_file(path, Encoding())


def test_a_tokenizer_without_letters_is_an_error() -> None:
    with pytest.raises(BundleError, match="no token for the text 'a'"):
        TextEncoder(Tokenizer(models.BPE()), Encoding())


def test_windows_must_leave_room_for_text(cased: Tokenizer) -> None:
    with pytest.raises(UsageError, match="windows of 2 tokens"):
        TextEncoder(cased, Encoding(max_tokens=2))
