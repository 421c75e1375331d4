"""Plugins of third parties, as sources for the fixture `install`."""

from __future__ import annotations

from collections.abc import Callable

Install = Callable[..., str]

COMMAND = """
    import lmtool

    @lmtool.hookimpl
    def lmtool_add_commands(app):
        @app.command("greet")
        def greet(name: str = "you"):
            print(f"hello {name}")
"""

GROUP = """
    import lmtool

    @lmtool.hookimpl
    def lmtool_add_commands(app):
        @app.command("one")
        def one():
            print("this is one")

        @app.command("two")
        def two():
            raise lmtool.DataError("file.txt:3: no good", hint="mend it")
"""

TASK = """
    import lmtool
    from dataclasses import dataclass
    from typing import Annotated, Literal

    @dataclass(frozen=True, slots=True)
    class Options:
        loud: Annotated[bool, lmtool.Opt("Shout")] = False
        words: Annotated[tuple[str, ...], lmtool.Opt("Only these words")] = ()
        n_best: Annotated[int, lmtool.Opt("How many", minimum=1, maximum=9)] = 3
        mode: Annotated[Literal["fast", "good"], lmtool.Opt("How to do it")] = "good"
        where: Annotated[str | None, lmtool.Opt("A place")] = None

    class Tag(lmtool.EncoderTask):
        name = "tag"
        summary = "Tag what a test wants tagged"
        layers = ("tags",)
        main_metric = "f1"
        Options = Options

        @classmethod
        def collect_labels(cls, documents):
            return {{}}

        def build_head(self, hidden_size):
            raise NotImplementedError

        def targets(self, window, document):
            return {{}}

        def infer(self, graphs, hidden, windows, options):
            {infer}

        def merge(self, document, parts, options):
            return {{"tags": [str(options)]}}

        def score(self, gold, predicted):
            return {{"f1": 0.0}}

    @lmtool.hookimpl
    def lmtool_register_tasks():
        return [Tag]
"""
WORKING_TASK = TASK.format(infer="return [None] * len(windows)")
FAILING_TASK = TASK.format(infer="return [1 / 0]")
