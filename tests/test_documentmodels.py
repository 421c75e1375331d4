"""Models that a task makes itself, and what every model of documents has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from cli_kit import Install

import lmtool
from lmtool.documentmodels import DocumentModel
from lmtool.testing import run_cli

OWN = """
    import lmtool
    from dataclasses import dataclass
    from typing import Annotated
    from lmtool.documentmodels import DocumentModel

    @dataclass(frozen=True, slots=True)
    class Options:
        loud: Annotated[bool, lmtool.Opt("Shout")] = False

    class Shouter(DocumentModel):
        def annotate(self, documents):
            return [
                lmtool.DataError("no text") if not d.text else lmtool.Document(text=d.text.upper())
                for d in documents
            ]

    class Echo(lmtool.EncoderTask):
        name = "echo"
        summary = "Say it again"
        layers = ()
        main_metric = "f1"
        Options = Options

        @classmethod
        def open(cls, ref, options, **told):
            assert told == {"device": "cpu", "threads": 2, "batch_tokens": 1024}, told
            if not options.loud:
                return None
            return Shouter(cls({}), name=f"shouter {ref}", options=options)

        @classmethod
        def collect_labels(cls, documents): return {}
        def build_head(self, hidden_size): raise NotImplementedError
        def targets(self, window, document): return {}
        def infer(self, graphs, hidden, windows, options): raise NotImplementedError
        def merge(self, document, parts, options): return {}
        def score(self, gold, predicted): return {"f1": 0.0}

    @lmtool.hookimpl
    def lmtool_register_tasks():
        return [Echo]
"""


def test_a_task_may_make_its_model_itself(
    home: Any, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmtool.plugins import registry

    monkeypatch.delenv("LMTOOL_PLUGINS", raising=False)
    install("echo", OWN)
    registry.cache_clear()
    try:
        model = lmtool.load("x", task_name="echo", device="cpu", threads=2, loud=True)
        assert isinstance(model, DocumentModel)
        assert (model.name, model("ada").text) == ("shouter x", "ADA")
        with pytest.raises(lmtool.DataError, match="no text"):
            list(model.pipe(["a", ""]))
        with pytest.raises(lmtool.UsageError, match="a single one"):
            list(model.pipe("ada"))
        with pytest.raises(lmtool.BundleError, match="'x'"):  # for these options it makes none
            lmtool.load("x", task_name="echo", device="cpu", threads=2)
        flags = ["--loud", "--device", "cpu", "--threads", "2", "-f", "txt"]
        lines = "".join(f'{{"text": "{text}"}}\n' for text in ("ada", "", "bob"))
        done = run_cli("echo", *flags, "-", stdin=lines)
        assert (done.stdout, done.exit_code) == ("ADA\nBOB\n", 3)
    finally:
        registry.cache_clear()


class Counter(DocumentModel):
    """Finds nothing."""

    def annotate(self, documents: Sequence[lmtool.Document]) -> list[lmtool.Document]:
        """Return them."""
        return list(documents)


def test_chunks_hold_so_many_characters_or_documents() -> None:
    from lmtool_redact.task import RedactTask

    model = Counter(RedactTask({}), name="counter")
    long = [lmtool.Document(text="x" * 400_000) for _ in range(4)]
    assert [len(chunk) for chunk in model.chunks(long)] == [3, 1]
    short = [lmtool.Document(text="x") for _ in range(1500)]
    assert [len(chunk) for chunk in model.chunks(short)] == [1024, 476]
