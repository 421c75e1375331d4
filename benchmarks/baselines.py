"""Plain baselines for relations and for arguments of events, by the scores of `lmtool evaluate`.

    python benchmarks/baselines.py relations TRAIN.jsonl DEV.jsonl
    python benchmarks/baselines.py arguments TRAIN.jsonl DEV.jsonl

relations: two names (by their texts) have the relation that they most often have in training;
names that did not meet there have the most frequent relation of their labels, where they stand in
one sentence. Entities are the gold's. arguments: a string that was an argument in training is one
of every event of its text, in its most frequent role there. Triggers are the gold's.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from lmtool_extract.task import ExtractTask

from lmtool.documents import Document, Entity, EventArgument, Relation
from lmtool.inputs import read_documents
from lmtool.windows import sentence_ends


def main(kind: str, train_file: str, dev_file: str) -> None:
    train, dev = (read(file) for file in (train_file, dev_file))
    predict = {"relations": with_relations, "arguments": with_arguments}[kind]
    predicted = predict(train, dev)
    report = ExtractTask(ExtractTask.collect_labels([*train, *dev])).score(dev, predicted)
    print(kind, report["labels"][kind])


def read(file: str) -> list[Document]:
    return [d for d in read_documents([file]) if isinstance(d, Document)]


def with_relations(train: Sequence[Document], dev: Sequence[Document]) -> list[Document]:
    by_text: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    by_label: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for document in train:
        entities = {entity.id: entity for entity in document.entities or ()}
        for relation in document.relations or ():
            head, tail = entities[relation.head], entities[relation.tail]
            by_text[head.text.lower(), tail.text.lower()][relation.label] += 1
            by_label[head.label, tail.label][relation.label] += 1
    predicted = []
    for document in dev:
        found = []
        for head, tail, is_near in pairs(document):
            counts = by_text.get((head.text.lower(), tail.text.lower()))
            counts = counts or (by_label.get((head.label, tail.label)) if is_near else None)
            if counts:
                found.append(Relation(str(head.id), str(tail.id), counts.most_common(1)[0][0]))
        predicted.append(document.with_layers({"relations": found}))
    return predicted


def pairs(document: Document) -> Iterator[tuple[Entity, Entity, bool]]:
    """Yield pairs of entities, and whether they stand in one sentence."""
    ends = sentence_ends(document.text, "en")
    entities = document.entities or []
    sentence = [sum(end <= entity.start for end in ends) for entity in entities]
    for i, head in enumerate(entities):
        for j, tail in enumerate(entities):
            if head.text != tail.text:
                yield head, tail, sentence[i] == sentence[j]


def with_arguments(train: Sequence[Document], dev: Sequence[Document]) -> list[Document]:
    roles: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for document in train:
        for event in document.events or ():
            for argument in event.arguments:
                roles[str(argument.text).lower()][argument.role] += 1
    predicted = []
    for document in dev:
        text, arguments = document.text.lower(), []
        for string in sorted(roles, key=len, reverse=True):
            start = text.find(string)
            if start >= 0 and len(string) > 2:
                text = text.replace(string, "\0" * len(string))
                role, end = roles[string].most_common(1)[0][0], start + len(string)
                arguments.append(EventArgument(role, start=start, end=end))
        events = [type(e)(e.label, e.trigger, list(arguments)) for e in document.events or ()]
        predicted.append(document.with_layers({"events": events}))
    return predicted


if __name__ == "__main__":
    main(*sys.argv[1:])
