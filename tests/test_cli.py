"""The command line as a whole: help, exit codes, errors in one place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import lmtool
from lmtool.cli import main as cli
from lmtool.cli.group import CORE
from lmtool.cli.summaries import OWN
from lmtool.errors import BundleError, DataError, LmtoolError, NegativeResult, PluginError
from lmtool.plugins import registry
from lmtool.testing import Result, run_cli

pytestmark = pytest.mark.usefixtures("home")
MODULE = [sys.executable, "-X", "dev", "-W", "error", "-m", "lmtool.cli.main"]


def fail_with(problem: BaseException, monkeypatch: pytest.MonkeyPatch, *flags: str) -> Result:
    def invoke(arguments: list[str]) -> int:
        raise problem

    monkeypatch.setattr(cli, "_invoke", invoke)
    return run_cli("anything", *flags)


# ── help ─────────────────────────────────────────────────────────────────────────────────────


def test_help_lists_every_command() -> None:
    result = run_cli("--help")
    assert result.exit_code == 0
    for name, text in {**CORE, **OWN}.items():
        assert f"  {name} " in result.stdout
        assert text in result.stdout
    assert "models-en" not in result.stdout


def test_no_arguments_print_the_help() -> None:
    assert run_cli().stdout == run_cli("--help").stdout


def test_version() -> None:
    assert run_cli("--version") == Result(0, f"lmtool {lmtool.__version__}\n", "")


@pytest.mark.parametrize("name", [*CORE, *OWN])
def test_every_command_has_help(name: str) -> None:
    result = run_cli(name, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"Usage: lmtool {name}" in result.stdout
    assert "list[" not in result.stdout


def test_the_summaries_of_own_tasks_are_theirs() -> None:
    for name, summary in OWN.items():
        task = registry().task(name) if name != "similarity" else None
        assert task is None or task.summary == summary


# ── exit codes ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NegativeResult("no"), 1),
        (lmtool.UsageError("wrong"), 2),
        (DataError("bad record"), 3),
        (BundleError("no model"), 4),
        (PluginError("broken"), 5),
    ],
)
def test_each_error_has_its_exit_code(
    error: LmtoolError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    error.hint = "do this\nand that"
    result = fail_with(error, monkeypatch)
    assert result == Result(code, "", f"error: {error.message}\n  do this\n  and that\n")


def test_an_unknown_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fail_with(ZeroDivisionError("by zero"), monkeypatch)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: internal error: ZeroDivisionError: by zero\n  --debug shows the traceback\n"
    )


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_debug_shows_the_traceback(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "variable":
        monkeypatch.setenv("LMTOOL_DEBUG", "1")
    result = fail_with(ZeroDivisionError(), monkeypatch, *["--debug"] * (how == "flag"))
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr


def test_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fail_with(MemoryError(), monkeypatch)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: out of memory\n  a smaller --batch-tokens")


def test_interrupted_where_it_becomes_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extension module that is interrupted while it is imported raises ImportError."""

    def invoke(arguments: list[str]) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None
        return 0

    monkeypatch.setattr(cli, "_invoke", invoke)
    before = signal.getsignal(signal.SIGINT)
    assert run_cli("anything") == Result(130, "", "error: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fail_with(KeyboardInterrupt(), monkeypatch) == Result(130, "", "error: interrupted\n")


def test_an_error_of_the_system_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fail_with(OSError(28, "No space left on device", "out.txt"), monkeypatch)
    assert result == Result(2, "", "error: out.txt: No space left on device\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hep"], "No such option: --hep"),
        (["extract", "--labls", "x"], "No such option: --labls (Possible options: --labels"),
        (["extract", "--threads"], "Option '--threads' requires an argument"),
        (["extract", "--threads", "x"], "'--threads': 'x' is not a whole number"),
        (["extract", "--threads", "-1"], "'--threads': -1 is less than 0"),
        (["extract", "--threshold", "1.5"], "'--threshold': 1.5 is more than 1"),
        (["extract", "--threshold", "nan"], "'--threshold': nan is less than 0"),
        (["evaluate"], "Missing argument"),
        (["models", "lst"], "No such command 'lst'"),
        (["plugins", "--format", "xml"], "'xml' is not one of text, json"),
    ],
)
def test_wrong_use_is_2_and_names_the_help(arguments: list[str], message: str) -> None:
    result = run_cli(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "--help" in result.stderr.splitlines()[-1]
    assert result.stdout == ""


@pytest.mark.parametrize(("typo", "meant"), [("extrct", "extract"), ("plugin", "plugins")])
def test_a_typo_suggests_the_nearest_command(typo: str, meant: str) -> None:
    result = run_cli(typo)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: no command {typo!r}\n  did you mean {meant!r}? lmtool --help lists the commands\n"
    )


# ── as a process ─────────────────────────────────────────────────────────────────────────────


def test_a_process_has_the_exit_code_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run([*MODULE, "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no command 'nonsense'")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "many.txt"
    file.write_text("a line of text\n" * 100_000, "utf-8")
    read, write = os.pipe()
    os.close(read)
    command = [*MODULE, "data", "convert", str(file), "-o", "-", "-f", "txt", "-q"]
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (cli.BROKEN_PIPE, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_an_error() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*MODULE, "plugins"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
def test_output_is_utf_8_whatever_the_locale(variables: dict[str, str]) -> None:
    command = [*MODULE, "data", "convert", "-", "-o", "-", "-f", "text", "-q"]
    done = subprocess.run(
        command, input="東京 é\n".encode(), capture_output=True, env={**os.environ, **variables}
    )
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "東京 é\n", b"")
