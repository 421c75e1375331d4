"""`lmtool annotate`: the layers that are asked for, in one pass, as a pipe of commands gives."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_bundle import write_tiny_bundle

import lmtool
from lmtool.models import ModelGroup, _in_order, load
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


def test_a_script_that_the_encoder_does_not_know_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = ModelGroup([load(name, threads=1) for name in ("roles-en", "understand-en")])
    group.annotate(
        [lmtool.Document(text="A café in \N{LEFT DOUBLE QUOTATION MARK}Łódź\u201d \U0001f600")]
    )
    assert not caplog.messages
    read = [lmtool.Document(id=f"{n}.txt", text="дом стоит у реки. " * n) for n in (3, 4)]
    for document in read:
        group.annotate([document])
    (message,) = caplog.messages
    assert message.startswith("3.txt: the model does not know the script of this text")


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


class Asked:
    """A model of a task that writes some layers and takes others as given."""

    options = None

    def __init__(self, writes: str, given: str = "") -> None:
        layers = tuple(given.split())
        self.name = writes
        self.task = SimpleNamespace(layers=(writes,), given_layers=lambda options: layers)


@pytest.mark.parametrize(
    ("models", "order"),
    [
        (["frames", "events"], ["frames", "events"]),
        (["events frames", "frames"], ["frames", "events"]),
        (["a b", "b c", "c"], ["c", "b", "a"]),
        (["a b", "x", "b"], ["x", "b", "a"]),
        (["a b", "b a"], ["a", "b"]),  # each waits for the other
        (["a a"], ["a"]),  # nor does one wait for itself
    ],
)
def test_models_come_behind_those_that_write_what_they_take(
    models: list[str], order: list[str]
) -> None:
    asked = [Asked(*text.split(" ", 1)) for text in models]
    assert [model.name for model in _in_order(asked)] == order  # type: ignore[arg-type]


def test_a_model_named_first_runs_after_the_one_that_it_waits_for() -> None:
    first = load("roles-en", threads=1)
    second = load("roles-en", threads=1, predicates="given")
    (document,) = ModelGroup([second, first]).annotate([lmtool.Document(text=TEXT)])
    assert document.frames == second(first(TEXT)).frames


# ── Only what is asked for matters ───────────────────────────────────────────────────────────


@pytest.fixture
def models(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the user's folder of models, empty."""
    monkeypatch.setenv("LMTOOL_MODELS", str(home / "models"))
    return home / "models"


def test_a_damaged_model_that_is_not_asked_for_does_not_matter(models: Path) -> None:
    write_tiny_bundle(models / "extract-en", "extract-en")
    (models / "extract-en" / "head.onnx").write_bytes(b"?")
    result = run_cli("annotate", "--layers", "sentiment", "--text", "A joy.")
    assert result.exit_code == 0, result.stderr
    result = run_cli("annotate", "--text", "A joy.")
    assert result.exit_code == 4
    assert result.stderr.startswith("error: the model extract-en: ")
    assert "changed since it was written" in result.stderr
    assert "--layers runs the others without it" in result.stderr


def test_a_model_whose_record_is_damaged_is_not_left_out_in_silence(models: Path) -> None:
    (models / "extract-en").mkdir(parents=True)
    (models / "extract-en" / "bundle.json").write_text("{", "utf-8")
    result = run_cli("annotate", "--layers", "sentiment", "--text", "A joy.")
    assert result.exit_code == 0, result.stderr
    result = run_cli("annotate", "--text", "A joy.")
    assert result.exit_code == 4
    missing = "no model for 'extract' is installed, and the model extract-en cannot be read"
    assert missing in result.stderr


def test_a_choice_that_is_open_matters_only_where_it_is_asked_for(models: Path) -> None:
    write_tiny_bundle(models / "vectors-en", "vectors-en", task="embed")
    result = run_cli("annotate", "--layers", "sentiment", "--text", "A joy.")
    assert result.exit_code == 0, result.stderr
    result = run_cli("annotate", "--layers", "embedding", "--text", "A joy.")
    assert result.exit_code == 2
    assert "2 models are installed for 'embed': base-en, vectors-en" in result.stderr


def test_an_unknown_layer_is_refused_before_a_model_is_loaded(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr("lmtool.models.load_encoder", refuse)
    result = run_cli("annotate", "--layers", "smell", "--text", "x")
    assert result.exit_code == 2
    assert "no model finds smell" in result.stderr
    assert "inference" in result.stderr


# ── Options of the tasks ─────────────────────────────────────────────────────────────────────


def test_entities_are_found_again_beside_a_task_that_takes_something_as_given() -> None:
    once = run_cli("annotate", "--layers", "entities,relations,frames", "--text", TEXT).stdout
    for again in (
        run_cli("extract", "--frames", "-", stdin=once),
        run_cli("annotate", "--layers", "entities,relations,summary", "-", stdin=once),
    ):
        record = json.loads(again.stdout)
        assert record["entities"] == json.loads(once)["entities"]


def test_options_go_to_their_task() -> None:
    flags = ["--option", "understand.top=2", "--option", 'extract.labels=["LOC"]']
    layers = ["--layers", "entities,sentiment"]
    record = json.loads(run_cli("annotate", *layers, *flags, "--text", TEXT).stdout)
    assert [e["label"] for e in record["entities"]] == ["LOC"]
    assert len(record["labels"]["sentiment"]) == 2


def test_a_query_is_read_as_by_its_own_command(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("It rained all day in Rome. The king bought a red horse. She met the mayor.")
    query = "Was it wet and did it rain in Rome?"
    flags = [
        "--option",
        f"summarize.query={json.dumps(query)}",
        "--option",
        "summarize.sentences=1",
    ]
    found = run_cli("annotate", "--layers", "summary", *flags, "--whole-file", str(path)).stdout
    assert found == run_cli("summarize", "--query", query, "--sentences", "1", str(path)).stdout
    assert json.loads(found)["summary"]["text"] == "It rained all day in Rome."


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("threshold=0.8", "--option threshold: no TASK.NAME=VALUE"),
        ("roles.sense=1", "no model of a task 'roles' runs"),
        ("extract.treshold=0.8", "--option extract.…: unknown option 'treshold'"),
        ("extract.threshold=8", "--option extract.…: option 'threshold' is 8, not a number"),
        ('extract.labels=["X"]', "--option extract.…: unknown label 'X'"),
        ("summarize.together=true", "--option summarize.…: together: not beside other tasks"),
    ],
)
def test_an_option_that_fits_nothing_is_refused(option: str, message: str) -> None:
    result = run_cli("annotate", "--layers", "entities,summary", "--option", option, "--text", "x")
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_empty_name_of_a_layer_is_a_slip() -> None:
    result = run_cli("annotate", "--layers", "entities,,frames", "--text", "x")
    assert result.exit_code == 2
    assert "--layers 'entities,,frames': an empty name" in result.stderr
