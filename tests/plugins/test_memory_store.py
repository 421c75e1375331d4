"""The database of a memory: what it holds, how it searches, and that a kill does no harm."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from lmtool_memory.store import Store, encode_vectors
from memory_kit import SIZE, check, fill, news, texts_of, vector_of

from lmtool import UsageError

N_KILLS, N_KILLS_OF_COMMANDS = 38, 12
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
    for number in itertools.count(first):
        texts = [f"w{number}x{i} of batch {number}" for i in range(20)]
        vectors = np.stack([vector_of(text) for text in texts])
        say("adds", number)
        with store.writing():
            if not store.size:
                store.set_model("by-heart", "by-heart", SIZE)
            store.add(news(store, f"s{number}", texts), vectors)
        say("added", number)
        old = [source for source, name, _ in store.sources() if name == f"s{number - 2}"]
        if number % 3 and old:
            say("forgets", number - 2)
            with store.writing():
                store.forget(old[0])
            say("forgot", number - 2)

for line in sys.stdin:
    child = os.fork()
    if not child:
        work(int(line))
    say("child", child)
    os.waitpid(child, 0)
    say("killed", child)
"""
"""Forks a worker for each line, which has a number to begin with: fifty interpreters would take a
minute to start. It says what it is about to do, and that it has done it."""


@contextlib.contextmanager
def started(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run code that is told by lines, and says lines."""
    places = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": places},
    ) as process:  # fmt: skip
        yield process
    assert process.returncode == 0


def said_by(process: subprocess.Popen[str]) -> tuple[str, int]:
    """Return the next word that a process says, and its number."""
    assert process.stdout
    word, _, number = process.stdout.readline().partition(" ")
    assert word, "the driver died"
    return word, int(number)


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
    with pytest.raises(UsageError, match="no memory that can be read"):
        Store(tmp_path / "text", create=True)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (id)")
    other.close()
    with pytest.raises(UsageError, match="no memory of lmtool"):
        Store(tmp_path / "other.db", create=True)
    fill(tmp_path / "m.db", "a", ["one"])
    newer = sqlite3.connect(tmp_path / "m.db")
    newer.execute("UPDATE meta SET value = '9' WHERE key = 'format'")
    newer.commit()
    newer.close()
    with pytest.raises(UsageError, match="format 9"):
        Store(tmp_path / "m.db")


def test_vectors_keep_two_digits() -> None:
    vectors = np.stack([vector_of("a"), np.zeros(SIZE, np.float32)])
    rows = np.frombuffer(encode_vectors(vectors), np.uint8).reshape(2, SIZE + 4)
    decoded = rows[:, 4:].view(np.int8) * rows[:, :4].copy().view(np.float32)
    assert np.abs(decoded - vectors).max() <= np.abs(vectors).max() / 253


def test_a_kill_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """A process that adds and forgets is killed at moments of chance.

    What it said it had added is there, and what it said it had forgotten is not; of what it was
    about to do, all is done or nothing.
    """
    path, chance = tmp_path / "m.db", np.random.default_rng(0)
    there: set[int] = set()
    number = n_open = 1
    with started(DRIVER, str(path)) as process:
        assert process.stdin
        for n_killed in range(N_KILLS):
            print(number, file=process.stdin, flush=True)
            child, wait = 0, int(chance.integers(0, 8))
            maybe: set[int] = set()
            while (said := said_by(process))[0] != "killed":
                word, about = said
                if word == "child":
                    child = about
                else:
                    wait -= 1
                    maybe = {about} if word in ("adds", "forgets") else set()
                    number = max(number, about)
                    there = there | {about} if word == "added" else there - {about}
                if child and wait <= 0:
                    time.sleep(chance.uniform(0, 0.005))
                    os.kill(child, signal.SIGKILL)
                    child = 0
            n_open += bool(maybe)
            store = Store(path, create=True)
            batches = Counter(int(text.split()[-1]) for text in texts_of(store))
            if n_killed % 10 == 9:
                check(store)
            store.close()
            assert set(batches.values()) <= {20}  # each whole
            assert there <= set(batches) <= there | maybe
            there = set(batches)
            number += 2
        process.stdin.close()
    assert len(there) > N_KILLS // 3
    assert n_open > N_KILLS // 4  # killed in the middle, and not only between


COMMANDS = """
import os, signal, sys, time
import lmtool_memory.remembering as remembering
from lmtool.cli.main import run
from memory_kit import ByHeart

remembering.Embedder = ByHeart
for line in sys.stdin:
    seconds, *arguments = line.split()
    began = time.monotonic()
    child = os.fork()
    if not child:
        os._exit(run(arguments))
    if float(seconds):
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.write(1, f"{(time.monotonic() - began) * 1e6:.0f} {status}\\n".encode())
"""
"""Runs a command line in a process of its own for each line, which it kills after some seconds."""


def test_killed_commands_lose_nothing(tmp_path: Path) -> None:
    """`remember` of a file that has changed, which keeps, adds and deletes, and `forget`.

    `forget` writes the file anew. What a killed command leaves is whole, and holds all that was
    there and is still meant; the same command then brings what an undisturbed one does.
    """
    memory, chance = tmp_path / "m.db", np.random.default_rng(1)
    stays, changes = tmp_path / "stays.jsonl", tmp_path / "changes.jsonl"
    forget = ("forget", changes)

    def write(path: Path, numbers: Iterable[int]) -> set[str]:
        texts = [f"{path.stem}{n} is a text" for n in numbers]
        path.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts), "utf-8")
        return set(texts)

    with started(COMMANDS) as process:
        assert process.stdin

        def run(*arguments: object, after: float = 0.0) -> tuple[float, bool]:
            """Return the seconds that a command took, and whether it was killed."""
            assert process.stdin
            print(after, *arguments, "--memory", memory, file=process.stdin, flush=True)
            microseconds, status = said_by(process)
            assert status == (signal.SIGKILL if after else 0) or status == 0
            return float(microseconds) / 1e6, status != 0

        kept, old = write(stays, range(100)), write(changes, range(400))
        run("remember", stays, changes, "-q")
        whole = run(*forget)[0]
        seconds, n_killed = run("remember", changes, "-q")[0], 0
        for number in range(N_KILLS_OF_COMMANDS // 2):
            new = write(changes, range(100 * number + 50, 100 * number + 450))
            n_killed += run("remember", changes, "-q", after=chance.uniform(0.001, seconds))[1]
            found = stored(memory)
            assert len(found) == len(set(found))
            assert kept | (old & new) <= set(found) <= kept | old | new
            run("remember", changes, "-q")
            assert set(stored(memory)) == kept | new
            n_killed += run(*forget, after=chance.uniform(0.001, whole))[1]
            assert set(stored(memory)) in (kept, kept | new)
            run("remember", changes, "-q")
            assert set(stored(memory)) == kept | new
            old = new
        process.stdin.close()
    assert n_killed >= N_KILLS_OF_COMMANDS // 2


def stored(path: Path) -> list[str]:
    """Return the texts of a memory, whose parts belong together."""
    store = Store(path)
    try:
        return check(store)
    finally:
        store.close()
