"""Plugins on the command line: lazy, listed without an import, and each fails alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli_kit import COMMAND, FAILING_TASK, GROUP, WORKING_TASK, Install
from tiny_bundle import write_tiny_bundle

from lmtool.testing import run_cli

pytestmark = pytest.mark.usefixtures("home")
BROKEN = "raise RuntimeError('out of order')"


def lines_of(text: str) -> dict[str, str]:
    """Return the rows of a list of commands by their first word."""
    return {line.split()[0]: line for line in text.splitlines() if line.strip()}


def test_help_imports_no_plugin(install: Install) -> None:
    module = install("greet", COMMAND, summary="Greets people.")
    result = run_cli("--help")
    assert module not in sys.modules
    assert lines_of(result.stdout)["greet"].endswith("Greets people.")


def test_a_command_of_a_plugin(install: Install) -> None:
    install("greet", COMMAND)
    assert run_cli("greet", "--name", "Ann").stdout == "hello Ann\n"


def test_commands_of_other_names_become_a_group(install: Install) -> None:
    install("pair", GROUP)
    assert run_cli("pair", "one").stdout == "this is one\n"
    result = run_cli("pair", "two")
    assert (result.exit_code, result.stderr) == (3, "error: file.txt:3: no good\n  mend it\n")
    assert run_cli("pair", "three").exit_code == 2


def test_only_the_named_plugin_is_imported(install: Install) -> None:
    module, other = install("greet", COMMAND), install("pair", GROUP)
    run_cli("greet")
    assert module in sys.modules
    assert other not in sys.modules


def test_a_broken_plugin_fails_alone(install: Install) -> None:
    install("broken", BROKEN)
    install("greet", COMMAND)
    assert run_cli("greet").exit_code == 0
    result = run_cli("broken")
    assert result.exit_code == 5
    assert (
        "plugin 'broken' (dist-broken 1.0) is broken: RuntimeError: out of order" in result.stderr
    )
    assert "pip install --upgrade dist-broken" in result.stderr


def test_help_shows_what_is_known_to_be_broken(install: Install) -> None:
    install("broken", BROKEN, summary="Works well.")
    assert "Works well." in run_cli("--help").stdout
    run_cli("broken")
    text = run_cli("--help").stdout
    listed = text.partition("Broken plugins:")[2]
    assert lines_of(listed)["broken"].endswith("RuntimeError: out of order")
    assert "Works well." not in text


def test_help_takes_the_summary_of_the_task(install: Install) -> None:
    install("tag", WORKING_TASK, summary="A package.")
    assert lines_of(run_cli("--help").stdout)["tag"].endswith("A package.")
    run_cli("plugins")
    assert lines_of(run_cli("--help").stdout)["tag"].endswith("Tag what a test wants tagged")


def test_a_plugin_without_a_command(install: Install) -> None:
    install("nothing", "import lmtool")
    result = run_cli("nothing")
    assert result.exit_code == 5
    assert "brings no command" in result.stderr
    assert "nothing" not in lines_of(run_cli("--help").stdout)


def test_two_plugins_of_one_name(install: Install) -> None:
    install("greet", COMMAND, "dist_a")
    install("greet", COMMAND, "dist_b")
    result = run_cli("greet")
    assert result.exit_code == 5
    assert "dist-a 1.0" in result.stderr
    assert "dist-b 1.0" in result.stderr
    assert "greet" in run_cli("--help").stdout.partition("Broken plugins:")[2]
    assert run_cli("extract", "--help").exit_code == 0


def test_the_list_of_plugins(install: Install) -> None:
    install("broken", BROKEN)
    install("pair", GROUP)
    rows = {row["name"]: row for row in json.loads(run_cli("plugins", "--format", "json").stdout)}
    assert rows["extract"]["kind"] == "task extract"
    assert rows["models-en"]["kind"] == "models"
    assert rows["pair"] | {"module": ""} == {
        "name": "pair", "distribution": "dist-pair", "version": "1.0", "module": "",
        "kind": "commands", "state": "ok",
    }  # fmt: skip
    assert rows["broken"]["state"] == "broken: RuntimeError: out of order"
    text = lines_of(run_cli("plugins").stdout)
    assert text["broken"].split()[-1] == "order"


@pytest.mark.parametrize(
    "source",
    [
        "import lmtool\n@lmtool.hookimpl\ndef lmtool_register_tasks(): return None",
        "import lmtool\n@lmtool.hookimpl\ndef lmtool_register_tasks(): raise KeyError('x')",
        "import lmtool\n@lmtool.hookimpl\ndef lmtool_no_such_hook(): return []",
        "import sys; sys.exit(3)",
        "this is no python",
    ],
)
def test_every_way_to_be_broken(install: Install, source: str) -> None:
    install("bad", source)
    assert run_cli("bad").exit_code == 5
    rows = json.loads(run_cli("plugins", "--format", "json").stdout)
    assert next(r["state"] for r in rows if r["name"] == "bad").startswith("broken: ")
    assert next(r["state"] for r in rows if r["name"] == "extract") == "ok"


def test_a_task_of_a_plugin_gets_its_flags(install: Install, tmp_path: Path) -> None:
    install("tag", WORKING_TASK)
    folder = write_tiny_bundle(tmp_path / "tags", task="tag")
    flags = ["--loud", "--words", "a, b", "--words", "c", "--n-best", "9", "--mode", "fast"]
    result = run_cli("tag", "--model", folder, "--text", "x", *flags, "--where", "here")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["tags"] == [
        "Options(loud=True, words=('a', 'b', 'c'), n_best=9, mode='fast', where='here')"
    ]
    plain = run_cli("tag", "--model", folder, "--text", "x", "--no-loud")
    assert json.loads(plain.stdout)["tags"] == [
        "Options(loud=False, words=(), n_best=3, mode='good', where=None)"
    ]
    assert run_cli("tag", "--mode", "slow", "--text", "x").exit_code == 2
    assert run_cli("tag", "--n-best", "10", "--text", "x").exit_code == 2


def test_an_option_that_is_taken(install: Install) -> None:
    install("tag", WORKING_TASK.replace("where:", "output:"))
    result = run_cli("tag", "--text", "x")
    assert result.exit_code == 5
    assert "its option 'output' is a flag of every task" in result.stderr


def test_an_exception_in_a_task_is_the_plugins(install: Install, tmp_path: Path) -> None:
    install("tag", FAILING_TASK)
    folder = write_tiny_bundle(tmp_path / "tags", task="tag")
    result = run_cli("tag", "--model", folder, "--text", "x")
    assert result.exit_code == 5
    assert result.stderr == (
        "error: plugin 'tag' failed: ZeroDivisionError: division by zero\n"
        "  --debug shows the traceback\n"
    )


def test_a_cache_that_is_damaged_is_made_anew(install: Install, home: Path) -> None:
    install("tag", WORKING_TASK)
    run_cli("plugins")
    cache = home / "cache" / "lmtool" / "plugins.json"
    cache.write_text("{broken", "utf-8")
    assert run_cli("--help").exit_code == 0
    run_cli("plugins")
    assert "Tag what a test wants tagged" in cache.read_text("utf-8")


def test_a_cache_that_cannot_be_written_is_no_error(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("greet", COMMAND)
    blocked = tmp_path / "blocked"
    blocked.write_text("", "utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert run_cli("greet").exit_code == 0


def test_the_variable_limits_what_is_there(install: Install) -> None:
    install("greet", COMMAND)
    result = run_cli("greet", env={"LMTOOL_PLUGINS": ""})
    assert (result.exit_code, "no command 'greet'" in result.stderr) == (2, True)
