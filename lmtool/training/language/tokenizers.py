"""Tokenizers made from the text itself: byte-level BPE for decoders, WordPiece for encoders.

Both are written as transformers reads them, and know no language: bytes have no alphabet, and
WordPiece takes each Chinese character as a word, as BERT's does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from ...errors import BundleError, DataError, UsageError
from .config import Objective

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Texts = Callable[[], Iterator[str]]
"""Gives the texts from the start, as often as it is called."""
END: Final = "<|endoftext|>"
"""The token between texts, and the only special one of a byte-level BPE."""
_WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where BPE does not merge across: Qwen2's pattern, which run times know (each digit alone)."""
_LEAST_BYTES: Final = 257
_SPECIAL: Final = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_ALPHABET_SHARE: Final = 0.75
"""The most of a WordPiece vocabulary that single characters may take: Chinese needs many."""


def train_tokenizer(
    texts: Texts, objective: Objective, vocabulary: int, *, lowercase: bool = False
) -> Any:
    """Train a tokenizer and return it as a fast tokenizer of transformers.

    The same texts give the same tokenizer. Memory grows with their different words. The vocabulary
    is smaller than asked for where the texts are too short to fill it. Raises DataError without
    any text, and UsageError for a vocabulary that is too small.
    """
    if next(texts(), None) is None:
        raise DataError("there is no text to learn from", hint="see lmtool data check")
    if objective == "causal":
        return _train_bpe(texts, vocabulary)
    return _train_wordpiece(texts, vocabulary, lowercase=lowercase)


def _train_bpe(texts: Texts, vocabulary: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocabulary < _LEAST_BYTES:
        raise UsageError(
            f"vocabulary: {vocabulary} tokens are too few, the bytes and the end take 257",
            hint="choose a larger --vocabulary",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return _fast(tokenizer, eos_token=END, pad_token=END)


def _train_wordpiece(texts: Texts, vocabulary: int, *, lowercase: bool) -> Any:
    from tokenizers import models, processors

    kept = _wordpiece_alphabet(texts, int(_ALPHABET_SHARE * vocabulary), lowercase=lowercase)
    learnt = _learn_wordpiece(texts, vocabulary, kept, lowercase=lowercase)
    own = learnt.get_vocab()
    tokenizer = _bare_wordpiece(lowercase=lowercase)
    tokenizer.model = models.WordPiece(own, unk_token=_SPECIAL["unk_token"])
    first, last = _SPECIAL["cls_token"], _SPECIAL["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(token, own[token]) for token in (first, last)],
    )
    return _fast(tokenizer, **_SPECIAL)


def _wordpiece_alphabet(texts: Texts, most: int, *, lowercase: bool) -> list[str]:
    """Return the characters, alone and as continuations (##c), of which words are made, sorted.

    Where they are more than `most`, those of the rarest characters are left out.
    """
    found = set(_learn_wordpiece(texts, 0, None, lowercase=lowercase).get_vocab())
    found -= set(_SPECIAL.values())
    if len(found) > most:
        normalizer = _bare_wordpiece(lowercase=lowercase).normalizer
        counts = Counter[str]()
        for text in texts():
            counts.update(normalizer.normalize_str(text))
        order = sorted(found, key=lambda token: (-counts[token[-1]], token))
        found = set(order[:most])
    return sorted(found)


def _learn_wordpiece(
    texts: Texts, vocabulary: int, kept: list[str] | None, *, lowercase: bool
) -> Tokenizer:
    """Learn words from parts; `kept` are the characters to begin with, in their order.

    Without an order the trainer numbers the continuations as they come out of a hash table, and
    the same text gives another tokenizer each time.
    """
    from tokenizers import trainers

    alphabet = [token for token in kept or () if not token.startswith("##")]
    limit: dict[str, Any] = {} if kept is None else {"limit_alphabet": len(alphabet)}
    tokenizer = _bare_wordpiece(lowercase=lowercase)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        initial_alphabet=alphabet,
        special_tokens=[*_SPECIAL.values(), *(kept or ())],
        show_progress=False,
        **limit,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def _bare_wordpiece(*, lowercase: bool) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(unk_token=_SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _fast(tokenizer: Any, **special: str) -> Any:
    import transformers

    kind: Any = transformers.PreTrainedTokenizerFast
    return kind(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **special
    )


def text_encoder(tokenizer: Any) -> Tokenizer:
    """Return a copy that reads plain text whole: no control tokens, nothing cut off, no padding."""
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    encoder.no_truncation()
    encoder.no_padding()
    encoder.encode_special_tokens = True
    return encoder


def end_id(tokenizer: Any, objective: Objective, base: str) -> int:
    """Return the token that ends a text: the end of text, or for a masked model the separator.

    Raises BundleError when a token that the objective needs has no name in the tokenizer.
    """
    masked = ("sep_token", "cls_token", "mask_token", "pad_token")
    needed = ("eos_token",) if objective == "causal" else masked
    for name in needed:
        if getattr(tokenizer, f"{name}_id") is None:
            raise BundleError(
                f"{base}: its tokenizer has no {name}, which a {objective} model needs",
                hint=f"name one in its tokenizer_config.json, as {name}",
            )
    return int(getattr(tokenizer, f"{needed[0]}_id"))
