"""The database of a memory: one SQLite file with texts, an index of words, and vectors.

Vectors are int8 with a scale each, in blocks that are blobs of the database: one transaction
covers text, words and vector of a passage. The search by meaning is exact over them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from lmtool.errors import UsageError

from .terms import indexed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .passages import Passage

FORMAT: Final = 1
BLOCK_ROWS: Final = 512
SCALE_BYTES: Final = 4
SCAN_ROWS: Final = 2048
"""Rows that are widened to float32 at once: they stay in the cache of the processor."""
TOKENIZE: Final = "porter unicode61 remove_diacritics 2"

LINES, MASKED = 1, 2
"""Flags of a source, in its column has_lines."""

_SCHEMA: Final = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash BLOB, generation INTEGER NOT NULL,
    has_lines INTEGER NOT NULL);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, source INTEGER NOT NULL, hash BLOB NOT NULL,
    generation INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
    line INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX passages_by_hash ON passages (source, hash);
CREATE TABLE free (id INTEGER PRIMARY KEY);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', tokenize = '{TOKENIZE}');
"""


class Stored(NamedTuple):
    """A passage of the memory."""

    id: int
    source: str
    hash: bytes
    start: int
    end: int
    line: int
    text: str
    has_lines: bool
    """Whether it is of a text file, whose lines count on; a record has the line it begins on."""
    is_masked: bool = False
    """Whether names were masked: its place is that of the text as it was."""


class New(NamedTuple):
    """A passage on its way into the memory."""

    source: int
    generation: int
    hash: bytes
    passage: Passage


class Store:
    """An open memory. `size` is that of its vectors, `model` what made them; 0 and "" when new."""

    def __init__(self, path: Path, *, create: bool = False, is_written: bool = True) -> None:
        """Open a memory; UsageError where there is none that can be read.

        One that is not `is_written` may be where nothing can be written.
        """
        if not create and not path.exists():
            raise UsageError(
                f"{path}: no memory", hint="lmtool remember FILES makes one; --memory names it"
            )
        self.path = path
        self._matrix: tuple[int, NDArray[Any]] | None = None
        if is_written:
            self._check_place(create)
        try:
            self._db = self._connect("rw") if is_written else self._for_reading()
            self._prepare(create)
        except sqlite3.Error as error:
            raise UsageError(
                f"{path}: no memory that can be read: {error}",
                hint="name a memory with --memory, and see who may read that file and its folder",
            ) from error
        self.read_model()

    def read_model(self) -> None:
        """Take from the file what makes the vectors, which another process may have changed.

        UsageError for a memory of another format.
        """
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if meta.get("format") != str(FORMAT):
            raise UsageError(
                f"{self.path}: a memory of format {meta.get('format')}; this lmtool reads {FORMAT}",
                hint="use the lmtool that made it, or remember the texts again",
            )
        self.model, self.ref = meta.get("model", ""), meta.get("ref", "")
        self.size = int(meta.get("size", "0"))

    def _check_place(self, create: bool) -> None:
        """Make the file of a new memory; UsageError where it may not be written."""
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.open("ab").close()
        except OSError as error:
            raise UsageError(
                f"{self.path}: cannot be written: {error.strerror or error}",
                hint="name another memory with --memory",
            ) from error

    def _connect(self, *parameters: str) -> sqlite3.Connection:
        where = "file:" + quote(os.fsencode(self.path)) + "?mode=" + "&".join(parameters)
        return sqlite3.connect(where, timeout=60, isolation_level=None, uri=True)

    def _for_reading(self) -> sqlite3.Connection:
        """Return a connection that reads, even where nothing can be written.

        SQLite has readers and a writer meet in files beside the database. Where it cannot make
        these there is no writer, and unless one has left something there, the database is whole.
        """
        for mode in ("rw", "ro"):
            database = self._connect(mode)
            try:
                database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except sqlite3.OperationalError:
                database.close()
                if mode == "ro" and _size(self.path.with_name(self.path.name + "-wal")):
                    raise
            else:
                return database
        return self._connect("ro", "immutable=1")

    def _prepare(self, create: bool) -> None:
        self._db.execute("PRAGMA busy_timeout = 60000")
        self._db.execute("PRAGMA mmap_size = 4294967296")
        tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('meta', 'words')"
        if self._db.execute(tables).fetchone() == (2,):
            self._db.execute("PRAGMA synchronous = FULL")
            return
        if not create or self._db.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise UsageError(f"{self.path}: a database, but no memory of lmtool")
        self._db.execute("PRAGMA page_size = 8192")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self.writing():
            if self._db.execute(tables).fetchone() == (0,):  # nobody else was faster
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """See one state of the memory, whatever others write meanwhile."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Change the memory in one transaction: all of it is there afterwards, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        self._matrix = None
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def set_model(self, model: str, ref: str, size: int) -> None:
        """Say which model makes the vectors."""
        rows = {"model": model, "ref": ref, "size": str(size)}
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows.items())
        self.model, self.ref, self.size = model, ref, size

    def replace_vectors(
        self, model: str, ref: str, size: int, ids: Sequence[int], rows: bytes
    ) -> None:
        """Take vectors of another model for all passages, as `encode_vectors` gives them."""
        self.set_model(model, ref, size)
        self._db.execute("UPDATE blocks SET data = zeroblob(?)", (BLOCK_ROWS * self._row_bytes,))
        self._set_vectors(ids, rows)

    # ── sources ──────────────────────────────────────────────────────────────────────────────

    def sources(self) -> list[tuple[int, str, int]]:
        """Return number, name and passages of each source, by name."""
        query = (
            "SELECT s.id, s.name, count(p.id) FROM sources s LEFT JOIN passages p "
            "ON p.source = s.id GROUP BY s.id ORDER BY s.name"
        )
        return self._db.execute(query).fetchall()

    def source_hash(self, name: str) -> bytes | None:
        """Return the hash of a source that is remembered whole; None for any other."""
        row = self._db.execute("SELECT hash FROM sources WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def is_open(self, name: str) -> bool:
        """Whether a source is there, and was not masked."""
        row = self._db.execute("SELECT has_lines FROM sources WHERE name = ?", (name,)).fetchone()
        return row is not None and not row[0] & MASKED

    def begin_source(
        self, name: str, *, has_lines: bool = False, is_masked: bool = False
    ) -> tuple[int, int]:
        """Return number and new generation of a source, which counts as incomplete from now.

        One that is there and was not masked counts as masked only when it has ended whole.
        """
        query = (
            "INSERT INTO sources (name, generation, has_lines) VALUES (?, 1, ?) "
            "ON CONFLICT (name) DO UPDATE SET generation = generation + 1, hash = NULL, "
            f"has_lines = excluded.has_lines & (has_lines | ~{MASKED}) RETURNING id, generation"
        )
        flags = LINES * has_lines | MASKED * is_masked
        (row,) = self._db.execute(query, (name, flags)).fetchall()
        return row[0], row[1]

    def end_source(
        self, source: int, generation: int, digest: bytes | None, *, is_masked: bool = False
    ) -> int:
        """Delete what earlier generations left; return the number of passages deleted.

        For a source that was read whole: of any other, they are all that there is.
        """
        query = "SELECT id FROM passages WHERE source = ? AND generation < ?"
        gone = [row[0] for row in self._db.execute(query, (source, generation))]
        self._delete(gone)
        query = "UPDATE sources SET hash = ?, has_lines = has_lines | ? WHERE id = ?"
        self._db.execute(query, (digest, MASKED * is_masked, source))
        return len(gone)

    def forget(self, source: int) -> None:
        """Delete a source with its passages."""
        query = "SELECT id FROM passages WHERE source = ?"
        self._delete([row[0] for row in self._db.execute(query, (source,))])
        self._db.execute("DELETE FROM sources WHERE id = ?", (source,))

    def shrink(self) -> None:
        """Take what was deleted out of the file, the words of its index too."""
        self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # ── passages ─────────────────────────────────────────────────────────────────────────────

    def keep(self, new: New) -> bool:
        """Take a passage over that an earlier generation has, with its new place."""
        query = (
            'UPDATE passages SET generation = ?, start = ?, "end" = ?, line = ? WHERE id = '
            "(SELECT id FROM passages WHERE source = ? AND hash = ? AND generation < ? "
            "ORDER BY start LIMIT 1)"
        )
        start, end, line, _ = new.passage
        place = (new.generation, start, end, line, new.source, new.hash, new.generation)
        return self._db.execute(query, place).rowcount == 1

    def add(self, passages: Sequence[New], vectors: NDArray[Any]) -> None:
        """Add passages and their vectors of length 1, (passages, size)."""
        ids = self._take_ids(len(passages))
        rows = [
            (i, new.source, new.hash, new.generation, *new.passage)
            for i, new in zip(ids, passages, strict=True)
        ]
        self._db.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        words = [(row[0], indexed(row[-1])) for row in rows]
        self._db.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", words)
        self._set_vectors(ids, encode_vectors(vectors))

    def passages(self, ids: Iterable[int]) -> dict[int, Stored]:
        """Return passages by their numbers."""
        numbers = ",".join(str(int(i)) for i in ids)
        query = (
            'SELECT p.id, s.name, p.hash, p.start, p."end", p.line, p.text, s.has_lines '
            "FROM passages p "
            f"JOIN sources s ON s.id = p.source WHERE p.id IN ({numbers})"
        )
        return {
            row[0]: Stored._make((*row[:-1], bool(row[-1] & LINES), bool(row[-1] & MASKED)))
            for row in self._db.execute(query)
        }

    def ids(self) -> list[int]:
        """Return the numbers of all passages, in order."""
        return [row[0] for row in self._db.execute("SELECT id FROM passages ORDER BY id")]

    def count(self) -> int:
        """Return the number of passages."""
        number: int = self._db.execute("SELECT count(*) FROM passages").fetchone()[0]
        return number

    def _take_ids(self, number: int) -> list[int]:
        """Return free numbers: those of deleted passages first."""
        query = "SELECT id FROM free ORDER BY id LIMIT ?"
        ids: list[int] = [row[0] for row in self._db.execute(query, (number,))]
        self._db.executemany("DELETE FROM free WHERE id = ?", [(i,) for i in ids])
        (last,) = self._db.execute(
            "SELECT max(coalesce((SELECT max(id) FROM passages), 0), "
            "coalesce((SELECT max(id) FROM free), 0))"
        ).fetchone()
        last = max(last, ids[-1] if ids else 0)
        return ids + list(range(last + 1, last + 1 + number - len(ids)))

    def _delete(self, ids: Sequence[int]) -> None:
        for i in ids:
            (text,) = self._db.execute("SELECT text FROM passages WHERE id = ?", (i,)).fetchone()
            self._db.execute(
                "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (i, indexed(text))
            )
        rows = [(i,) for i in ids]
        self._db.executemany("DELETE FROM passages WHERE id = ?", rows)
        self._db.executemany("INSERT INTO free VALUES (?)", rows)
        if ids:
            self._set_vectors(list(ids), bytes(len(ids) * self._row_bytes))
        if self.count() == 0:
            self._db.execute("DELETE FROM free")
            self._db.execute("DELETE FROM blocks")

    # ── search ───────────────────────────────────────────────────────────────────────────────

    def with_words(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Return the passages that an FTS5 query matches best, with their BM25 (more is better)."""
        statement = "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"
        return self._db.execute(statement, (query, limit)).fetchall()

    def rows_with(self, query: str) -> list[int]:
        """Return the numbers of all passages that an FTS5 query matches."""
        found = self._db.execute("SELECT rowid FROM words WHERE words MATCH ?", (query,))
        return [row[0] for row in found]

    def cosines(self, vector: NDArray[Any]) -> NDArray[Any]:
        """Return the cosine of each passage with a vector of length 1; index 0 is of number 1.

        It is 0 for a number that no passage has.
        """
        import numpy as np

        matrix = self._vectors()
        scales = matrix[:, :SCALE_BYTES].copy().view(np.float32)[:, 0]
        rows = matrix[:, SCALE_BYTES:].view(np.int8)
        wanted = vector.astype(np.float32)
        found = np.empty(len(matrix), np.float32)
        wide = np.empty((SCAN_ROWS, self.size), np.float32)
        for start in range(0, len(matrix), SCAN_ROWS):
            part = rows[start : start + SCAN_ROWS]
            np.copyto(wide[: len(part)], part)
            found[start : start + len(part)] = wide[: len(part)] @ wanted
        return found * scales

    def vectors(self, ids: Sequence[int]) -> NDArray[Any]:
        """Return the vectors of passages, float32 (passages, size)."""
        import numpy as np

        rows = self._vectors()[np.asarray(ids, np.int64) - 1]
        scales = rows[:, :SCALE_BYTES].copy().view(np.float32)
        return np.asarray(rows[:, SCALE_BYTES:].view(np.int8) * scales)

    @property
    def _row_bytes(self) -> int:
        return SCALE_BYTES + self.size

    def _vectors(self) -> NDArray[Any]:
        """Return all vectors as they are stored, uint8 (numbers, bytes), kept while they hold."""
        import numpy as np

        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if self._matrix is None or self._matrix[0] != version:
            blocks = [row[0] for row in self._db.execute("SELECT data FROM blocks ORDER BY id")]
            data = np.frombuffer(b"".join(blocks), np.uint8)
            self._matrix = version, data.reshape(-1, max(self._row_bytes, 1))
        return self._matrix[1]

    def _set_vectors(self, ids: Sequence[int], data: bytes) -> None:
        """Write the rows of vectors into their blocks, which are made where they are new."""
        width = self._row_bytes
        by_block: dict[int, list[tuple[int, int]]] = {}
        for row, number in enumerate(ids):
            block, place = divmod(number - 1, BLOCK_ROWS)
            by_block.setdefault(block, []).append((place, row))
        for block, places in by_block.items():
            empty = "INSERT OR IGNORE INTO blocks VALUES (?, zeroblob(?))"
            self._db.execute(empty, (block, BLOCK_ROWS * width))
            with self._db.blobopen("blocks", "data", block) as blob:
                for place, row in places:
                    blob.seek(place * width)
                    blob.write(data[row * width : (row + 1) * width])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def encode_vectors(vectors: NDArray[Any]) -> bytes:
    """Return vectors as rows of a float32 scale and int8 values: value times scale is the number.

    The values are rounded with the scale at which the largest becomes 127. The scale that is kept
    is the one with the least squared error for these values: rounding alone would leave each vector
    a little too long or too short, and its cosines with it.
    """
    import numpy as np

    wide = np.asarray(vectors, np.float32)
    scales = np.maximum(np.abs(wide).max(1, keepdims=True), 1e-12) / 127
    rounded = np.rint(wide / scales)
    values = rounded.astype(np.int8)
    squares = np.maximum((rounded * rounded).sum(1, keepdims=True), 1)
    scales = (wide * rounded).sum(1, keepdims=True) / squares
    rows = np.concatenate((scales.astype("<f4").view(np.uint8), values.view(np.uint8)), axis=1)
    return rows.tobytes()
