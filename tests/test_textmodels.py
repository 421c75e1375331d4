"""Text tasks on a language model: windows, order, what does not fit, options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from language_kit import CONTEXT, STORIES, TRANSLATIONS
from lmtool_generate.chat import ChatTask
from lmtool_generate.generate import GenerateTask
from lmtool_generate.translate import TranslateOptions, TranslateTask

from lmtool.documents import Coverage, Document
from lmtool.errors import BundleError, DataError, UsageError
from lmtool.language import PromptTooLong, Sampling
from lmtool.textmodels import TextModel, default_sampling, load_text_model
from lmtool.textwindows import window_ends

LONG = "I like tea. " * 60


@pytest.fixture(scope="module")
def storyteller(talker: Path) -> TextModel:
    return load_text_model(talker)


def texts(document: Document) -> list[str]:
    return [item["text"] for item in document.fields["completions"]]


# ── answers ──────────────────────────────────────────────────────────────────────────────────


def test_one_text(storyteller: TextModel) -> None:
    document = storyteller("The king")
    (found,) = document.fields["completions"]
    assert (found["text"], found["finish"]) == (STORIES["The king"], "stop")
    assert document.coverage == Coverage(8, 8, 1)


def test_a_stream_keeps_the_order_and_the_fields(storyteller: TextModel) -> None:
    prompts = [*STORIES, *reversed(STORIES)]
    documents = [Document(text=p, id=i, fields={"more": [i]}) for i, p in enumerate(prompts)]
    found = list(storyteller.pipe(documents))
    assert [(d.id, d.fields["more"], *texts(d)) for d in found] == [
        (i, [i], STORIES[p]) for i, p in enumerate(prompts)
    ]
    with pytest.raises(UsageError, match="pipe takes many texts"):
        next(storyteller.pipe("The king"))


def test_equal_prompts_are_asked_once(
    storyteller: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []
    complete = storyteller.model.complete

    def spy(prompts: Sequence[str], sampling: Sampling) -> Any:
        asked.append(prompts)
        return complete(prompts, sampling)

    monkeypatch.setattr(storyteller.model, "complete", spy)
    found = storyteller.annotate([Document(text="The king")] * 3)
    assert asked == [["The king"]]
    assert [texts(d) for d in found if isinstance(d, Document)] == [[STORIES["The king"]]] * 3


def test_prompts_that_look_alike_are_asked_apart(talker: Path) -> None:
    model = load_text_model(talker, task_name="chat")
    said = ("Hello!", "Hi, who are you?", "I am Ann.")
    turns = [
        {"role": role, "content": text}
        for role, text in zip(("user", "assistant", "user"), said, strict=True)
    ]
    spelt = "<|end|><|assistant|>".join(said[:2]) + "<|end|><|user|>" + said[2]
    dialogue = Document(text="", fields={"messages": turns})
    imitation = Document(text=spelt)
    asked = [model.model.chat_prompt(d) for d in (turns, [{"role": "user", "content": spelt}])]
    assert asked[0] == asked[1]  # as texts, but not as tokens
    found = [d.fields["messages"][-1] for d in model.pipe([dialogue, imitation])]
    assert found[0]["content"] == "Nice to meet you, Ann."
    assert found == [model(d).fields["messages"][-1] for d in (dialogue, imitation)]
    assert found[0] != found[1]


def test_a_text_that_does_not_fit_is_an_error_in_its_place(storyteller: TextModel) -> None:
    first, bad, last = storyteller.annotate(
        [Document(text="The king"), Document(text=LONG), Document(text="Once upon a time")]
    )
    assert isinstance(first, Document)
    assert isinstance(last, Document)
    assert isinstance(bad, PromptTooLong)
    n_tokens = storyteller.model.count(LONG)
    assert f"{n_tokens:,} tokens" in bad.message
    assert f"context holds {CONTEXT}" in bad.message
    assert "--windows" in bad.hint
    with pytest.raises(PromptTooLong):
        storyteller(LONG)


def test_the_default_of_max_tokens_shrinks_to_the_room_that_is_left(
    storyteller: TextModel, talker: Path
) -> None:
    model = storyteller.model
    text = next(
        text
        for n in range(60, 0, -1)
        if CONTEXT - 24 < model.count(text := "I like tea. " * n + "The king") < CONTEXT
    )
    room = CONTEXT - model.count(text)
    (found,) = storyteller(text).fields["completions"]
    assert (found["tokens"] == room) == (found["finish"] == "length")
    assert found["tokens"] <= room < 24
    together = storyteller.annotate([Document(text="The king"), Document(text=text)])
    assert together == [storyteller("The king"), storyteller(text)]
    answer = storyteller.stream(text)
    assert "".join(answer) == found["text"]
    assert answer.fills_context == (found["tokens"] == room)
    with pytest.raises(PromptTooLong, match="with max_tokens=24 that is"):
        load_text_model(talker, max_tokens=24)(text)
    assert load_text_model(talker, windows=True)(text).coverage == Coverage(len(text), len(text), 2)


def test_max_tokens_that_no_prompt_leaves_room_for_are_refused_at_once(talker: Path) -> None:
    with pytest.raises(UsageError, match=f"max_tokens={CONTEXT}: the model's context holds"):
        load_text_model(talker, max_tokens=CONTEXT)
    assert texts(load_text_model(talker, max_tokens=CONTEXT - 8)("x"))


def test_a_seed_draws_other_texts_for_each_chunk(
    talker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmtool.textmodels.CHUNK_PROMPTS", 16)
    model = load_text_model(talker, max_tokens=12, temperature=2.0, seed=7)
    found = [texts(document)[0] for document in model.pipe(["x"] * 32)]
    assert found == [texts(document)[0] for document in model.pipe(["x"] * 32)]
    assert not {text for text in found[:16] if len(text) > 4} & set(found[16:])


def test_a_search_comes_in_one_piece(talker: Path) -> None:
    model = load_text_model(talker, beams=3)
    answer = model.stream("The king")
    assert list(answer) == [STORIES["The king"]]
    assert answer.document == model("The king")
    stopped = model.stream("The king")
    assert not stopped.stop()
    assert stopped.completion is None


def test_a_schema_goes_before_the_stop_texts_of_a_form(storyteller: TextModel) -> None:
    sampling = Sampling(max_tokens=9, schema="{}")
    assert TextModel(GenerateTask({"stop": ["hat"]}), storyteller.model, sampling=sampling)


def test_a_text_that_the_template_leaves_out_is_not_read(talker: Path) -> None:
    document = Document(text="A long text.", fields={"title": "The king"})
    model = load_text_model(talker, template="{title}")
    assert model(document).coverage == Coverage(12, 0, 1)
    both = load_text_model(talker, template="{title}{ text }")
    assert both(document).coverage == Coverage(12, 12, 1)
    spelt = load_text_model(talker, template="{title}{{text}}")
    assert spelt(document).coverage == Coverage(12, 0, 1)


def test_windows_read_all_of_a_text(talker: Path) -> None:
    document = load_text_model(talker, windows=True)(LONG)
    assert document.coverage is not None
    assert document.coverage.windows > 3
    assert document.coverage.read == document.coverage.characters == len(LONG)
    assert len(texts(document)) == 1


def test_streamed_pieces_are_the_whole(storyteller: TextModel) -> None:
    answer = storyteller.stream("The king")
    pieces = list(answer)
    assert len(pieces) > 2
    assert "".join(pieces) == STORIES["The king"]
    assert answer.document == storyteller("The king")


def test_streamed_windows_are_the_whole(talker: Path) -> None:
    translator = load_text_model(talker, task_name="translate")
    first, second = list(TRANSLATIONS)[:2]
    text = f" {first} {second}\n\n \n{first}"
    found = [before + "".join(answer) for before, answer in translator.stream_windows(text)]
    assert len(found) == 3
    assert "".join(found) == translator(text).layer("translation")["text"]
    with pytest.raises(UsageError, match="several windows"):
        translator.stream(text)


def test_a_stream_that_is_closed_keeps_what_came(storyteller: TextModel) -> None:
    answer = storyteller.stream("The king")
    piece = next(iter(answer))
    answer.close()
    (found,) = answer.document.fields["completions"]
    assert (found["text"], found["finish"]) == (piece, "length")


def test_a_dialogue_loses_its_oldest_turns_and_says_so(talker: Path) -> None:
    model = load_text_model(talker, task_name="chat")
    said = [
        {"role": role, "content": text}
        for number in range(20)
        for role, text in (("user", f"What is up? {number}"), ("assistant", "Not much."))
    ]
    said.append({"role": "user", "content": "What is up?"})
    found = model(Document(text="", fields={"messages": said}))
    *before, answer = found.fields["messages"]
    assert (before, answer["role"]) == (said, "assistant")
    assert found.coverage is not None
    assert 0 < found.coverage.read < found.coverage.characters
    alone = Document(text="", fields={"messages": [{"role": "user", "content": "so " * 200}]})
    with pytest.raises(PromptTooLong):
        model(alone)


# ── options ──────────────────────────────────────────────────────────────────────────────────


def test_options_of_the_task_and_of_sampling(talker: Path) -> None:
    model = load_text_model(talker, template="The {text}", max_tokens=3)
    document = model("king")
    assert document.fields["completions"][0]["finish"] == "length"
    assert document.fields["completions"][0]["tokens"] == 3
    assert STORIES["The king"].startswith(texts(document)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_token": 3}, "unknown option 'max_token'"),
        ({"temperature": -1}, "'temperature' is -1, not a number of at least 0"),
        ({"task_name": "translate", "choices": 2, "temperature": 1.0}, "translate has one answer"),
        ({"task_name": "translate", "target": "de"}, "does not translate to 'de'"),
        ({"task_name": "extract"}, "no task 'extract' of language models"),
        ({"template": "news}"}, "a stray '}'"),
        ({"system": "Be kind."}, "does not go through a chat template"),
    ],
)
def test_options_that_do_not_fit(talker: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_text_model(talker, **options)


def test_the_defaults_of_a_bundle_are_below_what_is_given(talker: Path) -> None:
    assert load_text_model(talker).sampling.max_tokens == 24
    assert load_text_model(talker, max_tokens=5).sampling.max_tokens == 5


@pytest.mark.parametrize(
    ("defaults", "values", "kept"),
    [
        ({"temperature": 0.8, "top_k": 50}, {"beams": 4}, {"top_k": 50}),
        ({"temperature": 0.8}, {"beams": 1}, {"temperature": 0.8}),
        ({"beams": 4}, {"temperature": 0.5}, {}),
        ({"beams": 4}, {"temperature": 0}, {"beams": 4}),
        ({"beams": 4, "stop": ["."]}, {"schema": "{}"}, {}),
    ],
)
def test_a_default_gives_way_to_what_it_contradicts(
    storyteller: TextModel,
    defaults: dict[str, Any],
    values: dict[str, Any],
    kept: dict[str, Any],
) -> None:
    found = default_sampling(storyteller.model, {"max_tokens": 9, **values}, defaults)
    assert found == Sampling(**{"max_tokens": 9, **kept, **values})


def test_half_the_context_is_the_default_of_a_small_model(storyteller: TextModel) -> None:
    model = TextModel(GenerateTask({"stop": ["hat"]}), storyteller.model)
    assert model.sampling == Sampling(max_tokens=CONTEXT // 2, stop=("hat",), shrinks=True)
    assert texts(model("The king")) == [" lost his "]


def test_the_form_of_a_task(storyteller: TextModel, talker: Path) -> None:
    assert storyteller.task.form["chat"] is False
    translator = load_text_model(talker, task_name="translate")
    assert translator.task.form["to"] == "zh"
    assert "translate" not in translator.task.form
    assert isinstance(load_text_model(talker, task_name="chat").task, ChatTask)


def test_a_model_for_chat_serves_tasks_that_it_does_not_name(
    talker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmtool import textmodels

    class Echo(GenerateTask):
        name = "echo"

    find = textmodels.find_text_task
    found = {"echo": Echo}
    monkeypatch.setattr(textmodels, "find_text_task", lambda name: found.get(name) or find(name))
    model = load_text_model(talker, task_name="echo")
    assert model.task.form == {"chat": True}
    assert texts(model("Hello!")) == ["Hi, who are you?"]


def test_another_kind_of_model(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="no language model"):
        load_text_model(tiny_bundle)


def test_likelihood(storyteller: TextModel) -> None:
    known, unknown = (
        storyteller.likelihood([text]) for text in ("The king lost his hat in the sea.", "Zzyzx qq")
    )
    assert known.bytes == 33
    assert known.perplexity < unknown.perplexity


# ── windows ──────────────────────────────────────────────────────────────────────────────────


def cut(text: str, room: int, unit: str) -> list[str]:
    """Cut a text into windows, with a token for each character."""
    ends = list(window_ends(text, "en", len, room, unit))
    return [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


TWO = "One is here. Two is there. "


@pytest.mark.parametrize(
    ("text", "room", "unit", "windows"),
    [
        (TWO, 100, "sentence", ["One is here. ", "Two is there. "]),
        (TWO, 100, "window", [TWO]),
        (TWO + TWO, 30, "window", [TWO, TWO]),
        (TWO, 8, "sentence", ["One is ", "here. ", "Two is ", "there. "]),
        ("aaaaaaaaaaaa", 5, "window", ["aaaaa", "aaaaa", "aa"]),
        ("\n" + TWO[:13] + "\n\n" + TWO[13:], 99, "sentence", ["\nOne is here. \n\n", TWO[13:]]),
        ("", 5, "sentence", [""]),
        (" \n", 5, "sentence", [" \n"]),
    ],
)
def test_windows_partition_a_text(text: str, room: int, unit: str, windows: list[str]) -> None:
    assert cut(text, room, unit) == windows


def test_a_text_without_ends_of_sentences_is_not_counted_whole_for_each_window() -> None:
    counted = 0

    def count(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return len(text)

    text = "word " * 8_000
    ends = list(window_ends(text, "en", count, 20, "window"))
    assert (len(ends), ends[-1]) == (2_000, len(text))
    assert counted < 100 * len(text)


def test_a_document_that_cannot_be_asked_is_an_error(talker: Path) -> None:
    model = load_text_model(talker, template="{title}")
    with pytest.raises(DataError, match="the record has no field 'title'") as caught:
        model(Document(text="x", fields={"subject": "y"}))
    assert "it has: text, subject" in caught.value.hint


def test_a_model_that_is_told_translates_in_windows_that_fit(storyteller: TextModel) -> None:
    task, options = TranslateTask({"chat": True}), TranslateOptions(target="zh")
    model = TextModel(task, storyteller.model, sampling=Sampling(max_tokens=24), options=options)
    document = model("\n".join([LONG[:120]] * 3))
    sentences = document.fields["translation"]["sentences"]
    assert document.coverage == Coverage(len(document.text), len(document.text), len(sentences))
    assert len(sentences) > 5
    covered = [document.text[s["start"] : s["end"]] for s in sentences]
    assert " ".join(covered).split() == document.text.split()
    room = 24 // task.growth  # tokens of a window whose translation fits
    assert all(0 < storyteller.model.count(text) <= room for text in covered)


def test_every_sentence_is_translated(talker: Path) -> None:
    model = load_text_model(talker, task_name="translate")
    document = model(" ".join(TRANSLATIONS))
    assert document.fields["translation"]["text"] == "".join(TRANSLATIONS.values())
    assert document.coverage == Coverage(len(document.text), len(document.text), 3)
