"""Convert the public English entity sets into training documents of one guideline.

    python recipes/entities-en/prepare.py DATA_FOLDER OUT_FOLDER

DATA_FOLDER holds the sets as their authors publish them, in the folders that sources.py names.
OUT_FOLDER gets SET.train.jsonl and SET.dev.jsonl, a document a line, and sources.json (licences,
counts, what was left out). The same input gives the same bytes. Nothing but this project is used.

sources.py reads the sets, and guideline.py makes them agree. Each is complete for a part of the
guideline only, so:

- `annotated.entities` of a document lists the labels its set is complete for. A label that is not
  in it is unknown there: neither right nor wrong. Without the key, all labels are annotated.
- An entity labelled "?" says that nothing is known about these characters.

Reasons for each decision stand in sources.py; README.md beside this file sums them up.
"""

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from guideline import LABELS, UNKNOWN, apply_guideline, trim_edges
from sources import SETS, Example, Report

from lmtool.errors import DataError
from lmtool.formats.conll import align_tokens, join_tokens


def document_of_example(
    example: Example, document_id: str, annotated: tuple[str, ...]
) -> dict[str, Any]:
    """Make the text and the character spans.

    Half of the training documents have punctuation attached, half have it spaced, because users
    bring both; which one hangs on the id alone. Dev has it attached, or the true text.
    """
    if example.text is not None:
        text, offsets = example.text, align_tokens(example.text, example.tokens)
    else:
        attach = example.part == "dev" or hashlib.sha256(document_id.encode()).digest()[0] % 2 == 0
        text, offsets = join_tokens(example.tokens, attach, example.glue)
    entities = []
    for first, end, label in apply_guideline(example.tokens, example.spans, annotated):
        start, stop = offsets[first][0], offsets[end - 1][1]
        if label not in ("TIME", "NUM", UNKNOWN):
            start, stop = trim_edges(text, start, stop)
        if any(c.isalnum() for c in text[start:stop]):
            entities.append({"start": start, "end": stop, "text": text[start:stop], "label": label})
    document: dict[str, Any] = {"id": document_id, "text": text, "entities": entities}
    if annotated != LABELS:
        document["annotated"] = {"entities": list(annotated)}
    return document


def convert_sets(data: Path, report_of: dict[str, Report]) -> dict[str, list[dict[str, Any]]]:
    """Read every set; return the documents of each "SET.PART"."""
    documents: dict[str, list[dict[str, Any]]] = {}
    for name, source in SETS.items():
        for part in ("train", "dev"):
            documents[f"{name}.{part}"] = []
        for example in source.read(data / source.folder, report_of[name]):
            chosen = documents[f"{name}.{example.part}"]
            document_id = f"{name}-{example.part}-{len(chosen)}"
            try:
                chosen.append(document_of_example(example, document_id, source.annotated))
            except DataError as error:
                report_of[name].left_out["text and tokens differ"] += 1
                print(f"left out: {document_id}: {error}", file=sys.stderr)
    return documents


def drop_dev_texts(
    documents: dict[str, list[dict[str, Any]]], report_of: dict[str, Report]
) -> None:
    """Drop from the training parts what stands in any dev part, spacing apart."""

    def key(document: dict[str, Any]) -> str:
        return re.sub(r"\s", "", document["text"])

    dev = {key(d) for name, part in documents.items() if name.endswith(".dev") for d in part}
    for name in SETS:
        train = documents[f"{name}.train"]
        documents[f"{name}.train"] = [d for d in train if key(d) not in dev]
        n_dropped = len(train) - len(documents[f"{name}.train"])
        if n_dropped:
            report_of[name].left_out["training texts that are in dev"] += n_dropped


def count_documents(documents: list[dict[str, Any]]) -> dict[str, Any]:
    labels = Counter(entity["label"] for document in documents for entity in document["entities"])
    return {
        "documents": len(documents),
        "tokens": sum(len(re.findall(r"\w+|[^\w\s]", document["text"])) for document in documents),
        "entities": {label: labels[label] for label in (*LABELS, UNKNOWN) if labels[label]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert the English entity sets.")
    parser.add_argument("data", type=Path, metavar="DATA_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    arguments = parser.parse_args()

    report_of = {name: Report() for name in SETS}
    documents = convert_sets(arguments.data, report_of)
    drop_dev_texts(documents, report_of)

    arguments.out.mkdir(parents=True, exist_ok=True)
    sources: dict[str, Any] = {}
    header = "".join(f"{label:>7}" for label in (*LABELS, UNKNOWN))
    print(f"{'set':<26}{'documents':>10}{'tokens':>9}{header}")
    for name, source in SETS.items():
        sources[name] = {
            "folder": source.folder,
            "licence": source.licence,
            "annotated": list(source.annotated),
            "left_out": dict(report_of[name].left_out),
        }
        for part in ("train", "dev"):
            chosen = documents[f"{name}.{part}"]
            with (arguments.out / f"{name}.{part}.jsonl").open("w", encoding="utf-8") as file:
                for document in chosen:
                    file.write(json.dumps(document, ensure_ascii=False) + "\n")
            counts = sources[name][part] = count_documents(chosen)
            labels = "".join(f"{counts['entities'].get(c, 0):>7}" for c in (*LABELS, UNKNOWN))
            print(f"{name + '.' + part:<26}{counts['documents']:>10}{counts['tokens']:>9}{labels}")
        for reason, number in report_of[name].left_out.items():
            print(f"    left out: {number} ({reason})")
    text = json.dumps(sources, indent=2, ensure_ascii=False) + "\n"
    (arguments.out / "sources.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
