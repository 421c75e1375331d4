"""Training the heads alone, and low-rank additions: what is learnt, shared, resumed and refused."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
import training_kit as kit

from lmtool.batching import pad_windows
from lmtool.bundles import load_bundle
from lmtool.errors import BundleError, UsageError
from lmtool.exporting import ExportOptions, export_bundle
from lmtool.models import load
from lmtool.training.backbone import load_backbone
from lmtool.training.checkpoint import load_checkpoint
from lmtool.training.config import TrainConfig, make_config
from lmtool.training.frozen import FrozenBackbone, States, onnx_folder
from lmtool.training.inference import model_from_checkpoint
from lmtool.training.lora import adapters, add_adapters, merged_weights
from lmtool.training.run import prepare_run, train

TIMES = ("seconds", "tokens_per_second")
EVERYTHING = {
    "epochs": 6,
    "batch_tokens": 32,
    "lower_share": 0.5,
    "accumulate": 2,
    "eval_every": 4,
    "save_every": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    kit.write_base(folder / "base")
    kit.write_documents(folder / "data.jsonl")
    return folder


@pytest.fixture(scope="module")
def exported(folder: Path) -> Path:
    """A run of the head alone, which exported its base."""
    list(train(config(folder, out=str(folder / "exported")), task=kit.WordTagTask))
    return folder / "exported"


def config(folder: Path, tune: str = "head", **changes: Any) -> TrainConfig:
    rates = {"lr": 0.0} if tune == "head" else {}
    return kit.config(folder, **{"tune": tune, "epochs": 8, **rates, **changes})


def saved(run: Path) -> dict[str, bytes]:
    files = [p for p in sorted(run.rglob("*")) if p.suffix in (".safetensors", ".onnx")]
    return {str(p.relative_to(run)): p.read_bytes() for p in files}


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def test_the_head_learns_on_a_backbone_that_stays(folder: Path, exported: Path) -> None:
    losses = [line["loss"] for line in metrics(exported)]
    assert losses[-1] < losses[0]
    checkpoint = load_checkpoint(exported / "best", task=kit.WordTagTask)
    assert checkpoint.info.is_frozen
    assert isinstance(checkpoint.backbone, FrozenBackbone)
    assert checkpoint.backbone.info.precision == "int8"
    names = {p.name for p in (exported / "best" / "backbone").iterdir()}
    assert names == {"backbone.json", "backbone.onnx", "tokenizer.json"}
    document = model_from_checkpoint(checkpoint, device="cpu")(kit.SENTENCES[0])
    assert document.entities is not None
    assert not list(exported.glob(".states*"))


def test_a_backbone_in_onnx_is_taken_as_it_is(folder: Path, exported: Path, tmp_path: Path) -> None:
    base = str(exported / "best")
    second = config(folder, base=base, out=str(tmp_path / "run"), max_tokens=None)
    list(train(second, task=kit.WordTagTask))
    mine, theirs = (
        load_checkpoint(run / "best", task=kit.WordTagTask) for run in (tmp_path / "run", exported)
    )
    assert isinstance(mine.backbone, FrozenBackbone)
    assert isinstance(theirs.backbone, FrozenBackbone)
    assert mine.backbone.info.hash == theirs.backbone.info.hash
    assert mine.info.encoding == theirs.info.encoding


@pytest.mark.parametrize("tune", ["head", "lora"])
def test_an_abandoned_run_resumes_bit_for_bit(
    tune: str, folder: Path, exported: Path, tmp_path: Path
) -> None:
    base = exported / "last" if tune == "head" else folder / "base"
    shapes = {"shapes": True} if tune == "lora" else {}
    for name, stop in (("whole", None), ("cut", 4)):
        out = str(tmp_path / name)
        wanted = config(folder, tune, base=str(base), out=out, **EVERYTHING, **shapes)
        steps = train(wanted, task=kit.WordTagTask)
        list(itertools.islice(steps, stop))
        steps.close()  # type: ignore[attr-defined]
    list(train(wanted, resume=True, task=kit.WordTagTask))
    assert saved(tmp_path / "cut") == saved(tmp_path / "whole")
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_a_head_rides_along(exported: Path, folder: Path, tmp_path: Path) -> None:
    """Without a backbone of its own it is found by the hash of the one that it was trained on."""
    list(
        train(config(folder, task="extract", base=str(exported / "best"), out=str(tmp_path / "1")))
    )
    dev = {"dev": [kit.document(text) for text in kit.SENTENCES]}
    models = tmp_path / "models"
    export_bundle(tmp_path / "1" / "best", models / "one", dev, ExportOptions(name="one"))
    bundle = load_bundle(models / "one")
    assert list(bundle.info.metrics) == ["int8"]

    base = str(models / "one")
    list(train(config(folder, task="extract", base=base, out=str(tmp_path / "2"), seed=1)))
    options = ExportOptions(name="two", with_backbone=False)
    export_bundle(tmp_path / "2" / "best", models / "two", dev, options)
    assert not (models / "two" / "backbone").exists()
    assert load_bundle(models / "two").info.backbone == bundle.info.backbone
    one, two = load(models / "one", device="cpu"), load(models / "two", device="cpu")
    assert one.shares_pass(two)


def test_states_are_computed_once(exported: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(exported / "best", task=kit.WordTagTask)
    assert isinstance(checkpoint.backbone, FrozenBackbone)
    counting = Counting(checkpoint.backbone)
    states = States(counting, tmp_path / "new")
    windows = [w for _, w in checkpoint.encoder.windows_of(kit.SENTENCES)]
    states.add(windows[:5])
    states.add(windows[:6])
    inputs = pad_windows(windows)
    found = states.run(inputs)["hidden"]
    assert counting.n_rows == len(windows)
    exact = checkpoint.backbone.run(inputs)["hidden"]
    is_real = inputs["attention_mask"] == 1
    np.testing.assert_allclose(found[is_real], exact[is_real], rtol=2e-3, atol=2e-3)
    assert not found[~is_real].any()
    assert found.dtype == np.float32
    assert list((tmp_path / "new").iterdir()) == []


class Counting:
    """A graph that counts the rows that it is given."""

    def __init__(self, graph: FrozenBackbone) -> None:
        self.signature = graph.signature
        self.n_rows = 0
        self._graph = graph

    def run(self, feeds: Any) -> Any:
        self.n_rows += len(feeds["input_ids"])
        return self._graph.run(feeds)


def test_a_backbone_as_it_is_decides_the_windows(
    exported: Path, folder: Path, tmp_path: Path
) -> None:
    base, out = str(exported / "best"), str(tmp_path / "run")
    with pytest.raises(UsageError, match=r"max_tokens: the backbone of .* has 32, not 16"):
        prepare_run(config(folder, base=base, out=out, max_tokens=16), task=kit.WordTagTask)
    with pytest.raises(UsageError, match=r"shapes: the backbone of .* has False, not True"):
        prepare_run(config(folder, base=base, out=out, shapes=True), task=kit.WordTagTask)
    prepare_run(config(folder, base=base, out=out, max_tokens=32), task=kit.WordTagTask)


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_a_graph_cannot_be_trained(tune: str, exported: Path, folder: Path, tmp_path: Path) -> None:
    wanted = config(folder, tune, base=str(exported / "best"), out=str(tmp_path / "run"))
    with pytest.raises(BundleError, match="its backbone is an ONNX graph"):
        prepare_run(wanted, task=kit.WordTagTask)


def test_what_names_no_graph(folder: Path) -> None:
    assert onnx_folder(str(folder / "base")) is None
    assert onnx_folder("org/name") is None
    assert onnx_folder("no-such-model") is None


LEAST: dict[str, Any] = {"task": "extract", "data": ["a.jsonl"], "base": "b", "out": "o"}


def test_defaults_depend_on_what_is_tuned() -> None:
    found = {tune: make_config({**LEAST, "tune": tune}) for tune in ("full", "head", "lora")}
    assert found["full"] == make_config(LEAST)
    assert found["full"].epochs == 5
    assert (found["head"].lr, found["head"].epochs) == (0.0, 10)
    assert found["lora"].lr > found["full"].lr
    assert found["full"].min_steps > 0
    given = make_config({**LEAST, "tune": "head", "epochs": 3})
    assert (given.epochs, given.min_steps) == (3, 0)


def test_little_data_is_gone_through_more_than_once(folder: Path, tmp_path: Path) -> None:
    """Eight documents are 2 steps of 64 tokens: 3 passes make 4 epochs at least 20 steps."""
    changes = {"base": str(folder / "base"), "batch_tokens": 64}
    wanted = config(folder, "full", out=str(tmp_path), epochs=4, min_steps=20, **changes)
    run = prepare_run(wanted, task=kit.WordTagTask)
    steps = list(run.train())
    assert len(steps) == run.n_steps >= 20
    assert [step.epoch for step in steps if step.scores] == [1, 2, 3, 4]
    assert run.n_steps - 20 < 4 * 2 + 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tune": "head", "lr": 1e-4}, "lr: of no use with --tune head"),
        ({"tune": "head", "freeze": 2}, "freeze: of no use with --tune head"),
        ({"tune": "head", "dropout": 0.2}, "dropout: of no use with --tune head"),
        ({"tune": "head", "lora_rank": 8}, "lora_rank: of no use with --tune head"),
        ({"lora_rank": 8}, "lora_rank: of no use with --tune full"),
        ({"tune": "lora", "freeze": 2}, "freeze: of no use with --tune lora"),
        ({"tune": "tail"}, "tune: Invalid enum value 'tail'"),
    ],
)
def test_what_is_of_no_use_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_config({**LEAST, **values})
    assert caught.value.message == message


def test_merged_weights_are_those_of_the_sum(folder: Path) -> None:
    pytest.importorskip("peft")
    backbone = load_backbone(str(folder / "base")).eval()
    before = {name: t.clone() for name, t in backbone.encoder.state_dict().items()}
    add_adapters(backbone, 4)
    trained = {n for n, p in backbone.encoder.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 2 * 6  # A and B of six linear layers in each of two layers
    assert len(adapters(backbone.encoder)) == len(trained)
    ids = torch.tensor([[2, 5, 6, 3]])
    assert merged_weights(backbone.encoder).keys() == before.keys()
    with torch.no_grad():
        for name, parameter in backbone.encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
        added = backbone(ids, torch.ones_like(ids))["hidden"]
        plain = load_backbone(str(folder / "base")).eval()
        assert not torch.allclose(plain(ids, torch.ones_like(ids))["hidden"], added, atol=1e-3)
        plain.encoder.load_state_dict(merged_weights(backbone.encoder))
        merged = plain(ids, torch.ones_like(ids))["hidden"]
    assert torch.allclose(merged, added, atol=1e-5)


def test_a_checkpoint_of_lora_is_a_plain_one(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    first = config(folder, "lora", out=str(tmp_path / "1"), max_steps=3)
    run = prepare_run(first, task=kit.WordTagTask)
    list(run.train())
    names = {p.name for p in (tmp_path / "1" / "last" / "backbone").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json"}
    weights = load_backbone(str(tmp_path / "1" / "last")).state_dict()
    start = load_backbone(str(folder / "base")).state_dict()
    assert weights.keys() == start.keys()
    assert {n for n in start if not torch.equal(start[n], weights[n])} == {
        n for n in start if n.endswith(".weight") and ".layer." in n and "Norm" not in n
    }


LOADED = """
import sys
sys.path.insert(0, {tests!r})
import training_kit as kit
from pathlib import Path
from lmtool.training.run import train
list(train(kit.config(Path({folder!r}), out={out!r}, max_steps=1), task=kit.WordTagTask))
assert "peft" not in sys.modules
"""


def test_peft_stays_unimported_without_lora(folder: Path, tmp_path: Path) -> None:
    tests = str(Path(kit.__file__).parent)
    code = LOADED.format(tests=tests, folder=str(folder), out=str(tmp_path / "run"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
