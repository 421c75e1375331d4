"""ROUGE of summaries beside the first sentences, TextRank (sumy, where installed) and the oracle.

    python benchmarks/summaries.py DOCUMENTS.jsonl [--model MODEL] [--sentences 1]

DOCUMENTS hold gold: the layer `summary` with a text, further ones in `references`, as
recipes/summarize-en makes them of SciTLDR's dev part. All take the same number of the same
sentences; the oracle adds the sentences that bring it nearest to the references. TextRank is
Mihalcea and Tarau's, with sumy's words of English.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

from lmtool_summarize.choosing import joined
from lmtool_summarize.oracle import oracle
from lmtool_summarize.scoring import references_of, score_summaries
from lmtool_summarize.sentences import Spans, split
from machine import describe

import lmtool

Choose = Callable[[lmtool.Document, int], Spans]


def lead(document: lmtool.Document, n: int) -> Spans:
    return split(document.text)[:n]


def best_possible(document: lmtool.Document, n: int) -> Spans:
    return oracle(document.text, references_of(document), most=n)


def textrank() -> Choose:
    """Return TextRank over the same sentences."""
    from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence
    from sumy.nlp.stemmers import Stemmer
    from sumy.summarizers.text_rank import TextRankSummarizer
    from sumy.utils import get_stop_words

    class Words:
        def to_words(self, sentence: str) -> list[str]:
            from lmtool_summarize.words import words_of

            return words_of(sentence)

    summarizer: Any = TextRankSummarizer(Stemmer("english"))
    summarizer.stop_words = get_stop_words("english")

    def choose(document: lmtool.Document, n: int) -> Spans:
        spans = split(document.text)
        sentences = [Sentence(document.text[a:b], Words()) for a, b in spans]
        number_of = {id(sentence): number for number, sentence in enumerate(sentences)}
        found = summarizer(ObjectDocumentModel([Paragraph(sentences)]), n)
        return [spans[number_of[id(sentence)]] for sentence in found]

    return choose


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("documents")
    parser.add_argument("--model")
    parser.add_argument("--sentences", type=int, default=1)
    options = parser.parse_args()
    n = options.sentences
    print(describe("onnxruntime", "rouge_score", "sumy"))
    gold = [d for d in lmtool.read_documents([options.documents]) if isinstance(d, lmtool.Document)]
    model = lmtool.load(options.model, task_name="summarize", sentences=n)
    peers: dict[str, Choose] = {f"lead-{n}": lead}
    if importlib.util.find_spec("sumy"):
        peers["TextRank"] = textrank()
    peers["oracle"] = best_possible
    print(f"{len(gold):,} documents, {n} sentence{'s' if n > 1 else ''} each")
    for name, choose in peers.items():
        began = time.perf_counter()
        made = [d.with_layers({"summary": joined(d.text, choose(d, n))}) for d in gold]
        report(name, gold, made, time.perf_counter() - began)
    began = time.perf_counter()
    made = list(model.pipe([lmtool.Document(text=d.text) for d in gold]))
    report("summarize", gold, made, time.perf_counter() - began)


def report(
    name: str, gold: list[lmtool.Document], made: list[lmtool.Document], seconds: float
) -> None:
    scores = score_summaries(gold, made)
    line = "  ".join(f"{kind} {scores[kind]:5.2f}" for kind in ("rouge1", "rouge2", "rougeL"))
    print(f"{name:12} {line}  {seconds:6.1f} s")


if __name__ == "__main__":
    main()
