"""Low-rank additions to an encoder (LoRA, Hu et al. 2021), by peft."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import BundleError, UsageError
from .backbone import layers_of

STATE = "adapter."
"""What the names of the adapters' tensors begin with in a saved state."""


class Adapted(Protocol):
    """What holds the model of transformers that is adapted: an encoder, or a decoder."""

    encoder: Any


def add_adapters(backbone: Adapted, rank: int) -> Any:
    """Add W + BA to the linear layers of the encoder's layers; all else of it is frozen.

    Returns peft's configuration, for `save_adapters`.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--tune lora needs {error.name}, which is not installed",
            hint='pip install "lmtool[train]"',
        ) from error
    inside = {id(module) for layer in layers_of(backbone.encoder) for module in layer.modules()}
    names = [
        name
        for name, module in backbone.encoder.named_modules()
        if isinstance(module, nn.Linear) and id(module) in inside
    ]
    if not names:
        raise UsageError(
            "tune: this encoder has no linear layers that lora could add to",
            hint="choose --tune full or head",
        )
    config = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=names)
    inject_adapter_in_model(config, backbone.encoder)
    for name, parameter in backbone.encoder.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return config


def adapters(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of the adapters, by their names in a saved state; {} without any."""
    return {STATE + name: t for name, t in encoder.state_dict().items() if "lora_" in name}


def load_adapters(backbone: Adapted, tensors: Mapping[str, Tensor]) -> None:
    """Take over what `adapters` gave; BundleError when it does not fit."""
    own = adapters(backbone.encoder)
    try:
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])
    except (KeyError, RuntimeError) as error:
        raise BundleError(
            f"the saved adapters do not fit: {error}", hint="start the training anew"
        ) from error


def merged_weights(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the weights of an encoder with its adapters added up, under the names without them.

    Nothing is changed in place: subtracting again would not give the same bits.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in encoder.state_dict().items():
        if "lora_" not in name:
            found[name.replace(".base_layer.", ".")] = tensor
    for name, module in encoder.named_modules():
        layer: Any = module
        if hasattr(layer, "get_delta_weight"):
            for adapter in layer.active_adapters:
                delta = layer.get_delta_weight(adapter)  # (out, in)
                found[f"{name}.weight"] = found[f"{name}.weight"] + delta
    return found


def check_sums(encoder: nn.Module, saved: nn.Module, base: str) -> None:
    """Raise UsageError where base and adapters do not add up to what was saved of them."""
    weights = saved.state_dict()
    for name, tensor in merged_weights(encoder).items():
        if name not in weights or not torch.allclose(tensor, weights[name], 1e-3, 1e-5):
            raise UsageError(
                f"{base}: the base has changed since the run began",
                hint="bring it back, or start anew with another --out",
            )


def save_adapters(model: nn.Module, config: Any, base: str, folder: Path) -> None:
    """Write the adapters of a model, without its own weights, as peft loads them on `base`."""
    from safetensors.torch import save_file

    config.base_model_name_or_path = base
    config.task_type = "CAUSAL_LM"
    config.inference_mode = True
    config.save_pretrained(folder)
    tensors = {
        f"base_model.model.{name.replace('.default.', '.')}": tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if "lora_" in name
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
