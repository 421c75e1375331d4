"""How likely a checkpoint finds texts: what `lmtool evaluate` says of a language model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..._decoding import scored_windows
from ..._prompts import PromptEncoder
from ...documents import Document
from ...errors import DataError
from ...language import Likelihood
from ..learner import make_accelerator
from .checkpoint import load_language_checkpoint
from .config import LoopConfig
from .judging import evaluate_tuned
from .loop import Batch
from .network import IGNORED, LanguageNetwork
from .pretrain import figures
from .rows import masked_dev_rows
from .speech import speech_of, teach_end
from .tokenizers import text_encoder

BATCH_TOKENS = 8192
MASK_SHARE = 0.15


class Window(NamedTuple):
    """Tokens in a row, of which those from `first` on are predicted."""

    ids: list[int]
    first: int


def evaluate_checkpoint(
    folder: Path | str, documents: Iterable[Document], *, device: str = "auto", threads: int = 0
) -> dict[str, Any]:
    """Return documents, tokens, bytes, perplexity and bits per byte of texts.

    One that was tuned to a task is scored by what it writes for documents with gold of that task,
    and by the perplexity of what it should.

    A masked model has no probability of a text: its perplexity is that of gaps that are chosen at
    random, always the same ones, and it has no bits per byte. DataError without any text.
    """
    record, model, tokenizer = load_language_checkpoint(folder)
    config = LoopConfig(out="", device=device, threads=threads, precision="no")
    place = make_accelerator(config).device
    is_causal = record.objective == "causal"
    network = LanguageNetwork(model.to(place).eval(), is_causal=is_causal)
    documents = list(documents)
    tuned = evaluate_tuned(record, model, tokenizer, documents, lambda batch: nats(network, batch))
    if tuned is not None:
        return tuned
    texts = [document.text for document in documents if document.text.strip()]
    if not texts:
        raise DataError("no document has a text", hint="name files of text")
    if is_causal:
        ends = teach_end(model, tokenizer, str(folder))
        speech = speech_of(tokenizer, str(folder), ends, needs_chat=False)
        found = likelihood(network, speech.prompts, texts, record.context)
        scores = {"perplexity": found.perplexity, "bits_per_byte": found.bits_per_byte}
        return {"documents": len(texts), "tokens": found.tokens, "bytes": found.bytes, **scores}
    encoder = text_encoder(tokenizer)
    ids = [
        token
        for text in texts
        for token in (*encoder.encode(text, add_special_tokens=False).ids, tokenizer.sep_token_id)
    ]
    surprise, n_gaps = 0.0, 0
    length = min(record.context, len(ids) + 2)
    for batch in masked_dev_rows(
        np.array(ids), length, max(BATCH_TOKENS // length, 1), tokenizer=tokenizer,
        share=MASK_SHARE,
    ):  # fmt: skip
        surprise += nats(network, batch)
        n_gaps += int((batch["labels"] != IGNORED).sum())
    scores = figures(surprise, n_gaps)
    return {"documents": len(texts), "gaps": n_gaps, "perplexity": scores["perplexity"]}


def likelihood(
    network: LanguageNetwork, prompts: PromptEncoder, texts: Iterable[str], context: int
) -> Likelihood:
    """Return how likely texts are, each from its start on, as `LanguageModel.score` does.

    A text longer than the context is read in windows that overlap by half.
    """
    windows: list[Window] = []
    n_tokens = n_bytes = 0
    for text in texts:
        ids = prompts.encode_to_score(text)
        found = scored_windows(len(ids), context)
        windows += [Window(ids[begin:end], first - begin) for begin, first, end in found]
        n_tokens += len(ids) - 1
        n_bytes += len(text.encode("utf-8", "surrogatepass"))
    total = sum(nats(network, batch) for batch in _batches(windows))
    return Likelihood(total, n_tokens, n_bytes)


def _batches(windows: list[Window]) -> Iterator[Batch]:
    """Pad windows of like length to batches of about BATCH_TOKENS tokens."""
    order = sorted(windows, key=lambda window: -len(window.ids))
    while order:
        length = len(order[0].ids) - 1
        size = max(BATCH_TOKENS // max(length, 1), 1)
        chosen, order = order[:size], order[size:]
        ids = np.zeros((len(chosen), length), np.int64)
        labels = np.full((len(chosen), length), IGNORED, np.int64)
        for row, window in enumerate(chosen):
            n = len(window.ids) - 1
            ids[row, :n] = window.ids[:-1]
            labels[row, window.first - 1 : n] = window.ids[window.first :]
        yield {"input_ids": ids, "labels": labels}


def nats(network: LanguageNetwork, batch: Batch) -> float:
    """Return the sum of -log p of the labels of a batch."""
    place = next(network.parameters()).device
    with torch.inference_mode():
        return float(network(**{k: torch.from_numpy(v).to(place) for k, v in batch.items()}))
