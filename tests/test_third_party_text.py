"""A task for language models by somebody else: documented, installed, checked and used."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Install
from language_kit import STORIES, write_talker_bundle

import lmtool
from lmtool.testing import check_task, run_cli

pytest.importorskip("torch")
SOURCE = Path(__file__).parent / "third_party" / "lmtool-headline" / "lmtool_headline.py"
DOCS = Path(__file__).parent.parent / "docs" / "plugins.md"


@pytest.fixture
def headline() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("lmtool_headline", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lmtool_headline"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["lmtool_headline"]


def test_the_documentation_shows_this_very_file() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", DOCS.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks[-1] == SOURCE.read_text("utf-8")


def test_it_keeps_the_contract(headline: Any) -> None:
    gold = [("It rains.", "Rain falls"), ("The cat sleeps.", "Cat asleep"), ("No words.", "Words")]
    documents = [lmtool.Document(text=a, fields={"headline": b}) for a, b in gold]
    check_task(headline.HeadlineTask, documents)


@pytest.mark.usefixtures("home")
def test_it_is_a_command(install: Install, talker_folder: Path, tmp_path: Path) -> None:
    install("headline", SOURCE.read_text("utf-8"))
    model = write_talker_bundle(tmp_path / "headline-en", talker_folder, "headline", ())
    shown = run_cli("headline", "--help")
    assert "About how many words to ask for" in shown.stdout
    assert "--max-tokens" in shown.stdout
    result = run_cli("headline", "-m", model, "--no-progress", stdin="It rains.\n\n")
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["headline"] == "Rain falls"
    assert STORIES["It rains.\nHeadline:"].splitlines()[0] == " Rain falls"
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"text":"It rains.","headline":"Rain falls"}\n', "utf-8")
    scored = run_cli("evaluate", model, gold, "--format", "json")
    assert (scored.exit_code, json.loads(scored.stdout)["exact_match"]) == (0, 100)
    other = run_cli("generate", "-m", model, "x")
    assert (other.exit_code, "a model for 'headline', not for 'generate'" in other.stderr) == (
        2,
        True,
    )
