"""What benchmarks share: the machine, the versions, figures beside targets, child processes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def describe(*packages: str) -> str:
    """Return what figures depend on beside the code: processor, cores, load, versions.

    Packages that are not installed are left out.
    """
    cores = f"{n_cores()} cores of this process"
    load = f"load {os.getloadavg()[0]:.1f}"
    python = f"Python {platform.python_version()}"
    versions = [f"{name} {found}" for name in ("lmtool", *packages) if (found := _version(name))]
    system = f"{platform.system()} {platform.machine()}"
    return f"{processor()}, {cores}, {load}; {', '.join([system, python, *versions])}"


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its bound: the most it may be, or with `is_least` the least it must be."""

    name: str
    figure: float
    bound: float
    is_least: bool = False
    unit: str = ""

    @property
    def is_met(self) -> bool:
        return self.figure >= self.bound if self.is_least else self.figure <= self.bound

    def __str__(self) -> str:
        kind = "at least" if self.is_least else "at most"
        verdict = "met" if self.is_met else "MISSED"
        figure, bound = (f"{x:.3g}{self.unit}" for x in (self.figure, self.bound))
        return f"{self.name}: {figure} (target: {kind} {bound}) {verdict}"


def judge(targets: Iterable[Target]) -> int:
    """Print figures beside their targets; return the exit code, 1 where one is missed."""
    code = 0
    for target in targets:
        print(target)
        code = code if target.is_met else 1
    return code


class Child(NamedTuple):
    """A process that has ended: seconds by the clock and of processors, and its peak in MB.

    The kernel counts what this process held when it started the child, so it has to be small.
    """

    seconds: float
    processor: float
    peak: float


def run_child(command: Sequence[str]) -> Child:
    """Run a command without what it writes to stdout; exit when it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {process.returncode}")
    seconds = time.perf_counter() - began
    return Child(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * MAXRSS_UNIT / 2**20)
