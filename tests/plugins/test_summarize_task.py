"""The task of summaries: its contract, its gold, queries, and a model that learns its texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lmtool_summarize.scoring import references_of, score_summaries
from lmtool_summarize.task import SummarizeOptions, SummarizeTask
from lmtool_summarize.words import words_of

import lmtool
from lmtool.documents import Summary, encode_document
from lmtool.testing import check_task, run_cli, tiny_backbone

torch = pytest.importorskip("torch")
pytest.importorskip("rouge_score")


def document(*sentences: str, gold: int) -> lmtool.Document:
    """Make a document of sentences, one of which is its summary."""
    text = " ".join(sentences)
    start = text.index(sentences[gold])
    span = (start, start + len(sentences[gold]))
    return lmtool.Document(text=text, summary=Summary(sentences[gold], [span]))


DOCUMENTS = [
    document("Rain fell all day.", "We show that cats like milk.", "Dogs were out.", gold=1),
    document("We show that trains are late.", "Many people wait.", "Nobody likes it.", gold=0),
    document(
        "Bread is old.", "It has been made for long.", "We show that salt helps the dough.", gold=2
    ),
    document("Some birds sing at night.", "We show that light is why.", gold=1),
    document("今天下雨了很久。", "We show that it rains a lot.", gold=1),
]
TEXT = "The car is red and old. The boat is in the harbour. Milk is in the bottle again."


def test_it_keeps_the_contract() -> None:
    check_task(SummarizeTask, DOCUMENTS)


def test_form_and_gold() -> None:
    assert SummarizeTask.collect_labels(DOCUMENTS) == {}
    assert SummarizeTask.collect_form(DOCUMENTS) == {"width": 128}
    with pytest.raises(lmtool.UsageError, match="width is 0"):
        SummarizeTask({}, {"width": 0}).build_head(8)
    task = SummarizeTask({})
    assert task.targets(None, lmtool.Document(text="Ada left")) == {}  # type: ignore[arg-type]


def test_gold_of_a_text_alone_is_the_nearest_sentence() -> None:
    from roles_kit import window

    task = SummarizeTask({})
    gold = lmtool.Document(text=DOCUMENTS[0].text, summary=Summary("Cats like milk."))
    targets = task.targets(window(gold.text), gold)
    assert targets["gold"].tolist() == [0, 1, 0]
    assert targets["positions"].tolist()[0] == 11
    sentence_of = targets["sentence_of"].tolist()
    assert sentence_of == [-100, *[0] * 5, *[1] * 7, *[2] * 4, -100]


def test_rouge_takes_the_best_reference() -> None:
    gold = lmtool.Document(
        text="x", summary=Summary("a cat"), fields={"references": ["dogs running", "a cat"]}
    )
    assert references_of(gold) == ["a cat", "dogs running"]
    found = lmtool.Document(text="x", summary=Summary("dog runs"))
    perfect = {"rouge1": 100.0, "rouge2": 0.0, "rougeL": 100.0, "support": 1}
    stemmed = score_summaries([gold], [found])
    assert stemmed["rouge1"] == 100.0
    found.summary = Summary("running dogs")
    assert score_summaries([gold], [found]) == {**perfect, "rougeL": 50.0}
    found.summary = Summary("a dog")
    assert score_summaries([gold], [found])["rouge1"] == 50.0


def test_rouge_counts_chinese_characters() -> None:
    gold, found = (
        lmtool.Document(text="x", summary=Summary(text)) for text in ("今天下雨", "今天晴天")
    )
    assert score_summaries([gold], [found])["rouge1"] == 50.0


CHINESE = [
    document("今天下雨了很久。", "本文证明猫喜欢牛奶。", "狗在外面。", gold=1),
    document("本文证明火车常常晚点！", "许多人在等车。", "没有人喜欢。", gold=0),
    document("面包很老。", "人们早就会做它。", "本文证明盐有用。", gold=2),
    document("有些鸟在夜里唱歌。", "本文证明光是原因。", gold=1),
]
WEATHER = "今天的天气很好，我们去公园。\n小船停在港口。“牛奶又在瓶子里了！”他说。汽车又红又旧。"


def learnt(folder: Path, documents: list[lmtool.Document], **more: object) -> Path:
    """Return a checkpoint that has learnt documents by heart."""
    from lmtool.training.config import make_config
    from lmtool.training.run import train

    data = folder / "data.jsonl"
    data.write_bytes(b"".join(map(encode_document, documents)))
    base = tiny_backbone(folder / "base", [*(d.text for d in documents), TEXT, WEATHER])
    values = {
        "task": "summarize", "data": [str(data)], "dev": [str(data)], "base": str(base),
        "out": str(folder / "run"), "epochs": 40, "lr": 3e-3, "head_lr": 3e-3,
        "batch_tokens": 256, "max_tokens": 48, "eval_every": 40, "patience": 0,
        "precision": "no", "device": "cpu", "threads": 1, "form": {"width": 32},
        "options": {"sentences": 1}, **more,
    }  # fmt: skip
    for _ in train(make_config(values)):
        pass
    return folder / "run/best"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that has learnt its texts by heart."""
    return learnt(tmp_path_factory.mktemp("summarize"), DOCUMENTS)


def test_chinese(tmp_path: Path) -> None:
    """Sentences end at Chinese marks, offsets are characters, limits and queries count them."""
    from lmtool.evaluation import evaluate

    model = learnt(tmp_path, CHINESE, language="zh")
    report = evaluate(lmtool.load(model, device="cpu"), CHINESE)
    assert (report["rouge1"], report["support"]) == (100, 4)

    def sentences(text: str, **options: object) -> list[str]:
        found = lmtool.load(model, device="cpu", **options)(lmtool.Document(text=text)).summary
        assert found.text == "".join(text[a:b].replace("\n", "") for a, b in found.sentences)
        return [text[a:b] for a, b in found.sentences]

    assert sentences(WEATHER, sentences=9) == [
        "今天的天气很好，我们去公园。",
        "小船停在港口。",
        "“牛奶又在瓶子里了！”",
        "他说。",
        "汽车又红又旧。",
    ]
    assert sentences(WEATHER, sentences=1, query="小船停在港口") == ["小船停在港口。"]
    assert sum(len(words_of(s)) for s in sentences(WEATHER, words=20)) <= 20
    long = WEATHER * 40
    found = lmtool.load(model, device="cpu", sentences=7)(lmtool.Document(text=long))
    assert len(found.summary.sentences) == 7
    assert found.coverage.read == len(long)
    assert found.coverage.windows > 10


def test_it_learns_its_texts_by_heart(model: Path) -> None:
    from lmtool.evaluation import evaluate

    report = evaluate(lmtool.load(model, device="cpu"), DOCUMENTS)
    assert (report["rouge1"], report["support"]) == (100, 5)


def test_a_query_is_read_by_the_model(model: Path) -> None:
    found = lmtool.load(model, device="cpu", query="Where is the boat?", sentences=1)
    assert len(found.task.form["vector"]) == 32
    (span,) = found(lmtool.Document(text=TEXT)).summary.sentences
    assert TEXT[slice(*span)] == "The boat is in the harbour."


@pytest.mark.parametrize("query", ["\u200b", "  ", "???"])
def test_a_query_without_words_is_an_error(model: Path, query: str) -> None:
    with pytest.raises(lmtool.UsageError, match="has no word") as caught:
        lmtool.load(model, device="cpu", query=query)
    assert caught.value.hint == "say in words what is looked for"


def test_a_script_that_the_model_does_not_know_is_said_once(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = lmtool.load(model, device="cpu")
    found(lmtool.Document(text=TEXT))
    assert not caplog.messages
    unread = [lmtool.Document(id=f"{n}.txt", text="дом стоит у реки. " * n) for n in (3, 4)]
    assert len(list(found.pipe(unread))) == 2
    (message,) = caplog.messages
    assert message.startswith("3.txt: the model does not know the script of this text")


def test_a_text_file_is_one_document(model: Path, tmp_path: Path) -> None:
    """Unless its lines are asked for; words are not filled with what is left over."""
    path = tmp_path / "a.txt"
    path.write_text("Rain fell\nall day.\n\nWe show that cats like milk.\n", "utf-8")
    command = ("summarize", "--model", model, "--device", "cpu", path)
    (record,) = map(json.loads, run_cli(*command, "--sentences", 2).stdout.splitlines())
    assert record["summary"]["text"] == "Rain fell all day.\nWe show that cats like milk."
    lines = run_cli(*command, "--no-whole-file").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == [
        "Rain fell", "all day.", "We show that cats like milk.",
    ]  # fmt: skip
    (record,) = map(json.loads, run_cli(*command, "--words", 90).stdout.splitlines())
    assert record["summary"]["text"] == "We show that cats like milk."
    shown = run_cli(*command, "--sentences", 1, "-f", "text").stdout
    assert shown == f"summary:\nWe show that cats like milk. ({path}, characters 20 to 48)\n\n"


def test_batches_have_half_the_tokens(model: Path) -> None:
    found = lmtool.load(model, device="cpu", task_name="summarize", batch_tokens=100)
    asked = lmtool.load(model, device="cpu", batch_tokens=100, query="Where is the boat?")
    assert (found.batch_tokens, asked.batch_tokens) == (50, 50)


def test_options_limit_long_texts(model: Path) -> None:
    text = " ".join([TEXT] * 40)
    found = lmtool.load(model, device="cpu", sentences=5)(lmtool.Document(text=text))
    assert len(found.summary.sentences) == 5
    assert found.summary.sentences == sorted(found.summary.sentences)
    assert found.coverage.read == len(text)
    assert found.coverage.windows > 10
    options = SummarizeOptions(words=12)
    assert options.sentences is None


def test_one_summary_of_several_texts(model: Path, tmp_path: Path) -> None:
    for name, text in (("a", "Rain fell all day."), ("b", "We show that cats like milk.")):
        (tmp_path / f"{name}.txt").write_text(text, "utf-8")
    done = run_cli(
        "summarize", "--model", model, "--device", "cpu", "--together", "--sentences", 2,
        tmp_path / "a.txt", tmp_path / "b.txt",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    (record,) = map(json.loads, done.stdout.splitlines())
    assert record["text"] == "Rain fell all day.\n\nWe show that cats like milk."
    assert record["summary"]["sentences"] == [[0, 18], [20, 48]]
    assert [(d["start"], d["end"]) for d in record["documents"]] == [(0, 18), (20, 48)]
