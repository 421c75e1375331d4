"""The documents of a run: read from files, with a dev part split off where none is given."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from ..bundles import sha256
from ..documents import Document, encode_document
from ..errors import DataError, UsageError
from ..inputs import Check, FileSource, expand_inputs, read_input
from ..sources import BadRecord, ReadOptions
from .config import CONFIG_FILE, TaskConfig, read_config

T = TypeVar("T")


class DataSettings(Protocol):
    """What a configuration says about the data of a run."""

    @property
    def entries(self) -> tuple[TaskConfig, ...]:
        """The files of each task."""

    @property
    def dev_share(self) -> float:
        """Share of the documents to evaluate on, where no files are named for it."""

    @property
    def seed(self) -> int:
        """Decides which."""


@dataclass(frozen=True, slots=True)
class TaskData:
    """The documents of one table of the configuration: to train and to evaluate on."""

    entry: TaskConfig
    train: list[Document]
    dev: list[Document]


@dataclass(frozen=True, slots=True)
class Data:
    """The documents to train and to evaluate on, what could not be read, and the files."""

    parts: list[TaskData]
    bad: list[BadRecord]
    hashes: dict[str, str]
    """sha256 by file name."""
    places: dict[int, str]
    """Where each document stands, "file:line", by its id()."""

    def refuse_bad(self) -> None:
        """Raise DataError when a record could not be read."""
        if self.bad:
            first = self.bad[0]
            more = f" (and {len(self.bad) - 1} more)" if len(self.bad) > 1 else ""
            raise DataError(
                f"{first.message}{more}",
                hint=first.hint or "mend the records; lmtool data check lists them",
            )

    def collect(self, work: Callable[[Sequence[Document]], T], documents: Sequence[Document]) -> T:
        """Return what `work` makes of documents.

        Where that is a DataError, it is raised with the place of the first document that brings
        one, looked for by halving.
        """
        try:
            return work(documents)
        except DataError:
            if not documents:
                raise

        def error_of(n_documents: int) -> DataError | None:
            try:
                work(documents[:n_documents])
            except DataError as error:
                return error
            return None

        n = bisect_left(range(len(documents)), True, key=lambda n: error_of(n + 1) is not None)
        error = error_of(n + 1)
        assert error is not None
        place = self.places[id(documents[n])]
        raise DataError(f"{place}: {error.message}", error.hint)


def read_data(config: DataSettings, check: Check | None = None) -> Data:
    """Read the files of a configuration; without dev files, split `dev_share` off.

    A document that `check` refuses is a bad record. UsageError for a file that is not there or
    has no known format.
    """
    if any("-" in (*entry.data, *entry.dev) for entry in config.entries):
        raise UsageError("training data cannot come from stdin", hint="write it to a file")
    bad: list[BadRecord] = []
    paths: list[Path] = []
    places: dict[int, str] = {}
    parts = []
    for entry in config.entries:
        train = list(_read(entry.data, bad, paths, places, check))
        dev = list(_read(entry.dev, bad, paths, places, check))
        if not entry.dev:
            train, dev = split(train, config.dev_share, config.seed)
        parts.append(TaskData(entry, train, dev))
    return Data(parts, bad, _hashes(paths), places)


def split(
    documents: Sequence[Document], share: float, seed: int = 0
) -> tuple[list[Document], list[Document]]:
    """Split a share of the documents off; documents of one text stay together.

    The choice depends on the texts and the seed, not on their order. A share above 0 gives at
    least one document, and leaves at least one. Of a document without a text (a dialogue has
    messages in its place) all fields count.
    """
    if share <= 0:
        return list(documents), []

    def place(text: str) -> bytes:
        return hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).digest()

    keys = [d.text or encode_document(d).decode("utf-8", "surrogatepass") for d in documents]
    texts = sorted(set(keys), key=place)
    chosen = set(texts[: min(math.ceil(share * len(texts)), len(texts) - 1)])
    return (
        [document for document, key in zip(documents, keys, strict=True) if key not in chosen],
        [document for document, key in zip(documents, keys, strict=True) if key in chosen],
    )


def files_trained_on(checkpoint: Path, files: Sequence[str]) -> list[str]:
    """Return those of the files whose contents the run of this checkpoint was trained on.

    [] where the run's config.toml is gone: a checkpoint lists the sha256 of all files of its run,
    those that it was evaluated on among them.
    """
    config = checkpoint.parent / CONFIG_FILE
    record = checkpoint / "checkpoint.json"
    if not (config.is_file() and record.is_file()):
        return []
    hashes = msgspec.json.decode(record.read_bytes(), type=dict[str, Any]).get("data", {})
    entries = read_config(config).entries
    paths = [path for entry in entries for path in _paths(entry.data)]
    trained = {hashes.get(str(path), hashes.get(path.name)) for path in paths}
    return [str(path) for path in _paths(files) if path.is_file() and sha256(path) in trained]


def _paths(files: Sequence[str]) -> list[Path]:
    """Return the files that names mean, as far as they are still there, and the names else."""
    found = []
    for name in files:
        try:
            sources = [item.source for item in expand_inputs([name])]
        except UsageError:
            found.append(Path(name))
        else:
            found += [Path(source.name) for source in sources if isinstance(source, FileSource)]
    return found


def _read(
    files: Sequence[str],
    bad: list[BadRecord],
    paths: list[Path],
    places: dict[int, str],
    check: Check | None,
) -> Iterator[Document]:
    """Yield the documents of the files; keep bad records, paths and the documents' places."""
    for item in expand_inputs(files):
        for record in read_input(item, ReadOptions(), check):
            if isinstance(record, Document):
                line = item.reader.line
                places[id(record)] = f"{item.source.name}:{line}" if line else item.source.name
                yield record
            else:
                bad.append(record)
        if isinstance(item.source, FileSource):
            paths.append(Path(item.source.name))


def _hashes(paths: Sequence[Path]) -> dict[str, str]:
    """Return the sha256 of files by name, by the whole path where two have one name."""
    n_named = Counter(path.name for path in set(paths))
    return {str(p) if n_named[p.name] > 1 else p.name: sha256(p) for p in paths}
