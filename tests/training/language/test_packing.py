"""From files to token files and rows: everything once, in constant memory, the same each time."""

from __future__ import annotations

import gzip
import json
import lzma
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import pretrain_kit as kit

from lmtool.errors import BundleError, DataError
from lmtool.sources import ReadOptions
from lmtool.training.language import packing
from lmtool.training.language.packing import (
    BLOCK,
    Block,
    Text,
    cut,
    held_out,
    pack,
    place,
    read_tokens,
)
from lmtool.training.language.tokenizers import end_id, train_tokenizer

BOOK = "".join(f"Line {number} of a long book.\n" for number in range(1000))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(lambda: iter(kit.sentences(200)), "causal", 300)


def text(*files: Path, **options: Any) -> Text:
    return Text([str(file) for file in files], ReadOptions(**options))


def joined(blocks: Any) -> list[str]:
    """Put the blocks of each text together."""
    texts = [""]
    for block in blocks:
        texts[-1] += block.text
        if block.is_last:
            texts.append("")
    assert texts.pop() == ""
    return texts


def test_texts_are_cut_into_blocks_and_lost_nowhere() -> None:
    for whole in (BOOK, "x" * (2 * BLOCK + 1), "猫" * BLOCK, "a b " * BLOCK + "\n" * BLOCK):
        blocks = list(cut(whole))
        assert joined(blocks) == [whole]
        assert max(len(block.text) for block in blocks) <= BLOCK
    assert list(cut(" \n")) == []
    assert [block.text.endswith("\n") for block in cut(BOOK)] == [True] * len(list(cut(BOOK)))


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_book_is_one_text_or_one_by_line(ends: str, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(BOOK.replace("\n", ends).encode("utf-8-sig"))
    lines = joined(text(tmp_path / "book.txt").blocks())
    assert lines == BOOK.splitlines()
    assert joined(text(tmp_path / "book.txt", whole_file=True).blocks()) == [BOOK]


def test_readers_and_compressed_files_give_their_texts(tmp_path: Path) -> None:
    records = b"".join(json.dumps({"body": line}).encode() + b"\n" for line in ("one", "two"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(records))
    (tmp_path / "b.csv").write_text("body,more\nthree,x\n", "utf-8")
    found = text(tmp_path / "a.jsonl.gz", tmp_path / "b.csv", text_field="body")
    assert joined(found.blocks()) == ["one", "two", "three"]
    assert sorted(found.hashes()) == ["a.jsonl.gz", "b.csv"]
    (tmp_path / "book.txt.xz").write_bytes(lzma.compress(BOOK.encode()))
    assert joined(text(tmp_path / "book.txt.xz", whole_file=True).blocks()) == [BOOK]


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes("déjà vu\n".encode("latin-1"))
    for whole_file in (True, False):
        with pytest.raises(DataError, match=r"old.txt.*not utf-8: byte 0xe9") as caught:
            list(text(tmp_path / "old.txt", whole_file=whole_file).blocks())
        assert "--encoding" in caught.value.hint
    found = text(tmp_path / "old.txt", whole_file=True, encoding="latin-1")
    assert joined(found.blocks()) == ["déjà vu\n"]


def test_a_share_is_held_out_by_the_text_alone(tmp_path: Path) -> None:
    file = Path(kit.write_text(tmp_path / "text.txt", 400))
    is_held = held_out(text(file), 0.1, seed=1)
    lines = set(kit.sentences(400))
    held = {line for line in lines if is_held(line)}
    assert held == {line for line in lines if place(line, 1) <= 0.1}
    assert 20 < len(held) < 60
    assert held != {line for line in lines if held_out(text(file), 0.1, seed=2)(line)}


def test_of_little_text_one_block_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("one\ntwo\none\n", "utf-8")
    is_held = held_out(text(tmp_path / "two.txt"), 1e-9, seed=0)
    assert sum(map(is_held, ("one", "two"))) == 1
    (tmp_path / "two.txt").write_text("one\none\n", "utf-8")
    assert not held_out(text(tmp_path / "two.txt"), 0.5, seed=0)("one")


def test_token_files_hold_the_text(tokenizer: Any, tmp_path: Path) -> None:
    file = Path(kit.write_text(tmp_path / "text.txt", 100))
    (tmp_path / "book.txt").write_text(BOOK + "<|endoftext|> is text here", "utf-8")
    end = end_id(tokenizer, "causal", "")
    is_held = held_out(text(file), 0.2, seed=0)
    pack(tmp_path, tokenizer, end, text(file), None, is_held)
    record, train, dev = read_tokens(tmp_path)
    lines = kit.sentences(100)
    for tokens, part, wanted in (
        (train, record.train, [line for line in lines if not is_held(line)]),
        (dev, record.dev, [line for line in lines if is_held(line)]),
    ):
        assert tokenizer.decode(tokens).split("<|endoftext|>") == [*wanted, ""]
        assert (part.texts, part.tokens) == (len(wanted), len(tokens))
        assert part.bytes == sum(len(line.encode()) for line in wanted)

    book = text(tmp_path / "book.txt", whole_file=True)
    pack(tmp_path, tokenizer, end, book, text(file), lambda block: False)
    record, train, dev = read_tokens(tmp_path)
    assert (train == end).nonzero()[0].tolist() == [len(train) - 1]
    assert tokenizer.decode(train[:-1]) == BOOK + "<|endoftext|> is text here"
    assert (record.train.texts, record.dev.texts, record.dtype) == (1, 100, "uint16")
    (tmp_path / "dev.bin").write_bytes(b"?")
    with pytest.raises(BundleError, match=r"dev.bin does not hold"):
        read_tokens(tmp_path)


def test_a_block_held_out_of_a_text_ends_what_is_before_it(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(BOOK, "utf-8")
    blocks = [block.text for block in text(tmp_path / "book.txt", whole_file=True).blocks()]
    assert len(blocks) > 3
    book, end = text(tmp_path / "book.txt", whole_file=True), end_id(tokenizer, "causal", "")
    pack(tmp_path, tokenizer, end, book, None, lambda block: block == blocks[1])
    _, train, dev = read_tokens(tmp_path)
    ended = tokenizer.decode(train).split("<|endoftext|>")
    assert ended == [blocks[0], "".join(blocks[2:]), ""]
    assert tokenizer.decode(dev) == blocks[1] + "<|endoftext|>"


def test_text_that_is_held_out_is_never_learnt(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the most is held out, the rest of the share is learnt, but not what is known."""
    monkeypatch.setattr(packing, "MOST_HELD_OUT", 5)
    (tmp_path / "text.txt").write_text("first\nsecond\nfirst\nthird\n", "utf-8")
    pack(tmp_path, tokenizer, 0, text(tmp_path / "text.txt"), None, lambda block: block != "third")
    _, train, dev = read_tokens(tmp_path)
    assert tokenizer.decode(dev).split("<|endoftext|>")[:-1] == ["first", "first"]
    assert tokenizer.decode(train).split("<|endoftext|>")[:-1] == ["second", "third"]


def test_no_text_is_an_error(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n", "utf-8")
    with pytest.raises(DataError, match="no text"):
        pack(tmp_path, tokenizer, 0, text(tmp_path / "empty.txt"), None, lambda block: False)
    with pytest.raises(DataError, match="no text"):
        train_tokenizer(lambda: iter(()), "causal", 300)


def test_memory_does_not_grow_with_a_text(tmp_path: Path) -> None:
    peaks = []
    for times in (100, 400):
        (tmp_path / "book.txt").write_text(BOOK * times, "utf-8")
        tracemalloc.start()
        n_characters = sum(
            len(block.text) for block in text(tmp_path / "book.txt", whole_file=True).blocks()
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert n_characters == len(BOOK) * times
    assert peaks[1] < 1.2 * peaks[0] < len(BOOK) * 100 / 4


def test_the_same_text_gives_the_same_tokenizer() -> None:
    zh = ["今天天气很好。", "我们去北京看故宫。", "I have 3 cats ."] * 5
    for objective, vocabulary in (("causal", 300), ("masked", 90)):
        made = [
            train_tokenizer(lambda: iter(zh), objective, vocabulary)  # type: ignore[arg-type]
            for _ in range(3)
        ]
        assert len({t.backend_tokenizer.to_str() for t in made}) == 1


def test_chinese_is_text_like_any_other(tmp_path: Path) -> None:
    zh = ["今天天气很好。", "我们去北京看故宫 2024 ."] * 5
    causal = train_tokenizer(lambda: iter(zh), "causal", 400)
    for line in (*zh[:2], "一个没见过的句子 🙂"):
        assert causal.decode(causal(line)["input_ids"]) == line
    masked = train_tokenizer(lambda: iter(zh), "masked", 100)
    assert masked.tokenize("今天去故宫。") == list("今天去故宫。")
    assert masked.unk_token_id not in masked(zh[1])["input_ids"]


def test_of_too_many_characters_the_rarest_are_unknown() -> None:
    often, once = "天地人", "".join(chr(0x4E00 + 40 * number) for number in range(90))
    masked = train_tokenizer(lambda: iter([often * 9, once]), "masked", 60)
    assert masked.tokenize(often) == list(often)
    assert len(masked) <= 60
    assert masked.unk_token in masked.tokenize(once)


def test_a_lower_casing_tokenizer_takes_accents_off() -> None:
    made = train_tokenizer(lambda: iter(["Café Zoë"] * 9), "masked", 60, lowercase=True)
    assert made.decode(made("CAFÉ zoe")["input_ids"], skip_special_tokens=True) == "cafe zoe"


def test_blocks_of_a_text_are_block_tuples() -> None:
    assert list(cut("one")) == [Block("one", is_last=True)]
