"""Bundles: found by name or folder, checked before they run, never half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tiny_bundle import write_tiny_bundle

import lmtool
from lmtool.bundles import find_bundle, load_bundle, problems, read_record, sha256, writing
from lmtool.sessions import GraphFile, OnnxSession, n_threads, open_session
from lmtool.signature import Port, Signature


@pytest.fixture
def bundle(tmp_path: Path, home: Path) -> Path:
    return write_tiny_bundle(tmp_path / "models" / "tiny-en")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def test_a_folder_is_a_bundle(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert (loaded.info.name, loaded.info.task) == ("tiny-en", "extract")
    assert loaded.backbone_folder == bundle / "backbone"
    assert loaded.encoding.max_tokens == 16


def test_a_name_is_found_in_the_users_folder(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMTOOL_MODELS", str(bundle.parent))
    assert find_bundle("tiny-en") == bundle


@pytest.mark.parametrize(
    ("ref", "message"),
    [("nothing-en", "no model 'nothing-en'"), ("./nowhere", "./nowhere: no such folder")],
)
def test_what_is_not_there_is_named(home: Path, ref: str, message: str) -> None:
    with pytest.raises(lmtool.BundleError) as caught:
        find_bundle(ref)
    assert caught.value.message == message


def test_a_folder_without_its_record_is_no_bundle(bundle: Path) -> None:
    (bundle / "bundle.json").unlink()
    with pytest.raises(lmtool.BundleError, match=r"no bundle\.json in it"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["head.onnx", "backbone/backbone.onnx", "backbone/tokenizer.json"])
def test_a_changed_file_is_refused(bundle: Path, name: str) -> None:
    with (bundle / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(lmtool.BundleError, match="changed since it was written"):
        lmtool.load(bundle)


def test_a_missing_file_is_refused(bundle: Path) -> None:
    (bundle / "head.onnx").unlink()
    with pytest.raises(lmtool.BundleError, match=r"head\.onnx: missing"):
        load_bundle(bundle)


def test_a_newer_format_is_refused(bundle: Path) -> None:
    edit(bundle / "bundle.json", format=2)
    with pytest.raises(lmtool.BundleError, match="format 2, this lmtool reads 1"):
        load_bundle(bundle)


class Record(msgspec.Struct):
    step: int


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ('{"format": 3, "step": 7}', "format 3, this lmtool reads 2", "pip install --upgrade"),
        ('{"format": 1, "step": 7}', "format 1, this lmtool reads 2", "train again"),
        ('{"step": 7}', "format None, this lmtool reads 2", "train again"),
        ('{"format": 2}', r"run\.json: damaged: .* `step`", "train again"),
        ("{", r"run\.json: damaged", "train again"),
        (None, "no run: No such file or directory", "train again"),
    ],
)
def test_a_record_that_cannot_be_read(
    text: str | None, said: str, hint: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(lmtool.BundleError, match=said) as caught:
        read_record(path, Record, 2, what="run", hint="train again")
    assert caught.value.hint.startswith(hint)


def test_a_record_of_another_shape_is_refused(bundle: Path) -> None:
    edit(bundle / "bundle.json", labels=3)
    with pytest.raises(lmtool.BundleError, match="labels"):
        load_bundle(bundle)


def test_a_task_that_no_plugin_has_is_named(tmp_path: Path, home: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "other", task="unheard")
    with pytest.raises(lmtool.BundleError, match="needs the task 'unheard'"):
        lmtool.load(folder)


def test_a_file_that_leads_out_of_the_bundle_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"1")
    (tmp_path / "in").mkdir()
    digest = sha256(tmp_path / "secret")
    assert list(problems(tmp_path / "in", {"../secret": digest})) == [
        f"{tmp_path}/in/../secret: leads out of the bundle"
    ]


def test_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    (tmp_path / "secret").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", str(64 * 64 * 4))):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    ports = [helper.make_tensor_value_info(name, 1, [1, 64]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "g.onnx").write_bytes(model.SerializeToString())
    signature = Signature((Port("x", "float32", (1, 64)),), (Port("y", "float32", (1, 64)),))
    with pytest.raises(lmtool.BundleError, match="escapes model directory"):
        OnnxSession(GraphFile(tmp_path / "in" / "g.onnx", signature), "cpu")


def test_a_device_that_nobody_knows_is_a_usage_error(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    graph = GraphFile(bundle / "head.onnx", loaded.info.graphs["head"].signature)
    with pytest.raises(lmtool.UsageError, match="unknown device 'abacus'"):
        open_session(graph, "abacus")


def test_a_backbone_is_shared_by_hash(bundle: Path) -> None:
    """A bundle without a backbone finds it in the bundle beside, and one session serves both."""
    head = bundle.with_name("head-en")
    shutil.copytree(bundle, head)
    shutil.rmtree(head / "backbone")
    assert load_bundle(head).backbone_folder == bundle / "backbone"
    first, second = lmtool.load(bundle), lmtool.load(head)
    assert first.backbone is second.backbone
    assert second("Tim Cook").entities == first("Tim Cook").entities


def test_a_backbone_that_nobody_has_is_named(bundle: Path) -> None:
    shutil.rmtree(bundle / "backbone")
    with pytest.raises(lmtool.BundleError, match="is in no installed bundle"):
        load_bundle(bundle)


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        with writing(folder) as temporary:
            (temporary / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bundle.json").touch()
    with pytest.raises(lmtool.UsageError, match="exists"), writing(tmp_path / "out"):
        pass
    with writing(tmp_path / "out", replace=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def test_records_are_strict_json(bundle: Path) -> None:
    assert msgspec.json.decode((bundle / "bundle.json").read_bytes())["format"] == 1


def test_a_folder_that_we_did_not_write_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters").touch()
    with (
        pytest.raises(lmtool.UsageError, match=r"there is no bundle\.json in it"),
        writing(tmp_path, replace=True),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


def test_what_is_there_stays_when_it_cannot_be_replaced(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target == bundle and not self.name.endswith(".old"):
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="disk full"), writing(bundle, replace=True):
        pass
    assert list(load_bundle(bundle).problems()) == []
    assert list(bundle.parent.iterdir()) == [bundle]


@pytest.mark.parametrize("name", ["head.onnx", "backbone.onnx", "tokenizer.json"])
def test_a_file_without_a_hash_is_refused(bundle: Path, name: str) -> None:
    head = name == "head.onnx"
    path = bundle / "bundle.json" if head else bundle / "backbone" / "backbone.json"
    files = json.loads(path.read_text("utf-8"))["files"]
    del files[name]
    edit(path, files=files)
    with pytest.raises(lmtool.BundleError, match=f"{name},? has no sha256"):
        load_bundle(bundle)


def test_a_backbone_under_a_wrong_name_is_refused(bundle: Path) -> None:
    edit(bundle / "bundle.json", backbone="0" * 64)
    edit(bundle / "backbone" / "backbone.json", hash="0" * 64)
    with pytest.raises(lmtool.BundleError, match="its hash is not that of its files"):
        load_bundle(bundle)


def test_a_damaged_backbone_beside_is_no_matter(bundle: Path) -> None:
    for name in ("a-en", "head-en"):
        shutil.copytree(bundle, bundle.with_name(name))
    (bundle.with_name("a-en") / "backbone" / "backbone.json").write_text("{", "utf-8")
    shutil.rmtree(bundle.with_name("head-en") / "backbone")
    assert load_bundle(bundle.with_name("head-en")).backbone_folder == bundle / "backbone"


def test_all_cores_where_the_system_tells_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert (n_threads(), n_threads(2)) == (3, 2)
