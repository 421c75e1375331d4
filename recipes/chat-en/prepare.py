"""Convert task dialogues and small talk into documents of `lmtool train chat`.

    python recipes/chat-en/prepare.py DATA_FOLDER OUT_FOLDER

DATA_FOLDER holds sgd and chatterbot as their authors publish them. OUT_FOLDER gets train.jsonl
(both sets), dev.jsonl (a part of both, to watch while training), dev-sgd.jsonl and
dev-chatterbot.jsonl (all of each), and sources.json (licences, counts, what was left out). The same
input gives the same bytes. Beside Python it needs PyYAML, which comes with transformers.

- Schema-Guided Dialogue: train and dev as published, system is the assistant.
- ChatterBot: a tenth of the questions is dev, chosen by a hash, so that no question stands in both
  parts. Files of ALTERNATIVES list several answers to a question and are no dialogues. Files of
  LEFT_OUT are not read. Each exchange stands alone once, and ROUNDS times among others in a
  dialogue, or the model would never see small talk go on.
"""

import argparse
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

ALTERNATIVES = ("computers", "emotion")
LEFT_OUT = {
    "coding": "programs, which a small model can only get wrong",
    "gossip": "sayings about people",
    "politics": "opinions",
    "sports": "questions in capitals that are cut off",
}
ROUNDS = 6
DEV_SHARE = 10
WATCHED = 8
"""Each so-manieth dialogue of SGD's dev part stands in dev.jsonl."""


def text_key(text: str) -> str:
    """Two texts with the same key count as the same: case, spacing and marks are passed over."""
    return re.sub(r"\W", "", text).casefold()


def is_dev(text: str) -> bool:
    digest = hashlib.sha256(text_key(text).encode()).digest()
    return int.from_bytes(digest[:8], "big") % DEV_SHARE == 0


def dialogue(texts: Iterable[str]) -> Document:
    """A document of what user and assistant say by turns."""
    messages = [
        {"role": ("user", "assistant")[number % 2], "content": " ".join(text.split())}
        for number, text in enumerate(texts)
    ]
    return {"text": "", "messages": messages}


def read_sgd(path: Path) -> Iterator[Document]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            speakers = [turn["speaker"] for turn in record["turns"]]
            if speakers != ["user", "system"] * (len(speakers) // 2):
                raise ValueError(f"{path}: {record['id']}: user and system do not take turns")
            found = dialogue(turn["text"] for turn in record["turns"])
            yield {"id": f"sgd-{record['id']}", **found}


def read_chatterbot(folder: Path, left_out: Counter[str]) -> Iterator[list[str]]:
    """Yield what is said by turns, each dialogue once, an answer last."""
    seen: set[tuple[str, ...]] = set()
    for path in sorted(folder.glob("*.yml")):
        record = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
        if path.stem in LEFT_OUT:
            left_out[path.stem] += len(record["conversations"])
            continue
        for said in record["conversations"]:
            if not isinstance(said, list):
                left_out["no list of texts"] += 1
                continue
            is_list = path.stem in ALTERNATIVES
            for texts in ([said[0], answer] for answer in said[1:]) if is_list else [said]:
                turns = texts[: len(texts) // 2 * 2]
                key = tuple(map(text_key, turns))
                if key in seen or not all(key):
                    left_out["repeated or empty"] += 1
                elif len(turns) > 1:
                    seen.add(key)
                    yield turns


def mix(exchanges: list[list[str]], rounds: int, seed: int = 0) -> Iterator[list[str]]:
    """Yield each exchange alone, and in so many rounds two to four of them in a row."""
    yield from exchanges
    chance = random.Random(seed)
    for _ in range(rounds):
        order = chance.sample(exchanges, len(exchanges))
        while order:
            n_together = chance.randint(2, 4)
            yield [text for texts in order[:n_together] for text in texts]
            order = order[n_together:]


def write_documents(path: Path, documents: Iterable[Document]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    n_written = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            file.write(json.dumps(document, ensure_ascii=False) + "\n")
            n_written += 1
    return n_written


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert dialogues.")
    parser.add_argument("data", type=Path, metavar="DATA_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    arguments = parser.parse_args()
    left_out: Counter[str] = Counter()
    said = list(read_chatterbot(arguments.data / "chatterbot" / "english", left_out))
    small_talk = {
        "train": [texts for texts in said if not is_dev(texts[0])],
        "dev": [texts for texts in said if is_dev(texts[0])],
    }
    sgd = {
        part: list(read_sgd(arguments.data / "sgd" / f"{part}.jsonl")) for part in ("train", "dev")
    }
    mixed = [
        {"id": f"chatterbot-{number}", **dialogue(texts)}
        for number, texts in enumerate(mix(small_talk["train"], ROUNDS))
    ]
    held_out = [
        {"id": f"chatterbot-dev-{number}", **dialogue(texts)}
        for number, texts in enumerate(small_talk["dev"])
    ]
    counts = {
        name: write_documents(arguments.out / f"{name}.jsonl", documents)
        for name, documents in {
            "train": [*sgd["train"], *mixed],
            "dev": [*sgd["dev"][::WATCHED], *held_out],
            "dev-sgd": sgd["dev"],
            "dev-chatterbot": held_out,
        }.items()
    }
    sources = {
        "sgd": {"licence": "CC BY-SA 4.0", **{k: len(v) for k, v in sgd.items()}},
        "chatterbot": {
            "licence": "BSD-3-Clause",
            **{k: len(v) for k, v in small_talk.items()},
            "documents made of train": len(mixed),
            "left_out": dict(left_out),
        },
        "documents": counts,
    }
    text = json.dumps(sources, indent=2, ensure_ascii=False) + "\n"
    (arguments.out / "sources.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
