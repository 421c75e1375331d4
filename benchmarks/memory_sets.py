"""Make the sets of memory_quality.py, and of `summaries.py queries`, of published corpora.

    python benchmarks/memory_sets.py DATA OUT [--docs docs]

DATA holds the corpora as their authors publish them. OUT gets NAME.jsonl, a line
{"text": …, "question": …} for each passage, in the order in which they stand in their documents,
and unrelated.txt. A passage without a question is one among the others. The sets:

- papers-title, papers-summary: SciTLDR's dev abstracts (summarization/scitldr), asked by the title
  of the paper, and by its first one-line summary.
- contracts-title, contracts-summary: sections of contracts (summarization/legal), asked by their
  heading, where they have one, and by their plain summary.
- docs-heading: the sections of the Markdown files of a folder, this project's docs, asked by their
  headings. The heading itself is not in the section.
- paraphrases: pairs of STS Benchmark's dev part (understanding/stsb) with 4 points or more of 5:
  one sentence asks for the other among all sentences of the part that ask nothing.

unrelated.txt has 1,000 questions of TREC (understanding/qc), which none of the sets answers. The
licences of the last two allow measuring and no shipping. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

N_UNRELATED = 1000
LEAST_CHARACTERS = 80
"""Shorter sections, such as a heading with others right below it, are left out."""
_FENCE = re.compile(r"^\s*(```|~~~)")
_WORD = re.compile(r"[^\W\d_]{3}")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$")


class Row(NamedTuple):
    """A passage, and the question that it answers, if any."""

    text: str
    question: str


def papers(data: Path, field: str) -> Iterator[Row]:
    """Yield the abstracts with their title, or the first of their summaries."""
    for line in (data / "summarization/scitldr/dev.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        asked = row[field] if isinstance(row[field], str) else row[field][0]
        yield Row(" ".join(row["source"]), asked)


def contracts(data: Path, field: str) -> Iterator[Row]:
    """Yield the sections, in lower case as they are published, with their heading or summary."""
    rows = json.loads((data / "summarization/legal/all_v1.json").read_text("utf-8"))
    for row in rows.values():
        yield Row(row["original_text"], row.get(field) or "")


def markdown(folder: Path) -> Iterator[Row]:
    """Yield the sections of the Markdown files of a folder with their headings."""
    for path in sorted(folder.rglob("*.md")):
        heading, lines, is_code = "", list[str](), False
        for line in [*path.read_text("utf-8").splitlines(), "# "]:
            is_code ^= bool(_FENCE.match(line))
            if line.startswith("#") and not is_code:
                yield Row("\n".join(lines).strip(), heading.replace("`", ""))
                found = _HEADING.match(line)
                heading, lines = found[1] if found else "", []
            else:
                lines.append(line)


def paraphrases(data: Path) -> Iterator[Row]:
    """Yield the sentences that are asked for, and after them all others that ask nothing."""
    with (data / "understanding/stsb/stsb-en-dev.csv").open(encoding="utf-8", newline="") as file:
        pairs = [(one, other, float(score)) for one, other, score in csv.reader(file)]
    asked_by: dict[str, str] = {}
    asking: set[str] = set()
    for one, other, score in pairs:
        is_new = not {one, other} & (asking | asked_by.keys())  # none asks, or is asked for, twice
        if score >= 4 and one != other and is_new:
            asked_by[other] = one
            asking.add(one)
    for text in dict.fromkeys(sentence for one, other, _ in pairs for sentence in (one, other)):
        if text not in asking:
            yield Row(text, asked_by.get(text, ""))


def unrelated(data: Path) -> list[str]:
    """Return the first questions of TREC, without their labels and in usual spacing."""
    lines = (data / "understanding/qc/train.txt").read_text("latin-1").splitlines()
    questions = (line.split(" ", 1)[1] for line in islice(lines, N_UNRELATED))
    plain = (question.replace("`` ", '"').replace(" ''", '"') for question in questions)
    return [re.sub(r" (?=[?.,;:'’])", "", question).strip() for question in plain]


def kept(rows: Iterator[Row], least: int) -> list[Row]:
    """Return each text of `least` characters once.

    A question without a word, or that several texts would answer, is left out.
    """
    found: dict[str, str] = {}
    for text, question in rows:
        if len(text := text.strip()) >= least:
            found.setdefault(text, " ".join(question.split()))
    n_asked = Counter(question.casefold() for question in found.values())
    is_asked = {q: bool(_WORD.search(q)) and n == 1 for q, n in n_asked.items()}
    return [Row(text, q if is_asked[q.casefold()] else "") for text, q in found.items()]


def write(path: Path, rows: list[Row]) -> None:
    """Write a set and print how large it is."""
    with path.open("w", encoding="utf-8") as file:
        for text, question in rows:
            row = {"text": text, "question": question} if question else {"text": text}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    n_asked = sum(bool(row.question) for row in rows)
    print(f"{path}: {len(rows):,} passages, {n_asked:,} questions")


def main() -> None:
    """Write all sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--docs", type=Path, default=Path(__file__).parents[1] / "docs")
    options = parser.parse_args()
    data = options.data
    sets: dict[str, Callable[[], Iterator[Row]]] = {
        "papers-title": lambda: papers(data, "title"),
        "papers-summary": lambda: papers(data, "target"),
        "contracts-title": lambda: contracts(data, "title"),
        "contracts-summary": lambda: contracts(data, "reference_summary"),
        "docs-heading": lambda: markdown(options.docs),
        "paraphrases": lambda: paraphrases(data),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        least = 1 if name == "paraphrases" else LEAST_CHARACTERS
        write(options.out / f"{name}.jsonl", kept(rows(), least))
    text = "\n".join(unrelated(data))
    (options.out / "unrelated.txt").write_text(f"{text}\n", "utf-8")
    print(f"{options.out / 'unrelated.txt'}: {N_UNRELATED:,} questions")


if __name__ == "__main__":
    main()
