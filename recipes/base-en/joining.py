"""Joins neighbouring sentences into documents of one to six, as the windows of real texts are.

python recipes/base-en/joining.py SENTENCES.jsonl DOCUMENTS.jsonl

Neighbours are sentences in the file's order whose `sent_id` differs in the last number only.
Half of the sentences stay alone.
"""

import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

Document = dict[str, Any]
OFFSETS = ("start", "end")


def shifted(value: Any, by: int) -> Any:
    """Return a layer with all its offsets moved by some characters."""
    if isinstance(value, list):
        return [shifted(item, by) for item in value]
    if isinstance(value, dict):
        return {k: v + by if k in OFFSETS else shifted(v, by) for k, v in value.items()}
    return value


def join(documents: Sequence[Document]) -> Document:
    """Return one document with the texts and frames of several, a space between them."""
    if len(documents) == 1:
        return documents[0]
    text, frames = "", []
    for document in documents:
        text += " " if text else ""
        frames += shifted(document["frames"], len(text))
        text += document["text"]
    return {"id": documents[0]["id"], "text": text, "frames": frames}


def groups(documents: Sequence[Document], chance: random.Random) -> Iterator[list[Document]]:
    """Yield runs of neighbours: alone half of the time, else two to six together."""
    for _, source in groupby(documents, lambda d: re.sub(r"-\d+$", "", d["sent_id"])):
        rest = list(source)
        while rest:
            size = 1 if chance.random() < 0.8 else chance.randint(2, 6)
            yield rest[:size]
            rest = rest[size:]


def main(source: str, target: str) -> None:
    with open(source, encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    with open(target, "w", encoding="utf-8") as out:
        for group in groups(documents, random.Random(0)):
            out.write(json.dumps(join(group), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
