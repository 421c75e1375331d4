"""The database of a memory: what it holds, how it searches, and that a kill does no harm."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from lmtool_memory.store import Store, encode_vectors
from memory_kit import SIZE, check, fill, news, texts_of, vector_of

from lmtool import DataError, UsageError

N_KILLS = 50
DRIVER = """
import itertools, os, sys, time
from pathlib import Path
import numpy as np
from lmtool_memory.store import Store
from memory_kit import SIZE, news, vector_of

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once: a kill leaves no half line

def work(first):
    store = Store(Path(sys.argv[1]), create=True)
    store._db.execute("PRAGMA synchronous = OFF")  # the system outlives the process: faster
    for number in itertools.count(first):
        texts = [f"w{number}x{i} of batch {number}" for i in range(20)]
        vectors = np.stack([vector_of(text) for text in texts])
        with store.writing():
            if not store.size:
                store.set_model("by-heart", "by-heart", SIZE)
            store.add(news(store, f"s{number}", texts), vectors)
        say(number)
        old = [source for source, name, _ in store.sources() if name == f"s{number - 2}"]
        if number % 3 and old:
            with store.writing():
                store.forget(old[0])
            say(2 - number)

for line in sys.stdin:
    child = os.fork()
    if not child:
        work(int(line))
    say("child", child)
    os.waitpid(child, 0)
    say("killed")
"""
"""Forks a worker for each line, which has a number to begin with: fifty interpreters would take a
minute to start."""


def test_what_is_added_is_found(tmp_path: Path) -> None:
    texts = [f"word{i} in text {i}" for i in range(1500)]  # several blocks
    fill(tmp_path / "m.db", "a", texts)
    store = Store(tmp_path / "m.db")
    assert (store.model, store.size, store.count()) == ("by-heart", SIZE, 1500)
    assert check(store) == texts
    cosines = store.cosines(vector_of(texts[700]))
    assert int(cosines.argmax()) == 700
    assert cosines[700] == pytest.approx(1, abs=0.005)
    assert store.passages([701])[701][1:] == (
        "a", texts[700].encode(), 700, 700 + len(texts[700]), 701, texts[700], False, False,
    )  # fmt: skip
    assert [i for i, _ in store.with_words('"word7" OR "word9"', 10)] == [8, 10]
    store.close()


def test_a_new_generation_keeps_what_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    fill(path, "a", ["one", "two", "two", "three"])
    store = Store(path)
    with store.writing():
        again = news(store, "a", ["zero", "two", "three"])
        assert [store.keep(new) for new in again] == [False, True, True]
        store.add(again[:1], np.stack([vector_of("zero")]))
        assert store.end_source(again[0].source, again[0].generation, b"hash") == 2
    assert store.source_hash("a") == b"hash"
    assert sorted(check(store)) == ["three", "two", "zero"]
    places = {p.text: (p.start, p.line) for p in store.passages(range(1, 9)).values()}
    assert places == {"zero": (0, 1), "two": (1, 2), "three": (2, 3)}
    store.close()


def test_the_place_of_what_is_forgotten_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    fill(path, "a", [f"a{i}" for i in range(600)])
    fill(path, "b", [f"b{i}" for i in range(600)])
    store = Store(path)
    with store.writing():
        store.forget(store.sources()[0][0])
    assert check(store) == [f"b{i}" for i in range(600)]
    assert store.cosines(vector_of("a5"))[5] == 0
    with store.writing():
        store.add(news(store, "c", ["c0", "c1"]), np.stack([vector_of("c0"), vector_of("c1")]))
    assert sorted(store.passages([1, 2])) == [1, 2]
    assert check(store) == ["c0", "c1"] + [f"b{i}" for i in range(600)]
    with store.writing():
        for source, _, _ in store.sources():
            store.forget(source)
    assert (store.count(), len(store.cosines(vector_of("b")))) == (0, 0)
    store.close()


def test_an_error_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "m.db", "a", ["one"])
    store = Store(tmp_path / "m.db")

    def fail() -> None:
        with store.writing():
            store.forget(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert check(store) == ["one"]
    store.close()


def test_a_reader_sees_one_state_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    fill(path, "a", ["one"])
    reader = Store(path)
    with reader.reading():
        assert reader.count() == 1
        fill(path, "b", ["two"])
        assert reader.count() == 1
    assert check(reader) == ["one", "two"]  # and the vectors it held are read again
    reader.close()


READERS = """
import os, sys, time
from collections import Counter
from pathlib import Path
import numpy as np
from lmtool_memory.store import Store
from memory_kit import SIZE, fill, news, vector_of

path, done = Path(sys.argv[1]), Path(sys.argv[2])
texts = lambda number: [f"w{number}x{i} of batch {number}" for i in range(20)]
fill(path, "s0", texts(0))

def write():
    store = Store(path)
    for number in range(1, 61):
        vectors = np.stack([vector_of(text) for text in texts(number)])
        with store.writing():
            store.add(news(store, f"s{number}", texts(number)), vectors)
            if number > 3:
                store.forget(next(i for i, name, _ in store.sources() if name == f"s{number - 3}"))
        time.sleep(0.002)
    done.touch()

def read():
    store, seen = Store(path), []
    while not (was_done := done.exists()) or not seen:
        with store.reading():
            found = store.passages(range(1, 2000)).values()
            batches = Counter(passage.text.split()[-1] for passage in found)
            newest = max(map(int, batches))
            assert set(batches.values()) == {20}, batches
            assert len(batches) == min(newest + 1, 4), batches
            best = int(store.cosines(vector_of(f"w{newest}x7 of batch {newest}")).argmax()) + 1
            assert store.passages([best])[best].text.startswith(f"w{newest}x7 "), newest
            assert store.rows_with(f'"w{newest}x7"') == [best]
        assert not seen or newest >= seen[-1]
        seen.append(newest)
    os.write(1, f"{len(set(seen))}\\n".encode())

children = []
for work in (read, read, read, write):
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            os.write(2, f"{error!r}\\n".encode())
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitpid(child, 0)[1] != 0 for child in children))
"""
"""Three processes that read while a fourth writes."""


def test_processes_read_while_one_writes(tmp_path: Path) -> None:
    """Each sees whole batches, with the words and vectors of that state, and ever newer ones."""
    places = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", READERS, str(tmp_path / "m.db"), str(tmp_path / "done")],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": places},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    n_states = [int(line) for line in done.stdout.splitlines()]
    assert len(n_states) == 3
    assert max(n_states) > 3  # they did read while it wrote
    store = Store(tmp_path / "m.db")
    assert len(check(store)) == 80
    store.close()


def test_what_is_forgotten_is_out_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    fill(path, "a", ["zanzibarius met someone in Rome", "another thing"])
    fill(path, "b", ["keep this text"])
    store = Store(path)
    with store.writing():
        store.forget(store.sources()[0][0])
    store.shrink()
    store.close()
    assert b"zanzibar" not in path.read_bytes()  # nor as a word of the index
    assert b"keep this text" in path.read_bytes()


def test_what_is_no_memory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no memory"):
        Store(tmp_path / "none.db")
    (tmp_path / "text").write_text("some text that is no database, however long " * 99)
    with pytest.raises(DataError, match="no memory that can be read"):
        Store(tmp_path / "text", create=True)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (id)")
    other.close()
    with pytest.raises(DataError, match="no memory of lmtool"):
        Store(tmp_path / "other.db", create=True)
    fill(tmp_path / "m.db", "a", ["one"])
    newer = sqlite3.connect(tmp_path / "m.db")
    newer.execute("UPDATE meta SET value = '9' WHERE key = 'format'")
    newer.commit()
    newer.close()
    with pytest.raises(DataError, match="format 9"):
        Store(tmp_path / "m.db")


def test_vectors_keep_two_digits() -> None:
    vectors = np.stack([vector_of("a"), np.zeros(SIZE, np.float32)])
    rows = np.frombuffer(encode_vectors(vectors), np.uint8).reshape(2, SIZE + 4)
    decoded = rows[:, 4:].view(np.int8) * rows[:, :4].copy().view(np.float32)
    assert np.abs(decoded - vectors).max() <= np.abs(vectors).max() / 253


def test_a_kill_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """A process that adds and forgets is killed 50 times, at moments of chance."""
    path, chance = tmp_path / "m.db", np.random.default_rng(0)
    places = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": places},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    there: set[int] = set()
    number = 1
    for n_killed in range(N_KILLS):
        print(number, file=process.stdin, flush=True)
        child, wait = 0, int(chance.integers(0, 4))
        while (line := process.stdout.readline().strip()) != "killed":
            assert line, "the driver died"
            if line.startswith("child"):
                child = int(line.split()[1])
            else:
                said, wait = int(line), wait - 1
                there = there | {said} if said > 0 else there - {-said}
                number = max(number, said)
            if child and wait <= 0:
                time.sleep(chance.uniform(0, 0.01))
                os.kill(child, signal.SIGKILL)
                child = 0
        store = Store(path, create=True)
        batches = [int(text.split()[-1]) for text in texts_of(store)]
        if n_killed % 10 == 9:
            check(store)
        store.close()
        assert set(Counter(batches).values()) <= {20}  # each whole
        assert len(there ^ set(batches)) <= 1  # but for the one that was not said any more
        there = set(batches)
        number += 2
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()
    assert len(there) > N_KILLS // 3
