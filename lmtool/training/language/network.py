"""The network of a language model: its body, its head, and the loss without all logits at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED: Final = -100
SOFT_CAPS: Final = ("final_logit_softcapping", "logits_soft_cap")
"""What configurations call the bound that logits are bent to."""
SAME: Final = 1e-5
"""Logits that differ by a smaller share of the largest one differ by rounding."""
CHUNK_LOGITS: Final = 1 << 24
"""Logits that are held at once: 64 MB in float32."""


class LanguageNetwork(nn.Module):
    """A language model of transformers with the loss behind it: one forward, so DDP sees all.

    Where the model's logits are its head's on the body's hidden states (which is tried once), only
    those of positions with a label are computed, a chunk at a time. Other models run as they are.
    """

    def __init__(self, model: Any, *, is_causal: bool, compiles: bool = False) -> None:
        super().__init__()
        self.model = model
        self._is_causal = is_causal
        head = _head(model)
        is_plain = head is not None and _is_head(model, head, is_causal=is_causal)
        self._parts: tuple[Any, Any] | None = (model.base_model, head) if is_plain else None
        body: Any = self._parts[0] if self._parts else model
        self._run: Callable[..., Any] = torch.compile(body, dynamic=False) if compiles else body

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor,
        position_ids: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """Return the sum of -log p of the labels, a scalar in float32.

        All are int64 (batch, length). `labels[:, t]` is the token that position t has to predict
        (not shifted again), IGNORED where there is none.
        """
        arguments = self._arguments(input_ids, position_ids, segments)
        is_learnt = labels != IGNORED
        targets = labels[is_learnt]  # (n,)
        if self._parts is None:
            logits = self._run(**arguments).logits[is_learnt]  # (n, vocabulary)
            return functional.cross_entropy(logits.float(), targets, reduction="sum")
        hidden = self._run(**arguments).last_hidden_state[is_learnt]  # (n, hidden)
        head = self._parts[1]
        if isinstance(head, nn.Linear):
            return linear_loss(hidden, head.weight, head.bias, targets)
        return functional.cross_entropy(head(hidden).float(), targets, reduction="sum")

    def _arguments(
        self, input_ids: Tensor, position_ids: Tensor | None, segments: Tensor | None
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {"input_ids": input_ids}
        if self._is_causal:
            arguments["use_cache"] = False
        if segments is not None:
            same = segments[:, :, None] == segments[:, None, :]  # (batch, length, length)
            sees = (same.tril() if self._is_causal else same)[:, None]
            arguments["attention_mask"] = _masks(sees, self.model.config)
            if position_ids is None:
                position_ids = positions_of(segments)
        if position_ids is not None:
            arguments["position_ids"] = position_ids
        return arguments


def _masks(sees: Tensor, config: Any) -> Tensor | dict[str, Tensor]:
    """Return what each token sees as the attention takes it, by kind of layer where they differ.

    `sees` is bool (batch, 1, length, length). Layers with a window see the last tokens alone.
    """

    def mask(sees: Tensor) -> Tensor:
        if config._attn_implementation != "eager":
            return sees
        return torch.where(sees, 0.0, torch.finfo(torch.float32).min)  # eager adds its mask

    window, kinds = (getattr(config, n, None) for n in ("sliding_window", "layer_types"))
    if (
        not window
        or window >= sees.shape[-1]
        or "sliding_attention" not in (kinds or ("sliding_attention",))
    ):
        return mask(sees)
    last = mask(sees.triu(1 - window))
    return {"full_attention": mask(sees), "sliding_attention": last} if kinds else last


def mixes_texts(model: Any) -> bool:
    """Whether a text changes with what stands before it in its row, apart by segments: one run."""
    was_training = model.training
    network = LanguageNetwork(model, is_causal=True).eval()
    device = next(model.parameters()).device
    ids = torch.arange(8, device=device).repeat(2, 1) % model.config.vocab_size  # (2, 8)
    segments = torch.arange(8, device=device).repeat(2, 1) // 4
    ids[1, :4] = 0  # the rows differ in their first text alone
    try:
        with torch.no_grad():
            logits = model(**network._arguments(ids, None, segments)).logits[:, 4:].float()
        return bool((logits[0] - logits[1]).abs().max() > SAME * logits.abs().max())
    except (TypeError, ValueError, RuntimeError):  # no mask for each token is taken
        return True
    finally:
        model.train(was_training)


def sees_ahead(model: Any) -> bool:
    """Whether what a model says at a position depends on the tokens behind it: one run tells."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    ids = torch.arange(4, device=device).repeat(2, 1) % model.config.vocab_size  # (2, 4)
    ids[1, -1] = 0  # the rows differ in their last token alone
    try:
        with torch.no_grad():
            first, other = model(input_ids=ids).logits[:, :-1].float()  # (3, vocabulary)
        return bool((first - other).abs().max() > SAME * first.abs().max())
    finally:
        model.train(was_training)


def positions_of(segments: Tensor) -> Tensor:
    """Return the place of each token in its segment, from 0, for int64 (batch, length)."""
    places = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    is_first = torch.ones_like(segments, dtype=torch.bool)
    is_first[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return places - torch.where(is_first, places, 0).cummax(1).values


def linear_loss(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Return the sum of -log softmax(hidden weight' + bias)[targets], a scalar in float32.

    hidden (n, hidden), weight (vocabulary, hidden), targets int64 (n,). Logits live a chunk at a
    time: the gradients are computed in the forward pass, while a chunk's softmax is there.
    """
    if bias is None and torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        loss: Tensor = _LinearLoss.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
        return loss
    total = hidden.new_zeros((), dtype=torch.float32)
    for start, end in _chunks(hidden, weight):
        logits = functional.linear(hidden[start:end], weight, bias).float()
        total = total + functional.cross_entropy(logits, targets[start:end], reduction="sum")
    return total


class _LinearLoss(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        hidden_grad = torch.empty_like(hidden)
        weight_grad = torch.zeros_like(weight) if context.needs_input_grad[1] else None
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        with torch.autocast(kind, enabled=False):
            matrix = weight.to(dtype)
            for start, end in _chunks(hidden, weight):
                part, wanted = hidden[start:end].to(dtype), targets[start:end, None]
                scores = torch.log_softmax((part @ matrix.T).float(), -1)  # (chunk, vocabulary)
                total -= scores.gather(1, wanted).sum()
                slope = scores.exp_()  # of the loss by the logits, but for the targets' 1
                slope.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=slope.dtype))
                slope = slope.to(dtype)
                hidden_grad[start:end] = slope @ matrix
                if weight_grad is not None:
                    weight_grad += slope.T @ part
        context.save_for_backward(hidden_grad, weight_grad)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Any) -> tuple[Tensor, Tensor | None, None]:
        hidden_grad, weight_grad = context.saved_tensors
        factor = gradients[0]
        weight_grad = None if weight_grad is None else weight_grad * factor
        return hidden_grad * factor.to(hidden_grad.dtype), weight_grad, None


def _chunks(hidden: Tensor, weight: Tensor) -> list[tuple[int, int]]:
    """Return the first and the last but one row of each chunk."""
    limit = CHUNK_LOGITS if hidden.device.type == "cpu" else 16 * CHUNK_LOGITS
    size = max(limit // len(weight), 1)
    return [(start, min(start + size, len(hidden))) for start in range(0, len(hidden), size)]


def _head(model: Any) -> Any:
    """Return what makes logits of hidden states: a linear layer, or BERT's and its kin's head."""
    for name in ("cls", "lm_head"):
        head = getattr(model, name, None)
        if isinstance(head, nn.Module):
            return head
    return model.get_output_embeddings()


def _is_head(model: Any, head: Any, *, is_causal: bool) -> bool:
    """Whether the model's logits are the head's on the last hidden states of its body.

    A model that bends its logits is none, though small ones show no difference.
    """
    if any(getattr(model.config, name, None) for name in SOFT_CAPS):
        return False
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    ids = torch.arange(4, device=device)[None] % model.config.vocab_size  # (1, 4)
    more = {"use_cache": False} if is_causal else {}
    try:
        with torch.no_grad():
            wanted = model(input_ids=ids, **more).logits
            found = head(model.base_model(input_ids=ids, **more).last_hidden_state)
        return found.shape == wanted.shape and bool(torch.allclose(found, wanted, atol=1e-4))
    except (TypeError, AttributeError, RuntimeError):
        return False
    finally:
        model.train(was_training)
