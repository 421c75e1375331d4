"""Batches: padding of targets, token budget, order by seed and epoch, lower-casing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
import training_kit as kit

from lmtool.documents import Document, Entity, Frame, FrameArgument, Span
from lmtool.training.batches import Example, Examples, Source, lowered, pad
from lmtool.training.data import split
from lmtool.windows import Encoding, TextEncoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(kit.tiny_tokenizer(), Encoding(max_tokens=32, has_shapes=True))


@pytest.fixture(scope="module")
def task() -> kit.WordTagTask:
    return kit.WordTagTask({"entities": ["LOC", "PER"]})


def test_targets_are_padded_by_kind_on_every_axis(encoder: TextEncoder) -> None:
    long = next(encoder.windows("Rome was late"))
    short = next(encoder.windows("Rome"))
    assert (len(long.ids), len(short.ids)) == (5, 3)
    batch = pad(
        [
            Example(window, {
                "tags": np.arange(n, dtype=np.int32),
                "may": np.ones((n, 2), bool),
                "weight": np.full(k, 0.5),
                "class": np.array(7),
            })
            for window, n, k in ((long, 5, 1), (short, 3, 2))
        ]
    )  # fmt: skip
    assert batch.n_tokens == 8
    assert batch.inputs["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert batch.inputs["shape_ids"].shape == (2, 5)
    assert batch.targets["tags"].tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, -100, -100]]
    assert batch.targets["tags"].dtype == torch.int64
    assert batch.targets["may"][1, :, 0].tolist() == [True, True, True, False, False]
    assert batch.targets["weight"].tolist() == [[0.5, 0.0], [0.5, 0.5]]
    assert batch.targets["weight"].dtype == torch.float32
    assert batch.targets["class"].tolist() == [7, 7]


def test_batches_hold_each_window_once_within_the_budget(
    encoder: TextEncoder, task: kit.WordTagTask
) -> None:
    documents = [kit.document(text) for text in kit.SENTENCES * 10]
    examples = Examples([Source(task, documents)], encoder)
    batches = examples.batches(0, 64)
    assert all(len(b) * max(e.n_tokens for e in b) <= 64 for b in batches)
    flat = [id(example) for example in itertools.chain(*batches)]
    assert sorted(flat) == sorted(id(example) for example in examples.epoch(0))


def test_the_order_depends_on_seed_and_epoch_alone(
    encoder: TextEncoder, task: kit.WordTagTask
) -> None:
    documents = [kit.document(text) for text in kit.SENTENCES]

    def order(seed: int, epoch: int) -> list[list[str]]:
        examples = Examples([Source(task, documents)], encoder, seed=seed)
        return [[e.window.text for e in batch] for batch in examples.batches(epoch, 40)]

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)


def test_lower_share_lowers_other_documents_in_each_epoch(
    encoder: TextEncoder, task: kit.WordTagTask
) -> None:
    documents = [kit.document(text) for text in kit.SENTENCES * 4]
    examples = Examples([Source(task, documents)], encoder, lower_share=0.5)
    chosen = [[e.window.text.islower() for e in examples.epoch(epoch)] for epoch in (0, 1)]
    assert chosen[0] != chosen[1]
    assert 8 <= sum(chosen[0]) <= 24
    plain = Examples([Source(task, documents)], encoder).epoch(0)
    for before, after in zip(plain, examples.epoch(0), strict=True):
        assert (before.targets["tags"] == after.targets["tags"]).all()


def test_a_text_without_words_gives_no_example(encoder: TextEncoder, task: kit.WordTagTask) -> None:
    documents = [Document(text=" \n"), Document(text="Rome")]
    assert len(Examples([Source(task, documents)], encoder)) == 1


def test_lowered_keeps_offsets_and_span_texts() -> None:
    document = Document(
        text="İN ROME Ada SLEPT",
        entities=[Entity(start=3, end=7, text="ROME", label="LOC")],
        frames=[Frame(Span(12, 17, "SLEPT"), "sleep.01", [FrameArgument("ARG0", 8, 11, "Ada")])],
    )
    low = lowered(document)
    assert low.text == "İn rome ada slept"
    assert low.entities == [Entity(start=3, end=7, text="rome", label="LOC")]
    assert low.frames == [
        Frame(Span(12, 17, "slept"), "sleep.01", [FrameArgument("ARG0", 8, 11, "ada")])
    ]
    assert [entity.text for entity in document.entities or ()] == ["ROME"]


def test_split_is_by_text_and_ignores_the_order() -> None:
    documents = [Document(text=f"text {i % 50}", id=i) for i in range(100)]
    train, dev = split(documents, 0.1)
    assert (len(train), len(dev)) == (90, 10)
    assert not {d.text for d in train} & {d.text for d in dev}
    assert {d.text for d in split(documents[::-1], 0.1)[1]} == {d.text for d in dev}
    assert {d.text for d in split(documents, 0.1, seed=1)[1]} != {d.text for d in dev}


@pytest.mark.parametrize(
    ("n", "share", "n_dev"), [(5, 0.0, 0), (5, 0.01, 1), (2, 0.9, 1), (1, 0.5, 0)]
)
def test_a_split_leaves_something_on_both_sides(n: int, share: float, n_dev: int) -> None:
    train, dev = split([Document(text=str(i)) for i in range(n)], share)
    assert (len(train), len(dev)) == (n - n_dev, n_dev)
