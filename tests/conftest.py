"""Fixtures of more than one test file."""

from __future__ import annotations

import itertools
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Install
from tiny_bundle import write_tiny_bundle

_numbers = itertools.count()

# A shell that starts the tests in the background leaves SIGINT ignored, and what they start too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that knows five names."""
    return write_tiny_bundle(tmp_path_factory.mktemp("models") / "tiny-en")


@pytest.fixture(scope="session")
def talker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of Hugging Face of a language model that knows some texts by heart."""
    pytest.importorskip("torch")
    from language_kit import write_talker

    return write_talker(tmp_path_factory.mktemp("talker"))


@pytest.fixture(scope="session")
def talker(talker_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of that model, for generate, chat and translate."""
    from language_kit import write_talker_bundle

    return write_talker_bundle(tmp_path_factory.mktemp("models") / "talker-en", talker_folder)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the command line folders of its own, and no settings from outside."""
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    for name in ("DEBUG", "DEVICE", "MODELS", "PLUGINS", "THREADS", "CONFIG", "MODEL_EXTRACT"):
        monkeypatch.delenv(f"LMTOOL_{name}", raising=False)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a plugin of a third party and gives its module's name."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    modules = []

    def write(name: str, source: str, distribution: str = "", summary: str = "A plugin.") -> str:
        module = f"third_{name.replace('-', '_')}_{next(_numbers)}"
        modules.append(module)
        (folder / f"{module}.py").write_text(textwrap.dedent(source), "utf-8")
        distribution = distribution or f"dist_{name.replace('-', '_')}"
        info = folder / f"{distribution}-1.0.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        (info / "METADATA").write_text(f"{metadata}Summary: {summary}\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[lmtool]\n{name} = {module}\n", "utf-8")
        return module

    yield write
    for module in modules:
        sys.modules.pop(module, None)
