"""How likely a checkpoint finds texts: each token once, with as much before it as fits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import pretrain_kit as kit
import torch
from torch.nn import functional

from lmtool.documents import Document
from lmtool.errors import DataError
from lmtool.testing import run_cli
from lmtool.training.language.checkpoint import load_language_checkpoint
from lmtool.training.language.likelihood import evaluate_checkpoint
from lmtool.training.language.pretrain import prepare_pretraining
from lmtool.training.language.tokenizers import text_encoder


@pytest.fixture(scope="module", params=["causal", "masked"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("likelihood")
    config = kit.config(folder, objective=request.param, max_steps=8)
    list(prepare_pretraining(config).train())
    return folder / "run" / "best"


def test_the_likelihood_of_texts_is_the_sum_over_their_tokens(checkpoint: Path) -> None:
    record, model, tokenizer = load_language_checkpoint(checkpoint)
    texts = ["the cat sees a dog .", "<|endoftext|> 猫", " ".join(kit.sentences(6))]
    report = evaluate_checkpoint(checkpoint, [Document(text=t) for t in texts], device="cpu")
    if record.objective == "masked":
        assert report["documents"] == 3
        assert report["gaps"] > 0
        assert 1 < report["perplexity"] < 1000
        assert "bits_per_byte" not in report
        return
    encoder = text_encoder(tokenizer)
    total, n_tokens = 0.0, 0
    for text in texts:
        ids = [0, *encoder.encode(text, add_special_tokens=False).ids]
        scored = 1
        for begin in range(0, len(ids), 8):
            window = ids[begin : begin + 16]
            if begin + len(window) > scored:
                with torch.no_grad():
                    logits = model.eval()(input_ids=torch.tensor([window[:-1]])).logits[0]
                wanted = torch.tensor(window[scored - begin :])
                found = logits[scored - begin - 1 :]
                total += float(functional.cross_entropy(found, wanted, reduction="sum"))
                scored = begin + len(window)
        n_tokens += len(ids) - 1
    n_bytes = sum(len(text.encode()) for text in texts)
    assert (report["tokens"], report["bytes"]) == (n_tokens, n_bytes)
    assert report["perplexity"] == pytest.approx(math.exp(total / n_tokens), rel=1e-5)
    assert report["bits_per_byte"] == pytest.approx(total / math.log(2) / n_bytes, rel=1e-5)


def test_a_tokenizer_that_cuts_texts_off_reads_them_whole(checkpoint: Path) -> None:
    _, _, tokenizer = load_language_checkpoint(checkpoint)
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    ids = text_encoder(tokenizer).encode("the old cat sees a dog", add_special_tokens=False).ids
    assert tokenizer.decode(ids) == "the old cat sees a dog"
    special = text_encoder(tokenizer).encode("<|endoftext|>[SEP]", add_special_tokens=False).ids
    assert not {tokenizer.eos_token_id, tokenizer.sep_token_id} & set(special)


def test_no_text_is_an_error(checkpoint: Path) -> None:
    with pytest.raises(DataError, match="no document has a text"):
        evaluate_checkpoint(checkpoint, [Document(text=" ")], device="cpu")


@pytest.mark.usefixtures("home")
def test_the_command_says_it(checkpoint: Path, tmp_path: Path) -> None:
    file = kit.write_text(tmp_path / "text.txt", 20, seed=5)
    command = ["evaluate", checkpoint, file, "--device", "cpu"]
    by_line: dict[str, Any] = json.loads(run_cli(*command, "--format", "json").stdout)
    whole = run_cli(*command, "--whole-file")
    assert by_line["documents"] == 20
    assert whole.stdout.splitlines()[0] == "documents 1"
    assert "perplexity" in whole.stdout
