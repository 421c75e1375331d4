"""Batch runs: nothing is lost, and what was stopped anywhere ends as if it had not been."""

import gzip
import io
import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from toy_run import Toy

from lmtool import journal
from lmtool.documents import Document
from lmtool.errors import DataError, PluginError, UsageError
from lmtool.formats import writer_for
from lmtool.formats.jsonl import JsonlWriter
from lmtool.inputs import FileSource, Input, expand_inputs, text_input
from lmtool.journal import FileOutput
from lmtool.runs import Progress, RunOptions, run_files
from lmtool.sources import BadRecord, Reader, ReadOptions, Source

ROOT = Path(__file__).parent.parent
STRIDE = int(os.environ.get("LMTOOL_TEST_KILL_STRIDE", "7"))  # 1 kills at each line: a minute


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(
    files: Sequence[str], output: str | io.BytesIO, model: Toy | None = None, **options: Any
) -> list[Progress]:
    name = output if isinstance(output, str) else None
    options.setdefault("writer", writer_for(name, options.pop("format", None)))
    target = Path(output) if isinstance(output, str) else output
    return list(run_files(model or Toy(), expand_inputs(files), target, RunOptions(**options)))


def write_input(path: Path, n_lines: int = 40, seed: int = 0) -> None:
    """Write JSON lines, some of them bad, some of them no work for the toy."""
    chance = random.Random(seed)
    lines = []
    for i in range(n_lines):
        kind = chance.random()
        text = "x" * chance.randrange(1, 30) + ("!" if kind > 0.85 else "")
        lines.append(json.dumps({"text": text, "id": i}) if kind > 0.15 else "no json")
        lines += [""] * (kind > 0.95)
    path.write_text("\n".join(lines))


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name.startswith("out")}


def errors(path: Path) -> list[tuple[str, int | None, int, str]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(e["path"], e["line"], e["record"], e["reason"]) for e in lines]


# ── what is written ──────────────────────────────────────────────────────────────────────────


def test_run_writes_documents_in_order_and_errors_beside(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"text":"one"}\n\noops\n{"text":"no!"}\n{"text":"two"}\n')
    (folder / "b.txt").write_text("three\n")
    steps = run(["a.jsonl", "b.txt"], "out.jsonl")
    assert (folder / "out.jsonl").read_text() == (
        '{"text":"one","labels":{"length":[{"label":"3"}]}}\n'
        '{"text":"two","labels":{"length":[{"label":"3"}]}}\n'
        '{"text":"three","labels":{"length":[{"label":"5"}]}}\n'
    )
    first, second = (folder / "out.jsonl.errors.jsonl").read_text().splitlines()
    assert json.loads(first) == {
        "path": "a.jsonl",
        "line": 3,
        "record": 2,
        "reason": "not JSON: JSON is malformed: invalid character (byte 0)",
        "hint": "write each record on a line of its own; plain text needs --input-format txt",
        "raw": "oops",
    }
    assert json.loads(second) == {
        "path": "a.jsonl",
        "line": 4,
        "record": 3,
        "reason": "no exclamations",
        "hint": "speak softly",
        "raw": "no!",
    }
    report = steps[-1]
    size = sum((folder / n).stat().st_size for n in ("a.jsonl", "b.txt"))
    assert (report.documents, report.failed, report.characters) == (3, 2, 11)
    assert (report.done_bytes, report.total_bytes, report.resumed) == (size, size, 0)
    assert sorted(files(folder)) == ["out.jsonl", "out.jsonl.errors.jsonl"]


def test_run_without_errors_leaves_no_errors_file(folder: Path) -> None:
    (folder / "a.txt").write_text("one\n")
    (folder / "out.jsonl.errors.jsonl").write_text("of an earlier run\n")
    run(["a.txt"], "out.jsonl")
    assert sorted(files(folder)) == ["out.jsonl"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.csv.zst", "out.conll.xz"])
def test_run_over_nothing_writes_a_valid_file(folder: Path, name: str) -> None:
    (folder / "a.txt").write_text("\n")
    (report,) = run(["a.txt"], name)
    assert (report.documents, report.done_bytes) == (0, 1)
    with FileSource(name).open() as file:
        assert file.read() in (b"", b"document,layer,label,start,end,text,score\n")
    assert bool((folder / name).stat().st_size) == (name != "out.jsonl")


def test_compressed_output_holds_the_same(folder: Path) -> None:
    write_input(folder / "a.jsonl")
    run(["a.jsonl"], "out.jsonl")
    run(["a.jsonl"], "out2.jsonl.gz")
    assert (
        gzip.decompress((folder / "out2.jsonl.gz").read_bytes())
        == (folder / "out.jsonl").read_bytes()
    )


def test_document_that_has_no_place_in_the_format_is_an_error(folder: Path) -> None:
    lines = ['{"text":"a\\nb"}', '{"text":"c"}']
    (folder / "a.jsonl").write_text("\n".join(lines))
    run(["a.jsonl"], "out.txt")
    assert (folder / "out.txt").read_text() == "c\n"
    assert errors(folder / "out.txt.errors.jsonl") == [
        ("a.jsonl", 1, 1, "the text holds a line end, so it cannot be a line of a text file")
    ]


def test_strict_stops_at_the_first_bad_record(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"text":"one"}\noops\n')
    with pytest.raises(DataError, match=r"^a\.jsonl:2: not JSON"):
        run(["a.jsonl"], "out.jsonl", strict=True)
    (folder / "a.jsonl").write_text('{"text":"one"}\n{"text":"no!"}\n')
    with pytest.raises(DataError, match=r"^a\.jsonl:2: no exclamations"):
        run(["a.jsonl"], "out.jsonl", strict=True)
    assert not (folder / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.jsonl", '{"text":"one"}\n\n{"text":"no!"}\n', "a.jsonl:3"),
        ("a.txt", "one\n\n\nno!\n", "a.txt:4"),
        ("a.csv", 'text\n"one\nmore"\nno!\n', "a.csv:4"),
        ("a.conll", "one O\n\nno O\n! O\n", "a.conll:3"),
        ("a.txt", "one\rno!", "a.txt: record 1"),
    ],
)
def test_what_the_model_cannot_use_is_named_by_its_line(
    folder: Path, name: str, text: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / name).write_text(text, newline="")
    read = ReadOptions(whole_file="record" in where)
    run([name], io.BytesIO(), format="jsonl", read=read)
    (record,) = caplog.records
    assert record.getMessage() == f"{where}: no exclamations\n  speak softly"


def test_a_line_of_stdin_is_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    inputs = expand_inputs(["-"], None, io.BytesIO(b'{"text":"one"}\n\n{"text":"no!"}\n'))
    list(run_files(Toy(), inputs, io.BytesIO(), RunOptions(writer=writer_for(None, "jsonl"))))
    (record,) = caplog.records
    assert record.getMessage().startswith("<stdin>:3: no exclamations")


class Raising(Toy):
    """Breaks with an exception of its own on texts that hold a "?"."""

    def annotate(self, documents: Sequence[Document]) -> list[Document]:
        for document in documents:
            if "??" in document.text:
                raise MemoryError
            if "?" in document.text:
                raise KeyError(document.text)
        return super().annotate(documents)


def test_exception_of_a_plugin_is_one_error(folder: Path) -> None:
    (folder / "a.txt").write_text("one\nwhat?\nno!\nfour\n" * 2 + "who?\n")
    report = run(["a.txt"], "out.jsonl", Raising())[-1]
    assert (report.documents, report.failed) == (4, 5)
    found = errors(folder / "out.jsonl.errors.jsonl")
    assert found[0] == ("a.txt", 2, 2, "KeyError: 'what?'")
    assert [number for _, _, number, _ in found] == [2, 3, 6, 7, 9]
    with pytest.raises(PluginError, match=r"^a\.txt:2: KeyError: 'what\?'"):
        run(["a.txt"], "out2.jsonl", Raising(), strict=True)


@pytest.mark.parametrize("text", ["a?\nb?\n", "a?\n", "ok\nok\nok\nok\na?\nb?\n"])
def test_exception_on_all_documents_is_the_plugin(folder: Path, text: str) -> None:
    (folder / "a.txt").write_text(text)
    with pytest.raises(KeyError, match=r"a\?"):
        run(["a.txt"], "out.jsonl", Raising())


def test_no_memory_is_no_bad_record(folder: Path) -> None:
    (folder / "a.txt").write_text("one\ntwo??\nthree\n")
    with pytest.raises(MemoryError):
        run(["a.txt"], "out.jsonl", Raising())


def test_input_that_vanishes_is_one_error(folder: Path) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text(f"{name}\n")
    inputs = expand_inputs(["."])
    (folder / "b.txt").unlink()
    *_, report = run_files(Toy(), inputs, Path("out.jsonl"), RunOptions(writer_for()))
    assert (report.documents, report.failed) == (2, 1)
    assert errors(folder / "out.jsonl.errors.jsonl") == [
        ("./b.txt", 1, 1, "./b.txt: cannot be read: No such file or directory")
    ]


def test_damaged_input_gives_what_it_has_and_the_others_go_on(folder: Path) -> None:
    data = gzip.compress(b"".join(b"%d\n" % i for i in range(1000)))
    (folder / "a.txt.gz").write_bytes(data[:1500])
    (folder / "b.txt").write_text("last\n")
    report = run(["a.txt.gz", "b.txt"], "out.jsonl")[-1]
    assert report.failed == 1
    documents = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    n_read = len(documents) - 1
    assert n_read > 400
    assert [d["text"] for d in documents] == [str(i) for i in range(n_read)] + ["last"]
    ((path, line, _, reason),) = errors(folder / "out.jsonl.errors.jsonl")
    assert (path, line) == ("a.txt.gz", n_read + 1)
    assert "damaged gz data after" in reason


def test_many_bad_records_are_not_held_in_memory(folder: Path) -> None:
    lines = ['{"text":"a"}', *["bad"] * 2500, '{"text":"b"}']
    (folder / "a.jsonl").write_text("\n".join(lines))
    steps = run(["a.jsonl"], "out.jsonl")
    assert [(s.documents, s.failed) for s in steps] == [
        (1, 0), (1, 1000), (1, 2000), (2, 2500), (2, 2500),
    ]  # fmt: skip
    assert [e[2] for e in errors(folder / "out.jsonl.errors.jsonl")] == list(range(2, 2502))


def test_reader_with_a_bug_is_a_plugin_error(folder: Path) -> None:
    class Broken(Reader):
        name = "broken"
        suffixes = ()
        summary = ""

        def read(self, source: Source, options: ReadOptions) -> Iterator[Document | BadRecord]:
            yield Document(text="a")
            raise ValueError("oh")

    inputs = [Input(FileSource("a"), Broken())]
    with pytest.raises(PluginError, match="a: the reader 'broken' failed: ValueError: oh"):
        list(run_files(Toy(), inputs, Path("out.jsonl"), RunOptions(writer_for())))


# ── stdout, folders and tables ───────────────────────────────────────────────────────────────


def test_stdout_gets_data_and_the_log_gets_errors(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "a.jsonl").write_text('oops\n{"text":"one"}\n')
    stream = io.BytesIO()
    run(["a.jsonl"], stream, format="csv")
    assert stream.getvalue().decode() == (
        "document,layer,label,start,end,text,score\n,labels.length,3,,,,\n"
    )
    assert [r.getMessage().partition("\n")[0] for r in caplog.records] == [
        "a.jsonl:1: not JSON: JSON is malformed: invalid character (byte 0)"
    ]
    run(["a.jsonl"], io.BytesIO(), errors=folder / "out.errors")
    assert errors(folder / "out.errors")[0][:3] == ("a.jsonl", 1, 1)


def test_stdout_that_is_closed_passes_the_broken_pipe_on(folder: Path) -> None:
    end, start = os.pipe()
    os.close(end)
    with open(start, "wb", buffering=0) as pipe, pytest.raises(BrokenPipeError):
        list(run_files(Toy(), [text_input("a")], pipe, RunOptions(writer_for())))


def test_stdout_that_is_full_is_a_usage_error(folder: Path) -> None:
    message = "<stdout>: cannot be written: No space left on device"
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(UsageError, match=message):
        list(run_files(Toy(), [text_input("a")], full, RunOptions(writer_for())))


def test_device_is_written_to_and_not_replaced(folder: Path) -> None:
    (folder / "a.txt").write_text("one\n")
    run(["a.txt"], "/dev/null", format="jsonl")
    assert not Path("/dev/null").is_file()
    with pytest.raises(UsageError, match="--resume does not work with a stream"):
        run(["a.txt"], "/dev/null", format="jsonl", resume=True)


@pytest.mark.parametrize("output", ["out.jsonl", "/dev/null", "out.parquet"])
@pytest.mark.parametrize("is_link", [False, True])
def test_errors_to_a_device_leave_it_alone(folder: Path, output: str, is_link: bool) -> None:
    if output.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (folder / "a.txt").write_text("one\nno!\n")
    (folder / "b.txt").write_text("one\n")
    os.mkfifo(folder / "device")  # not /dev/null: code that is wrong would remove it for all
    end = os.open(folder / "device", os.O_RDONLY | os.O_NONBLOCK)
    (folder / "link").symlink_to("device")
    place = folder / ("link" if is_link else "device")
    form = None if output.endswith("parquet") else "jsonl"
    for name, n_failed in (("a.txt", 1), ("b.txt", 0)):
        assert run([name], output, format=form, errors=place)[-1].failed == n_failed
        assert (folder / "device").is_fifo()
        assert (folder / "link").is_symlink()
    assert len(os.read(end, 1 << 16).splitlines()) == 1
    os.close(end)
    assert set(files(folder)) <= {output}


def test_errors_to_a_pipe_and_a_resume(folder: Path) -> None:
    (folder / "a.txt").write_text("one\nno!\n" * 10)
    os.mkfifo(folder / "pipe")
    end = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    stop_after(3, ["a.txt"], errors=Path("pipe"))
    report = run(["a.txt"], "out.jsonl", errors=Path("pipe"), resume=True)[-1]
    assert (report.resumed, report.documents, report.failed) == (6, 10, 10)
    assert len(os.read(end, 1 << 16).splitlines()) == 10
    os.close(end)
    assert (folder / "pipe").is_fifo()


def test_errors_through_a_link(folder: Path) -> None:
    (folder / "a.txt").write_text("no!\n")
    (folder / "link").symlink_to("real.jsonl")
    run(["a.txt"], "out.jsonl", errors=Path("link"))
    assert len(errors(folder / "real.jsonl")) == 1
    assert (folder / "link").is_symlink()


def test_link_is_followed(folder: Path) -> None:
    (folder / "a.txt").write_text("one\n")
    (folder / "sub").mkdir()
    (folder / "out.jsonl").symlink_to("sub/real.jsonl")
    run(["a.txt"], "out.jsonl")
    assert (folder / "out.jsonl").is_symlink()
    assert len((folder / "sub/real.jsonl").read_text().splitlines()) == 1


def test_folders_and_tables_are_written_whole(folder: Path) -> None:
    entity = {"start": 0, "end": 3, "label": "X"}
    lost = {"head": "e1", "tail": "e2", "label": "r"}
    records = [{"text": "one", "entities": [entity]}, {"text": "two", "relations": [lost]}]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    run(["a.jsonl"], "out", format="brat")
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["000001.ann", "000001.txt"]
    assert (folder / "out/000001.ann").read_text() == "T1\tX 0 3\tone\n"
    assert errors(folder / "out.errors.jsonl") == [
        ("a.jsonl", 2, 2, "relation 'r': no entity 'e1' or 'e2' in the document")
    ]
    with pytest.raises(UsageError, match="out: is a folder"):
        run(["a.jsonl"], "out", format="brat")
    with pytest.raises(UsageError, match="--resume does not work with the format 'brat'"):
        run(["a.jsonl"], "out2", format="brat", resume=True)
    with pytest.raises(UsageError, match="'brat' cannot be written to a stream"):
        run(["a.jsonl"], io.BytesIO(), format="brat")


def test_parquet_output_is_read_back(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    (folder / "a.txt").write_text("one\ntwo\n")
    (folder / "out.parquet.partial").write_text("of a killed run")
    run(["a.txt"], "out.parquet")
    (item,) = expand_inputs(["out.parquet"])
    found = item.reader.read(item.source, ReadOptions())
    assert [d.text for d in found if isinstance(d, Document)] == ["one", "two"]
    assert sorted(files(folder)) == ["out.parquet"]


# ── outputs that cannot be ───────────────────────────────────────────────────────────────────


def test_outputs_that_would_do_harm_are_refused(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"text":"a"}\n')
    (folder / "d").mkdir()
    os.link(folder / "a.jsonl", folder / "b.jsonl")
    before = sorted(p.name for p in folder.iterdir())
    for output, options, message in [
        ("a.jsonl", {}, "a.jsonl: would be written over, but it is the input a.jsonl"),
        ("b.jsonl", {}, "b.jsonl: would be written over, but it is the input a.jsonl"),
        ("c.jsonl", {"errors": Path("a.jsonl")}, "a.jsonl: would be written over"),
        ("c.jsonl", {"errors": Path("c.jsonl")}, "c.jsonl: the errors cannot go there"),
        ("d", {"format": "jsonl"}, "d: is a folder"),
        ("no/c.jsonl", {}, "no/c.jsonl: there is no folder no"),
        ("c.jsonl", {"errors": Path("no/e")}, "no/e: there is no folder no"),
        ("c.jsonl", {"errors": Path("a.jsonl/e")}, "a.jsonl/e: there is no folder a.jsonl"),
        ("c.jsonl", {"errors": Path("d")}, "d: the errors cannot go there"),
        ("/dev/null", {"format": "jsonl", "errors": Path("a.jsonl")}, "it is the input a.jsonl"),
    ]:
        with pytest.raises(UsageError, match=message):
            run(["a.jsonl"], output, **options)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_full_disk_keeps_what_resume_needs(folder: Path) -> None:
    write_input(folder / "a.jsonl", 200)
    run(["a.jsonl"], "out.jsonl")
    whole = files(folder)
    (folder / "out.jsonl").unlink()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3001, limits[1]))
        with pytest.raises(UsageError) as caught:
            run(["a.jsonl"], "out.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.message.endswith("cannot be written: File too large")
    assert caught.value.hint == "make room, then go on with --resume"
    assert not (folder / "out.jsonl").exists()
    report = run(["a.jsonl"], "out.jsonl", resume=True)[-1]
    assert report.resumed > 0
    assert files(folder) == whole


def test_second_run_of_the_same_output_is_refused(folder: Path) -> None:
    (folder / "a.txt").write_text("one\n" * 20)
    options = RunOptions(writer_for())
    first = run_files(Toy(), expand_inputs(["a.txt"]), Path("out.jsonl"), options)
    next(first)
    with pytest.raises(UsageError, match="another run is writing this file"):
        run(["a.txt"], "out.jsonl")
    assert list(first)[-1].documents == 20


def test_the_lock_holds_until_the_file_has_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.txt").write_text("one\n")
    refused = []
    replace = os.replace

    def replace_while_another_begins(old: Path, new: Path) -> None:
        if new.name == "out.jsonl":
            with pytest.raises(UsageError, match="another run"):
                FileOutput(new, JsonlWriter(), Path("other.errors"), resume=False).begin({})
            refused.append(new)
        replace(old, new)

    monkeypatch.setattr(journal.os, "replace", replace_while_another_begins)
    run(["a.txt"], "out.jsonl")
    assert len(refused) == 1
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "out.jsonl"]


def test_file_that_was_finished_while_it_was_opened_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run ends between this one's open and its lock."""
    (folder / "out.jsonl.partial").write_text("done")
    open_to_write = journal._open_to_write

    def open_late(path: Path) -> Any:
        file = open_to_write(path)
        if path.name == "out.jsonl.partial":
            path.rename(folder / "out.jsonl")
        return file

    monkeypatch.setattr(journal, "_open_to_write", open_late)
    (folder / "a.txt").write_text("one\n")
    with pytest.raises(UsageError, match="another run"):
        run(["a.txt"], "out.jsonl")
    assert files(folder) == {"out.jsonl": b"done"}


# ── resume ───────────────────────────────────────────────────────────────────────────────────


def stop_after(n_steps: int, names: Sequence[str], **options: Any) -> None:
    inputs = expand_inputs(names)
    steps = run_files(Toy(), inputs, Path("out.jsonl"), RunOptions(writer_for(), **options))
    for _ in range(n_steps):
        next(steps)
    steps.close()


def test_resume_does_only_what_is_left(folder: Path) -> None:
    (folder / "a.txt").write_text("one\n" * 20)
    stop_after(3, ["a.txt"])
    toy = Toy()
    report = run(["a.txt"], "out.jsonl", toy, resume=True)[-1]
    assert (toy.n_calls, report.resumed, report.documents) == (2, 12, 20)
    assert not report.was_complete
    again = run(["a.txt"], "out.jsonl", toy, resume=True)
    assert [(s.was_complete, s.documents) for s in again] == [(True, 0)]
    assert toy.n_calls == 2


def test_resume_of_a_complete_run_counts_its_errors_again(folder: Path) -> None:
    (folder / "a.txt").write_text("one\nno!\nno!\n")
    run(["a.txt"], "out.jsonl")
    report = run(["a.txt"], "out.jsonl", resume=True)[-1]
    assert (report.was_complete, report.failed) == (True, 2)


def test_resume_does_not_work_with_stdin(folder: Path) -> None:
    inputs = expand_inputs(["-"], stdin=io.BytesIO(b"one\n"))
    options = RunOptions(writer_for(), resume=True)
    with pytest.raises(UsageError, match="--resume does not work with stdin") as caught:
        list(run_files(Toy(), inputs, Path("out.jsonl"), options))
    assert "write the input to a file first" in caught.value.hint
    assert not files(folder)


def test_resume_of_another_run_says_what_differs(folder: Path) -> None:
    (folder / "a.txt").write_text("one\n" * 20)
    (folder / "b.txt").write_text("two\n")
    stop_after(2, ["a.txt"], fingerprint={"model": "m1"})
    before = files(folder)
    for names, options, message in [
        (["a.txt"], {"model": "m2"}, "model was m1, is now m2"),
        (["a.txt"], {}, "model was m1, is now not set"),
        (["a.txt", "b.txt"], {"model": "m1"}, r"inputs was 1: a\.txt \(txt\) \[\w+\], is now 2: "),
    ]:
        with pytest.raises(UsageError, match=message):
            run(names, "out.jsonl", resume=True, fingerprint=options)
    (folder / "a.txt").write_text("one\n" * 21)
    with pytest.raises(UsageError, match=r"from a\.txt on they had 80 bytes, now 84"):
        run(["a.txt"], "out.jsonl", resume=True, fingerprint={"model": "m1"})
    assert files(folder) == before


def test_input_that_is_done_may_be_gone_at_resume(folder: Path) -> None:
    (folder / "a.txt").write_text("one\n" * 8)
    (folder / "b.txt").write_text("two\n" * 20)
    inputs = expand_inputs(["a.txt", "b.txt"])
    stop_after(4, ["a.txt", "b.txt"])
    (folder / "a.txt").unlink()
    options = RunOptions(writer_for(), resume=True)
    *_, report = run_files(Toy(), inputs, Path("out.jsonl"), options)
    assert (report.documents, report.failed) == (28, 0)


def test_run_without_resume_starts_over(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a.txt").write_text("one\n" * 20)
    stop_after(3, ["a.txt"])
    report = run(["a.txt"], "out.jsonl")[-1]
    assert (report.documents, report.resumed) == (20, 0)
    assert [r.getMessage() for r in caplog.records] == [
        "out.jsonl.partial: an unfinished run of 12 documents is started over; --resume goes on"
    ]


@pytest.mark.parametrize("damage", ["journal", "partial", "short", "errors"])
def test_resume_with_damaged_files_starts_over(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_input(folder / "a.jsonl")
    run(["a.jsonl"], "out.jsonl")
    whole = files(folder)
    (folder / "out.jsonl").unlink()
    stop_after(6, ["a.jsonl"])
    if damage == "journal":
        (folder / "out.jsonl.progress").write_text('{"inp')
    elif damage == "partial":
        (folder / "out.jsonl.partial").unlink()
    else:
        name = "out.jsonl.partial" if damage == "short" else "out.jsonl.errors.jsonl"
        os.truncate(folder / name, 10)
    report = run(["a.jsonl"], "out.jsonl", resume=True)[-1]
    assert report.resumed == 0
    assert files(folder) == whole
    assert len(caplog.records) == 1


def test_journal_is_forced_to_the_disk_now_and_then(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    (folder / "a.txt").write_text("one\n" * 40)
    run(["a.txt"], "out.jsonl")
    assert len(synced) == 2  # both files, at the end
    monkeypatch.setattr(journal, "FSYNC_SECONDS", -1)
    run(["a.txt"], "out2.jsonl")
    assert len(synced) == 2 + 2 * 12  # the header, ten chunks, the end


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────


def die_at(n_lines: int) -> None:
    """Kill this process at the n-th line that it runs of the module that writes."""

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal n_lines
        if frame.f_code.co_filename != journal.__file__:
            return None
        if event == "line":
            n_lines -= 1
            if n_lines < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def run_and_die(output: str, n_lines: int) -> bool:
    """Run in a child that dies at a line; return whether it ended before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            logging.disable()
            die_at(n_lines)
            run(["a.jsonl", "b.jsonl"], output, resume=True)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.csv"])
def test_killed_at_any_line_and_resumed_is_the_same(folder: Path, name: str) -> None:
    write_input(folder / "a.jsonl", 9, seed=1)
    write_input(folder / "b.jsonl", 7, seed=2)
    with_errors = name != "out.csv"
    if not with_errors:
        for path in folder.glob("?.jsonl"):
            path.write_text('{"text":"a"}\n' * 9)
    run(["a.jsonl", "b.jsonl"], name)
    whole = files(folder)
    assert len(whole) == 1 + with_errors
    n_lines = 0
    stride = STRIDE if name == "out.jsonl" else 2 * STRIDE
    has_ended = False
    while not has_ended:
        for path in folder.glob("out*"):
            path.unlink()
        has_ended = run_and_die(name, n_lines)
        has_ended_again = has_ended or run_and_die(name, n_lines * 7 % 311)
        report = run(["a.jsonl", "b.jsonl"], name, resume=True)[-1]
        assert report.was_complete >= has_ended_again
        assert files(folder) == whole, f"killed at line {n_lines}"
        n_lines += stride
    assert n_lines > 250


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_killed_at_any_time_and_resumed_is_the_same(folder: Path, name: str) -> None:
    for seed, path in enumerate(("a.jsonl", "b.jsonl")):
        write_input(folder / path, 300, seed)
    run(["a.jsonl", "b.jsonl"], name)
    whole = files(folder)
    for path in folder.glob("out*"):
        path.unlink()
    command = [sys.executable, str(ROOT / "tests/toy_run.py"), name, "a.jsonl", "b.jsonl"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    chance = random.Random(0)
    for _ in range(4):
        process = subprocess.Popen(command, env=environment)
        while not (folder / f"{name}.progress").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        process.wait()
    subprocess.run(command, env=environment, check=True)
    assert files(folder) == whole
