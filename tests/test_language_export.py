"""Exports of language models: compared with PyTorch, measured, and nothing unsafe is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from language_kit import STORIES, TRANSLATIONS, examples

import lmtool
from lmtool._comparison import LEAST_TOKENS, PROMPTS, compare, compared_prompts
from lmtool._hf_folders import find_model, staged
from lmtool.bundles import load_language_bundle
from lmtool.documents import Document
from lmtool.language import Sampling, load_language_model
from lmtool.language_export import (
    LanguageExport,
    checkpoint_export,
    measured_texts,
    write_language_bundle,
)

torch = pytest.importorskip("torch")
TEXTS = tuple(prompt + completion for prompt, completion in examples() if "<|" not in prompt)
OPTIONS = LanguageExport(name="tiny", precision="int8", texts=TEXTS, licence="CC0-1.0")
Edit = Callable[..., Path]


@pytest.fixture(scope="module")
def int8(talker_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "tiny"
    write_language_bundle(talker_folder, out, OPTIONS)
    return out


@pytest.fixture
def copied(talker_folder: Path, tmp_path: Path) -> Edit:
    """Return a function that copies the model's folder, with changes to its config.json."""

    def copy(**changes: Any) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(talker_folder, folder)
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")
        return folder

    return copy


# ── what is written ──────────────────────────────────────────────────────────────────────────


def test_a_bundle_says_what_it_is(int8: Path) -> None:
    info = load_language_bundle(int8).info
    assert (info.name, info.task, info.tasks) == ("tiny", "generate", ["generate"])
    assert (info.kind, info.precision, info.context) == ("language", "int8", 128)
    assert info.licence == "CC0-1.0"
    assert info.versions.code["onnxruntime-genai"].startswith("0.")
    assert {"genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json"} < set(
        info.files
    )
    exact, final = info.metrics["fp32"], info.metrics["int8"]
    assert exact["compared_tokens"] > 60
    assert final["tokens"] == exact["tokens"]
    assert final["perplexity"] == pytest.approx(exact["perplexity"], rel=0.1)
    card = (int8 / "README.md").read_text("utf-8")
    assert f"| int8 | {final['perplexity']:.2f} |" in card


def test_int8_shares_the_head_with_the_embedding(int8: Path) -> None:
    metrics = load_language_bundle(int8).info.metrics
    assert metrics["int8"]["megabytes"] < 0.45 * metrics["fp32"]["megabytes"]


def test_a_quantized_model_still_knows_its_texts(int8: Path) -> None:
    model = load_language_model(int8, threads=1)
    found = model.complete(list(STORIES), Sampling(max_tokens=24))
    assert [completion.text for (completion,) in found] == list(STORIES.values())


def test_other_precisions(talker_folder: Path, tmp_path: Path) -> None:
    sizes = {}
    for precision in ("int4", "fp16"):
        out = tmp_path / precision
        info = write_language_bundle(
            talker_folder, out, replace(OPTIONS, precision=precision, gate=50.0)
        )
        sizes[precision] = info.metrics[precision]["megabytes"] / info.metrics["fp32"]["megabytes"]
        assert load_language_model(out).score(TEXTS).perplexity == pytest.approx(
            info.metrics[precision]["perplexity"], rel=1e-3
        )
    assert sizes["int4"] < 0.35
    assert 0.4 < sizes["fp16"] < 0.6


def test_without_texts_the_model_is_measured_on_its_own(
    talker_folder: Path, tmp_path: Path
) -> None:
    options = replace(OPTIONS, precision="fp32", texts=())
    first = write_language_bundle(talker_folder, tmp_path / "a", options).metrics["fp32"]
    again = write_language_bundle(talker_folder, tmp_path / "b", options).metrics["fp32"]
    assert first == again
    assert first["tokens"] > 20


@pytest.mark.parametrize(
    ("lengths", "n_texts"), [([2] * 3, 3), ([2] * 100, 34), ([400], 1), ([2] * 4 + [400], 5)]
)
def test_texts_are_measured_in_part_where_they_are_long(
    lengths: list[int], n_texts: int, talker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmtool.language_export.MEASURED_TOKENS", 100)
    model = load_language_model(talker)
    texts = ["cat " * n for n in lengths]
    found = measured_texts(replace(OPTIONS, texts=texts), talker, model)
    assert len(found) == n_texts
    assert all(any(text.startswith(part) for text in texts) for part, _ in found)
    n_tokens = sum(model.count(text) for text, _ in found)
    assert min(sum(map(model.count, texts)), 50) <= n_tokens <= 200


def test_gold_documents_are_measured_as_the_task_puts_them(
    talker_folder: Path, tmp_path: Path
) -> None:
    gold = [
        Document(text=source, fields={"translation": {"text": target, "language": "zh"}})
        for source, target in TRANSLATIONS.items()
    ]
    options = replace(
        OPTIONS, task="translate", precision="fp32", texts=(), documents=gold,
        form={"from": "en", "to": "zh", "prompt": "{from}>{to}: {text}\n"},
    )  # fmt: skip
    info = write_language_bundle(talker_folder, tmp_path / "out", options)
    model = load_language_model(tmp_path / "out")
    prompts = [f"en>zh: {source}\n" for source in TRANSLATIONS]
    whole = [prompt + said for prompt, said in zip(prompts, TRANSLATIONS.values(), strict=True)]
    assert info.metrics["fp32"]["perplexity"] == pytest.approx(
        model.score(whole, prompts).perplexity, rel=1e-3
    )
    options = replace(options, documents=[Document(text="no gold")])
    with pytest.raises(lmtool.DataError, match="no document has gold"):
        write_language_bundle(talker_folder, tmp_path / "none", options)


@pytest.mark.parametrize("task", ["translate", "chat"])
def test_answers_to_what_the_task_asks_are_compared(talker: Path, task: str) -> None:
    model = load_language_model(talker)
    gold = [
        Document(
            text=source,
            fields={
                "translation": {"text": target, "language": "zh"},
                "messages": [
                    {"role": "user", "content": source},
                    {"role": "assistant", "content": target},
                ],
            },
        )
        for source, target in TRANSLATIONS.items()
    ]
    form = {"translate": "en>zh: {}\n", "chat": "<|user|>{}<|end|><|assistant|>"}[task]
    assert compared_prompts(task, gold, model) == [*PROMPTS, *map(form.format, TRANSLATIONS)]
    texts = [" ".join(prompt.split()) if task == "translate" else prompt for prompt in PROMPTS]
    assert compared_prompts(task, [], model) == [*PROMPTS, *map(form.format, texts)]
    assert len(compared_prompts(task, gold * 100, model)) == len(PROMPTS) + 3
    assert compared_prompts("nonsense", gold, model) == list(PROMPTS)


def test_too_few_tokens_prove_nothing(talker_folder: Path, talker: Path) -> None:
    model = load_language_model(talker)
    with pytest.raises(lmtool.UsageError, match=r"^\d tokens could be compared") as caught:
        compare(talker_folder, model, ["The king lost his"], [])
    assert "--text FILE" in caught.value.hint
    assert compare(talker_folder, model, [], TEXTS) >= LEAST_TOKENS


# ── what stops it ────────────────────────────────────────────────────────────────────────────


def test_a_gate_that_is_not_passed_leaves_nothing(talker_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(lmtool.NegativeResult, match=r"int4 raises perplexity by .* gate is -100 %"):
        write_language_bundle(
            talker_folder, tmp_path / "out", replace(OPTIONS, precision="int4", gate=-100.0)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_says_something_else_than_pytorch(
    talker_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmtool.training.language import checkpoint

    load = checkpoint.load_model

    def other(base: str, objective: Any) -> Any:
        network = load(base, objective)
        with torch.no_grad():
            network.model.norm.weight.neg_()
        return network

    monkeypatch.setattr(checkpoint, "load_model", other)
    message = r"differs from PyTorch: after 'The', token 1 is \d+ and not \d+ \(logits differ by"
    with pytest.raises(lmtool.NegativeResult, match=message):
        write_language_bundle(talker_folder, tmp_path / "out", OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_pickled_weights_are_refused_with_the_way_out(copied: Edit, tmp_path: Path) -> None:
    folder = copied()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(lmtool.UsageError, match=r"pickled \(pytorch_model\.bin\)") as caught:
        write_language_bundle(folder, tmp_path / "out", OPTIONS)
    assert "save_pretrained('safe')" in caught.value.hint


def test_a_pickled_adapter_is_refused_beside_other_safetensors(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}", "utf-8")
    for name in ("adapter_model.bin", "other.safetensors"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(lmtool.UsageError, match=r"pickled \(adapter_model\.bin\)"):
        write_language_bundle(tmp_path, tmp_path / "out", OPTIONS)


def test_code_of_a_model_is_never_run(copied: Edit, tmp_path: Path) -> None:
    folder = copied(
        model_type="own", architectures=["Own"], auto_map={"AutoConfig": "own.OwnConfig"}
    )
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", "utf-8")
    with pytest.raises(lmtool.UsageError, match="Own is code in the model's own repository"):
        write_language_bundle(folder, tmp_path / "out", OPTIONS)
    assert not (tmp_path / "ran").exists()


def test_only_what_is_safe_is_read(copied: Edit, tmp_path: Path) -> None:
    folder = copied()
    for name in ("model.py", "extra.bin", "training_args.pt"):
        (folder / name).write_bytes(b"x")
    names = {path.name for path in staged(folder, tmp_path).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"model.py", "extra.bin", "training_args.pt"}


def test_a_kind_that_the_builder_does_not_take(tmp_path: Path, talker_folder: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=400, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    for path in talker_folder.glob("token*"):
        shutil.copy(path, tmp_path / "gpt2")
    with pytest.raises(lmtool.UsageError, match="does not take this kind of model"):
        write_language_bundle(tmp_path / "gpt2", tmp_path / "out", OPTIONS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, r"config\.json: missing"),
        ("config.json", "{}", "does not say its architecture"),
        ("config.json", "{", r"config\.json: "),
        ("model.safetensors", None, r"no \*\.safetensors in it"),
        ("model.safetensors", "{", "builder fails"),
    ],
)
def test_a_folder_that_is_no_model(
    copied: Edit, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    folder = copied()
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content, "utf-8")
    with pytest.raises(lmtool.UsageError, match=message):
        write_language_bundle(folder, tmp_path / "out", OPTIONS)


@pytest.mark.parametrize("ref", ["nowhere", "./nowhere/at", "a/b/c"])
def test_a_model_that_is_not_there(ref: str) -> None:
    with pytest.raises(lmtool.UsageError, match="no such folder"):
        find_model(ref)


def test_larger_blocks_are_smaller(talker_folder: Path, tmp_path: Path) -> None:
    sizes = []
    for block in (16, 64):
        options = replace(OPTIONS, precision="int4", block=block, gate=100.0)
        info = write_language_bundle(talker_folder, tmp_path / str(block), options)
        sizes.append(info.metrics["int4"]["megabytes"])
    assert sizes[1] < 0.9 * sizes[0]
    with pytest.raises(lmtool.UsageError, match="a block of 48 weights"):
        write_language_bundle(talker_folder, tmp_path / "x", replace(OPTIONS, block=48))


def test_an_unknown_precision(talker_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(lmtool.UsageError, match="unknown precision 'int3'"):
        write_language_bundle(talker_folder, tmp_path, replace(OPTIONS, precision="int3"))


def test_a_bundle_does_not_replace_its_own_source(copied: Edit) -> None:
    folder = copied()
    with pytest.raises(lmtool.UsageError, match="holds the model that is exported"):
        write_language_bundle(folder, folder.parent, replace(OPTIONS, overwrite=True))


# ── adapters and checkpoints ─────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # of peft itself
def test_an_adapter_is_merged_into_its_base(talker_folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(talker_folder)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    tuned = peft.get_peft_model(network, config)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    tuned.save_pretrained(tmp_path / "adapter")
    options = replace(OPTIONS, precision="fp32")
    info = write_language_bundle(tmp_path / "adapter", tmp_path / "out", options)
    plain = write_language_bundle(talker_folder, tmp_path / "plain", options)
    assert info.metrics["fp32"]["perplexity"] != pytest.approx(
        plain.metrics["fp32"]["perplexity"], rel=0.1
    )
    model = load_language_model(tmp_path / "out")
    ids = torch.tensor([[0, *model.encode("The king lost")]])
    with torch.no_grad():
        loss = float(tuned.eval()(input_ids=ids, labels=ids).loss)
    found = model.score(["The king lost"])
    assert found.nats / found.tokens == pytest.approx(loss, rel=1e-3)


def language_checkpoint(folder: Path, source: Path, **changes: Any) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lmtool.training.language.checkpoint import LanguageRecord, save_language_checkpoint

    record = LanguageRecord(**{"objective": "causal", "context": 64, **changes})
    tokenizer = AutoTokenizer.from_pretrained(source)
    network = AutoModelForCausalLM.from_pretrained(source)
    save_language_checkpoint(folder, network, tokenizer, record)
    return folder


def test_a_checkpoint_brings_its_task_and_form(talker_folder: Path, tmp_path: Path) -> None:
    form = {"prompt": "{text}", "stop": ["\n"]}
    folder = language_checkpoint(
        tmp_path / "best", talker_folder, task="chat", form=form, options={"max_tokens": 9}
    )
    source, options = checkpoint_export(folder, "mine", precision="fp32", texts=TEXTS)
    info = write_language_bundle(source, tmp_path / "out", options)
    assert (info.name, info.task, info.form) == ("mine", "chat", form)
    assert (info.options, info.context) == ({"max_tokens": 9}, 64)
    assert load_language_model(tmp_path / "out").context == 64


def test_checkpoints_that_cannot_be_exported(talker_folder: Path, tmp_path: Path) -> None:
    masked = language_checkpoint(tmp_path / "masked", talker_folder, objective="masked")
    with pytest.raises(lmtool.UsageError, match="a masked model, which continues no texts"):
        checkpoint_export(masked, "x")
    damaged = language_checkpoint(tmp_path / "damaged", talker_folder)
    with (damaged / "model" / "model.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(lmtool.BundleError, match="changed since it was written"):
        checkpoint_export(damaged, "x")
    with pytest.raises(lmtool.BundleError, match="no checkpoint of a language model"):
        checkpoint_export(tmp_path, "x")
