"""Classification without training: the label whose embedding is nearest to the text's.

Known as zero-shot classification by embeddings (Yin et al. 2019 name the task).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import lmtool

from .embedding import LAYER
from .task import UnderstandOptions, UnderstandTask
from .words import has_words

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from lmtool.windows import Window

SCHEME: Final = "candidates"
"""The scheme of the output, unless the option `scheme` names another."""
SCALE: Final = 20.0
"""What cosines are multiplied with to become logits: usual in training sentence encoders, and
near the best likelihood on topics, sentiments and intents."""
TEMPLATES: Final = {"en": ("{}", "This is {}.", "The topic is {}.")}
"""A label's vector is the mean of these, by language: better than the bare name on average."""


class CandidatesTask(UnderstandTask):
    """Chooses among labels by the cosine of their vectors, `form["vectors"]`, with the text's.

    It runs on the graphs of an embed model, and is not trained.
    """

    def check_options(self, options: UnderstandOptions) -> None:
        """Accept all: the options made the labels."""

    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Refuse: there is nothing to train."""
        raise lmtool.UsageError("candidates are compared, not trained", hint="train embed instead")

    def infer(
        self,
        graphs: Mapping[str, lmtool.Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: UnderstandOptions,
    ) -> list[tuple[int, dict[str, NDArray[Any]]]]:
        """Return of each window the number of words and the scaled cosines with the labels."""
        import numpy as np

        vectors = graphs["head"].run(hidden)[LAYER]
        found = {
            scheme: SCALE * vectors @ np.asarray(rows, np.float32).T
            for scheme, rows in self.form["vectors"].items()
        }
        return [
            (len(window.word_tokens), {scheme: rows[i].copy() for scheme, rows in found.items()})
            for i, window in enumerate(windows)
        ]


def candidates_model(embedder: lmtool.Model, options: UnderstandOptions) -> lmtool.Model:
    """Return a model that chooses among `options.candidates` for each text, on an embed model.

    UsageError for an empty candidate, for fewer than two, and for more than one scheme to name
    them.
    """
    names = list(dict.fromkeys(options.candidates))
    if not all(map(has_words, names)):
        raise lmtool.UsageError(
            f"candidates: {next(n for n in names if not has_words(n))!r} has no word to compare",
            hint='name each by what it means, as --candidates "billing, bug, praise"',
        )
    if len(names) < 2:
        raise lmtool.UsageError(
            f"nothing to choose from: {len(names)} candidate",
            hint='give two or more, as --candidates "billing, bug, praise"',
        )
    if len(options.scheme) > 1:
        raise lmtool.UsageError(
            f"{len(options.scheme)} schemes for one list of candidates",
            hint="--scheme names the scheme that the candidates stand under in the output",
        )
    scheme = options.scheme[0] if options.scheme else SCHEME
    vectors = label_vectors(embedder, names)
    task = CandidatesTask({scheme: names}, {"vectors": {scheme: vectors}})
    return embedder.with_task(task, replace(options, scheme=()))


def label_vectors(embedder: lmtool.Model, names: Sequence[str]) -> list[list[float]]:
    """Return a vector of length 1 for each label: the mean over the language's templates."""
    import numpy as np

    templates = TEMPLATES.get(embedder.encoder.encoding.language, ("{}",))
    texts = [template.replace("{}", name) for name in names for template in templates]
    rows = [document.fields[LAYER] for document in embedder.pipe(texts)]
    means = np.asarray(rows).reshape(len(names), len(templates), -1).mean(1)
    found: list[list[float]] = (means / np.linalg.norm(means, axis=1, keepdims=True)).tolist()
    return found
