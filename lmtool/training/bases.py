"""What kind of model a run starts from, which is told before anything else is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import UsageError
from .backbone import model_folder

if TYPE_CHECKING:
    from .language.config import Objective

_DOES: Final = {"causal": "continues texts", "masked": "fills gaps"}
_WAYS_OUT: Final = {
    "causal": "choose a decoder such as Llama or Qwen, or what lmtool pretrain --objective causal "
    "made",
    "masked": "choose an encoder such as BERT or MiniLM, or what lmtool pretrain --objective "
    "masked made",
}


def check_base(base: str, wanted: Objective, hint: str = "") -> None:
    """Raise UsageError for a base of the other kind, or a bundle, which is no base.

    BundleError where there is no such model.
    """
    found = objective_of(base)
    if found not in (None, wanted):
        raise UsageError(
            f"{base}: it {_DOES[found]} (objective {found}), and a model that {_DOES[wanted]} "
            f"(objective {wanted}) is needed here",
            hint=hint or _WAYS_OUT[wanted],
        )


def objective_of(base: str) -> Objective | None:
    """Return what a base was made for, as its record or its config.json says; None if neither."""
    from .language.checkpoint import is_language_checkpoint, read_language_checkpoint

    if is_language_checkpoint(base):
        return read_language_checkpoint(base).objective
    try:
        config: dict[str, Any] = json.loads((Path(model_folder(base)) / "config.json").read_bytes())
    except (OSError, ValueError):
        return None  # what reads the weights says what is wrong
    from transformers.models.auto import modeling_auto

    auto: Any = modeling_auto
    kind, names = config.get("model_type"), config.get("architectures") or []
    masked = auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.get(kind)
    if masked is None or masked not in names:
        if any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names):
            return "causal"
        if masked is None:
            return "causal" if kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else None
    return "masked"
