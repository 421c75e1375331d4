"""Pretraining: from files of raw text to a run that is ready to train.

RUN/config.toml     starts the same run again
RUN/data/           the tokenizer and the token files
RUN/metrics.jsonl   a line per evaluation
RUN/best/           the checkpoint with the least loss on held-out text (the last one without any)
RUN/last/           the newest, with the state to go on from
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ...bundles import writing
from ...errors import BundleError, DataError, LmtoolError, UsageError
from ...sources import ReadOptions
from ..backbone import quiet
from ..bases import check_base
from ..checkpoint import recover_checkpoint
from ..config import CONFIG_FILE, absolute, write_config
from ..folder import check_folder
from ..learner import join_processes, seed_all
from .checkpoint import RECORD_FILE as CHECKPOINT_FILE
from .checkpoint import (
    LanguageRecord,
    is_language_checkpoint,
    load_language_checkpoint,
    load_model,
    load_text_tokenizer,
    read_language_checkpoint,
)
from .config import DEFAULT_SIZE, SIZES, PretrainConfig, model_config
from .loop import Batch, LanguageLearner, LanguageRun
from .network import sees_ahead
from .packing import RECORD_FILE, Text, TokenRecord, held_out, pack, place, read_tokens
from .rows import CausalRows, MaskedRows, causal_dev_rows, masked_dev_rows
from .tokenizers import end_id, train_tokenizer

DATA_FOLDER = "data"
TOKENIZER_FOLDER = "tokenizer"
LENGTH = 512
"""Tokens of a row where nothing else is said."""
TOKENIZER_BYTES = 1 << 28
"""About how much text a tokenizer learns from; of more, blocks are chosen at random."""


def prepare_pretraining(
    config: PretrainConfig, *, resume: bool = False, note: Callable[[str], None] = lambda text: None
) -> LanguageRun:
    """Make the tokenizer, the token files and the model: all that can fail before the first step.

    With `resume` the run in the folder goes on from its last save, or starts where it has none.
    Of several processes the first one does it, and the others wait. `note` is told what is done.

    Raises UsageError for a configuration that cannot work, and BundleError for a base, tokenizer
    or checkpoint that cannot be loaded, before text is read; DataError for text that cannot be.
    """
    config = absolute(config)
    folder = Path(config.out) / DATA_FOLDER
    if config.base:
        check_base(config.base, config.objective, "choose the other --objective, or another base")
    is_resumed = check_folder(config, resume=resume, record=CHECKPOINT_FILE)
    length = _length(config)
    base = None if is_resumed else _base(config, length)
    if not join_processes(config).is_main_process:
        _wait_for(folder / RECORD_FILE)
    elif not recover_checkpoint(folder, RECORD_FILE):
        with _keeping_config(config):
            _make_tokens(config, folder, note)
    record, tokens, dev = read_tokens(folder)
    tokenizer = load_text_tokenizer(str(folder / TOKENIZER_FOLDER))
    if is_resumed:
        info, model = _saved(config, record)
    else:
        info = _record(config, length, record)
        model = base or _new_model(config, tokenizer, length)
    tokenizer.model_max_length = length
    n_rows = max(config.batch_tokens // length, 1)
    batches = _batches(config, tokens, length, n_rows, tokenizer)
    evaluate = _evaluation(config, dev, record.dev.bytes, length, tokenizer) if len(dev) else None
    return LanguageRun(
        config,
        model,
        tokenizer,
        batches,
        info,
        evaluate=evaluate,
        main_metric="loss",
        n_steps=max(math.ceil(config.epochs * batches.n_tokens / (n_rows * length)), 1),
    )


def _make_tokens(config: PretrainConfig, folder: Path, note: Callable[[str], None]) -> None:
    """Write the tokenizer and the token files."""
    options = ReadOptions(
        text_field=config.text_field, whole_file=config.whole_file, encoding=config.encoding
    )

    def text(files: tuple[str, ...]) -> Text:
        form = config.input_format or None
        return Text(files, options, form, skip_bad=config.skip_bad)

    train, dev = text(config.data), text(config.dev) if config.dev else None
    if next(train.blocks(), None) is None:
        shown = ", ".join(config.data[:3]) + (", …" if len(config.data) > 3 else "")
        raise DataError(
            f"{shown}: no text to learn from",
            hint="a text is a line of a txt file, or a record with words in --text-field",
        )
    is_held_out = held_out(train, 0.0 if dev else config.dev_share, config.seed)
    with writing(folder, replace=True, record=RECORD_FILE) as new:
        tokenizer = _given_tokenizer(config)
        if tokenizer is None:
            wanted = config.vocabulary or SIZES.get(config.size, SIZES["base"]).vocabulary
            note(f"training a tokenizer of {wanted:,} tokens")
            texts = functools.partial(_sample, train, is_held_out, config.seed)
            tokenizer = train_tokenizer(texts, config.objective, wanted, lowercase=config.lowercase)
        end = end_id(tokenizer, config.objective, "tokenizer")
        tokenizer.save_pretrained(new / TOKENIZER_FOLDER)
        note("making tokens of the text")
        record = pack(new, tokenizer, end, train, dev, is_held_out)
    note(describe(record))


def describe(record: TokenRecord) -> str:
    """Return what the token files hold, as a line."""
    parts = [
        f"{name} {part.texts:,} texts, {part.tokens:,} tokens, {part.bytes:,} bytes"
        for name, part in (("to learn from:", record.train), ("held out:", record.dev))
    ]
    bad = f"; {record.n_bad:,} bad records left out" if record.n_bad else ""
    return "; ".join(parts) + bad


def _sample(text: Text, is_held_out: Callable[[str], bool], seed: int) -> Iterator[str]:
    """Yield the blocks that a tokenizer learns from: not those held out, and not too many."""
    share = TOKENIZER_BYTES / max(text.size, 1)
    left = 4 * TOKENIZER_BYTES  # compressed text is larger than its file
    for block in text.blocks():
        if share < 1 and place(block.text, seed + 1) > share:
            continue
        if is_held_out(block.text):
            continue
        left -= len(block.text)
        if left < 0:
            return
        yield block.text


def _wait_for(path: Path) -> None:
    """Wait until the first process has made the token files; its launcher ends all if it dies."""
    while not path.is_file():
        time.sleep(0.1)


def _length(config: PretrainConfig) -> int:
    """Return the tokens of a row: as asked for, or what the base can read, LENGTH at the most."""
    if not config.base:
        return config.length or LENGTH
    most = positions(config.base)
    if config.length is not None and most is not None and config.length > most:
        raise UsageError(
            f"length: {config.length} is more than the {most} positions of {config.base}",
            hint=f"choose at most {most}",
        )
    if is_language_checkpoint(config.base):
        most = read_language_checkpoint(config.base).context
    return config.length or min(LENGTH, most or LENGTH)


def positions(base: str) -> int | None:
    """Return the most tokens that a model can read; None where its kind sets no limit."""
    from transformers import AutoConfig

    from ..backbone import model_folder, reading

    with reading(base):
        found = AutoConfig.from_pretrained(model_folder(base), trust_remote_code=False)
    limit = getattr(found, "max_position_embeddings", None)
    offset = 2 if found.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    return None if limit is None or limit < 0 else int(limit) - offset


def _base(config: PretrainConfig, length: int) -> Any:
    """Return the model to go on from, None where a new one is made: then one is tried.

    The tokenizer that is given is looked at too.
    """
    tokenizer = _given_tokenizer(config)
    if not config.base:
        _try_size(config, length)
        return None
    if config.size != DEFAULT_SIZE:
        raise UsageError(
            f"size: {config.size} is given beside --base, which has a size of its own",
            hint="leave one of them out",
        )
    seed_all(config.seed)
    model = load_model(config.base, config.objective, config.dropout)
    n_rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > n_rows:
        raise BundleError(
            f"{config.base}: its tokenizer has {len(tokenizer)} tokens, its weights {n_rows}",
            hint="the tokenizer belongs to another model",
        )
    return model


def _given_tokenizer(config: PretrainConfig) -> Any:
    """Return the tokenizer of the base, or that of --tokenizer; None where one is trained."""
    name = config.base or config.tokenizer
    if not name:
        return None
    tokenizer = load_text_tokenizer(name)
    end_id(tokenizer, config.objective, name)
    return tokenizer


def _try_size(config: PretrainConfig, length: int) -> None:
    """Raise UsageError for a size that is no model of the objective: one of few tokens is made."""
    ids = {"pad_token_id": 0, "eos_token_id": 0}
    shape = model_config(config, 8, ids, length)
    kind = _kind(config)
    if type(shape) not in kind._model_mapping:
        raise UsageError(
            f"size: transformers has no {config.objective} model of the kind {shape.model_type}",
            hint="choose another file, or the other --objective",
        )
    try:
        with quiet():
            is_blind = config.objective == "masked" or not sees_ahead(kind.from_config(shape))
    except Exception as error:  # kinds of models find fault with their numbers each in its own way
        raise UsageError(
            f"size: {config.size}: no model can be made of it: {type(error).__name__}: {error}",
            hint="mend the numbers in the file",
        ) from error
    if not is_blind:
        raise UsageError(
            f"size: a model of the kind {shape.model_type} sees the tokens that it has to predict",
            hint="choose another file, or --objective masked",
        )


def _kind(config: PretrainConfig) -> Any:
    """Return the class of transformers that makes models of the objective."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    return AutoModelForCausalLM if config.objective == "causal" else AutoModelForMaskedLM


def _new_model(config: PretrainConfig, tokenizer: Any, length: int) -> Any:
    """Return a model of random weights."""
    seed_all(config.seed)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    return _kind(config).from_config(model_config(config, len(tokenizer), ids, length)).train()


def _record(config: PretrainConfig, length: int, record: TokenRecord) -> LanguageRecord:
    """Return what a checkpoint at the start says; a base may have read more tokens at once."""
    if config.base and is_language_checkpoint(config.base):
        length = max(length, read_language_checkpoint(config.base).context)
    return LanguageRecord(
        objective=config.objective, context=length, base=config.base, data=record.data
    )


def _saved(config: PretrainConfig, record: TokenRecord) -> tuple[LanguageRecord, Any]:
    """Return the record and the model that a run goes on from."""
    info, model, _ = load_language_checkpoint(Path(config.out) / "last")
    if info.data != record.data:
        raise BundleError(
            f"{config.out}: its checkpoint is of other text than its token files",
            hint="start anew with another --out",
        )
    return info, model


def _batches(
    config: PretrainConfig, tokens: Any, length: int, n_rows: int, tokenizer: Any
) -> CausalRows | MaskedRows:
    if config.objective == "causal":
        return CausalRows(tokens, length, n_rows, config.seed)
    return MaskedRows(
        tokens, length, n_rows, tokenizer=tokenizer, share=config.mask_share, seed=config.seed
    )


def _evaluation(
    config: PretrainConfig, dev: Any, n_bytes: int, length: int, tokenizer: Any
) -> Callable[[LanguageLearner], dict[str, Any]]:
    """Return a function that gives loss, perplexity and, of a causal model, bits per byte."""

    def rows(learner: LanguageLearner) -> Iterator[Batch]:
        n_rows = max(learner.tokens_at_once // length, 1)
        if config.objective == "causal":
            n_rows = min(n_rows, max(len(dev) // length, 1))
            return causal_dev_rows(dev, length, n_rows, int(tokenizer.eos_token_id))
        n_rows = min(n_rows, max(len(dev) // (length - 2), 1))
        return masked_dev_rows(dev, length, n_rows, tokenizer=tokenizer, share=config.mask_share)

    def evaluate(learner: LanguageLearner) -> dict[str, Any]:
        surprise, n_labels = 0.0, 0
        for batch in rows(learner):
            surprise += learner.surprise(batch)
            n_labels += int((batch["labels"] >= 0).sum())
        return figures(surprise, n_labels, n_bytes if config.objective == "causal" else 0)

    return evaluate


def figures(surprise: float, n_labels: int, n_bytes: int = 0) -> dict[str, Any]:
    """Return the scores for a sum of -log p in nats over so many tokens and bytes of text."""
    loss = surprise / max(n_labels, 1)
    scores = {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
    if n_bytes:
        scores["bits_per_byte"] = surprise / math.log(2) / n_bytes
    return scores


@contextlib.contextmanager
def _keeping_config(config: PretrainConfig) -> Iterator[None]:
    """Write RUN/config.toml, so that --resume works while text is read; take it back on errors."""
    path = Path(config.out) / CONFIG_FILE
    is_new = not path.is_file()
    if is_new:
        write_config(config)
    try:
        yield
    except LmtoolError:
        if is_new:
            path.unlink()
            with contextlib.suppress(OSError):  # not empty: others' files
                path.parent.rmdir()
        raise
