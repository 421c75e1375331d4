"""The converters of recipes/base-en, each on a record or two as the sets have them."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lmtool.documents import document_from_record
from lmtool.formats.conll import Sentence, read_sentences

FOLDER = Path(__file__).parents[1] / "recipes" / "base-en"
MODULES = ("common", "wikidata", "classification", "structure", "embed", "prepare")


@pytest.fixture(scope="module")
def recipe() -> Iterator[dict[str, ModuleType]]:
    """The recipe's modules, which are no package: they are taken away again."""
    sys.path.insert(0, str(FOLDER))
    yield {name: importlib.import_module(name) for name in MODULES}
    sys.path.remove(str(FOLDER))
    for name in MODULES:
        del sys.modules[name]


def checked(document: dict[str, Any]) -> dict[str, Any]:
    """The document, after the project itself has read it and checked its spans."""
    document_from_record(json.loads(json.dumps(document)))
    return document


SPY = """#!/bin/sh
for word in "$@"; do echo "$word" >> "$SPY_LOG"; done
"""


def test_the_recipe_takes_relative_folders(tmp_path: Path) -> None:
    """The commands run elsewhere, so what they are given must be absolute."""
    tools = tmp_path / "tools"
    for folder in ("tools", "corpora", "encoder"):
        (tmp_path / folder).mkdir()
    for name in ("python", "lmtool"):
        (tools / name).write_text(SPY, "utf-8")
        (tools / name).chmod(0o755)
    sets = ("roles intent sentence_polarity topic inference phee litbank relations").split()
    files = [*(f"{name}/dev.jsonl" for name in sets), "embed/gold.jsonl", "entities/a.dev.jsonl"]
    for file in (tmp_path / "work" / "data" / name for name in files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", str(FOLDER / "make.sh"), "corpora", "encoder", "work"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "SPY_LOG": str(tmp_path / "log")},
        check=True,
    )
    words = (tmp_path / "log").read_text("utf-8").splitlines()
    for name in ("corpora", "encoder", "work"):
        assert str(tmp_path / name) in {word.partition("/data/")[0] for word in words}
        assert not [word for word in words if word.split("/")[0] == name]


# ── shared ───────────────────────────────────────────────────────────────────────────────────


def test_texts_that_differ_in_case_and_spacing_go_to_one_side(recipe: Any) -> None:
    part_of = recipe["common"].part_of
    for number in range(50):
        assert part_of(f"No {number} , he said .") == part_of(f"no {number}, he said.")
    parts = [part_of(str(number)) for number in range(1000)]
    assert 60 < parts.count("dev") < 140


def test_half_of_the_training_texts_are_spaced(recipe: Any) -> None:
    is_attached = recipe["common"].is_attached
    texts = [f"Text {number}." for number in range(200)]
    assert 60 < sum(is_attached(text, "train") for text in texts) < 140
    assert all(is_attached(text, "dev") for text in texts)


def test_sentences_are_grouped_by_their_tokens(recipe: Any) -> None:
    groups = recipe["common"].group_sentences([4, 4, 4, 20], 10)
    assert groups == [(0, 2), (2, 3), (3, 4)]


# ── classes ──────────────────────────────────────────────────────────────────────────────────


def test_out_of_scope_texts_have_no_class(recipe: Any, tmp_path: Path) -> None:
    pairs = {name: [] for name in ("train", "val", "test", "oos_val", "oos_test")}
    pairs |= {"train": [["hi", "greeting"]], "oos_train": [["what is love", "oos"]]}
    (tmp_path / "data_full.json").write_text(json.dumps(pairs))
    report = recipe["common"].Report()
    assert list(recipe["classification"].read_clinc150(tmp_path, report)) == [
        ("train", {"text": "hi", "labels": {"intent": [{"label": "greeting"}]}}),
        ("train", {"text": "what is love", "labels": {"intent": []}}),
    ]


def test_snips_pieces_make_a_text_and_latin_1_is_read(recipe: Any, tmp_path: Path) -> None:
    pieces = [{"text": "play "}, {"text": "María", "entity": "artist"}, {"text": "  now\n"}]
    raw = json.dumps({"PlayMusic": [{"data": pieces}]}, ensure_ascii=False)
    (tmp_path / "train_PlayMusic_full.json").write_bytes(raw.encode("latin-1"))
    rows = list(recipe["classification"].read_snips(tmp_path, recipe["common"].Report()))
    labels = {"intent-snips": [{"label": "PlayMusic"}]}
    assert rows == [("train", {"text": "play María now", "labels": labels})]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("        <Pros>Ease of use, clear &amp;amp; crisp</Pros>\n", "Ease of use, clear & crisp"),
        ("<Cons>Cheap&amp;#13;&amp;#10;No  flash&amp;#13;&amp;#10;</Cons>", "Cheap\nNo flash"),
        ("<Pros></Pros>", ""),
    ],
)
def test_pros_and_cons_lose_tags_and_escapes(recipe: Any, line: str, text: str) -> None:
    assert recipe["classification"].pros_cons_text(line) == text


def test_class_names_become_words(recipe: Any) -> None:
    names = map(recipe["classification"].class_name, ("MeanOfTransportation", "Album"))
    assert list(names) == ["mean of transportation", "album"]


def test_review_is_joined_by_sentence(recipe: Any) -> None:
    raw = "it's good . \n( not bad ) \n"
    assert recipe["classification"].review_text(raw, True) == "it's good. (not bad)"
    assert recipe["classification"].review_text(raw, False) == "it's good . ( not bad )"


def test_inference_has_the_second_text_in_pair(recipe: Any) -> None:
    document = recipe["classification"].snli_document("A man , asleep . ", "He sleeps .", "neutral")
    labels = {"inference": [{"label": "neutral"}]}
    assert document == {"text": "A man, asleep.", "pair": "He sleeps.", "labels": labels}


# ── roles ────────────────────────────────────────────────────────────────────────────────────


def test_lines_of_a_sentence_become_frames(recipe: Any) -> None:
    sentence = {"tokens": "Al - Ani was taken away .".split()}
    sentence["xpos"] = "NNP HYPH NNP VBD VBN RB .".split()
    rows = [
        {**sentence, "predicate": index, "sense": sense, "roles": roles.split()}
        for index, sense, roles in (
            (4, "take.01", "B-ARG1 I-ARG1 I-ARG1 O B-V B-C-V O"),
            (3, "be.03", "O O O B-V O O O"),
        )
    ]
    report = recipe["common"].Report()
    document = checked(recipe["structure"].roles_document(rows, "dev", report))
    assert document == {
        "text": "Al-Ani was taken away.",
        "frames": [
            {
                "predicate": {"start": 7, "end": 10, "text": "was"},
                "sense": "be.03",
                "arguments": [],
            },
            {
                "predicate": {"start": 11, "end": 16, "text": "taken"},
                "sense": "take.01",
                "arguments": [{"role": "ARG1", "start": 0, "end": 6, "text": "Al-Ani"}],
            },
        ],
    }
    assert report.left_out["C-V, the rest of a verb"] == 1


def test_chinese_roles_have_no_spaces_and_full_names(recipe: Any) -> None:
    tokens = ["他们", "昨天", "代表", "你", "。"]
    roles = ["B-A0", "B-AM-TMP", "B-V", "B-C-A1", "O"]
    row = {"tokens": tokens, "predicate": 2, "sense": "represent.01", "roles": roles}
    document = recipe["structure"].roles_document([row], "train", recipe["common"].Report())
    assert checked(document)["text"] == "他们昨天代表你。"
    found = [(a["role"], a["text"]) for a in document["frames"][0]["arguments"]]
    assert found == [("ARG0", "他们"), ("ARGM-TMP", "昨天"), ("C-ARG1", "你")]


# ── relations ────────────────────────────────────────────────────────────────────────────────


def test_relations_hold_between_first_mentions(recipe: Any) -> None:
    article = {
        "title": "Ann",
        "sents": [["Ann", "left", "the", "US", "."], [" ", "In", "France", ",", "Ann", "ate", "."]],
        "vertexSet": [
            [
                {"type": "PER", "sent_id": 1, "pos": [4, 5]},
                {"type": "PER", "sent_id": 0, "pos": [0, 1]},
                {"type": "PER", "sent_id": 0, "pos": [0, 1]},
            ],
            [{"type": "LOC", "sent_id": 0, "pos": [2, 4]}],
        ],
        "labels": [{"h": 0, "t": 1, "r": "P27", "evidence": [0]}],
    }
    report = recipe["common"].Report()
    document = checked(recipe["structure"].redocred_document(article, report))
    assert document["text"] == "Ann left the US. In France, Ann ate."
    found = [(e["id"], e["text"], e["label"]) for e in document["entities"]]
    assert found == [("e1", "Ann", "PER"), ("e2", "US", "LOC"), ("e3", "Ann", "PER")]
    assert document["clusters"] == [["e1", "e3"]]
    relation = {"head": "e1", "tail": "e2", "label": "country of citizenship"}
    assert document["relations"] == [relation]
    assert report.left_out["mentions given twice"] == 1


@pytest.mark.parametrize(
    ("relation", "relations"),
    [
        ("Cause-Effect(e2,e1)", [{"head": "e2", "tail": "e1", "label": "Cause-Effect"}]),
        ("Cause-Effect(e1,e2)\r", [{"head": "e1", "tail": "e2", "label": "Cause-Effect"}]),
        ("Other", []),
    ],
)
def test_direction_is_head_and_tail(recipe: Any, relation: str, relations: list[Any]) -> None:
    marked = '7\t"The <e1>flu</e1> & its <e2>virus</e2>."'
    document = checked(recipe["structure"].semeval_document(marked, relation))
    assert document["text"] == "The flu & its virus."
    assert [entity["text"] for entity in document["entities"]] == ["flu", "virus"]
    assert document["relations"] == relations


# ── events ───────────────────────────────────────────────────────────────────────────────────


def test_parts_of_arguments_are_left_out(recipe: Any) -> None:
    drug = {"text": [["aspirin"]], "start": [[24]], "entity_id": ["T2"]}
    event = {
        "event_id": "E1",
        "event_type": "Adverse_event",
        "Trigger": {"text": [["after"]], "start": [[18]], "entity_id": ["T1"]},
        "Effect": {"text": [["Rash", "pain"]], "start": [[0, 13]], "entity_id": ["T4"]},
        "Treatment": {**drug, "Drug": drug, "Combination": [{"event_id": "E2"}]},
    }
    row = {"context": "Rash or much pain after aspirin.", "annotations": [{"events": [event]}]}
    report = recipe["common"].Report()
    document = checked(recipe["structure"].phee_document(row, report))
    (found,) = document["events"]
    assert (found["label"], found["trigger"]["text"]) == ("Adverse_event", "after")
    assert [(a["role"], a["text"]) for a in found["arguments"]] == [
        ("Effect", "Rash"),
        ("Effect", "pain"),
        ("Treatment", "aspirin"),
    ]
    assert document["annotated"] == {
        "events": ["Adverse_event", "Potential_therapeutic_event"],
    }
    assert report.left_out["parts of arguments"] == 1


def test_the_mention_with_the_role_trigger_is_the_trigger(recipe: Any) -> None:
    mentions = [
        {"word": "股东", "span": [4, 6], "role": "title"},
        {"word": "减持", "span": [2, 4], "role": "trigger"},
    ]
    row = {"content": "计划减持股东", "events": [{"type": "减持", "mentions": mentions}]}
    assert checked(recipe["structure"].fewfc_document(row))["events"] == [
        {
            "label": "减持",
            "trigger": {"start": 2, "end": 4, "text": "减持"},
            "arguments": [{"role": "title", "start": 4, "end": 6, "text": "股东"}],
        }
    ]


def sentence_of(*lines: str) -> Sentence:
    (sentence,) = read_sentences(lines, token_column=0, tag_column=1)
    assert isinstance(sentence, Sentence)
    return sentence


def test_novels_have_events_of_one_word(recipe: Any) -> None:
    sentence = sentence_of("_\tO", "His\tO", "_\tO", "aunt\tO", "Ann\tO", "left\tB-EVENT", ".\tO")
    document = checked(recipe["structure"].litbank_document([sentence], "dev"))
    assert document["text"] == "His aunt Ann left."
    trigger = {"start": 13, "end": 17, "text": "left"}
    assert document["events"] == [{"label": "event", "trigger": trigger, "arguments": []}]
    assert document["annotated"] == {"events": ["event"], "arguments": []}


# ── the whole ────────────────────────────────────────────────────────────────────────────────


def document_of(text: str, label: str = "x") -> dict[str, Any]:
    return {"text": text, "labels": {"s": [{"label": label}]}}


def test_training_texts_of_other_parts_and_repeated_ones_go(recipe: Any) -> None:
    rows = [
        ("train", document_of("In dev.")),
        ("train", document_of("Once .")),
        ("train", document_of("once.")),
        ("train", document_of("Both", "x")),
        ("train", document_of("Both", "y")),
        ("dev", document_of("in dev .")),
        ("dev", document_of("in test")),
        ("test", document_of("In test")),
    ]
    report = recipe["common"].Report()
    parts = recipe["prepare"].split_documents(iter(rows), False, report)
    texts = {part: [d["text"] for d in documents] for part, documents in parts.items()}
    assert texts == {"train": ["Once ."], "dev": ["in dev ."], "test": ["In test"]}
    assert {reason: n for reason, n in report.left_out.items() if n} == {
        "dev texts that are in a later part": 1,
        "train texts that are in a later part": 1,
        "the same text with different classes": 2,
        "repeated texts": 1,
    }


def test_a_span_that_does_not_fit_stops_the_run(recipe: Any) -> None:
    entity = {"id": "e1", "start": 0, "end": 2, "text": "An", "label": "PER"}
    recipe["prepare"].check_spans({"text": "Ann", "entities": [entity]})
    with pytest.raises(ValueError, match="does not fit"):
        recipe["prepare"].check_spans({"text": "Bob", "entities": [entity]})


def test_sentences_end_at_marks_and_not_at_abbreviations(recipe: Any) -> None:
    text = 'Mr. J. Smith came. "Why?" he asked. Nobody knew.'
    found = recipe["embed"].split_sentences(text)
    assert found == ["Mr. J. Smith came.", '"Why?"', "he asked.", "Nobody knew."]


def test_sample_holds_no_text_of_dev(recipe: Any, tmp_path: Path) -> None:
    (tmp_path / "sgd").mkdir()
    turns = [{"text": "Where is the bank ?"}, {"text": "It is over there."}, {"text": "Thanks!"}]
    (tmp_path / "sgd" / "train.jsonl").write_text(json.dumps({"turns": turns}) + "\n")
    parts = {"train": [document_of("Here is a text.")], "dev": [document_of("where is the bank?")]}
    texts, dev, counter = recipe["embed"].sample_texts({"a": {**parts, "test": []}}, tmp_path)
    assert sorted(d["text"] for d in dev + texts) == ["Here is a text.", "It is over there."]
    assert counter == {"a": 1, "sgd": 1}
