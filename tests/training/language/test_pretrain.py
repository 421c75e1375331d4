"""Pretraining runs as a whole: they learn, resume bit for bit, and are a base of other models."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import pretrain_kit as kit
import torch

from lmtool.errors import BundleError, DataError, UsageError
from lmtool.training.backbone import quiet
from lmtool.training.checkpoint import load_state
from lmtool.training.config import convert_config, format_config, read_toml
from lmtool.training.language.checkpoint import (
    load_language_checkpoint,
    load_model,
    load_text_tokenizer,
    read_language_checkpoint,
)
from lmtool.training.language.config import PretrainConfig
from lmtool.training.language.network import sees_ahead
from lmtool.training.language.pretrain import prepare_pretraining

OBJECTIVES = ("causal", "masked")
EVERYTHING = {"epochs": 2, "eval_every": 4, "save_every": 3, "memory_tokens": 48, "dropout": 0.1}
"""All that random states and progress depend on."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pretraining")


@pytest.fixture(scope="module", params=OBJECTIVES)
def undisturbed(request: pytest.FixtureRequest, folder: Path) -> Path:
    run = folder / f"undisturbed-{request.param}"
    config = kit.config(folder, objective=request.param, out=str(run), **EVERYTHING)
    assert len(list(prepare_pretraining(config).train())) > 12
    return run


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test fail that reads text."""

    def read(*arguments: object) -> None:
        raise AssertionError("text is read")

    monkeypatch.setattr("lmtool.training.language.pretrain._make_tokens", read)


def test_a_text_is_learnt(undisturbed: Path) -> None:
    lines = kit.metrics(undisturbed)
    assert lines[-1]["scores"]["loss"] < 0.8 * lines[0]["scores"]["loss"]
    record = read_language_checkpoint(undisturbed / "best")
    assert record.metrics == min((line["scores"] for line in lines), key=lambda s: s["loss"])
    assert math.isclose(record.metrics["perplexity"], math.exp(record.metrics["loss"]))
    assert ("bits_per_byte" in record.metrics) is (record.objective == "causal")
    assert record.context == 16
    assert list(record.data) == ["text.txt"]


def test_the_model_folder_is_transformers_own(undisturbed: Path) -> None:
    import transformers

    record, model, tokenizer = load_language_checkpoint(undisturbed / "best")
    kind: Any = {
        "causal": transformers.AutoModelForCausalLM,
        "masked": transformers.AutoModelForMaskedLM,
    }[record.objective]
    theirs = kind.from_pretrained(undisturbed / "best" / "model")
    for name, tensor in model.state_dict().items():
        assert theirs.state_dict()[name].equal(tensor), name
    auto: Any = transformers.AutoTokenizer
    read = auto.from_pretrained(undisturbed / "best" / "model")
    text = "the old cat sees 猫 and 7 dogs ."
    assert read(text)["input_ids"] == tokenizer(text)["input_ids"]


@pytest.mark.parametrize("stop", [2, 7])
def test_an_abandoned_run_resumes_bit_for_bit(
    stop: int, undisturbed: Path, folder: Path, tmp_path: Path
) -> None:
    objective = undisturbed.name.rpartition("-")[2]
    config = kit.config(folder, objective=objective, out=str(tmp_path / "run"), **EVERYTHING)
    steps = prepare_pretraining(config).train()
    list(itertools.islice(steps, stop))
    steps.close()  # type: ignore[attr-defined]
    list(prepare_pretraining(config, resume=True).train())
    assert kit.weights(tmp_path / "run") == kit.weights(undisturbed)
    assert kit.metrics(tmp_path / "run") == kit.metrics(undisturbed)


def run_script(arguments: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True
    )


def test_a_killed_run_resumes_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    whole = kit.config(folder, out=str(tmp_path / "whole"), **EVERYTHING)
    list(prepare_pretraining(whole).train())
    config = kit.config(folder, out=str(tmp_path / "run"), **EVERYTHING)
    (tmp_path / "config.toml").write_text(format_config(config), "utf-8")
    killed = run_script([kit.__file__, str(tmp_path / "config.toml"), "5"])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_state(tmp_path / "run" / "last")[1].progress.step == 4
    saved = convert_config(PretrainConfig, read_toml(tmp_path / "run" / "config.toml"))
    list(prepare_pretraining(saved, resume=True).train())
    assert kit.weights(tmp_path / "run") == kit.weights(tmp_path / "whole")
    assert kit.metrics(tmp_path / "run") == kit.metrics(tmp_path / "whole")


def test_two_processes_take_the_steps_of_one(folder: Path, tmp_path: Path) -> None:
    wanted, files = [], []
    for objective in OBJECTIVES:  # 7 rows: the two have different shares
        told = {"objective": objective, "max_steps": 6, "eval_every": 3, "batch_tokens": 112}
        alone = kit.config(folder, out=str(tmp_path / f"{objective}-one"), **told)
        steps = prepare_pretraining(alone).train()
        wanted += [(step.number, step.loss, step.scores) for step in steps]
        device = "cpu" if torch.cuda.is_available() else "auto"  # which joins them without a GPU
        config = kit.config(folder, out=str(tmp_path / f"{objective}-two"), device=device, **told)
        files.append(str(tmp_path / f"{objective}.toml"))
        Path(files[-1]).write_text(format_config(config), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    done = run_script([*launcher, kit.__file__, *files], OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert [row[0] for row in found] == [row[0] for row in wanted]
    assert [row[1] for row in found] == pytest.approx([row[1] for row in wanted], rel=1e-4)
    for (_, _, scores), (_, _, theirs) in zip(found, wanted, strict=True):
        assert scores == (theirs and pytest.approx(theirs, rel=1e-4))


def test_a_run_that_is_stopped_says_where(folder: Path, tmp_path: Path) -> None:
    run = prepare_pretraining(kit.config(folder, out=str(tmp_path / "run")))
    steps = run.train()
    assert [next(steps).number, next(steps).number] == [1, 2]
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert run.saved_step == 2
    assert read_language_checkpoint(tmp_path / "run" / "last").step == 2


def test_a_checkpoint_is_adapted_to_other_text(undisturbed: Path, tmp_path: Path) -> None:
    record = read_language_checkpoint(undisturbed / "best")
    (tmp_path / "text.txt").write_text("river tree river tree river tree .\n" * 60, "utf-8")
    told = {"objective": record.objective, "base": str(undisturbed / "best"), "vocabulary": 0}
    more = {"dev": [str(tmp_path / "text.txt")], "eval_every": 1, "length": None, "epochs": 6}
    config = dataclasses.replace(kit.config(tmp_path, **told, **more), size="small")
    steps = list(prepare_pretraining(config).train())
    scores = [step.scores["loss"] for step in steps if step.scores]
    assert scores[-1] < 0.7 * scores[0]
    adapted = read_language_checkpoint(tmp_path / "run" / "best")
    assert (adapted.base, adapted.context) == (str(undisturbed / "best"), 16)
    one, other = (
        (run / "best/model/tokenizer.json").read_bytes() for run in (undisturbed, tmp_path / "run")
    )
    assert one == other


def test_a_base_of_the_other_kind_is_refused(undisturbed: Path, tmp_path: Path) -> None:
    own = read_language_checkpoint(undisturbed / "best").objective
    told = {"objective": next(o for o in OBJECTIVES if o != own), "vocabulary": 0}
    with pytest.raises((UsageError, BundleError), match=own):
        prepare_pretraining(kit.config(tmp_path, base=str(undisturbed / "best"), **told))


def test_without_held_out_text_the_last_checkpoint_is_the_best(
    folder: Path, tmp_path: Path
) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), dev_share=0.0, max_steps=2)
    assert [step.scores for step in prepare_pretraining(config).train()] == [None, None]
    assert read_language_checkpoint(tmp_path / "run" / "best").step == 2


def test_a_run_is_resumed_as_it_was(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), max_steps=1)
    list(prepare_pretraining(config).train())
    other = kit.config(folder, out=str(tmp_path / "run"), max_steps=1, lr=1.0)
    with pytest.raises(UsageError, match=r"^lr: the run in .* has 0.005, not 1.0"):
        prepare_pretraining(other, resume=True)
    with pytest.raises(UsageError, match="exists and is not empty"):
        prepare_pretraining(config)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_damaged_checkpoint_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), max_steps=1)
    list(prepare_pretraining(config).train())
    path = tmp_path / "run" / "best" / "model" / name
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(BundleError, match=name):
        load_language_checkpoint(tmp_path / "run" / "best")


def test_bf16_learns(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), precision="bf16", epochs=3)
    losses = [step.loss for step in prepare_pretraining(config).train()]
    assert losses[-1] < 0.8 * losses[0]


def test_a_bad_record_is_named_or_left_out(tmp_path: Path) -> None:
    lines = [json.dumps({"text": line}) for line in kit.sentences(100)]
    (tmp_path / "text.jsonl").write_text("\n".join([*lines[:50], '{"txt": 1}', *lines[50:]]))
    told = {"data": [str(tmp_path / "text.jsonl")], "max_steps": 1}
    with pytest.raises(DataError, match=r"text.jsonl:51: no field 'text'"):
        prepare_pretraining(kit.config(tmp_path, **told))
    said: list[str] = []
    config = kit.config(tmp_path, **told, skip_bad=True, out=str(tmp_path / "other"))
    prepare_pretraining(config, note=said.append)
    assert "1 bad records left out" in said[-1]


def test_dropout_is_that_of_any_kind(folder: Path, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = kit.config(folder, out=str(tmp_path / "run"), dropout=0.3)
    list(itertools.islice(prepare_pretraining(config).train(), 1))
    tokenizer = load_text_tokenizer(str(tmp_path / "run" / "data" / "tokenizer"))
    end = tokenizer.eos_token_id
    shape = {"vocab_size": len(tokenizer), "bos_token_id": end, "eos_token_id": end}
    with quiet():
        GPT2LMHeadModel(
            GPT2Config(**shape, n_embd=32, n_layer=1, n_head=2, n_positions=16)
        ).save_pretrained(tmp_path / "base")
        tokenizer.save_pretrained(tmp_path / "base")
    for size in ("small", write_size(tmp_path / "gpt2.json", "gpt2")):
        told = {"base": str(tmp_path / "base"), "vocabulary": 0} if size == "small" else {}
        config = kit.config(tmp_path, **told, dropout=0.3, out=str(tmp_path / Path(size).stem))
        model = prepare_pretraining(dataclasses.replace(config, size=size)).learner.model
        rates = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
        assert rates == {0.3}, size


# ── what cannot work ─────────────────────────────────────────────────────────────────────────


def write_size(path: Path, kind: str, **changes: Any) -> str:
    path.write_text(json.dumps({"model_type": kind, **kit.SHAPE, **changes}), "utf-8")
    return str(path)


def test_a_kind_that_can_be_both_is_made_a_decoder(tmp_path: Path) -> None:
    size = write_size(tmp_path / "bert.json", "bert")
    run = prepare_pretraining(kit.config(tmp_path, size=size, max_steps=1))
    assert not sees_ahead(run.learner.model)
    list(run.train())
    _, model, _ = load_language_checkpoint(tmp_path / "run" / "best")
    assert model.config.is_decoder


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("", {}, "size: .*nothere.json: no configuration of transformers"),
        ("llama", {"num_attention_heads": 3}, "not a multiple of the number of attention heads"),
        ("bert", {"num_attention_heads": 3}, "no model can be made of it: ValueError: The hidden"),
        ("llama", {"num_hidden_layers": "two"}, "no configuration of transformers"),
        ("llama", {"intermediate_size": -1}, "no model can be made of it: RuntimeError"),
        ("vit", {}, "transformers has no causal model of the kind vit"),
        ("xlm", {}, "of the kind xlm sees the tokens that it has to predict"),
    ],
)
def test_a_size_that_cannot_work_is_said_before_the_text_is_read(
    kind: str, changes: dict[str, Any], message: str, tmp_path: Path, unread: None
) -> None:
    size = str(tmp_path / "nothere.json")
    if kind:
        size = write_size(tmp_path / "size.json", kind, **changes)
    with pytest.raises(UsageError, match=message):
        prepare_pretraining(kit.config(tmp_path, size=size))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 4096}, "length: 4096 is more than the"),
        ({"length": 8}, "size: base is given beside --base"),
        ({"base": "", "tokenizer": "./nothere"}, "./nothere: no such folder"),
    ],
)
def test_a_base_that_cannot_work_is_said_before_the_text_is_read(
    changes: dict[str, Any], message: str, undisturbed: Path, tmp_path: Path, unread: None
) -> None:
    own = read_language_checkpoint(undisturbed / "best").objective
    told = {"objective": own, "vocabulary": 0, "base": str(undisturbed / "best"), **changes}
    config = kit.config(tmp_path, **told)
    with pytest.raises((UsageError, BundleError), match=message):
        prepare_pretraining(dataclasses.replace(config, size="base" if told["base"] else "tiny"))
    assert not (tmp_path / "run").exists()


def test_a_pickled_base_is_said_with_the_way_out(
    undisturbed: Path, tmp_path: Path, unread: None
) -> None:
    own = read_language_checkpoint(undisturbed / "best").objective
    base = tmp_path / "base"
    shutil.copytree(undisturbed / "best" / "model", base)
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    config = kit.config(tmp_path, objective=own, vocabulary=0, base=str(base))
    with pytest.raises(BundleError, match="pickled weights can run code") as caught:
        prepare_pretraining(dataclasses.replace(config, size="small", length=None))
    kind = {"causal": "AutoModelForCausalLM", "masked": "AutoModelForMaskedLM"}[own]
    assert f"import {kind} as M, AutoTokenizer as T" in caught.value.hint
    assert f"from_pretrained('{base}').save_pretrained('safe')" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_a_base_that_sees_ahead_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    config = BertConfig(**{**kit.SHAPE, "vocab_size": 40})
    with quiet():
        BertLMHeadModel(config).save_pretrained(tmp_path / "base")
    with pytest.raises(BundleError, match="it sees the tokens that it has to predict"):
        load_model(str(tmp_path / "base"), "causal")


def test_a_loss_that_is_no_number_names_no_flag_that_there_is_not(tmp_path: Path) -> None:
    config = kit.config(tmp_path, lr=1e30, clip=0.0)
    with pytest.raises(UsageError, match="the loss is nan at step") as caught:
        list(prepare_pretraining(config).train())
    assert "--head-lr" not in caught.value.hint
