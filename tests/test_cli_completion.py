"""Shell completion, by the variables that the shells' scripts set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import COMMAND, Install

from lmtool.cli.main import COMPLETION_VARIABLE
from lmtool.testing import run_cli

NAMED_SHELL = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


@pytest.fixture(autouse=True)
def models(home: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMTOOL_MODELS", str(tiny_bundle.parent))
    monkeypatch.setenv("LMTOOL_MODEL_EXTRACT", "tiny-en")


def complete(line: str) -> list[str]:
    """Return what bash is offered at the end of a line."""
    words = line.split(" ")
    variables = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    result = run_cli(env={COMPLETION_VARIABLE: "complete_bash", **variables})
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lmtool ext", ["extract"]),
        ("lmtool mo", ["models"]),
        ("lmtool models v", ["verify"]),
        ("lmtool --ver", ["--version"]),
        ("lmtool extract --thr", ["--threshold", "--threads"]),
        ("lmtool extract --model tin", ["tiny-en"]),
        ("lmtool evaluate tin", ["tiny-en"]),
        ("lmtool models show tin", ["tiny-en"]),
        ("lmtool models show zzz", []),
        ("lmtool plugins --format j", ["json"]),
        ("lmtool extract --labels P", ["PER"]),
        ("lmtool extract --labels ", ["LOC", "PER"]),
        ("lmtool extract --labels PER,", ["PER,LOC"]),
        ("lmtool extract --model no-such --labels P", []),
        ("lmtool nonsense --x", []),
    ],
)
def test_what_is_offered(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_labels_of_a_model_in_a_folder(tiny_bundle: Path) -> None:
    assert complete(f"lmtool extract --model {tiny_bundle} --labels L") == ["LOC"]


def test_a_plugin_is_offered_without_an_import(install: Install) -> None:
    module = install("greet", COMMAND)
    assert complete("lmtool gre") == ["greet"]
    assert module not in sys.modules


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str) -> None:
    result = run_cli("--show-completion", shell, env=NAMED_SHELL)
    assert result.exit_code == 0
    assert COMPLETION_VARIABLE in result.stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")
def test_bash_itself_completes(tmp_path: Path) -> None:
    program = tmp_path / "lmtool"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lmtool.cli.main "$@"\n', "utf-8")
    program.chmod(0o755)
    script = run_cli("--show-completion", "bash", env=NAMED_SHELL)
    test = (
        f"{script.stdout}\nCOMP_WORDS=(lmtool extract --labels P)\nCOMP_CWORD=3\n"
        "_lmtool_completion lmtool\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", test], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert (done.stdout, done.stderr) == ("PER\n", "")


def test_completion_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom lmtool.cli.main import run\n"
        "try:\n    run([])\nfinally:\n"
        "    print([m for m in ('numpy', 'onnxruntime', 'torch') if m in sys.modules])"
    )
    variables = {"COMP_WORDS": "lmtool extract --labels P", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, COMPLETION_VARIABLE: "complete_bash", **variables},
    )  # fmt: skip
    assert done.stdout.split("\n")[:2] == ["PER", "[]"]
