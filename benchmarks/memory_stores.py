"""Stores for a memory, side by side: the one of lmtool, and others that are installed.

    python benchmarks/memory_stores.py [--passages 100000] [--size 384] [--only NAME …]

Random vectors of length 1, the hardest case for what is not exact; with --groups N each is near one
of N, as vectors of texts on the same matters are. For each store: seconds and
processor seconds to insert them, bytes of the file or folder for each (vectors and numbers alone),
milliseconds (median) and processor milliseconds (mean) to recall ten in a process that is warm, and
how many of the true ten they are. The others are sqlite-vec (with apsw), lancedb, duckdb and
usearch (with its own defaults); those that are not installed are left out. --only takes those whose
name begins so.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lmtool_memory.passages import Passage
from lmtool_memory.store import New, Store
from machine import describe

Vectors = np.ndarray[Any, np.dtype[Any]]
Search = Callable[[Vectors], list[int]]
BATCH = 1000
LIMIT = 10
N_QUESTIONS = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--groups", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[""], metavar="NAME")
    options = parser.parse_args()
    print(describe("numpy", "sqlite-vec", "lancedb", "duckdb", "usearch"))
    chance = np.random.default_rng(0)
    vectors = unit(chance.standard_normal((options.passages, options.size), np.float32))
    questions = unit(chance.standard_normal((N_QUESTIONS, options.size), np.float32))
    if options.groups:
        centres = unit(chance.standard_normal((options.groups, options.size), np.float32))
        vectors = unit(vectors + centres[chance.integers(0, options.groups, len(vectors))])
        questions = unit(questions + centres[chance.integers(0, options.groups, N_QUESTIONS)])
    exact = [set(np.argsort(-(vectors @ q))[:LIMIT].tolist()) for q in questions]
    print("| store | insert s | processor s | bytes each | recall ms | processor ms | recall@10 |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, build in STORES.items():
        if not name.startswith(tuple(options.only)):
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                start, began = time.perf_counter(), time.process_time()
                search = build(Path(folder), vectors)
            except ImportError:
                print(f"{name}: not installed")
                continue
            seconds, processor = time.perf_counter() - start, time.process_time() - began
            size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
            search(questions[0])
            times, right, began = [], 0, time.process_time()
            for question, wanted in zip(questions, exact, strict=True):
                start = time.perf_counter()
                found = search(question)
                times.append(time.perf_counter() - start)
                right += len(wanted & set(found))
            used = 1000 * (time.process_time() - began) / N_QUESTIONS
            share = right / (LIMIT * N_QUESTIONS)
            each = size / len(vectors)
            milliseconds = 1000 * statistics.median(times)
            print(
                f"| {name} | {seconds:.1f} | {processor:.1f} | {each:,.0f} | {milliseconds:.1f} | "
                f"{used:.1f} | {share:.3f} |",
                flush=True,
            )


def unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def lmtool_store(folder: Path, vectors: Vectors) -> Search:
    """Blocks of int8 in SQLite, read whole, exact."""
    store = Store(folder / "memory.db", create=True)
    with store.writing():
        store.set_model("random", "random", vectors.shape[1])
        source, generation = store.begin_source("random")
    for start in range(0, len(vectors), BATCH):
        part = vectors[start : start + BATCH]
        empty = [New(source, generation, b"", Passage(i, 0, 0, "")) for i in range(len(part))]
        with store.writing():
            store.add(empty, part)
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def search(question: Vectors) -> list[int]:
        cosines = store.cosines(question)
        return [int(i) for i in np.argpartition(-cosines, LIMIT)[:LIMIT]]

    return search


def sqlite_vec(kind: str) -> Callable[[Path, Vectors], Search]:
    """vec0 of sqlite-vec: exact over float32 or int8."""

    def build(folder: Path, vectors: Vectors) -> Search:
        import apsw  # Python's own sqlite3 is often built without extensions
        import sqlite_vec as extension

        db = apsw.Connection(str(folder / "memory.db"))
        db.enable_load_extension(True)
        db.load_extension(extension.loadable_path())
        db.execute(f"CREATE VIRTUAL TABLE v USING vec0(e {kind}[{vectors.shape[1]}])")
        value = "vec_quantize_int8(?, 'unit')" if kind == "int8" else "?"
        for start in range(0, len(vectors), BATCH):
            part = vectors[start : start + BATCH]
            rows = [(start + i, row.tobytes()) for i, row in enumerate(part)]
            with db:
                db.executemany(f"INSERT INTO v (rowid, e) VALUES (?, {value})", rows)

        def search(question: Vectors) -> list[int]:
            query = f"SELECT rowid FROM v WHERE e MATCH {value} AND k = {LIMIT}"
            return [row[0] for row in db.execute(query, (question.tobytes(),))]

        return search

    return build


def lancedb(folder: Path, vectors: Vectors) -> Search:
    """LanceDB without an index: exact over float32."""
    import lancedb as library
    import pyarrow as pa

    db = library.connect(folder)
    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), vectors.shape[1]))])
    table = db.create_table("v", schema=schema)
    for start in range(0, len(vectors), BATCH):
        part = vectors[start : start + BATCH]
        flat = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), vectors.shape[1])
        table.add(pa.table({"id": np.arange(start, start + len(part)), "vector": flat}))
    return lambda question: [row["id"] for row in table.search(question).limit(LIMIT).to_list()]


def duckdb(folder: Path, vectors: Vectors) -> Search:
    """DuckDB's arrays: exact over float32."""
    import duckdb as library
    import pyarrow as pa

    size = vectors.shape[1]
    db = library.connect(folder / "memory.duckdb")
    db.execute(f"CREATE TABLE v (id BIGINT, e FLOAT[{size}])")
    for start in range(0, len(vectors), BATCH):
        part = vectors[start : start + BATCH]
        flat = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), size)
        rows = pa.table({"id": np.arange(start, start + len(part)), "e": flat})
        db.register("rows", rows)
        db.execute("INSERT INTO v SELECT id, e FROM rows")
    db.execute("CHECKPOINT")

    def search(question: Vectors) -> list[int]:
        query = (
            f"SELECT id FROM v ORDER BY array_inner_product(e, ?::FLOAT[{size}]) DESC LIMIT {LIMIT}"
        )
        return [row[0] for row in db.execute(query, [question.tolist()]).fetchall()]

    return search


def usearch(kind: str) -> Callable[[Path, Vectors], Search]:
    """A graph of neighbours (HNSW) of usearch: not exact."""

    def build(folder: Path, vectors: Vectors) -> Search:
        from usearch.index import Index

        index = Index(ndim=vectors.shape[1], metric="cos", dtype=kind)
        for start in range(0, len(vectors), BATCH):
            part = vectors[start : start + BATCH]
            index.add(np.arange(start, start + len(part)), part, threads=1)
        index.save(str(folder / "memory.usearch"))
        return lambda question: [int(key) for key in index.search(question, LIMIT).keys]

    return build


STORES: dict[str, Callable[[Path, Vectors], Search]] = {
    "lmtool (sqlite3, int8)": lmtool_store,
    "sqlite-vec, float32": sqlite_vec("float"),
    "sqlite-vec, int8": sqlite_vec("int8"),
    "lancedb, flat": lancedb,
    "duckdb": duckdb,
    "usearch, HNSW f32": usearch("f32"),
    "usearch, HNSW int8": usearch("i8"),
}


if __name__ == "__main__":
    main()
