"""`lmtool doctor`: is everything here that a run needs, and what mends it where not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import typer

from ..errors import LmtoolError, NegativeResult
from .console import has_colour

RUNTIME = (
    "lmtool typer rich pluggy onnxruntime onnxruntime-genai tokenizers numpy msgspec jinja2 "
    "platformdirs sentencex zstandard"
).split()
BUILDS = {"onnxruntime": "onnxruntime-gpu", "onnxruntime-genai": "onnxruntime-genai-cuda"}
"""Packages that have another build for CUDA, which brings the same module."""
OPTIONAL = {
    "train": "torch transformers accelerate safetensors onnx onnxscript".split(),
    "gpu": list(BUILDS.values()),
    "hub": ["huggingface-hub"],
    "scale": ["pyarrow"],
}
CPU_FEATURES = "avx2 avx512f avx512_vnni avx_vnni amx_int8 amx_bf16 asimddp i8mm".split()
LOW_DISK = 1e9
SENTENCE = "Tim Cook met Angela Merkel in Berlin."


class Check(NamedTuple):
    """One line of the report; `hint` is set where something is wrong."""

    name: str
    text: str
    hint: str = ""


def add_commands(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Check the installation: packages, devices, folders, plugins, and a run of each model.

    Exits with 1 when something is wrong, and says what mends it.
    """
    n_wrong = 0
    for make in CHECKS:
        for check in make():
            n_wrong += bool(check.hint)
            _print(check)
    if n_wrong:
        raise NegativeResult(f"{n_wrong} of these want mending", hint="see the lines marked !!")


def _print(check: Check) -> None:
    mark, code = ("!!", "31") if check.hint else ("ok", "32")
    if has_colour(sys.stdout):
        mark = f"\x1b[{code}m{mark}\x1b[0m"
    print(f"{mark}  {check.name:<12} {check.text}", flush=True)
    for line in check.hint.splitlines():
        print(f"                 → {line}")


def check_python() -> Iterator[Check]:
    """Yield the interpreter and the machine."""
    yield Check("python", f"{platform.python_version()} on {platform.platform()}")
    features = _cpu_features()
    fast = [name for name in CPU_FEATURES if name in features]
    cores = f"{_cores()} of {os.cpu_count()} cores"
    yield Check("processor", f"{cores}; {' '.join(fast) or 'no vector features known'}")


def check_packages() -> Iterator[Check]:
    """Yield the packages that a run needs, and the extras."""
    missing = [name for name in RUNTIME if not _version(name)]
    missing = [name for name in missing if not _version(BUILDS.get(name, name))]
    found = ", ".join(f"{name} {_version(name)}" for name in RUNTIME if _version(name))
    yield Check("packages", found)
    if missing:
        yield Check("packages", f"missing: {', '.join(missing)}", "pip install --upgrade lmtool")
    for extra, names in OPTIONAL.items():
        have = ", ".join(f"{name} {_version(name)}" for name in names if _version(name))
        yield Check(f"[{extra}]", have or "not installed")


def check_onnxruntime() -> Iterator[Check]:
    """Yield what ONNX Runtime can run on, and the clash of its two packages."""
    try:
        import onnxruntime

        providers = onnxruntime.get_available_providers()
    except Exception as error:
        yield Check("onnxruntime", f"cannot be imported: {error}", "pip install onnxruntime")
        return
    yield Check("onnxruntime", ", ".join(providers))
    yield from _clash("onnxruntime", "CUDAExecutionProvider" in providers)


def check_genai() -> Iterator[Check]:
    """Yield what language models can run on, and the clash of the two packages behind them."""
    try:
        import onnxruntime_genai

        has_cuda = bool(onnxruntime_genai.is_cuda_available())
    except Exception as error:
        text = f"cannot be imported: {error}"
        yield Check("language", text, "pip install onnxruntime-genai")
        return
    found = f"onnxruntime-genai {onnxruntime_genai.__version__}"
    yield Check("language", f"{found} on {'CUDA and ' * has_cuda}CPU")
    yield from _clash("onnxruntime-genai", has_cuda)


def _clash(name: str, has_cuda: bool) -> Iterator[Check]:
    """Yield what is wrong where both builds of a package are there, or a GPU is left idle."""
    other = BUILDS[name]
    if _version(name) and _version(other):
        yield Check(
            name,
            f"{name} and {other} are both installed: they write the same files",
            f"pip uninstall -y {name} {other}\npip install {other}   (or {name}, without a GPU)",
        )
    elif Path("/proc/driver/nvidia/version").exists() and not has_cuda:
        yield Check(
            "gpu",
            f"an NVIDIA GPU is here, but this {name} cannot use it",
            f"pip uninstall -y {name} && pip install {other}",
        )


def check_folders() -> Iterator[Check]:
    """Yield where things lie, and whether there is room."""
    import platformdirs

    from ..bundles import models_folder
    from ..settings import settings, settings_file

    try:
        settings()
        state = "" if settings_file().exists() else " (none yet)"
        yield Check("settings", f"{settings_file()}{state}")
    except LmtoolError as error:
        yield Check("settings", error.message, error.hint or "mend the file")
    for name, folder in (
        ("models", models_folder()),
        ("cache", platformdirs.user_cache_path("lmtool")),
    ):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free
        text = f"{folder} ({free / 1e9:,.1f} GB free)"
        hint = "" if os.access(existing, os.W_OK) else f"it cannot be written: check {existing}"
        yield Check(name, text, hint or ("make room" if free < LOW_DISK else ""))


def check_plugins() -> Iterator[Check]:
    """Yield the plugins, and each broken one with its reason."""
    from ..plugins import registry
    from .plugins import problem_of

    plugins = registry().plugins
    problems = {plugin: problem_of(plugin) for plugin in plugins}
    working = [plugin.name for plugin, problem in problems.items() if not problem]
    yield Check("plugins", ", ".join(working) or "none", "" if working else "reinstall lmtool")
    for plugin, problem in problems.items():
        if problem:
            text = f"{plugin.name} ({plugin.distribution} {plugin.version}) is broken: {problem}"
            mend = f"pip install --upgrade {plugin.distribution}, or uninstall it"
            yield Check("plugins", " ".join(text.split()), mend)


def check_models() -> Iterator[Check]:
    """Yield each installed model with a run on one sentence."""
    from ..bundles import installed_bundles, models_folder

    bundles = installed_bundles()
    if not bundles:
        yield Check("models", f"none is installed; they lie in {models_folder()}")
    for name, folder in sorted(bundles.items()):
        try:
            yield Check("model", f"{name}: {_try_model(folder)}")
        except LmtoolError as error:
            yield Check("model", f"{name}: {error.message}", error.hint or "lmtool models verify")
        except Exception as error:
            text = f"{name}: {type(error).__name__}: {error}"
            yield Check("model", text, f"lmtool models verify {name}")


def _try_model(folder: Path) -> str:
    """Run a model on one sentence, and return how long that takes and on what."""
    from ..choice import read_head
    from ..documents import Document
    from ..language import Sampling, load_language_model
    from ..models import load_encoder

    began = time.perf_counter()
    providers: tuple[str, ...]
    if read_head(folder).kind == "language":
        talker = load_language_model(folder)
        loaded = time.perf_counter()
        talker.complete([SENTENCE], Sampling(max_tokens=8))
        what, providers = "8 tokens", talker.providers
    else:
        model = load_encoder(folder)
        loaded = time.perf_counter()
        model(Document(text=SENTENCE, pair=SENTENCE))
        what, providers = "a sentence", model.providers
    seconds = time.perf_counter() - loaded
    return f"loaded in {loaded - began:.2f} s, {what} in {seconds:.3f} s on {', '.join(providers)}"


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    check_python,
    check_packages,
    check_onnxruntime,
    check_genai,
    check_folders,
    check_plugins,
    check_models,
)


def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _cores() -> int:
    from ..sessions import n_threads

    return n_threads()


def _cpu_features() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return set()
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return set(lines[0].partition(":")[2].split()) if lines else set()
