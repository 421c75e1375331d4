"""The head of semantic roles (torch): a tagger of predicates, a narrow encoder of arguments."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmtool.signature import Port, Signature

from .words import N_DISTANCES, PREDICATE_CLASSES, distances

HEAD_SIZE = 32
IGNORED = -100
CHUNKS = 4
"""Runs of a training step, by length: with one, half of the words would be padding."""


class PredicateGraph(nn.Module):
    """What is computed once for each window, from its hidden states.

    hidden (batch, seq, hidden) -> predicates (batch, seq, classes), the classes of
    `PREDICATE_CLASSES`, and tokens (batch, seq, width), what the arguments are read from.
    """

    def __init__(self, hidden_size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classes = nn.Linear(hidden_size, len(PREDICATE_CLASSES))
        self.tokens = nn.Linear(hidden_size, width)
        self.signature = Signature(
            inputs=(Port("hidden", "float32", ("batch", "seq", hidden_size)),),
            outputs=(
                Port("predicates", "float32", ("batch", "seq", len(PREDICATE_CLASSES))),
                Port("tokens", "float32", ("batch", "seq", width)),
            ),
        )

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """Return the logits of every token and its projection."""
        return {"predicates": self.classes(self.dropout(hidden)), "tokens": self.tokens(hidden)}


class NarrowLayer(nn.Module):
    """A Transformer layer with the norms behind the sums (Vaswani et al. 2017).

    x (pairs, words, width) -> (pairs, words, width).
    """

    def __init__(self, width: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.joined = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, feedforward)
        self.outer = nn.Linear(feedforward, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.query, self.key, self.value, self.joined):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the new states; `mask` is bool (pairs, 1, words, words), true for words seen."""
        query, key, value = (self._heads(part(x)) for part in (self.query, self.key, self.value))
        if self.training:
            # The backward of the fused kernel takes seven times as long on a CPU in bfloat16.
            weights = query @ key.transpose(2, 3) * HEAD_SIZE**-0.5  # (pairs, heads, words, words)
            states = weights.masked_fill(~mask, -1e4).softmax(-1) @ value
        else:
            states = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined = states.transpose(1, 2).flatten(2)  # (pairs, words, width)
        x = self.attention_norm(x + self.dropout(self.joined(joined)))
        inner = functional.gelu(self.inner(x))
        y: Tensor = self.norm(x + self.dropout(self.outer(inner)))
        return y

    def _heads(self, x: Tensor) -> Tensor:
        """Split the width: (pairs, words, width) -> (pairs, heads, words, HEAD_SIZE)."""
        return x.view(*x.shape[:2], -1, HEAD_SIZE).transpose(1, 2)


class ArgumentGraph(nn.Module):
    """The tags of a sentence's words, for each predicate in it.

    tokens (pairs, words, width), the projections of the sentence's words; predicate (pairs,
    hidden), the hidden state of the predicate; distances int64 (pairs, words), from each word to
    the predicate as 0 to N_DISTANCES - 1; mask bool (pairs, words), true for words
    -> tags (pairs, words, tags).
    """

    def __init__(self, hidden_size: int, n_tags: int, form: dict[str, int], dropout: float) -> None:
        super().__init__()
        width = form["width"]
        self.predicate = nn.Linear(hidden_size, width)
        self.distance = nn.Embedding(N_DISTANCES, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            NarrowLayer(width, form["feedforward"], dropout) for _ in range(form["layers"])
        )
        self.dropout = nn.Dropout(dropout)
        self.tags = nn.Linear(width, n_tags)
        self.signature = Signature(
            inputs=(
                Port("tokens", "float32", ("pairs", "words", width)),
                Port("predicate", "float32", ("pairs", hidden_size)),
                Port("distances", "int64", ("pairs", "words")),
                Port("mask", "bool", ("pairs", "words")),
            ),
            outputs=(Port("tags", "float32", ("pairs", "words", n_tags)),),
        )

    def forward(
        self, tokens: Tensor, predicate: Tensor, distances: Tensor, mask: Tensor
    ) -> dict[str, Tensor]:
        """Return the logits of every word of every pair."""
        x = self.norm(tokens + self.predicate(predicate)[:, None] + self.distance(distances))
        n_words = mask.shape[1]
        seen = mask[:, None, None].expand(-1, -1, n_words, -1)  # (pairs, 1, words, words)
        for layer in self.layers:
            x = layer(x, seen)
        return {"tags": self.tags(self.dropout(x))}


class RolesHead(nn.Module):
    """Both graphs, and what trains them together.

    As in He et al. 2017 the predicate is part of what tags its arguments, but the encoder that
    all predicates share has read the text already: what runs for each of them is narrow.
    """

    def __init__(
        self, hidden_size: int, n_tags: int, form: dict[str, int], dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.n_tags = n_tags
        self.predicates = PredicateGraph(hidden_size, form["width"], dropout)
        self.arguments = ArgumentGraph(hidden_size, n_tags, form, dropout)
        classes = len(PREDICATE_CLASSES)
        self.signature = Signature(
            inputs=(
                Port("hidden", "float32", ("batch", "seq", hidden_size)),
                Port("sentence_tokens", "int64", ("batch", "frames", "words")),
                Port("places", "int64", ("batch", "frames")),
            ),
            outputs=(
                Port("predicates", "float32", ("batch", "seq", classes)),
                Port("tags", "float32", ("pairs", "words", n_tags)),
            ),
        )

    def forward(self, hidden: Tensor, sentence_tokens: Tensor, places: Tensor) -> dict[str, Tensor]:
        """Return the logits of predicates, and those of the words of each frame's sentence.

        `sentence_tokens` int64 (batch, frames, words) is the first token of each word of the
        sentence, `places` int64 (batch, frames) the predicate's word in it; both are -100 where
        there is none. The pairs of the output are the frames that there are, in order.
        """
        outputs: dict[str, Tensor] = self.predicates(hidden)
        pairs = (places >= 0).nonzero()  # (pairs, 2)
        words = sentence_tokens[pairs[:, 0], pairs[:, 1]]  # (pairs, words)
        sizes = (words >= 0).sum(1)
        tags = hidden.new_zeros((*words.shape, self.n_tags))
        for chunk in sizes.argsort().chunk(CHUNKS) if len(pairs) else ():
            rows, frames = pairs[chunk].unbind(1)
            n_words = int(sizes[chunk].max())
            own, place = words[chunk, :n_words], places[rows, frames][:, None]
            found = self.arguments(
                outputs["tokens"][rows[:, None], own.clamp(min=0)],
                hidden[rows, own.gather(1, place)[:, 0]],
                distances(torch.arange(n_words, device=own.device) - place),
                own >= 0,
            )["tags"]
            tags[chunk, :n_words] = found.to(tags.dtype)
        return {"predicates": outputs["predicates"], "tags": tags}

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the cross-entropy of predicates plus that of arguments, each a mean over words."""
        tags = targets["tags"][targets["places"] >= 0]  # (pairs, words)
        of_predicates = mean_loss(outputs["predicates"], targets["predicates"])
        return of_predicates + mean_loss(outputs["tags"], tags)


def mean_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy over entries whose target is not -100; 0 without any."""
    total = functional.cross_entropy(
        logits.float().flatten(0, -2), target.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / (target != IGNORED).sum().clamp(min=1)
