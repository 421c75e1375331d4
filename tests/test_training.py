"""Training runs as a whole: they learn, and they resume bit for bit."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import training_kit as kit
from cli_kit import Install

from lmtool.errors import DataError, UsageError
from lmtool.models import find_task
from lmtool.plugins import registry
from lmtool.training.checkpoint import load_checkpoint, load_state
from lmtool.training.config import format_config, read_config
from lmtool.training.inference import model_from_checkpoint
from lmtool.training.run import _check_form_keys, _check_layers, prepare_run, train

TIMES = ("seconds", "tokens_per_second")
EVERYTHING = {
    "epochs": 8,
    "batch_tokens": 32,
    "shapes": True,
    "lower_share": 0.5,
    "accumulate": 2,
    "eval_every": 4,
    "save_every": 3,
    "patience": 2,
    "weight_decay": 0.1,
    "lr": 5e-4,
}
"""All that random states, progress and stopping early depend on."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    kit.write_base(folder / "base")
    kit.write_documents(folder / "data.jsonl")
    return folder


def weights(run: Path) -> dict[str, bytes]:
    """The bytes of all tensors that a run left, but for states that hold times."""
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*.safetensors"))}


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def test_eight_documents_are_learnt_by_heart(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), epochs=30, patience=0)
    steps = list(train(config, task=kit.WordTagTask))
    assert steps[-1].scores == {"documents": 8, "f1": 100.0}
    assert [step.number for step in steps] == list(range(1, steps[0].total + 1))

    checkpoint = load_checkpoint(tmp_path / "run" / "best", task=kit.WordTagTask)
    assert checkpoint.info.metrics == {"documents": 8, "f1": 100.0}
    document = model_from_checkpoint(checkpoint)("Marie Curie met Ada Lovelace in Rome .")
    assert [(document.text[e.start : e.end], e.label) for e in document.entities or ()] == [
        ("Marie Curie", "PER"), ("Ada Lovelace", "PER"), ("Rome", "LOC"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Path:
    run = folder / "undisturbed"
    steps = list(train(kit.config(folder, out=str(run), **EVERYTHING), task=kit.WordTagTask))
    assert len(steps) > 8
    return run


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_an_abandoned_run_resumes_bit_for_bit(
    stop: int, folder: Path, undisturbed: Path, tmp_path: Path
) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), **EVERYTHING)
    steps = train(config, task=kit.WordTagTask)
    list(itertools.islice(steps, stop))
    steps.close()  # type: ignore[attr-defined]
    list(train(config, resume=True, task=kit.WordTagTask))
    assert weights(tmp_path / "run") == weights(undisturbed)
    assert metrics(tmp_path / "run") == metrics(undisturbed)


def test_a_killed_run_resumes_bit_for_bit(folder: Path, undisturbed: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), **EVERYTHING)
    (tmp_path / "config.toml").write_text(format_config(config))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, kit.__file__, str(tmp_path / "config.toml"), "5"]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_state(tmp_path / "run" / "last")[1].progress.step == 4

    list(train(read_config(tmp_path / "run" / "config.toml"), resume=True, task=kit.WordTagTask))
    assert weights(tmp_path / "run") == weights(undisturbed)
    assert metrics(tmp_path / "run") == metrics(undisturbed)


def test_a_finished_run_resumes_to_nothing(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), max_steps=2)
    assert len(list(train(config, task=kit.WordTagTask))) == 2
    before = weights(tmp_path / "run")
    assert list(train(config, resume=True, task=kit.WordTagTask)) == []
    assert weights(tmp_path / "run") == before


def test_patience_stops_a_run_without_gain(folder: Path, tmp_path: Path) -> None:
    config = kit.config(
        folder, out=str(tmp_path / "run"), lr=0.0, head_lr=0.0, eval_every=1, patience=2
    )
    steps = list(train(config, task=kit.WordTagTask))
    assert [step.is_best for step in steps] == [True, False, False]
    assert steps[-1].is_last
    assert list(train(config, resume=True, task=kit.WordTagTask)) == []


def test_sigint_saves_and_raises(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"))
    steps = train(config, task=kit.WordTagTask)
    assert [next(steps).number, next(steps).number] == [1, 2]
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert load_state(tmp_path / "run" / "last")[1].progress.step == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_checkpoint_is_a_base(folder: Path, tmp_path: Path) -> None:
    first = kit.config(folder, out=str(tmp_path / "first"), shapes=True, max_steps=3)
    list(train(first, task=kit.WordTagTask))
    last = str(tmp_path / "first" / "last")
    second = kit.config(
        folder, out=str(tmp_path / "second"), base=last, shapes=True, max_steps=1, lr=0, head_lr=0
    )  # fmt: skip
    list(train(second, task=kit.WordTagTask))
    for name in ("shapes.safetensors", "backbone/model.safetensors"):
        assert (tmp_path / "second" / "last" / name).read_bytes() == Path(last, name).read_bytes()


def test_without_dev_the_last_checkpoint_is_the_best(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), dev=[], dev_share=0.0, max_steps=2)
    steps = list(train(config, task=kit.WordTagTask))
    assert [step.scores for step in steps] == [None, None]
    assert load_checkpoint(tmp_path / "run" / "best", task=kit.WordTagTask).info.step == 2


def test_bf16_trains(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), precision="bf16", epochs=30)
    assert list(train(config, task=kit.WordTagTask))[-1].scores == {"documents": 8, "f1": 100.0}


@pytest.mark.parametrize("optimizer", ["sgd", "adafactor"])
def test_other_optimizers_learn_and_resume(optimizer: str, folder: Path, tmp_path: Path) -> None:
    changes = {"optimizer": optimizer, "max_steps": 6, "save_every": 2, "lr": 0.01}
    for name in ("whole", "cut"):
        config = kit.config(folder, out=str(tmp_path / name), **changes)
        steps = train(config, task=kit.WordTagTask)
        losses = [step.loss for step in itertools.islice(steps, 3 if name == "cut" else 6)]
        steps.close()  # type: ignore[attr-defined]
        assert losses[-1] < losses[0]
    list(train(config, resume=True, task=kit.WordTagTask))
    assert weights(tmp_path / "whole") == weights(tmp_path / "cut")


def test_a_folder_in_the_way_is_a_usage_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="exists and is not empty"):
        prepare_run(kit.config(folder, out=str(tmp_path)), task=kit.WordTagTask)


def test_a_run_is_resumed_as_it_was(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), max_steps=1)
    list(train(config, task=kit.WordTagTask))
    other = kit.config(folder, out=str(tmp_path / "run"), max_steps=1, lr=1.0)
    with pytest.raises(UsageError, match=r"^lr: the run in .* has 0.002, not 1.0"):
        prepare_run(other, resume=True, task=kit.WordTagTask)


def test_changed_data_are_not_resumed_on(folder: Path, tmp_path: Path) -> None:
    data = kit.write_documents(tmp_path / "data.jsonl")
    config = kit.config(folder, data=[data], out=str(tmp_path / "run"), max_steps=1)
    list(train(config, task=kit.WordTagTask))
    kit.write_documents(tmp_path / "data.jsonl", kit.SENTENCES[:4])
    with pytest.raises(UsageError, match="data files have changed"):
        prepare_run(config, resume=True, task=kit.WordTagTask)


def test_a_bad_record_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
    config = kit.config(folder, data=[str(tmp_path / "bad.jsonl")], out=str(tmp_path / "run"))
    with pytest.raises(DataError, match=r"bad.jsonl:2: no field 'text'"):
        prepare_run(config, task=kit.WordTagTask)


def test_data_without_gold_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_text('{"text": "a"}\n')
    config = kit.config(folder, data=[str(tmp_path / "raw.jsonl")], out=str(tmp_path / "run"))
    with pytest.raises(DataError, match="none of the 1 documents has gold for the task 'wordtag'"):
        prepare_run(config, task=kit.WordTagTask)


def test_a_task_that_no_plugin_has_is_a_usage_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no plugin has a task 'unheard'"):
        prepare_run(kit.config(folder, task="unheard", out=str(tmp_path / "run")))


def test_a_task_without_a_head_is_not_among_those_to_train() -> None:
    with pytest.raises(UsageError) as caught:
        find_task("unheard")
    assert (
        caught.value.hint == "tasks with a head are: embed, extract, roles, summarize, understand"
    )
    with pytest.raises(UsageError, match="'chat' is answered by a language model"):
        find_task("chat")


@pytest.mark.parametrize(
    ("task", "labels", "layer", "there"),
    [
        ("extract", {"entities": ["PER"]}, "events", "entities"),
        ("extract", {"events": ["a"], "arguments": ["b"]}, "arguments", "events"),
        ("roles", {"roles": ["ARG0"]}, "roles", "frames"),
        ("understand", {"mood": ["glad"]}, "topic", "labels, mood"),
        ("embed", {}, "nosuch", "embedding"),
    ],
)
def test_a_layer_that_the_data_has_not_is_refused(
    task: str, labels: dict[str, list[str]], layer: str, there: str
) -> None:
    with pytest.raises(UsageError) as caught:
        _check_layers(find_task(task), labels, [layer])
    assert caught.value.message == f"layers: the data has no gold for {layer!r}"
    assert caught.value.hint == f"it has: {there}"
    _check_layers(find_task(task), labels, there.split(", "))


def test_layers_to_learn_are_checked_as_a_run_begins(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, task="extract", layers=["arguments"], out=str(tmp_path / "run"))
    with pytest.raises(UsageError, match="layers: the data has no gold for 'arguments'"):
        prepare_run(config)


@pytest.mark.parametrize(
    ("task", "form", "message", "hint"),
    [
        (
            "roles",
            {"widht": 64},
            "roles reads no key 'widht'",
            "the keys are: feedforward, layers, reach, width",
        ),
        (
            "understand",
            {"kindz": 1},
            "understand reads no key 'kindz'",
            "the keys are: kinds, none, pairs, ranges, temperatures, thresholds",
        ),
        (
            "extract",
            {"events": {"roels": {}}},
            "extract reads no key 'events.roels'",
            "the keys are: events.reach, events.roles",
        ),
        (
            "extract",
            {"events": 3},
            "events is 3, no table",
            "its keys are: events.roles, events.reach",
        ),
    ],
)
def test_a_key_of_the_form_that_a_task_does_not_read_is_refused(
    task: str, form: dict[str, Any], message: str, hint: str
) -> None:
    kind = find_task(task)
    with pytest.raises(UsageError) as caught:
        _check_form_keys(kind, form, kind.form_keys)
    assert caught.value.message == f"form: {message}"
    assert caught.value.hint == hint


def test_the_form_is_checked_as_a_run_begins(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, task="extract", form={"relatons": 3}, out=str(tmp_path / "run"))
    with pytest.raises(UsageError, match="form: extract reads no key 'relatons'"):
        prepare_run(config)
    form = {"relations": {"bias": 0.5}, "events": {"reach": 1}}
    prepare_run(kit.config(folder, task="extract", form=form, out=str(tmp_path / "run")))


OBSERVER = """
    import lmtool

    seen = []

    @lmtool.hookimpl
    def lmtool_on_train_step(step):
        seen.append(step.number)
"""


def test_a_plugin_that_only_observes_sees_each_step(
    folder: Path, tmp_path: Path, install: Install
) -> None:
    module = install("watcher", OBSERVER)
    registry.cache_clear()
    try:
        config = kit.config(folder, out=str(tmp_path / "run"), max_steps=2)
        list(train(config, task=kit.WordTagTask))
    finally:
        registry.cache_clear()
    assert sys.modules[module].seen == [1, 2]


def test_a_resumed_run_keeps_scores_and_configuration(folder: Path, tmp_path: Path) -> None:
    values = {"out": str(tmp_path / "run"), "max_steps": 4, "eval_every": 2, "save_every": 1}
    steps = prepare_run(kit.config(folder, **values), task=kit.WordTagTask).train()
    assert [next(steps).number for _ in range(2)] == [1, 2]
    steps.close()
    before = (tmp_path / "run" / "config.toml").read_bytes()
    metrics = load_checkpoint(tmp_path / "run" / "last", task=kit.WordTagTask).info.metrics
    assert metrics
    other = kit.config(folder, **{**values, "save_every": 3})
    run = prepare_run(other, resume=True, task=kit.WordTagTask)
    assert run.saved_step == 2
    steps = run.train()
    assert [next(steps).number, run.saved_step] == [3, 3]
    steps.close()
    last = load_checkpoint(tmp_path / "run" / "last", task=kit.WordTagTask)
    assert (last.info.step, last.info.metrics) == (3, metrics)
    assert (tmp_path / "run" / "config.toml").read_bytes() == before
    assert not (tmp_path / "run" / ".config.toml.new").exists()


def test_two_checkpoints_are_models_of_two_names(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), max_steps=2, save_every=1)
    names = []
    for _ in train(config, task=kit.WordTagTask):
        checkpoint = load_checkpoint(tmp_path / "run" / "last", task=kit.WordTagTask)
        names.append(model_from_checkpoint(checkpoint).name)
    assert names[0] != names[1]
    assert all(name.startswith("checkpoint wordtag ") for name in names)
    assert names[1] == model_from_checkpoint(checkpoint).name
