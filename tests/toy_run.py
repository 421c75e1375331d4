"""A toy model, and a batch run with it that can be killed: `python toy_run.py OUTPUT INPUT…`."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lmtool.documents import Document, Label
from lmtool.errors import DataError
from lmtool.formats import writer_for
from lmtool.inputs import expand_inputs
from lmtool.runs import RunOptions, run_files


class Toy:
    """Counts letters; cannot do a text with "!"; reads one document ahead, as a model may."""

    def __init__(self, chunk_size: int = 4, seconds: float = 0.0) -> None:
        self.chunk_size = chunk_size
        self.seconds = seconds
        self.n_calls = 0

    def chunks(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        chunk: list[Document] = []
        for document in documents:
            if len(chunk) == self.chunk_size:
                yield chunk
                chunk = []
            chunk.append(document)
        if chunk:
            yield chunk

    def annotate(self, documents: Sequence[Document]) -> list[Document]:
        self.n_calls += 1
        time.sleep(self.seconds)
        for document in documents:
            if "!" in document.text:
                raise DataError("no exclamations", hint="speak softly")
        label = {d.text: [Label(str(len(d.text)))] for d in documents}
        return [d.with_layers({"labels": {"length": label[d.text]}}) for d in documents]


def main(output: str, *files: str) -> None:
    """Run, going on where an earlier run was killed."""
    inputs = expand_inputs(files)
    options = RunOptions(writer=writer_for(output), resume=True)
    for _ in run_files(Toy(seconds=0.002), inputs, Path(output), options):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
