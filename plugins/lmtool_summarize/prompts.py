"""What a language model is asked for a summary, in English and in Chinese."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from .task import SummarizeOptions

Step = Literal["whole", "part", "merge"]
"""A text that fits; a part of one that does not; the summaries of such parts."""

DEFAULT_SENTENCES: Final = 3
MOSTLY: Final = 0.3
"""From this share of its letters on, Chinese characters make a text Chinese."""

_HAN: Final = re.compile(r"[㐀-䶿一-鿿豈-﫿𠀀-𯿿]")
_KANA: Final = re.compile(r"[぀-ヿ]")
_LETTER: Final = re.compile(r"[^\W\d_]")
_LOOKED_AT: Final = 2000
"""Characters of a text by which its language is told."""


@dataclass(frozen=True, slots=True)
class Words:
    """The pieces of an instruction in one language."""

    steps: dict[Step, str]
    sentences: str
    words: str
    both: str
    query: str
    end: str
    cue: str
    """What stands behind the text where a model continues it."""


WORDS: Final = {
    "en": Words(
        steps={
            "whole": "Summarize the text below{limits}.",
            "part": "Below is a part of a longer text. Summarize this part in a few sentences.",
            "merge": "Below are summaries of the parts of one text, in their order. Write one "
            "summary of the whole text{limits}.",
        },
        sentences=" in at most {n} sentences",
        words=" in at most {n} words",
        both=" in at most {sentences} sentences and {words} words",
        query=" Say what it tells about this: {query}",
        end=" Answer with the summary and nothing else.",
        cue="Summary:",
    ),
    "zh": Words(
        steps={
            "whole": "请概括下面的文章{limits}。",
            "part": "下面是一篇长文的一部分，请用几句话概括这一部分。",
            "merge": "下面依次是一篇文章各部分的概括，请据此概括全文{limits}。",
        },
        sentences="，不超过{n}句话",
        words="，不超过{n}个字",
        both="，不超过{sentences}句话、{words}个字",
        query="请说明文中与此有关的内容：{query}。",
        end="只写概括，不写别的。",
        cue="概括：",
    ),
}
"""By language; a text in any other is asked about in English."""


def language_of(text: str) -> str:
    """Return "zh" for a text in Chinese, else "en"."""
    begin = text[:_LOOKED_AT]
    n_letters, n_han = len(_LETTER.findall(begin)), len(_HAN.findall(begin))
    return "zh" if n_han > MOSTLY * n_letters and not _KANA.search(begin) else "en"


def instruction(language: str, step: Step, options: SummarizeOptions) -> str:
    """Return what is asked for about a text that follows it."""
    words = WORDS["zh" if language.split("-")[0] in ("zh", "yue") else "en"]
    n_sentences, n_words = options.sentences, options.words
    if n_sentences is None and n_words is None:
        n_sentences = DEFAULT_SENTENCES
    if n_sentences and n_words:
        limits = words.both.format(sentences=n_sentences, words=n_words)
    elif n_sentences:
        limits = words.sentences.format(n=n_sentences)
    else:
        limits = words.words.format(n=n_words)
    asked = words.steps[step].replace("{limits}", limits)
    query = " ".join(options.query.split())
    return asked + (words.query.replace("{query}", query) if query else "") + words.end


def cue(language: str) -> str:
    """Return what stands between a text and its summary where a model continues it."""
    return WORDS["zh" if language.split("-")[0] in ("zh", "yue") else "en"].cue
