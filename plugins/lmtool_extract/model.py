"""The head of entity extraction (torch)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmtool.signature import Port, Signature


class TaggingHead(nn.Module):
    """One linear layer from hidden states to tags.

    hidden (batch, seq, hidden) -> logits (batch, seq, tags).
    """

    def __init__(self, hidden_size: int, n_tags: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, n_tags)
        self.signature = Signature(
            inputs=(Port("hidden", "float32", ("batch", "seq", hidden_size)),),
            outputs=(Port("logits", "float32", ("batch", "seq", n_tags)),),
        )

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """Return the logits of every token."""
        return {"logits": self.linear(self.dropout(hidden))}

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the mean negative log likelihood of the allowed tags, over labelled tokens.

        `allowed` is bool (batch, seq, tags); a token with none is not trained on. With one tag
        allowed this is the cross-entropy; with more, their probabilities add up, as partly
        annotated data asks (Tsuboi et al. 2008, without the sequence model).
        """
        allowed = targets["allowed"]
        logits = outputs["logits"].float()
        is_labelled = allowed.any(-1)
        lowest = torch.finfo(logits.dtype).min
        of_allowed = logits.masked_fill(~allowed, lowest).logsumexp(-1)
        losses = logits.logsumexp(-1) - of_allowed
        return losses.masked_fill(~is_labelled, 0).sum() / is_labelled.sum().clamp(min=1)
