"""Who imports what: start-up stays light, and plugins use the public names of the core alone."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lmtool

ROOT = Path(__file__).parent.parent
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if path.is_dir())
HEAVY = (
    "numpy", "onnxruntime", "onnxruntime_genai", "tokenizers", "torch", "transformers", "pydantic",
)  # fmt: skip


def modules_after(*arguments: str, **variables: str) -> set[str]:
    """Return the modules that a command line imports."""
    code = (
        "import json, sys\nfrom lmtool.cli.main import run\n"
        "code = run(sys.argv[1:])\nsys.stdout.flush()\n"
        "print('\\n' + json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=True, env={**os.environ, **variables},
    )  # fmt: skip
    exit_code, modules = json.loads(done.stdout.splitlines()[-1])
    assert exit_code == 0, done.stderr
    return set(modules)


def own_imports(path: Path) -> list[tuple[str, list[str]]]:
    """Return the modules, and the names out of them, that a file imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.append((node.module or "", [alias.name for alias in node.names]))
    return found


def test_help_is_light() -> None:
    modules = modules_after("--help")
    heavy = [*HEAVY, "msgspec", "rich", "importlib.metadata", "lmtool_extract", "lmtool_models_en"]
    assert not modules.intersection(heavy)


@pytest.mark.parametrize("task", ["extract", "generate", "chat"])
def test_help_of_a_task_is_light(task: str) -> None:
    assert not modules_after(task, "--help").intersection(HEAVY)


def test_a_run_imports_no_training(tiny_bundle: Path) -> None:
    modules = modules_after("extract", "--model", str(tiny_bundle), "--text", "Berlin")
    assert "onnxruntime" in modules
    heavy = ("torch", "transformers", "accelerate", "onnx", "pydantic", "rich", "pyarrow")
    assert not modules.intersection(heavy)
    assert "importlib.metadata" not in modules


def test_a_completion_imports_what_it_needs(talker: Path) -> None:
    modules = modules_after("generate", "--model", str(talker), "The king", "--format", "text")
    assert "onnxruntime_genai" in modules
    heavy = ("onnxruntime", "torch", "transformers", "pydantic", "rich", "jinja2", "lmtool.views")
    assert not modules.intersection(heavy)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_plugins_import_public_names_and_not_each_other(plugin: Path) -> None:
    others = {path.name for path in PLUGINS} - {plugin.name}
    for file in plugin.rglob("*.py"):
        for module, names in own_imports(file):
            parts = module.split(".")
            where = f"{file.relative_to(ROOT)} imports {module} {names}"
            assert parts[0] not in others, where
            if parts[0] == "lmtool":
                assert not [n for n in (*parts, *names) if n.startswith("_")], where
                assert parts[1:2] != ["cli"], where


def test_the_core_imports_no_plugin() -> None:
    names = {path.name for path in PLUGINS}
    for file in (ROOT / "lmtool").rglob("*.py"):
        for module, _ in own_imports(file):
            assert module.split(".")[0] not in names, file


def test_the_library_imports_no_command_line() -> None:
    for file in (ROOT / "lmtool").glob("*.py"):
        if file.name not in ("testing.py", "_checks.py"):  # the test kit runs command lines
            modules = [module.split(".")[0] for module, _ in own_imports(file)]
            assert "rich" not in modules or file.name == "views.py", file
            text = file.read_text("utf-8")
            assert "from .cli" not in text, file


def test_public_names_are_sorted_and_there() -> None:
    names = [name for name in lmtool.__all__ if name != "__version__"]
    assert names == sorted(names)
    assert all(getattr(lmtool, name) is not None for name in names)


def test_a_run_reports_nothing_to_the_makers_of_its_engine(tmp_path: Path) -> None:
    """ONNX Runtime writes an identity of the device into the cache unless it is told not to."""
    variables = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    modules = modules_after("extract", "--text", "Tim Cook met Angela Merkel.", **variables)
    assert "onnxruntime" in modules
    written = {path.parent.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= {"lmtool"}, written
