"""What all converters share: keys of texts, the held-out tenth, texts rebuilt from tokens."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from lmtool.formats.conll import join_tokens

Document = dict[str, Any]
Rows = Iterator[tuple[str, Document]]  # "train", "dev" or "test", and the document without its id
Offsets = list[tuple[int, int]]


class Report:
    """What was left out of one set, by reason."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()


def text_key(text: str) -> str:
    """Two texts with the same key count as the same text: case and spacing are passed over."""
    return re.sub(r"\s", "", text).casefold()


def bucket(text: str, n_buckets: int, salt: str = "") -> int:
    """A number below `n_buckets` that hangs on the text's key alone."""
    digest = hashlib.sha256((salt + text_key(text)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % n_buckets


def part_of(text: str) -> str:
    """The split of a set that has none: a tenth goes to dev, the same text always to one side."""
    return "dev" if bucket(text, 10) == 0 else "train"


def is_attached(text: str, part: str) -> bool:
    """Whether punctuation is attached: in half of the training texts, and in all others."""
    return part != "train" or bucket(text, 2, "spacing") == 0


def join(tokens: Sequence[str], part: str, glue: Collection[str] = ()) -> tuple[str, Offsets]:
    """Build the text of a sentence and the place of each token."""
    return join_tokens(tokens, is_attached(" ".join(tokens), part), glue)


def untokenise(text: str, attach: bool = True) -> str:
    """Attach the punctuation of a text whose tokens are parted by spaces."""
    return join_tokens(text.split(), attach)[0]


def span(text: str, start: int, end: int) -> Document:
    return {"start": start, "end": end, "text": text[start:end]}


def token_span(text: str, offsets: Offsets, first: int, end: int) -> Document:
    """The characters of the tokens from `first` to the one before `end`."""
    return span(text, offsets[first][0], offsets[end - 1][1])


def group_sentences(sizes: Sequence[int], n_tokens: int) -> list[tuple[int, int]]:
    """Part sentences with these numbers of tokens into runs (first, end) of about `n_tokens`."""
    groups: list[tuple[int, int]] = []
    n_group = 0
    for index, size in enumerate(sizes):
        if groups and n_group + size <= n_tokens:
            groups[-1] = (groups[-1][0], index + 1)
            n_group += size
        else:
            groups.append((index, index + 1))
            n_group = size
    return groups
