"""The head of extraction (torch): a tagger for entities, and more for relations and events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import msgspec
import torch
from torch import Tensor, nn

from lmtool.signature import Port, Signature

from .relations import N_DISTANCES, RelationForm

PAIR_SIZE = 192
"""Width of what is known of a pair of entities."""
BLOCK_SIZE = 16
"""Entries of the two vectors of a pair that are multiplied with each other."""
N_VIEWS = 4
"""Ways in which a pair looks at its context."""
ARGUMENT_SIZE = 192
N_POSITIONS = 32
"""Tokens on each side of a trigger that have a position of their own."""


class Part(nn.Module):
    """A part of the head: one output, trained with one target and perhaps others beside it."""

    target: str
    signature: Signature

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the loss, a scalar."""
        raise NotImplementedError


class TaggingHead(Part):
    """One linear layer from hidden states to tags.

    hidden (batch, seq, hidden) -> logits (batch, seq, tags).
    """

    def __init__(
        self, hidden_size: int, n_tags: int, target: str = "allowed", dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.target = target
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

        The target is bool (batch, seq, tags); a token with none is not trained on. With one tag
        allowed this is the cross-entropy; with more, their probabilities add up, as partly
        annotated data asks (Tsuboi et al. 2008, without the sequence model).
        """
        allowed = targets[self.target]
        logits = outputs["logits"].float()
        is_labelled = allowed.any(-1)
        lowest = torch.finfo(logits.dtype).min
        of_allowed = logits.masked_fill(~allowed, lowest).logsumexp(-1)
        losses = logits.logsumexp(-1) - of_allowed
        return losses.masked_fill(~is_labelled, 0).sum() / is_labelled.sum().clamp(min=1)


class RelationHead(Part):
    """Scores the relations of pairs of entities, each entity a group of mentions.

    A pair is the two entities, what the two look at in the text, their types and how far apart
    they stand; a grouped bilinear layer gives its classes (after ATLOP, Zhou et al. 2021, with
    an attention of its own in place of the encoder's). Class 0 is the threshold, or "none".

    hidden (batch, seq, hidden), mentions (batch, mentions, 2) first and last token,
    mention_groups (batch, mentions), group_types (batch, groups), pairs (batch, pairs, 2) groups,
    pair_distances (batch, pairs) -> relations (batch, pairs, classes).
    """

    def __init__(self, hidden_size: int, form: RelationForm, dropout: float = 0.1) -> None:
        super().__init__()
        self.target = "pair_labels"
        self.is_exclusive = form.is_exclusive
        self.dropout = nn.Dropout(dropout)
        self.mention = nn.Linear(2 * hidden_size, PAIR_SIZE)
        self.types = nn.Embedding(1 + len(form.types), PAIR_SIZE)
        self.distances = nn.Embedding(N_DISTANCES, PAIR_SIZE)
        self.head_query = nn.Linear(PAIR_SIZE, PAIR_SIZE)
        self.tail_query = nn.Linear(PAIR_SIZE, PAIR_SIZE)
        self.key = nn.Linear(hidden_size, PAIR_SIZE, bias=False)
        self.value = nn.Linear(hidden_size, PAIR_SIZE)
        self.head = nn.Linear(2 * PAIR_SIZE, PAIR_SIZE)
        self.tail = nn.Linear(2 * PAIR_SIZE, PAIR_SIZE)
        self.classes = nn.Linear(PAIR_SIZE * BLOCK_SIZE, form.n_classes)
        for embedding in (self.types, self.distances):
            nn.init.normal_(embedding.weight, std=0.1)
        self.signature = Signature(
            inputs=(
                Port("hidden", "float32", ("batch", "seq", hidden_size)),
                Port("attention_mask", "int64", ("batch", "seq")),
                Port("mentions", "int64", ("batch", "mentions", 2)),
                Port("mention_groups", "int64", ("batch", "mentions")),
                Port("group_types", "int64", ("batch", "groups")),
                Port("pairs", "int64", ("batch", "pairs", 2)),
                Port("pair_distances", "int64", ("batch", "pairs")),
            ),
            outputs=(Port("relations", "float32", ("batch", "pairs", form.n_classes)),),
        )

    def forward(
        self,
        hidden: Tensor,
        attention_mask: Tensor,
        mentions: Tensor,
        mention_groups: Tensor,
        group_types: Tensor,
        pairs: Tensor,
        pair_distances: Tensor,
    ) -> dict[str, Tensor]:
        """Return the logits of each pair's classes; padded places hold numbers below 0."""
        hidden = self.dropout(hidden)
        groups = self._groups(hidden, mentions, mention_groups, group_types)
        context = self._context(hidden, attention_mask, groups, pairs)
        context = context + self.distances(pair_distances.clamp(min=0))
        first = torch.cat((gather_rows(groups, pairs[..., 0]), context), -1)
        second = torch.cat((gather_rows(groups, pairs[..., 1]), context), -1)
        blocks = (*pairs.shape[:2], PAIR_SIZE // BLOCK_SIZE, BLOCK_SIZE)
        head = self.head(first).tanh().reshape(blocks)
        tail = self.tail(second).tanh().reshape(blocks)
        products = (head.unsqueeze(-1) * tail.unsqueeze(-2)).flatten(-3)
        return {"relations": self.classes(self.dropout(products))}

    def _groups(
        self, hidden: Tensor, mentions: Tensor, mention_groups: Tensor, group_types: Tensor
    ) -> Tensor:
        """Return a vector for each group, (batch, groups, size): a soft maximum of its mentions."""
        states = gather_ends(hidden, mentions)
        vectors: Tensor = self.mention(states).float()  # (batch, mentions, size)
        numbers = torch.arange(group_types.shape[1], device=hidden.device)
        is_member = mention_groups.unsqueeze(1) == numbers[None, :, None]
        highest = vectors.amax(1, keepdim=True)  # logsumexp as a product, which is much faster
        sums = is_member.float() @ (vectors - highest).exp()  # (batch, groups, size)
        types: Tensor = self.types(group_types.clamp(min=0))
        return sums.clamp(min=1e-30).log() + highest + types

    def _context(
        self, hidden: Tensor, attention_mask: Tensor, groups: Tensor, pairs: Tensor
    ) -> Tensor:
        """Return what both entities of a pair look at, (batch, pairs, size).

        The attention of a pair is the product of the attentions of its two entities.
        """
        keys = self._views(self.key(hidden)).transpose(2, 3) / (PAIR_SIZE // N_VIEWS) ** 0.5
        looks = [
            gather_views(self._views(query(groups)) @ keys, pairs[..., side])
            for side, query in enumerate((self.head_query, self.tail_query))
        ]
        scores = looks[0] + looks[1]  # (batch, view, pairs, seq)
        scores = scores.masked_fill(attention_mask[:, None, None] == 0, -1e4)
        context = scores.softmax(-1) @ self._views(self.value(hidden))
        return context.transpose(1, 2).flatten(2)

    @staticmethod
    def _views(vectors: Tensor) -> Tensor:
        """(batch, n, size) -> (batch, view, n, size of a view)."""
        n_rows, n, size = vectors.shape
        return vectors.reshape(n_rows, n, N_VIEWS, size // N_VIEWS).transpose(1, 2)

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the mean loss of the pairs; the target `pair_labels` says 1, 0 or -100 (unknown).

        Cross-entropy where a pair has one class, else the adaptive threshold of ATLOP.
        """
        logits, labels = outputs["relations"].float(), targets["pair_labels"]
        is_pair = labels[..., 0] >= 0
        if self.is_exclusive:
            losses = logits.logsumexp(-1) - logits.masked_fill(labels == 0, -1e4).logsumexp(-1)
        else:
            losses = threshold_loss(logits, labels)
        return losses.masked_fill(~is_pair, 0).sum() / is_pair.sum().clamp(min=1)


class ArgumentHead(Part):
    """Tags, for each trigger and role, the words that fill the role: outside, begin, inside.

    hidden (batch, seq, hidden), triggers (batch, triggers, 2) first and last token,
    trigger_types (batch, triggers) -> arguments (batch, triggers, seq, roles, 3).
    """

    def __init__(self, hidden_size: int, n_types: int, n_roles: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.target = "argument_tags"
        self.n_roles = n_roles
        self.dropout = nn.Dropout(dropout)
        self.word = nn.Linear(hidden_size, ARGUMENT_SIZE)
        self.trigger = nn.Linear(2 * hidden_size, ARGUMENT_SIZE)
        self.types = nn.Embedding(n_types, ARGUMENT_SIZE)
        self.positions = nn.Embedding(2 * N_POSITIONS + 1, ARGUMENT_SIZE)
        self.norm = nn.LayerNorm(ARGUMENT_SIZE)
        self.tags = nn.Linear(ARGUMENT_SIZE, 3 * n_roles)
        for embedding in (self.types, self.positions):
            nn.init.normal_(embedding.weight, std=0.1)
        self.signature = Signature(
            inputs=(
                Port("hidden", "float32", ("batch", "seq", hidden_size)),
                Port("triggers", "int64", ("batch", "triggers", 2)),
                Port("trigger_types", "int64", ("batch", "triggers")),
            ),
            outputs=(Port("arguments", "float32", ("batch", "triggers", "seq", n_roles, 3)),),
        )

    def forward(self, hidden: Tensor, triggers: Tensor, trigger_types: Tensor) -> dict[str, Tensor]:
        """Return the logits of the tags; padded places hold numbers below 0."""
        hidden = self.dropout(hidden)
        states = gather_ends(hidden, triggers)
        trigger = self.trigger(states) + self.types(trigger_types.clamp(min=0))
        tokens = torch.arange(hidden.shape[1], device=hidden.device)
        distance = tokens - triggers[..., :1].clamp(min=0)  # (batch, triggers, seq)
        positions = self.positions(distance.clamp(-N_POSITIONS, N_POSITIONS) + N_POSITIONS)
        mixed = self.word(hidden).unsqueeze(1) + trigger.unsqueeze(2) + positions
        mixed = self.dropout(nn.functional.gelu(self.norm(mixed)))
        tags: Tensor = self.tags(mixed)
        return {"arguments": tags.reshape(*tags.shape[:3], self.n_roles, 3)}

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the cross-entropy with the target `argument_tags`, the mean over words.

        It is int64 (batch, triggers, seq, roles), -100 where unknown; the roles add up.
        """
        tags = targets["argument_tags"]
        losses = nn.functional.cross_entropy(
            outputs["arguments"].float().flatten(0, 3), tags.flatten(), reduction="sum"
        )
        return losses / (tags >= 0).any(-1).sum().clamp(min=1)


class ExtractHead(nn.Module):
    """The heads of the layers, each with its own target; the losses add up."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        inputs = {port.name: port for part in parts.values() for port in part.signature.inputs}
        self.signature = Signature(
            inputs=tuple(inputs.values()),
            outputs=tuple(
                msgspec.structs.replace(part.signature.outputs[0], name=name)
                for name, part in parts.items()
            ),
        )

    def forward(self, **given: Tensor | None) -> dict[str, Tensor]:
        """Return what each part whose inputs are there gives, by its name."""
        outputs = {}
        for name, part in self._parts():
            inputs = {key: given.get(key) for key in part.signature.input_names}
            if all(value is not None for value in inputs.values()):
                (outputs[name],) = part(**inputs).values()
        return outputs

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
        """Return the sum of the losses of the parts that these targets are for."""
        losses = [
            part.loss({part.signature.outputs[0].name: outputs[name]}, targets)
            for name, part in self._parts()
            if part.target in targets
        ]
        return torch.stack(losses).sum()

    def _parts(self) -> Iterable[tuple[str, Part]]:
        return cast("Iterable[tuple[str, Part]]", self.parts.items())


def gather_rows(vectors: Tensor, indices: Tensor) -> Tensor:
    """Return the rows (batch, n, size) of vectors (batch, m, size) at indices (batch, n)."""
    indices = indices.clamp(min=0).unsqueeze(-1).expand(-1, -1, vectors.shape[2])
    return vectors.gather(1, indices)


def gather_ends(vectors: Tensor, spans: Tensor) -> Tensor:
    """Return the first and last rows of spans (batch, n, 2) together, (batch, n, 2 * size)."""
    rows = gather_rows(vectors, spans.flatten(1))
    return rows.reshape(*spans.shape[:2], 2 * vectors.shape[2])


def gather_views(scores: Tensor, indices: Tensor) -> Tensor:
    """Return the rows (batch, view, n, seq) of scores (batch, view, m, seq) at (batch, n)."""
    _, n_views, _, n_tokens = scores.shape
    indices = indices.clamp(min=0)[:, None, :, None].expand(-1, n_views, -1, n_tokens)
    return scores.gather(2, indices)


def threshold_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the adaptive thresholding loss (Zhou et al. 2021, section 3.2), (batch, pairs).

    `logits` and `labels` are (batch, pairs, 1 + relations); column 0 is the threshold. Every
    relation that holds is to score above it, every one that does not below; one labelled -100
    is left out.
    """
    is_threshold = torch.zeros_like(labels, dtype=torch.bool)
    is_threshold[..., 0] = True
    is_positive = (labels == 1) & ~is_threshold
    above = logits.masked_fill(~(is_positive | is_threshold), -1e4)
    gains = (above.logsumexp(-1, keepdim=True) - logits).masked_fill(~is_positive, 0).sum(-1)
    below = logits.masked_fill(~((labels == 0) | is_threshold), -1e4)
    return gains + below.logsumexp(-1) - logits[..., 0]
