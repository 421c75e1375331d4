"""The head of summaries (torch): a score and a small vector for each sentence of a window."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmtool.signature import Port, Signature

from .sentences import N_POSITIONS

BLIND = 0.3
"""Share of the windows trained on without positions: long texts are scored without them."""


class SentenceHead(nn.Module):
    """Reads each sentence twice: as the mean of its tokens, and as those that it attends to.

    Both, the mean of the window and the place in the document make its score. The vector is a
    projection of the mean, trained to keep the cosines that the means have with each other.

    hidden (batch, seq, hidden); sentence_of int64 (batch, seq), the sentence that a token is of,
    negative for none; positions int64 (batch, sentences), negative for none
    -> logits (batch, sentences), vectors (batch, sentences, width).
    """

    def __init__(self, hidden_size: int, width: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.attention = nn.Linear(hidden_size, 1)
        self.sentence = nn.Linear(2 * hidden_size, width)
        self.context = nn.Linear(hidden_size, width)
        self.position = nn.Embedding(N_POSITIONS, width)
        self.size = nn.Linear(1, width)
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, 1)
        self.vector = nn.Linear(hidden_size, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.position.weight, std=0.02)
        nn.init.orthogonal_(self.vector.weight)
        self.signature = Signature(
            inputs=(
                Port("hidden", "float32", ("batch", "seq", hidden_size)),
                Port("sentence_of", "int64", ("batch", "seq")),
                Port("positions", "int64", ("batch", "sentences")),
            ),
            outputs=(
                Port("logits", "float32", ("batch", "sentences")),
                Port("vectors", "float32", ("batch", "sentences", width)),
            ),
        )

    def forward(self, hidden: Tensor, sentence_of: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """Return the logit and the vector of every sentence."""
        numbers = torch.arange(positions.shape[1], device=hidden.device)
        is_own = (sentence_of[:, None] == numbers[None, :, None]).to(hidden.dtype)
        sizes = is_own.sum(2, keepdim=True)  # (batch, sentences, 1), in tokens
        mean = is_own @ hidden / sizes.clamp(min=1)  # (batch, sentences, hidden)
        weight = self.attention(hidden).clamp(-8, 8).exp()  # (batch, seq, 1)
        attended = is_own @ (hidden * weight) / (is_own @ weight).clamp(min=1e-6)
        has_words = (sizes > 0).to(hidden.dtype)
        n_sentences = has_words.sum(1, keepdim=True).clamp(min=1)
        context = (mean * has_words).sum(1, keepdim=True) / n_sentences  # (batch, 1, hidden)
        place = positions.clamp(min=0)
        if self.training:
            sees = torch.rand(len(place), 1, device=place.device) >= BLIND
            place = place * sees
        both = self.dropout(torch.cat((mean, attended), 2))
        x = self.sentence(both) + self.context(self.dropout(context)) + self.position(place)
        x = self.norm(x + self.size(sizes.clamp(max=100).log1p()))
        x = functional.gelu(self.inner(self.dropout(functional.gelu(x))))
        outputs = {"logits": self.outer(self.dropout(x))[..., 0], "vectors": self.vector(mean)}
        return {**outputs, "means": mean} if self.training else outputs

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return how far the scores are from gold, and the cosines from those of the means.

        Scores are learnt twice: each sentence is one of the summary or not, and among those of a
        window the gold ones are to be the best.
        """
        logits, gold = outputs["logits"].float(), targets["gold"]
        is_real = targets["positions"] >= 0  # (batch, sentences)
        single = functional.binary_cross_entropy_with_logits(logits[is_real], gold[is_real])
        share = gold / gold.sum(1, keepdim=True).clamp(min=1e-6)
        log_share = logits.masked_fill(~is_real, -1e4).log_softmax(1)
        has_gold = (gold.sum(1) > 0).float()
        among = -(share * log_share).sum(1) @ has_gold / has_gold.sum().clamp(min=1)
        found = single + among
        if "means" in outputs:
            means, vectors = outputs["means"][is_real].float(), outputs["vectors"][is_real].float()
            found = found + (cosines(vectors) - cosines(means.detach())).square().mean()
        return found


def cosines(rows: Tensor) -> Tensor:
    """Return the cosine of each row with each: (n, width) -> (n, n)."""
    unit = functional.normalize(rows, dim=1)
    return unit @ unit.T
