"""Shouting: words in capitals and exclamation marks, as a plugin of lmtool."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import lmtool
from lmtool.documents import UNKNOWN
from lmtool.formats.lines import read_lines
from lmtool.scoring import precision_recall_f1

if TYPE_CHECKING:
    import torch
    import typer
    from numpy.typing import NDArray

    from lmtool.windows import Window


@dataclass(frozen=True, slots=True)
class ShoutOptions:
    """What `lmtool shout` can be told."""

    min_length: Annotated[int, lmtool.Opt("Least characters of a shout", minimum=1)] = 1


class ShoutTask(lmtool.EncoderTask):
    """Gives each word a class, and joins neighbours of one class to a shout."""

    name = "shout"
    summary = "Find what is shouted: capitals and exclamation marks"
    layers = ("shouts",)
    main_metric = "micro_f1"
    Options = ShoutOptions

    @classmethod
    def collect_labels(cls, documents: Sequence[lmtool.Document]) -> dict[str, list[str]]:
        """Return the labels of the gold."""
        labels = {shout["label"] for document in documents for shout in shouts_of(document)}
        return {"shouts": sorted(labels - {UNKNOWN})}

    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Return two layers that give each token a class: 0 for silence, then the labels."""
        import torch

        n_classes = 1 + len(self.labels["shouts"])

        class Head(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = torch.nn.Linear(hidden_size, hidden_size)
                self.outer = torch.nn.Linear(hidden_size, n_classes)
                self.signature = lmtool.Signature(
                    inputs=(lmtool.Port("hidden", "float32", ("batch", "seq", hidden_size)),),
                    outputs=(lmtool.Port("logits", "float32", ("batch", "seq", n_classes)),),
                )

            def forward(self, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
                return {"logits": self.outer(self.inner(hidden).relu())}

            def loss(
                self, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]
            ) -> torch.Tensor:
                classes = targets["classes"].flatten()  # (batch * seq,), -100 is not trained on
                logits = outputs["logits"].flatten(0, 1)  # (batch * seq, classes)
                total = torch.nn.functional.cross_entropy(logits, classes, reduction="sum")
                return total / (classes >= 0).sum().clamp(min=1)

        return Head()

    def targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        """Return the class of each token: set on the first token of a word, else -100."""
        import numpy as np

        labels = self.labels["shouts"]
        classes = np.full(len(window.ids), -100)
        classes[window.word_tokens] = 0
        for shout in shouts_of(document):
            first, last = window.words_touched(shout["start"], shout["end"])
            if shout["label"] in labels:
                classes[window.word_tokens[first:last]] = 1 + labels.index(shout["label"])
            elif shout["label"] == UNKNOWN:
                classes[window.word_tokens[first:last]] = -100
        return {"classes": classes}

    def infer(
        self,
        graphs: Mapping[str, lmtool.Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: ShoutOptions,
    ) -> list[list[tuple[int, int, str, float]]]:
        """Return the shouts of each window: start, end, label, score."""
        import numpy as np

        logits = graphs["head"].run(hidden)["logits"]
        parts = []
        for row, window in zip(logits, windows, strict=True):
            words = row[window.word_tokens]  # (words, classes)
            exp = np.exp(words - words.max(1, keepdims=True))
            share, best = exp / exp.sum(1, keepdims=True), words.argmax(1).tolist()
            part = []
            for class_, group in groupby(range(len(best)), key=best.__getitem__):
                run = list(group)
                if class_:
                    start, end = window.word_starts[run[0]], window.word_ends[run[-1]]
                    score = round(float(share[run, class_].mean()), 4)
                    part.append((int(start), int(end), self.labels["shouts"][class_ - 1], score))
            parts.append(part)
        return parts

    def merge(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: ShoutOptions
    ) -> dict[str, Any]:
        """Return the shouts of all windows, with offsets in the document."""
        found = [
            (part.start + start, part.start + end, label, score)
            for part in parts
            for start, end, label, score in part.value
        ]
        return {
            "shouts": [
                {"start": a, "end": b, "text": document.text[a:b], "label": label, "score": score}
                for a, b, label, score in found
                if b - a >= options.min_length
            ]
        }

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Compare exact spans; what overlaps an unknown span of the gold does not count."""
        right, wanted, found = Counter[str](), Counter[str](), Counter[str]()
        for gold_document, predicted_document in zip(gold, predicted, strict=True):
            known = {key(s) for s in shouts_of(gold_document) if s["label"] != UNKNOWN}
            unknown = [s for s in shouts_of(gold_document) if s["label"] == UNKNOWN]
            scored = {
                key(s)
                for s in shouts_of(predicted_document)
                if not any(s["start"] < u["end"] and u["start"] < s["end"] for u in unknown)
            }
            wanted.update(label for _, _, label in known)
            found.update(label for _, _, label in scored)
            right.update(label for _, _, label in known & scored)
        return precision_recall_f1(right, wanted, found, self.labels["shouts"])

    def gold_parts(self, window: Window, document: lmtool.Document) -> Any:
        """Return what `infer` would give for the gold of this window."""
        parts = []
        for shout in shouts_of(document):
            words = window.words_of(shout["start"], shout["end"])
            if words and shout["label"] != UNKNOWN:
                start, end = window.word_starts[words[0]], window.word_ends[words[1] - 1]
                parts.append((int(start), int(end), shout["label"], 1.0))
        return parts


def shouts_of(document: lmtool.Document) -> list[dict[str, Any]]:
    """Return the layer of this plugin; a document without it has no shouts."""
    return document.layer("shouts") or []


def key(shout: dict[str, Any]) -> tuple[int, int, str]:
    """Return what makes two shouts the same."""
    return shout["start"], shout["end"], shout["label"]


class ShoutReader(lmtool.Reader):
    """Reads a document a line, in which stars stand around each shout: `*STOP* it *!*`."""

    name = "shout"
    suffixes = (".shout",)
    summary = "a document a line, shouts between stars"

    def read(
        self, source: lmtool.Source, options: lmtool.ReadOptions
    ) -> Iterator[lmtool.Document | lmtool.BadRecord]:
        """Yield a document for each line."""
        for line in read_lines(source, options):
            pieces = line.text.split("*")
            if line.problem:
                yield line.problem
            elif len(pieces) % 2 == 0:
                reason = "a star without its partner"
                yield lmtool.BadRecord(source.name, line.number, reason, raw=line.text)
            else:
                yield document_of(pieces)


def document_of(pieces: Sequence[str]) -> lmtool.Document:
    """Make a document of pieces of its text, of which every second one is a shout."""
    text, shouts = "", []
    for index, piece in enumerate(pieces):
        if index % 2:
            label = "capitals" if re.search(r"\w", piece) else "exclamation"
            span = {"start": len(text), "end": len(text) + len(piece)}
            shouts.append({**span, "text": piece, "label": label})
        text += piece
    return lmtool.Document(text=text, fields={"shouts": shouts})


class ShoutWriter(lmtool.Writer):
    """Writes what `ShoutReader` reads."""

    name = "shout"
    suffixes = (".shout",)
    summary = "a document a line, shouts between stars"

    def encode(self, documents: Iterable[lmtool.Document]) -> bytes:
        """Return the documents as lines."""
        lines = []
        for document in documents:
            text = document.text
            for shout in reversed(shouts_of(document)):
                start, end = shout["start"], shout["end"]
                text = f"{text[:start]}*{text[start:end]}*{text[end:]}"
            lines.append(" ".join(text.splitlines()) + "\n")
        return "".join(lines).encode()


@lmtool.hookimpl
def lmtool_register_tasks() -> list[type[lmtool.EncoderTask]]:
    """Return the task behind `lmtool shout`."""
    return [ShoutTask]


@lmtool.hookimpl
def lmtool_register_readers() -> list[type[lmtool.Reader]]:
    """Return the reader of .shout files."""
    return [ShoutReader]


@lmtool.hookimpl
def lmtool_register_writers() -> list[type[lmtool.Writer]]:
    """Return the writer of .shout files."""
    return [ShoutWriter]


@lmtool.hookimpl
def lmtool_add_commands(app: typer.Typer) -> None:
    """Add `lmtool shout-stats`."""

    @app.command("shout-stats")
    def stats(files: list[str]) -> None:
        """Count the shouts in files of documents, by label."""
        from lmtool.inputs import expand_inputs

        counts = Counter[str]()
        for item in expand_inputs(files):
            for record in item.reader.read(item.source, lmtool.ReadOptions()):
                if isinstance(record, lmtool.BadRecord):
                    raise lmtool.DataError(f"{record.path}:{record.line}: {record.reason}")
                counts.update(shout["label"] for shout in shouts_of(record))
        if not counts:
            raise lmtool.NegativeResult("no shouts")
        for label, count in sorted(counts.items()):
            print(f"{label}\t{count}")
