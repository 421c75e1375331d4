"""Scripts: whether a model knows the characters that a text is written in."""

from __future__ import annotations

import re
from typing import Any, Final, cast

_CHINESE_JAPANESE: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_LATIN_KOREAN: Final = "\x00-\u024f\u1e00-\u1eff\uac00-\ud7af"
_EAST_ASIAN: Final = re.compile(f"[{_CHINESE_JAPANESE}]")
_LETTER: Final = re.compile(r"[^\W\d_]")
_OTHER_WORD: Final = re.compile(rf"[^\W\d_{_LATIN_KOREAN}{_CHINESE_JAPANESE}]{{2,}}")
PIECES: Final = 5000
"""Tokens of a vocabulary from which on it has the words or parts of words of its languages."""
COMMON: Final = "猫茶店病院音室料理早左右多少作使住何体校友市号器走起旅客"
"""Everyday characters of Chinese and Japanese alike."""
LATIN: Final = frozenset("cs da de en es fi fr hu id it nl no pl pt ro sv tr vi".split())
"""Languages that are written in Latin letters."""
RARE: Final = "\N{EGYPTIAN HIEROGLYPH A001}"
"""A character that a vocabulary has only in bytes, if at all."""
SAMPLE: Final = 1000
"""Characters of each stretch that is looked at of a text longer than three: first, middle, last."""


def reads_script(tokenizer: Any, text: str) -> bool:
    """Whether a tokenizer (tokenizers.Tokenizer) knows the script of most of a text.

    Where it does not, a model sees unknown tokens or letters one by one, and what it finds says
    nothing. Three quarters of the characters have to be known; of Chinese and Japanese, those of
    common ones besides, since English models know a few hundred. Of Cyrillic, Greek, Arabic and the
    like English models know the letters: a quarter of them has to be in parts of words, where the
    vocabulary has such parts at all. A tokenizer of bytes knows all, and a text without letters is
    known to any.
    """
    unknown = _unknown_id(tokenizer)
    if unknown is None:
        return True
    sample = _sample(text)
    if not _LETTER.search(sample):
        return True
    if is_east_asian(sample):
        sample += COMMON
    encoding = tokenizer.encode(sample, add_special_tokens=False)
    n_known = n_unknown = 0
    alone = set()  # where a token is a single character
    for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if token == unknown:
            n_unknown += end - start
        else:
            n_known += end - start
        if end - start == 1:
            alone.add(start)
    if 3 * n_unknown > n_known:
        return False
    letters = [i for word in _OTHER_WORD.finditer(sample) for i in range(*word.span())]
    if 2 * len(letters) <= len(_LETTER.findall(sample)) or tokenizer.get_vocab_size() < PIECES:
        return True
    return 4 * sum(i in alone for i in letters) <= 3 * len(letters)


def _unknown_id(tokenizer: Any) -> int | None:
    """Return a tokenizer's id of what is not in its vocabulary; None where everything is."""
    if hasattr(tokenizer.model, "unk_token"):
        token = tokenizer.model.unk_token
        return None if token is None else cast(int | None, tokenizer.token_to_id(token))
    ids: list[int] = tokenizer.encode(RARE, add_special_tokens=False).ids  # Unigram does not say
    return ids[-1] if ids and len(ids) < len(RARE.encode()) else None


def is_east_asian(text: str) -> bool:
    """Whether most letters of a text are of Chinese or Japanese."""
    return 2 * len(_EAST_ASIAN.findall(text)) > len(_LETTER.findall(text))


def may_be(language: str, text: str) -> bool:
    """Whether most letters of a text are such as a language is written in (an ISO 639-1 code).

    True where that is not known, and for a text without letters.
    """
    if language in ("zh", "ja"):
        return is_east_asian(text) or not _LETTER.search(text)
    if language not in LATIN:
        return True
    letters = _LETTER.findall(text)
    latin = [c for c in letters if c < "\u0250" or "\u1e00" <= c < "\u1f00"]
    return 2 * len(latin) >= len(letters)


def _sample(text: str) -> str:
    if len(text) <= 3 * SAMPLE:
        return text
    middle = (len(text) - SAMPLE) // 2
    return text[:SAMPLE] + text[middle : middle + SAMPLE] + text[-SAMPLE:]
