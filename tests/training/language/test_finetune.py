"""Language models tuned to tasks: they learn, and runs resume bit for bit."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
import tuning_kit as kit

from lmtool._comparison import LEAST_TOKENS
from lmtool.errors import BundleError, DataError, UsageError
from lmtool.language import Sampling
from lmtool.language_export import checkpoint_export, write_language_bundle
from lmtool.testing import run_cli
from lmtool.textmodels import load_text_model
from lmtool.training.backbone import quiet
from lmtool.training.config import format_config
from lmtool.training.language.answers import TorchLanguage
from lmtool.training.language.checkpoint import (
    load_language_checkpoint,
    load_model,
    read_language_checkpoint,
)
from lmtool.training.language.finetune import prepare_finetuning
from lmtool.training.language.likelihood import evaluate_checkpoint
from lmtool.training.language.tuning import make_finetune_config

TIMES = ("seconds", "tokens_per_second")
SHORT = {
    "epochs": 4, "batch_tokens": 64, "max_tokens": 32, "eval_every": 4, "save_every": 3,
    "eval_samples": 2,
}  # fmt: skip
"""Two rows of 32 tokens a step, in another order in each epoch."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finetune")
    kit.write_base(folder / "base")
    kit.write_records(folder / "data.jsonl", kit.translations())
    return folder


def weights(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*.safetensors"))}


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def tuned(folder: Path, **changes: Any) -> list[Any]:
    return list(prepare_finetuning(kit.config(folder, **changes)).train())


@pytest.fixture(scope="module")
def learnt(folder: Path) -> Path:
    tuned(folder, out=str(folder / "learnt"), epochs=80, eval_every=80)
    return folder / "learnt" / "best"


def test_eight_translations_are_learnt_by_heart(learnt: Path) -> None:
    record = read_language_checkpoint(learnt)
    scores = record.metrics
    assert {name: scores[name] for name in ("samples", "bleu", "chrf", "exact_match")} == {
        "samples": 8, "bleu": 100.0, "chrf": 100.0, "exact_match": 100.0,
    }  # fmt: skip
    assert 1 <= scores["perplexity"] < 1.1
    assert (record.task, record.context, record.step) == ("translate", kit.CONTEXT, 80)
    assert (record.form["from"], record.form["to"], record.form["chat"]) == ("en", "zh", False)
    documents = kit.documents(kit.translations())
    found = evaluate_checkpoint(learnt, documents, device="cpu", threads=1)
    assert (found["documents"], found["exact_match"]) == (8, 100.0)
    assert found["perplexity"] == pytest.approx(scores["perplexity"])


def test_what_is_learnt_is_written_by_the_bundle(learnt: Path, tmp_path: Path) -> None:
    source, options = checkpoint_export(learnt, "mine", precision="fp32")
    info = write_language_bundle(source, tmp_path / "mine", options)
    assert info.metrics["fp32"]["compared_tokens"] >= LEAST_TOKENS
    model = load_text_model(tmp_path / "mine", max_tokens=24)
    found = [document.fields["translation"]["text"] for document in model.pipe(kit.TRANSLATIONS)]
    assert found == list(kit.TRANSLATIONS.values())


def test_dialogues_are_learnt_through_the_default_template(folder: Path, tmp_path: Path) -> None:
    data = kit.write_records(tmp_path / "chat.jsonl", kit.dialogues())
    changes = {"task": "chat", "data": [data], "dev": [data], "out": str(tmp_path / "run")}
    steps = tuned(folder, **changes, epochs=60, eval_every=60)
    assert steps[-1].scores["exact_match"] == 100.0
    record, model, tokenizer = load_language_checkpoint(tmp_path / "run" / "best")
    assert record.form == {"chat": True}
    asked = kit.dialogues()[0]["messages"][:3]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert prompt.endswith("User: I am Ann.<|endoftext|>Assistant:")

    speech = kit.speech(str(tmp_path / "run" / "best"))
    language = TorchLanguage(model, speech.prompts, context=record.context, pad=speech.pad)
    assert language.chat_prompt(asked) == prompt
    ((answer,),) = language.complete([prompt], Sampling(max_tokens=32))
    assert (answer.text, answer.finish) == (" Nice to meet you, Ann.", "stop")


def test_plain_text_is_learnt(folder: Path, tmp_path: Path) -> None:
    data = kit.write_records(tmp_path / "text.jsonl", [{"text": kit.STORY}])
    changes = {"task": "generate", "data": [data], "dev": [data], "out": str(tmp_path / "run")}
    steps = tuned(folder, **changes, epochs=60, eval_every=60)
    assert set(steps[-1].scores) == {"loss", "perplexity"}
    assert steps[-1].scores["perplexity"] < 1.5


@pytest.fixture(scope="module", params=["full", "lora"])
def undisturbed(request: pytest.FixtureRequest, folder: Path) -> Path:
    run = folder / f"undisturbed-{request.param}"
    changes = {"tune": request.param, "adapter": request.param == "lora"}
    assert len(tuned(folder, out=str(run), **SHORT, **changes)) == 8
    return run


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_an_abandoned_run_resumes_bit_for_bit(
    stop: int, folder: Path, undisturbed: Path, tmp_path: Path
) -> None:
    tune = undisturbed.name.rpartition("-")[2]
    changes = {"tune": tune, "adapter": tune == "lora"}
    config = kit.config(folder, out=str(tmp_path / "run"), **SHORT, **changes)
    steps = prepare_finetuning(config).train()
    list(itertools.islice(steps, stop))
    steps.close()  # type: ignore[attr-defined]
    list(prepare_finetuning(config, resume=True).train())
    assert weights(tmp_path / "run") == weights(undisturbed)
    assert metrics(tmp_path / "run") == metrics(undisturbed)


def test_two_processes_take_the_steps_of_one(folder: Path, tmp_path: Path) -> None:
    data = kit.write_records(tmp_path / "chat.jsonl", kit.dialogues())
    told = {"task": "chat", "data": [data], "dev": [data], "max_steps": 4, "eval_every": 2}
    steps = tuned(folder, out=str(tmp_path / "one"), **told)
    config = kit.config(folder, out=str(tmp_path / "two"), **told)
    (tmp_path / "two.toml").write_text(format_config(config), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    done = subprocess.run(
        [sys.executable, *launcher, kit.__file__, str(tmp_path / "two.toml")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert [row[0] for row in found] == [step.number for step in steps]
    assert [row[1] for row in found] == pytest.approx([step.loss for step in steps], rel=1e-4)
    for step, (_, _, scores) in zip(steps, found, strict=True):
        assert scores == (step.scores and pytest.approx(step.scores, rel=1e-3))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft
def test_an_adapter_is_what_the_merged_weights_hold(folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    tuned(folder, out=str(tmp_path / "run"), **SHORT, tune="lora", adapter=True, dev_share=0.0)
    ids = torch.arange(12)[None] + 300
    with torch.no_grad():
        merged = load_model(str(tmp_path / "run" / "best"), "causal").eval()(ids).logits
        base = load_model(str(folder / "base"), "causal").eval()
        plain = base(ids).logits
        adapted = PeftModel.from_pretrained(base, tmp_path / "run" / "best-adapter")(ids).logits
    torch.testing.assert_close(adapted, merged, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(plain, merged, atol=1e-2)
    record = json.loads((tmp_path / "run/best-adapter/adapter_config.json").read_text("utf-8"))
    assert record["base_model_name_or_path"] == str(folder / "base")

    before = load_model(str(folder / "base"), "causal").state_dict()
    after = load_model(str(tmp_path / "run" / "best"), "causal").state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in after if "_proj" not in name}


def test_patience_stops_by_the_metric_that_is_chosen(folder: Path, tmp_path: Path) -> None:
    changes = {"lr": 0.0, "eval_every": 1, "patience": 2, "metric": "chrf", "epochs": 20}
    steps = tuned(folder, out=str(tmp_path / "run"), **changes)
    assert [step.is_best for step in steps] == [True, False, False]


def test_a_prompt_that_does_not_fit_counts_as_not_answered(folder: Path, tmp_path: Path) -> None:
    long = {"text": kit.STORY * 2, "language": "en", "translation": {"text": "x", "language": "zh"}}
    data = kit.write_records(tmp_path / "data.jsonl", [*kit.translations(), long])
    changes = {"data": [data], "dev": [data], "form": {"unit": "text"}, "max_steps": 1}
    run = prepare_finetuning(kit.config(folder, out=str(tmp_path / "run"), **changes))
    assert run.report.train.too_long == run.report.dev.too_long == 1
    assert list(run.train())[-1].scores["samples"] == 9


def test_a_split_keeps_dialogues_apart(folder: Path, tmp_path: Path) -> None:
    data = kit.write_records(tmp_path / "chat.jsonl", kit.dialogues())
    changes = {"task": "chat", "data": [data], "dev": [], "dev_share": 0.3}
    report = prepare_finetuning(kit.config(folder, out=str(tmp_path / "run"), **changes)).report
    assert (report.train.documents, report.dev.documents, report.duplicates) == (2, 1, 0)


# ── what cannot work ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "chrf", "eval_samples": 0}, "needs texts that are written"),
        ({"adapter": True}, "adapter: of no use without --tune lora"),
        ({"max_tokens": 4}, "max_tokens: 4 is out of range"),
        ({"tune": "head"}, "Invalid enum value 'head'"),
        ({"freeze": 2}, "unknown key 'freeze'"),
    ],
)
def test_a_configuration_that_cannot_work(changes: dict[str, Any], message: str) -> None:
    values = {"task": "chat", "data": ["a"], "base": "b", "out": "c"}
    with pytest.raises(UsageError, match=message):
        make_finetune_config({**values, **changes})


def test_examples_longer_than_the_base_reads(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), max_tokens=256)
    with pytest.raises(UsageError, match="256 is more than the 128"):
        prepare_finetuning(config)


def test_a_metric_that_dev_cannot_give(folder: Path, tmp_path: Path) -> None:
    data = kit.write_records(tmp_path / "text.jsonl", [{"text": kit.STORY}])
    changes = {"task": "generate", "data": [data], "dev": [data], "metric": "bleu"}
    with pytest.raises(UsageError, match="dev has no prompts with answers, so there is no bleu"):
        prepare_finetuning(kit.config(folder, out=str(tmp_path / "run"), **changes))


def test_a_metric_without_dev(folder: Path, tmp_path: Path) -> None:
    changes = {"metric": "chrf", "dev": [], "dev_share": 0.0}
    with pytest.raises(UsageError, match="nothing is held out, so there is no chrf"):
        prepare_finetuning(kit.config(folder, out=str(tmp_path / "run"), **changes))


def test_adapters_are_not_resumed_on_another_base(folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(folder / "base", base)
    changes = {"base": str(base), "tune": "lora", "max_steps": 1, "eval_samples": 0}
    config = kit.config(folder, out=str(tmp_path / "run"), **changes)
    list(prepare_finetuning(config).train())
    assert list(prepare_finetuning(config, resume=True).train()) == []
    shutil.copy(tmp_path / "run/last/model/model.safetensors", base)
    with pytest.raises(UsageError, match="the base has changed since the run began"):
        prepare_finetuning(config, resume=True)


def test_a_base_that_mixes_the_texts_of_a_row(folder: Path, tmp_path: Path) -> None:
    from transformers import Lfm2Config, Lfm2ForCausalLM

    base = tmp_path / "base"
    shutil.copytree(folder / "base", base)
    shape: Any = json.loads((base / "config.json").read_text("utf-8"))
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")
    config = Lfm2Config(
        **{name: shape[name] for name in names}, num_hidden_layers=2, num_key_value_heads=2,
        layer_types=["conv", "full_attention"], bos_token_id=None, pad_token_id=None,
        eos_token_id=shape["eos_token_id"],
    )  # fmt: skip
    with quiet():
        Lfm2ForCausalLM(config).save_pretrained(base)
    with pytest.raises(BundleError, match="kind lfm2 cannot keep texts in one row apart"):
        prepare_finetuning(kit.config(folder, out=str(tmp_path / "run"), base=str(base)))


def test_an_option_that_there_is_not(folder: Path, tmp_path: Path) -> None:
    config = kit.config(folder, out=str(tmp_path / "run"), options={"temprature": 0.5})
    with pytest.raises(UsageError, match="unknown option 'temprature'"):
        prepare_finetuning(config)


def test_nothing_to_learn(folder: Path, tmp_path: Path) -> None:
    data = kit.write_records(tmp_path / "text.jsonl", [{"text": "No translation."}])
    with pytest.raises(DataError, match="none of 1 documents has anything to learn"):
        prepare_finetuning(kit.config(folder, out=str(tmp_path / "run"), data=[data]))


def test_data_that_has_changed(folder: Path, tmp_path: Path) -> None:
    data = kit.write_records(tmp_path / "data.jsonl", kit.translations())
    config = kit.config(folder, out=str(tmp_path / "run"), data=[data], max_steps=1)
    list(prepare_finetuning(config).train())
    kit.write_records(tmp_path / "data.jsonl", kit.translations()[:4])
    with pytest.raises(UsageError, match="the data files have changed"):
        prepare_finetuning(config, resume=True)


@pytest.mark.parametrize(
    ("task", "form", "message"),
    [
        ("generate", {"promt": "Q: {text}"}, "form: generate reads no key 'promt'"),
        ("chat", {"prompt": "Q: {text}"}, "form: chat reads no key 'prompt'"),
        ("translate", {"form": {"to": "zh"}}, "form: translate reads no key 'form'"),
        ("generate", {"prompt": "no field"}, r"form.prompt: 'no field' has no \{text\}"),
        ("translate", {"stop": "x"}, "form.stop: Expected `array`, got `str`"),
    ],
)
def test_a_form_that_the_task_does_not_read(
    task: str, form: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    config = kit.config(folder, task=task, form=form, out=str(tmp_path / "run"))
    with pytest.raises(UsageError, match=message):
        prepare_finetuning(config)


def test_a_form_holds_what_is_another_task_s(folder: Path, tmp_path: Path) -> None:
    form = {"stop": ["\n"], "unit": "window", "generate": {"prompt": "{text}"}}
    config = kit.config(folder, form=form, out=str(tmp_path / "run"), max_steps=1)
    list(prepare_finetuning(config).train())
    found = read_language_checkpoint(tmp_path / "run" / "best").form
    assert {key: found[key] for key in form} == form


def test_an_encoder_is_no_base(folder: Path, tmp_path: Path) -> None:
    import training_kit

    base = training_kit.write_base(tmp_path / "bert")
    with pytest.raises(UsageError, match="it fills gaps"):
        prepare_finetuning(kit.config(folder, out=str(tmp_path / "run"), base=base))


# ── the command line ─────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("home")
def test_from_pairs_to_a_checkpoint_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    data, run = folder / "data.jsonl", tmp_path / "run"
    flags = ["--data", data, "--dev", data, "--base", folder / "base", "-o", run]
    more = ["--lr", "1e-2", "--max-steps", "2", "--precision", "no", "--eval-samples", "2"]
    result = run_cli("train", "translate", *flags, *more)
    assert (result.exit_code, result.stdout) == (0, "")
    lines = [line.split() for line in result.stderr.splitlines()]
    assert ["examples", "8", "8"] in lines
    assert "exact_match 0.00" in result.stderr
    assert f"lmtool export {run / 'best'}" in result.stderr
    assert run_cli("train", "--resume", "-o", run, "-q").exit_code == 0
    result = run_cli("train", "--resume", "-o", run, "--lora-rank", "4", "-q")
    assert "the run in" in result.stderr


@pytest.mark.usefixtures("home")
def test_flags_of_encoders_are_refused(folder: Path, tmp_path: Path) -> None:
    flags = ["--data", folder / "data.jsonl", "--base", folder / "base", "-o", tmp_path / "run"]
    result = run_cli("train", "translate", *flags, "--lower-share", "0.2")
    assert result.exit_code == 2
    assert "--lower-share: no setting of translate" in result.stderr


@pytest.mark.usefixtures("home")
def test_data_check_counts_texts(folder: Path, tmp_path: Path) -> None:
    data = folder / "data.jsonl"
    bad = tmp_path / "bad.jsonl"
    bad.write_text("no json\n", "utf-8")
    result = run_cli(
        "data", "check", "translate", data, bad, "--base", folder / "base", "--dev", data
    )
    assert result.exit_code == 3
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[:3] == [["train", "dev"], ["documents", "8", "8"], ["examples", "8", "8"]]
    assert "8 documents of dev ask what stands in train too" in result.stdout
    assert f"cannot be read: {bad}:1" in result.stdout
