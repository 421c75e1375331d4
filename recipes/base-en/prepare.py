"""Convert public sets for roles, classes, inference, relations and events into documents.

    python recipes/base-en/prepare.py DATA_FOLDER OUT_FOLDER [SET ...]

DATA_FOLDER holds the sets as their authors publish them, in the folders that SETS names.
OUT_FOLDER gets SET/train.jsonl, SET/dev.jsonl and, where the set has one, SET/test.jsonl, one
document a line; embed/texts.jsonl and embed/dev.jsonl, texts for sentence embeddings; sources.json
(licences, counts, what was left out). The same input gives the same bytes. Nothing but this project
is used. Entities of names are prepared by recipes/entities-en.

classification.py and structure.py read the sets and give the reasons for each decision.

- A set without a dev part gives a tenth of its texts, chosen by a hash of the text.
- A training text that also stands in dev or test is dropped, case and spacing apart, and so is a
  dev text that stands in test. Of the sets with classes, a text counts once in what is split here
  and in all training parts, and not at all where it has two different classes.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import classification
import structure
from common import Document, Report, Rows, text_key
from embed import sample_texts

PARTS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Source:
    """One set: where it is, what it may be used for, how to read it."""

    folder: str
    licence: str
    read: Callable[[Path, Report], Rows]
    language: str = "en"
    own_split: bool = False  # whether dev is published, and is kept as it is


# fmt: off
SETS = {
    "roles": Source("roles/ewt", "CC BY-SA 4.0", structure.read_roles, own_split=True),
    "roles_zh": Source("roles/zh_gsd", "CC BY-SA 4.0", structure.read_roles, "zh", True),
    "intent": Source("understanding/clinc150", "CC BY 3.0", classification.read_clinc150,
                     own_split=True),
    "snips": Source("understanding/snips", "CC0 1.0", classification.read_snips, own_split=True),
    "hwu64": Source("understanding/hwu64", "CC BY 4.0", classification.read_hwu64),
    "sentence_polarity": Source("understanding/sentence_polarity", "CC BY 4.0",
                                classification.read_sentence_polarity),
    "pros_cons": Source("understanding/pros_cons", "CC BY 4.0", classification.read_pros_cons),
    "movie_reviews": Source("understanding/movie_reviews", "CC BY 4.0",
                            classification.read_movie_reviews),
    "topic": Source("understanding/dbpedia", "CC BY-SA 3.0", classification.read_dbpedia),
    "topic_zh": Source("understanding/csl_zh", "Apache 2.0", classification.read_csl_zh, "zh",
                       True),
    "inference": Source("understanding/snli_dev", "CC BY-SA 4.0", classification.read_snli),
    "relations": Source("relations/redocred", "MIT", structure.read_redocred, own_split=True),
    "semeval": Source("relations/semeval2010_task8", "CC BY 3.0", structure.read_semeval),
    "phee": Source("events/phee", "MIT", structure.read_phee, own_split=True),
    "fewfc": Source("events/fewfc", "CC BY-SA 4.0", structure.read_fewfc, "zh", True),
    "litbank": Source("events/litbank", "CC BY 4.0", structure.read_litbank, own_split=True),
}
# fmt: on


def document_key(document: Document) -> str:
    return text_key(document["text"]) + "\n" + text_key(document.get("pair", ""))


def split_documents(rows: Rows, own_split: bool, report: Report) -> dict[str, list[Document]]:
    """Part the rows of one set; drop what stands in a later part, and repeated texts."""
    parts: dict[str, list[Document]] = {part: [] for part in PARTS}
    for part, document in rows:
        parts[part].append(document)
    later: set[str] = set()
    for part in reversed(PARTS):
        kept = [d for d in parts[part] if document_key(d) not in later]
        report.left_out[f"{part} texts that are in a later part"] += len(parts[part]) - len(kept)
        later |= {document_key(d) for d in kept}
        is_published = part == "test" or (own_split and part == "dev")
        parts[part] = kept if is_published else drop_repeated(kept, report)
    return parts


def drop_repeated(documents: list[Document], report: Report) -> list[Document]:
    """Keep the first of equal texts with the same classes, and none where the classes differ."""
    labels_of: dict[str, list[Any]] = {}
    for document in documents:
        labels_of.setdefault(document_key(document), []).append(document.get("labels"))
    kept = []
    seen: set[str] = set()
    for document in documents:
        key = document_key(document)
        if document.get("labels") is None:
            kept.append(document)
        elif any(labels != labels_of[key][0] for labels in labels_of[key]):
            report.left_out["the same text with different classes"] += 1
        elif key in seen:
            report.left_out["repeated texts"] += 1
        else:
            seen.add(key)
            kept.append(document)
    return kept


def count_items(documents: list[Document]) -> dict[str, Any]:
    """Count what the documents hold, by layer and label."""
    layers: dict[str, Counter[str]] = {}

    def count(layer: str, label: str) -> None:
        layers.setdefault(layer, Counter())[label] += 1

    for document in documents:
        for scheme, labels in document.get("labels", {}).items():
            for label in [item["label"] for item in labels] or ["(none)"]:
                count(f"labels.{scheme}", label)
        for layer in ("entities", "relations", "events"):
            for item in document.get(layer, ()):
                count(layer, item["label"])
        for event in document.get("events", ()):
            for argument in event["arguments"]:
                count("event arguments", argument["role"])
        for frame in document.get("frames", ()):
            count("frames", "with arguments" if frame["arguments"] else "without arguments")
            for argument in frame["arguments"]:
                count("frame arguments", argument["role"])
    return {layer: dict(counter.most_common()) for layer, counter in layers.items()}


def check_spans(document: Document) -> None:
    """Stop where a span does not cover its text."""

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            covered = document["text"][value["start"] : value["end"]] if "start" in value else None
            if covered is not None and covered != value["text"]:
                raise ValueError(f"{value} does not fit {document['text']!r}")
            for item in value.values():
                walk(item)

    walk({name: value for name, value in document.items() if name != "labels"})


def write_documents(path: Path, documents: list[Document]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            file.write(json.dumps(document, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert the sets of the base tasks.")
    parser.add_argument("data", type=Path, metavar="DATA_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    parser.add_argument("sets", nargs="*", metavar="SET", help="only these; without embed")
    arguments = parser.parse_args()
    if unknown := set(arguments.sets) - set(SETS):
        parser.error(f"no such set: {', '.join(sorted(unknown))} (there are: {', '.join(SETS)})")

    converted: dict[str, dict[str, list[Document]]] = {}
    sources: dict[str, Any] = {}
    for name in arguments.sets or SETS:
        source = SETS[name]
        report = Report()
        rows = source.read(arguments.data / source.folder, report)
        parts = converted[name] = split_documents(rows, source.own_split, report)
        left_out = {reason: number for reason, number in report.left_out.items() if number}
        sources[name] = {
            "folder": source.folder,
            "licence": source.licence,
            "language": source.language,
            "left_out": left_out,
        }
        print(f"{name} ({source.folder}, {source.licence})")
        for part in PARTS:
            if not parts[part]:
                continue
            numbered = [{"id": f"{name}-{part}-{n}", **d} for n, d in enumerate(parts[part])]
            for document in numbered:
                check_spans(document)
            write_documents(arguments.out / name / f"{part}.jsonl", numbered)
            counts = count_items(numbered)
            sources[name][part] = {"documents": len(numbered), **counts}
            print(f"  {part:<6}{len(numbered):>7} documents")
            for layer, labels in counts.items():
                shown = ", ".join(f"{label} {n}" for label, n in list(labels.items())[:8])
                more = f", … of {len(labels)}" if len(labels) > 8 else ""
                print(f"    {sum(labels.values()):>7} {layer}: {shown}{more}")
        for reason, number in left_out.items():
            print(f"    left out: {number} ({reason})")

    if not arguments.sets:
        english = {name: parts for name, parts in converted.items() if SETS[name].language == "en"}
        texts, dev, counter = sample_texts(english, arguments.data / "generation")
        write_documents(arguments.out / "embed" / "texts.jsonl", texts)
        write_documents(arguments.out / "embed" / "dev.jsonl", dev)
        sources["embed"] = {"texts": len(texts), "dev": len(dev), "by source": dict(counter)}
        print(f"embed\n  texts {len(texts):>7}\n  dev   {len(dev):>7}\n  {dict(counter)}")
        text = json.dumps(sources, indent=2, ensure_ascii=False) + "\n"
        (arguments.out / "sources.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
