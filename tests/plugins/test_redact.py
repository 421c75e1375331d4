"""The command redact and its model: what is masked, what stays, and the way back."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import lmtool
from lmtool import Document
from lmtool.documentmodels import DocumentModel
from lmtool.testing import run_cli

TEXT = "Tim Cook met Angela Merkel in Berlin . Cook met a@b.org"
MASKED = "[PER-1] met [PER-2] in [LOC-1] . [PER-1] met [EMAIL-1]"


def redact(bundle: Path | None, **options: Any) -> DocumentModel:
    model = lmtool.load(bundle, task_name="redact", device="cpu", **options)
    assert isinstance(model, DocumentModel)
    return model


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_names_and_identifiers_are_masked(tiny_bundle: Path) -> None:
    document = redact(tiny_bundle)(TEXT)
    assert document.text == MASKED
    spans = document.layer("redactions")
    assert [span["kind"] for span in spans] == ["PER", "PER", "LOC", "PER", "EMAIL"]
    assert all(document.text[s["start"] : s["end"]] == s["text"] for s in spans)
    assert document.entities is None
    assert document.coverage is not None
    assert document.coverage.read == len(TEXT)


def test_one_mask_across_documents(tiny_bundle: Path) -> None:
    model = redact(tiny_bundle)
    texts = ["Angela met Tim", "Tim  Cook met Tim", "Tim Cook met A@B.org", "a@b.org"]
    assert [document.text for document in model.pipe(texts)] == [
        "[PER-1] met [PER-2]",
        "[PER-3] met [PER-3]",
        "[PER-3] met [EMAIL-1]",
        "[EMAIL-1]",
    ]


def found(text: str, *names: tuple[str, str]) -> Document:
    """Return a document in which these names were found by somebody, each once and in order."""
    entities, at = [], 0
    for name, label in names:
        at = text.index(name, at)
        entities.append(lmtool.Entity(start=at, end=at + len(name), text=name, label=label))
        at += len(name)
    return Document(text=text, entities=entities)


def test_one_name_has_one_kind(tiny_bundle: Path, tmp_path: Path) -> None:
    """In a document what most of its mentions have, in a run and with a key what it had first."""
    key = tmp_path / "key.json"
    at_first = found(
        "Longbourn saw Mr. Longbourn , LONGBOURN and Longbourn's Hall",
        ("Longbourn", "ORG"), ("Longbourn", "PER"), ("LONGBOURN", "LOC"), ("Longbourn's", "LOC"),
    )  # fmt: skip
    later = found("Longbourn and Hertford", ("Longbourn", "ORG"), ("Hertford", "ORG"))
    masks = re.compile(r"\[[A-Z]+-[0-9]+")
    for options in ({}, {"key": key}):
        model = redact(tiny_bundle, **options)
        first, second = model.annotate([at_first, later])
        assert set(masks.findall(first.text)) == {"[LOC-1"}
        assert {span["kind"] for span in first.layer("redactions")} == {"LOC"}
        assert masks.findall(second.text) == ["[LOC-1", "[ORG-1"]
    again = redact(tiny_bundle, key=key)(later)
    assert masks.findall(again.text) == ["[LOC-1", "[ORG-1"]
    alone = redact(tiny_bundle, mask="<{kind}>").annotate([at_first, later])
    assert alone[1].text == "<ORG> and <ORG>"  # the same in every run


def test_a_title_tells_people_apart(tiny_bundle: Path) -> None:
    """In one document and across documents; without a title it is whoever is there alone."""
    texts = ("Mr. Smith met Miss Smith", "Miss Smith left", "Smith saw Mr. Smith", "Smith")
    model = redact(tiny_bundle)
    assert [model(found(text, ("Smith", "PER"))).text for text in texts] == [
        "Mr. [PER-1] met Miss [PER-2]",
        "Miss [PER-2] left",
        "[PER-1] saw Mr. [PER-1]",
        "[PER-3]",
    ]


def test_a_table_has_the_masked_texts(tiny_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "cust.csv"
    file.write_text("id,text,pair\n7,Tim Cook met a@b.org,Angela\n8,nobody,\n", "utf-8")
    result = run_cli("redact", file, "-m", tiny_bundle, "-f", "csv", "-q")
    assert result.exit_code == 0
    assert list(csv.reader(result.stdout.splitlines()))[1:] == [
        ["7", "text", "", "", "", "[PER-1] met [EMAIL-1]", ""],
        ["7", "pair", "", "", "", "[PER-2]", ""],
        ["7", "redactions", "PER", "0", "7", "[PER-1]", ""],
        ["7", "redactions", "EMAIL", "12", "21", "[EMAIL-1]", ""],
        ["8", "text", "", "", "", "nobody", ""],
        ["8", "pair", "", "", "", "", ""],
    ]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"only": ("per", "EMAIL")}, MASKED.replace("[LOC-1]", "Berlin")),
        ({"keep": ("PER", "LOC")}, TEXT.replace("a@b.org", "[EMAIL-1]")),
        ({"only": ("EMAIL",)}, TEXT.replace("a@b.org", "[EMAIL-1]")),
        ({"only": ("PER",), "keep": ("PER",)}, TEXT),
        ({"mask": "█"}, "█ met █ in █ . █ met █"),
        ({"mask": "<{kind}>"}, "<PER> met <PER> in <LOC> . <PER> met <EMAIL>"),
        ({"threshold": 1.0}, TEXT.replace("a@b.org", "[EMAIL-1]")),
    ],
)
def test_options(options: dict[str, Any], wanted: str, tiny_bundle: Path) -> None:
    assert redact(tiny_bundle, **options)(TEXT).text == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ("PRE",)}, "--only: unknown kind 'PRE'"),
        ({"keep": ("x",)}, "--keep: unknown kind 'x'"),
        ({"restore": True}, "--restore without a key"),
        ({"restore": True, "key": "nowhere.json"}, "no such file"),
        ({"mask": "<{kind}>", "key": "key.json"}, "cannot be undone by a key"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str, tiny_bundle: Path) -> None:
    with pytest.raises(lmtool.UsageError, match=message):
        redact(tiny_bundle, **options)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "Tim Cook met [PER-1] and [PER-1.2] in [[LOC-1]] . Cook",
        "[PER-Tim-1] [PER-1Tim] [Tim][PER-1][EMAIL-1a@b.org]",
        "\ufeffTim\r\nCook\t\x00 a@b.org\u2028李明",
        "",
        "[" * 50 + "PER-1" + "]" * 50,
    ],
)
def test_there_and_back(text: str, tiny_bundle: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    masked = redact(tiny_bundle, key=key)(Document(text=text, pair=text[::-1]))
    for hidden in ("a@b.org", "Tim Cook", "Berlin"):
        assert hidden not in masked.text
    (restored,) = redact(tiny_bundle, key=key, restore=True).annotate([masked])
    assert (restored.text, restored.pair) == (text, text[::-1])
    assert restored.layer("redactions") is None


def test_layers_that_do_not_fit_any_more_are_left_out(tiny_bundle: Path, tmp_path: Path) -> None:
    record = {
        "text": "Zoe met Tim",
        "entities": [{"start": 0, "end": 3, "label": "PER"}],
        "frames": [{"predicate": {"start": 4, "end": 7}, "sense": None, "arguments": []}],
        "labels": {"topic": [{"label": "news"}]},
        "shouts": [{"start": 0, "end": 3, "text": "Zoe", "label": "x"}],
        "file": "tim.txt",
        "n": 3,
    }
    result = run_cli("redact", "-m", tiny_bundle, "-", stdin=json.dumps(record))
    assert result.exit_code == 0
    (found,) = records(result.stdout)
    assert found["text"] == "[PER-1] met [PER-2]"  # what the record says is masked, too
    assert set(found) == {"text", "labels", "file", "n", "redactions", "coverage"}
    assert "Zoe" not in result.stdout
    for name in ("entities", "frames", "shouts"):
        assert result.stderr.count(f"the layer {name} is left out") == 1
    assert "the field file has text and is passed on as it is; --fields file" in result.stderr


def test_fields_are_masked_and_restored(tiny_bundle: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    record = {
        "id": "Tim",
        "text": "met Tim Cook",
        "pair": "Cook",
        "title": "Tim Cook in Berlin",
        "messages": [{"role": "user", "content": "Angela met a@b.org"}],
    }
    flags = ["-m", tiny_bundle, "--fields", "title,messages,id,none", "--key", key]
    result = run_cli("redact", *flags, "-", stdin=json.dumps(record))
    said = "--fields none: a record has no such field (text, title, messages)"
    assert (result.exit_code, result.stderr) == (0, f"warning: {said}\n")
    (found,) = records(result.stdout)
    assert found["title"] == "[PER-1] in [LOC-1]"
    assert found["pair"] == "[PER-1.2]"
    assert found["messages"] == [{"role": "user", "content": "[PER-2] met [EMAIL-1]"}]
    assert found["id"] == "[PER-1.3]"
    back = run_cli("redact", "--restore", *flags, "-", stdin=result.stdout)
    assert records(back.stdout) == [record]


def test_the_way_back_in_the_shell(tiny_bundle: Path, tmp_path: Path) -> None:
    text = f"{TEXT}\n\tTim [PER-1] \nnothing\n"
    file, key, out = (tmp_path / name for name in ("a.txt", "key.json", "out.txt"))
    file.write_text(text, "utf-8")
    flags = ["-m", tiny_bundle, "--key", key, "--no-whole-file", "--format", "txt", "-q"]
    assert run_cli("redact", file, *flags, "-o", out).exit_code == 0
    assert "Tim" not in out.read_text("utf-8")
    assert run_cli("redact", "--restore", out, *flags).stdout == text


FILE = "\ufeffHello, Tim Cook met\r\n\r\n   \n\nAngela\tin Berlin.\n\nCook: a@b.org"
"""With a byte order mark, blank lines, line ends of both kinds, and none at its end."""


@pytest.mark.parametrize("text", [FILE, FILE + "\n", FILE + "\r\n\r\n", "Tim", "\n", ""])
def test_a_text_file_comes_back_byte_for_byte(text: str, tiny_bundle: Path, tmp_path: Path) -> None:
    file, key, out = tmp_path / "mail.md", tmp_path / "key.json", tmp_path / "masked.md"
    file.write_bytes(text.encode())
    flags = ["-m", tiny_bundle, "--key", key, "--input-format", "raw", "-f", "raw", "-q"]
    assert run_cli("redact", file, *flags, "-o", out).exit_code == 0
    masked = out.read_bytes().decode()
    assert masked.count("\n") == text.count("\n")
    assert not re.search("Tim|Cook|Angela|Berlin|a@b", masked)
    for name in ("Cook", "Tim Cook"):  # the whole file is one document
        assert name not in text or "[PER-1" in masked
    back = run_cli("redact", "--restore", out, *flags, "-o", tmp_path / "back")
    assert back.exit_code == 0, back.stderr
    assert (tmp_path / "back").read_bytes() == text.encode()


def test_a_field_that_is_not_there_is_named(tiny_bundle: Path) -> None:
    record = b'{"text": "Tim", "subject": "Tim"}\n'
    for flags in (["--fields", "subjct"], ["--fields", "subjct,text2", "-q"]):
        result = run_cli("redact", "-", "-m", tiny_bundle, *flags, stdin=record * 2)
        assert result.exit_code == 0
        said = "--fields subjct: a record has no such field (text, subject)"
        assert result.stderr.count(said) == 1


def test_a_placeholder_of_no_meaning_is_refused(tiny_bundle: Path) -> None:
    result = run_cli("redact", "-m", tiny_bundle, "--mask", "[{knd}-{n}]", "--text", "Tim")
    assert result.exit_code == 2
    assert "--mask [{knd}-{n}]: {knd} stands for nothing" in result.stderr


def test_a_whole_text_stays_whole(tiny_bundle: Path, tmp_path: Path) -> None:
    """A file is read whole where nobody says how, and a .txt file holds it masked, not the view."""
    file, out = tmp_path / "mail.txt", tmp_path / "out.txt"
    file.write_text("Tim Cook\n\nmet Angela\n\n", "utf-8")
    flags = ["redact", file, "-m", tiny_bundle, "-q"]
    for name in ("txt", "raw"):
        assert "the field id" not in run_cli(*flags, "-f", name).stderr
        assert run_cli(*flags, "-f", name).stdout == "[PER-1]\n\nmet [PER-2]\n\n"
    assert run_cli(*flags, "-o", out).exit_code == 0
    assert out.read_text("utf-8") == "[PER-1]\n\nmet [PER-2]\n\n"
    lines = run_cli(*flags, "-f", "txt", "--no-whole-file").stdout
    assert lines == "[PER-1]\nmet [PER-2]\n"


def test_a_file_in_another_encoding_says_so(tiny_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "mail.txt"
    file.write_bytes("Tim in Besançon".encode("latin-1"))
    flags = ["redact", file, "-m", tiny_bundle, "--input-format", "raw", "-f", "raw", "-q"]
    assert "--encoding" in run_cli(*flags).stderr
    assert run_cli(*flags, "--encoding", "latin-1").stdout.startswith("[PER-1] in ")


def test_a_mask_that_the_key_does_not_have(tiny_bundle: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    redact(tiny_bundle, key=key)("Tim")
    flags = ["-m", tiny_bundle, "--key", key, "--restore", "-f", "txt"]
    result = run_cli("redact", *flags, "--text", "[PER-1] [PER-9] [PER-8]")
    assert result.stdout == "Tim [PER-9] [PER-8]\n"
    assert result.stderr.count("is not in the key") == 1


def test_resuming_needs_a_key(tiny_bundle: Path, tmp_path: Path) -> None:
    """Without one, the numbers of the first half are lost: another name would get them again."""
    file, out = tmp_path / "a.txt", tmp_path / "out.jsonl"
    file.write_text("Tim\n", "utf-8")
    run = ["redact", "-m", tiny_bundle, file, "-o", out, "-q"]
    assert run_cli(*run).exit_code == 0
    out.rename(tmp_path / "out.jsonl.partial")
    (tmp_path / "out.jsonl.progress").write_text("{}", "utf-8")
    result = run_cli(*run, "--resume")
    assert result.exit_code == 2
    assert "numbers of this run alone" in result.stderr
    assert "--key FILE keeps them" in result.stderr


MASK = re.compile(r"\[EMAIL-[0-9.]+\]")


def test_a_mask_is_in_the_key_before_it_is_in_the_output(tiny_bundle: Path, tmp_path: Path) -> None:
    file, out, key = (tmp_path / name for name in ("a.txt", "out.jsonl", "key.json"))
    file.write_text("".join(f"Tim met u{n}@b.org\n" for n in range(2_500)), "utf-8")
    flags = ["-m", tiny_bundle, file, "-o", out, "--key", key, "--only", "EMAIL", "--resume", "-q"]
    flags.append("--no-whole-file")
    command = [sys.executable, "-m", "lmtool.cli.main", "redact", *map(str, flags)]
    partial = tmp_path / "out.jsonl.partial"
    process = subprocess.Popen(command, env={**os.environ, "LMTOOL_PLUGINS": ""})
    while process.poll() is None and not (partial.exists() and _size(partial)):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    known = set(json.loads(key.read_bytes())["masks"])
    there = partial if partial.exists() else out
    written = set(MASK.findall(there.read_text("utf-8", "ignore")))
    assert written
    assert written <= known
    assert subprocess.run(command, check=False).returncode == 0
    masks = [record["text"].split()[-1] for record in records(out.read_text("utf-8"))]
    assert masks == [f"[EMAIL-{n}]" for n in range(1, 2_501)]
    (restored, *_) = redact(tiny_bundle, key=key, restore=True).pipe([f"x {masks[-1]}"])
    assert restored.text == "x u2499@b.org"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_what_needs_no_model_loads_none(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the engine is imported, and a model that is not there is not missed."""
    monkeypatch.setenv("LMTOOL_MODEL_EXTRACT", "nowhere")
    key = tmp_path / "key.json"
    with pytest.raises(lmtool.BundleError, match="nowhere"):
        redact(None)
    for options in ({"only": ("email", "PHONE")}, {"keep": ("PER", "org", "LOC")}):
        assert redact(None, **options)(TEXT).text == TEXT.replace("a@b.org", "[EMAIL-1]")
    redact(None, key=key, only=("EMAIL",))(TEXT)
    code = (
        "import sys; from lmtool.cli.main import run; code = run(sys.argv[1:]); "
        "sys.exit(code or 'onnxruntime' in sys.modules)"
    )
    for flags in (["--only", "EMAIL"], ["--restore", "--key", str(key)]):
        command = [sys.executable, "-c", code, "redact", *flags, "--text", "[EMAIL-1]", "-f", "txt"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert done.stdout == "a@b.org\n"


def test_a_script_that_the_model_does_not_know_is_said() -> None:
    chinese = "李明和王芳昨天在北京大学见面，讨论了新的合作项目。"
    lines = [chinese, "Ada Lovelace lived in London. 李明", chinese, "Zoë and Ænna"]
    for flags, wanted in (([], 1), (["--only", "EMAIL"], 0)):
        result = run_cli("redact", *flags, "-", "--no-whole-file", stdin="\n".join(lines))
        assert result.exit_code == 0
        said = "the model does not know the script of this text"
        assert result.stderr.count(said) == result.stderr.count("warning") == wanted
    assert "warning" not in run_cli("redact", "--text", lines[1]).stderr


def test_a_model_of_another_task_is_refused() -> None:
    with pytest.raises(lmtool.UsageError, match="not for 'extract'"):
        lmtool.load("base-en", task_name="redact")


def test_it_is_not_trained(tiny_bundle: Path) -> None:
    with pytest.raises(lmtool.UsageError, match="no model of its own"):
        redact(tiny_bundle).task.collect_labels([])
