"""Scripts: whether a model knows the characters that a text is written in."""

from __future__ import annotations

import re
from typing import Any, Final, cast

_EAST_ASIAN: Final = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LETTER: Final = re.compile(r"[^\W\d_]")
COMMON: Final = "猫茶店病院音室料理早左右多少作使住何体校友市号器走起旅客"
"""Everyday characters of Chinese and Japanese alike."""
RARE: Final = "\N{EGYPTIAN HIEROGLYPH A001}"
"""A character that a vocabulary has only in bytes, if at all."""
SAMPLE: Final = 1000
"""Characters of each stretch that is looked at of a text longer than three: first, middle, last."""


def reads_script(tokenizer: Any, text: str) -> bool:
    """Whether a tokenizer (tokenizers.Tokenizer) knows the script of most of a text.

    Where it does not, a model sees unknown tokens alone, and what it finds says nothing. Three
    quarters of the characters have to be known; of Chinese and Japanese, those of common ones
    besides, since English models know a few hundred. A tokenizer of bytes knows all.
    """
    unknown = _unknown_id(tokenizer)
    if unknown is None:
        return True
    sample = _sample(text)
    if is_east_asian(sample):
        sample += COMMON
    encoding = tokenizer.encode(sample, add_special_tokens=False)
    n_known = n_unknown = 0
    for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if token == unknown:
            n_unknown += end - start
        else:
            n_known += end - start
    return 3 * n_unknown <= n_known


def _unknown_id(tokenizer: Any) -> int | None:
    """Return the id of what is not in the vocabulary; None where everything is."""
    if hasattr(tokenizer.model, "unk_token"):
        token = tokenizer.model.unk_token
        return None if token is None else cast(int | None, tokenizer.token_to_id(token))
    ids: list[int] = tokenizer.encode(RARE, add_special_tokens=False).ids  # Unigram does not say
    return ids[-1] if ids and len(ids) < len(RARE.encode()) else None


def is_east_asian(text: str) -> bool:
    """Whether most letters of a text are of Chinese or Japanese."""
    return 2 * len(_EAST_ASIAN.findall(text)) > len(_LETTER.findall(text))


def _sample(text: str) -> str:
    if len(text) <= 3 * SAMPLE:
        return text
    middle = (len(text) - SAMPLE) // 2
    return text[:SAMPLE] + text[middle : middle + SAMPLE] + text[-SAMPLE:]
