"""Language models: streams, batches, chance, schemas, likelihoods; on a model of 100 KB."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from language_kit import CONTEXT, DIALOGUES, STORIES, TRANSLATIONS

import lmtool
import lmtool.models
from lmtool._decoding import cut_rows
from lmtool._engine import Engine, Shape, guidance
from lmtool.bundles import load_language_bundle
from lmtool.language import (
    LanguageModel,
    Likelihood,
    Prompt,
    PromptTooLong,
    Sampling,
    batch_seed,
    load_language_model,
    open_folder,
)

GREEDY = Sampling(max_tokens=24)
CHANCE = Sampling(max_tokens=12, temperature=2.0, seed=7)
PROMPTS = [*STORIES, *(f"en>zh: {text}\n" for text in TRANSLATIONS), "x", "A king of the sea is"]
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "maximum": 9}, "good": {"type": "boolean"}},
    "required": ["n", "good"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model(talker: Path) -> LanguageModel:
    return load_language_model(talker, threads=1)


def texts(model: LanguageModel, prompts: Sequence[str], sampling: Sampling) -> list[list[str]]:
    return [[c.text for c in found] for found in model.complete(prompts, sampling)]


# ── one text ─────────────────────────────────────────────────────────────────────────────────


def test_a_stream_gives_what_the_model_learnt(model: LanguageModel) -> None:
    stream = model.stream("The king", GREEDY)
    pieces = list(stream)
    assert "".join(pieces) == STORIES["The king"]
    assert len(pieces) > 2
    found = stream.completion
    assert found is not None
    assert (found.text, found.finish, found.seed) == (STORIES["The king"], "stop", None)
    assert found.prompt_tokens == model.count("The king")
    assert found.tokens == model.count(STORIES["The king"])
    assert list(stream) == []


def test_pieces_hold_whole_characters(model: LanguageModel) -> None:
    for source, target in TRANSLATIONS.items():
        pieces = list(model.stream(f"en>zh: {source}\n", GREEDY))
        assert "".join(pieces) == target
        assert all("\ufffd" not in piece for piece in pieces)


@pytest.mark.parametrize(
    ("stop", "text"),
    [("hat", " lost his "), ("t in", " lost his ha"), ("t his hat i", " los"), (" lost", "")],
)
def test_a_stop_text_is_cut_off_exactly(model: LanguageModel, stop: str, text: str) -> None:
    sampling = Sampling(max_tokens=24, stop=("never", stop))
    stream = model.stream("The king", sampling)
    assert "".join(stream) == text
    assert stream.completion == model.complete(["The king"], sampling)[0][0]
    assert stream.completion.text == text
    assert stream.completion.finish == "stop"


def test_the_most_tokens(model: LanguageModel) -> None:
    (found,) = model.complete(["The king"], Sampling(max_tokens=3))[0]
    assert (found.finish, found.tokens) == ("length", 3)
    assert STORIES["The king"].startswith(found.text)


def test_a_closed_stream_keeps_what_came(model: LanguageModel) -> None:
    stream = model.stream("The king", GREEDY)
    first = next(stream)
    stream.close()
    assert stream.completion is not None
    assert (stream.completion.text, stream.completion.finish) == (first, "length")
    assert list(stream) == []


def test_streams_in_threads_do_not_mix(model: LanguageModel) -> None:
    prompts = list(STORIES) * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda prompt: "".join(model.stream(prompt, GREEDY)), prompts))
    assert found == [STORIES[prompt] for prompt in prompts]


def test_a_dialogue(model: LanguageModel) -> None:
    assert model.has_chat
    asked, answered = DIALOGUES[0][:2]
    prompt = model.chat_prompt([{"role": "user", "content": asked}])
    assert "".join(model.stream(prompt, GREEDY)) == answered


# ── many texts ───────────────────────────────────────────────────────────────────────────────


def test_a_batch_gives_what_each_gives_alone(model: LanguageModel) -> None:
    alone = ["".join(model.stream(prompt, GREEDY)) for prompt in PROMPTS]
    assert texts(model, PROMPTS, GREEDY) == [[text] for text in alone]
    many = PROMPTS * 5
    assert texts(model, many, GREEDY) == [[text] for text in alone * 5]


@pytest.mark.parametrize(
    "changes",
    [{"stop": ("his", "a c")}, {"repetition_penalty": 1.5}, {"beams": 3}],
    ids=["stop", "penalty", "beams"],
)
def test_other_ways_to_go_on_do_not_depend_on_the_batch(
    model: LanguageModel, changes: dict[str, Any]
) -> None:
    sampling = Sampling(max_tokens=16, **changes)
    alone = [model.complete([prompt], sampling)[0] for prompt in PROMPTS]
    assert model.complete(PROMPTS, sampling) == alone


def test_no_prompts_have_no_completions(model: LanguageModel) -> None:
    assert model.complete([], GREEDY) == []


def test_an_empty_prompt_is_continued(model: LanguageModel) -> None:
    empty, other = model.complete(["", "The king"], GREEDY)
    assert (empty[0].prompt_tokens, other[0].text) == (1, STORIES["The king"])
    assert empty == model.complete([""], GREEDY)[0]


def test_like_lengths_run_together() -> None:
    assert list(cut_rows([3, 9, 4, 8, 1], 10, (1, 1), 2)) == [[1, 3], [2, 0], [4]]
    # 600 MB a row: one at a time; 300 MB: three
    assert list(cut_rows([600, 600], 0, (10**6, 1))) == [[0], [1]]
    assert list(cut_rows([100] * 4, 200, (10**6, 10**6))) == [[0, 1, 2], [3]]
    assert list(cut_rows([], 1, (1, 1))) == []


def test_a_long_prompt_is_read_in_parts_between_which_it_can_be_stopped() -> None:
    shape = Shape(context=9000, vocabulary=9, eos=(0,), pad=5, cache_bytes=1)
    engine = Engine(None, shape, ())  # type: ignore[arg-type]  # no model runs
    lengths = [len(chunk) for chunk in engine._chunks([[1] * 1100], 1100)]
    assert lengths == [512, 512, 76]


def test_a_row_that_ends_with_the_token_that_pads_runs_alone() -> None:
    shape = Shape(context=9, vocabulary=9, eos=(0,), pad=5, cache_bytes=1)
    engine = Engine(None, shape, ())  # type: ignore[arg-type]  # no model runs
    assert engine.batches([[1, 2], [1, 5], [5, 1]], GREEDY) == [[0, 2], [1]]


# ── chance ───────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_text(model: LanguageModel) -> None:
    (first,) = model.complete(["x"], CHANCE)[0]
    assert first.seed == 7
    assert model.complete(["x"], CHANCE)[0] == [first]
    stream = model.stream("x", CHANCE)
    assert ("".join(stream), stream.completion) == (first.text, first)
    other = Sampling(max_tokens=12, temperature=2.0, seed=8)
    assert texts(model, ["x"], other) != [[first.text]]


def test_a_new_seed_is_recorded_and_gives_its_text_again(model: LanguageModel) -> None:
    free = Sampling(max_tokens=12, temperature=2.0)
    (one,), (two,) = (model.complete(["x"], free)[0] for _ in range(2))
    assert one.seed != two.seed
    again = Sampling(max_tokens=12, temperature=2.0, seed=one.seed)
    assert model.complete(["x"], again)[0] == [one]


def test_one_seed_draws_other_texts_with_another_number(model: LanguageModel) -> None:
    first, again, other = (
        [found[0] for found in model.complete(["x"] * 16, CHANCE, number=number)]
        for number in (0, 0, 16)
    )
    assert first == again
    assert {c.seed for c in other} == {7}
    assert not {c.text for c in first if len(c.text) > 4} & {c.text for c in other}
    assert model.complete(["x"] * 16, CHANCE) == [[c] for c in first]


def test_batches_share_no_seed_with_those_of_other_seeds() -> None:
    numbers = [(seed, n, run) for seed in range(20) for n in range(20) for run in range(20)]
    assert len({batch_seed(*number) for number in numbers}) == len(numbers)


def test_choices_of_each_prompt(model: LanguageModel) -> None:
    sampling = Sampling(max_tokens=12, temperature=2.0, seed=7, choices=20)
    found = texts(model, ["x", "The king"], sampling)
    assert [len(choices) for choices in found] == [20, 20]
    assert len(set(found[0])) > 10
    assert texts(model, ["x", "The king"], sampling) == found


@pytest.mark.parametrize(
    "only",
    [{"top_k": 1}, {"top_p": 0.01}, {"top_p": 0}, {"top_k": 10**6, "top_p": 0.01}],
)
def test_the_likeliest_tokens_alone_leave_nothing_to_chance(
    model: LanguageModel, only: dict[str, Any]
) -> None:
    sampling = Sampling(max_tokens=24, temperature=2.0, seed=1, **only)
    assert texts(model, ["The king"], sampling) == [[STORIES["The king"]]]


def test_tokens_are_drawn_as_likely_as_they_are(model: LanguageModel) -> None:
    drawn = Sampling(max_tokens=1, temperature=1.0, seed=3, choices=400)
    found = texts(model, ["x"], drawn)[0]
    (likeliest,) = texts(model, ["x"], Sampling(max_tokens=1))[0]
    share = math.exp(-model.score([Prompt("x" + likeliest, has_start=True)]).nats)
    deviation = math.sqrt(share * (1 - share) / 400)
    assert found.count(likeliest) / 400 == pytest.approx(share, abs=4 * deviation)


def test_beams_find_likelier_texts(model: LanguageModel) -> None:
    sampling = Sampling(max_tokens=6, beams=4, choices=3)
    found = texts(model, ["A king of"], sampling)[0]
    assert len(set(found)) == 3
    greedy = texts(model, ["A king of"], Sampling(max_tokens=6))[0][0]
    nats = [model.score(["A king of" + text]).nats for text in (*found, greedy)]
    assert nats[0] <= nats[3] + 1e-3
    assert nats[:3] == sorted(nats[:3])


def test_beams_are_never_less_likely_than_the_likeliest_tokens(model: LanguageModel) -> None:
    prompts = [
        "Write a headline: hat", "en>zh: Where I the sea?\n", "Once upon a The", "It hat", *PROMPTS,
    ]  # fmt: skip

    def nats(prompt: str, text: str) -> float:
        """Return those of a text and its end."""
        end = Prompt(f"{prompt}{text}<|end|>", has_start=True)
        return model.score([end]).nats - model.score([Prompt(prompt, has_start=True)]).nats

    greedy = model.complete(prompts, Sampling(max_tokens=40))
    beams = model.complete(prompts, Sampling(max_tokens=40, beams=4))
    for prompt, (one,), (other,) in zip(prompts, greedy, beams, strict=True):
        assert (one.finish, other.finish) == ("stop", "stop")
        assert nats(prompt, other.text) <= nats(prompt, one.text) + 1e-3


@pytest.mark.parametrize("stop", [(), ("never",)])
def test_a_search_says_what_ended_and_what_was_cut(
    model: LanguageModel, stop: tuple[str, ...]
) -> None:
    prompts = ["The king", "Once upon a time"]

    def finishes(max_tokens: int) -> list[str]:
        sampling = Sampling(max_tokens=max_tokens, beams=3, stop=stop)
        return [found[0].finish for found in model.complete(prompts, sampling)]

    assert finishes(24) == ["stop", "stop"]
    n_tokens = [model.count(STORIES[prompt]) for prompt in prompts]
    assert finishes(min(n_tokens) + 1) == ["length", "stop"]
    assert finishes(2) == ["length", "length"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beams": 2, "temperature": 0.5}, "draws nothing"),
        ({"schema": "{}", "stop": ("}",)}, "a schema with stop texts"),
        ({"beams": 2, "schema": "{}"}, "schema with beams"),
        ({"choices": 2}, "all the same"),
        ({"choices": 3, "beams": 2}, "2 beams give 2 at most"),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(lmtool.UsageError, match=message):
        Sampling(**values)


@pytest.mark.parametrize("values", [{"beams": 2}, {"choices": 2, "temperature": 1.0}])
def test_what_is_known_at_the_end_only_is_not_streamed(
    model: LanguageModel, values: dict[str, Any]
) -> None:
    with pytest.raises(lmtool.UsageError, match="use complete"):
        model.stream("x", Sampling(**values))


# ── schemas ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("changes", [{}, {"temperature": 3.0, "seed": 1, "choices": 3}])
def test_a_completion_fits_its_schema(model: LanguageModel, changes: dict[str, Any]) -> None:
    sampling = Sampling(max_tokens=60, schema=json.dumps(SCHEMA), **changes)
    for completions in model.complete(["x", "The king"], sampling):
        for completion in completions:
            found = json.loads(completion.text)
            assert list(found) == ["n", "good"]
            assert isinstance(found["n"], int)
            assert isinstance(found["good"], bool)
            assert completion.finish == "stop"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("nonsense", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"type": "objectx"}', "cannot be used: Invalid type: objectx\n"),
    ],
)
def test_a_schema_that_cannot_be_used_is_named(
    model: LanguageModel, schema: str, message: str
) -> None:
    with pytest.raises(lmtool.UsageError, match=message):
        model.complete(["x"], Sampling(max_tokens=9, schema=schema))


def test_a_schema_may_say_how_its_json_is_written() -> None:
    own = {"type": "null", "x-guidance": {"whitespace_flexible": True}}
    assert json.loads(guidance(json.dumps(own)).partition("%json")[2]) == own


@pytest.mark.parametrize("text", ["你", "文", "日本語", "😀", '# // {a} %json "x" \\ \n'])
@pytest.mark.parametrize("changes", [{}, {"temperature": 1.0, "seed": 1}])
def test_a_schema_says_any_characters(
    model: LanguageModel, text: str, changes: dict[str, Any]
) -> None:
    """Those of several tokens too, which nothing may force to begin inside of a character."""
    schema = {"type": "object", "properties": {text: {"enum": [text]}}, "required": [text]}
    sampling = Sampling(
        max_tokens=90, schema=json.dumps({**schema, "additionalProperties": False}), **changes
    )
    ((found,),) = model.complete(["x"], sampling)
    assert (json.loads(found.text), found.finish) == ({text: text}, "stop")


# ── what does not fit ────────────────────────────────────────────────────────────────────────


def test_a_prompt_that_does_not_fit_is_refused_with_its_numbers(model: LanguageModel) -> None:
    n_tokens = model.count("The king " * 60)
    with pytest.raises(PromptTooLong) as caught:
        model.complete(["x", "The king " * 60], Sampling(max_tokens=20))
    error = caught.value
    assert (error.index, error.tokens, error.max_tokens) == (1, n_tokens, 20)
    assert error.context == CONTEXT
    assert f"has {n_tokens} tokens" in error.message
    assert f"that is {n_tokens + 20}, and the model's context holds {CONTEXT}" in error.message
    with pytest.raises(PromptTooLong):
        model.stream("x", Sampling(max_tokens=CONTEXT))


def test_the_whole_context_can_be_used(model: LanguageModel) -> None:
    sampling = Sampling(max_tokens=CONTEXT - model.count("x"), temperature=5.0, seed=1)
    assert model.complete(["x"], sampling)[0][0].tokens > 20


# ── likelihood ───────────────────────────────────────────────────────────────────────────────


def pytorch_nats(folder: Path, ids: list[int], first: int) -> float:
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        scores = torch.log_softmax(network(torch.tensor([ids])).logits[0].double(), -1)
    places = torch.arange(first, len(ids))
    return -float(scores[places - 1, torch.tensor(ids)[places]].sum())


def test_likelihoods_are_those_of_pytorch(model: LanguageModel, talker_folder: Path) -> None:
    text = "The king lost his cat."
    ids = [0, *model.encode(text)]
    found = model.score([text])
    assert found.nats == pytest.approx(pytorch_nats(talker_folder, ids, 1), rel=1e-4)
    assert (found.tokens, found.bytes) == (len(ids) - 1, len(text))
    both = model.score([text, "猫"])
    assert both.tokens == found.tokens + model.count("猫")
    assert both.bytes == len(text) + 3


def test_a_prompt_is_given_and_not_scored(model: LanguageModel, talker_folder: Path) -> None:
    prompt, text = "The king lost", "The king lost his cat."
    ids, n_given = model.encode(text), model.count(prompt)
    assert ids[:n_given] == model.encode(prompt)
    found = model.score([text, "猫"], [prompt, ""])
    alone = pytorch_nats(talker_folder, ids, n_given) + model.score(["猫"]).nats
    assert found.nats == pytest.approx(alone, rel=1e-4)
    assert found.tokens == len(ids) - n_given + model.count("猫")
    assert found.bytes == len(" his cat.") + 3


@pytest.mark.parametrize("given", [0.3, 0.9])
def test_a_long_prompt_is_given_in_all_windows(model: LanguageModel, given: float) -> None:
    text = "The king lost his hat in the sea. " * 16
    prompt = text[: int(given * len(text))]
    found = model.score([text], [prompt])
    assert found.tokens == pytest.approx((1 - given) * model.count(text), abs=3)
    whole, head = model.score([text]), model.score([prompt])
    assert found.nats == pytest.approx(whole.nats - head.nats, rel=0.05)


def test_long_texts_are_read_in_windows_that_overlap(
    model: LanguageModel, talker_folder: Path
) -> None:
    text = "The king lost his hat in the sea. " * 16
    ids = [0, *model.encode(text)]
    half = CONTEXT // 2
    assert CONTEXT + half < len(ids) <= 2 * CONTEXT
    windows = [(ids[:CONTEXT], 1), (ids[half : half + CONTEXT], half), (ids[2 * half :], half)]
    wanted = sum(pytorch_nats(talker_folder, part, first) for part, first in windows)
    found = model.score([text])
    assert found.tokens == len(ids) - 1
    assert found.nats == pytest.approx(wanted, rel=1e-4)


def test_a_large_vocabulary_is_scored_in_parts(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "The king lost his hat in the sea. " * 16
    wanted = model.score([text])
    monkeypatch.setattr("lmtool._engine.LOGITS_BYTES", 1)
    monkeypatch.setattr("lmtool._engine.LEAST_CHUNK", 16)
    found = model.score([text])  # the second window's first parts have nothing to score
    assert found.tokens == wanted.tokens
    assert found.nats == pytest.approx(wanted.nats, rel=1e-4)


def test_measures_of_likelihood() -> None:
    found = Likelihood(nats=8 * math.log(2), tokens=4, bytes=16)
    assert found.perplexity == pytest.approx(4.0)
    assert found.bits_per_byte == pytest.approx(0.5)
    assert Likelihood(0.0, 0, 0).perplexity == 1.0


# ── loading ──────────────────────────────────────────────────────────────────────────────────


def test_an_encoder_is_no_language_model(tiny_bundle: Path, talker: Path) -> None:
    with pytest.raises(lmtool.BundleError, match="no language model, but one for the task"):
        load_language_model(tiny_bundle)
    with pytest.raises(lmtool.BundleError, match="a language model, which has no backbone"):
        lmtool.models.load_encoder(talker)


@pytest.mark.parametrize("device", ["npu", "cuda"])
def test_a_device_that_is_not_there(talker: Path, device: str) -> None:
    with pytest.raises(lmtool.UsageError, match=f"device '?{device}"):
        load_language_model(talker, device=device)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("genai_config.json", "{}", "not what a decoder needs"),
        ("genai_config.json", None, "not what a decoder needs"),
        ("model.onnx", "x", "onnxruntime-genai cannot load it on cpu"),
        ("tokenizer.json", "x", "no tokenizer"),
    ],
)
def test_a_broken_file_is_named(
    talker: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(talker, folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content, "utf-8")
    with pytest.raises(lmtool.BundleError, match=message):
        open_folder(folder, load_language_bundle(talker).info)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"session_options": {"custom_ops_library": "own.so"}}, "would load code"),
        ({"filename": "../model.onnx"}, "leads out of the bundle"),
        ({"pipeline": [{"a": {"filename": "/model.onnx"}}]}, "leads out of the bundle"),
    ],
)
def test_a_configuration_loads_no_code_and_nothing_elsewhere(
    talker: Path, tmp_path: Path, section: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(talker, folder)
    config = json.loads((folder / "genai_config.json").read_text("utf-8"))
    config["model"]["decoder"] |= section
    (folder / "genai_config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(lmtool.BundleError, match=message):
        open_folder(folder, load_language_bundle(talker).info)


def test_a_model_says_what_it_is(model: LanguageModel) -> None:
    assert model.providers == ("CPUExecutionProvider",)
    assert model.context == CONTEXT
    assert model.name.startswith("talker-en ")
    assert model.info.task == "generate"


def test_a_run_imports_no_training(talker: Path) -> None:
    code = (
        "import sys\nfrom lmtool.language import Sampling, load_language_model\n"
        f"model = load_language_model({str(talker)!r}, threads=1)\n"
        "print(''.join(model.stream('The king', Sampling(max_tokens=24))))\n"
        "print(sorted({'torch', 'transformers', 'jinja2', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [STORIES["The king"], "[]"]
