"""The loss of language models: that of transformers and PyTorch, without all logits at once."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
import torch
import transformers
from torch.nn import functional

from lmtool.training.language import network
from lmtool.training.language.network import (
    IGNORED,
    LanguageNetwork,
    linear_loss,
    mixes_texts,
    positions_of,
)

SHAPE: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": 0, "eos_token_id": 0, "bos_token_id": None,
}  # fmt: skip
LAYERS = ["sliding_attention", "full_attention"]
CAUSAL: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama-tied": {"tie_word_embeddings": True},
    "gemma2": {"head_dim": 16, "final_logit_softcapping": 0.5},
    "granite": {"logits_scaling": 4.0},
    "mistral": {"sliding_window": 4},
    "gemma3_text": {"head_dim": 16, "sliding_window": 4, "layer_types": LAYERS},
    "gemma2-window": {"head_dim": 16, "sliding_window": 4},
    "qwen2": {"use_sliding_window": True, "sliding_window": 4, "layer_types": LAYERS},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "mamba": {},
}


def make(name: str) -> Any:
    torch.manual_seed(0)
    shape = transformers.AutoConfig.for_model(name.split("-")[0], **SHAPE, **CAUSAL[name])
    kind: Any = transformers.AutoModelForCausalLM
    return kind.from_config(shape)


def batch(seed: int = 0, rows: int = 3, length: int = 12) -> tuple[Any, Any]:
    """Return tokens and labels, of which some are not learnt."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 40, (rows, length), generator=random)
    labels = torch.randint(1, 40, (rows, length), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.3] = IGNORED
    return ids, labels


def gradients(model: Any) -> dict[str, Any]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", CAUSAL)
def test_loss_and_gradients_are_those_of_all_logits(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "CHUNK_LOGITS", 5 * 40)  # five positions at once
    ids, labels = batch()
    model, theirs = make(name), make(name)
    loss = LanguageNetwork(model, is_causal=True)(ids, labels)
    loss.backward()
    logits = theirs(input_ids=ids).logits
    wanted = functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    wanted.backward()
    torch.testing.assert_close(loss, wanted)
    found = gradients(model)
    assert found.keys() == gradients(theirs).keys()
    for key, gradient in gradients(theirs).items():
        torch.testing.assert_close(found[key], gradient, msg=key)


def test_a_masked_model_has_the_loss_of_transformers() -> None:
    torch.manual_seed(0)
    shape = transformers.BertConfig(**{**SHAPE, "hidden_dropout_prob": 0.0})
    kind: Any = transformers.AutoModelForMaskedLM
    model = kind.from_config(shape).eval()
    ids, labels = batch()
    loss = LanguageNetwork(model, is_causal=False).eval()(ids, labels)
    mean = model(input_ids=ids, labels=labels).loss
    torch.testing.assert_close(loss, mean * (labels != IGNORED).sum())


def test_a_batch_without_labels_has_no_loss_and_no_gradient() -> None:
    ids, labels = batch()
    model = make("llama")
    loss = LanguageNetwork(model, is_causal=True)(ids, torch.full_like(labels, IGNORED))
    loss.backward()
    assert loss.item() == 0
    assert len(gradients(model)) == len(list(model.parameters()))  # DDP waits for each of them
    assert all(not gradient.any() for gradient in gradients(model).values())


def test_a_head_that_does_not_learn_gets_no_gradient() -> None:
    hidden = torch.randn(6, 8, requires_grad=True)
    weight, targets = torch.randn(10, 8), torch.arange(6)
    linear_loss(hidden, weight, None, targets).backward()
    found = hidden.grad
    hidden.grad = None
    functional.cross_entropy(hidden @ weight.T, targets, reduction="sum").backward()
    torch.testing.assert_close(found, hidden.grad)


@pytest.mark.parametrize("name", ["llama", "gemma2"])  # gemma2 adds masks, others choose by them
def test_texts_of_a_row_are_as_if_they_stood_alone(name: str) -> None:
    model = LanguageNetwork(make(name).eval(), is_causal=True).eval()
    ids, labels = batch(rows=1)
    segments = torch.tensor([[0] * 5 + [1] * 4 + [-1] * 3])
    labels[segments < 0] = IGNORED
    with torch.no_grad():
        packed = model(ids, labels, segments=segments)
        first = model(ids[:, :5], labels[:, :5])
        second = model(ids[:, 5:9], labels[:, 5:9])
        together = model(ids[:, :9], labels[:, :9])
    torch.testing.assert_close(packed, first + second)
    assert not torch.isclose(packed, together, rtol=1e-5)


@pytest.mark.parametrize("name", ["mistral", "gemma3_text", "gemma2-window", "qwen2"])
def test_layers_with_a_window_keep_it_in_a_row_of_texts(name: str) -> None:
    model = LanguageNetwork(make(name).eval(), is_causal=True).eval()
    ids, labels = batch(rows=1)
    with torch.no_grad():
        packed = model(ids, labels, segments=torch.zeros_like(ids))
        torch.testing.assert_close(packed, model(ids, labels))
        model.model.config.sliding_window = 64
        assert not torch.isclose(packed, model(ids, labels, segments=torch.zeros_like(ids)))


def test_a_kind_that_mixes_the_texts_of_a_row_is_known() -> None:
    assert [name for name in CAUSAL if mixes_texts(make(name))] == ["lfm2", "mamba"]


def test_places_are_counted_in_each_segment() -> None:
    segments = torch.tensor([[0, 0, 0, 1, 1, -1, -1], [0, 1, 2, 2, 2, 2, 2]])
    wanted = [[0, 1, 2, 0, 1, 0, 1], [0, 0, 0, 1, 2, 3, 4]]
    assert positions_of(segments).tolist() == wanted
