"""Words for counting: of English and its like by letters, of Chinese by characters."""

from __future__ import annotations

import re

_WORD = re.compile(
    r"[぀-ヿ㐀-䶿一-鿿豈-﫿𠀀-𯿿]"
    r"|(?:(?![぀-ヿ㐀-䶿一-鿿豈-﫿𠀀-𯿿])[^\W_])+"
    r"(?:['’](?:(?![぀-ヿ㐀-䶿一-鿿豈-﫿𠀀-𯿿])[^\W_])+)?"
)


def words_of(text: str) -> list[str]:
    """Return the words; each Chinese character is one."""
    return _WORD.findall(text)


def tokens_of(text: str) -> list[str]:
    """Return the words in lower case, as they are compared."""
    return [word.lower() for word in words_of(text)]
