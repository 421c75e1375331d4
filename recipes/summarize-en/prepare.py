"""Convert abstracts and contracts with summaries into documents of `lmtool train summarize`.

    python recipes/summarize-en/prepare.py DATA_FOLDER OUT_FOLDER

DATA_FOLDER holds summarization/scitldr and summarization/legal as their authors publish them.
OUT_FOLDER gets train.jsonl (both sets), dev.jsonl (SciTLDR's, as published) and sources.json
(licences, counts, what was left out). The same input gives the same bytes. Nothing but this project
is used.

- SciTLDR: the text is the abstract's sentences, joined by spaces. The gold sentence is the authors'
  oracle (`source_labels`), the first summary the layer's text, the others are `references`. A
  training abstract that also stands in dev is dropped.
- Legal: sections of contracts in lower case. The gold sentences are found by the plugin's greedy
  oracle, two at the most. Texts of a single sentence teach nothing and are left out.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmtool_summarize.oracle import oracle
from lmtool_summarize.sentences import split

Document = dict[str, Any]
LICENCES = {"scitldr": "Apache 2.0", "legal": "Apache 2.0"}


def text_key(text: str) -> str:
    """Two texts with the same key count as the same: case, spacing and marks are passed over."""
    return re.sub(r"\W", "", text).casefold()


def scitldr(path: Path, left_out: Counter[str]) -> Iterator[Document]:
    for number, line in enumerate(path.read_text("utf-8").splitlines()):
        row = json.loads(line)
        text, spans = "", []
        for sentence, label in zip(row["source"], row["source_labels"], strict=True):
            sentence = " ".join(sentence.split())
            text += " " if text and sentence else ""
            if label and sentence:
                spans.append([len(text), len(text) + len(sentence)])
            text += sentence
        references = [" ".join(target.split()) for target in row["target"] if target.strip()]
        if not (text and spans and references):
            left_out[f"{path.stem} abstracts without a text, an oracle or a summary"] += 1
            continue
        yield {
            "id": f"scitldr-{path.stem}-{number}",
            "text": text,
            "references": references[1:],
            "summary": {"text": references[0], "sentences": spans},
        }


def legal(path: Path, left_out: Counter[str]) -> Iterator[Document]:
    rows = json.loads(path.read_text("utf-8"))
    for uid, row in rows.items():
        text = " ".join(row["original_text"].split())
        reference = " ".join(row["reference_summary"].split())
        spans = oracle(text, [reference], most=2)
        if len(split(text)) < 2 or not spans:
            left_out["contracts of one sentence, or with nothing of the summary"] += 1
            continue
        yield {
            "id": uid,
            "text": text,
            "summary": {"text": reference, "sentences": [list(span) for span in spans]},
        }


def write(path: Path, documents: list[Document]) -> None:
    lines = (json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    path.write_text("".join(lines), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    data = options.data / "summarization"
    left_out: Counter[str] = Counter()
    dev = list(scitldr(data / "scitldr/dev.jsonl", left_out))
    seen = {text_key(document["text"]) for document in dev}
    found = list(scitldr(data / "scitldr/train.jsonl", left_out))
    papers = [document for document in found if text_key(document["text"]) not in seen]
    left_out["train abstracts that are in dev"] += len(found) - len(papers)
    contracts = list(legal(data / "legal/all_v1.json", left_out))
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "train.jsonl", papers + contracts)
    write(options.out / "dev.jsonl", dev)
    sources = {
        "licences": LICENCES,
        "documents": {"scitldr": len(papers), "legal": len(contracts), "dev": len(dev)},
        "left_out": {reason: n for reason, n in left_out.items() if n},
    }
    text = json.dumps(sources, indent=1, ensure_ascii=False)
    (options.out / "sources.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
