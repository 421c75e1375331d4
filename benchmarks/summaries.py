"""Summaries: beside their peers, of a novel, and for a query.

    python benchmarks/summaries.py scores DOCUMENTS.jsonl [--sentences 1] [--language en]
    python benchmarks/summaries.py speeches FILE… [--sentences 3]
    python benchmarks/summaries.py novel FILE [--threads 2]
    python benchmarks/summaries.py queries SET.jsonl …

Each takes --model MODEL, of summarize; scores takes none with --model none.

scores: ROUGE beside the first sentences, TextRank (sumy, where installed; Mihalcea and Tarau's,
with sumy's words of English) and the oracle, which adds the sentences that bring it nearest to the
references. DOCUMENTS hold gold: the layer `summary` with a text, further ones in `references`, as
recipes/summarize-en makes them of SciTLDR's dev part, or are the .tsv of CSL (Chinese abstracts and
titles). All take as many of the same sentences.

speeches: the summaries themselves, side by side and uncut.

novel: the first --bytes of a file to 20 sentences, and a page out of its middle to 3, each by the
command line in a process of its own: seconds, processor seconds, and the peak of resident memory,
each the median of --rounds. Exit code 1 where a target is missed.

queries: SETS are what memory_sets.py makes of texts with headings. Each ten passages are a document
and each heading in it a query: is the sentence that comes first one of the passage below that
heading, and what share of three sentences is? The weights of choosing.py are tried on the even
documents, by the mean of the sets; the best are beside those in force on the odd documents.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lmtool_summarize.choosing as choosing
from lmtool_summarize.choosing import joined, summary_of
from lmtool_summarize.oracle import oracle
from lmtool_summarize.scoring import references_of, score_summaries
from lmtool_summarize.sentences import Spans, split
from lmtool_summarize.task import SummarizeOptions
from machine import Child, Target, describe, judge, run_child

import lmtool
from lmtool.documents import Summary

Choose = Callable[[lmtool.Document, int], Spans]
PAGE = 3000
"""Characters of a page: some 500 words."""
TOGETHER = 10
"""Passages of a document that a query is put to."""
QUERIES = (0.7, 0.8, 0.9, 1.0)
WORDS = (0.0, 1.0, 3.0, 8.0, 20.0)
ALONE = 1000.0
"""A weight of the words beside which meaning only says which of equal sentences comes first."""


# ── scores and speeches ──────────────────────────────────────────────────────────────────────


def peers(language: str) -> dict[str, Choose]:
    """Return what chooses sentences without a model."""
    found: dict[str, Choose] = {"lead": lambda document, n: split(document.text, language)[:n]}
    if importlib.util.find_spec("sumy"):
        found["TextRank"] = textrank(language)
    return found


def textrank(language: str) -> Choose:
    """Return TextRank over the same sentences."""
    from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence
    from sumy.nlp.stemmers import Stemmer
    from sumy.summarizers.text_rank import TextRankSummarizer
    from sumy.utils import get_stop_words

    class Words:
        def to_words(self, sentence: str) -> list[str]:
            from lmtool_summarize.words import words_of

            return words_of(sentence)

    is_english = language == "en"
    summarizer: Any = TextRankSummarizer(Stemmer("english") if is_english else str)
    summarizer.stop_words = get_stop_words("english") if is_english else ()

    def choose(document: lmtool.Document, n: int) -> Spans:
        spans = split(document.text, language)
        sentences = [Sentence(document.text[a:b], Words()) for a, b in spans]
        number_of = {id(sentence): number for number, sentence in enumerate(sentences)}
        found = summarizer(ObjectDocumentModel([Paragraph(sentences)]), n)
        return [spans[number_of[id(sentence)]] for sentence in found]

    return choose


def scores(options: argparse.Namespace) -> int:
    """Print ROUGE of all."""
    n, language = options.sentences, options.language
    print(describe("onnxruntime", "rouge_score", "sumy"))
    gold = read_gold(options.file)

    def best_possible(document: lmtool.Document, n: int) -> Spans:
        return oracle(document.text, references_of(document), most=n, language=language)

    print(f"{len(gold):,} documents, {n} sentence{'s' if n > 1 else ''} each")
    for name, choose in {**peers(language), "oracle": best_possible}.items():
        began = time.process_time()
        made = [d.with_layers({"summary": joined(d.text, choose(d, n))}) for d in gold]
        report(name, gold, made, time.process_time() - began)
    if options.model != "none":
        model = load(options.model, n)
        began = time.process_time()
        made = list(model.pipe([lmtool.Document(text=d.text) for d in gold]))
        report("summarize", gold, made, time.process_time() - began)
    return 0


def read_gold(file: str) -> list[lmtool.Document]:
    """Return documents with a summary; of CSL's .tsv, abstracts with the title of the paper."""
    if not file.endswith(".tsv"):
        return [d for d in lmtool.read_documents([file]) if isinstance(d, lmtool.Document)]
    rows = (line.split("\t") for line in Path(file).read_text("utf-8").splitlines())
    return [lmtool.Document(text=text, summary=Summary(title)) for _, text, title in rows]


def report(
    name: str, gold: list[lmtool.Document], made: list[lmtool.Document], seconds: float
) -> None:
    """Print a line of scores."""
    found = score_summaries(gold, made)
    line = "  ".join(f"{kind} {found[kind]:5.2f}" for kind in ("rouge1", "rouge2", "rougeL"))
    print(f"{name:12} {line}  {seconds:6.1f} processor s")


def load(ref: str | None, n: int) -> lmtool.Model:
    """Return the model that takes n sentences."""
    model = lmtool.load(ref, task_name="summarize", sentences=n)
    assert isinstance(model, lmtool.Model)
    return model


def speeches(options: argparse.Namespace) -> int:
    """Print the sentences that each chooses of each text, in Markdown."""
    n = options.sentences
    print(describe("onnxruntime", "sumy"))
    model = load(options.model, n)
    for file in options.files:
        text = Path(file).read_text("utf-8", "replace")
        document = lmtool.Document(text=text)
        chosen = {name: sorted(choose(document, n)) for name, choose in peers("en").items()}
        summary = model(document).summary
        assert summary is not None
        chosen["lmtool summarize"] = list(summary.sentences)
        print(f"\n**{Path(file).stem}**, {len(split(text))} sentences\n")
        for name, spans in chosen.items():
            print(f"- *{name}*: {' '.join(joined(text, spans).text.split())}")
    return 0


# ── a novel ──────────────────────────────────────────────────────────────────────────────────


def novel(options: argparse.Namespace) -> int:
    """Print time and memory of a novel and of a page."""
    print(describe("onnxruntime", "tokenizers", "numpy"))
    text = options.file.read_bytes()[: options.bytes].decode("utf-8", "ignore")
    if len(text.encode()) < options.bytes:
        sys.exit(f"{options.file} is shorter than {options.bytes:,} bytes")
    middle = len(text) // 2
    texts = {"page": (text[middle : middle + PAGE], 3), "novel": (text, 20)}
    found: dict[str, Child] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (part, n) in texts.items():
            path, out = Path(folder) / f"{name}.txt", Path(folder) / f"{name}.jsonl"
            path.write_text(part, "utf-8")
            command = [str(Path(sys.executable).with_name("lmtool")), "summarize", str(path)]
            command += ["-o", str(out), "--whole-file", "--sentences", str(n), "--quiet"]
            command += ["--threads", str(options.threads)]
            command += ["--model", options.model] if options.model else []
            runs = []
            for _ in range(options.rounds):
                out.unlink(missing_ok=True)
                runs.append(run_child(command))
            found[name] = run = Child(*map(statistics.median, zip(*runs, strict=True)))
            n_found = len(json.loads(out.read_text("utf-8"))["summary"]["sentences"])
            print(
                f"{name}: {len(part.encode()):,} bytes to {n_found} sentences, {options.threads} "
                f"threads: {run.seconds:.1f} s, {run.processor:.1f} processor s, {run.peak:.1f} MB"
            )
    ratio = found["novel"].peak / found["page"].peak
    return judge(
        [
            Target("seconds of the novel", found["novel"].seconds, 90, unit=" s"),
            Target("peak of the novel / page", ratio, 1.5, unit="x"),
        ]
    )


# ── queries ──────────────────────────────────────────────────────────────────────────────────


class Asked(NamedTuple):
    """A document, its sentences as the model found them, and a query to one of its passages."""

    text: str
    parts: Sequence[Any]
    query: str
    vector: list[float]
    start: int
    """The first character of the passage."""
    end: int


def queries(options: argparse.Namespace) -> int:
    """Print how often a query is answered out of its own passage, by weights."""
    print(describe("onnxruntime", "numpy"))
    model = load(options.model, 3)
    in_force = (choosing.QUERY, choosing.WORDS)
    sets = {Path(file).stem: read_asked(model, Path(file)) for file in options.files}
    grid = {pair: mean_hits(sets.values(), *pair) for pair in itertools.product(QUERIES, WORDS)}
    best = max(grid, key=lambda pair: sum(grid[pair]))
    n_tuned = sum(len(tune) for tune, _ in sets.values())
    print(f"\n{n_tuned} queries of the even documents, mean of the sets, percent:")
    print("the first sentence / the share of three that is out of the passage")
    print("query \\ words " + "".join(f"{words:>14g}" for words in WORDS))
    for query in QUERIES:
        cells = (grid[query, words] for words in WORDS)
        print(f"{query:<14g}" + "".join(f"{one:7.1f} /{share:5.1f}" for one, share in cells))
    print(f"best: query {best[0]}, words {best[1]}; in force: {in_force[0]}, {in_force[1]}")
    print("\n| odd documents of | queries | no query | meaning alone | words alone | both | best |")
    print("|---|---:|---|---|---|---|---|")
    ways = [(0.0, 0.0), (in_force[0], 0.0), (in_force[0], ALONE), in_force, best]
    for name, (_, held) in sets.items():
        cells = (hits(held, *way) for way in ways)
        shown = " | ".join(f"{one:.1f} / {share:.1f}" for one, share in cells)
        print(f"| {name} | {len(held)} | {shown} |", flush=True)
    return 0


def mean_hits(
    sets: Iterable[tuple[list[Asked], list[Asked]]], query: float, words: float
) -> tuple[float, float]:
    """Return what `hits` gives for the even documents, as a mean of the sets."""
    found = [hits(tune, query, words) for tune, _ in sets if tune]
    firsts, shares = zip(*found, strict=True)
    return statistics.mean(firsts), statistics.mean(shares)


def read_asked(model: lmtool.Model, path: Path) -> tuple[list[Asked], list[Asked]]:
    """Return the queries to the even documents of a set, and those to the odd ones."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    halves: tuple[list[Asked], list[Asked]] = ([], [])
    for number, first in enumerate(range(0, len(rows), TOGETHER)):
        group, text, places = rows[first : first + TOGETHER], "", []
        for row in group:
            start = len(text)
            text += row["text"] + "\n\n"
            places.append((row.get("question", ""), start, len(text)))
        asked = [place for place in places if place[0]]
        if len(group) < 2 or not asked:
            continue
        documents = [lmtool.Document(text=text), *(lmtool.Document(text=q) for q, _, _ in asked)]
        parts, *of_queries = model.parts(documents)
        for (query, start, end), found in zip(asked, of_queries, strict=True):
            vector = choosing.mean_vector(found)
            if vector is not None:
                halves[number % 2].append(Asked(text, parts, query, vector, start, end))
    return halves


def hits(all_asked: Sequence[Asked], query: float, words: float) -> tuple[float, float]:
    """Return with these weights how often the one sentence is of the passage, and of three."""
    choosing.QUERY, choosing.WORDS = query, words
    first = share = 0.0
    for asked in all_asked:
        for n in (1, 3):
            options = SummarizeOptions(query=asked.query, sentences=n)
            spans = summary_of(asked.text, asked.parts, options, asked.vector).sentences
            right = sum(asked.start <= a < asked.end for a, _ in spans) / max(len(spans), 1)
            first, share = (right + first, share) if n == 1 else (first, right + share)
    n_asked = max(len(all_asked), 1)
    return 100 * first / n_asked, 100 * share / n_asked


def main() -> int:
    """Run one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("scores")
    one.add_argument("file")
    one.add_argument("--sentences", type=int, default=1)
    one.add_argument("--language", default="en")
    one.set_defaults(run=scores)
    one = commands.add_parser("speeches")
    one.add_argument("files", nargs="+")
    one.add_argument("--sentences", type=int, default=3)
    one.set_defaults(run=speeches)
    one = commands.add_parser("novel")
    one.add_argument("file", type=Path)
    one.add_argument("--bytes", type=int, default=1_500_000)
    one.add_argument("--threads", type=int, default=2)
    one.add_argument("--rounds", type=int, default=3)
    one.set_defaults(run=novel)
    one = commands.add_parser("queries")
    one.add_argument("files", nargs="+")
    one.set_defaults(run=queries)
    for command in commands.choices.values():
        command.add_argument("--model")
    options = parser.parse_args()
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
