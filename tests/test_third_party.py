"""A plugin of somebody else: built, installed and used as an outsider would."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("torch")
pytest.importorskip("hatchling")

PROJECT = Path(__file__).parent / "third_party" / "lmtool-shout"
DOCS = Path(__file__).parent.parent / "docs" / "plugins.md"


def blocks(language: str) -> list[str]:
    """Return the code blocks of the documentation in one language."""
    text = DOCS.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


(GOLD,) = blocks("text")
_, WALK = blocks("sh")
LMTOOL = "from lmtool.cli.main import main; main()"


class Done(NamedTuple):
    """A command that has run."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it into a folder of its own, offline."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-index", "--no-deps", "--no-build-isolation", "--target", folder, PROJECT],
        check=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder to work in, with the data."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "gold.shout").write_text(GOLD)
    return folder


@pytest.fixture(scope="module")
def run(site: Path, home: Path) -> Run:
    """Return a function that runs lmtool, or a script, where the plugin is installed."""

    def run(
        *arguments: object, script: str | None = None, also: Path | None = None, **variables: str
    ) -> Done:
        paths = [str(path) for path in (site, also) if path]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LMTOOL_", "XDG_"))}
        folders = {f"XDG_{name}_HOME": str(home / name) for name in ("CACHE", "CONFIG", "DATA")}
        program = [sys.executable, "-c", LMTOOL] if script is None else ["bash", "-ec", script]
        done = subprocess.run(
            [*program, *map(str, arguments)],
            cwd=home,
            env={
                **kept,
                **folders,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(paths),
                **variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")
def walk(run: Run) -> Done:
    """Do what the documentation says."""
    functions = f"""
        lmtool() {{ '{sys.executable}' -c '{LMTOOL}' "$@"; }}
        python() {{ '{sys.executable}' "$@"; }}
    """
    done = run(script=functions + WALK)
    assert done.code == 0, done.err
    return done


@pytest.fixture(scope="module")
def bundle(walk: Done, home: Path) -> Path:
    return home / "loud-en"


# ── Seen ─────────────────────────────────────────────────────────────────────────────────────


def rows(out: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line) for line in out.splitlines()]


def test_the_plugin_shows_in_plugins_and_help(run: Run) -> None:
    listed = run("plugins")
    assert listed.code == 0, listed.err
    shout = next(row for row in rows(listed.out) if row[0] == "shout")
    assert shout[1:3] == ["lmtool-shout", "1.0"]
    assert "task shout" in " ".join(shout)
    assert shout[-1] == "ok"
    shown = run("--help")
    assert "Find what is shouted: capitals and exclamation marks" in shown.out
    assert "shout-stats" in shown.out


def test_its_options_are_flags(run: Run) -> None:
    shown = run("shout", "--help")
    assert "--min-length" in shown.out
    assert "Least characters of a shout" in shown.out
    wrong = run("shout", "--min-lenght", 2, "--text", "a")
    assert wrong.code == 2
    assert "--min-lenght" in wrong.err
    low = run("shout", "--min-length", 0, "--text", "a")
    assert low.code == 2


def test_lmtool_plugins_limits_what_is_loaded(run: Run) -> None:
    assert "shout" not in run("plugins", LMTOOL_PLUGINS="").out
    assert run("shout", "--text", "a", LMTOOL_PLUGINS="").code == 2
    only = run("plugins", LMTOOL_PLUGINS="shout").out
    assert "shout " in only
    assert "shout-stats" not in only
    assert "shout-stats" in run("plugins", LMTOOL_PLUGINS="lmtool-shout").out


# ── Used ─────────────────────────────────────────────────────────────────────────────────────


def test_it_learns(walk: Done) -> None:
    scores = {row[0]: row[1:] for row in rows(walk.out) if row[0] in ("capitals", "exclamation")}
    assert scores["capitals"] == ["100.00", "100.00", "100.00", "14"]
    assert scores["exclamation"] == ["100.00", "100.00", "100.00", "9"]


def test_its_bundle_is_as_good(run: Run, bundle: Path) -> None:
    done = run("evaluate", bundle, "gold.shout", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["micro_f1"] == 100


def test_it_runs(run: Run, bundle: Path) -> None:
    done = run("shout", "--model", bundle, "--text", "The man said GO AWAY!", "--format", "jsonl")
    assert done.code == 0, done.err
    shouts = json.loads(done.out)["shouts"]
    assert [(s["start"], s["end"], s["text"], s["label"]) for s in shouts] == [
        (13, 20, "GO AWAY", "capitals"),
        (20, 21, "!", "exclamation"),
    ]
    long = run("shout", "-m", bundle, "--min-length", 2, "--text", "NO STOP !", "--format", "jsonl")
    assert [s["text"] for s in json.loads(long.out)["shouts"]] == ["NO STOP"]


def test_it_reads_and_writes_its_own_format(run: Run, home: Path, bundle: Path) -> None:
    done = run("shout", "-m", bundle, "gold.shout", "-o", "found.shout")
    assert done.code == 0, done.err
    assert (home / "found.shout").read_text() == GOLD
    (home / "bad.shout").write_text("*A* b\n*broken\n")
    failed = run("shout", "-m", bundle, "bad.shout", "--format", "jsonl")
    assert failed.code == 3
    assert len(failed.out.splitlines()) == 1
    assert "star" in failed.err + "".join(p.read_text() for p in home.glob("*.errors.jsonl"))


def test_its_command_runs(run: Run, home: Path) -> None:
    done = run("shout-stats", "gold.shout")
    assert (done.code, done.out) == (0, "capitals\t14\nexclamation\t9\n")
    (home / "quiet.shout").write_text("Nothing.\n")
    assert run("shout-stats", "quiet.shout").code == 1
    (home / "bad.shout").write_text("*broken\n")
    wrong = run("shout-stats", "bad.shout")
    assert wrong.code == 3
    assert "bad.shout:1: a star without its partner" in wrong.err


def test_the_model_needs_its_plugin(run: Run, bundle: Path) -> None:
    done = run("evaluate", bundle, "gold.shout", "--input-format", "txt", LMTOOL_PLUGINS="")
    assert done.code == 4
    assert "needs the task 'shout', which no installed plugin has" in done.err


# ── Broken ───────────────────────────────────────────────────────────────────────────────────


def install(folder: Path, distribution: str, point: str, module: str, source: str) -> Path:
    info = folder / f"{distribution.replace('-', '_')}-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.0\nSummary: Another plugin.\n"
    )
    (info / "entry_points.txt").write_text(f"[lmtool]\n{point} = {module}\n")
    (folder / f"{module}.py").write_text(source)
    return folder


def test_a_broken_plugin_fails_alone(run: Run, tmp_path: Path) -> None:
    also = install(
        tmp_path, "lmtool-broken", "broken", "broken_plugin", "raise RuntimeError('no luck')"
    )
    listed = run("plugins", also=also)
    broken = next(row for row in rows(listed.out) if row[0] == "broken")
    assert broken[1] == "lmtool-broken"
    assert "no luck" in broken[-1]
    assert run("shout-stats", "gold.shout", also=also).code == 0
    named = run("broken", also=also)
    assert named.code == 5
    assert "lmtool-broken 2.0" in named.err
    assert "RuntimeError: no luck" in named.err
    assert "Traceback" not in named.err
    assert "Traceback" in run("--debug", "broken", also=also).err
    helped = run("--help", also=also)
    assert helped.code == 0
    assert "no luck" in helped.out


def test_two_plugins_of_one_name_are_an_error_that_names_both(run: Run, tmp_path: Path) -> None:
    also = install(tmp_path, "lmtool-louder", "shout", "louder", "import lmtool\n")
    done = run("shout", "--text", "a", also=also)
    assert done.code == 5
    assert "lmtool-shout 1.0" in done.err
    assert "lmtool-louder 2.0" in done.err
    assert run("extract", "--help", also=also).code == 0
    one = run("shout", "--help", also=also, LMTOOL_PLUGINS="lmtool-shout")
    assert one.code == 0
    assert "--min-length" in one.out


# ── Explained ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("language", "number", "path"),
    [
        ("toml", 0, PROJECT / "pyproject.toml"),
        ("python", 0, PROJECT / "lmtool_shout.py"),
        ("python", 2, DOCS.parent.parent / "plugins" / "lmtool_models_en" / "__init__.py"),
    ],
)
def test_the_documentation_shows_these_very_files(language: str, number: int, path: Path) -> None:
    assert blocks(language)[number] == path.read_text("utf-8")


def test_the_documented_commands_run(walk: Done) -> None:
    lines = walk.out.splitlines()
    assert lines[-2:] == ["capitals\t14", "exclamation\t9"]
    shouts = next(json.loads(line)["shouts"] for line in lines if line.startswith("{"))
    assert [shout["text"] for shout in shouts] == ["GO AWAY", "!"]


def test_the_documented_python_runs(run: Run, bundle: Path) -> None:
    source = blocks("python")[1]
    done = run(source, script=f"'{sys.executable}' -c \"$0\"")
    assert (done.code, done.out) == (0, "capitals GO AWAY\n"), done.err


def test_the_documented_test_passes(run: Run, home: Path) -> None:
    (home / "test_shout.py").write_text(blocks("python")[3])
    done = run(script=f"'{sys.executable}' -m pytest -q -p no:cacheprovider test_shout.py")
    assert done.code == 0, done.out
    assert "1 passed" in done.out


def test_every_hook_is_documented_with_its_arguments() -> None:
    from lmtool import hookspecs

    text = DOCS.read_text("utf-8")
    hooks = {k: v for k, v in vars(hookspecs).items() if k.startswith("lmtool_")}
    assert len(hooks) > 5
    for name, hook in hooks.items():
        assert f"`{name}({', '.join(inspect.signature(hook).parameters)})`" in text
