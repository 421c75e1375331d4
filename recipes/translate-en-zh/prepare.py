"""Convert Tatoeba's English-Chinese pairs into documents of `lmtool train translate`.

    python recipes/translate-en-zh/prepare.py DATA_FOLDER OUT_FOLDER

DATA_FOLDER holds cmn_eng as manythings.org publishes it. OUT_FOLDER gets train.jsonl, dev.jsonl and
test.jsonl, each pair with its attribution; texts.jsonl, both sides of the training part alone, to
pretrain on; contributors.md, all who wrote or translated, for the model card; and sources.json
(licence, counts, what was left out). The same input gives the same bytes. Nothing but Python is
used.

- The parts are split by the English side, case, spacing and marks apart, so no English sentence
  stands in two of them. Dev and test have one pair for each English sentence: the first.
- A training pair whose Chinese side stands in dev or test too is left out.
- The texts are in simplified characters, as published.
"""

import argparse
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Document = dict[str, Any]

N_BUCKETS = 30
PARTS = {0: "dev", 1: "test"}
"""The part of a bucket; the others are for training."""
LICENCE = "CC BY 2.0 FR"


def text_key(text: str) -> str:
    """Two texts with the same key count as the same: case, spacing and marks are passed over."""
    return re.sub(r"[\W_]", "", text).casefold()


def part_of(english: str) -> str:
    """The part of a sentence, by a hash of its key."""
    digest = hashlib.sha256(text_key(english).encode()).digest()
    return PARTS.get(int.from_bytes(digest[:8], "big") % N_BUCKETS, "train")


def read_pairs(path: Path) -> Iterable[tuple[str, str, str]]:
    """Yield English, Chinese and the attribution of each line."""
    for line in path.read_text("utf-8-sig").split("\n"):
        if line.strip():
            english, chinese, attribution = line.split("\t")
            yield " ".join(english.split()), "".join(chinese.split()), attribution.strip()


def split_pairs(
    pairs: Iterable[tuple[str, str, str]], left_out: Counter[str]
) -> dict[str, list[Document]]:
    """Part the pairs, without repeated ones and training pairs that give dev or test away."""
    parts: dict[str, list[Document]] = {"train": [], "dev": [], "test": []}
    seen: set[tuple[str, str]] = set()
    asked: set[str] = set()
    for english, chinese, attribution in pairs:
        key = text_key(english), text_key(chinese)
        part = part_of(english)
        if key in seen or not all(key):
            left_out["repeated or empty"] += 1
        elif part != "train" and key[0] in asked:
            left_out["further translations in dev and test"] += 1
        else:
            parts[part].append(document(english, chinese, attribution))
        seen.add(key)
        asked.add(key[0])
    hidden = {
        text_key(found["translation"]["text"]) for part in ("dev", "test") for found in parts[part]
    }
    kept = [d for d in parts["train"] if text_key(d["translation"]["text"]) not in hidden]
    left_out["Chinese sides that stand in dev or test"] = len(parts["train"]) - len(kept)
    return {**parts, "train": kept}


def document(english: str, chinese: str, attribution: str) -> Document:
    return {
        "text": english,
        "language": "en",
        "translation": {"text": chinese, "language": "zh"},
        "attribution": attribution,
    }


def contributors(documents: Iterable[Document]) -> str:
    """Return a paragraph that names all who wrote or translated the sentences."""
    names = {
        name
        for found in documents
        for name in re.findall(r"#\d+ \(([^)]*)\)", found["attribution"])
    }
    shown = ", ".join(sorted(names, key=lambda name: (name.casefold(), name)))
    return (
        "## Contributors\n\nThe sentences are by these contributors of [Tatoeba]"
        "(https://tatoeba.org), under CC BY 2.0 FR; the numbers of the sentences of each pair "
        f"stand in what `prepare.py` writes: {shown}.\n"
    )


def write_documents(path: Path, documents: Iterable[Document]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for found in documents:
            file.write(json.dumps(found, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert English-Chinese pairs.")
    parser.add_argument("data", type=Path, metavar="DATA_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    arguments = parser.parse_args()
    left_out: Counter[str] = Counter()
    parts = split_pairs(read_pairs(arguments.data / "cmn_eng" / "cmn.txt"), left_out)
    for part, documents in parts.items():
        numbered = [{"id": f"{part}-{n}", **found} for n, found in enumerate(documents)]
        write_documents(arguments.out / f"{part}.jsonl", numbered)
    sides = [d["text"] for d in parts["train"]]
    sides += [d["translation"]["text"] for d in parts["train"]]
    write_documents(
        arguments.out / "texts.jsonl", ({"text": text} for text in dict.fromkeys(sides))
    )
    named = contributors(found for documents in parts.values() for found in documents)
    (arguments.out / "contributors.md").write_text(named, encoding="utf-8")
    sources = {
        "cmn_eng": {
            "licence": LICENCE,
            **{part: len(documents) for part, documents in parts.items()},
            "left_out": dict(left_out),
        }
    }
    text = json.dumps(sources, indent=2, ensure_ascii=False) + "\n"
    (arguments.out / "sources.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
