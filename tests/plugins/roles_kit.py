"""Documents with frames, and windows of them, for the tests of semantic roles."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from lmtool import Document
from lmtool.documents import Frame, FrameArgument, Span
from lmtool.windows import Encoding, TextEncoder, Window


def document(text: str, *frames: tuple[str, dict[str, str]]) -> Document:
    """Make a document; a frame is its predicate, and the role of each argument's text."""
    return Document(text=text, frames=[_frame(text, *frame) for frame in frames])


def _frame(text: str, predicate: str, roles: dict[str, str]) -> Frame:
    arguments = [FrameArgument(role, *_place(text, part), part) for part, role in roles.items()]
    return Frame(Span(*_place(text, predicate), predicate), None, arguments)


def _place(text: str, part: str) -> tuple[int, int]:
    start = text.index(part)
    return start, start + len(part)


DOCUMENTS = [
    document(
        "Ada gave Charles a book.",
        ("gave", {"Ada": "ARG0", "Charles": "ARG2", "a book": "ARG1"}),
    ),
    document(
        "Bob didn't want to sell the car that Tim bought.",
        ("did", {}),
        ("want", {"Bob": "ARG0", "n't": "ARGM-NEG", "to sell the car that Tim bought": "ARG1"}),
        ("sell", {"Bob": "ARG0", "the car that Tim bought": "ARG1"}),
        ("bought", {"the car": "ARG1", "that": "R-ARG1", "Tim": "ARG0"}),
    ),
    document("Hello there, Ada!"),
    document(
        "She re-reads it. Nobody came.",
        ("re-reads", {"She": "ARG0", "it": "ARG1"}),
        ("came", {"Nobody": "ARG1"}),
    ),
    document(
        "动作冒险游戏融合了动作游戏的一些特征。",
        ("融合", {"动作冒险游戏": "ARG0", "动作游戏的一些特征": "ARG1"}),
    ),
    document(
        "Yesterday the big man sold his car in London.",
        (
            "sold",
            {
                "Yesterday": "ARGM-TMP",
                "the big man": "ARG0",
                "his car": "ARG1",
                "in London": "ARGM-LOC",
            },
        ),
    ),
]


def encoder(max_tokens: int = 64) -> TextEncoder:
    """Return an encoder in which every word is one unknown token."""
    special = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    tokenizer = Tokenizer(WordLevel(special, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return TextEncoder(tokenizer, Encoding(max_tokens=max_tokens))


def window(text: str) -> Window:
    """Return the only window of a text."""
    (found,) = encoder().windows(text)
    return found
