"""`lmtool annotate`: the layers that are asked for, in one pass, as a pipe of commands gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmtool.models import ModelGroup, load
from lmtool.testing import run_cli

TEXT = "Angela Merkel visited Paris in May. She met the mayor there."


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "a.txt"
    path.write_text(f"{TEXT}\nIt rained.\n\n", "utf-8")
    return str(path)


def test_a_pipe_gives_the_same(text: str) -> None:
    first = run_cli("extract", "--only", "entities", text).stdout
    piped = run_cli("roles", "-", stdin=first).stdout
    together = run_cli("annotate", "--layers", "entities,frames", text).stdout
    assert piped == together
    record = json.loads(together.splitlines()[0])
    assert [e["text"] for e in record["entities"]][:2] == ["Angela Merkel", "Paris"]
    assert [f["predicate"]["text"] for f in record["frames"]] == ["visited", "met"]


def test_all_layers_by_default() -> None:
    record = json.loads(run_cli("annotate", "--text", TEXT).stdout)
    layers = {"labels", "entities", "relations", "events", "frames", "coverage"}
    assert record.keys() == {"text", *layers}
    assert record["labels"].keys() == {"intent", "sentiment", "topic"}


def test_schemes_are_layers_too() -> None:
    result = run_cli("annotate", "--layers", "sentiment", "--text", "A joy to watch.")
    record = json.loads(result.stdout)
    assert record["labels"]["sentiment"][0]["label"] == "positive"
    assert record.keys() == {"text", "labels", "coverage"}


def test_an_unknown_layer_is_named() -> None:
    result = run_cli("annotate", "--layers", "entities,smell", "--text", "x")
    assert result.exit_code == 2
    assert "no model finds smell" in result.stderr
    assert "entities, events, frames" in result.stderr


def test_models_that_share_a_backbone_share_its_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [load(name, threads=1) for name in ("extract-en", "roles-en", "understand-en")]
    calls = []
    hidden = type(models[0]).hidden

    def counted(self: object, windows: object) -> object:
        calls.append(self)
        return hidden(self, windows)  # type: ignore[arg-type]

    monkeypatch.setattr(type(models[0]), "hidden", counted)
    (document,) = ModelGroup(models).annotate([models[0](TEXT)])
    assert len(calls) == 2  # one alone, and one for all three
    assert document.frames
    assert document.labels


def test_documents_without_a_pair_are_left_alone_beside_others() -> None:
    group = ModelGroup([load("roles-en", threads=1), load("inference-en", threads=1)])
    (document,) = group.annotate([load("roles-en", threads=1)(TEXT)])
    assert document.labels is None
    assert document.frames


def test_a_model_that_takes_a_layer_as_given_runs_after_the_one_that_writes_it() -> None:
    first = load("roles-en", threads=1, roles=["ARG0"])
    second = load("roles-en", threads=1, predicates="given")
    document = first(TEXT).without_layers(["frames", "coverage"])
    (together,) = ModelGroup([first, second]).annotate([document])
    assert together == second(first(document))
    assert {a.role for frame in together.frames or () for a in frame.arguments} > {"ARG0"}
