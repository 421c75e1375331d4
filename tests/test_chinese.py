"""What works in English trains on Chinese, with tokenizers of every kind and right offsets."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import chinese_kit as kit

from lmtool import Document, Label
from lmtool.training.backbone import load_tokenizer
from lmtool.windows import Encoding, TextEncoder, sentence_ends

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder of a tiny encoder for each kind of tokenizer."""
    folder, texts = tmp_path_factory.mktemp("bases"), kit.all_texts()
    return {kind: kit.write_base(folder / kind, texts, kind) for kind in kit.KINDS}


def encoder_of(base: Path, max_tokens: int = 40) -> TextEncoder:
    encoding = Encoding(max_tokens=max_tokens, language="zh")
    return TextEncoder(load_tokenizer(str(base)), encoding)


def odd_documents() -> list[Document]:
    """Return texts that were not trained on, and one that needs several windows."""
    long = "".join(document.text for document in kit.samples("entities.iob2"))
    return [Document(text=text) for text in (*kit.ODD, long)]


# ── words, sentences and windows ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", kit.KINDS)
def test_characters_are_words(bases: dict[str, Path], kind: str) -> None:
    encoder = encoder_of(bases[kind])

    def words(text: str) -> list[str]:
        (window,) = encoder.windows(text)
        bounds = zip(window.word_starts.tolist(), window.word_ends.tolist(), strict=True)
        return [text[start:end] for start, end in bounds]

    assert words("今天天气很好") == list("今天天气很好")
    assert words("ＡＢＣ集團（上海）　宣佈：iPhone！") == [
        "ＡＢＣ", *"集團（上海）宣佈：", "iPhone", "！"
    ]  # fmt: skip
    assert words("𠮷野家😀") == list("𠮷野家😀")
    assert words("Zürich很美，Ａpp") == ["Zürich", *"很美，", "Ａpp"]


@pytest.mark.parametrize("kind", kit.KINDS)
def test_a_long_text_without_spaces_is_read_whole(bases: dict[str, Path], kind: str) -> None:
    encoder = encoder_of(bases[kind])
    text = "".join(kit.all_texts()) + "很" * 300
    windows = list(encoder.windows(text))
    assert "".join(window.text for window in windows) == text
    assert max(len(window.ids) for window in windows) <= 40
    for window in windows:
        assert text[window.start : window.start + len(window.text)] == window.text


def test_a_vocabulary_alone_is_the_same_tokenizer(bases: dict[str, Path]) -> None:
    one, other = (load_tokenizer(str(bases[kind])) for kind in ("vocab.txt", "wordpiece"))
    for text in ("今天天气很好", "在2020年，他说：“好！”😀"):
        assert one.encode(text).ids == other.encode(text).ids


def test_sentences_end_at_full_width_marks(bases: dict[str, Path]) -> None:
    sentences = ["今天天气很好。", "我们去公园玩！", "你来吗？", "贵，3.5元；“好的。”", "他说"]
    text = "".join(sentences)
    ends = [0, *sentence_ends(text, "zh")]
    assert [text[a:b] for a, b in itertools.pairwise(ends)] == sentences
    (window,) = encoder_of(bases["wordpiece"], 64).windows(text)
    assert [window.word_starts[first] for first, _ in window.sentences()] == ends[:-1]
    short = encoder_of(bases["wordpiece"], 9).windows(text)
    assert [window.text for window in short][:3] == sentences[:3]


# ── a model of each task ─────────────────────────────────────────────────────────────────────


def test_entities_from_a_column_file(bases: dict[str, Path], tmp_path: Path) -> None:
    gold = [*kit.samples("entities.iob2", 10), *kit.mixed("entities")]
    columns, more = tmp_path / "columns.iob2", tmp_path / "more.jsonl"
    sentences = (kit.DATA / "entities.iob2").read_text("utf-8").split("\n\n")[:10]
    columns.write_text("\n\n".join(sentences), "utf-8")
    kit.write_documents(more, kit.mixed("entities"))
    model = kit.train_and_export(tmp_path, bases["vocab.txt"], columns, more, task="extract")
    found = kit.annotate("extract", model, gold)
    assert [kit.facts(document) for document in found] == [kit.facts(d) for d in gold]
    assert kit.annotate("extract", model, odd_documents())[-1].coverage.windows > 2
    written = kit.run("extract", columns, more, "--model", model, "-q", "--format", "conll").stdout
    (tmp_path / "found.iob2").write_text(written, "utf-8")
    scores = kit.run("evaluate", model, tmp_path / "found.iob2", "--format", "json").stdout
    assert json.loads(scores)["micro_f1"] == 100


def test_roles(bases: dict[str, Path], tmp_path: Path) -> None:
    gold = [*kit.samples("roles.jsonl", 6), *kit.mixed("frames")]
    file = kit.write_documents(tmp_path / "gold.jsonl", gold)
    model = kit.train_and_export(tmp_path, bases["bytes"], file, task="roles", epochs=150)
    found = kit.annotate("roles", model, gold)
    assert [kit.facts(document) for document in found] == [kit.facts(d) for d in gold]
    assert kit.annotate("roles", model, odd_documents())[-1].coverage.windows > 2


def test_events_with_arguments(bases: dict[str, Path], tmp_path: Path) -> None:
    gold = [*kit.samples("events.jsonl", 5), *kit.mixed("events")]
    file = kit.write_documents(tmp_path / "gold.jsonl", gold)
    model = kit.train_and_export(tmp_path, bases["unigram"], file, task="extract", epochs=100)
    found = kit.annotate("extract", model, gold)
    assert [kit.facts(document) for document in found] == [kit.facts(d) for d in gold]
    assert kit.annotate("extract", model, odd_documents())[-1].coverage.windows > 2


def test_a_vocabulary_folder_classifies_a_sentence(bases: dict[str, Path], tmp_path: Path) -> None:
    moods = {
        "好": ("今天天气很好", "今天真好！", "这本书很好😀", "天气很好，很高兴"),
        "坏": ("今天天气很坏", "今天真坏！", "这本书很差😡", "天气很差，很生气"),
    }
    gold = kit.samples("topics.jsonl", 10)
    gold += [
        Document(text=text, labels={"情感": [Label(label=mood)]})
        for mood, texts in moods.items()
        for text in texts
    ]
    file = kit.write_documents(tmp_path / "gold.jsonl", gold)
    train = ("--data", file, "--dev", file, "--base", bases["vocab.txt"], "-o", tmp_path / "run")
    kit.run("train", "understand", *train, "--epochs", 40, *kit.RATES, *kit.QUIET)
    model = tmp_path / "情感模型"
    kit.run("export", tmp_path / "run" / "best", "-o", model, "--dev", file)
    result = kit.run("understand", "--model", model, "--scheme", "情感", "--text", "今天天气很好")
    (label,) = json.loads(result.stdout)["labels"]["情感"]
    assert label["label"] == "好"
    for document, found in zip(gold, kit.annotate("understand", model, gold), strict=True):
        assert kit.facts(document) <= kit.facts(found)


# ── several tasks, and pairs ─────────────────────────────────────────────────────────────────

JOINT = """
base = {base}
out = {out}
language = "zh"
epochs = 40
lr = 2e-3
head_lr = 5e-3
batch_tokens = 256
dropout = 0
patience = 0
eval_every = 100000
threads = 1

[[tasks]]
task = "extract"
data = [{entities}]
dev = [{entities}]

[[tasks]]
task = "understand"
data = [{topics}]
dev = [{topics}]
weight = 2
"""


def test_two_tasks_on_one_backbone(bases: dict[str, Path], tmp_path: Path) -> None:
    entities = [*kit.samples("entities.iob2", 8), *kit.mixed("entities")]
    topics = kit.samples("topics.jsonl", 10)
    paths = {
        "entities": kit.write_documents(tmp_path / "entities.jsonl", entities),
        "topics": kit.write_documents(tmp_path / "topics.jsonl", topics),
        "base": bases["wordpiece"],
        "out": tmp_path / "run",
    }
    config = tmp_path / "train.toml"
    named = {name: json.dumps(str(path)) for name, path in paths.items()}
    config.write_text(JOINT.format(**named), "utf-8")
    kit.run("train", "--config", config, "-q")
    dev = ("--dev", paths["entities"], "--dev", paths["topics"])
    models = tmp_path / "models"
    kit.run("export", paths["out"] / "best", "-o", models, *dev, "--precision", "fp32")
    for head, gold in (("extract", entities), ("understand", topics)):
        found = kit.annotate(head, models / head, gold)
        assert [kit.facts(document) for document in found] == [kit.facts(d) for d in gold]


def test_pairs(bases: dict[str, Path], tmp_path: Path) -> None:
    gold = [
        Document(
            text=text,
            pair=pair,
            labels={"inference": [Label(label=label)], "similarity": [Label(value=value)]},
        )
        for text, pair, label, value in (
            ("一个男人在弹吉他。", "一个男人在演奏乐器。", "蕴含", 4.0),
            ("一个男人在弹吉他。", "一个男人在睡觉。", "矛盾", 1.0),
            ("一个男人在弹吉他。", "他是有名的歌手。", "中立", 2.5),
            ("孩子们在公园玩！", "孩子们在外面。", "蕴含", 4.5),
            ("孩子们在公园玩！", "公园里没有人。", "矛盾", 0.5),
            ("孩子们在公园玩！", "今天是星期天😀", "中立", 2.0),
        )
    ]
    file = kit.write_documents(tmp_path / "gold.jsonl", gold)
    model = kit.train_and_export(tmp_path, bases["wordpiece"], file, task="understand", epochs=100)
    for document, found in zip(gold, kit.annotate("understand", model, gold), strict=True):
        assert document.labels is not None
        assert found.labels is not None
        assert found.labels["inference"][0].label == document.labels["inference"][0].label
        value = found.labels["similarity"][0].value
        assert value == pytest.approx(document.labels["similarity"][0].value, abs=0.6)
