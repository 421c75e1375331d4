"""Whether a model knows the script of a text."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from lmtool.models import load_encoder
from lmtool.scripts import SAMPLE, is_east_asian, may_be, reads_script

KNOWN = ["[UNK]", *"abcdefghijklmnopqrstuvwxyz.", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
FEW = list("我们走了。")
"""Chinese characters that the English tokenizer happens to know."""


@pytest.fixture(scope="module")
def english() -> Tokenizer:
    vocabulary = {token: number for number, token in enumerate([*KNOWN, *FEW])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("we went home.", True),
        ("he said 是 and went home to the others.", True),
        ("", True),
        ("😀 😀 … 12", True),
        ("我们走了。", False),
        ("市议会周二晚上通过决议。", False),
        ("дом стоит у реки", False),
        ("we went. " * 400 + "市议会" * 20, True),
        ("we went. " * 100 + "市议会周二晚上通过决议。" * 1000, False),
    ],
)
def test_reads_script(english: Tokenizer, text: str, reads: bool) -> None:
    assert reads_script(english, text) is reads


def test_a_part_of_a_long_text_is_looked_at(english: Tokenizer) -> None:
    lost = "市" * (SAMPLE // 8)
    text = "we went. " * SAMPLE
    assert reads_script(english, lost + text + lost)
    assert not reads_script(english, "市" * 10 * SAMPLE)


def test_tokenizers_of_bytes_and_of_pieces() -> None:
    of_bytes = Tokenizer(models.BPE({"x": 0}, []))
    assert reads_script(of_bytes, "市议会")
    pieces = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0)], 0))
    assert reads_script(pieces, "abba")
    assert not reads_script(pieces, "x")


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("Вчера городской совет одобрил новый бюджет.", False),
        ("Το δημοτικό συμβούλιο ενέκρινε χθες τον νέο προϋπολογισμό.", False),
        ("وافق مجلس المدينة أمس على الميزانية الجديدة للمدارس", False),
        ("नगर परिषद ने कल नए बजट को मंजूरी दी", False),
        ("Rada miasta zatwierdziła wczoraj nowy budżet.", True),
        ("Hội đồng thành phố đã thông qua ngân sách mới.", True),
        ("XQZ, β, and a 😀 in Москва", True),
        ("x = a + b * α", True),
    ],
)
def test_an_english_vocabulary_has_other_alphabets_letter_by_letter(text: str, reads: bool) -> None:
    encoder = load_encoder("base-en").encoder
    assert reads_script(encoder.tokenizer, text) is reads


def test_is_east_asian() -> None:
    assert is_east_asian("市议会 ab")
    assert is_east_asian("さくら")
    assert not is_east_asian("market 市, 12345 apples")
    assert not is_east_asian("12 …")


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Hello, 你", True),
        ("en", "Привет, Tom", False),
        ("en", "12 …", True),
        ("vi", "Hội đồng thành phố", True),
        ("zh", "你好, Thomas", False),
        ("zh", "你好吗, OK", True),
        ("zh", "Hello", False),
        ("zh", "12", True),
        ("ru", "Hello", True),
        ("", "Привет", True),
    ],
)
def test_may_be(language: str, text: str, expected: bool) -> None:
    assert may_be(language, text) is expected
