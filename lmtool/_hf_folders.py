"""Folders of Hugging Face: what is in them, without running anything that came with them."""

from __future__ import annotations

import fnmatch
import functools
import json
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .errors import BundleError, UsageError

SAFE = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""What is read of a model: no code, nothing pickled."""
BASES = (
    "give a checkpoint (RUN/best), the folder of a Hugging Face model (config.json, "
    "model.safetensors, tokenizer.json), or OWNER/NAME of one on its hub"
)
_CHECKPOINTS = ("language.json", "checkpoint.json")
"""The records of checkpoints, of language models and of encoders."""
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def find_model(ref: str) -> Path:
    """Return the folder of a model that is named by its folder, or by its name on a hub.

    From a hub only what is safe to read is fetched. Raises UsageError for a bundle, for a
    checkpoint of lmtool, and where there is no folder and no name of a hub; BundleError when the
    hub has no such model or cannot be reached.
    """
    if is_bundle(ref):
        raise UsageError(
            f"{ref}: a model of lmtool, which needs no import", hint=f"lmtool models show {ref}"
        )
    for folder in (Path(ref), Path(ref, "best")):
        if any((folder / name).is_file() for name in _CHECKPOINTS):
            raise UsageError(
                f"{ref}: a checkpoint of lmtool, which is exported and not imported",
                hint=f"lmtool export {folder} -o FOLDER",
            )
    if Path(ref).is_dir():
        return Path(ref)
    if not is_hub_name(ref):
        raise UsageError(f"{ref}: no such folder", hint="give a folder, or OWNER/NAME of a hub")
    return _fetch(ref)


def find_base(ref: str) -> Path:
    """Return the folder of a model to train on, named by its folder or by its name on a hub.

    A hub is asked once by a process. Raises as `find_model` does, but BundleError where there is
    no such folder.
    """
    name = base_name(ref)
    return Path(name) if Path(name).is_dir() else _fetch_once(name)


def base_name(ref: str) -> str:
    """Return a name of a base that is the folder of a model, or may be a name on a hub.

    Raises as `find_base` does, without asking the hub.
    """
    if is_bundle(ref):
        raise UsageError(
            f"{ref}: a model that is ready to run, which cannot be trained on",
            hint=f"{BASES}; lmtool train TASK --tune head puts a new head on a model of encoder "
            "tasks",
        )
    if not ref or not (Path(ref).is_dir() or is_hub_name(ref)):
        raise BundleError(f"{ref}: no such folder, and no name of a hub", hint=BASES)
    return ref


def is_bundle(ref: str) -> bool:
    """Whether this is the folder of a bundle, or the name of one that is installed."""
    if Path(ref).exists() or "/" in ref:
        return (Path(ref) / "bundle.json").is_file()
    from .bundles import installed_bundles
    from .plugins import registry

    registry().load_own()
    return ref in installed_bundles()


def is_hub_name(ref: str) -> bool:
    """Whether this looks like OWNER/NAME of a hub."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", ref, re.ASCII) is not None


def _fetch(ref: str) -> Path:
    from .pulling import fetch_files

    def choose(names: Iterable[str]) -> list[str]:
        top = [name for name in names if "/" not in name]
        _check_names(ref, top)
        safe = [name for name in top if _is_safe(name)]
        if any(fnmatch.fnmatch(name, "model*.safetensors") for name in safe):  # no second copy
            safe = [name for name in safe if not name.startswith("consolidated")]
        return safe

    return fetch_files(ref, choose)


_fetch_once = functools.cache(_fetch)


def _is_safe(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in SAFE)


def check_model(folder: Path) -> None:
    """Raise UsageError where a folder is no decoder with safetensors."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    files = [path.name for path in folder.iterdir()]
    if _is_adapter(folder):
        _check_names(str(folder), [name for name in files if name.startswith("adapter_model.")])
        return
    config = _read(folder / "config.json")
    _check_names(str(folder), files)
    names = config.get("architectures") or []
    if not names:
        raise UsageError(
            f"{folder / 'config.json'}: does not say its architecture",
            hint="save the model with save_pretrained",
        )
    if config.get("model_type") not in _known_types() and "auto_map" in config:
        raise UsageError(
            f"{folder}: {names[0]} is code in the model's own repository, which is never run here",
            hint="choose a model whose architecture transformers has itself",
        )


def _known_types() -> frozenset[str]:
    from transformers.models.auto import configuration_auto

    names: Any = configuration_auto
    return frozenset(names.CONFIG_MAPPING_NAMES)


def _check_names(ref: str, names: Sequence[str]) -> None:
    """Raise UsageError where no file holds weights that are safe to read."""
    if any(name.endswith(".safetensors") for name in names):
        return
    pickled = _pickled(names)
    if not pickled:
        raise UsageError(f"{ref}: no *.safetensors in it", hint="is it a model's folder?")
    raise UsageError(
        f"{ref}: its weights are pickled ({', '.join(pickled[:3])}), and a pickle can run any code "
        "when it is read",
        hint=f"{way_to_safetensors(ref, 'AutoModelForCausalLM')}\n  (of an encoder: AutoModel)",
    )


def is_pickled(folder: str) -> bool:
    """Whether the weights of a folder are pickled, and none of them are safetensors."""
    names = [path.name for path in Path(folder).iterdir()]
    return bool(_pickled(names)) and not any(name.endswith(".safetensors") for name in names)


def _pickled(names: Iterable[str]) -> list[str]:
    return [n for n in sorted(names) if any(fnmatch.fnmatch(n, kind) for kind in _PICKLED)]


def way_to_safetensors(ref: str, kind: str) -> str:
    """Return how safetensors are had of a model whose weights are pickled.

    `kind` is the class of transformers that reads all of them.
    """
    return (
        "take a version with safetensors; or, where you trust the file, write one, and give the "
        "folder safe:\n"
        f'  python -c "from transformers import {kind} as M, AutoTokenizer as T; '
        f"[kind.from_pretrained('{ref}').save_pretrained('safe') for kind in (M, T)]\""
    )


def staged(source: Path, work: Path) -> Path:
    """Return a folder that holds what is safe to read of a model; an adapter is merged first."""
    if _is_adapter(source):
        return _merged(source, work / "merged")
    target = work / "model"
    target.mkdir()
    for pattern in SAFE:
        for path in source.glob(pattern):
            (target / path.name).symlink_to(path.resolve())
    return target


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _merged(adapter: Path, out: Path) -> Path:
    """Merge a LoRA adapter into its base, and write a plain model with the tokenizer."""
    from peft import PeftModel

    from .training.backbone import quiet
    from .training.language.checkpoint import load_model, load_text_tokenizer

    base = str(_read(adapter / "adapter_config.json").get("base_model_name_or_path") or "")
    if Path(base).is_dir():
        check_model(Path(base))
    has_tokenizer = (adapter / "tokenizer_config.json").is_file()
    model = load_model(base, "causal")
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers
            merged: Any = PeftModel.from_pretrained(model, str(adapter), use_safetensors=True)
            merged.merge_and_unload().save_pretrained(out)
            load_text_tokenizer(str(adapter) if has_tokenizer else base).save_pretrained(out)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise UsageError(
            f"{adapter}: cannot be merged into its base {base!r}: {error}",
            hint="the base must be the model that the adapter was trained on",
        ) from error
    return out


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: missing", hint="is it a model's folder?") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    return found
