"""The page about generate, chat and translate says what there is."""

from __future__ import annotations

from pathlib import Path

from lmtool_generate.templates import READY

from lmtool.cli.dialogue import HELP

PAGE = (Path(__file__).parents[2] / "docs" / "generate.md").read_text("utf-8")


def test_it_shows_the_ready_templates() -> None:
    for name, template in READY.items():
        assert f"| `{name}` | {template.removesuffix(f'{chr(10)}{chr(10)}' + '{text}')} |" in PAGE


def test_it_shows_the_commands_of_a_dialogue() -> None:
    for line in HELP.splitlines()[:5]:
        command, _, meaning = line.partition("  ")
        assert f"| `{command.strip()}` | {meaning.strip()}" in PAGE


def test_it_shows_the_flags_of_sampling() -> None:
    import dataclasses

    from lmtool.language import Sampling

    for field in dataclasses.fields(Sampling):
        if field.name == "shrinks":  # what it is when nobody says --max-tokens
            continue
        assert f"`--{field.name.replace('_', '-')} " in PAGE
