"""Texts in which nothing medical happens, for the events of medicine to be told from others.

python recipes/base-en/negatives.py TEXTS.jsonl OUT.jsonl [N]

PHEE has no sentence without an event. These are texts of all other sets, with the gold that they
hold neither an adverse event nor a therapeutic one; what else happens in them is unknown.
"""

import itertools
import json
import sys

from structure import PHEE_TYPES


def main(source: str, target: str, n: str = "6000") -> None:
    with open(source, encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as out:
        records = (json.loads(line) for line in lines)
        others = (record for record in records if record["source"] != "phee")
        for record in itertools.islice(others, int(n)):
            annotated = {"events": list(PHEE_TYPES), "arguments": []}
            document = {"id": f"no-{record['id']}", "text": record["text"], "events": []}
            line = json.dumps({**document, "annotated": annotated}, ensure_ascii=False)
            out.write(line + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
