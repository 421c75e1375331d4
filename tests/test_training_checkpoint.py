"""Backbones and checkpoints: what is loaded, what is refused, and what a crash leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
import training_kit as kit
from safetensors.torch import load_file, save_file

from lmtool import bundles
from lmtool.errors import BundleError, UsageError
from lmtool.training.backbone import load_backbone, load_tokenizer, quiet
from lmtool.training.checkpoint import (
    Checkpoint,
    CheckpointInfo,
    Head,
    HeadInfo,
    find_checkpoint,
    load_checkpoint,
    load_state,
    recover_checkpoint,
    save_checkpoint,
)
from lmtool.windows import Encoding, TextEncoder

ENCODING = Encoding(max_tokens=32, has_shapes=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return kit.write_base(tmp_path_factory.mktemp("base"))


def new_checkpoint(base: str, step: int = 0) -> Checkpoint:
    backbone = load_backbone(base, has_shapes=True)
    task = kit.WordTagTask({"entities": ["LOC", "PER"]})
    infos = {"wordtag": HeadInfo(task=task.name, labels=task.labels)}
    info = CheckpointInfo(heads=infos, encoding=ENCODING, base=base, step=step)
    encoder = TextEncoder(load_tokenizer(base), ENCODING)
    heads = {"wordtag": Head(task, task.build_head(backbone.hidden_size), {})}
    return Checkpoint(info, backbone, encoder, heads)


def test_shapes_start_at_zero(base: str) -> None:
    ids = torch.tensor([[2, 5, 6, 3], [2, 5, 3, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    plain = load_backbone(base).eval()
    shaped = load_backbone(base, has_shapes=True).eval()
    assert plain.signature.input_names == ["input_ids", "attention_mask"]
    assert shaped.signature.input_names == ["input_ids", "attention_mask", "shape_ids"]
    first, second = plain(ids, mask)["hidden"], shaped(ids, mask, torch.ones_like(ids))["hidden"]
    assert torch.equal(first, second)
    assert (first.dtype, first.shape) == (torch.float32, (2, 4, 32))


def test_more_tokens_than_positions_are_refused(base: str) -> None:
    load_backbone(base, max_tokens=64)
    with pytest.raises(UsageError, match="max_tokens: 65 is more than the 64 positions"):
        load_backbone(base, max_tokens=65)


def test_robertas_positions_begin_behind_the_padding(tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8, max_position_embeddings=18, pad_token_id=1,
    )  # fmt: skip
    with quiet():
        RobertaModel(config).save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path), has_shapes=True)
    assert backbone.max_positions == 16
    ids = torch.full((1, 16), 5)
    assert backbone(ids, ids.clamp(max=1), ids.clamp(max=1))["hidden"].shape == (1, 16, 8)


def test_dropout_can_be_set(base: str) -> None:
    def rates(backbone: torch.nn.Module) -> set[float]:
        return {m.p for m in backbone.modules() if isinstance(m, torch.nn.Dropout)}

    assert rates(load_backbone(base)) == {0.1}
    assert rates(load_backbone(base, dropout=0.25)) == {0.25}


def test_pickled_weights_are_refused(base: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(Path(base, "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(BundleError, match="pickled weights can run code and are not read"):
        load_backbone(str(tmp_path))


@pytest.mark.parametrize(
    ("base", "message"), [("./nowhere", "no such folder"), (".", "no model that transformers")]
)
def test_what_is_no_encoder_is_named(
    base: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=message):
        load_backbone(base)


def test_a_vocabulary_alone_is_converted(base: str, tmp_path: Path) -> None:
    vocabulary = json.loads(Path(base, "tokenizer.json").read_text())["model"]["vocab"]
    vocabulary |= {"[MASK]": len(vocabulary)}
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary))
    (tmp_path / "config.json").write_bytes(Path(base, "config.json").read_bytes())
    text = "Ada came to Rome."
    converted, original = load_tokenizer(str(tmp_path)), load_tokenizer(base)
    assert converted.encode(text).ids == original.encode(text).ids


def test_a_checkpoint_there_and_back(base: str, tmp_path: Path) -> None:
    saved = new_checkpoint(base, step=7)
    torch.nn.init.normal_(saved.backbone.shape_embedding.weight)  # type: ignore[union-attr]
    save_checkpoint(tmp_path / "last", saved)
    loaded = load_checkpoint(tmp_path / "last", task=kit.WordTagTask)
    assert loaded.info.step == 7
    assert loaded.info.encoding == ENCODING
    assert loaded.head().task.labels == {"entities": ["LOC", "PER"]}
    modules = (saved.head().module, loaded.head().module)
    for before, after in ((saved.backbone, loaded.backbone), modules):
        weights = after.state_dict()
        assert all(torch.equal(weights[name], t) for name, t in before.state_dict().items())
    assert loaded.encoder.tokenizer.to_str() == saved.encoder.tokenizer.to_str()


@pytest.mark.parametrize("name", ["heads/wordtag.safetensors", "backbone/model.safetensors"])
def test_a_changed_file_is_named(name: str, base: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", new_checkpoint(base))
    path = tmp_path / "last" / name
    save_file({k: t + 1 for k, t in load_file(path).items()}, path)
    with pytest.raises(BundleError, match=f"{name}: changed since it was written"):
        load_checkpoint(tmp_path / "last", task=kit.WordTagTask)


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no checkpoint: No such file or directory"):
        load_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_text('{"format": 99}')
    with pytest.raises(BundleError, match="format 99, this lmtool reads 2"):
        load_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(BundleError, match=r"checkpoint\.json: damaged"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_without_state_is_not_resumed(base: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best", new_checkpoint(base))
    with pytest.raises(BundleError, match=r"state\.safetensors: damaged or missing"):
        load_state(tmp_path / "best")


class Crash(BaseException):
    """Stands for a kill: nothing after it is run, no clean-up either."""


@pytest.mark.parametrize(("n_calls", "step"), [(0, 1), (1, 2), (2, 2)])
def test_a_crash_between_the_renames_loses_nothing(
    n_calls: int, step: int, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "last", new_checkpoint(base, step=1))
    calls: list[Path] = []
    rename = Path.rename

    def crash_after(self: Path, target: Path) -> Path:
        if len(calls) == n_calls:
            raise Crash
        calls.append(self)
        return rename(self, target)

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash_after)
        patch.setattr(bundles.shutil, "rmtree", crash)
        with pytest.raises(Crash):
            save_checkpoint(tmp_path / "last", new_checkpoint(base, step=2))
    found = load_checkpoint(find_checkpoint(tmp_path / "last"), task=kit.WordTagTask)
    assert found.info.step == step
    assert recover_checkpoint(tmp_path / "last")
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert load_checkpoint(tmp_path / "last", task=kit.WordTagTask).info.step == step
