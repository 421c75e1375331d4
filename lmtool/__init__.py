"""lmtool: language models for text and a shell.

    import lmtool
    tagger = lmtool.load("extract-en")
    for entity in tagger("Tim Cook met Angela Merkel in Berlin.").entities:
        print(entity.label, entity.text)

Everything in `__all__` is public. Names are loaded when first used, so that importing the
package stays cheap.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# ONNX Runtime and onnxruntime-genai report their use to their maker, and keep an identity of the
# device in the user's cache, unless this is set before either is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from .documents import Document as Document
    from .documents import Entity as Entity
    from .documents import Label as Label
    from .documents import Span as Span
    from .errors import BundleError as BundleError
    from .errors import DataError as DataError
    from .errors import LmtoolError as LmtoolError
    from .errors import NegativeResult as NegativeResult
    from .errors import PluginError as PluginError
    from .errors import UsageError as UsageError
    from .hookspecs import hookimpl as hookimpl
    from .inputs import read_documents as read_documents
    from .models import Model as Model
    from .models import load as load
    from .signature import Port as Port
    from .signature import Signature as Signature
    from .sources import BadRecord as BadRecord
    from .sources import Reader as Reader
    from .sources import ReadOptions as ReadOptions
    from .sources import Source as Source
    from .sources import Writer as Writer
    from .tasks import EncoderTask as EncoderTask
    from .tasks import Graph as Graph
    from .tasks import Labels as Labels
    from .tasks import Opt as Opt
    from .tasks import Part as Part
    from .tasks import TextTask as TextTask

_MODULE_BY_NAME = {
    "BadRecord": "sources",
    "BundleError": "errors",
    "DataError": "errors",
    "Document": "documents",
    "EncoderTask": "tasks",
    "Entity": "documents",
    "Graph": "tasks",
    "Label": "documents",
    "Labels": "tasks",
    "LmtoolError": "errors",
    "Model": "models",
    "NegativeResult": "errors",
    "Opt": "tasks",
    "Part": "tasks",
    "PluginError": "errors",
    "Port": "signature",
    "ReadOptions": "sources",
    "Reader": "sources",
    "Signature": "signature",
    "Source": "sources",
    "Span": "documents",
    "TextTask": "tasks",
    "UsageError": "errors",
    "Writer": "sources",
    "hookimpl": "hookspecs",
    "load": "models",
    "read_documents": "inputs",
}

__all__ = [
    "__version__",
    *sorted(_MODULE_BY_NAME),
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_BY_NAME:
        value = getattr(importlib.import_module(f".{_MODULE_BY_NAME[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'lmtool' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
