"""A batch run: inputs through a model to an output, chunk by chunk, in constant memory.

    records ─Feed→ documents ─model.chunks→ chunk ─model.annotate→ documents ─Output.commit→ files

Bad records travel beside the documents, so that every chunk ends at a known record of the
input: where a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec

from .documents import Document
from .errors import DataError, LmtoolError, PluginError, UsageError
from .inputs import Input, StdinSource
from .journal import State
from .outputs import Output, open_output
from .sources import BadRecord, PathWriter, ReadOptions, Writer

MAX_BAD_IN_A_ROW: Final = 1000
"""How many bad records are held in memory before the chunk they follow is closed."""

RAW_CHARACTERS: Final = 200

log = logging.getLogger("lmtool")
_Out = TypeVar("_Out")
_Item = tuple[int, Document]
"""A document of a chunk, with the index of its record in the chunk."""


class Annotator(Protocol):
    """What a run needs of a model."""

    def chunks(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Cut a stream into chunks; each depends only on the documents from its first one on."""

    def annotate(self, documents: Sequence[Document]) -> Sequence[Document | DataError]:
        """Return the documents of a chunk with their layers; DataError if one cannot be done.

        A model that knows which one that is returns the DataError in its place: then the others
        need not be done again.
        """


@runtime_checkable
class NumberedAnnotator(Annotator, Protocol):
    """A model that may draw by chance: what it draws depends on the place in the run."""

    def annotate_from(
        self, number: int, documents: Sequence[Document]
    ) -> Sequence[Document | DataError]:
        """Return what `annotate` does, for documents from this record of the run on, from 0."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a batch run reads and writes."""

    writer: Writer | PathWriter
    read: ReadOptions = field(default_factory=ReadOptions)
    errors: Path | None = None
    """The errors file; by default FILE.errors.jsonl beside the output, and the log for stdout."""
    resume: bool = False
    strict: bool = False
    """Stop at the first bad record."""
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    """What else decides the output (the model, its options): `resume` wants the same again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; the last one is its report."""

    documents: int = 0
    """Documents written, those before a `resume` too."""
    failed: int = 0
    """Records that are in the errors file instead."""
    characters: int = 0
    seconds: float = 0.0
    """Since this process began the run."""
    done_bytes: int = 0
    total_bytes: int | None = None
    """Bytes of the inputs as they are stored; None with stdin."""
    resumed: int = 0
    """Documents that an earlier process wrote."""
    was_complete: bool = False
    """With `resume`: the output was there already, nothing was done."""


class ErrorLine(msgspec.Struct, kw_only=True):
    """A line of the errors file."""

    path: str
    line: int | None
    """The line the record begins on; None where its format has none, see `record`."""
    record: int
    """The record's number in its input, from 1."""
    reason: str
    hint: str
    raw: str
    """The beginning of the record, or of the document's text."""


def run_files(
    model: Annotator, inputs: Sequence[Input], output: Path | BinaryIO, options: RunOptions
) -> Iterator[Progress]:
    """Annotate the inputs into the output; yield after each chunk, and the report at the end.

    An exception of the model or the writer on one document, whatever its type, is a failed
    record. It is passed on where the code and not the document seems to be at fault: where all
    documents of a chunk fail with one type, or the only one does before any has been written.
    UsageError when the output cannot be written (what is there stays good for `resume`), or
    does not fit the run to resume; with `strict`, DataError for the first bad record, or
    PluginError where an exception of another type is the reason; BrokenPipeError when the
    reader of stdout has gone.
    """
    began = time.monotonic()
    if options.resume and any(isinstance(item.source, StdinSource) for item in inputs):
        raise UsageError(
            "--resume does not work with stdin, which cannot be read again",
            hint="write the input to a file first, and name that",
        )
    sizes = _Sizes(inputs)
    target = open_output(
        output,
        options.writer,
        options.errors,
        resume=options.resume,
        inputs=[item.source.name for item in inputs],
    )
    try:
        state = target.begin(_fingerprint(inputs, options))
        resumed = state.documents
        sizes.check(state)
        if not state.is_finished:
            records = _records(inputs, options.read, state)
            for chunk in _chunks(model, records, strict=options.strict):
                _commit(model, target, chunk, state, sizes, strict=options.strict)
                yield _progress(state, sizes, began, resumed)
        if not target.is_complete:
            target.finish(state)
            state.is_finished = True
        yield replace(_progress(state, sizes, began, resumed), was_complete=target.is_complete)
    finally:
        target.close()


def _progress(state: State, sizes: _Sizes, began: float, resumed: int) -> Progress:
    return Progress(
        documents=state.documents,
        failed=state.failed,
        characters=state.characters,
        seconds=time.monotonic() - began,
        done_bytes=sizes.done(state),
        total_bytes=sizes.total,
        resumed=resumed,
    )


# ── records and chunks ───────────────────────────────────────────────────────────────────────


class _Record(NamedTuple):
    """A record of an input, with its place."""

    path: str
    input: int
    number: int  # from 1
    item: Document | BadRecord
    line: int = 0  # where it begins, 0 where the reader does not say

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}" if self.line else f"{self.path}: record {self.number}"


def _records(inputs: Sequence[Input], options: ReadOptions, state: State) -> Iterator[_Record]:
    """Yield the records behind the state's place."""
    start, skip = state.input, state.record
    for index in range(start, len(inputs)):
        item = inputs[index]
        for number, found in enumerate(_read(item, options), 1):
            if index > start or number > skip:
                yield _Record(item.source.name, index, number, found, item.reader.line)


def _read(item: Input, options: ReadOptions) -> Iterator[Document | BadRecord]:
    """Read an input; one that fails in the middle ends with a bad record."""
    name = item.source.name
    try:
        yield from item.reader.read(item.source, options)
    except DataError as error:
        yield BadRecord(name, 0, error.message, error.hint)
    except OSError as error:
        yield BadRecord(name, 0, f"cannot be read: {error.strerror or error}")
    except LmtoolError:
        raise
    except Exception as error:
        raise PluginError(
            f"{name}: the reader {item.reader.name!r} failed: {type(error).__name__}: {error}",
            hint="this is a bug in the reader; --debug shows the traceback",
        ) from error


class _Feed:
    """Gives a model the documents of a stream of records, and keeps the records meanwhile."""

    def __init__(self, records: Iterator[_Record], *, strict: bool) -> None:
        self._records = records
        self._strict = strict
        self._pending: deque[_Record] = deque()
        self.is_done = False

    def documents(self) -> Iterator[Document]:
        """Yield documents until the end, or until very many bad records have come in a row."""
        n_bad = 0
        for record in self._records:
            self._pending.append(record)
            if isinstance(record.item, Document):
                n_bad = 0
                yield record.item
                continue
            if self._strict:
                raise DataError(record.item.message, record.item.hint)
            n_bad += 1
            if n_bad == MAX_BAD_IN_A_ROW:
                return
        self.is_done = True

    def take(self, n_documents: int) -> list[_Record]:
        """Return the records up to this many documents, bad ones between them included."""
        taken = []
        while n_documents:
            taken.append(self._pending.popleft())
            n_documents -= isinstance(taken[-1].item, Document)
        return taken

    def take_rest(self) -> list[_Record]:
        """Return the bad records that no document follows."""
        taken = list(self._pending)
        self._pending.clear()
        return taken


def _chunks(
    model: Annotator, records: Iterator[_Record], *, strict: bool
) -> Iterator[list[_Record]]:
    """Yield the records of each chunk; a model may read ahead, its chunks are what counts."""
    feed = _Feed(records, strict=strict)
    while not feed.is_done:
        for chunk in model.chunks(feed.documents()):
            yield feed.take(len(chunk))
        if rest := feed.take_rest():
            yield rest


# ── one chunk ────────────────────────────────────────────────────────────────────────────────


class _Failures:
    """The records of a chunk that are not written, by their index in it."""

    def __init__(self, chunk: Sequence[_Record], *, strict: bool, is_first: bool) -> None:
        self._chunk = chunk
        self._strict = strict
        self._is_first = is_first
        self.found = {i: r.item for i, r in enumerate(chunk) if isinstance(r.item, BadRecord)}

    def isolate(self, work: Callable[[list[_Item]], _Out], items: list[_Item]) -> list[_Out]:
        """Do work on all items, or where that fails on each alone, and note those that fail."""
        if not items:
            return []
        if len(items) > 1:
            try:
                return [work(items)]
            except Exception as error:
                if _is_no_record(error):
                    raise
        done: list[_Out] = []
        failed: list[tuple[_Item, Exception]] = []
        for item in items:
            try:
                done.append(work([item]))
            except Exception as error:
                if _is_no_record(error):
                    raise
                if self._strict:
                    raise self._at_record(item, error) from error
                failed.append((item, error))
        if not done and self._is_broken([error for _, error in failed]):
            raise failed[0][1]
        for (index, document), problem in failed:
            self._note(index, document, problem)
        return done

    def take(self, items: Sequence[_Item], results: Sequence[Document | DataError]) -> list[_Item]:
        """Return the items that the model has done, and note those that it has not."""
        done = []
        for item, found in zip(items, results, strict=True):
            if isinstance(found, Document):
                done.append((item[0], found))
            elif self._strict:
                raise self._at_record(item, found) from found
            else:
                self._note(*item, found)
        return done

    def _note(self, index: int, document: Document, problem: Exception) -> None:
        reason, hint = _reason(problem)
        raw = document.text[:RAW_CHARACTERS]
        record = self._chunk[index]
        self.found[index] = BadRecord(record.path, record.line, reason, hint, raw)

    def _is_broken(self, errors: Sequence[Exception]) -> bool:
        """Whether what failed on all items is the code, not the documents."""
        kinds = {type(error) for error in errors}
        if len(kinds) > 1 or isinstance(errors[0], DataError):
            return False
        return len(errors) > 1 or self._is_first

    def _at_record(self, item: _Item, error: Exception) -> LmtoolError:
        record = self._chunk[item[0]]
        reason, hint = _reason(error)
        kind = DataError if isinstance(error, DataError) else PluginError
        return kind(f"{record.where}: {reason}", hint)

    def warn(self) -> None:
        """Log each with its place; a hint once for all that follow with it."""
        last = ""
        for index, bad in sorted(self.found.items()):
            record = self._chunk[index]
            is_read = isinstance(record.item, Document)
            message = f"{record.where}: {bad.reason}" if is_read else bad.message
            log.warning("%s", DataError(message, "" if bad.hint == last else bad.hint))
            last = bad.hint

    def encode(self) -> bytes:
        """Return the lines of the errors file, in the order of the records."""
        lines = []
        for index, bad in sorted(self.found.items()):
            line = ErrorLine(
                path=bad.path,
                line=bad.line or None,
                record=self._chunk[index].number,
                reason=bad.reason,
                hint=bad.hint,
                raw=bad.raw[:RAW_CHARACTERS],
            )
            lines.append(msgspec.json.encode(line) + b"\n")
        return b"".join(lines)


def _is_no_record(error: Exception) -> bool:
    """Whether an exception is about the run as a whole: its memory, its disk, its contract."""
    is_own = isinstance(error, LmtoolError) and not isinstance(error, DataError)
    return is_own or isinstance(error, MemoryError | OSError)


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, DataError):
        return error.message, error.hint
    hint = "the code failed, not the input; --strict stops here, --debug shows the traceback"
    return f"{type(error).__name__}: {error}", hint


def _commit(
    model: Annotator,
    target: Output,
    chunk: Sequence[_Record],
    state: State,
    sizes: _Sizes,
    *,
    strict: bool,
) -> None:
    """Annotate a chunk, write it, and move the state behind it."""
    failures = _Failures(chunk, strict=strict, is_first=not state.documents)
    n_done = state.documents + state.failed

    def annotate(items: list[_Item]) -> tuple[list[_Item], Sequence[Document | DataError]]:
        documents = [document for _, document in items]
        if isinstance(model, NumberedAnnotator):
            return items, model.annotate_from(n_done + items[0][0], documents)
        return items, model.annotate(documents)

    def encode(items: list[_Item]) -> tuple[bytes, list[_Item]]:
        return target.encode([document for _, document in items]), items

    todo = [(i, r.item) for i, r in enumerate(chunk) if isinstance(r.item, Document)]
    done = [item for pair in failures.isolate(annotate, todo) for item in failures.take(*pair)]
    pieces = failures.isolate(encode, done)
    written = [document for _, items in pieces for _, document in items]
    if not target.has_errors_file:
        failures.warn()
    state.input, state.record = chunk[-1].input, chunk[-1].number
    state.bytes_left = sizes.left(state)
    state.documents += len(written)
    state.failed += len(failures.found)
    state.characters += sum(len(document.text) for document in written)
    target.commit(b"".join(data for data, _ in pieces), failures.encode(), state)


# ── what must be the same for a resumed run ──────────────────────────────────────────────────


def _fingerprint(inputs: Sequence[Input], options: RunOptions) -> dict[str, str]:
    names = [f"{item.source.name} ({item.reader.name})" for item in inputs]
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    digest = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    return {
        **options.fingerprint,
        "format": options.writer.name,
        "reading": repr(options.read),
        "errors": str(options.errors or "beside the output"),
        "inputs": f"{len(names)}: {shown} [{digest[:12]}]",
    }


class _Sizes:
    """The sizes of the inputs when the run began; an unknown one counts as 0."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        sizes = [item.source.size for item in inputs]
        self._before = list(itertools.accumulate((size or 0 for size in sizes), initial=0))
        self._inputs = inputs
        self.total = None if None in sizes else self._before[-1]

    def left(self, state: State) -> int:
        """Return the bytes of the inputs that are not done."""
        return self._before[-1] - self._before[state.input]

    def done(self, state: State) -> int:
        """Return the bytes that have been read."""
        if state.is_finished or state.input == len(self._inputs):
            return self._before[-1]
        return self._before[state.input] + self._inputs[state.input].source.position

    def check(self, state: State) -> None:
        """Raise UsageError when the inputs that are left are not what they were."""
        has_begun = state.input or state.record
        if has_begun and not state.is_finished and self.left(state) != state.bytes_left:
            name = self._inputs[state.input].source.name
            raise UsageError(
                f"--resume: the inputs have changed: from {name} on they had "
                f"{state.bytes_left:,} bytes, now {self.left(state):,}",
                hint="restore them, or leave --resume away to start over",
            )
