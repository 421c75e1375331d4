"""The public English entity sets, each read by one function that says what it decides and why.

A reader yields `Example`s: tokens and labelled token spans in the labels of guideline.py, and
whether they belong to train or dev. `SETS` lists them with their licences.
"""

import html
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from guideline import (
    CONLL_LABELS,
    LABELS,
    PARTICLES,
    UNKNOWN,
    TokenSpan,
    has_capital,
    is_nationality,
)

from lmtool.formats.conll import BadSentence, Sentence, read_sentences, spans_from_tags

DEV_EVERY = 5  # of the sets without a split of their own, each fifth document goes to dev


@dataclass(frozen=True, slots=True)
class Example:
    """A document before its text is made. With `text`, the tokens are found in it."""

    part: str  # "train" or "dev"
    tokens: list[str]
    spans: list[TokenSpan]
    text: str | None = None
    glue: frozenset[str] = frozenset()  # tokens that stick to both neighbours


@dataclass(frozen=True, slots=True)
class EntitySet:
    """One source: where it is, what it may be used for, what it is complete for, how to read it."""

    folder: str
    licence: str
    annotated: tuple[str, ...]
    read: Callable[[Path, "Report"], Iterator[Example]]


class Report:
    """What was left out of one set, by reason."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    def sentences(self, path: Path, tag_column: int | None = None) -> Iterator[Sentence]:
        """Read a column file; count and print the sentences that are defective."""
        with path.open(encoding="utf-8") as lines:
            for sentence in read_sentences(lines, tag_column=tag_column):
                if isinstance(sentence, Sentence):
                    yield sentence
                else:
                    self.leave_out(path, sentence)

    def leave_out(self, path: Path, bad: BadSentence) -> None:
        self.left_out["defective lines"] += 1
        print(f"left out: {path.name}:{bad.line}: {bad.message}", file=sys.stderr)


# ── social media ─────────────────────────────────────────────────────────────────────────────

WNUT_LABELS = {
    "person": "PER",
    "location": "LOC",
    "corporation": "ORG",
    "group": "ORG",  # bands, teams, parties
    "creative-work": "MISC",
    "product": "MISC",
}


def read_wnut17(folder: Path, report: Report) -> Iterator[Example]:
    """Tweets, and comments from YouTube, Reddit and Stack Exchange. Its own split is kept."""
    for part, name in (("train", "wnut17train.conll"), ("dev", "emerging.dev.conll")):
        for sentence in report.sentences(folder / name):
            tokens, spans = _tweet(sentence)
            yield Example(part, tokens, [(a, b, WNUT_LABELS.get(c, c)) for a, b, c in spans])


def read_btc(folder: Path, report: Report) -> Iterator[Example]:
    """Tweets. Dev is the second half of section h, as the authors advise."""
    for section in "abegh":
        sentences = list(report.sentences(folder / f"{section}.conll"))
        for index, sentence in enumerate(sentences):
            is_dev = section == "h" and 2 * index >= len(sentences)
            tokens, spans = _tweet(sentence)
            yield Example("dev" if is_dev else "train", tokens, spans)


_HANDLE = re.compile(r"@\w+")
_WORD = re.compile(r"\w+")


def _tweet(sentence: Sentence) -> tuple[list[str], list[TokenSpan]]:
    """Make "@ name" and "# tag" one token again, and user handles unknown.

    BTC marks most handles as persons, WNUT almost none: they are addresses, not names, and a
    shell user can find them with a pattern. "@ Portland", tagged O and LOC, means "at Portland".
    """
    tokens: list[str] = []
    tags: list[str] = []
    for escaped, tag in zip(sentence.tokens, sentence.tags, strict=True):
        token = html.unescape(escaped)  # "&lt;3"
        is_word = bool(_WORD.fullmatch(token))
        is_at_place = tags[-1:] == ["O"] and tag == "B-LOC"
        if tokens and is_word and (tokens[-1] == "#" or (tokens[-1] == "@" and not is_at_place)):
            tokens[-1] += token
            tags[-1] = tag if tags[-1] == "O" else tags[-1]
        else:
            tokens.append(token)
            tags.append(tag)
    spans = []
    for first, end, label in spans_from_tags(tags):
        has_handle = any(_HANDLE.fullmatch(token) for token in tokens[first:end])
        spans.append((first, end, UNKNOWN if has_handle else label))
    return tokens, spans


# ── CrossNER ─────────────────────────────────────────────────────────────────────────────────

CROSSNER_LABELS = {
    **dict.fromkeys(("person", "researcher", "scientist", "politician", "writer"), "PER"),
    "musicalartist": "PER",
    **dict.fromkeys(("organisation", "university", "band", "politicalparty"), "ORG"),
    **dict.fromkeys(("country", "location", "astronomicalobject"), "LOC"),
    # Named works, products, events and awards.
    **dict.fromkeys(("product", "programlang", "conference", "event", "election", "award"), "MISC"),
    **dict.fromkeys(("book", "poem", "magazine", "academicjournal", "album", "song"), "MISC"),
    # Names in places ("AdaBoost", "Big Bang"), common nouns in others ("linear regression").
    **dict.fromkeys(("misc", "algorithm", "theory"), "MISC"),
    # Terms, not names, even where a link's title made them begin with a capital ("Pop music").
    **dict.fromkeys(("field", "task", "metrics", "discipline"), UNKNOWN),
    **dict.fromkeys(("musicgenre", "literarygenre", "musicalinstrument"), UNKNOWN),
    **dict.fromkeys(("chemicalcompound", "chemicalelement", "enzyme", "protein"), UNKNOWN),
}
CROSSNER_NOUNS = frozenset(("misc", "algorithm", "theory", "product"))
_SOCIETY = re.compile(r"^(Association|IEEE [\w ]*Society|Cognitive Science Society|ACM$)")


def read_crossner(folder: Path, report: Report) -> Iterator[Example]:
    """Wikipedia sentences of one domain, with its own split.

    The 39 labels are folded into ours. A label that is used for names and for common nouns alike
    counts only if all its words are capitalised. A lower-case "name" is "?" whatever its label.
    The plural after a link's end is a token of its own ("Grammy Award" "s"): it goes back.
    """
    for part in ("train", "dev"):
        for sentence in report.sentences(folder / f"{part}.txt"):
            tokens: list[str] = []
            tags: list[str] = []
            for token, tag in zip(sentence.tokens, sentence.tags, strict=True):
                if token == "s" and tokens and tokens[-1][-1].isalpha():
                    tokens[-1] += token
                else:
                    tokens.append(token)
                    tags.append(tag)
            spans = [
                (first, end, _crossner_label(tokens[first:end], label, first == 0))
                for first, end, label in spans_from_tags(tags)
            ]
            yield Example(part, tokens, spans, glue=frozenset("/"))


def _crossner_label(words: list[str], label: str, is_first: bool) -> str:
    if not any(has_capital(word) for word in words):
        return UNKNOWN
    if label == "conference" and _SOCIETY.match(" ".join(words)):
        return "ORG"
    if label in CROSSNER_NOUNS:
        content = [word for word in words if word[0].isalpha() and word.lower() not in PARTICLES]
        is_sentence_start = is_first and len(content) == 1 and content[0].istitle()
        if is_sentence_start or not all(has_capital(word) for word in content):
            return UNKNOWN
    return CROSSNER_LABELS.get(label, UNKNOWN)


# ── web and Wikipedia ────────────────────────────────────────────────────────────────────────


def read_uner_en_ewt(folder: Path, report: Report) -> Iterator[Example]:
    """Weblogs, mails, reviews, answers, newsgroups, in their own spelling and spacing.

    Only the published dev part is used. Sentences of one source document are kept together, in
    documents of about 100 tokens, so that there is context; splits are by source document.
    """
    sentences = report.sentences(folder / "en_ewt-ud-dev.iob2")
    for group in _group_sentences(sentences, n_tokens=100):
        yield _example_of_group(group)


def read_wikigold(folder: Path, report: Report) -> Iterator[Example]:
    """Wikipedia articles, tagged without B-; grouped and split like uner_en_ewt."""
    sentences = report.sentences(folder / "wikigold.conll.txt")
    for group in _group_sentences(sentences, n_tokens=100):
        yield _example_of_group(group)


def _group_sentences(sentences: Iterable[Sentence], n_tokens: int) -> Iterator[list[Sentence]]:
    """Join consecutive sentences of one document up to about `n_tokens`."""
    group: list[Sentence] = []
    for sentence in sentences:
        n_group = sum(len(member.tokens) for member in group)
        is_new = bool(group) and sentence.document != group[-1].document
        if group and (is_new or n_group + len(sentence.tokens) > n_tokens):
            yield group
            group = []
        group.append(sentence)
    if group:
        yield group


def _example_of_group(group: list[Sentence]) -> Example:
    tokens: list[str] = []
    spans: list[TokenSpan] = []
    for sentence in group:
        n_before = len(tokens)
        spans += [(a + n_before, b + n_before, c) for a, b, c in spans_from_tags(sentence.tags)]
        tokens += sentence.tokens
    texts = [sentence.text for sentence in group if sentence.text is not None]
    return Example(
        part="dev" if group[0].document % DEV_EVERY == 0 else "train",
        tokens=tokens,
        spans=spans,
        text=" ".join(texts) if len(texts) == len(group) else None,
    )


def read_redocred(folder: Path, report: Report) -> Iterator[Example]:
    """Whole introductions of Wikipedia articles; each fifth goes to dev.

    - A leading "the" in lower case is no part of a name.
    - Of mentions that overlap (some doubled, some nested), the longest stays.
    - "two - year" was "two-year"; "-" and "/" go back between their neighbours. No-break spaces
      that stand as tokens of their own are dropped.
    """
    articles = json.loads((folder / "dev_revised.json").read_text(encoding="utf-8"))
    for number, article in enumerate(articles):
        tokens: list[str] = []
        position: dict[tuple[int, int], int] = {}  # (sentence, token there) to token here
        for s, sentence in enumerate(article["sents"]):
            for t, token in enumerate(sentence):
                position[s, t] = len(tokens)
                if token.strip():
                    tokens.append(token)
            position[s, len(sentence)] = len(tokens)
        spans = []
        for mention in (mention for entity in article["vertexSet"] for mention in entity):
            first, end = (position.get((mention["sent_id"], t), -1) for t in mention["pos"])
            if not 0 <= first < end:
                report.left_out["mentions outside their sentence"] += 1
                continue
            label = mention["type"]
            if label not in ("TIME", "NUM") and tokens[first] == "the" and end - first > 1:
                first += 1
            spans.append((first, end, label))
        part = "dev" if number % DEV_EVERY == DEV_EVERY - 1 else "train"
        yield Example(part, tokens, spans, glue=frozenset("-/"))


# ── novels ───────────────────────────────────────────────────────────────────────────────────

LITBANK_LABELS = {"PER": "PER", "ORG": "ORG", "LOC": "LOC", "GPE": "LOC", "FAC": "LOC"}
LITBANK_LABELS["VEH"] = "MISC"  # named ships
# Capitalised words that do not make a name on their own.
TITLES = frozenset(
    "mr mrs miss ms dr sir madam madame monsieur mademoiselle lord lady master mistress captain"
    " colonel general major professor doctor king queen prince princess duke count father mother"
    " papa mamma mama mammy dad daddy uncle aunt auntie sister brother grandfather grandmother"
    " majesty highness excellency honour honor reverend god heaven".split()
)


def read_litbank(folder: Path, report: Report) -> Iterator[Example]:
    """Openings of novels, where nested mentions include common nouns ("the boy who lived").

    Only names are wanted, so a mention is kept if all its words are capitalised, particles apart.
    A capitalised run inside another mention ("his cousin Jane"), a bare title ("Captain") and a
    word at a sentence's start that the same book also has in lower case are doubtful: "?". All
    else is no name. MISC is not annotated. Sentences are joined to about 120 tokens, which
    also mends many wrong sentence ends ("P. M."); "_", the mark of italics, is dropped.
    """
    for number, path in enumerate(sorted(folder.glob("*.tsv"))):
        sentences = list(report.sentences(path, tag_column=1))
        lower_words = {w for sentence in sentences for w in sentence.tokens if w.islower()}
        for group in _group_sentences(sentences, n_tokens=120):
            tokens: list[str] = []
            spans: list[TokenSpan] = []
            for sentence in group:
                kept = [i for i, token in enumerate(sentence.tokens) if token != "_"]
                n_before = [
                    len(tokens) + sum(k < i for k in kept) for i in range(len(sentence.tokens) + 1)
                ]
                names = _litbank_names(sentence, lower_words)
                spans += [(n_before[a], n_before[b], label) for a, b, label in names]
                tokens += [sentence.tokens[i] for i in kept]
            part = "dev" if number % DEV_EVERY == DEV_EVERY - 1 else "train"
            if tokens:
                yield Example(part, tokens, spans, glue=frozenset(("--", "—")))


def _litbank_names(sentence: Sentence, lower_words: set[str]) -> list[TokenSpan]:
    tokens = sentence.tokens
    spans: list[TokenSpan] = []
    doubtful: list[TokenSpan] = []
    for column in range(1, len(sentence.rows[0]) - 1):
        tags = [row[column] for row in sentence.rows]
        for first, end, label in spans_from_tags(tags):
            while first < end and tokens[first].lower() in ("the", "a", "an", "_"):
                first += 1
            runs = _capital_runs(tokens, first, end)
            if runs == [(first, end)] and not _is_doubtful(tokens, first, end, lower_words):
                spans.append((first, end, LITBANK_LABELS[label]))
            else:
                doubtful += [(a, b, UNKNOWN) for a, b in runs if not _begins_clause(tokens, a, b)]
    return spans + doubtful


def _begins_clause(tokens: tuple[str, ...], first: int, end: int) -> bool:
    """Tell the "My" of '" My dear cousin' from a name: no lower-case word stands before it."""
    return end - first == 1 and (first == 0 or not tokens[first - 1][-1].isalnum())


def _capital_runs(tokens: tuple[str, ...], first: int, end: int) -> list[tuple[int, int]]:
    """Stretches that begin and end with a capitalised word, with particles in between."""
    runs: list[tuple[int, int]] = []
    for index in range(first, end):
        if not has_capital(tokens[index]) or tokens[index] == "I":
            continue
        between = tokens[runs[-1][1] : index] if runs else ()
        if runs and all(word.lower() in PARTICLES or word == "." for word in between):
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _is_doubtful(tokens: tuple[str, ...], first: int, end: int, lower_words: set[str]) -> bool:
    if is_nationality(tokens[first:end]) and tokens[first:end] != ("Norman",):
        return True  # "a Frenchman"
    words = [token.strip(".").lower() for token in tokens[first:end]]
    is_ambiguous_start = first <= 1 and len(words) == 1 and words[0] in lower_words
    return is_ambiguous_start or all(word in TITLES | PARTICLES for word in words)


# ── all sets ─────────────────────────────────────────────────────────────────────────────────

SETS = {
    "wnut17": EntitySet("entities/wnut17", "CC BY 4.0", CONLL_LABELS, read_wnut17),
    "btc": EntitySet("entities/btc", "CC BY 4.0", ("PER", "ORG", "LOC"), read_btc),
    **{
        f"crossner-{domain}": EntitySet(
            f"entities/crossner/{domain}", "MIT", CONLL_LABELS, read_crossner
        )
        for domain in ("ai", "literature", "music", "politics", "science")
    },
    "uner-ewt": EntitySet(
        "entities/uner_en_ewt", "CC BY-SA 4.0", ("PER", "ORG", "LOC"), read_uner_en_ewt
    ),
    "wikigold": EntitySet("entities/wikigold", "CC BY 4.0", CONLL_LABELS, read_wikigold),
    "redocred": EntitySet("relations/redocred", "MIT", LABELS, read_redocred),
    "litbank": EntitySet(
        "events/litbank/entities", "CC BY 4.0", ("PER", "ORG", "LOC"), read_litbank
    ),
}
