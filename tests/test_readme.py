"""The README says what the commands print: each console block is run with the models that ship."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\d+\.\d+")


def examples() -> list[tuple[str, str]]:
    """Return the commands of the README that have an output, with it."""
    found = []
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            if output.strip():
                found.append((command, output))
    return found


def test_the_readme_has_examples() -> None:
    assert len(examples()) >= 6


@pytest.mark.parametrize(("command", "output"), examples(), ids=lambda value: value[:40])
def test_a_command_prints_what_the_readme_says(command: str, output: str, tmp_path: Path) -> None:
    own = {"XDG_CONFIG_HOME": f"{tmp_path}", "XDG_DATA_HOME": f"{tmp_path}", "COLUMNS": "110"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LMTOOL_")}
    found = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment | own | {"PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert NUMBER.sub("N", found.stdout).split() == NUMBER.sub("N", output).split()
    scores = [[float(n) for n in NUMBER.findall(text)] for text in (found.stdout, output)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)  # int8 differs a little by processor
