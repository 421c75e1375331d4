"""A sample of distinct English texts of many kinds, to distil sentence embeddings from."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from classification import decode
from common import Document, bucket, text_key

N_TEXTS = 40_000
N_DEV = 1_000
MIN_WORDS, MAX_WORDS = 3, 60
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“‘(]*\w)")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|etc|e\.g|i\.e|No|[A-Z])\.$")


def sample_texts(
    converted: dict[str, dict[str, list[Document]]], generation: Path
) -> tuple[list[Document], list[Document], Counter[str]]:
    """Draw texts over all sources alike, none of which stands in a dev or a test part.

    Small sources are taken whole, and the others share what is left. A text that a novel or a long
    document holds is cut into sentences first. The drawn order hangs on a hash of each text.
    """
    held_out: set[str] = set()
    openings: list[str] = []  # of held-out novels, which the whole novels would bring back
    for name, parts in converted.items():
        for document in parts["dev"] + parts["test"]:
            held_out.update(map(text_key, pieces_of(document)))
            if name == "litbank":
                openings.append(text_key(document["text"]))
    opening = "\n".join(openings)

    pools: dict[str, list[str]] = {}
    for name, parts in converted.items():
        pools[name] = distinct(p for d in parts["train"] for p in pieces_of(d))
    pools["gutenberg"] = distinct(
        p for path in sorted(generation.glob("gutenberg/*.txt")) for p in prose_sentences(path)
    )
    pools["inaugural"] = distinct(
        p for path in sorted(generation.glob("inaugural/*.txt")) for p in prose_sentences(path)
    )
    pools["sgd"] = distinct(sgd_turns(generation / "sgd" / "train.jsonl"))

    chosen: dict[str, tuple[str, str]] = {}  # key to source and text
    n_left = N_TEXTS + N_DEV
    for n_pools, (name, pool) in enumerate(sorted(pools.items(), key=lambda p: len(p[1]))):
        quota = n_left // (len(pools) - n_pools)
        for text in sorted(pool, key=lambda text: (bucket(text, 2**48, "embed"), text)):
            key = text_key(text)
            if key in held_out or key in chosen or (name == "gutenberg" and key in opening):
                continue
            if quota <= 0:
                break
            chosen[key] = (name, text)
            quota -= 1
            n_left -= 1
    ordered = sorted(chosen.items(), key=lambda item: (bucket(item[0], 2**48, "order"), item[0]))
    documents = [{"text": text, "source": source} for _, (source, text) in ordered]
    counter = Counter(document["source"] for document in documents)
    dev = [{"id": f"embed-dev-{n}", **d} for n, d in enumerate(documents[:N_DEV])]
    texts = [{"id": f"embed-train-{n}", **d} for n, d in enumerate(documents[N_DEV:])]
    return texts, dev, counter


def pieces_of(document: Document) -> list[str]:
    """A short text as it is, a long one by sentences; both texts of a pair."""
    pieces = []
    for text in (document["text"], document.get("pair", "")):
        is_short = len(text.split()) <= MAX_WORDS
        pieces += [text] if is_short else split_sentences(text)
    return pieces


def split_sentences(text: str) -> list[str]:
    sentences: list[str] = []
    start = 0
    for found in _SENTENCE_END.finditer(text):
        piece = text[start : found.end()].strip()
        if not _ABBREVIATION.search(piece):
            sentences.append(piece)
            start = found.end()
    return [*sentences, text[start:].strip()]


def distinct(texts: Iterable[str]) -> list[str]:
    """The first of equal texts, if it has from 3 to 60 words and some letters."""
    found: dict[str, str] = {}
    for text in texts:
        if MIN_WORDS <= len(text.split()) <= MAX_WORDS and any(c.isalpha() for c in text):
            found.setdefault(text_key(text), text)
    return list(found.values())


def prose_sentences(path: Path) -> Iterator[str]:
    """Sentences of the paragraphs that are prose: headings and tables of contents are not."""
    for paragraph in re.split(r"\n\s*\n", decode(path.read_bytes()).replace("\r\n", "\n")):
        text = " ".join(paragraph.replace("_", "").split())
        if re.search(r"[a-z].*[.!?][\"'”’)]*$", text):
            yield from split_sentences(text)


def sgd_turns(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            for turn in json.loads(line)["turns"]:
                yield " ".join(turn["text"].split())
