"""The folder of a run: one process looks what is in it, and all go on from the same save."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lmtool.training.config import TrainConfig, write_config

SCRIPT = """
import os, sys
from lmtool.errors import UsageError
from lmtool.training.config import TrainConfig
from lmtool.training.folder import check_folder

out = sys.argv[1 + int(os.environ["RANK"])]
config = TrainConfig(task="t", data=("d",), base="b", out=out, device="cpu")
print(check_folder(config, resume=True, record="checkpoint.json"))
try:
    check_folder(config, resume=False, record="checkpoint.json")
except UsageError as error:
    print(error.message, error.hint)
"""


def test_the_other_processes_take_the_first_ones_word(tmp_path: Path) -> None:
    """They do not look themselves, while it may be tidying up after a crash."""
    config = TrainConfig(task="t", data=("d",), base="b", out=str(tmp_path / "run"))
    write_config(config)
    (tmp_path / "run" / ".last.new").mkdir()
    (tmp_path / "run" / ".last.new" / "checkpoint.json").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run"), str(tmp_path / "nowhere")]
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **common, **path, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    done = [process.communicate() for process in started]
    lines = [out.splitlines() for out, _ in done]
    assert lines[0] == lines[1], done
    assert lines[0][0] == "True"
    assert lines[0][1].startswith(f"{tmp_path / 'run'} exists and is not empty go on with it")
    assert [path.name for path in (tmp_path / "run").iterdir() if path.is_dir()] == ["last"]
