"""Start-up: `lmtool --help` and `lmtool extract --text`, each process from its start to its exit.

    python benchmarks/startup.py [--checkpoint RUN/best] [--model extract-en] [--language story-en]

Every round starts each command once, one after the other, so another load on the machine meets
all; what counts is the median of the rounds. All files are in the system's cache after a first
round that is not counted: a first run after a reboot waits for the disk besides. The commands
run with caches and settings of their own, in a temporary folder.

help     `lmtool --help` against importing what a command line is built of; the same with 50
         plugins installed (a module and a .dist-info folder each) that sleep 50 ms when imported.
         They must be listed, and not one imported, else the benchmark fails.
extract  `lmtool extract --text` against a Python process that does it with a transformers
         pipeline, fp32 and offline, made of the checkpoint that the model was exported from.
         For the documented figure, use two cores: taskset -c 0,1.
generate `lmtool generate PROMPT --format text` with a language model: from the start of the process
         to the first byte of the answer, which a pipe gets as a terminal does. With --language.

Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from machine import Target, describe, judge
from peers import EXTRACT_TEXT, hf_peer

N_PLUGINS = 50
PLUGIN = """\
import pathlib, time
pathlib.Path(__file__).with_suffix(".imported").touch()
time.sleep(0.05)
"""
PROMPT = "Once upon a time"
TEXT = (
    "Tim Cook met Angela Merkel in Berlin on Monday. Apple will open an office near the "
    "Brandenburg Gate, he told Reuters, and hire 300 people."
)


class Command(NamedTuple):
    """A command line, and what its environment has beside the benchmark's own."""

    arguments: Sequence[str]
    environment: Mapping[str, str]


class Times(NamedTuple):
    """Seconds of one process: by the clock, and of its processor time on all cores."""

    wall: float
    cpu: float


def main() -> int:
    options = parse()
    print(describe("typer", "rich", "pluggy", "numpy", "onnxruntime", "tokenizers"))
    lmtool = str(Path(sys.executable).with_name("lmtool"))
    targets: list[Target] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = private_environment(folder)
        if "help" in options.parts:
            targets += measure_help(lmtool, folder, own, options.rounds)
        if options.language is not None:
            targets += measure_generate(lmtool, options.language, own, options.rounds)
        if "extract" in options.parts:
            peer = options.peer
            if options.checkpoint is not None:
                peer = hf_peer(options.checkpoint, folder / "peer")
            targets += measure_extract(lmtool, options.model, peer, own, options.peer_rounds)
    return judge(targets)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="name or folder of a bundle (default: what ships)")
    parser.add_argument("--language", help="name or folder of a language model: adds generate")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--checkpoint", type=Path, help="best/ of a run: the peer is made of it")
    group.add_argument("--peer", type=Path, help="a peer's folder that peers.hf_peer wrote")
    parser.add_argument("--parts", nargs="+", choices=("help", "extract"), default=None)
    parser.add_argument("--rounds", type=int, default=15, help="of the part help")
    parser.add_argument("--peer-rounds", type=int, default=7, help="of the part extract")
    options = parser.parse_args()
    options.parts = options.parts or ["help", "extract"]
    return options


def measure_help(lmtool: str, folder: Path, own: Mapping[str, str], rounds: int) -> list[Target]:
    """Time --help without and with plugins, and the imports it is measured by."""
    empty, plugins = folder / "empty", folder / "plugins"
    empty.mkdir()
    install_plugins(plugins)
    alone, crowded = ({**own, "PYTHONPATH": str(path)} for path in (empty, plugins))
    imports = [sys.executable, "-c", "import typer, rich, pluggy"]
    seconds = time_in_turns(
        {
            "import typer, rich, pluggy": Command(imports, alone),
            "lmtool --help": Command([lmtool, "--help"], alone),
            f"lmtool --help, {N_PLUGINS} slow plugins": Command([lmtool, "--help"], crowded),
        },
        rounds,
    )
    check_plugins(lmtool, plugins, crowded)
    least, plain, full = seconds.values()
    return [
        Target("--help / import typer, rich, pluggy", plain / least, 2.5, unit="x"),
        Target(f"--help with {N_PLUGINS} plugins / without", full / plain, 1.2, unit="x"),
    ]


def install_plugins(folder: Path) -> None:
    """Write plugins as an installer would leave them: a module and its metadata each."""
    folder.mkdir()
    for number in range(N_PLUGINS):
        name = f"lmtool_slow_{number:02}"
        (folder / f"{name}.py").write_text(PLUGIN, "utf-8")
        metadata = folder / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nSummary: Sleeps on import\n",
            "utf-8",
        )
        (metadata / "entry_points.txt").write_text(
            f"[lmtool]\nslow-{number:02} = {name}\n", "utf-8"
        )


def check_plugins(lmtool: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Exit unless --help lists every plugin and imports none."""
    text = run([lmtool, "--help"], environment).stdout.decode()
    n_listed = text.count("slow-")
    n_imported = len(list(folder.glob("*.imported")))
    if n_listed != N_PLUGINS or n_imported:
        sys.exit(f"--help lists {n_listed} of {N_PLUGINS} plugins and imports {n_imported}")
    print(f"--help lists all {N_PLUGINS} plugins and imports none")


def measure_extract(
    lmtool: str, model: str | None, peer: Path | None, own: Mapping[str, str], rounds: int
) -> list[Target]:
    """Time one text through the shipped model, and through the peer if there is one."""
    named = ["--model", model] if model else []
    ours = Command([lmtool, "extract", *named, "--text", TEXT], own)
    commands = {"lmtool extract --text": ours}
    if peer is not None:
        theirs = Command([sys.executable, "-c", EXTRACT_TEXT, str(peer), TEXT], own)
        commands["transformers pipeline"] = theirs
    for name, command in commands.items():
        answer = run(command.arguments, command.environment).stdout.decode().strip()
        print(f"{name} says:\n  {answer.replace(chr(10), chr(10) + '  ')}")
    seconds = time_in_turns(commands, rounds)
    wall = seconds["lmtool extract --text"]
    targets = [Target("extract --text", wall, 0.5, unit=" s")]
    if peer is None:
        print("no peer: give --checkpoint or --peer")
    else:
        ratio = wall / seconds["transformers pipeline"]
        targets.append(Target("extract --text / transformers pipeline", ratio, 1 / 8, unit="x"))
    return targets


def measure_generate(lmtool: str, model: str, own: Mapping[str, str], rounds: int) -> list[Target]:
    """Time a prompt up to the first byte of its answer."""
    command = [lmtool, "generate", "--model", model, "--format", "text", PROMPT]
    answer = run(command, own).stdout.decode().strip()
    print(f"lmtool generate says:\n  {answer.replace(chr(10), chr(10) + '  ')}")
    seconds = [time_to_first_byte(command, own) for _ in range(rounds)]
    median = statistics.median(seconds)
    print(
        f"\nfirst byte of lmtool generate: median {median:.3f}, least {min(seconds):.3f}, most "
        f"{max(seconds):.3f} seconds of {rounds} runs\n"
    )
    return [Target("first token of generate", median, 0.6, unit=" s")]


def time_to_first_byte(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return the seconds from the start of a process to its first byte on stdout."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - started
        process.stdout.read()
    if process.returncode or not first:
        sys.exit(f"{' '.join(command[:3])} failed")
    return seconds


def time_in_turns(commands: Mapping[str, Command], rounds: int) -> dict[str, float]:
    """Print a table of times and return the median of the wall-clock seconds of each command."""
    times: dict[str, list[Times]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            measured = time_once(command)
            if number:  # the first round fills caches
                times[name].append(measured)
    print(f"\n{'':<36}{'median':>9}{'least':>9}{'most':>9}{'CPU':>9}  seconds of {rounds} runs")
    medians = {}
    for name, runs in times.items():
        walls = [run.wall for run in runs]
        medians[name] = statistics.median(walls)
        figures = (medians[name], min(walls), max(walls), statistics.median(r.cpu for r in runs))
        print(f"{name:<36}" + "".join(f"{figure:9.3f}" for figure in figures))
    print()
    return medians


def time_once(command: Command) -> Times:
    """Run a command to its end; exit when it fails."""
    before = os.times()
    started = time.perf_counter()
    run(command.arguments, command.environment)
    wall = time.perf_counter() - started
    after = os.times()
    cpu = after.children_user + after.children_system
    return Times(wall, cpu - before.children_user - before.children_system)


def run(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        arguments, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments[:3])} failed:\n{done.stderr.decode()}")
    return done


def private_environment(folder: Path) -> dict[str, str]:
    """Return an environment whose caches and settings are in a folder, and which is offline.

    Bytecode is written, as an installer does it: without, each start would compile lmtool again.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LMTOOL_")}
    for name in ("CACHE", "CONFIG", "DATA"):
        kept[f"XDG_{name}_HOME"] = str(folder / name.lower())
    if models := os.environ.get("LMTOOL_MODELS"):
        kept["LMTOOL_MODELS"] = models
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


if __name__ == "__main__":
    sys.exit(main())
