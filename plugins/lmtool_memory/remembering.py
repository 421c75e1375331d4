"""Taking texts in: files become passages, passages get vectors, only what is new is computed."""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import os
import shlex
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, cast

import lmtool
from lmtool.errors import UsageError
from lmtool.streams import Prefixed

from .locking import alone
from .passages import Passage, cut_passages
from .showing import counted
from .store import New, Store, encode_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lmtool.inputs import Input

    from .masking import Masker, Masking

BATCH: Final = 256
"""Passages that are stored at once: what a kill can lose, and has to be computed again."""
CUTTING: Final = "1"
"""Changed whenever texts are cut in another way: then sources are read again."""
HELD: Final = 1 << 26
"""Bytes of stdin that are held in memory."""
log = logging.getLogger("lmtool")


@dataclass(slots=True)
class Report:
    """What was done: passages by their fate, sources, records that could not be read."""

    added: int = 0
    kept: int = 0
    removed: int = 0
    sources: int = 0
    unchanged: int = 0
    failed: int = 0

    def __str__(self) -> str:
        same = f", {self.unchanged:,} unchanged" if self.unchanged else ""
        failed = f", {counted(self.failed, 'record')} not read" if self.failed else ""
        return (
            f"{counted(self.sources, 'source')}{same}: {counted(self.added, 'passage')} added, "
            f"{self.kept:,} kept, {self.removed:,} gone{failed}"
        )


class Embedder:
    """Makes vectors with a model of embed; `ref` is the name or folder that it was loaded by."""

    def __init__(self, ref: str | None = None, device: str = "auto") -> None:
        from lmtool.models import load_encoder
        from lmtool.settings import settings

        self.model = load_encoder(ref, task_name="embed", device=device, threads=settings().threads)
        self.name = self.model.name
        is_folder = ref is not None and os.path.isdir(ref)
        self.ref = os.path.abspath(str(ref)) if is_folder else (ref or self.name.split()[0])
        self.language: str = self.model.encoder.encoding.language

    def __call__(self, texts: Sequence[str]) -> NDArray[Any]:
        """Return the vectors of texts, float32 (texts, size), of length 1, or 0 without words."""
        import numpy as np

        documents = (lmtool.Document(text=text) for text in texts)
        found = [document.layer("embedding") for document in self.model.pipe(documents)]
        return np.asarray(found, np.float32)

    def reads(self, text: str) -> bool:
        """Whether the model knows the script of a text: else its vector says nothing."""
        from lmtool.scripts import reads_script

        return reads_script(self.model.encoder.tokenizer, text)


def embedder_of(store: Store, device: str = "auto") -> Embedder:
    """Return the model that made the memory; UsageError where its name means another today."""
    embedder = Embedder(store.ref or None, device)
    if store.model and embedder.name != store.model:
        raise other_model(store, embedder)
    return embedder


def other_model(store: Store, embedder: Embedder) -> UsageError:
    """Return the error of a memory whose vectors are of another model."""
    return UsageError(
        f"{store.path}: a memory of the model {store.model!r}, and this is {embedder.name!r}",
        hint="vectors of two models do not compare: lmtool remember --model "
        f"{shlex.quote(embedder.ref)} computes them again from the texts that are stored",
    )


def renew(store: Store, embedder: Embedder, on_done: Callable[[int], None]) -> int:
    """Compute all vectors again, with another model; return their number.

    `on_done` sees how many are done. The old ones stay until all are there, then go at once.
    """
    with alone(store.path):
        ids = store.ids()
        rows, size = [], 0
        for start in range(0, len(ids), BATCH):
            texts = store.passages(ids[start : start + BATCH])
            vectors = embedder([texts[i].text for i in ids[start : start + BATCH]])
            rows.append(encode_vectors(vectors))
            size = vectors.shape[1]
            on_done(start + len(vectors))
        name, ref = (embedder.name, embedder.ref) if ids else ("", "")
        with store.writing():
            store.replace_vectors(name, ref, size, ids, b"".join(rows))
    return len(ids)


def remember(
    store: Store,
    inputs: Iterable[Input],
    load: Callable[[], Embedder],
    options: lmtool.ReadOptions,
    on_stored: Callable[[Report], None] = lambda report: None,
    masking: Masking | None = None,
) -> Report:
    """Add inputs to a memory; `on_stored` sees how far it is after each batch.

    The model is loaded, by `load`, when a source has changed. With `masking`, passages are masked
    before anything is stored; a source that is stored unmasked is then taken out of the file.

    What is known of a source already, by the hash of the passage, is not computed again, and
    what its text does not hold any more is forgotten. A batch is stored whole or not at all.
    """
    load = functools.cache(load)
    batch = _Batch(store, load, on_stored)
    seen: set[str] = set()
    was_open = False
    with alone(store.path):
        store.read_model()  # while this waited, others may have forgotten all
        for item in inputs:
            name = source_name(item.source.name)
            if name in seen:
                continue
            seen.add(name)
            batch.report.sources += 1
            digest = _digest(item, options, masking)
            if digest and store.source_hash(name) == digest:
                batch.report.unchanged += 1
                continue
            language = load().language
            has_lines = options.whole_file and item.reader.name == "txt"
            masker = masking.load() if masking else None
            was_open = was_open or (masker is not None and store.is_open(name))
            with store.writing():
                source, generation = store.begin_source(
                    name, has_lines=has_lines, is_masked=masker is not None
                )
            n_failed = batch.report.failed
            for passage in _passages(item, options, language, batch.report, masker):
                key = hashlib.sha256(passage.text.encode("utf-8", "surrogatepass")).digest()[:16]
                batch.add(New(source, generation, key, passage))
            if n_failed == batch.report.failed:
                batch.end(_End(source, generation, digest, masker is not None))
            elif generation > 1:
                stays = "stays, unmasked" if masker and store.is_open(name) else "stays"
                log.warning("%s: not read whole, so what was remembered of it %s", name, stays)
        batch.flush()
        if was_open:
            store.shrink()
    return batch.report


class _End(NamedTuple):
    """A source that was read whole, whose earlier generations can go."""

    source: int
    generation: int
    digest: bytes | None
    is_masked: bool


class _Batch:
    """Passages that wait to be stored, of several sources where these are short."""

    def __init__(
        self, store: Store, load: Callable[[], Embedder], on_stored: Callable[[Report], None]
    ) -> None:
        self.report = Report()
        self._store, self._load, self._on_stored = store, load, on_stored
        self._waiting: list[New] = []
        self._ends: list[_End] = []

    def add(self, new: New) -> None:
        self._waiting.append(new)
        if len(self._waiting) >= BATCH:
            self.flush()

    def end(self, end: _End) -> None:
        self._ends.append(end)
        if len(self._ends) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Store what waits."""
        if not self._waiting and not self._ends:
            return
        known = [new for new in self._waiting if new.generation > 1]
        kept: set[int] = set()
        if known:
            with self._store.writing():
                kept = {id(new) for new in known if self._store.keep(new)}
        fresh = [new for new in self._waiting if id(new) not in kept]
        vectors = self._load()([new.passage.text for new in fresh]) if fresh else None
        with self._store.writing():
            if vectors is not None:
                if not self._store.model:
                    embedder = self._load()
                    self._store.set_model(embedder.name, embedder.ref, vectors.shape[1])
                self._store.add(fresh, vectors)
            for source, generation, digest, is_masked in self._ends:
                self.report.removed += self._store.end_source(
                    source, generation, digest, is_masked=is_masked
                )
        self.report.added += len(fresh)
        self.report.kept += len(kept)
        self._waiting, self._ends = [], []
        self._on_stored(self.report)


def _passages(
    item: Input,
    options: lmtool.ReadOptions,
    language: str,
    report: Report,
    masker: Masker | None,
) -> Iterator[Passage]:
    """Yield the passages of all records; those that cannot be read are said in the log."""
    texts = _texts(item, options, language, report)
    return chain.from_iterable(texts) if masker is None else masker(map(list, texts))


def _texts(
    item: Input, options: lmtool.ReadOptions, language: str, report: Report
) -> Iterator[Iterator[Passage]]:
    """Yield the passages of each record."""
    reader = item.reader
    hint = ""
    for record in reader.read(item.source, options):
        if isinstance(record, lmtool.BadRecord):
            report.failed += 1
            new_hint = "" if record.hint == hint else record.hint
            log.warning("%s", lmtool.DataError(record.message, new_hint))
            hint = record.hint
            continue
        is_file = options.whole_file and reader.name == "txt"
        yield cut_passages(record.text, language, None if is_file else reader.line or None)


def _digest(item: Input, options: lmtool.ReadOptions, masking: Masking | None) -> bytes | None:
    """Return a hash of a source and of how it is read; None where it cannot be read."""
    digest = hashlib.sha256(repr((CUTTING, item.reader.name, options)).encode())
    if masking:
        digest.update(masking.identity.encode("utf-8", "surrogatepass"))
    try:
        with item.source.open() as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except (lmtool.DataError, OSError):
        return None  # reading it says why
    return digest.digest()


class Piped:
    """What was piped in, as a source that can be read twice; its name follows from its content.

    Up to HELD bytes are held in memory, more in a temporary file that goes with it.
    """

    def __init__(self, source: lmtool.Source) -> None:
        """Read a source to its end."""
        self._file = cast(BinaryIO, tempfile.SpooledTemporaryFile(HELD))  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        digest = hashlib.sha256()
        with source.open() as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                self._file.write(block)
        self.name = f"<stdin {digest.hexdigest()[:8]}>"
        self.size: int | None = self._file.tell()
        self.position = 0

    def open(self) -> BinaryIO:
        """Open from the start."""
        self._file.seek(0)
        return io.BufferedReader(Prefixed(b"", self._file))  # whose end leaves the file open


def source_name(name: str) -> str:
    """Return the name of a source in the memory: its whole path, so that it holds anywhere."""
    return name if name.startswith("<") else os.path.abspath(name)


# ── inputs ───────────────────────────────────────────────────────────────────────────────────


def inputs_of(
    files: Sequence[str], input_format: str | None = None, stdin: BinaryIO | None = None
) -> Iterator[Input]:
    """Yield the inputs that arguments mean, as all commands read them; stdin is held."""
    from lmtool.inputs import Input, expand_inputs
    from lmtool.streams import StdinSource

    for item in expand_inputs(files, input_format, stdin):
        is_stdin = isinstance(item.source, StdinSource)
        yield Input(Piped(item.source), item.reader) if is_stdin else item
