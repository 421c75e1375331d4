"""Which files a run was trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from lmtool.documents import Document
from lmtool.errors import DataError
from lmtool.training.config import format_config, make_config
from lmtool.training.data import Data, files_trained_on, read_data


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Write four files and a run that was trained on a folder, with a dev file of its own."""
    for name in ("train/a", "train/b", "train/c", "dev/c"):
        path = tmp_path / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"text": name}) + "\n", "utf-8")
    config = make_config(
        {
            "task": "extract", "base": "x", "out": str(tmp_path / "run"),
            "data": [str(tmp_path / "train")], "dev": [str(tmp_path / "dev" / "c.jsonl")],
        }
    )  # fmt: skip
    data: Data = read_data(config)
    (tmp_path / "run" / "best").mkdir(parents=True)
    (tmp_path / "run" / "config.toml").write_text(format_config(config), "utf-8")
    record = json.dumps({"data": data.hashes})
    (tmp_path / "run" / "best" / "checkpoint.json").write_text(record, "utf-8")
    return tmp_path / "run"


def trained_on(run: Path, *files: str) -> list[str]:
    paths = [str(run.parent / file) for file in files]
    found = files_trained_on(run / "best", paths)
    return [str(Path(path).relative_to(run.parent)) for path in found]


def test_files_that_a_run_was_trained_on_are_known_by_their_contents(run: Path) -> None:
    (run.parent / "copy.jsonl").write_bytes((run.parent / "train" / "a.jsonl").read_bytes())
    files = ["train/a.jsonl", "dev/c.jsonl", "copy.jsonl", "gone.jsonl"]
    assert trained_on(run, *files) == ["train/a.jsonl", "copy.jsonl"]
    assert trained_on(run, "train") == ["train/a.jsonl", "train/b.jsonl", "train/c.jsonl"]


def test_an_error_is_named_with_the_first_document_that_brings_it(run: Path) -> None:
    values = {"task": "extract", "base": "x", "out": "o", "data": [str(run.parent / "train")]}
    data = read_data(make_config({**values, "dev_share": 0}))
    documents = data.parts[0].train

    def refuse(documents: Sequence[Document]) -> int:
        if len(documents) > 1:
            raise DataError(f"{len(documents)} documents", hint="take one")
        return len(documents)

    assert data.collect(refuse, documents[:1]) == 1
    with pytest.raises(DataError) as caught:
        data.collect(refuse, documents)
    place = f"{run.parent / 'train' / 'b.jsonl'}:1"
    assert (caught.value.message, caught.value.hint) == (f"{place}: 2 documents", "take one")


def test_without_the_configuration_of_the_run_nothing_is_known(run: Path) -> None:
    (run / "config.toml").unlink()
    assert trained_on(run, "train") == []
