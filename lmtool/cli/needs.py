"""What some commands need beyond a plain installation."""

from __future__ import annotations

import importlib.util

from ..errors import UsageError

TRAINING = ("torch", "transformers", "accelerate", "safetensors")
EXPORT = ("torch", "transformers", "safetensors", "onnx", "onnxscript")


def need(what: str, packages: tuple[str, ...]) -> None:
    """Raise UsageError where a package is missing, with the command that installs it."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{what} needs {', '.join(missing)}, which a plain installation leaves out",
            hint='pip install "lmtool[train]"',
        )
