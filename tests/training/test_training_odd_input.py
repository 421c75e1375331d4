"""Training on odd but legal input: what is learnt all the same, and what is refused with a word."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

import training_kit as kit

from lmtool import exporting
from lmtool.documents import Document, document_from_record
from lmtool.errors import DataError, UsageError
from lmtool.training.batches import Examples, Source, lowered
from lmtool.training.checkpoint import load_checkpoint
from lmtool.training.config import format_config, make_config
from lmtool.training.inference import model_from_checkpoint
from lmtool.training.learner import Learner, join_processes
from lmtool.training.run import prepare_run, train
from lmtool.windows import Encoding, TextEncoder

LEAST: dict[str, Any] = {"task": "extract", "data": ["a.jsonl"], "base": "b", "out": "o"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    kit.write_base(folder / "base")
    kit.write_documents(folder / "data.jsonl")
    return folder


@pytest.mark.parametrize("n_batches", [1, 2, 5, 8, 9])
def test_all_processes_have_as_many_batches(n_batches: int) -> None:
    """Where one had none, the others would wait for it without end."""
    groups = []
    for rank in range(4):
        place = SimpleNamespace(num_processes=4, process_index=rank)
        learner: Any = SimpleNamespace(accelerator=place, config=SimpleNamespace(accumulate=1))
        groups.append(Learner.groups(learner, [[number] for number in range(n_batches)]))
    sizes = [[len(group) for group in of_rank] for of_rank in groups]
    assert sizes == [[1] * math.ceil(n_batches / 4)] * 4
    seen = {int(batch[0]) for batch in itertools.chain(*itertools.chain(*groups))}
    assert seen == set(range(n_batches))


def test_a_small_weight_takes_one_document_at_least() -> None:
    encoder = TextEncoder(kit.tiny_tokenizer(), Encoding(max_tokens=32))
    task = kit.WordTagTask({"entities": ["LOC", "PER"]})
    documents = [kit.document(text) for text in kit.SENTENCES]
    examples = Examples([Source(task, documents, weight=0.01)], encoder)
    chosen = [examples.epoch(number) for number in range(20)]
    assert {len(epoch) for epoch in chosen} == {1}
    assert len({epoch[0].window.text for epoch in chosen}) > 1


def test_both_texts_of_a_pair_are_lowered() -> None:
    assert lowered(Document(text="It Rains", pair="İt is DRY")).pair == "İt is dry"


def test_a_pair_that_is_too_long_is_named_before_the_first_step(
    folder: Path, tmp_path: Path
) -> None:
    def write(name: str, pair: str) -> str:
        record = {"text": kit.SENTENCES[0], "pair": pair, "labels": {"a": [{"label": "x"}]}}
        (tmp_path / name).write_text(f"{json.dumps(record)}\n", "utf-8")
        return str(tmp_path / name)

    data, dev = write("data.jsonl", "Rome"), write("dev.jsonl", "Rome is late . " * 9)
    told = {"task": "understand", "data": [data], "dev": [dev], "out": str(tmp_path / "run")}
    with pytest.raises(DataError, match=r"dev\.jsonl:1: 'pair' has \d+ tokens, more than half"):
        prepare_run(kit.config(folder, **told))


def test_the_speed_of_a_model_of_pairs_counts_both_texts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"a": [{"label": "x"}]}
    records = [{"text": text, "pair": "Rome", "labels": labels} for text in kit.SENTENCES]
    (tmp_path / "data.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records), "utf-8")
    told = {"task": "understand", "data": [str(tmp_path / "data.jsonl")], "dev": []}
    run = prepare_run(kit.config(folder, **told, out=str(tmp_path / "run"), max_steps=1))
    list(run.train())
    model = model_from_checkpoint(load_checkpoint(tmp_path / "run" / "last"))
    documents = [document_from_record(record) for record in records]
    windows = model.encoder.windows_of_documents(documents, pairs=True)
    clock = itertools.count()
    monkeypatch.setattr(exporting, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    found = exporting._measure(model, {"dev": documents})
    assert found["tokens_per_second"] == sum(len(window.ids) for _, window in windows)


def test_a_label_that_is_named_twice_is_one(folder: Path, tmp_path: Path) -> None:
    labels = {"entities": ["PER", "LOC", "PER"]}
    list(
        train(
            kit.config(folder, out=str(tmp_path), labels=labels, max_steps=1), task=kit.WordTagTask
        )
    )
    checkpoint = load_checkpoint(tmp_path / "last", task=kit.WordTagTask)
    assert checkpoint.head().task.labels == {"entities": ["PER", "LOC"]}


def test_new_shapes_that_freeze_would_keep_at_zero(folder: Path, tmp_path: Path) -> None:
    first = kit.config(folder, out=str(tmp_path / "first"), shapes=True, max_steps=1)
    told = {"shapes": True, "freeze": 1, "max_steps": 1}
    with pytest.raises(UsageError, match="shapes: they are new, and freeze keeps them at zero"):
        prepare_run(kit.config(folder, out=str(tmp_path / "x"), **told), task=kit.WordTagTask)
    list(train(first, task=kit.WordTagTask))
    second = kit.config(
        folder, out=str(tmp_path / "second"), base=str(tmp_path / "first/last"), **told
    )
    list(train(second, task=kit.WordTagTask))
    name = "shapes.safetensors"
    own, base = (tmp_path / run / "last" / name for run in ("second", "first"))
    assert own.read_bytes() == base.read_bytes()


def test_adapters_are_not_resumed_on_another_base(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    base = tmp_path / "base"
    kit.write_base(base)
    config = kit.config(folder, base=str(base), tune="lora", out=str(tmp_path / "run"), max_steps=1)
    list(train(config, task=kit.WordTagTask))
    list(train(config, resume=True, task=kit.WordTagTask))
    other = kit.config(folder, out=str(tmp_path / "other"), max_steps=1)
    list(train(other, task=kit.WordTagTask))
    weights = tmp_path / "other" / "last" / "backbone" / "model.safetensors"
    (base / "model.safetensors").write_bytes(weights.read_bytes())
    with pytest.raises(UsageError, match="base: the base has changed since the run began"):
        prepare_run(config, resume=True, task=kit.WordTagTask)


# ── the configuration ────────────────────────────────────────────────────────────────────────


def test_keys_of_any_script_come_back_from_toml() -> None:
    labels = {"😀": ["a"], "\x7f": ["b"], 'a "b".c': ["c"]}
    form = {"kinds": {"😀": "one"}}
    text = format_config(make_config({**LEAST, "labels": labels, "form": form}))
    found = tomllib.loads(text)
    assert (found["labels"], found["form"]) == (labels, form)


def test_tables_come_back_from_toml_as_they_were() -> None:
    """Otherwise the run could not be resumed with the file that began it."""
    table = {"task": "extract", "data": ["a.jsonl"], "labels": {}, "form": {}, "weight": 0.5}
    config = make_config({"base": "b", "out": "o", "tasks": [table]})
    assert make_config(tomllib.loads(format_config(config))) == config


@pytest.mark.parametrize("weight", [math.inf, math.nan, -1.0])
def test_a_weight_is_a_number_above_0(weight: float) -> None:
    tables = [{"task": "extract", "data": ["a.jsonl"], "weight": weight}]
    with pytest.raises(UsageError, match=r"^tasks\[0\]\.weight: .* is out of range"):
        make_config({"base": "b", "out": "o", "tasks": tables})


@pytest.mark.parametrize("name", ["lr", "dev_share", "weight_decay"])
def test_what_is_no_number_is_out_of_range(name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: nan is out of range"):
        make_config({**LEAST, name: math.nan})


@pytest.mark.parametrize("name", ["a/b", ".."])
def test_a_head_is_a_file(name: str) -> None:
    tables = [{"task": "extract", "data": ["a.jsonl"], "name": name}]
    with pytest.raises(UsageError, match=r"^tasks\[0\]\.name: '.*' is no name of a file"):
        make_config({"base": "b", "out": "o", "tasks": tables})


@pytest.mark.parametrize("device", ["cpu:0", "cuda:x", "cuda:", "gpu"])
def test_a_device_that_there_is_not(device: str) -> None:
    config = dataclasses.replace(make_config(LEAST), device=device)
    with pytest.raises(UsageError, match=f"^device: '{device}' is unknown"):
        join_processes(config)
