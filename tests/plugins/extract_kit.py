"""Documents with entities, relations and events, and windows of them, for the tests of extract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from lmtool import Document, Entity
from lmtool.documents import Event, EventArgument, Relation, Span
from lmtool.windows import Encoding, TextEncoder, Window


def related(
    text: str,
    entities: Sequence[str],
    relations: Sequence[tuple[int, int, str]] = (),
    **fields: Any,
) -> Document:
    """Make a document; an entity is "Ada/PER", a relation names two of them by number from 1.

    The same name again is its next place in the text.
    """
    found: list[Entity] = []
    for number, (name, _, label) in enumerate((e.rpartition("/") for e in entities), 1):
        start = text.index(name, max([e.end for e in found if e.text == name], default=0))
        end = start + len(name)
        found.append(Entity(id=f"e{number}", start=start, end=end, text=name, label=label))
    pairs = [Relation(f"e{head}", f"e{tail}", label) for head, tail, label in relations]
    return Document(text=text, entities=found, relations=pairs, fields=fields)


def happening(
    text: str,
    *events: tuple[str, str, Mapping[str, str]],
    annotated: dict[str, list[str]] | None = None,
) -> Document:
    """Make a document; an event is its type, its trigger, and the role of each argument's text."""
    return Document(text=text, events=[_event(text, *e) for e in events], annotated=annotated)


def _event(text: str, label: str, trigger: str, roles: Mapping[str, str]) -> Event:
    arguments = [
        EventArgument(role, None, *_place(text, part), part) for part, role in roles.items()
    ]
    return Event(label, Span(*_place(text, trigger), trigger), arguments)


def _place(text: str, part: str) -> tuple[int, int]:
    start = text.index(part)
    return start, start + len(part)


DOCUMENTS = [
    related(
        "Ada met Babbage in London .",
        ["Ada/PER", "Babbage/PER", "London/LOC"],
        [(1, 3, "residence"), (1, 3, "workplace"), (2, 1, "friend")],
    ),
    related(
        "Marie Curie worked in Paris .", ["Marie Curie/PER", "Paris/LOC"], [(1, 2, "workplace")]
    ),
    related(
        "Turing lived in Manchester , not in Rome .",
        ["Turing/PER", "Manchester/LOC", "Rome/LOC"],
        [(1, 2, "residence")],
    ),
    related("Hopper liked Noether .", ["Hopper/PER", "Noether/PER"], [(1, 2, "friend")]),
    happening(
        "Aspirin induced severe stomach pain in a child .",
        (
            "Harm",
            "induced",
            {"Aspirin": "Drug", "severe stomach pain": "Effect", "a child": "Subject"},
        ),
    ),
    happening(
        "Insulin helped the old man and it cured his wife .",
        ("Help", "helped", {"Insulin": "Drug", "the old man": "Subject", "old": "Subject.Age"}),
        ("Help", "cured", {"Insulin": "Drug", "his wife": "Subject"}),
    ),
    happening(
        "She came home late .",
        ("event", "came", {}),
        annotated={"events": ["event"], "arguments": []},
    ),
    Document(
        text="Paris is big .",
        entities=[Entity(id="e1", start=0, end=5, text="Paris", label="LOC")],
    ),
]

NOMINALS = [
    related("The fire caused smoke .", ["fire/X", "smoke/X"], [(1, 2, "Cause")]),
    related("The smoke came from a fire .", ["smoke/X", "fire/X"], [(2, 1, "Cause")]),
    related("A wheel of the car broke .", ["wheel/X", "car/X"], [(1, 2, "Part")]),
    related("The car has a wheel .", ["car/X", "wheel/X"], [(2, 1, "Part")]),
    related("The fire reached the car .", ["fire/X", "car/X"]),
    related("Smoke rose over the wheel .", ["Smoke/X", "wheel/X"]),
]


def encoder(max_tokens: int = 64) -> TextEncoder:
    """Return an encoder in which every word is one unknown token."""
    special = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    tokenizer = Tokenizer(WordLevel(special, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return TextEncoder(tokenizer, Encoding(max_tokens=max_tokens))


def window(document: Document) -> Window:
    """Return the only window of a document."""
    (found,) = encoder().windows(document.text)
    return found
