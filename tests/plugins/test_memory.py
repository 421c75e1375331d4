"""`lmtool remember`, `recall` and `forget`, with the model that ships."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from lmtool_memory.answers import answer, cited
from lmtool_memory.forgetting import is_meant
from lmtool_memory.recalling import Found, fuse, marks
from lmtool_memory.remembering import Embedder
from lmtool_memory.store import Store, Stored
from memory_kit import fill, vector_of

from lmtool import DataError
from lmtool.language import Completion, Sampling
from lmtool.testing import run_cli

GARDEN = """# Garden

Tomatoes want a sunny place and a lot of water. Plant them in May, when the nights are warm.

# Money

The landlord gets the rent on the first day of each month. The invoice of the plumber, number
KX-4471, is still open and has to be paid by June.
"""
SEA = "The lighthouse keeper climbed the stairs each night to light the lamp for the ships at sea."


@pytest.fixture
def notes(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of notes, below the one that is current, with a memory of its own."""
    monkeypatch.setenv("LMTOOL_MEMORY", str(home / "notes.db"))
    monkeypatch.chdir(home)
    folder = home / "notes"
    (folder / ".hidden").mkdir(parents=True)
    (folder / ".hidden" / "secret.md").write_text("Hidden words.", "utf-8")
    (folder / "garden.md").write_text(GARDEN, "utf-8")
    (folder / "sea.txt").write_text(SEA, "utf-8")
    return folder


def records(*arguments: str) -> list[dict[str, Any]]:
    done = run_cli(*arguments)
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def summary(*arguments: str, exit_code: int = 0) -> str:
    done = run_cli(*arguments)
    assert done.exit_code == exit_code, done.stderr
    return done.stderr.strip()


def test_what_is_remembered_is_recalled_with_its_place(notes: Path) -> None:
    assert summary("remember", "notes") == "2 sources: 2 passages added, 0 kept, 0 gone"
    first = records("recall", "who guides the boats at night?")[0]
    assert (first["text"], first["source"]) == (SEA, str(notes / "sea.txt"))
    assert (first["start"], first["end"], first["line"]) == (0, len(SEA), 1)
    assert 0 < first["score"] <= 1
    (found,) = records("recall", "invoice KX-4471", "--mode", "words")
    assert GARDEN[found["start"] : found["end"]] == found["text"]
    done = run_cli("recall", "planting tomato", "--format", "text", "--limit", "1")
    assert done.stdout.startswith("notes/garden.md:1  ")
    assert "*Tomatoes* want" in done.stdout
    assert "*Plant* them" in done.stdout


def test_what_is_not_there_is_said(notes: Path) -> None:
    assert "no memory" in summary("recall", "boats", exit_code=2)
    summary("remember", "notes")
    for mode in ("fused", "meaning", "words"):
        said = summary("recall", "quantum chromodynamics lectures", "--mode", mode, exit_code=1)
        assert "nothing relevant is remembered" in said
    summary("recall", "  ", exit_code=2)
    summary("recall", "boats", "--answer", exit_code=2)


def test_only_what_changed_is_computed(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = "\n\n".join(
        " ".join(f"Sentence {n} of chapter {i} tells of thing {n * i}." for n in range(15))
        for i in range(12)
    )
    (notes / "book.txt").write_text(book, "utf-8")
    summary("remember", "notes")
    embedded: list[str] = []
    embed = Embedder.__call__

    def watched(self: Embedder, texts: Sequence[str]) -> Any:
        embedded.extend(texts)
        return embed(self, texts)

    monkeypatch.setattr(Embedder, "__call__", watched)
    assert "3 unchanged: 0 passages added" in summary("remember", "notes")
    assert embedded == []
    (notes / "book.txt").write_text("\n\n" + book, "utf-8")
    said = summary("remember", "notes/book.txt", "notes")  # named twice, read once
    assert said == "3 sources, 2 unchanged: 0 passages added, 14 kept, 0 gone"
    assert embedded == []
    store = Store(notes.parent / "notes.db")
    lines = [p.line for p in store.passages(range(1, 99)).values() if p.source.endswith("k.txt")]
    assert min(lines) == 3
    store.close()
    (notes / "book.txt").write_text(book.replace("thing 0.", "nothing.", 1), "utf-8")
    assert "1 passages added, 13 kept, 1 gone" in summary("remember", "notes/book.txt")
    assert len(embedded) == 1


def test_records_of_jsonl_have_the_line_they_begin_on(notes: Path) -> None:
    rows = [{"text": SEA}, {"text": "The baker sells\nfresh bread. It is warm."}]
    path = notes / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    summary("remember", str(path))
    (best,) = records("recall", "is there warm bread?", "--extractive")
    assert (best["line"], best["text"]) == (2, "It is warm.") or best["text"].endswith("bread.")
    assert rows[1]["text"][best["start"] : best["end"]] == best["text"]
    path.write_text('{"text": "Good."}\nno json\n', "utf-8")
    assert "1 passages added" in summary("remember", str(path), exit_code=3)


def test_the_best_sentence(notes: Path) -> None:
    summary("remember", "notes")
    (best,) = records("recall", "when does the landlord get the rent?", "--extractive")
    assert best["text"] == "The landlord gets the rent on the first day of each month."
    assert best["line"] == 7
    assert GARDEN[best["start"] : best["end"]] == best["text"]


def test_forget(notes: Path) -> None:
    summary("remember", "notes")
    for wrong in ([], ["--all"], ["--all", "--yes", "--source", "x"]):
        summary("forget", *wrong, exit_code=2)
    assert "no such source" in summary("forget", "--source", "other.txt", exit_code=1)
    assert summary("forget", "--source", "*.md") == "1 sources with 1 passages forgotten"
    assert run_cli("remember", "--list").stdout == f"1\t{notes / 'sea.txt'}\n"
    summary("recall", "invoice KX-4471", "--mode", "words", exit_code=1)
    summary("forget", "--all", "--yes")
    assert "nothing is remembered" in summary("recall", "boats", exit_code=1)
    assert "2 passages added" in summary("remember", "notes")


def test_sources_by_pattern(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    name = str(tmp_path / "notes" / "a.md")
    for pattern in (name, "notes", "notes/", "notes/*", "a.md", "*.md", "notes/a.md", "."):
        assert is_meant(name, pattern), pattern
    for pattern in ("note", "b.md", "a", "*.txt", "otes/a.md"):
        assert not is_meant(name, pattern), pattern


def test_a_memory_of_another_model_is_an_error(notes: Path) -> None:
    fill(notes.parent / "notes.db", "a", ["one"])
    store = Store(notes.parent / "notes.db")
    with store.writing():
        store.set_model("base-en 0123", "base-en", 16)
    store.close()
    for command in (["recall", "one"], ["remember", "notes"]):
        said = summary(*command, exit_code=2)
        assert "a memory of the model 'base-en 0123', and this is 'base-en " in said
    assert records("recall", "one", "--mode", "words")[0]["text"] == "one"  # needs no model


def test_records_are_documents(notes: Path) -> None:
    summary("remember", "notes")
    (first, *_) = records("recall", "boats at night")
    piped = run_cli("embed", "--format", "jsonl", stdin=msgspec.json.encode(first) + b"\n")
    assert piped.exit_code == 0, piped.stderr
    again = json.loads(piped.stdout)
    assert {key: again[key] for key in first} == first


def test_an_answer_cites_what_it_read(notes: Path, talker: Path) -> None:
    (notes / "sea.txt").write_text("The king lost his hat.", "utf-8")
    summary("remember", "notes/sea.txt")
    ask = ["recall", "who lost a hat?", "--answer", "--model", str(talker), "--max-tokens"]
    assert "no passage fits its context of 128 tokens" in summary(*ask, "100", exit_code=3)


def test_citations() -> None:
    assert cited("So [2]. And so [1, 2] and [7], [x].", 3) == [2, 1]


def test_ranks_are_fused() -> None:
    fused = fuse([[5, 6, 7], [7, 5]])
    assert sorted(fused, key=lambda n: -fused[n]) == [5, 7, 6]
    assert fused[6] == 1 / 62


def test_marks_follow_the_index() -> None:
    assert marks("painted walls", ["He paints a Wall.", "None."]) == [[(3, 9), (12, 16)], []]
    assert marks("睡觉", ["猫在睡觉。"]) == [[(2, 4)]]
    assert marks("?", ["a"]) == [[]]
    assert np.linalg.norm(vector_of("a")) == pytest.approx(1)


class Reciter:
    """Stands where a language model does: counts words, and says back what it was asked."""

    name, context, has_chat = "reciter", 100, False

    def count(self, text: str) -> int:
        return len(text.split())

    def complete(self, prompts: Sequence[str], sampling: Sampling) -> list[list[Completion]]:
        (prompt,) = prompts
        last = prompt.split("\n")[-4]
        return [[Completion(f" {last} [1] [9]\n", "stop", 3, self.count(prompt), None)]]


def test_an_answer_reads_the_best_that_fit() -> None:
    texts = ["The king lost his hat.", "The sea is deep.", "word " * 60]
    found = [Found(Stored(i, "a", b"", 0, 1, 1, t, True), 1, 1, 1) for i, t in enumerate(texts)]
    model: Any = Reciter()
    said = answer("who?", found, model, Sampling(max_tokens=10))
    assert said.text == "[2] The sea is deep. [1] [9]"
    assert (len(said.read), said.cited, said.is_cut) == (2, [2, 1], False)
    with pytest.raises(DataError, match="no passage fits its context of 100 tokens"):
        answer("who?", found, model, Sampling(max_tokens=99))
