"""The task of `lmtool embed`: a vector for each text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import lmtool

from .words import has_words

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from lmtool.windows import Window

LAYER = "embedding"
DIGITS = 6


class EmbedTask(lmtool.EncoderTask):
    """Gives each text a vector of length 1; texts of like meaning have a high cosine.

    The vector of a text without words is zero: it is like no other.

    It learns the vectors of a teacher, which stand in the field `embedding` of the documents.
    `form` holds their "size".
    """

    name: ClassVar[str] = "embed"
    summary: ClassVar[str] = "Turn texts into vectors whose cosine says how alike they are"
    layers: ClassVar[tuple[str, ...]] = (LAYER,)
    main_metric: ClassVar[str] = "cosine"
    form_keys: ClassVar[tuple[str, ...]] = ("size",)
    is_default: ClassVar[bool] = False

    @classmethod
    def collect_labels(cls, documents: Sequence[lmtool.Document]) -> dict[str, list[str]]:
        """Return no labels: there are none."""
        return {}

    @classmethod
    def collect_form(cls, documents: Sequence[lmtool.Document]) -> dict[str, Any]:
        """Return the size of the gold's vectors; DataError when they have several."""
        sizes = sorted({len(d.fields[LAYER]) for d in documents if d.fields.get(LAYER)})
        if len(sizes) > 1:
            raise lmtool.DataError(
                f"embeddings of {sizes[0]} and of {sizes[1]} numbers",
                hint="take all of them from one model",
            )
        return {"size": sizes[0]} if sizes else {}

    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Return a pooling head that starts from the encoder's own mean."""
        from .model import EmbeddingHead

        return EmbeddingHead(hidden_size, self.form.get("size", hidden_size))

    def targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        """Return the document's vector as float32 (size,), of length 1; {} when it has none."""
        vector = unit(document.fields.get(LAYER) or ())
        return {} if vector is None else {LAYER: vector}

    def infer(
        self,
        graphs: Mapping[str, lmtool.Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: Any,
    ) -> list[tuple[int, NDArray[Any]]]:
        """Return of each window the number of words and its vector."""
        vectors = graphs["head"].run(hidden)[LAYER]
        return [
            (len(window.word_tokens), row.copy())
            for window, row in zip(windows, vectors, strict=True)
        ]

    def merge(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: Any
    ) -> dict[str, Any]:
        """Return the mean of the windows' vectors, weighted by their words, of length 1.

        Zeros for a text without words.
        """
        import numpy as np

        values = [part.value for part in parts]
        if not (has_words(document.text) and any(n_words for n_words, _ in values)):
            return {LAYER: [0.0] * len(values[0][1])}
        mean = sum(n_words * vector.astype(float) for n_words, vector in values)
        vector = mean / max(float(np.linalg.norm(mean)), 1e-9)
        return {LAYER: [round(x, DIGITS) for x in vector.tolist()]}

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return 100 times the mean cosine with the gold's vectors, and the least cosine.

        Documents whose gold is zero, having no words, are left out.
        """
        pairs = zip(gold, predicted, strict=True)
        cosines = [cosine(*p) for p in pairs if unit(p[0].fields.get(LAYER) or ()) is not None]
        mean = sum(cosines) / max(len(cosines), 1)
        return {
            "cosine": round(max(100 * mean, 0.0), 2),
            "least_cosine": round(100 * min(cosines, default=0.0), 2),
            "support": len(cosines),
        }

    def gold_parts(self, window: Window, document: lmtool.Document) -> Any:
        """Return what `infer` would give for the gold of this document."""
        vector = unit(document.fields.get(LAYER) or ())
        return None if vector is None else (len(window.word_tokens), vector)


def unit(vector: Sequence[float]) -> NDArray[Any] | None:
    """Return a vector with the length 1, float32; None when it is empty or zero."""
    import numpy as np

    array = np.asarray(vector, np.float64)
    length = float(np.linalg.norm(array))
    return (array / length).astype(np.float32) if length else None


def cosine(first: lmtool.Document, second: lmtool.Document) -> float:
    """Return the cosine of the embeddings of two documents; 0 where one has none, or zeros."""
    one, other = unit(first.fields.get(LAYER) or ()), unit(second.fields.get(LAYER) or ())
    if one is None or other is None or one.shape != other.shape:
        return 0.0
    return float(one.astype(float) @ other.astype(float))
