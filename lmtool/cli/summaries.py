"""What --help knows about plugins without importing them: a small file in the cache folder.

It is written whenever a command has imported a plugin, and read by --help and completion.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..plugins import Plugin, Registry

OWN = {
    "chat": "Talk with a model",
    "embed": "Turn texts into vectors whose cosine says how alike they are",
    "extract": "Find names, relations between them, and events",
    "forget": "Forget what was remembered",
    "generate": "Continue a text, or write what a prompt asks for",
    "redact": "Mask names, addresses and numbers, and restore them",
    "recall": "Find what is remembered, by meaning and by words",
    "remember": "Remember texts, so that recall finds them",
    "roles": "Find who did what to whom: predicates and their arguments",
    "similarity": "Say how alike two texts are",
    "summarize": "Summarize texts of any length",
    "translate": "Translate texts into another language",
    "understand": "Say what a text is: sentiment, topic, intent, your own classes",
}
"""The commands of lmtool's own plugins, so that --help reads no file for them."""


class Summary(NamedTuple):
    """A line of help: what the command does, or why its plugin is broken."""

    text: str
    is_broken: bool = False


def summaries(registry: Registry) -> dict[str, Summary]:
    """Return a line of help for each plugin that has a command, or may have one.

    A plugin that was never imported is described by its distribution's summary.
    """
    found: dict[str, Summary] = {}
    others = [plugin for plugin in registry.plugins if not plugin.is_own]
    known = _read() if others else {}
    for plugin in registry.plugins:
        if plugin.name in registry.broken:
            found[plugin.name] = Summary(registry.broken[plugin.name], is_broken=True)
        elif plugin.is_own:
            if plugin.name in OWN:
                found[plugin.name] = Summary(OWN[plugin.name])
        else:
            entry = known.get(_key(plugin), {})
            if "error" in entry:
                found[plugin.name] = Summary(entry["error"], is_broken=True)
            elif entry.get("has_command", True):
                text = entry.get("summary") or plugin.summary or f"from {plugin.distribution}"
                found[plugin.name] = Summary(text)
    return dict(sorted(found.items()))


def remember(registry: Registry) -> None:
    """Write the summaries of the plugins that this process imported, where they are new."""
    current = {}
    for plugin in registry.plugins:
        if not plugin.is_own and (entry := _entry(registry, plugin)):
            current[_key(plugin)] = entry
    known = _read() if current else {}
    if all(known.get(key) == entry for key, entry in current.items()):
        return
    installed = {_key(plugin) for plugin in registry.plugins}
    kept = {key: entry for key, entry in known.items() if key in installed}
    with suppress(OSError):  # a cache that cannot be written is no reason to fail
        _write({**kept, **current})


def _entry(registry: Registry, plugin: Plugin) -> dict[str, object] | None:
    """Return what is known about a plugin now; None when it was not imported."""
    owners = [p for p in registry.plugins if p.name == plugin.name]
    if len(owners) > 1:
        return None
    if plugin.name in registry.broken:
        return {"error": registry.broken[plugin.name]}
    if plugin.name not in registry.loaded:
        return None
    tasks = {task.name: task for task in registry.tasks_of(plugin.name)}
    if plugin.name in tasks:
        return {"summary": tasks[plugin.name].summary}
    return {"has_command": registry.has(plugin.name, "lmtool_add_commands")}


def _key(plugin: Plugin) -> str:
    return f"{plugin.name} {plugin.value} {plugin.distribution} {plugin.version}"


def _file() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("lmtool") / "plugins.json"


def _read() -> dict[str, dict[str, str]]:
    import json

    try:
        entries = json.loads(_file().read_bytes())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _write(entries: dict[str, dict[str, str]] | dict[str, object]) -> None:
    import json
    import tempfile

    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=1)
    os.replace(name, path)
