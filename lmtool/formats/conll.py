"""CoNLL column files, tag schemes, and texts rebuilt from tokens: pure functions on strings.

A column file has a token a line, its tag in another column, and a blank line after a sentence.
`read_sentences` reads the variants that are found in the wild; a sentence that cannot be read is
yielded as a `BadSentence` that says where and why, so that a caller decides whether to skip it.

    sentence ─spans_from_tags→ token spans ─join_tokens or align_tokens→ character spans
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lmtool.errors import DataError

__all__ = [
    "BadSentence",
    "Sentence",
    "align_tokens",
    "join_tokens",
    "read_sentences",
    "spans_from_tags",
    "tags_from_spans",
]

TokenSpan = tuple[int, int, str]  # first token, token after the last, label

_TAG = re.compile(r"O|[BIESLUM]-.+")
_KEY_COMMENT = re.compile(r"#\s*([\w.:-]+(?:\s+id)?)\s*=\s?(.*)")
_SPLIT_ROW = re.compile(r"\d+[-.]\d+")  # CoNLL-U: "3-4" spans words, "3.1" is an empty node


# ── reading ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a column file."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    line: int  # of the first token, counted from 1
    document: int  # how many documents the file had begun, 0 where it marks none
    text: str | None = None  # from "# text = …"
    sent_id: str | None = None  # from "# sent_id = …"
    rows: tuple[tuple[str, ...], ...] = ()  # every column, for files with several layers


@dataclass(frozen=True, slots=True)
class BadSentence:
    """A sentence that was left out: the first line that is wrong, what it is, and the way out."""

    line: int
    message: str
    hint: str = ""


def read_sentences(
    lines: Iterable[str], token_column: int | None = None, tag_column: int | None = None
) -> Iterator[Sentence | BadSentence]:
    """Yield the sentences of a column file, in order, and a `BadSentence` for each unreadable one.

    Columns are separated by tabs, or by spaces in a line without tabs, and counted from 0; a
    negative number counts from the end. Where a column is not given, the first sentence decides:
    if its first column counts 1, 2, 3 …, token and tag are columns 1 and 2 (CoNLL-U, Universal
    NER), else column 0 and the last one (CoNLL-2002, CoNLL-2003, WNUT and most others).
    """
    columns: tuple[int, int] | None = None
    if token_column is not None and tag_column is not None:
        columns = (token_column, tag_column)
    for block in _read_blocks(lines):
        if block.problem is None and columns is None:
            is_indexed = _is_indexed(block)
            columns = (
                token_column if token_column is not None else int(is_indexed),
                tag_column if tag_column is not None else (2 if is_indexed else -1),
            )
        yield block.problem or _sentence(block, *(columns or (0, -1)))


@dataclass(slots=True)
class _Block:
    """The lines between two blank ones."""

    document: int
    rows: list[tuple[int, tuple[str, ...]]]  # line number, columns
    comments: dict[str, str]
    problem: BadSentence | None = None


def _read_blocks(lines: Iterable[str]) -> Iterator[_Block]:
    n_documents = 0
    block = _Block(0, [], {})
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        if number == 1:
            line = line.removeprefix("\ufeff")
        columns = tuple(c.strip() for c in line.split("\t")) if "\t" in line else _words(line)
        is_start = columns[:1] == ("-DOCSTART-",)
        if is_start or not any(columns):
            if block.rows or block.problem:
                yield block
                block = _Block(n_documents, [], {})
            if is_start:
                n_documents += 1
                block.document = n_documents
        elif _is_comment(line, columns, block.rows):
            if line[1:].split()[:1] == ["newdoc"]:
                n_documents += 1
                block.document = n_documents
            elif found := _KEY_COMMENT.fullmatch(line):
                block.comments[found[1]] = found[2].strip()
        elif problem := _row_problem(number, columns):
            block.problem = block.problem or problem
        elif not _SPLIT_ROW.fullmatch(columns[0]) or len(columns) < 5:
            block.rows.append((number, columns))
    if block.rows or block.problem:
        yield block


def _words(line: str) -> tuple[str, ...]:
    # Not str.split(): it also splits at no-break spaces, which occur inside tokens.
    return tuple(word for word in line.split(" ") if word.strip())


def _is_comment(line: str, columns: tuple[str, ...], rows: Sequence[object]) -> bool:
    """Tell "# text = …" from a token "#" with its tag."""
    if line != "#" and not line.startswith("# "):
        return False
    if "\t" in line and _TAG.fullmatch(columns[-1]):
        return False
    if not rows and _KEY_COMMENT.fullmatch(line):
        return True
    return not (len(columns) in (2, 4) and _TAG.fullmatch(columns[-1]))


def _row_problem(number: int, columns: tuple[str, ...]) -> BadSentence | None:
    if len(columns) == 1:
        message = f"one column only, {columns[0]!r}: a token needs a tag"
    elif not columns[0]:
        message = f"a tag without a token, {columns[-1]!r}"
    else:
        return None
    return BadSentence(number, message, "write TOKEN, a tab, TAG; a blank line ends a sentence")


def _is_indexed(block: _Block) -> bool:
    counts = [row[0] for _, row in block.rows]
    is_counted = counts == [str(n) for n in range(1, len(counts) + 1)]
    has_columns = all(len(row) >= 3 for _, row in block.rows)
    return is_counted and has_columns and (len(counts) > 1 or bool(block.comments))


def _sentence(block: _Block, token_column: int, tag_column: int) -> Sentence | BadSentence:
    tokens, tags = [], []
    for number, row in block.rows:
        try:
            token, tag = row[token_column], row[tag_column]
        except IndexError:
            return BadSentence(
                number,
                f"{len(row)} columns, so there is no column {max(token_column, tag_column)}",
                "choose the columns of the token and the tag, counted from 0",
            )
        if not token:
            return BadSentence(number, f"a tag without a token, {tag!r}")
        if not _TAG.fullmatch(tag):
            return BadSentence(
                number,
                f"{tag!r} is no tag",
                "a tag is O or B-, I-, E-, S-, L-, U- and a label; choose another tag column?",
            )
        tokens.append(token)
        tags.append(tag)
    return Sentence(
        tokens=tuple(tokens),
        tags=tuple(tags),
        line=block.rows[0][0],
        document=block.document,
        text=block.comments.get("text"),
        sent_id=block.comments.get("sent_id"),
        rows=tuple(row for _, row in block.rows),
    )


# ── tags ─────────────────────────────────────────────────────────────────────────────────────


def spans_from_tags(tags: Sequence[str]) -> list[TokenSpan]:
    """Turn tags into (first, after last, label), in any of BIO, IO, IOB1, BIOES and BILOU.

    The rule is that of the CoNLL scorer, which covers them all: a span begins at B, S or U, at
    any other tag after O, after a span's end, or after another label; it ends at E, S, L or U.
    """
    spans: list[TokenSpan] = []
    is_open = False  # whether the last span of the list may still grow
    for index, tag in enumerate(tags):
        if not _TAG.fullmatch(tag):
            raise DataError(
                f"tag {index}: {tag!r} is no tag",
                hint="a tag is O or B-, I-, E-, S-, L-, U- and a label, as in B-PER",
            )
        if tag == "O":
            is_open = False
            continue
        prefix, label = tag[0], tag[2:]
        if is_open and prefix not in "BSU" and spans[-1][2] == label:
            spans[-1] = (spans[-1][0], index + 1, label)
        else:
            spans.append((index, index + 1, label))
        is_open = prefix not in "ESLU"
    return spans


def tags_from_spans(spans: Iterable[TokenSpan], n_tokens: int) -> list[str]:
    """Turn (first, after last, label) into BIO tags of `n_tokens` tokens."""
    tags = ["O"] * n_tokens
    for first, end, label in spans:
        if not 0 <= first < end <= n_tokens:
            raise DataError(
                f"span {first}..{end} {label!r} does not fit {n_tokens} tokens",
                hint="a span is (first, token after the last, label)",
            )
        if any(tag != "O" for tag in tags[first:end]):
            raise DataError(
                f"span {first}..{end} {label!r} overlaps another one",
                hint="column files hold one layer: keep the outermost spans",
            )
        tags[first:end] = [f"B-{label}"] + [f"I-{label}"] * (end - first - 1)
    return tags


# ── texts ────────────────────────────────────────────────────────────────────────────────────

_CLOSING = frozenset(".,;:!?%)]}…’”»")
_OPENING = frozenset("([{$#£€¥₹“‘«¿¡")
_QUOTES = frozenset("\"'")
_APOSTROPHES = frozenset("'’´")
_CLITIC = re.compile(r"(?:n['’´]t|['’´](?:s|re|ve|ll|d|m))", re.IGNORECASE)
_CLITIC_ENDS = frozenset(("s", "t", "re", "ve", "ll", "d", "m"))
_CJK = re.compile(
    "[\u2e80-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
    "\U00020000-\U0003ffff]"
)


def join_tokens(
    tokens: Sequence[str], attach: bool, glue: Collection[str] = ()
) -> tuple[str, list[tuple[int, int]]]:
    """Build a text from tokens; return it with each token's (start, end) in it.

    With `attach`, punctuation, quotes, currency signs and clitics stand as in written English, and
    Chinese and Japanese tokens without spaces; else a single space parts all tokens. `glue` names
    tokens that stick to both neighbours: {"-", "/"} for data that has "two - year".
    `text[start:end] == token` holds for every token.
    """
    sides = _sticky_sides(tokens, frozenset(glue)) if attach else [(False, False)] * len(tokens)
    pieces: list[str] = []
    offsets: list[tuple[int, int]] = []
    position = 0
    for index, token in enumerate(tokens):
        if index and not (sides[index - 1][1] or sides[index][0]):
            pieces.append(" ")
            position += 1
        pieces.append(token)
        offsets.append((position, position + len(token)))
        position += len(token)
    return "".join(pieces), offsets


def _sticky_sides(tokens: Sequence[str], glue: frozenset[str]) -> list[tuple[bool, bool]]:
    """For each token, whether it sticks to its left and to its right neighbour."""
    sides: list[tuple[bool, bool]] = []
    open_quotes = {'"'} if _begins_inside_quote(tokens) else set()
    n_open = 0  # round brackets
    is_cjk_text = 2 * sum(bool(_CJK.search(token)) for token in tokens) > len(tokens)
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else ""
        after = tokens[index + 1] if index + 1 < len(tokens) else ""
        side = (False, False)
        if not token:
            side = (True, False)
        elif token in glue or _is_in_number(before, token, after):
            side = (True, True)
        elif token.lower() == "n" and _is_split_clitic(
            token, "".join(tokens[index + 2 : index + 3])
        ):
            side = (after in _APOSTROPHES, False)  # "do n ' t"
        elif token in _APOSTROPHES and _is_split_clitic(before, after):
            side = (True, True)
        elif token in _QUOTES:
            side = _quote_side(tokens, index, open_quotes)
        elif token == "''" or _CLITIC.fullmatch(token):
            side = (True, False)
        elif token in ("``", "`"):
            side = (False, True)
        elif token in (":", ";", "=", ":-", ";-") and after[:1] == ")" and not n_open:
            side = (False, True)  # a smiley
        elif token[0] in _CLOSING and all(c in _CLOSING or c in _QUOTES for c in token):
            # ":)" is a smiley, not two closing marks.
            side = (not (token[0] in ":;" and token[-1] == ")"), False)
            open_quotes -= set(token)
        elif token[0] in _OPENING and all(c in _OPENING or c in _QUOTES for c in token):
            side = (False, True)
            open_quotes |= set(token) & _QUOTES
        n_open = max(0, n_open + (token == "(") - (token == ")"))
        if before and token and _is_tight_script(before[-1], token[0], is_cjk_text):
            side = (True, side[1])
        sides.append(side)
    return sides


def _is_in_number(before: str, token: str, after: str) -> bool:
    """Tell the marks of "5 : 30" and "1 , 000" from those between words."""
    is_between_digits = before.isdecimal() and after.isdecimal()
    return is_between_digits and (token == ":" or (token == "," and len(after) == 3))


def _is_split_clitic(before: str, after: str) -> bool:
    """Tell the apostrophe of "don ' t" from a quote."""
    return before[-1:].isalpha() and after.lower() in _CLITIC_ENDS


def _quote_side(tokens: Sequence[str], index: int, open_quotes: set[str]) -> tuple[bool, bool]:
    """Straight quotes open and close in turn; an unpaired ' is an apostrophe."""
    quote = tokens[index]
    if quote in open_quotes:
        open_quotes.discard(quote)
        return (True, False)
    if index + 1 == len(tokens):
        return (True, False)
    if quote == "'":
        has_partner = any(
            tokens[i] == "'" and not _is_split_clitic(tokens[i - 1], "".join(tokens[i + 1 : i + 2]))
            for i in range(index + 1, len(tokens))
        )
        if not has_partner:  # "the players ' union", "the ' 90s"
            is_possessive = index > 0 and tokens[index - 1][-1:].lower() in ("s", "x", "z")
            return (is_possessive, not is_possessive)
    open_quotes.add(quote)
    return (False, True)


def _begins_inside_quote(tokens: Sequence[str]) -> bool:
    """Guess whether the first straight double quote closes one that was opened before the text.

    Each mark may look wrong as what it would be: an opening one between a sentence's mark and a
    lower-case word ('Yes , " he said'), a closing one between a comma and a capital ('he said ,
    " Yes'). The assumption with fewer such marks wins.
    """
    marks = [index for index, token in enumerate(tokens) if token == '"']
    n_wrong = [0, 0]  # if the first mark opens, if it closes
    for n, index in enumerate(marks):
        before = tokens[index - 1] if index else ""
        after = tokens[index + 1] if index + 1 < len(tokens) else ""
        is_odd_opening = not after or (before in (",", ".", "!", "?") and after[0].islower())
        is_odd_closing = not before or (before in (",", ":") and after[:1].isupper())
        n_wrong[n % 2] += is_odd_opening
        n_wrong[1 - n % 2] += is_odd_closing
    return n_wrong[1] < n_wrong[0]


def _is_tight_script(left: str, right: str, is_cjk_text: bool) -> bool:
    n_cjk = bool(_CJK.match(left)) + bool(_CJK.match(right))
    return n_cjk == 2 or (n_cjk == 1 and is_cjk_text)


def align_tokens(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Find the tokens in the text they were made from; return each one's (start, end).

    Only white space may stand between tokens: anything else is a `DataError`.
    """
    offsets: list[tuple[int, int]] = []
    position = 0
    for index, token in enumerate(tokens):
        while position < len(text) and text[position].isspace() and not token[:1].isspace():
            position += 1
        if not text.startswith(token, position):
            raise DataError(
                f"token {index}, {token!r}, is not at character {position} of the text,"
                f" which goes on {text[position : position + 20]!r}",
                hint="the text and its tokens must be the same, white space apart",
            )
        offsets.append((position, position + len(token)))
        position += len(token)
    if text[position:].strip():
        raise DataError(
            f"the text goes on after the last token: {text[position : position + 20]!r}",
            hint="the text and its tokens must be the same, white space apart",
        )
    return offsets
