"""The sets that mark spans: semantic roles, relations, events.

A reader yields the part and the document. Every span has its text, and the offsets are of it.
"""

import html
import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from common import Document, Report, Rows, group_sentences, join, part_of, span, token_span
from wikidata import PROPERTIES

from lmtool.formats.conll import Sentence, join_tokens, read_sentences, spans_from_tags

DEV_EVERY = 5  # of the sets with whole documents, each fifth is dev, as in recipes/entities-en


# ── semantic roles ───────────────────────────────────────────────────────────────────────────

_HYPHEN = "\ue000"  # stands for a hyphen inside a word while a text is joined


def read_roles(folder: Path, report: Report) -> Rows:
    """A document a sentence, a frame a predicate. The lines of a sentence follow each other."""
    for part in ("train", "dev"):
        with (folder / f"{part}.jsonl").open(encoding="utf-8") as lines:
            rows = (json.loads(line) for line in lines)
            for sent_id, group in groupby(rows, key=lambda row: row["sent_id"]):
                document = roles_document(list(group), part, report)
                yield part, {"sent_id": sent_id, **document}


def roles_document(rows: Sequence[dict[str, Any]], part: str, report: Report) -> Document:
    """Turn the lines of one sentence into its text and frames.

    - The predicate is its one token. The rest of a verb in several tokens (V, C-V) is no argument.
    - A1 and AM-TMP (zh_gsd) are written ARG1 and ARGM-TMP, as PropBank does now. R- and C- stay.
    """
    tokens, tags = rows[0]["tokens"], rows[0].get("xpos")
    marked = list(tokens)
    if tags is not None:  # "Al - Zaman": only the tag tells it from a dash
        pairs = zip(tokens, tags, strict=True)
        marked = [_HYPHEN if pair == ("-", "HYPH") else pair[0] for pair in pairs]
        text, offsets = join(marked, part, (_HYPHEN, "/"))
    else:
        text, offsets = join_tokens(marked, attach=True)
    text = text.replace(_HYPHEN, "-")
    frames = []
    for row in sorted(rows, key=lambda row: row["predicate"]):
        arguments = []
        for first, end, label in spans_from_tags(row["roles"]):
            role = full_role(label)
            if role in ("V", "C-V"):
                report.left_out["C-V, the rest of a verb"] += role == "C-V"
                continue
            arguments.append({"role": role, **token_span(text, offsets, first, end)})
        predicate = token_span(text, offsets, row["predicate"], row["predicate"] + 1)
        frames.append({"predicate": predicate, "sense": row["sense"], "arguments": arguments})
    return {"text": text, "frames": frames}


def full_role(label: str) -> str:
    return re.sub(r"^((?:[RC]-)?)A(?=\d|M-)", r"\1ARG", label)


# ── relations ────────────────────────────────────────────────────────────────────────────────


def read_redocred(folder: Path, report: Report) -> Rows:
    """Introductions of Wikipedia articles; each fifth is dev, the same as in entities-en."""
    articles = json.loads((folder / "dev_revised.json").read_text(encoding="utf-8"))
    for number, article in enumerate(articles):
        part = "dev" if number % DEV_EVERY == DEV_EVERY - 1 else "train"
        yield part, redocred_document(article, report)


def redocred_document(article: dict[str, Any], report: Report) -> Document:
    """Make each mention an entity; relations hold between the first mentions of two things.

    - "clusters" lists the mentions of each thing that has several; another mention stands alone.
    - Punctuation is attached, "two - year" is "two-year", tokens of white space alone go.
    - A leading "the" in lower case is no part of a name; a mention given twice counts once.
    """
    tokens: list[str] = []
    position: dict[tuple[int, int], int] = {}  # (sentence, token there) to token here
    for s, sentence in enumerate(article["sents"]):
        for t, token in enumerate(sentence):
            position[s, t] = len(tokens)
            if token.strip():
                tokens.append(token)
        position[s, len(sentence)] = len(tokens)
    text, offsets = join_tokens(tokens, attach=True, glue=("-", "/"))

    found: list[tuple[int, int, int, str]] = []  # first token, end, thing, label
    for thing, mentions in enumerate(article["vertexSet"]):
        for mention in mentions:
            first, end = (position.get((mention["sent_id"], t), -1) for t in mention["pos"])
            if not 0 <= first < end:
                report.left_out["mentions outside their sentence"] += 1
                continue
            label = mention["type"]
            if label not in ("TIME", "NUM") and tokens[first] == "the" and end - first > 1:
                first += 1
            if any(other[:3] == (first, end, thing) for other in found):
                report.left_out["mentions given twice"] += 1
                continue
            found.append((first, end, thing, label))
    entities = []
    ids_of: dict[int, list[str]] = {}
    for number, (first, end, thing, label) in enumerate(sorted(found), 1):
        ids_of.setdefault(thing, []).append(f"e{number}")
        place = token_span(text, offsets, first, end)
        entities.append({"id": f"e{number}", **place, "label": label})
    relations = [
        {"head": ids_of[r["h"]][0], "tail": ids_of[r["t"]][0], "label": PROPERTIES[r["r"]]}
        for r in article["labels"]
        if r["h"] in ids_of and r["t"] in ids_of
    ]
    clusters = [ids for ids in ids_of.values() if len(ids) > 1]
    title = article["title"]
    return {
        "title": title,
        "text": text,
        "clusters": clusters,
        "entities": entities,
        "relations": relations,
    }


_MARKED = re.compile(r'^\d+\t"(.*)"\s*$')
_PIECES = re.compile(r"^(.*)<e1>(.*)</e1>(.*)<e2>(.*)</e2>(.*)$")
_DIRECTED = re.compile(r"^([\w-]+)\(e(\d),e(\d)\)$")


def read_semeval(folder: Path, report: Report) -> Rows:
    """Two marked nominals and the relation between them; a tenth of the training part is dev."""
    for name, file in (("train", "TRAIN_FILE.TXT"), ("test", "TEST_FILE_FULL.TXT")):
        raw = (folder / file).read_text(encoding="utf-8-sig")
        for block in re.split(r"\n[ \t]*\n", raw.replace("\r\n", "\n").strip()):
            lines = block.strip().split("\n")
            document = semeval_document(lines[0], lines[1])
            yield name if name == "test" else part_of(document["text"]), document


def semeval_document(marked: str, relation: str) -> Document:
    """Cause-Effect(e2,e1) is a relation from e2 to e1; Other is none."""
    quoted = _MARKED.match(marked)
    pieces = _PIECES.match(quoted[1] if quoted else marked)
    if pieces is None:
        raise ValueError(f"no two marked nominals in {marked!r}")
    parts = [html.unescape(piece) for piece in pieces.groups()]
    text = "".join(parts)
    entities = []
    for index in (1, 3):
        start = len("".join(parts[:index]))
        place = span(text, start, start + len(parts[index]))
        entities.append({"id": f"e{len(entities) + 1}", **place, "label": "NOMINAL"})
    relations = []
    if found := _DIRECTED.match(relation.strip()):
        relations = [{"head": f"e{found[2]}", "tail": f"e{found[3]}", "label": found[1]}]
    return {"text": text, "entities": entities, "relations": relations}


# ── events ───────────────────────────────────────────────────────────────────────────────────


PHEE_TYPES = ("Adverse_event", "Potential_therapeutic_event")


def read_phee(folder: Path, report: Report) -> Rows:
    """Side effects of drugs, from case reports."""
    for part in ("train", "dev"):
        with (folder / f"{part}.json").open(encoding="utf-8") as lines:
            for line in lines:
                yield part, phee_document(json.loads(line), report)


def phee_document(row: dict[str, Any], report: Report) -> Document:
    """The arguments of events, without the parts inside them (a subject's age, a drug's dose).

    An argument in several pieces becomes several of the same role. No other event is annotated.
    """
    text = row["context"]
    events = []
    for event in (event for part in row["annotations"] for event in part["events"]):
        triggers = list(_phee_spans(text, event["Trigger"]))
        arguments: list[Document] = []
        for role, value in event.items():
            if role == "Trigger" or not isinstance(value, dict):
                continue
            arguments += [{"role": role, **place} for place in _phee_spans(text, value)]
            report.left_out["parts of arguments"] += sum(
                isinstance(v, dict) for v in value.values()
            )
        if len(triggers) != 1:
            report.left_out["triggers in several pieces: the first one stays"] += 1
        label = event["event_type"]
        events.append({"label": label, "trigger": triggers[0], "arguments": _distinct(arguments)})
    return {"text": text, "events": events, "annotated": {"events": list(PHEE_TYPES)}}


def _phee_spans(text: str, value: dict[str, Any]) -> Iterator[Document]:
    for words, starts in zip(value["text"], value["start"], strict=True):
        for word, start in zip(words, starts, strict=True):
            yield span(text, start, start + len(word))


def _distinct(items: list[Document]) -> list[Document]:
    return [item for index, item in enumerate(items) if item not in items[:index]]


def read_fewfc(folder: Path, report: Report) -> Rows:
    """Chinese finance news."""
    for part in ("train", "dev"):
        with (folder / f"{part}_base.json").open(encoding="utf-8") as lines:
            for line in lines:
                yield part, fewfc_document(json.loads(line))


def fewfc_document(row: dict[str, Any]) -> Document:
    text = row["content"]
    events = []
    for event in row["events"]:
        places = [(m["role"], span(text, *m["span"])) for m in event["mentions"]]
        trigger = next(place for role, place in places if role == "trigger")
        arguments = [{"role": role, **place} for role, place in places if role != "trigger"]
        arguments = sorted(_distinct(arguments), key=lambda a: (a["start"], a["end"], a["role"]))
        events.append({"label": event["type"], "trigger": trigger, "arguments": arguments})
    return {"text": text, "events": events}


def read_litbank(folder: Path, report: Report) -> Rows:
    """Events in openings of novels; each fifth novel is dev. Their names are in entities-en."""
    for number, path in enumerate(sorted((folder / "events").glob("*.tsv"))):
        part = "dev" if number % DEV_EVERY == DEV_EVERY - 1 else "train"
        sentences = _litbank_sentences(path)
        for first, end in group_sentences([len(s.tokens) for s in sentences], n_tokens=120):
            document = litbank_document(sentences[first:end], part)
            if document["text"]:
                yield part, {"novel": path.stem.removesuffix("_brat"), **document}


def _litbank_sentences(path: Path) -> list[Sentence]:
    """Read a novel's file. A trigger's tag is EVENT, without the B- that tags have."""
    lines = path.read_text(encoding="utf-8").replace("\tEVENT", "\tB-EVENT").splitlines()
    sentences = read_sentences(lines, token_column=0, tag_column=1)
    return [sentence for sentence in sentences if isinstance(sentence, Sentence)]


def litbank_document(sentences: Sequence[Sentence], part: str) -> Document:
    """Events of one class without arguments. "_", the mark of italics, goes."""
    tokens: list[str] = []
    words: list[int] = []  # the triggers
    for sentence in sentences:
        for token, tag in zip(sentence.tokens, sentence.tags, strict=True):
            if token != "_":
                words += [len(tokens)] if tag != "O" else []
                tokens.append(token)
    text, offsets = join(tokens, part, ("--", "—"))
    places = [token_span(text, offsets, word, word + 1) for word in words]
    return {
        "text": text,
        "events": [{"label": "event", "trigger": place, "arguments": []} for place in places],
        "annotated": {"events": ["event"], "arguments": []},
    }
