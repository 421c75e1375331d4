"""The English bundles that ship with lmtool: a plugin of data only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import lmtool


@lmtool.hookimpl
def lmtool_register_bundles() -> Mapping[str, Path]:
    """Return every bundle folder in this package, by name."""
    here = Path(__file__).parent
    return {path.parent.name: path.parent for path in sorted(here.glob("*/bundle.json"))}
