"""The sets that give classes to whole texts: intents, sentiment, topics, inference.

A reader yields the part and the document. Classes stand under a scheme; a text that none of a
scheme's classes fits has an empty list there.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

from common import Document, Report, Rows, is_attached, part_of, untokenise


def labelled(text: str, scheme: str, *labels: str) -> Document:
    return {"text": text, "labels": {scheme: [{"label": label} for label in labels]}}


# ── intents ──────────────────────────────────────────────────────────────────────────────────

CLINC_PARTS = {"train": "train", "val": "dev", "test": "test"}


def read_clinc150(folder: Path, report: Report) -> Rows:
    """150 intents in the full set's split. Out-of-scope texts have no class: an empty list."""
    pairs = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))
    for name, part in CLINC_PARTS.items():
        for text, intent in pairs[name]:
            yield part, labelled(text.strip(), "intent", intent)
        for text, _ in pairs[f"oos_{name}"]:
            yield part, labelled(text.strip(), "intent")


def read_snips(folder: Path, report: Report) -> Rows:
    """7 intents; the published validation part is dev. One file is not in UTF-8."""
    for part, pattern in (("train", "train_*_full.json"), ("dev", "validate_*.json")):
        for path in sorted(folder.glob(pattern)):
            for intent, examples in json.loads(decode(path.read_bytes())).items():
                for example in examples:
                    yield part, labelled(snips_text(example["data"]), "intent-snips", intent)


def decode(raw: bytes) -> str:
    """Decode UTF-8; where a byte is none, Latin-1 was meant."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def snips_text(pieces: list[dict[str, Any]]) -> str:
    return " ".join("".join(piece["text"] for piece in pieces).split())


def read_hwu64(folder: Path, report: Report) -> Rows:
    """64 intents; a tenth of the training part is dev."""
    for name in ("train", "test"):
        with (folder / f"{name}.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                part = name if name == "test" else part_of(row["text"])
                yield part, labelled(row["text"].strip(), "intent-hwu64", row["intent"])


# ── sentiment ────────────────────────────────────────────────────────────────────────────────


def read_sentence_polarity(folder: Path, report: Report) -> Rows:
    """Sentences of film reviews, in lower case."""
    for suffix, label in (("pos", "positive"), ("neg", "negative")):
        with (folder / f"rt-polarity.{suffix}").open(encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                part = part_of(line)
                text = untokenise(line, is_attached(line, part))
                yield part, labelled(text, "sentiment", label)


_TAGGED = re.compile(r"<(Pros|Cons)>(.*)</\1>", re.DOTALL)


def read_pros_cons(folder: Path, report: Report) -> Rows:
    """What buyers liked and disliked. Texts with no letter and those on both sides are left out."""
    for name, label in (("IntegratedPros", "positive"), ("IntegratedCons", "negative")):
        with (folder / f"{name}.txt").open(encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                text = pros_cons_text(line)
                if any(c.isalpha() for c in text):
                    yield part_of(text), labelled(text, "sentiment", label)
                else:
                    report.left_out["no text"] += 1


def pros_cons_text(line: str) -> str:
    """Cut the tags, undo the double HTML escapes, keep line breaks and single spaces."""
    found = _TAGGED.search(line)
    text = html.unescape(html.unescape(found[2])) if found else ""
    return "\n".join(filter(None, (" ".join(part.split()) for part in re.split(r"[\r\n]+", text))))


def read_movie_reviews(folder: Path, report: Report) -> Rows:
    """Whole film reviews in lower case, a sentence a line."""
    for name, label in (("pos", "positive"), ("neg", "negative")):
        for path in sorted((folder / name).glob("*.txt")):
            raw = decode(path.read_bytes())
            part = part_of(raw)
            yield part, labelled(review_text(raw, is_attached(raw, part)), "sentiment", label)


def review_text(raw: str, attach: bool) -> str:
    sentences = (untokenise(line, attach) for line in raw.splitlines())
    return " ".join(filter(None, sentences))


# ── topics ───────────────────────────────────────────────────────────────────────────────────


def class_name(name: str) -> str:
    """ "MeanOfTransportation" becomes "mean of transportation"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def read_dbpedia(folder: Path, report: Report) -> Rows:
    """First sentences of Wikipedia articles, 14 classes; sentences are parted by tabs."""
    names = (folder / "classes.txt").read_text(encoding="utf-8").split()
    with (folder / "train.csv").open(encoding="utf-8", newline="\n") as lines:
        for line in filter(str.strip, lines):
            number, _, raw = line.partition(",")
            part = part_of(raw)
            text = " ".join(untokenise(s, is_attached(raw, part)) for s in raw.split("\t"))
            yield part, labelled(text, "topic", class_name(names[int(number)]))


def read_csl_zh(folder: Path, report: Report) -> Rows:
    """Titles of Chinese papers, 13 fields."""
    for part in ("train", "dev", "test"):
        with (folder / f"{part}.tsv").open(encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                _, text, label = line.rstrip("\n").split("\t")
                yield part, labelled(text.strip(), "topic", label.strip())


# ── inference ────────────────────────────────────────────────────────────────────────────────


def read_snli(folder: Path, report: Report) -> Rows:
    """Captions and what follows from them. All pairs of a premise are on the same side."""
    columns = [
        (folder / name).read_text(encoding="utf-8").splitlines()
        for name in ("s1.dev", "s2.dev", "labels.dev")
    ]
    for premise, hypothesis, label in zip(*columns, strict=True):
        yield part_of(premise), snli_document(premise, hypothesis, label)


def snli_document(premise: str, hypothesis: str, label: str) -> Document:
    document = labelled(untokenise(premise), "inference", label.strip())
    return {"text": document["text"], "pair": untokenise(hypothesis), "labels": document["labels"]}
