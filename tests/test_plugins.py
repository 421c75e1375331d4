"""Discovery: nothing is imported early, and what is broken fails alone."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lmtool.errors import PluginError
from lmtool.plugins import Plugin, Registry, scan

TASK = """
    import lmtool
    class {name}(lmtool.EncoderTask):
        name = "{task}"
        summary = "A task"
        layers = ("entities",)
        main_metric = "f1"
    @lmtool.hookimpl
    def lmtool_register_tasks():
        return [{name}]
"""

Make = Callable[..., Plugin]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that writes a module and gives the plugin that it is."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, source: str, distribution: str = "") -> Plugin:
        module = f"made_{name.replace('-', '_')}_{len(list(tmp_path.iterdir()))}"
        lines = source.strip("\n").splitlines()
        indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
        text = "\n".join(line[indent:] for line in lines)
        (tmp_path / f"{module}.py").write_text(text, "utf-8")
        return Plugin(name, module, distribution or f"dist-{name}", "1.0", "A plugin.")

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("made_"):
            del sys.modules[name]


def task_plugin(make: Make, name: str, task: str = "", distribution: str = "") -> Plugin:
    return make(name, TASK.format(name="Made", task=task or name), distribution)


def is_imported(plugin: Plugin) -> bool:
    return plugin.value in sys.modules


# ── Scan ─────────────────────────────────────────────────────────────────────────────────────


def install(folder: Path, name: str, points: dict[str, str], version: str = "1.0") -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: About {name}.\n"
    )
    lines = "".join(f"{key} = {value}\n" for key, value in points.items())
    (info / "entry_points.txt").write_text(
        f"[console_scripts]\nother = other:main\n\n[lmtool]\n{lines}"
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "lmtool", {"extract": "core_extract"}, "0.1")
    install(tmp_path, "My_Plugin", {"shout": "raises_at_import", "shout-stats": "m:object"})
    install(tmp_path, "another", {"whisper": "raises_at_import"})
    (tmp_path / "raises_at_import.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delenv("LMTOOL_PLUGINS", raising=False)


@pytest.mark.usefixtures("installed")
def test_scan_reads_metadata_and_imports_nothing() -> None:
    assert scan() == [
        Plugin("extract", "core_extract", "lmtool", "0.1", "About lmtool."),
        Plugin("shout", "raises_at_import", "my-plugin", "1.0", "About My_Plugin."),
        Plugin("shout-stats", "m:object", "my-plugin", "1.0", "About My_Plugin."),
        Plugin("whisper", "raises_at_import", "another", "1.0", "About another."),
    ]
    assert "raises_at_import" not in sys.modules


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("variable", "names"),
    [
        ("", ["extract"]),
        ("shout", ["extract", "shout"]),
        ("whisper, shout-stats", ["extract", "shout-stats", "whisper"]),
        ("my-plugin", ["extract", "shout", "shout-stats"]),
        ("My_Plugin", ["extract", "shout", "shout-stats"]),
        ("no-such", ["extract"]),
    ],
)
def test_lmtool_plugins_limits_what_is_seen(
    monkeypatch: pytest.MonkeyPatch, variable: str, names: list[str]
) -> None:
    monkeypatch.setenv("LMTOOL_PLUGINS", variable)
    assert [plugin.name for plugin in scan()] == names


def test_scan_of_the_real_installation_finds_the_core() -> None:
    assert [p.value for p in scan() if p.name == "extract" and p.is_own] == ["lmtool_extract"]


# ── Loading ──────────────────────────────────────────────────────────────────────────────────


def test_a_registry_imports_nothing_by_itself(make: Make) -> None:
    plugins = [task_plugin(make, "one"), task_plugin(make, "two")]
    registry = Registry(plugins)
    assert registry.names() == ["one", "two"]
    assert not any(map(is_imported, plugins))
    assert registry.loaded == frozenset()


def test_only_the_named_plugin_is_imported(make: Make) -> None:
    one, two = task_plugin(make, "one"), task_plugin(make, "two")
    registry = Registry([one, two])
    task = registry.task("one")
    assert task is not None
    assert task.name == "one"
    assert is_imported(one)
    assert not is_imported(two)
    assert registry.loaded == {"one"}


def test_a_task_of_another_name_is_found_lmtools_own_first(make: Make) -> None:
    own = task_plugin(make, "own", "parse", distribution="lmtool")
    other = task_plugin(make, "other", "tag")
    registry = Registry([other, own])
    assert registry.task("parse") is not None
    assert not is_imported(other)
    assert registry.task("tag") is not None
    assert registry.task("nothing") is None


def test_two_entry_points_may_share_a_module(make: Make) -> None:
    one = task_plugin(make, "one")
    registry = Registry([one, one._replace(name="one-more")])
    registry.load_all()
    assert registry.loaded == {"one", "one-more"}
    assert [task.name for task in registry.tasks_of("one-more")] == ["one"]


def test_an_entry_point_may_name_an_object_in_a_module(make: Make) -> None:
    source = """
        import lmtool
        class Hooks:
            @lmtool.hookimpl
            def lmtool_register_bundles(self):
                return {"tiny": "folder"}
        class inside:
            hooks = Hooks()
    """
    plugin = make("nested", source)
    registry = Registry([plugin._replace(value=f"{plugin.value}:inside.hooks")])
    registry.load("nested")
    assert registry.bundles() == {"tiny": Path("folder")}


def test_no_such_plugin_names_those_that_are_there(make: Make) -> None:
    registry = Registry([task_plugin(make, "one"), task_plugin(make, "two")])
    with pytest.raises(PluginError, match="no plugin 'three'") as caught:
        registry.load("three")
    assert "one, two" in caught.value.hint
    assert caught.value.exit_code == 5


# ── Two with one name ────────────────────────────────────────────────────────────────────────


def test_two_plugins_of_one_name_are_an_error_that_names_both(make: Make) -> None:
    first = task_plugin(make, "one", distribution="dist-a")
    second = task_plugin(make, "one", distribution="dist-b")
    fine = task_plugin(make, "two")
    registry = Registry([first, second, fine])
    with pytest.raises(PluginError) as caught:
        registry.load("one")
    assert "dist-a 1.0" in caught.value.message
    assert "dist-b 1.0" in caught.value.message
    assert "LMTOOL_PLUGINS" in caught.value.hint
    assert set(registry.broken) == {"one"}
    assert registry.task("two") is not None
    assert not is_imported(first)
    assert not is_imported(second)


def test_two_tasks_of_one_name_the_plugin_of_that_name_wins(make: Make) -> None:
    named = task_plugin(make, "one")
    intruder = task_plugin(make, "zzz", "one")
    registry = Registry([named, intruder])
    registry.load_all()
    task = registry.task("one")
    assert task is not None
    assert task.__module__ == named.value


def test_two_tasks_of_one_name_in_other_plugins_are_an_error(make: Make) -> None:
    registry = Registry([task_plugin(make, "a", "one"), task_plugin(make, "b", "one")])
    with pytest.raises(PluginError, match="two plugins have a task 'one': dist-a and dist-b"):
        registry.task("one")


def test_of_two_bundles_with_one_name_lmtools_own_counts(make: Make) -> None:
    source = """
        import lmtool
        @lmtool.hookimpl
        def lmtool_register_bundles():
            return {{"tiny": "{0}"}}
    """
    other = make("other", source.format("other"))
    own = make("own", source.format("own"), "lmtool")
    registry = Registry([other, own])
    registry.load_all()
    assert registry.bundles() == {"tiny": Path("own")}


# ── Quarantine ───────────────────────────────────────────────────────────────────────────────

BROKEN = {
    "import": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "missing": ("import no_such_module_at_all", "ModuleNotFoundError: No module named"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "syntax": ("def (", "SyntaxError"),
    "typo": (
        "import lmtool\n@lmtool.hookimpl\ndef lmtool_typo(): ...",
        "unknown hook 'lmtool_typo'",
    ),
    "argument": (
        "import lmtool\n@lmtool.hookimpl\ndef lmtool_register_tasks(what): ...",
        "PluginValidationError",
    ),
    "hook": (
        "import lmtool\n@lmtool.hookimpl\ndef lmtool_register_tasks(): return 1 / 0",
        "lmtool_register_tasks: ZeroDivisionError: division by zero",
    ),
    "nothing": (
        "import lmtool\n@lmtool.hookimpl\ndef lmtool_register_tasks(): pass",
        "lmtool_register_tasks: TypeError: 'NoneType' object is not iterable",
    ),
    "nameless": (
        TASK.format(name="Made", task="x").replace("summary", "sumary"),
        "lmtool_register_tasks: TypeError: Made has no 'summary'",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_reported_with_its_reason(make: Make, kind: str) -> None:
    source, reason = BROKEN[kind]
    registry = Registry([make("bad", source)])
    with pytest.raises(PluginError) as caught:
        registry.task("bad")
    assert caught.value.message.startswith("plugin 'bad' (dist-bad 1.0) is broken: ")
    assert reason in caught.value.message
    assert "dist-bad" in caught.value.hint
    assert caught.value.__cause__ is not None  # for --debug
    assert reason in registry.broken["bad"]
    assert registry.loaded == frozenset()


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_fails_alone(
    make: Make, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = make("bad", BROKEN[kind][0])
    registry = Registry([bad, task_plugin(make, "good"), task_plugin(make, "zebra", "stripes")])
    assert registry.task("good") is not None
    with caplog.at_level(logging.WARNING, "lmtool"):
        assert registry.task("stripes") is not None
    assert "'bad'" in caplog.text
    assert set(registry.broken) == {"bad"}
    assert registry.loaded == {"good", "zebra"}


def test_a_broken_plugin_is_imported_and_reported_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry([make("bad", "raise RuntimeError('no luck')")])
    registry.load_all()
    registry.load_all()
    assert len(caplog.records) == 1
    with pytest.raises(PluginError, match="no luck"):
        registry.load("bad")


def test_tasks_of_a_plugin_whose_hook_fails_is_a_plugin_error(make: Make) -> None:
    registry = Registry([make("bad", BROKEN["hook"][0])])
    registry.load("bad")
    with pytest.raises(PluginError, match="division by zero"):
        registry.tasks_of("bad")
    assert "bad" in registry.broken


def test_an_interrupt_is_not_a_broken_plugin(make: Make) -> None:
    registry = Registry([make("slow", "raise KeyboardInterrupt")])
    with pytest.raises(KeyboardInterrupt):
        registry.load("slow")
    assert not registry.broken


# ── Hooks ────────────────────────────────────────────────────────────────────────────────────


def test_first_takes_the_first_answer_and_skips_what_fails(make: Make) -> None:
    source = """
        import lmtool
        @lmtool.hookimpl
        def lmtool_resolve_bundle(ref):
            return {}
    """
    answers = ["1 / 0", "None", "'found/' + ref", "'late'"]
    registry = Registry([make(f"p{i}", source.format(a)) for i, a in enumerate(answers)])
    registry.load_all()
    assert registry.first("lmtool_resolve_bundle", ref="x") == "found/x"
    assert set(registry.broken) == {"p0"}


def test_a_hook_takes_the_arguments_it_names(make: Make) -> None:
    source = """
        import lmtool
        @lmtool.hookimpl
        def lmtool_resolve_session(device):
            return "session on " + device
    """
    registry = Registry([make("engine", source)])
    registry.load_all()
    found = registry.first("lmtool_resolve_session", graph=None, device="npu", threads=1)
    assert found == "session on npu"


def test_observers_are_called_and_a_broken_one_only_once(make: Make) -> None:
    source = """
        import lmtool
        seen = []
        @lmtool.hookimpl
        def lmtool_on_train_step(step):
            seen.append(step)
            {}
    """
    good, bad = make("good", source.format("")), make("bad", source.format("1 / 0"))
    registry = Registry([bad, good])
    registry.load_all()
    for step in (1, 2):
        registry.observe("lmtool_on_train_step", step=step)
    assert sys.modules[good.value].seen == [1, 2]
    assert sys.modules[bad.value].seen == [1]


def test_commands_come_from_the_named_plugin_alone(make: Make) -> None:
    source = """
        import lmtool
        @lmtool.hookimpl
        def lmtool_add_commands(app):
            app.append("{}")
    """
    one, two = make("one", source.format("one")), make("two", source.format("two"))
    registry = Registry([one, two, task_plugin(make, "none")])
    app: list[str] = []
    assert registry.commands("two", app)
    assert app == ["two"]
    assert not registry.commands("none", app)
    assert not is_imported(one)


def test_readers_and_writers_stand_after_the_cores(make: Make) -> None:
    source = """
        import lmtool
        class Made(lmtool.Reader):
            name = "made"
            suffixes = (".made",)
            summary = "A made-up format"
            def read(self, source, options):
                yield lmtool.Document(text="")
        @lmtool.hookimpl
        def lmtool_register_readers():
            return [Made]
    """
    registry = Registry([make("formats", source)])
    core = len(registry.readers())
    registry.load_all()
    assert [reader.name for reader in registry.readers()][core:] == ["made"]
    assert core > 0
