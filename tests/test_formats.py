"""Readers and writers: exact documents, exact bytes, and what happens to bad records."""

import codecs
import gzip
import io
import lzma
import os
import sys
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest
import zstandard

from lmtool.compression import compress, decompress, format_suffix
from lmtool.documents import (
    Coverage,
    Document,
    Entity,
    Event,
    EventArgument,
    Frame,
    FrameArgument,
    Label,
    Relation,
    Span,
    Summary,
)
from lmtool.errors import DataError, UsageError
from lmtool.formats import READERS, WRITERS, reader_for, writer_for
from lmtool.formats.columns import cut_words
from lmtool.formats.lines import read_lines
from lmtool.sources import BadRecord, PathWriter, ReadOptions, Writer
from lmtool.streams import FileSource

DATA = Path(__file__).parent / "data"
MET = "Tim Cook met Angela Merkel."


class BytesSource:
    name = "in"
    position = 0

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


def read(name: str, data: bytes, **options: object) -> list[Document | BadRecord]:
    return list(reader_for("", name).read(BytesSource(data), ReadOptions(**options)))


def texts(items: Iterable[Document | BadRecord]) -> list[str | int]:
    """The text of each document, and the line of each bad record."""
    return [i.text if isinstance(i, Document) else i.line for i in items]


def encode(name: str, *documents: Document) -> str:
    writer = writer_for(None, name)
    assert isinstance(writer, Writer)
    return (writer.header() + writer.encode(documents) + writer.footer()).decode()


def met() -> Document:
    return Document(
        id=7,
        text=MET,
        labels={"tone": [Label("neutral", 0.9)]},
        entities=[
            Entity(id="e1", start=0, end=8, text="Tim Cook", label="PER", score=0.5),
            Entity(id="e2", start=13, end=26, text="Angela Merkel", label="PER"),
        ],
        relations=[Relation("e1", "e2", "knows", 0.8)],
        events=[Event("meet", Span(9, 12, "met"), [EventArgument("agent", entity="e1")])],
        frames=[Frame(Span(9, 12, "met"), "meet.01", [FrameArgument("ARG0", 0, 8, "Tim Cook")])],
        summary=Summary("Tim met.", [(0, 8)]),
    )


# ── lines ────────────────────────────────────────────────────────────────────────────────────


def test_lines_end_at_line_feeds_alone() -> None:
    data = "\ufeffa\u2028b\x0bc\x85\r\n\ufeffd\re\n\nlast".encode()
    found = [(line.number, line.text) for line in read_lines(BytesSource(data), ReadOptions())]
    assert found == [
        (1, "a\u2028b\x0bc\x85"),
        (2, "\ufeffd\re"),
        (3, ""),
        (4, "last"),
    ]


def test_line_in_a_wrong_encoding_hides_no_other() -> None:
    found = read("txt", b"one\ncaf\xe9 au lait\nthree\n")
    assert found == [
        Document(text="one"),
        BadRecord(
            "in",
            2,
            "not utf-8: byte 0xe9 at position 3 of the line",
            "name the file's encoding with --encoding, for example latin-1",
            "caf\ufffd au lait",
        ),
        Document(text="three"),
    ]


def test_encoding_is_an_option() -> None:
    assert read("txt", b"caf\xe9\n", encoding="latin-1") == [Document(text="café")]


@pytest.mark.parametrize("encoding", ["utf-16", "klingon"])
def test_encoding_that_has_no_lines_is_refused(encoding: str) -> None:
    with pytest.raises(UsageError, match=f"--encoding {encoding}"):
        read("txt", b"a\n", encoding=encoding)


def test_reading_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl.gz"
    line = b'{"text": "' + b"word " * 200 + b'"}\n'
    path.write_bytes(gzip.compress(line * 20_000, compresslevel=1))
    tracemalloc.start()
    n_documents = sum(1 for _ in reader_for(str(path)).read(FileSource(path), ReadOptions()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_documents == 20_000
    assert peak < 3_000_000  # of 20 MB


# ── jsonl ────────────────────────────────────────────────────────────────────────────────────


def test_jsonl_reads_records_and_skips_blank_lines() -> None:
    data = codecs.BOM_UTF8 + b'{"text":"a","id":1,"x":[1]}\r\n\r\n  \n{"text":"b"}'
    assert read("jsonl", data) == [
        Document(text="a", id=1, fields={"x": [1]}),
        Document(text="b"),
    ]


def test_jsonl_bad_lines_are_named() -> None:
    data = (
        b'{"text":"a"}\n{"text":\n\n[1]\n{"txt":"c"}\n{"text":"'
        + b"x" * 500
        + b"\n"
        + (b"[" * 100_000 + b'\n{"text":"\\ud800"}\n{"text":"d"}\n')
    )
    found = read("jsonl", data)
    assert texts(found) == ["a", 2, 4, 5, 6, 7, 8, "d"]
    assert found[1] == BadRecord(
        "in",
        2,
        "not JSON: Input data was truncated",
        "write each record on a line of its own; plain text needs --input-format txt",
        '{"text":',
    )
    assert isinstance(found[3], BadRecord)
    assert found[3].reason == "no field 'text' (it has: txt)"
    assert isinstance(found[4], BadRecord)
    assert len(found[4].raw) == 200


def test_jsonl_text_field() -> None:
    assert read("jsonl", b'{"body":"a","k":2}\n', text_field="body") == [
        Document(text="a", fields={"k": 2})
    ]


def test_jsonl_round_trip() -> None:
    line = encode("jsonl", met())
    assert read("jsonl", line.encode()) == [met()]


# ── txt ──────────────────────────────────────────────────────────────────────────────────────


def test_txt_reads_a_document_a_line() -> None:
    assert read("txt", b"one \r\n\n \t\r\n two\n") == [
        Document(text="one "),
        Document(text=" two"),
    ]


def test_txt_reads_a_whole_file() -> None:
    data = codecs.BOM_UTF8 + b"one\r\n\r\ntwo\n"
    assert read("txt", data, whole_file=True) == [Document(id="in", text="one\n\ntwo\n")]


def test_txt_whole_file_in_a_wrong_encoding() -> None:
    found = read("txt", b"one\ncaf\xe9\n", whole_file=True)
    assert texts(found) == [2]


def test_txt_writes_lines() -> None:
    assert encode("txt", Document(text="a"), Document(text="é")) == "a\né\n"


@pytest.mark.parametrize("text", ["a\nb", "a\r", "", " "])
def test_txt_refuses_what_is_no_line(text: str) -> None:
    with pytest.raises(DataError, match="cannot be a line"):
        encode("txt", Document(text=text))


# ── csv and tsv ──────────────────────────────────────────────────────────────────────────────


def test_csv_reads_rows_with_line_ends_in_quotes() -> None:
    data = codecs.BOM_UTF8 + b'id,text,n\r\n1,"a, ""b""\r\nc",2\r\n\r\n2,d,3\r\n'
    assert read("csv", data) == [
        Document(id="1", text='a, "b"\nc', fields={"n": "2"}),
        Document(id="2", text="d", fields={"n": "3"}),
    ]


def test_csv_bad_rows_are_named_by_their_first_line() -> None:
    data = b'text,n\n"a\nb",1\nc\nd,1,2\n"e" f,1\n\xff,1\ng,1\n"open,1\nh,1\n'
    found = read("csv", data)
    assert texts(found) == ["a\nb", 4, 5, 6, 7, "g", 9]
    assert isinstance(found[1], BadRecord)
    assert found[1].reason == "1 columns where the header has 2"
    assert isinstance(found[-1], BadRecord)
    assert found[-1].reason == (
        "not a row: unexpected end of data (a quote opened on line 9 swallowed the lines up to 10)"
    )


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("a,b", "no column 'text' (it has: a, b)"),
        ("text,text", "two columns are named 'text'"),
        ("text,entities", "the column 'entities' has the name of a layer"),
    ],
)
def test_csv_header_that_cannot_serve_is_one_bad_record(header: str, reason: str) -> None:
    (bad,) = read("csv", f"{header}\n1,2\n3,4\n".encode())
    assert isinstance(bad, BadRecord)
    assert (bad.line, bad.reason) == (1, reason)


def test_txt_holds_what_was_written(caplog: pytest.LogCaptureFixture) -> None:
    fields = {"translation": {"text": "b", "language": "zh"}}
    assert encode("txt", Document(text="a", fields=fields)) == "b\n"
    completions = {"completions": [{"text": "b"}, {"text": "c"}]}
    assert encode("txt", Document(text="a", fields=completions)) == "b\nc\n"
    talk = {"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]}
    assert encode("txt", Document(text="", fields=talk)) == "c\n"
    assert encode("txt", Document(text="a. b.", summary=Summary("b."))) == "b.\n"
    assert not caplog.messages
    named = msgspec.structs.replace(met(), summary=None)
    assert encode("txt", named, named) == f"{MET}\n{MET}\n"
    (message,) = caplog.messages
    assert "left out: labels, entities, relations, events, frames" in message


def test_txt_of_whole_files_keeps_line_ends() -> None:
    writer = writer_for(None, "txt", whole_file=True)
    assert isinstance(writer, Writer)
    documents = [Document(text=text) for text in ("a\n\nb\n", "", "c")]
    assert writer.encode(documents) == b"a\n\nb\nc\n"
    with pytest.raises(DataError, match="holds a line end") as caught:
        encode("txt", documents[0])
    assert "--whole-file" in (caught.value.hint or "")


def test_csv_may_be_parted_by_semicolons() -> None:
    found = read("csv", b'text;stars\n"a; b, c";5\n')
    assert found == [Document(text="a; b, c", fields={"stars": "5"})]
    found = read("csv", b"text,a;b\n1;2,3\n")  # a comma parts it, as far as can be seen
    assert found == [Document(text="1;2", fields={"a;b": "3"})]
    (bad,) = read("csv", b"Text;stars\nx;1\n")
    assert isinstance(bad, BadRecord)
    assert bad.reason == "no column 'text' (it has: Text, stars)"


@pytest.mark.parametrize("mark", ["utf-16", "utf-16-be", "utf-32"])
def test_wide_encodings_are_named(mark: str) -> None:
    data = "\ufeffhallo\nwelt\n".encode(mark)
    name = mark.removesuffix("-be").upper()
    for whole_file in (False, True):
        (bad,) = read("txt", data, whole_file=whole_file)
        assert isinstance(bad, BadRecord)
        assert bad.reason == f"not utf-8 but {name}, by its byte order mark"
        assert bad.hint == f"convert the file first: iconv -f {name} -t UTF-8 FILE"


def test_csv_long_fields() -> None:
    assert texts(read("csv", b"text\n" + b"x" * 300_000)) == ["x" * 300_000]


def test_tsv_reads_tabs() -> None:
    assert read("tsv", b"body\tn\na, b\t1\n", text_field="body") == [
        Document(text="a, b", fields={"n": "1"})
    ]


def test_csv_writes_an_annotation_a_row() -> None:
    assert encode("csv", met(), Document(text="x", entities=[])).splitlines() == [
        "document,layer,label,start,end,text,score",
        "7,labels.tone,neutral,,,,0.9",
        "7,entities,PER,0,8,Tim Cook,0.5",
        "7,entities,PER,13,26,Angela Merkel,",
        "7,relations,knows,,,Tim Cook -> Angela Merkel,0.8",
        "7,events,meet,9,12,met,",
        "7,events.argument,agent,0,8,Tim Cook,",
        "7,frames,meet.01,9,12,met,",
        "7,frames.argument,ARG0,0,8,Tim Cook,",
        "7,summary,,,,Tim met.,",
        "7,summary.sentence,,0,8,Tim Cook,",
    ]


def test_csv_names_what_it_leaves_out_once(caplog: pytest.LogCaptureFixture) -> None:
    fields = {"stars": 5, "none": None, "embedding": [0.5], "translation": {"text": "b"}}
    document = Document(id=1, text="a", fields=fields)
    encode("csv", Document(text="a", entities=[]), Document(text="b", entities=[]))
    assert not caplog.messages
    assert encode("csv", document, document).splitlines()[1:] == ["1,translation,,,,b,"] * 2
    (message,) = caplog.messages
    assert "left out: stars, embedding (jsonl and parquet hold all)" in message


def test_csv_says_that_rows_cannot_be_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    encode("tsv", msgspec.structs.replace(met(), id=None), met())
    assert not caplog.messages
    encode("tsv", *[msgspec.structs.replace(met(), id=None)] * 2)
    assert caplog.messages == ["documents without an id: in tsv their rows cannot be told apart"]


@pytest.mark.parametrize("fields", [{}, {"embedding": [0.5]}])
def test_csv_has_no_place_for_texts(fields: dict[str, object]) -> None:
    with pytest.raises(DataError, match="nothing to write: csv holds an annotation a row"):
        encode("csv", met(), Document(id=1, text="put back", fields=fields))


def test_csv_writes_the_spans_of_own_layers() -> None:
    spans = [{"start": 0, "end": 3, "label": "T", "score": 0.5}, {"start": 4, "end": 7, "label": 1}]
    document = Document(id=1, text="Tim met", fields={"tags": spans, "more": [1], "note": "x"})
    assert encode("csv", document).splitlines()[-2:] == [
        "1,tags,T,0,3,Tim,0.5",
        "1,tags,1,4,7,met,",
    ]


def test_tsv_quotes_what_would_break_a_row() -> None:
    document = Document(text="a\tb", entities=[Entity(start=0, end=3, text="a\tb", label="X")])
    assert encode("tsv", document).splitlines()[1:] == ['\tentities\tX\t0\t3\t"a\tb"\t']


# ── conll ────────────────────────────────────────────────────────────────────────────────────


def test_conll_reads_sentences() -> None:
    data = (
        codecs.BOM_UTF8 + b"-DOCSTART- O\r\n\r\nTim B-PER\r\nCook I-PER\r\nsmiled O\r\n. O\r\n\r\n"
        b"# sent_id = s2\n# text = In  Rome\nIn\tO\nRome\tI-LOC\n"
    )
    assert read("conll", data) == [
        Document(
            text="Tim Cook smiled.",
            entities=[Entity(start=0, end=8, text="Tim Cook", label="PER")],
        ),
        Document(
            id="s2",
            text="In  Rome",
            entities=[Entity(start=4, end=8, text="Rome", label="LOC")],
        ),
    ]


def test_conll_bad_sentences_are_named() -> None:
    data = b"a O\n\nb X\n\nc\xff O\nd O\n\ne\n\nf O\n"
    found = read("conll", data)
    assert texts(found) == ["a", 3, 5, 8, "f"]


def test_conll_columns_are_options() -> None:
    data = b"B-PER Tim x\nO smiled y\n"
    (document,) = read("conll", data, token_column=1, tag_column=0)
    assert document == Document(
        text="Tim smiled", entities=[Entity(start=0, end=3, text="Tim", label="PER")]
    )


def test_conll_writes_words_cut_at_entities() -> None:
    text = "Max-Planck:\tso-so\nU2"
    entities = [
        Entity(start=0, end=10, text="Max-Planck", label="ORG"),
        Entity(start=18, end=19, text="U", label="LETTER"),
    ]
    assert encode("conll", Document(id=3, text=text, entities=entities)) == (
        "# sent_id = 3\n# text = Max-Planck: so-so U2\n"
        "Max\tB-ORG\n-\tI-ORG\nPlanck\tI-ORG\n:\tO\nso\tO\n-\tO\nso\tO\nU\tB-LETTER\n2\tO\n\n"
    )


def test_conll_says_once_which_layers_it_leaves_out(caplog: pytest.LogCaptureFixture) -> None:
    plain = Document(text="a", entities=[], fields={"more": [1]}, coverage=Coverage(1, 1, 1))
    tagged = Document(text="a", fields={"tags": [{"start": 0, "end": 1, "label": "T"}]})
    tagged = tagged.with_layers({"labels": {"topic": [Label("x")]}})
    encode("conll", plain)
    assert not caplog.records
    said = Document(text="a", fields={"completions": [{"text": "b"}], "translation": "none"})
    encode("conll", plain, tagged, tagged)
    encode("conll", said)
    assert [r.getMessage() for r in caplog.records] == [
        "conll holds entities only; left out: labels, tags (jsonl holds everything)",
        "conll holds entities only; left out: completions (jsonl holds everything)",
    ]


def test_csv_has_a_row_for_each_text_that_was_written() -> None:
    fields = {
        "completions": [{"text": "b", "finish": "stop"}, {"text": "c"}, "no completion"],
        "translation": {"text": "d", "language": "zh"},
        "messages": [{"role": "user", "content": "e"}],
    }
    assert encode("csv", Document(id=3, text="a", fields=fields)).splitlines()[-4:] == [
        "3,completions,stop,,,b,",
        "3,completions,,,,c,",
        "3,translation,zh,,,d,",
        "3,messages,user,,,e,",
    ]


def test_conll_words_keep_combining_marks() -> None:
    text = "हिन्दी e\u0301te\u0301, 5€"
    assert [text[a:b] for a, b in cut_words(text)] == ["हिन्दी", "e\u0301te\u0301", ",", "5", "€"]


def test_conll_round_trip() -> None:
    document = Document(
        id="d1",
        text="# He said: “O”  in Łódź 🙂.",
        entities=[Entity(start=19, end=23, text="Łódź", label="my LOC")],
    )
    assert read("conll", encode("conll", document, document).encode()) == [document, document]


@pytest.mark.parametrize(
    ("text", "spans"),
    [("  ", []), ("a b", [(0, 3), (2, 3)]), ("a  b", [(1, 2)])],
)
def test_conll_refuses_what_has_no_place(text: str, spans: Sequence[tuple[int, int]]) -> None:
    entities = [Entity(start=a, end=b, text=text[a:b], label="X") for a, b in spans]
    with pytest.raises(DataError):
        encode("conll", Document(text=text, entities=entities))


# ── brat ─────────────────────────────────────────────────────────────────────────────────────


def write_pair(folder: Path, text: str, annotations: str) -> FileSource:
    (folder / "a.txt").write_bytes(text.encode())
    (folder / "a.ann").write_bytes(annotations.encode())
    return FileSource(folder / "a.ann")


def test_brat_reads_entities_relations_and_events(tmp_path: Path) -> None:
    source = write_pair(
        tmp_path,
        MET,
        "T1\tPER 0 8\tTim Cook\nT2\tPER 13 26\tAngela Merkel\nT3\tMeet 9 12\tmet\n"
        "R1\tKnows Arg1:T1 Arg2:T2\nE1\tMeet:T3 Agent:T1 With:T2\nE2\tAsk:T3 About:E1\n"
        "A1\tNegated E1\n#1\tAnnotatorNotes T1\tsure?\n",
    )
    assert list(reader_for("a.ann").read(source, ReadOptions())) == [
        Document(
            id="a",
            text=MET,
            entities=[
                Entity(id="T1", start=0, end=8, text="Tim Cook", label="PER"),
                Entity(id="T2", start=13, end=26, text="Angela Merkel", label="PER"),
            ],
            relations=[Relation("T1", "T2", "Knows")],
            events=[
                Event(
                    "Meet",
                    Span(9, 12, "met"),
                    [EventArgument("Agent", entity="T1"), EventArgument("With", entity="T2")],
                ),
                Event(
                    "Ask",
                    Span(9, 12, "met"),
                    [EventArgument("About", start=9, end=12, text="met")],
                ),
            ],
        )
    ]


def test_brat_bad_lines_are_named_and_the_document_goes_on(tmp_path: Path) -> None:
    source = write_pair(
        tmp_path,
        "\ufeffone two\r\nthree",
        "T1\tX 1 4;6 8\tone wo\nT2\tX 5 8\ttwo\nT3\tX 5 99\ttwo\nnonsense\n"
        "T4\tX 5 8\tone\nR1\tr Arg1:T2 Arg2:T9\nT5\tX 10 15\tthree\nE1\tX:T8\n",
    )
    *bad, document = reader_for("a.ann").read(source, ReadOptions())
    assert [(b.line, b.reason) for b in bad if isinstance(b, BadRecord)] == [
        (1, "the span 1 4;6 8 is discontinuous"),
        (3, "offsets 5 99 do not fit a text of 14 characters"),
        (4, "not a line of brat's standoff format"),
        (5, "text is 'one' but 4:7 covers 'two'"),
        (6, "'T9' is no entity"),
        (8, "the trigger 'T8' is not there"),
    ]
    assert document == Document(
        id="a",
        text="one two\r\nthree",
        entities=[
            Entity(id="T1", start=0, end=7, text="one two", label="?"),
            Entity(id="T2", start=4, end=7, text="two", label="X"),
            Entity(id="T5", start=9, end=14, text="three", label="X"),
        ],
    )


def test_brat_without_a_text_is_one_bad_record(tmp_path: Path) -> None:
    (tmp_path / "a.ann").write_text("")
    (bad,) = reader_for("a.ann").read(FileSource(tmp_path / "a.ann"), ReadOptions())
    assert isinstance(bad, BadRecord)
    assert "a.txt" in bad.reason


def test_brat_round_trip(tmp_path: Path) -> None:
    writer = writer_for(None, "brat")
    assert isinstance(writer, PathWriter)
    with writer.open(tmp_path / "out") as write:
        write([met(), met()])
        write([Document(id="../x", text="a\r\nb")])
    names = ["000003.ann", "000003.txt", "7-2.ann", "7-2.txt", "7.ann", "7.txt"]
    assert sorted(os.listdir(tmp_path / "out")) == names
    (document,) = reader_for("a.ann").read(FileSource(tmp_path / "out" / "7.ann"), ReadOptions())
    assert isinstance(document, Document)
    assert document.entities == [
        Entity(id="T1", start=0, end=8, text="Tim Cook", label="PER"),
        Entity(id="T2", start=13, end=26, text="Angela Merkel", label="PER"),
    ]
    assert document.relations == [Relation("T1", "T2", "knows")]
    assert document.events == [
        Event("meet", Span(9, 12, "met"), [EventArgument("agent", entity="T1")])
    ]
    assert (tmp_path / "out" / "000003.txt").read_bytes() == b"a\r\nb"


# ── parquet ──────────────────────────────────────────────────────────────────────────────────


def test_parquet_round_trip(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    writer = writer_for(str(path))
    assert isinstance(writer, PathWriter)
    plain = Document(text="x", pair="y", fields={"n": 1, "own": {"a": [1.5]}})
    with writer.open(path) as write:
        write([met()])
        write([plain])
    first, second = reader_for(str(path)).read(FileSource(path), ReadOptions())
    assert isinstance(first, Document)
    assert first.id == "7"
    first.id = 7
    assert first == met()
    assert second == plain


def test_parquet_has_vectors_as_numbers(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    writer = writer_for(str(path))
    assert isinstance(writer, PathWriter)
    vectors: list[object] = [[0.1, -0.25], None, [1, "x"]]
    documents = [Document(text="x", fields={"n": 1, "embedding": value}) for value in vectors]
    with writer.open(path) as write:
        write(documents)
    assert parquet.read_table(path)["embedding"].to_pylist() == [[0.1, -0.25], None, None]
    assert list(reader_for(str(path)).read(FileSource(path), ReadOptions())) == documents


def test_parquet_nested_columns_streams_and_damage(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    rows = [
        {"body": f"t{i}", "entities": [{"start": 0, "end": 1, "label": "X"}]} for i in range(999)
    ]
    parquet.write_table(pyarrow.Table.from_pylist([*rows, {"body": None}]), path)
    packed = tmp_path / "a.parquet.zst"
    packed.write_bytes(compress(path.read_bytes(), ".zst"))
    options = ReadOptions(text_field="body")
    for source in (FileSource(path), FileSource(packed)):
        found = list(reader_for(source.name).read(source, options))
        assert found[998] == Document(
            text="t998", entities=[Entity(start=0, end=1, text="t", label="X")]
        )
        assert texts(found[999:]) == [1000]
    path.write_bytes(path.read_bytes()[:-10])
    (bad,) = reader_for(str(path)).read(FileSource(path), options)
    assert isinstance(bad, BadRecord)
    assert bad.reason.startswith("damaged parquet data after 0 rows: ")


def test_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError) as caught:
        read("parquet", b"")
    assert caught.value.hint == 'pip install "lmtool[scale]"'


# ── compression ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
def test_members_join_and_other_tools_can_read_them(suffix: str) -> None:
    data = compress(b"one\n", suffix) + compress(b"", suffix) + compress(b"two\n", suffix)
    assert decompress(io.BytesIO(data), suffix, "a").read() == b"one\ntwo\n"
    other = {
        ".gz": gzip.decompress,
        ".xz": lzma.decompress,
        ".zst": lambda d: zstandard.open(io.BytesIO(d)).read(),
    }
    assert other[suffix](compress(b"one\n", suffix)) == b"one\n"
    assert compress(b"one\n", suffix) == compress(b"one\n", suffix)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
def test_cut_off_data_gives_its_lines_and_then_a_bad_record(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt{suffix}"
    lines = b"".join(b"line %d\n" % i for i in range(50_000))
    whole = compress(lines[:300], suffix) + compress(lines[300:], suffix)
    path.write_bytes(whole[:-40])
    *documents, bad = reader_for(str(path)).read(FileSource(path), ReadOptions())
    assert [d.text for d in documents if isinstance(d, Document)] == [
        f"line {i}" for i in range(len(documents))
    ]
    assert isinstance(bad, BadRecord)
    assert bad.line == len(documents) + 1
    assert bad.reason.startswith(f"{path}: damaged {suffix[1:]} data after ")


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz"])
@pytest.mark.parametrize("data", [b"", b"not compressed at all"])
def test_what_is_not_compressed_is_a_bad_record(suffix: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(data)
    assert texts(reader_for(str(path)).read(FileSource(path), ReadOptions())) == [1]


# ── look-ups ─────────────────────────────────────────────────────────────────────────────────


def test_formats_are_found_by_suffix_and_name() -> None:
    assert [reader_for(f"x/a.b{s}").name for c in READERS for s in c.suffixes[:1]] == [
        "jsonl", "txt", "csv", "tsv", "parquet", "conll", "brat",
    ]  # fmt: skip
    assert reader_for("A.CONLL.GZ").name == "conll"
    assert reader_for("a.log", "txt").name == "txt"
    assert [writer_for(f"a{s}").name for c in WRITERS for s in c.suffixes[:1]] == [
        "jsonl", "txt", "csv", "tsv", "conll", "html",
    ]  # fmt: skip
    assert writer_for().name == "jsonl"
    assert format_suffix("dir.gz/a") == ""


def test_unknown_formats_list_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"a\.doc: the suffix '\.doc' names no format") as caught:
        reader_for("a.doc")
    assert "conll (.conll .bio .iob .iob2)" in caught.value.hint
    with pytest.raises(UsageError, match="--format yaml: no such format"):
        writer_for(None, "yaml")


def test_tables_with_an_index_are_not_compressed_again() -> None:
    with pytest.raises(UsageError, match="cannot be written compressed"):
        writer_for("a.parquet.gz")
