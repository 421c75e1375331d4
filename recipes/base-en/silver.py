"""Names as a model finds them in texts whose names nobody marked, to learn from beside the gold.

python recipes/base-en/silver.py MODEL OUT.jsonl TEXTS.jsonl …

MODEL is a bundle or a checkpoint of `extract`. What it is less sure of than LEAST_SCORE gets the
label "?", which is neither learnt nor unlearnt.
"""

import json
import sys
from collections.abc import Iterator

import lmtool

LEAST_SCORE = 0.75


def main(ref: str, target: str, *sources: str) -> None:
    model = lmtool.load(ref, task_name="extract", only=["entities"])
    with open(target, "w", encoding="utf-8") as out:
        for document in model.pipe(texts(sources)):
            entities = [
                {
                    "id": entity.id,
                    "start": entity.start,
                    "end": entity.end,
                    "label": entity.label if (entity.score or 0) >= LEAST_SCORE else "?",
                }
                for entity in document.entities or ()
            ]
            record = {"id": document.id, "text": document.text, "entities": entities}
            out.write(json.dumps(record, ensure_ascii=False) + "\n")


def texts(sources: tuple[str, ...]) -> Iterator[lmtool.Document]:
    """Yield the texts of the files as documents without gold."""
    for source in sources:
        with open(source, encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                record = json.loads(line)
                yield lmtool.Document(id=f"{source}:{number}", text=record["text"])


if __name__ == "__main__":
    main(*sys.argv[1:])
