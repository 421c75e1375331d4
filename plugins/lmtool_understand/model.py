"""The heads of classification and embedding (torch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lmtool.signature import Port, Signature

from .schemes import NUMBER, ONE, Scheme


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean of the hidden states of a window's tokens, special ones too.

    hidden (batch, seq, hidden), attention_mask (batch, seq) -> (batch, hidden).
    """
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)


def pooled_inputs(hidden_size: int) -> tuple[Port, ...]:
    """Return the inputs of a head that pools."""
    return (
        Port("hidden", "float32", ("batch", "seq", hidden_size)),
        Port("attention_mask", "int64", ("batch", "seq")),
    )


class SchemeHead(nn.Module):
    """One scheme: pooled states through a layer of their own size to logits (batch, n_logits)."""

    def __init__(self, hidden_size: int, scheme: Scheme, dropout: float = 0.1) -> None:
        super().__init__()
        self.scheme = scheme
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(hidden_size, hidden_size),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, scheme.n_logits),
        )
        self.signature = Signature(
            inputs=pooled_inputs(hidden_size),
            outputs=(Port("logits", "float32", ("batch", scheme.n_logits)),),
        )

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Return the logits of every window."""
        return {"logits": self.layers(mean_pool(hidden, attention_mask))}

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss: cross-entropy, binary cross-entropy or squared error by kind.

        Targets below 0 of several labels are unknown and left out.
        """
        if self.scheme.kind == ONE:
            return nn.functional.cross_entropy(logits, target)
        if self.scheme.kind == NUMBER:
            return nn.functional.mse_loss(logits[:, 0], target)
        is_known = (target >= 0).float()
        losses = nn.functional.binary_cross_entropy_with_logits(
            logits, target.clamp(min=0).float(), reduction="none"
        )
        return (losses * is_known).sum() / is_known.sum().clamp(min=1)


class SchemesHead(nn.Module):
    """The heads of all schemes: hidden (batch, seq, hidden) -> logits by "labels.SCHEME"."""

    def __init__(self, hidden_size: int, schemes: Sequence[Scheme]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(SchemeHead(hidden_size, scheme) for scheme in schemes)
        self.signature = Signature(
            inputs=pooled_inputs(hidden_size),
            outputs=tuple(
                Port(target_name(s.name), "float32", ("batch", s.n_logits)) for s in schemes
            ),
        )

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Return the logits of every scheme."""
        pairs = zip(self.signature.output_names, self.heads, strict=True)
        return {name: head(hidden, attention_mask)["logits"] for name, head in pairs}

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the sum of the losses of the schemes that the batch has gold for."""
        heads: Any = zip(self.signature.output_names, self.heads, strict=True)
        losses = [head.loss(outputs[n], targets[n]) for n, head in heads if n in targets]
        return torch.stack(losses).sum()


def target_name(scheme: str) -> str:
    """Return the name of a scheme's targets and outputs in training."""
    return f"labels.{scheme}"


class EmbeddingHead(nn.Module):
    """Mean of the hidden states, one linear layer, length 1: (batch, seq, hidden) -> (batch, size).

    The layer starts as the identity where the sizes agree: an untrained head gives the embeddings
    of the encoder itself.
    """

    def __init__(self, hidden_size: int, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, size)
        if size == hidden_size:
            nn.init.eye_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        self.signature = Signature(
            inputs=pooled_inputs(hidden_size),
            outputs=(Port("embedding", "float32", ("batch", size)),),
        )

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Return a vector of length 1 for every window."""
        vector = self.linear(mean_pool(hidden, attention_mask)).float()
        length = vector.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-9)
        return {"embedding": vector / length}

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the mean of 1 - cosine with the vectors to learn, which have the length 1."""
        cosine = (outputs["embedding"] * targets["embedding"]).sum(-1)
        return (1 - cosine).mean()
