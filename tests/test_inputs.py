"""FILES become inputs: what is taken, in which order, and what is refused with which words."""

import gzip
import io
import os
from pathlib import Path

import pytest

from lmtool.compression import compress
from lmtool.documents import Document
from lmtool.errors import DataError, UsageError
from lmtool.inputs import FileSource, Input, StdinSource, expand_inputs, text_input
from lmtool.sources import BadRecord, ReadOptions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text\n")


def names(inputs: list[Input]) -> list[tuple[str, str]]:
    return [(item.source.name, item.reader.name) for item in inputs]


def read(item: Input) -> list[Document | BadRecord]:
    return list(item.reader.read(item.source, ReadOptions()))


def test_paths_keep_their_order_and_spelling(folder: Path) -> None:
    make(folder, "b.txt", "a.jsonl.gz", "odd[1].txt")
    files = ["./b.txt", "a.jsonl.gz", "odd[1].txt", "b.txt"]
    assert names(expand_inputs(files)) == [
        ("./b.txt", "txt"),
        ("a.jsonl.gz", "jsonl"),
        ("odd[1].txt", "txt"),
        ("b.txt", "txt"),
    ]


def test_folder_gives_its_files_sorted(folder: Path) -> None:
    make(folder, "d/z.txt", "d/a.csv", "d/s/b.conll.xz", "d/.hidden.txt", "d/.git/c.txt")
    make(folder, "d/README.log", "d/out.jsonl.partial", "d/out.jsonl.errors.jsonl")
    assert names(expand_inputs(["d"])) == [
        ("d/a.csv", "csv"),
        ("d/z.txt", "txt"),
        ("d/s/b.conll.xz", "conll"),
    ]
    assert names(expand_inputs(["d/s"], "txt")) == [("d/s/b.conll.xz", "txt")]


def test_folder_says_how_many_files_it_skips(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(folder, "d/a.txt", "d/README.log", "d/s/b.pdf", "d/s/c.pdf", "d/LICENSE", "d/.hidden")
    expand_inputs(["d/s"], "txt")
    assert not caplog.records
    expand_inputs(["d"])
    assert [r.getMessage() for r in caplog.records] == [
        "4 files skipped in d (.log, .pdf, no suffix): no known format; choose with --input-format"
    ]


def test_folder_with_annotations_is_brat(folder: Path) -> None:
    make(folder, "d/a.txt", "d/b.txt", "other/c.txt")
    (folder / "d/a.ann").write_text("T1\tX 0 4\ttext\n")
    inputs = expand_inputs(["d", "other"])
    assert names(inputs) == [("d/a.ann", "brat"), ("d/b.txt", "brat"), ("other/c.txt", "txt")]
    (document,) = read(inputs[1])
    assert document == Document(id="b", text="text\n")


def test_globs_may_cross_folders(folder: Path) -> None:
    make(folder, "d/b.txt", "d/a.txt", "d/s/t/c.txt", "d/x.log")
    assert names(expand_inputs(["d/*.txt"])) == [("d/a.txt", "txt"), ("d/b.txt", "txt")]
    assert names(expand_inputs(["**/[bc].txt"])) == [("d/b.txt", "txt"), ("d/s/t/c.txt", "txt")]
    assert names(expand_inputs(["d/?"])) == [("d/s/t/c.txt", "txt")]


TEXT = "a command that has --text takes a text of its own with that"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("reviws.txt", "reviws.txt: no such file", "did you mean reviews.txt?"),
        ("d/nothing", "d/nothing: no such file", f"check the name; {TEXT}"),
        ("no/a.txt", "no/a.txt: no such file", "there is no folder no either"),
        ("*.csv", "*.csv: no file matches", None),
        ("d", "d: no file in this folder has a suffix that names a format", None),
        ("d/x.log", "d/x.log: the suffix '.log' names no format", None),
    ],
)
def test_what_cannot_be_read_is_named(
    folder: Path, name: str, message: str, hint: str | None
) -> None:
    make(folder, "reviews.txt", "d/x.log")
    with pytest.raises(UsageError) as caught:
        expand_inputs([name])
    assert caught.value.message == message
    assert hint is None or caught.value.hint == hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_that_may_not_be_read(folder: Path) -> None:
    (folder / "d").mkdir(mode=0)
    with pytest.raises(UsageError, match="d: cannot be read"):
        expand_inputs(["d"])


def test_file_that_vanished(folder: Path) -> None:
    make(folder, "a.txt")
    (item,) = expand_inputs(["a.txt"])
    (folder / "a.txt").unlink()
    (bad,) = read(item)
    assert isinstance(bad, BadRecord)
    assert bad.reason == "a.txt: cannot be read: No such file or directory"
    assert bad.hint == "it was there when the run began"


# ── stdin and --text ─────────────────────────────────────────────────────────────────────────


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives a byte at a time, as a slow pipe does."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece, self._data = self._data[:1], self._data[1:]
        buffer[: len(piece)] = piece
        return len(piece)


def piped(data: bytes, input_format: str | None = None) -> list[Document | BadRecord]:
    (item,) = expand_inputs(["-"], input_format, io.BufferedReader(Pipe(data)))
    return read(item)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz"])
def test_stdin_shows_its_format_and_compression(suffix: str) -> None:
    records = b'\n\n {"text": "a"}\n{"text": "b"}\n'
    assert piped(compress(records, suffix)) == [Document(text="a"), Document(text="b")]
    assert piped(compress(b"a {\nb", suffix)) == [Document(text="a {"), Document(text="b")]


def test_stdin_keeps_line_numbers() -> None:
    (bad,) = piped(b'\n{"txt": 1}\n')
    assert isinstance(bad, BadRecord)
    assert (bad.path, bad.line) == ("<stdin>", 2)


def test_stdin_format_can_be_named() -> None:
    assert piped(b'{"text": 1}\n', "txt") == [Document(text='{"text": 1}')]
    assert piped(b"text\na\n", "csv") == [Document(text="a")]


def test_stdin_of_nothing() -> None:
    assert piped(b"") == []
    assert piped(b"ab") == [Document(text="ab")]


def test_stdin_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": ["a", "b"]}), tmp_path / "a")
    (item,) = expand_inputs(["-"], None, io.BytesIO((tmp_path / "a").read_bytes()))
    assert read(item) == [Document(text="a"), Document(text="b")]


def test_stdin_can_be_read_once() -> None:
    stream = io.BytesIO(b"a\n")
    source = StdinSource(stream)
    with source.open() as file:
        assert file.read() == b"a\n"
    assert not stream.closed
    with pytest.raises(DataError, match="only once"):
        source.open()
    with pytest.raises(UsageError, match="named twice"):
        expand_inputs(["-", "-"], None, io.BytesIO())


def test_text_is_one_document_as_it_is() -> None:
    assert read(text_input("\ufeffa\r\n\nb ")) == [Document(text="\ufeffa\r\n\nb ")]
    with pytest.raises(UsageError, match="--text"):
        text_input("\udcff")


def test_position_counts_stored_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a\n" * 100_000))
    source = FileSource(path)
    assert (source.size, source.position) == (path.stat().st_size, 0)
    with source.open() as file:
        assert sum(1 for _ in file) == 100_000
        assert source.position == source.size
    assert source.position == source.size
