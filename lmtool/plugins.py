"""Discovery of plugins: one metadata scan, lazy import, and quarantine of what is broken.

A plugin is an entry point of the group "lmtool"; its name is the name of its command. Scanning
imports nothing. A plugin that cannot be imported, or whose hook fails, is kept in
`Registry.broken` with the reason, and every other plugin goes on working.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy

from . import hookspecs
from ._metadata import distributions
from .errors import LmtoolError, PluginError

if TYPE_CHECKING:
    from .sources import Reader, Writer
    from .tasks import EncoderTask, TextTask

GROUP = "lmtool"
OWN_DISTRIBUTION = "lmtool"
log = logging.getLogger("lmtool")


class Plugin(NamedTuple):
    """An installed plugin as the metadata tells, without importing it."""

    name: str
    value: str
    distribution: str
    version: str
    summary: str

    def load(self) -> Any:
        """Import it and return the module (or the object in it) that holds the hooks."""
        module, _, attributes = self.value.partition(":")
        loaded: Any = importlib.import_module(module.strip())
        for name in filter(None, attributes.split("[")[0].strip().split(".")):
            loaded = getattr(loaded, name)
        return loaded

    @property
    def is_own(self) -> bool:
        """Whether it comes with lmtool itself."""
        return self.distribution == OWN_DISTRIBUTION


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def scan() -> list[Plugin]:
    """Return the installed plugins that LMTOOL_PLUGINS allows, sorted by name.

    The variable lists plugin or distribution names, separated by commas; set and empty it
    leaves only the plugins of lmtool itself.
    """
    allowed = os.environ.get("LMTOOL_PLUGINS")
    names = None if allowed is None else {_normal(n.strip()) for n in allowed.split(",")}
    plugins = []
    for distribution in distributions(GROUP):
        owner = _normal(distribution.name)
        for name, value in distribution.points.items():
            plugin = Plugin(name, value, owner, distribution.version, distribution.summary)
            if plugin.is_own or names is None or names & {_normal(name), owner}:
                plugins.append(plugin)
    # An editable install and its build folder can show one distribution twice.
    unique = {(p.name, p.value, p.distribution): p for p in reversed(plugins)}
    return sorted(unique.values(), key=lambda plugin: (plugin.name, plugin.distribution))


class Registry:
    """The plugins of a process and what they contribute.

    Look-ups load lmtool's own plugins first and the others only when nothing was found.
    """

    def __init__(self, plugins: Sequence[Plugin] | None = None) -> None:
        self.plugins = list(scan() if plugins is None else plugins)
        self.broken: dict[str, str] = {}
        self._errors: dict[str, BaseException] = {}
        self._loaded: set[str] = set()
        self._manager = pluggy.PluginManager("lmtool")
        self._manager.add_hookspecs(hookspecs)
        for name in sorted({p.name for p in self.plugins}):
            owners = [p for p in self.plugins if p.name == name]
            if len(owners) > 1:
                self.broken[name] = "two plugins have this name: " + " and ".join(
                    f"{p.distribution} {p.version} ({p.value})" for p in owners
                )

    @property
    def loaded(self) -> frozenset[str]:
        """The names of the plugins that were imported and work."""
        return frozenset(self._loaded - self.broken.keys())

    def tasks_of(self, name: str) -> list[type[EncoderTask] | type[TextTask]]:
        """Return the tasks that one loaded plugin contributes; PluginError if its hook fails."""
        impls = self._impls(name, "lmtool_register_tasks")
        try:
            return [task for impl in impls for task in _checked_tasks(impl.function())]
        except Exception as error:
            self._break(name, error, "lmtool_register_tasks")
            raise self._broken_error(name) from error

    def has(self, name: str, hook: str) -> bool:
        """Whether a loaded plugin implements a hook."""
        return bool(self._impls(name, hook))

    def names(self) -> list[str]:
        """Return the names of all plugins, broken ones too."""
        return sorted({plugin.name for plugin in self.plugins})

    def plugin(self, name: str) -> Plugin:
        """Return the plugin of this name; PluginError when there is none or more than one."""
        found = [plugin for plugin in self.plugins if plugin.name == name]
        if not found:
            raise PluginError(
                f"no plugin {name!r} is installed",
                hint=f"installed are: {', '.join(self.names()) or 'none'} (see lmtool plugins)",
            )
        if len(found) > 1:
            raise PluginError(
                f"plugin {name!r}: {self.broken[name]}",
                hint="uninstall one, or name the distribution to keep in LMTOOL_PLUGINS",
            )
        return found[0]

    def load(self, name: str) -> None:
        """Import a plugin and register its hooks; PluginError says why it cannot be."""
        plugin = self.plugin(name)
        if name in self.loaded:
            return
        if name not in self.broken:
            try:
                module = plugin.load()
                if not self._manager.is_registered(module):
                    self._manager.register(module, name=name)
                    self._manager.check_pending()
                self._loaded.add(name)
                return
            except (Exception, SystemExit) as error:
                if self._manager.has_plugin(name):
                    self._manager.unregister(name=name)
                self._break(name, error)
        raise self._broken_error(name) from self._errors.get(name)

    def load_own(self) -> None:
        """Import the plugins that come with lmtool."""
        self._load_each(lambda plugin: plugin.is_own)

    def load_all(self) -> None:
        """Import every plugin; broken ones are logged as warnings and skipped."""
        self._load_each(lambda plugin: True)

    def task(self, name: str) -> type[EncoderTask] | type[TextTask] | None:
        """Return the task of this name, or None; the plugin of that name is asked first.

        Of two tasks with one name that plugin's counts, else a PluginError names both plugins.
        """
        if name in self.names():
            self.load(name)
        steps: list[Callable[[], None]] = [lambda: None, self.load_own, self.load_all]
        for load in steps:
            load()
            found: dict[str, type[EncoderTask] | type[TextTask]] = {
                owner: task
                for owner, tasks in self._answers("lmtool_register_tasks", _checked_tasks)
                for task in tasks
                if task.name == name
            }
            if name in self.broken:
                raise self._broken_error(name) from self._errors.get(name)
            if name in found or len(found) == 1:
                return found.get(name) or next(iter(found.values()))
            if found:
                owners = " and ".join(self.plugin(owner).distribution for owner in found)
                raise PluginError(
                    f"two plugins have a task {name!r}: {owners}",
                    hint="uninstall one, or name the one to keep in LMTOOL_PLUGINS",
                )
        return None

    def tasks(self) -> list[type[EncoderTask] | type[TextTask]]:
        """Return the tasks of all loaded plugins, the core's own first."""
        answers = self._answers("lmtool_register_tasks", _checked_tasks)
        return [task for _, tasks in answers for task in tasks]

    def readers(self) -> list[type[Reader]]:
        """Return the readers of all loaded plugins, the core's own first."""
        from .formats import READERS

        return [*READERS, *self._collect("lmtool_register_readers")]

    def writers(self) -> list[type[Writer]]:
        """Return the writers of all loaded plugins, the core's own first."""
        from .formats import WRITERS

        return [*WRITERS, *self._collect("lmtool_register_writers")]

    def bundles(self) -> dict[str, Path]:
        """Return the bundles that the loaded plugins ship, by name."""
        found: dict[str, Path] = {}
        for _, mapping in self._answers("lmtool_register_bundles", dict):
            for name, folder in mapping.items():
                found.setdefault(name, Path(folder))
        return found

    def first(self, hook: str, **arguments: Any) -> Any:
        """Return the first answer to a resolve_* hook that is not None."""
        answers = self._answers(hook, **arguments)
        return next((answer for _, answer in answers if answer is not None), None)

    def observe(self, hook: str, **arguments: Any) -> None:
        """Call an on_* hook in every loaded plugin."""
        for _ in self._answers(hook, **arguments):
            pass

    def commands(self, name: str, app: Any) -> bool:
        """Let the plugin of this name add its commands to a Typer app; False if it has none."""
        self.load(name)
        impls = self._impls(name, "lmtool_add_commands")
        for impl in impls:
            impl.function(app)
        return bool(impls)

    def _impls(self, name: str, hook: str) -> list[pluggy.HookImpl]:
        """Return one plugin's implementations of a hook."""
        module = self._manager.get_plugin(name) or self.plugin(name).load()
        return [i for i in getattr(self._manager.hook, hook).get_hookimpls() if i.plugin is module]

    def _load_each(self, wanted: Callable[[Plugin], bool]) -> None:
        for plugin in self.plugins:
            if wanted(plugin) and plugin.name not in self._loaded | self.broken.keys():
                try:
                    self.load(plugin.name)
                except PluginError as error:
                    log.warning("%s", error.message)

    def _collect(self, hook: str) -> list[Any]:
        return [item for _, items in self._answers(hook, list) for item in items]

    def _answers(
        self, hook: str, convert: Callable[[Any], Any] = lambda value: value, **arguments: Any
    ) -> Iterator[tuple[str, Any]]:
        """Yield each plugin and its answer, lmtool's own first; one that fails is quarantined."""
        impls = getattr(self._manager.hook, hook).get_hookimpls()
        own = {plugin.name for plugin in self.plugins if plugin.is_own}
        for impl in sorted(impls, key=lambda impl: impl.plugin_name not in own):
            if impl.plugin_name in self.broken:
                continue
            try:
                answer = convert(impl.function(*(arguments[name] for name in impl.argnames)))
            except LmtoolError:
                raise
            except Exception as error:
                self._break(impl.plugin_name, error, hook)
                log.warning("plugin %r: %s", impl.plugin_name, self.broken[impl.plugin_name])
            else:
                yield impl.plugin_name, answer

    def _break(self, name: str, error: BaseException, hook: str = "") -> None:
        where = f"{hook}: " if hook else ""
        self.broken[name] = f"{where}{type(error).__name__}: {error}"
        self._errors[name] = error

    def _broken_error(self, name: str) -> PluginError:
        plugin = self.plugin(name)
        return PluginError(
            f"plugin {name!r} ({plugin.distribution} {plugin.version}) is broken: "
            f"{self.broken[name]}",
            hint=f"pip install --upgrade {plugin.distribution}, or uninstall it; "
            "--debug shows the traceback",
        )


def _checked_tasks(tasks: Any) -> list[Any]:
    """Return what the hook gave as a list; TypeError when a task lacks a class attribute."""
    checked: list[Any] = list(tasks)
    for task in checked:
        for name in ("name", "summary", "layers", "main_metric"):
            if not hasattr(task, name):
                raise TypeError(f"{getattr(task, '__qualname__', task)} has no {name!r}")
    return checked


@functools.cache
def registry() -> Registry:
    """Return the registry of the installed plugins, scanned once in a process."""
    return Registry()
