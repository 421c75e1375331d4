"""The tasks generate, chat and translate: prompts, answers, pairs, scores."""

from __future__ import annotations

from typing import Any

import pytest
from lmtool_generate.chat import ChatOptions, ChatTask
from lmtool_generate.generate import GenerateOptions, GenerateTask
from lmtool_generate.translate import TranslateOptions, TranslateTask

import lmtool
from lmtool.errors import DataError, UsageError
from lmtool.language import Completion
from lmtool.tasks import Part

Document = lmtool.Document


def said(text: str, finish: Any = "stop", seed: int | None = None) -> Completion:
    return Completion(text=text, finish=finish, tokens=2, prompt_tokens=1, seed=seed)


def dialogue(*contents: str, system: str = "") -> Document:
    roles = ("user", "assistant")
    items = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    first = [{"role": "system", "content": system}] if system else []
    return Document(text="", fields={"messages": [*first, *items]})


def translated(text: str, translation: str, source: str = "", target: str = "zh") -> Document:
    fields: dict[str, Any] = {"translation": {"text": translation, "language": target}}
    return Document(text=text, fields={"language": source, **fields} if source else fields)


# ── generate ─────────────────────────────────────────────────────────────────────────────────


def test_what_generate_asks() -> None:
    document = Document(text="rain", id=7)
    plain = GenerateTask()
    assert plain.prompt(document, GenerateOptions()) == "rain"
    assert plain.prompt(document, GenerateOptions(template="{id}: {text}")) == "7: rain"
    tuned = GenerateTask({"prompt": "Q: {text} A:"})
    assert tuned.prompt(document, GenerateOptions(template="About {text}")) == "Q: About rain A:"


def test_generate_asks_through_a_chat_template() -> None:
    document = Document(text="rain")
    asked = {"role": "user", "content": "rain"}
    told = GenerateTask({"chat": True})
    assert told.prompt(document, GenerateOptions()) == [asked]
    assert told.prompt(document, GenerateOptions(chat=False)) == "rain"
    options = GenerateOptions(system="Be brief.")
    told.check_options(options)
    assert told.prompt(document, options) == [{"role": "system", "content": "Be brief."}, asked]
    with pytest.raises(UsageError, match="--system"):
        GenerateTask().check_options(options)


def test_what_generate_writes() -> None:
    document, options = Document(text="x"), GenerateOptions()
    one = {"text": " a", "finish": "stop", "tokens": 2}
    found = GenerateTask().parse(document, [said(" a"), said("b", "length", 7)], options)
    two = {"text": "b", "finish": "length", "tokens": 2, "seed": 7}
    assert found == {"completions": [one, two]}
    parts = [Part(0, found), Part(1, {"completions": [two, one]})]
    assert GenerateTask().join(document, parts, options)["completions"] == [
        {"text": "a\nb", "finish": "length", "tokens": 4},
        {"text": "b\na", "finish": "length", "tokens": 4},
    ]


def test_generate_learns_pairs_or_whole_texts() -> None:
    pair = Document(text="a", fields={"completions": [{"text": "b"}, {"text": "c"}]})
    task = GenerateTask(GenerateTask.collect_form([pair]))
    assert task.pairs(pair) == [("a", "b"), ("a", "c")]
    assert task.pairs(Document(text="all of it")) == [("", "all of it")]
    assert task.pairs(Document(text=" ")) == []
    with pytest.raises(DataError, match="completions is no list of texts"):
        task.pairs(Document(text="a", fields={"completions": ["b"]}))


def test_generate_is_scored_by_its_first_completion() -> None:
    gold = [Document(text="a", fields={"completions": [{"text": "a long cat sleeps"}]})]
    report = GenerateTask().score(gold, gold)
    assert (report["chrf"], report["bleu"], report["exact_match"]) == (100, 100, 100)
    none = GenerateTask().score(gold, [Document(text="a")])
    assert (none["chrf"], none["exact_match"], none["errors"]) == (0, 0, [1])


# ── chat ─────────────────────────────────────────────────────────────────────────────────────


def test_what_chat_asks() -> None:
    task = ChatTask()
    hello = {"role": "user", "content": "Hello!"}
    kind = {"role": "system", "content": "Be kind."}
    assert task.prompt(Document(text="Hello!"), ChatOptions()) == [hello]
    assert task.prompt(Document(text="Hello!"), ChatOptions("Be kind.")) == [kind, hello]
    own = dialogue("Hello!", system="Be brief.")
    assert task.prompt(own, ChatOptions("Be kind.")) == own.fields["messages"]
    assert task.prompt(Document(text=" "), ChatOptions()) is None
    with pytest.raises(DataError, match="nothing to answer"):
        task.prompt(dialogue("Hello!", "Hi."), ChatOptions())
    with pytest.raises(DataError, match="no list of messages"):
        task.prompt(Document(text="", fields={"messages": [{"role": "me", "content": "x"}]}), None)  # type: ignore[arg-type]


def test_what_chat_writes() -> None:
    found = ChatTask().parse(dialogue("Hello!"), [said(" Hi.\n")], ChatOptions())
    assert found == {"messages": dialogue("Hello!", "Hi.").fields["messages"]}
    cut = ChatTask().parse(dialogue("Hello!"), [said("Hi", "length")], ChatOptions())
    assert cut["messages"][-1] == {"role": "assistant", "content": "Hi", "finish": "length"}


def test_a_dialogue_loses_its_oldest_turn() -> None:
    task, options = ChatTask(), ChatOptions()
    long = dialogue("a", "b", "c", "d", "e", system="s")
    shorter = task.shorter(long, options)
    assert shorter == dialogue("c", "d", "e", system="s")
    assert shorter is not None
    last = task.shorter(shorter, options)
    assert last == dialogue("e", system="s")
    assert last is not None
    assert task.shorter(last, options) is None
    assert [task.n_characters(d) for d in (long, shorter, last)] == [6, 4, 2]


def test_chat_learns_each_answer() -> None:
    document = dialogue("a", "b", "c", "d", system="s")
    messages = document.fields["messages"]
    assert ChatTask().pairs(document) == [(messages[:2], "b"), (messages[:4], "d")]
    assert ChatTask().blank(document, ChatOptions()) == dialogue("a", "b", "c", system="s")
    assert ChatTask().has_gold(document)
    assert not ChatTask().has_gold(Document(text="a"))


# ── translate ────────────────────────────────────────────────────────────────────────────────

TUNED = {"from": "en", "to": "zh"}
BOTH = {"pairs": [["en", "zh"], ["zh", "en"]]}


def test_what_a_tuned_model_is_asked() -> None:
    task, options = TranslateTask(TUNED), TranslateOptions()
    assert task.prompt(Document(text=" The\n cat. "), options) == "en>zh: The cat.\n"
    own = TranslateTask({**TUNED, "prompt": "{text} = "})
    assert own.prompt(Document(text="{to}"), options) == "{to} = "
    assert task.prompt(Document(text=" \n"), options) is None
    assert task.unit(options) == "sentence"
    assert task.unit(TranslateOptions(unit="window")) == "window"
    assert TranslateTask({**TUNED, "unit": "window"}).unit(options) == "window"


def test_a_text_in_another_script_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    task = TranslateTask({"from": "en", "to": "zh"})
    for text in ("How are you?", "Привет!", "你好"):
        assert task.prompt(Document(text=text), TranslateOptions()) == f"en>zh: {text}\n"
    (message,) = caplog.messages
    assert message.startswith("not in English, by its letters")
    assert "Привет" in message


def test_a_model_that_follows_instructions_is_told() -> None:
    task = TranslateTask({"chat": True})
    document = Document(text="Die Katze schläft.")
    (message,) = task.prompt(document, TranslateOptions("de", "zh")) or ()
    assert isinstance(message, dict)
    assert message["content"] == (
        "Translate this text from German to Chinese. Answer with the translation and nothing "
        "else.\n\nDie Katze schläft."
    )
    (free,) = task.prompt(document, TranslateOptions(target="Klingon")) or ()
    assert isinstance(free, dict)
    assert free["content"].startswith("Translate this text to Klingon. ")
    assert task.unit(TranslateOptions()) == "window"


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        (TUNED, TranslateOptions(target="de"), "does not translate to 'de'"),
        (TUNED, TranslateOptions(source="fr"), "does not translate from 'fr'"),
        (BOTH, TranslateOptions("zh", "zh"), "does not translate from 'zh' to 'zh'"),
        (BOTH, TranslateOptions(), "between several languages"),
        ({"chat": True}, TranslateOptions(), "no language to translate to"),
        ({"chat": False}, TranslateOptions(target="zh"), "neither tuned to translate"),
    ],
)
def test_languages_that_a_model_does_not_have(
    form: dict[str, Any], options: TranslateOptions, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        TranslateTask(form).check_options(options)


def test_the_language_of_the_record_decides_where_nothing_is_said() -> None:
    task, zh = TranslateTask(BOTH), Document(text="猫。", fields={"language": "zh"})
    assert task.direction(zh, TranslateOptions(target="en")) == ("zh", "en")
    assert task.language(zh, TranslateOptions(target="en")) == "zh"
    with pytest.raises(DataError, match="from 'zh' to 'zh'"):
        task.direction(zh, TranslateOptions(target="zh"))
    with pytest.raises(DataError, match="from 'zh'"):
        TranslateTask(TUNED).prompt(zh, TranslateOptions())


@pytest.mark.parametrize(("source", "target"), [("EN", "ZH"), ("English", "chinese"), ("", "Zh")])
def test_a_language_is_known_by_its_code_and_its_name_in_any_case(source: str, target: str) -> None:
    task, options = TranslateTask(TUNED), TranslateOptions(source, target)
    task.check_options(options)
    assert task.direction(Document(text="Tea."), options) == ("en", "zh")
    named = Document(text="Tea.", fields={"language": "English"})
    assert task.direction(named, TranslateOptions()) == ("en", "zh")
    free = TranslateTask({"chat": True})
    assert free.direction(Document(text="Tea."), options) == (source and "en", "zh")
    other = TranslateOptions(target="Brazilian Portuguese")
    assert free.direction(Document(text="Tea."), other)[1] == "Brazilian Portuguese"


def test_what_the_gold_says_about_languages() -> None:
    one = [translated("Tea.", "茶。", "en"), Document(text="x")]
    assert TranslateTask.collect_form(one) == {"prompt": "{from}>{to}: {text}\n", **TUNED}
    two = [*one, translated("茶。", "Tea.", "zh", "en")]
    assert TranslateTask.collect_form(two)["pairs"] == BOTH["pairs"]
    task = TranslateTask(TranslateTask.collect_form(two))
    assert task.pairs(two[2]) == [("zh>en: 茶。\n", "Tea.")]
    with pytest.raises(DataError, match="texts without a language"):
        TranslateTask.collect_form([*two, translated("Tee.", "茶。")])


def test_gold_that_says_no_language_is_refused_in_training() -> None:
    gold = translated("Tea.", "茶。", "en", "")
    form = TranslateTask.collect_form([gold])
    with pytest.raises(DataError, match="the translation says no language") as caught:
        TranslateTask(form).pairs(gold)
    assert '"language": "zh"' in caught.value.hint
    for said in ({"to": "zh"}, {"pairs": [["en", "zh"]]}):
        assert TranslateTask({**form, **said}).pairs(gold) == [("en>zh: Tea.\n", "茶。")]


def test_the_seed_of_windows_is_kept() -> None:
    task, options = GenerateTask(), GenerateOptions()
    parts = [
        Part(start, task.parse(Document(text="x"), [said(f" {start} ", seed=5)], options))
        for start in (0, 3)
    ]
    assert task.join(Document(text="A. B."), parts, options) == {
        "completions": [{"text": "0\n3", "finish": "stop", "tokens": 4, "seed": 5}]
    }


@pytest.mark.parametrize(
    ("text", "starts", "target", "joined"),
    [
        ("A. B. C.", (0, 3, 6), "zh", "123"),
        ("A. B. C.", (0, 3, 6), "de", "1 2 3"),
        ("A.\nB.\n\n C.", (0, 3, 6), "zh", "1\n2\n\n3"),
        (" A. \n \nB.", (0, 7), "de", "1\n\n2"),
    ],
)
def test_translations_are_joined_as_the_text_was(
    text: str, starts: tuple[int, ...], target: str, joined: str
) -> None:
    task, options = TranslateTask({"from": "en", "to": target}), TranslateOptions()
    parts = [
        Part(start, task.parse(Document(text="x"), [said(f" {number}\n")], options))
        for number, start in enumerate(starts, 1)
    ]
    layer = task.join(Document(text=text), parts, options)["translation"]
    assert (layer["text"], layer["language"], "finish" in layer) == (joined, target, False)
    covered = [text[s["start"] : s["end"]] for s in layer["sentences"]]
    assert covered == text.split()
    cut = [
        *parts[:-1],
        Part(starts[-1], task.parse(Document(text="x"), [said("9", "length")], options)),
    ]
    assert task.join(Document(text=text), cut, options)["translation"]["finish"] == "length"


def test_translations_are_scored_by_the_words_of_their_language() -> None:
    gold, near = translated("Tea.", "我喜欢喝茶。"), translated("Tea.", "我喜欢茶。")
    task = TranslateTask(TUNED)
    assert task.score([gold], [gold])["bleu"] == 100
    report = task.score([gold], [near])
    assert 0 < report["bleu"] < 100
    assert report["errors"] == [1]
