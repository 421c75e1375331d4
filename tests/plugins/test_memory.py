"""`lmtool remember`, `recall` and `forget`, with the model that ships."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from lmtool_memory.answers import answer, cited
from lmtool_memory.forgetting import meant
from lmtool_memory.recalling import Found, fuse, marks
from lmtool_memory.remembering import Embedder, inputs_of, remember
from lmtool_memory.showing import indented
from lmtool_memory.store import Store, Stored
from lmtool_memory.terms import terms_of
from memory_kit import fill, vector_of

import lmtool
from lmtool import DataError
from lmtool.language import Sampling, load_language_model
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
    assert "--list with FILES" in summary("remember", "--list", "notes", exit_code=2)


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
    assert "1 passage added, 13 kept, 1 gone" in summary("remember", "notes/book.txt")
    assert len(embedded) == 1


def test_records_of_jsonl_have_the_line_they_begin_on(notes: Path) -> None:
    rows = [{"text": SEA}, {"text": "The baker sells\nfresh bread. It is warm."}]
    path = notes / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    summary("remember", str(path))
    (best,) = records("recall", "is there warm bread?", "--extractive")
    assert (best["line"], best["text"]) == (2, "The baker sells\nfresh bread.")
    assert (best["start"], best["end"]) == (0, len(best["text"]))
    path.write_text('{"text": "Good."}\nno json\nnone\n', "utf-8")
    said = summary("remember", str(path), exit_code=3)
    assert "1 passage added, 0 kept, 0 gone, 2 records not read" in said
    assert said.count("write each record on a line of its own") == 1  # what to do, said once
    assert f"{path}: not read whole, so what was remembered of it stays" in said
    assert run_cli("remember", "--list").stdout == f"3\t{path}\n"


def test_what_cannot_be_read_again_stays(notes: Path) -> None:
    """Of a file in another encoding, cut off, or without the field of its text."""
    rows = notes / "rows.csv"
    rows.write_text("title,body\nThe lighthouse,The bakery\n", "utf-8")
    summary("remember", "notes/sea.txt", "notes/garden.md")
    summary("remember", "notes/rows.csv", "--text-field", "body")
    listed = run_cli("remember", "--list").stdout
    assert listed.count("\n") == 3
    (notes / "sea.txt").write_bytes(SEA.encode() + b" caf\xe9")
    rows.write_text("title,body\nThe lighthouse,The bakery was closed\n", "utf-8")
    said = summary("remember", "notes", exit_code=3)
    assert "1 unchanged: 0 passages added, 0 kept, 0 gone" in said
    assert run_cli("remember", "--list").stdout == listed
    assert records("recall", "who guides the boats at night?")[0]["text"] == SEA
    (notes / "sea.txt").write_text(SEA + " It is dark.", "utf-8")
    assert "1 passage added, 0 kept, 1 gone" in summary("remember", "notes/sea.txt")


def test_what_is_no_file_in_a_folder_is_skipped(notes: Path) -> None:
    (notes / "gone.txt").symlink_to("/nowhere")
    os.mkfifo(notes / "pipe.txt")
    done = run_cli("remember", "notes")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("skipped: no file that can be read") == 2
    assert "2 sources: " in done.stderr


def test_what_is_piped_in_stays_beside_what_was(notes: Path) -> None:
    for text in (SEA, "The bakery is open."):
        done = run_cli("remember", "-", stdin=text)
        assert "1 source: 1 passage added, 0 kept, 0 gone" in done.stderr
    done = run_cli("remember", "-", stdin=SEA)
    assert done.stderr.strip() == "1 source, 1 unchanged: 0 passages added, 0 kept, 0 gone"
    listed = [line.split("\t") for line in run_cli("remember", "--list").stdout.splitlines()]
    assert [n for n, _ in listed] == ["1", "1"]
    assert all(re.fullmatch("<stdin [0-9a-f]{8}>", name) for _, name in listed)
    found = records("recall", "who guides the boats at night?")[0]
    assert (found["text"], found["line"]) == (SEA, 1)
    assert "stdin is named twice" in summary("remember", "-", "-", exit_code=2)
    summary("forget", found["source"])
    assert run_cli("remember", "--list").stdout.count("\n") == 1


def test_the_best_sentence(notes: Path) -> None:
    summary("remember", "notes")
    (best,) = records("recall", "when does the landlord get the rent?", "--extractive")
    assert best["text"] == "The landlord gets the rent on the first day of each month."
    assert best["line"] == 7
    assert GARDEN[best["start"] : best["end"]] == best["text"]


def test_forget(notes: Path) -> None:
    summary("remember", "notes")
    for wrong in ([], ["--all"], ["--all", "--yes", "x"]):
        summary("forget", *wrong, exit_code=2)
    assert "no such source" in summary("forget", "other.txt", exit_code=1)
    assert summary("forget", "*.md") == "1 source with 1 passage forgotten"
    assert run_cli("remember", "--list").stdout == f"1\t{notes / 'sea.txt'}\n"
    summary("recall", "invoice KX-4471", "--mode", "words", exit_code=1)
    summary("forget", "--all", "--yes")
    assert "nothing is remembered" in summary("recall", "boats", exit_code=1)
    assert "2 passages added" in summary("remember", "notes")
    assert (
        summary("forget", "notes/garden.md", "--source", "sea.txt")
        == "2 sources with 2 passages forgotten"
    )
    assert "nothing is remembered" in summary("recall", "boats", exit_code=1)


def test_what_is_forgotten_while_another_process_waits(notes: Path) -> None:
    """It opened the memory before, and knows the model that made the vectors."""
    summary("remember", "notes")
    store = Store(notes.parent / "notes.db")
    summary("forget", "notes")
    inputs = inputs_of([str(notes / "sea.txt")])
    options = lmtool.ReadOptions(whole_file=True)
    assert remember(store, inputs, Embedder, options).added == 1
    store.close()
    assert records("recall", "who guides the boats at night?")[0]["text"] == SEA


def test_sources_by_pattern(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    name = str(tmp_path / "notes" / "a.md")
    for pattern in (name, "notes", "notes/", "notes/*", "a.md", "*.md", "notes/a.md", "."):
        assert meant([name], pattern) == {name}, pattern
    for pattern in ("note", "b.md", "a", "*.txt", "otes/a.md"):
        assert meant([name], pattern) == set(), pattern


@pytest.mark.parametrize("folder", ["notes", "no[t]es*"])
def test_a_name_wins_over_what_it_means_as_a_glob(
    folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / folder
    here.mkdir()
    monkeypatch.chdir(here)
    known = ("a[1].txt", "a1.txt", "sub/a1.txt", "sub/b*.md", "sub/bc.md")
    names = {name: str(here / name) for name in known} | {"<stdin 12ab>": "<stdin 12ab>"}
    for pattern, *wanted in (
        ("a[1].txt", "a[1].txt"),
        (str(here / "a[1].txt"), "a[1].txt"),
        ("a1.txt", "a1.txt"),
        ("sub/b*.md", "sub/b*.md"),
        ("b*.md", "sub/b*.md"),  # by its last part
        ("s*/b*.md", "sub/b*.md", "sub/bc.md"),
        ("a?.txt", "a1.txt", "sub/a1.txt"),
        ("<stdin*>", "<stdin 12ab>"),
    ):
        assert meant(names.values(), pattern) == {names[name] for name in wanted}, pattern
    others = [name for name in names.values() if not name.endswith("a[1].txt")]
    assert meant(others, "a[1].txt") == {names["a1.txt"], names["sub/a1.txt"]}


def test_a_memory_of_another_model_is_computed_again(notes: Path) -> None:
    """Until then its words are searched; the texts of files that are gone are there as well."""
    memory = notes.parent / "notes.db"
    fill(memory, "a", [f"text {n}" for n in range(600)])
    fill(memory, "b", [SEA])
    store = Store(memory)
    with store.writing():
        store.forget(1)  # a block without passages before the one that is left
        store.set_model("base-en 0123", "base-en", 16)
    store.close()
    other = "a memory of the model 'base-en 0123', and this is 'base-en "
    for command in (["recall", "the sea", "--mode", "meaning"], ["remember", "notes"]):
        said = summary(*command, exit_code=2)
        assert other in said
        assert "lmtool remember --model base-en computes them again from the texts" in said
    assert records("recall", "lighthouse", "--mode", "words")[0]["text"] == SEA  # needs no model
    for flags in ([], ["--extractive"]):
        done = run_cli("recall", "the keeper of the lighthouse", *flags)
        assert json.loads(done.stdout)["text"] == SEA
        assert f"searched by words alone: {memory}: {other}" in done.stderr
    said = summary("remember", "--model", "base-en")
    assert re.fullmatch("1 passage computed again with base-en [0-9a-f]+", said)
    (found,) = records("recall", "who guides the boats at night?", "--mode", "meaning")
    assert found["text"] == SEA
    said = summary("remember", "--model", "base-en", "notes/garden.md")
    assert said == "1 source: 1 passage added, 0 kept, 0 gone"
    assert "0 passages computed again" in summary("remember", "--model", "base-en")
    summary("recall", "when does the landlord get the rent?", "--mode", "meaning")


def test_what_fails_leaves_no_memory(notes: Path) -> None:
    memory = notes.parent / "new" / "new.db"
    for wrong, exit_code in (
        (["notes", "--model", "nowhere"], 4),
        (["nothing.txt"], 2),
        (["--model", "base-en"], 2),
    ):
        summary("remember", *wrong, "--memory", str(memory), exit_code=exit_code)
        assert not memory.parent.exists()
    said = summary("remember", "notes", "--memory", "/proc/none/m.db", exit_code=2)
    assert "/proc/none/m.db: cannot be written: " in said
    assert "name another memory with --memory" in said


def test_a_full_disk_is_no_answer(notes: Path) -> None:
    summary("remember", "notes")
    command = [sys.executable, "-m", "lmtool.cli.main", "recall", "boats", "--mode", "words"]
    with Path("/dev/full").open("wb") as full:
        command[4:5] = ["lighthouse"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: No space left on device\n")


@contextlib.contextmanager
def nothing_writable(folder: Path) -> Iterator[None]:
    """Let nobody write to a folder and its files; root gives up its right to do so all the same.

    That right is the capability CAP_DAC_OVERRIDE (capabilities(7)) of this thread. Root stays
    root, since the folder that Python itself is installed in may be its own.
    """
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: bits 0-31, then 32-63
    is_root = os.geteuid() == 0
    if is_root:
        assert ctypes.CDLL(None).capget(header, sets) == 0
        effective = sets[0]
        sets[0] &= ~(1 << 1)
        assert ctypes.CDLL(None).capset(header, sets) == 0
    try:
        yield
    finally:
        if is_root:
            sets[0] = effective
            assert ctypes.CDLL(None).capset(header, sets) == 0
        folder.chmod(0o700)


@pytest.mark.parametrize("is_in_use", [False, True])
def test_a_memory_that_cannot_be_written_is_read(notes: Path, is_in_use: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        memory = Path(folder) / "m ?.db"
        summary("remember", "notes", "--memory", str(memory))
        ask = ["recall", "lighthouse", "--mode", "words", "--memory", str(memory)]
        wanted = records(*ask)
        listed = run_cli("remember", "--list", "--memory", str(memory)).stdout
        assert {file.name for file in Path(folder).iterdir()} == {"m ?.db", "m ?.db.lock"}
        if is_in_use:  # by somebody else, who may write
            stack.callback(Store(memory).close)
        with nothing_writable(Path(folder)):
            assert records(*ask) == wanted
            assert run_cli("remember", "--list", "--memory", str(memory)).stdout == listed
            done = run_cli("remember", "-", "--memory", str(memory), stdin=SEA)
            assert done.exit_code == 2
            assert "m ?.db: cannot be written: Permission denied" in done.stderr
            summary("forget", "--all", "--yes", "--memory", str(memory), exit_code=2)
        assert records(*ask) == wanted


def test_records_are_documents(notes: Path) -> None:
    summary("remember", "notes")
    (first, *_) = records("recall", "boats at night")
    piped = run_cli("embed", "--format", "jsonl", stdin=msgspec.json.encode(first) + b"\n")
    assert piped.exit_code == 0, piped.stderr
    again = json.loads(piped.stdout)
    assert {key: again[key] for key in first} == first
    found = run_cli("recall", "open invoices of the plumber", "--format", "jsonl").stdout
    short = run_cli("summarize", "-", "--sentences", "1", "--format", "jsonl", stdin=found)
    assert short.exit_code == 0, short.stderr
    for before, after in zip(
        map(json.loads, found.splitlines()), map(json.loads, short.stdout.splitlines()), strict=True
    ):
        assert {key: after[key] for key in before} == before
        start, end = after["summary"]["sentences"][0]
        assert before["text"][start:end].strip()


LOST = "The king lost his hat in the sea."
BOUGHT = "The king bought a new hat in May."
QUESTION = "Where did the king lose his hat?"
SAID = "In the sea [1]. He has a new one [2, 9]."


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a language model that knows one answer by heart."""
    pytest.importorskip("torch")
    from language_kit import write_talker, write_talker_bundle
    from lmtool_memory.answers import SYSTEM

    asked = f"Passages:\n\n[1] {LOST}\n\n[2] {BOUGHT}\n\nQuestion: {QUESTION}"
    prompt = f"<|system|>{SYSTEM}<|end|><|user|>{asked}<|end|><|assistant|>"
    source = write_talker(tmp_path_factory.mktemp("answerer"), [(prompt, SAID)], context=512)
    return write_talker_bundle(tmp_path_factory.mktemp("models") / "answerer", source)


def test_an_answer_cites_what_it_read(notes: Path, answerer: Path) -> None:
    (notes / "sea.txt").write_text(LOST, "utf-8")
    (notes / "hat.txt").write_text(BOUGHT, "utf-8")
    summary("remember", "notes/sea.txt", "notes/hat.txt")
    ask = ["recall", QUESTION, "--answer", "--model", str(answerer), "--max-tokens"]
    (found,) = records(*ask, "60")
    assert (found["text"], found["question"]) == (SAID, QUESTION)
    cited_of = [(c["number"], c["text"], c["source"]) for c in found["citations"]]
    assert cited_of == [(1, LOST, str(notes / "sea.txt")), (2, BOUGHT, str(notes / "hat.txt"))]
    assert "finish" not in found
    done = run_cli(*ask, "60", "--format", "text")
    assert done.stdout == f"{SAID}\n\n[1] notes/sea.txt:1\n[2] notes/hat.txt:1\n"
    (cut,) = records(*ask, "2")
    assert SAID.startswith(cut["text"])
    assert (cut["finish"], cut["citations"]) == ("length", [])
    assert "no passage fits its context of 512 tokens" in summary(*ask, "500", exit_code=3)


def test_an_answer_reads_the_best_that_fit(answerer: Path) -> None:
    texts = [LOST, BOUGHT, "word " * 500]
    found = [Found(Stored(i, "a", b"", 0, 1, 1, t, True), 1, 1, 1) for i, t in enumerate(texts)]
    model = load_language_model(answerer, device="cpu")
    said = answer(QUESTION, found, model, Sampling(max_tokens=60))
    assert [item.passage.text for item in said.read] == [LOST, BOUGHT]
    assert (said.text, said.cited, said.is_cut) == (SAID, [1, 2], False)
    with pytest.raises(DataError, match="no passage fits its context of 512 tokens"):
        answer(QUESTION, found, model, Sampling(max_tokens=500))


def test_citations() -> None:
    assert cited("So [2]. And so [1, 2] and [7], [x].", 3) == [2, 1]


def test_ranks_are_fused() -> None:
    fused = fuse([[5, 6, 7], [7, 5]])
    assert sorted(fused, key=lambda n: -fused[n]) == [5, 7, 6]
    assert fused[6] == 1 / 62


def test_the_view_keeps_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "21")
    text = "- a list\r\n  of bread\n\n\tdef bake(bread):\n| a long line that is cut\n"
    assert indented(text, [(15, 20), (32, 37)]).splitlines() == [
        "  - a list",
        "    of *bread*",
        "",
        "      def",
        "      bake(*bread*):",
        "  | a long line that",
        "  is cut",
    ]


def test_marks_follow_the_index() -> None:
    assert marks("painted walls", ["He paints a Wall.", "None."]) == [[(3, 9), (12, 16)], []]
    assert marks("睡觉", ["猫在睡觉。"]) == [[(2, 4)]]
    assert marks("?", ["a"]) == [[]]
    assert np.linalg.norm(vector_of("a")) == pytest.approx(1)


CHINESE = (
    "猫在睡觉。海很深，船很多。\n\n房租每月一号交给房东。水管工的发票还没有付，请在六月之前付清。\n"
)
GARTEN = "番茄喜欢阳光和很多水。五月以后再种，那时夜里不冷。机器学习的模型需要数据。\n"


def test_chinese_is_found_by_its_words(notes: Path) -> None:
    """The model that ships reads no Chinese: its vectors have no say, and words find it."""
    for name, text in (("rent.txt", CHINESE), ("garden.txt", GARTEN)):
        (notes / name).write_text(text, "utf-8")
    summary("remember", "notes/rent.txt", "notes/garden.txt")
    for question, wanted in (
        ("发票", CHINESE),
        ("房租什么时候交给房东？", CHINESE),
        ("番茄什么时候种？", GARTEN),
    ):
        (found,) = records("recall", question)
        text = Path(found["source"]).read_text("utf-8")
        assert text == wanted
        assert text[found["start"] : found["end"]] == found["text"]
    (best,) = records("recall", "谁的发票没有付？", "--extractive")
    assert best["text"] == "水管工的发票还没有付，请在六月之前付清。"
    assert CHINESE[best["start"] : best["end"]] == best["text"]
    assert best["line"] == 3
    for nowhere in ("宇宙飞船", "房子", "大国"):  # no pair of them stands there
        assert "nothing relevant" in summary("recall", nowhere, exit_code=1)


@pytest.mark.parametrize(
    ("question", "terms"),
    [
        ("发票", ['"发 票"']),
        ("房租什么时候交给房东？", ['"房 租"', '"交 给"', '"给 房"', '"房 东"']),
        ("GPT模型是谁的", ['"gpt"', '"模 型"']),
        ("谁", ['"谁"']),
        ("的", ['"的"']),
        ("什么？", ['"什 么"']),
        ("the rent of the 房租", ['"rent"', '"房 租"']),
    ],
)
def test_words_of_questions(question: str, terms: list[str]) -> None:
    assert terms_of(question) == terms


# ── masked ───────────────────────────────────────────────────────────────────────────────────

LETTER = """Tim Cook met Angela
Merkel in Berlin. They spoke about phones for a long time.

""" + "\n".join(f"Line {n} tells of thing {n * n} and no one else." for n in range(30)) + """
The call of Cook to a@b.org was short.
"""  # fmt: skip


@pytest.fixture
def letter(notes: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a letter with names, and let redact use a model that knows them."""
    monkeypatch.setenv("LMTOOL_MODEL_EXTRACT", str(tiny_bundle))
    (notes / "letter.txt").write_text(LETTER, "utf-8")
    return notes / "letter.txt"


def holds(path: Path, *words: str) -> list[str]:
    """Return which of these words stand in a file, or one beside it, as they are or in an index."""
    files = [file.read_bytes().lower() for file in path.parent.glob(f"{path.name}*")]
    return [word for word in words if any(word.lower().encode() in data for data in files)]


NAMES = ("Tim", "Cook", "Angela", "Merkel", "Berlin", "a@b.org")


def test_what_is_masked_is_nowhere_in_the_memory(letter: Path) -> None:
    memory, key = letter.parents[1] / "notes.db", letter.parents[1] / "a.key"
    summary("remember", str(letter))
    assert set(NAMES) <= set(holds(memory, *NAMES))
    told = ["remember", str(letter), "--redact", "--key", str(key)]
    said = summary(*told)  # other than it was: read again
    assert said == "1 source: 2 passages added, 1 kept, 2 gone"  # the third has no name
    assert holds(memory, *NAMES[3:], "merkel", "angela") == []
    assert summary(*told) == "1 source, 1 unchanged: 0 passages added, 0 kept, 0 gone"
    (first, *_) = records("recall", "who spoke about phones?")
    assert first["text"].startswith("[PER-1] met [PER-2] in [LOC-1]. They spoke about phones")
    assert first["masked"] is True
    (last,) = records("recall", "call short", "--mode", "words")
    assert last["text"].endswith("The call of [PER-1.2] to [EMAIL-1] was short.")  # one table
    whole = LETTER[last["start"] : last["end"]]  # places are those in the file
    assert whole.endswith("The call of Cook to a@b.org was short.")
    assert LETTER.count("\n", 0, last["start"]) + 1 == last["line"]
    lines = "".join(json.dumps(record) + "\n" for record in (first, last))
    back = run_cli("redact", "--restore", "--key", key, "-", stdin=lines)
    for line in map(json.loads, back.stdout.splitlines()):
        assert line["text"] == LETTER[line["start"] : line["end"]]
        assert "masked" not in line
    kept = run_cli(
        "redact", "--restore", "--key", key, "-", stdin='{"text":"[PER-9]","masked":true}'
    )
    assert json.loads(kept.stdout)["masked"] is True  # not whole
    (best,) = records("recall", "was the call short?", "--extractive")
    assert best["text"] == "The call of [PER-1.2] to [EMAIL-1] was short."
    assert (best["start"], best["end"]) == (last["start"], last["end"])


def test_masks_without_a_key_have_no_numbers(letter: Path) -> None:
    """They mean the same in every run, so what has not changed is kept."""
    assert "3 passages added" in summary("remember", str(letter), "--redact")
    (first, *_) = records("recall", "who spoke about phones?")
    assert first["text"].startswith("[PER] met [PER] in [LOC]. They")
    letter.write_text("A new line.\n\n" + LETTER, "utf-8")
    assert "1 passage added, 2 kept, 1 gone" in summary("remember", str(letter), "--redact")
    assert "2 passages added, 1 kept, 2 gone" in summary("remember", str(letter))  # as it is
    assert "masked" not in records("recall", "who spoke about phones?")[0]


def test_what_cannot_be_read_again_counts_as_unmasked(letter: Path) -> None:
    """Until it is read whole, and its names are out of the file."""
    memory = letter.parents[1] / "notes.db"
    summary("remember", str(letter))
    letter.write_bytes(LETTER.encode() + b"caf\xe9")
    said = summary("remember", str(letter), "--redact", exit_code=3)
    assert f"{letter}: not read whole, so what was remembered of it stays, unmasked" in said
    (last,) = records("recall", "call short", "--mode", "words")
    assert last["text"].endswith("The call of Cook to a@b.org was short.")
    assert "masked" not in last
    letter.write_text(LETTER, "utf-8")
    assert "2 gone" in summary("remember", str(letter), "--redact")
    assert holds(memory, *NAMES[3:], "merkel", "angela") == []
    (last,) = records("recall", "call short", "--mode", "words")
    assert last["masked"] is True


def test_records_are_masked_each_by_itself(letter: Path) -> None:
    rows = [
        {"text": "Tim likes tea."},
        {"text": "no json"},
        {"text": ""},
        {"text": "Call a@b.org."},
    ]
    path = letter.with_name("rows.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert "3 passages added" in summary("remember", str(path), "--redact")
    found = [records("recall", word, "--mode", "words")[0] for word in ("tea", "call")]
    assert [(r["text"], r["line"]) for r in found] == [
        ("[PER] likes tea.", 1),
        ("Call [EMAIL].", 4),
    ]


def test_a_key_without_redaction_is_refused(letter: Path) -> None:
    assert "--key without --redact" in summary("remember", str(letter), "--key", "k", exit_code=2)


def test_a_key_that_cannot_be_used_leaves_no_memory(letter: Path) -> None:
    bad, other = letter.with_name("bad.key"), letter.with_name("other.key")
    bad.write_text("{}", "utf-8")
    other.write_text('{"format": 1, "mask": "<{n}>", "masks": {}}', "utf-8")
    for key, exit_code, problem in (
        (bad, 3, "no key of lmtool redact"),
        (other, 2, "its masks look like '<{n}>'"),
        (letter.parent, 2, "cannot be read"),
        (letter.with_name("none") / "new.key", 2, "cannot be written"),
    ):
        told = ["remember", str(letter), "--redact", "--key", str(key)]
        assert problem in summary(*told, exit_code=exit_code)
        assert not list(letter.parents[1].glob("notes.db*"))
