"""Peak memory of `lmtool extract FILE -o OUT` by the length of the file.

    python benchmarks/memory.py --texts TWEETS.jsonl… [--lines 50000 1000000]

The files are made of real, short texts (--texts: files that lmtool reads; white space becomes one
space, those of more than --characters are left out), in random order with a fixed seed, again and
again from the beginning, each with its line number at its end, so that no two lines are equal:
lmtool computes equal texts of a chunk once, and here it finds none.

Each run is a process of its own. Its peak is what the kernel reports at its end (ru_maxrss of
wait4). On Linux its resident memory is read from /proc besides, ten times a second, and printed
by tenths of the run with the slope of its second half. Memory that files are mapped into counts.
The order is short, long, short, long … and the ratio that of the medians.

A million lines take 15 to 30 minutes on two cores: --lines scales both. With fewer lines the
ratio proves less, as the peak of a longer run has more chances to be high.

Exit code 1 when the target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from machine import Target, describe, judge

import lmtool
from lmtool.inputs import expand_inputs
from lmtool.sources import ReadOptions

EVERY = 0.1  # seconds between looks at the memory
MEGABYTE = 2**20
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Run(NamedTuple):
    """One process: its peak in MB, its seconds, and its resident MB over time."""

    peak: float
    seconds: float
    resident: list[float]


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the run that is watched, too
    print(describe("onnxruntime", "tokenizers", "numpy"))
    texts = read_texts(options.texts, options.characters)
    n_characters = sum(map(len, texts))
    print(f"{len(texts):,} different texts, {n_characters / len(texts):.0f} characters on average")
    runs: dict[int, list[Run]] = {n: [] for n in sorted(options.lines)}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for n_lines in runs:
            write_lines(folder / f"{n_lines}.txt", texts, n_lines)
        for number, n_lines in itertools.product(range(options.rounds), runs):
            run = run_lmtool(folder / f"{n_lines}.txt", folder / "out.jsonl", options)
            runs[n_lines].append(run)
            print(f"\nround {number + 1}, {n_lines:,} lines: peak {run.peak:.1f} MB, ", end="")
            print(f"{run.seconds:.1f} s, {n_lines / run.seconds:,.0f} lines/s")
            print_trend(run, n_lines)
    short, long = (statistics.median(run.peak for run in found) for found in runs.values())
    fewer, more = runs
    print()
    return judge([Target(f"peak of {more:,} / {fewer:,} lines", long / short, 1.1, unit="x")])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--lines", nargs=2, type=int, default=[50_000, 1_000_000])
    parser.add_argument("--characters", type=int, default=100, help="the longest text taken")
    parser.add_argument("--model", help="name or folder of a bundle (default: what ships)")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores of this process")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the files are made (default: /tmp)")
    options = parser.parse_args()
    if options.lines[0] == options.lines[1]:
        parser.error("--lines: two different numbers")
    return options


def read_texts(files: Sequence[str], longest: int) -> list[str]:
    """Return the short texts of these files, each once, in random order."""
    texts = []
    for item in expand_inputs(files):
        for found in item.reader.read(item.source, ReadOptions()):
            if isinstance(found, lmtool.Document):
                texts.append(" ".join(found.text.split()))
    kept = sorted({text for text in texts if 0 < len(text) <= longest})
    if not kept:
        sys.exit(f"no texts of at most {longest} characters in these files")
    random.Random(0).shuffle(kept)
    return kept


def write_lines(path: Path, texts: Sequence[str], n: int) -> None:
    """Write n lines, each a text and its number."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(itertools.islice(itertools.cycle(texts), n), 1):
            file.write(f"{text} {number}\n")


def run_lmtool(source: Path, target: Path, options: argparse.Namespace) -> Run:
    """Run the command on a file and watch its memory; exit when it fails."""
    command = [str(Path(sys.executable).with_name("lmtool")), "extract", str(source)]
    command += ["-o", str(target), "--quiet", "--threads", str(options.threads)]
    command += ["--model", options.model] if options.model else []
    resident: list[float] = []
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            resident += read_resident(process.pid)
            time.sleep(EVERY)
    except BaseException:
        process.kill()
        raise
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {process.returncode}")
    with target.open("rb") as file:
        n_written = sum(1 for _ in file)
    print(f"{n_written:,} documents, {target.stat().st_size / MEGABYTE:,.1f} MB written", end="")
    return Run(usage.ru_maxrss * MAXRSS_UNIT / MEGABYTE, seconds, resident)


def read_resident(pid: int) -> list[float]:
    """Return the resident MB of a process now; nothing where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return []
    return [pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE]


def print_trend(run: Run, n_lines: int) -> None:
    """Print the resident memory of each tenth of the run, and the slope of its second half."""
    n = len(run.resident)
    if n < 20:
        return
    tenths = [run.resident[n * i // 10 : n * (i + 1) // 10] for i in range(10)]
    medians = [statistics.median(tenth) for tenth in tenths]
    print("resident MB by tenths: " + " ".join(f"{figure:.0f}" for figure in medians))
    settled = run.resident[n // 2 :]
    slope = statistics.linear_regression(range(len(settled)), settled).slope  # MB a look
    per_lines = slope * n / n_lines * 100_000
    print(f"slope of the second half: {per_lines:+.2f} MB per 100,000 lines")


if __name__ == "__main__":
    sys.exit(main())
