"""The test kit, for this project and for plugins of others.

`run_cli` runs a command line, `tiny_backbone` makes an encoder and `tiny_decoder` a language model
to train on in seconds, and `check_task` proves that a task keeps its contract. All but the first
need the `train` extra.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

if TYPE_CHECKING:
    from .documents import Document
    from .tasks import EncoderTask, TextTask

__all__ = ["Result", "check_task", "run_cli", "tiny_backbone", "tiny_decoder"]


class Result(NamedTuple):
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str


def run_cli(
    *arguments: object, stdin: str | bytes | None = None, env: Mapping[str, str] | None = None
) -> Result:
    """Run a command line in this process, as a shell would with its output in pipes.

    `stdin` is piped in; without it there is nothing to read. `env` is added to the environment.
    Settings and plugins are looked up anew.
    """
    from .cli.main import run
    from .plugins import registry
    from .settings import settings

    data = stdin.encode() if isinstance(stdin, str) else stdin
    given = _Terminal() if data is None else io.BytesIO(data)
    out, err = io.BytesIO(), io.BytesIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, env or {}))
        stack.enter_context(_fresh(settings.cache_clear, registry.cache_clear))
        stack.enter_context(mock.patch("sys.stdin", io.TextIOWrapper(given, "utf-8")))
        stdout = stack.enter_context(_captured("sys.stdout", out))
        stderr = stack.enter_context(_captured("sys.stderr", err))
        try:
            code = run([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        stdout.flush()
        stderr.flush()
    return Result(code, out.getvalue().decode(), err.getvalue().decode())


def tiny_backbone(
    folder: Path,
    texts: Sequence[str],
    *,
    hidden_size: int = 32,
    layers: int = 2,
    vocabulary: int = 1000,
    seed: int = 0,
) -> Path:
    """Write a small BERT with random weights into a folder, for `--base`; return the folder.

    Its cased WordPiece vocabulary comes from the texts; punctuation marks and Chinese
    characters are words of their own. The same arguments give the same files.
    """
    import torch
    from transformers import BertConfig, BertModel

    from .training.backbone import quiet

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _make_tokenizer(texts, vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden_size,
        max_position_embeddings=512,
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_decoder(
    folder: Path,
    texts: Sequence[str],
    *,
    hidden_size: int = 32,
    layers: int = 2,
    context: int = 256,
    vocabulary: int = 400,
    seed: int = 0,
) -> Path:
    """Write a small Llama with random weights into a folder, for `--base`; return the folder.

    It has a byte-level BPE of the texts, and a chat template.
    """
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers import PreTrainedTokenizerFast as Fast

    from .training.backbone import quiet

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(name, special=True) for name in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    fast = Fast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=special[0], chat_template=CHAT_TEMPLATE
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
        fast.save_pretrained(folder)
    return folder


def check_task(
    task: type[EncoderTask] | type[TextTask],
    documents: Sequence[Document],
    *,
    base: Path | None = None,
    tolerance: float = 1e-3,
) -> None:
    """Prove that a task keeps its contract, or raise an AssertionError that says what it breaks.

    `documents` hold gold in the task's layers: a dozen short ones are enough. An `EncoderTask` is
    trained on them for some steps, on `base` (the folder of an encoder) or a tiny random one.
    Proven is that:

    - the class attributes are set, and the options become flags with defaults;
    - labels are sorted, and "?" is neither one of them, nor trained on, nor scored;
    - `score` of gold with gold is 100, also where it was read from JSON;
    - gold -> `gold_parts` -> `merge` gives the gold, at the end of a long text too;
    - the loss is a finite scalar that falls;
    - PyTorch and ONNX agree within `tolerance`, and write the same layers;
    - a window gets the same part alone, in a batch, and in a batch of another order;
    - texts that are empty, long, white space, emoji, decomposed or Chinese work;
    - only the task's own layers are written, and `text[start:end]` is each span's text.

    A `TextTask` runs on `base` (the folder of a decoder) or a tiny random one. Proven is that:

    - the class attributes are set, the options become flags with defaults, the form is JSON;
    - `score` of gold with gold is 100, also where it was read from JSON;
    - the prompt of training is that of running, and `parse` reads the gold's completion as gold;
    - whatever a model writes is parsed, or is a DataError;
    - texts that are empty, long, white space, emoji, decomposed or Chinese are answered with the
      task's own layers, or are a DataError; a document is answered alike alone and among others.
    """
    from .tasks import TextTask

    if issubclass(task, TextTask):
        _check_text_task(task, documents, base)
        return
    from . import _checks
    from ._checks import telling

    texts = [document.text for document in documents]
    _checks.check_class(task)
    _checks.check_options(task)
    with telling(task, "collect_labels"):
        instance = _checks.check_labels(task, documents)
    with telling(task, "score"):
        _checks.check_scores(instance, documents)
    with tempfile.TemporaryDirectory() as name, _one_thread():
        folder = Path(name)
        base = base or tiny_backbone(folder / "base", [*texts, *_checks.ODD_TEXTS.values()])
        encoder = _checks.encoder_of(base)
        with telling(task, "a gold span with the label '?'"):
            _checks.check_unknown(instance, encoder, documents)
        with telling(task, "gold -> gold_parts -> merge"):
            _checks.check_round_trip(instance, encoder, documents)
        with telling(task, "training"):
            checkpoint = _checks.train_briefly(instance, base, encoder, documents)
        with telling(task, "export"):
            torch_model, model = _checks.check_export(checkpoint, folder, tolerance)
        odd = _checks.odd_texts(encoder, documents)
        _checks.check_texts(model, odd)
        with telling(task, "infer"):
            _checks.check_batches(model, [*texts[:32], *odd.values()], tolerance)
            _checks.check_runs_agree(torch_model, model, documents)


def _check_text_task(
    task: type[TextTask], documents: Sequence[Document], base: Path | None
) -> None:
    from . import _checks, _text_checks
    from ._checks import telling
    from .language import load_language_model

    _checks.check_class(task)
    _checks.check_options(task)
    with telling(task, "collect_form"):
        instance = _text_checks.check_form(task, documents)
    gold = _text_checks.gold_of(instance, documents)
    with telling(task, "score"):
        _checks.check_scores(instance, gold)
    with telling(task, "gold -> pairs -> parse"):
        _text_checks.check_pairs(instance, gold)
    _text_checks.check_odd_completions(instance, gold)
    texts = [document.text for document in documents]
    with tempfile.TemporaryDirectory() as name, _one_thread():
        folder = Path(name)
        base = base or tiny_decoder(folder / "base", [*texts, *_checks.ODD_TEXTS.values()])
        bundle = _text_checks.write_bundle(folder / "check", base, task)
        model = _text_checks.model_for(instance, load_language_model(bundle))
        _text_checks.check_batch(model, gold)
        _text_checks.check_texts(model, _text_checks.odd_texts())


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let PyTorch use one thread: with tensors so small, more of them wait for each other."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _make_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Return a cased WordPiece tokenizer that knows characters, and the most frequent words.

    The trainers of tokenizers number the pieces differently each time, so this one counts itself.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    normalizer = normalizers.BertNormalizer(lowercase=False)
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        words = pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))
        counts.update(word for word, _ in words)
    characters = sorted({*map(chr, range(0x21, 0x7F)), *(c for word in counts for c in word)})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    frequent = sorted(counts, key=lambda word: (-counts[word], word))
    pieces = dict.fromkeys((*special, *characters, *(f"##{c}" for c in characters), *frequent))
    ids = {piece: number for number, piece in enumerate(list(pieces)[:vocabulary])}
    tokenizer: Any = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


class _Terminal(io.BytesIO):
    """Stands for a terminal on which nobody types."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def _captured(name: str, target: io.BytesIO) -> Iterator[io.TextIOWrapper]:
    stream = io.TextIOWrapper(target, "utf-8", write_through=True)
    try:
        with mock.patch(name, stream):
            yield stream
    finally:
        stream.detach()


@contextlib.contextmanager
def _fresh(*clear: object) -> Iterator[None]:
    """Empty caches before and after."""
    for function in clear:
        assert callable(function)
        function()
    try:
        yield
    finally:
        for function in clear:
            assert callable(function)
            function()
