"""The backbone: any encoder of transformers, with named outputs and an input for case shapes."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._hf_folders import BASES, base_name, find_base, is_pickled, way_to_safetensors
from ..errors import BundleError, UsageError
from ..signature import Port, Signature
from ..windows import N_SHAPES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger("lmtool")

BACKBONE_FOLDER = "backbone"
SHAPES_FILE = "shapes.safetensors"
"""Where a checkpoint has the encoder, and the embedding of case shapes."""

_DROPOUTS = (  # what the configurations of transformers call it
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "hidden_dropout",
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "embed_dropout",
    "resid_dropout",
)


class Backbone(nn.Module):
    """An encoder: token ids in, a hidden state per token out.

    input_ids, attention_mask and, with shapes, shape_ids, int64 (batch, seq)
    -> hidden, float32 (batch, seq, hidden).

    The embedding of case shapes is added to the word embedding. It starts at zero, so the
    backbone starts as the encoder it is made of.
    """

    def __init__(self, encoder: Any, *, has_shapes: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.hidden_size = int(encoder.config.hidden_size)
        names = ["input_ids", "attention_mask"]
        self.shape_embedding: nn.Embedding | None = None
        if has_shapes:
            names.append("shape_ids")
            width = encoder.get_input_embeddings().embedding_dim
            self.shape_embedding = nn.Embedding(N_SHAPES, width)
            nn.init.zeros_(self.shape_embedding.weight)
        self.signature = Signature(
            inputs=tuple(Port(name, "int64", ("batch", "seq")) for name in names),
            outputs=(Port("hidden", "float32", ("batch", "seq", self.hidden_size)),),
        )

    @property
    def has_shapes(self) -> bool:
        """Whether it takes shape_ids."""
        return self.shape_embedding is not None

    def freeze(self, n_layers: int) -> None:
        """Train neither the embeddings nor the first layers; UsageError when there are fewer."""
        layers = layers_of(self.encoder)
        if n_layers > len(layers):
            raise UsageError(
                f"freeze: {n_layers} is more than the {len(layers)} layers of the encoder"
            )
        lowest = {id(p) for layer in layers[:n_layers] for p in layer.parameters()}
        for name, parameter in self.named_parameters():
            if id(parameter) in lowest or "embed" in name:
                parameter.requires_grad_(False)

    @property
    def max_positions(self) -> int | None:
        """The most tokens it can read at once; None where its kind sets no limit."""
        limit = getattr(self.encoder.config, "max_position_embeddings", None)
        for name, module in self.encoder.named_modules():
            # RoBERTa and its kin count positions from behind the padding index.
            if (
                name.endswith("position_embeddings")
                and isinstance(module, nn.Embedding)
                and module.padding_idx is not None
            ):
                return module.num_embeddings - module.padding_idx - 1
        return None if limit is None or limit < 0 else int(limit)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, shape_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return {"hidden": float32 (batch, seq, hidden)} for int64 (batch, seq) inputs."""
        if self.shape_embedding is None or shape_ids is None:
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        else:
            embedded = self.encoder.get_input_embeddings()(input_ids)  # (batch, seq, embedding)
            embedded = embedded + self.shape_embedding(shape_ids)
            states = self.encoder(inputs_embeds=embedded, attention_mask=attention_mask)
        return {"hidden": states.last_hidden_state.float()}


def load_backbone(
    base: str,
    *,
    has_shapes: bool = False,
    max_tokens: int | None = None,
    attention: str = "sdpa",
    dropout: float | None = None,
) -> Backbone:
    """Load an encoder from a Hugging Face folder or hub name, or a checkpoint, in float32.

    `attention` is what transformers calls attn_implementation; `dropout`, where given, replaces
    the encoder's own. Only safetensors are read, and no code of the model's is run.

    Raises BundleError when there is no such encoder or its weights are pickled, and UsageError
    when `max_tokens` is more than it has positions for.
    """
    from transformers import AutoModel

    folder = model_folder(base)
    with reading(base):
        config = _read_model_config(folder, dropout)
        kind: Any = AutoModel._model_mapping[type(config)]
        options: dict[str, Any] = {}
        if "add_pooling_layer" in inspect.signature(kind).parameters:
            options["add_pooling_layer"] = False
        encoder, info = AutoModel.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=attention,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    _check_weights(base, info)
    backbone = Backbone(encoder, has_shapes=has_shapes)
    _load_shapes(backbone, Path(base) / SHAPES_FILE)
    limit = backbone.max_positions
    if max_tokens is not None and limit is not None and max_tokens > limit:
        raise UsageError(
            f"max_tokens: {max_tokens} is more than the {limit} positions of {base}",
            hint=f"choose at most {limit}",
        )
    return backbone


def load_tokenizer(base: str) -> Tokenizer:
    """Load the tokenizer of a Hugging Face folder or hub name; it must have a fast form.

    A folder without tokenizer.json (an old BERT with vocab.txt) is converted by transformers.
    """
    from tokenizers import Tokenizer

    folder = model_folder(base)
    path = Path(folder) / "tokenizer.json"
    try:
        if path.is_file():
            return Tokenizer.from_file(str(path))
        from transformers import AutoTokenizer

        with reading(base):
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            return Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    except BundleError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleError(
            f"{base}: no fast tokenizer: {error}",
            hint="the folder needs a tokenizer.json, or files that transformers can convert",
        ) from error


def layers_of(encoder: Any) -> nn.ModuleList:
    """Return the encoder's layers: its longest list of modules."""
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len) if lists else nn.ModuleList()


def model_folder(base: str) -> str:
    """Return the folder that transformers reads: one, that inside a checkpoint, or a hub's copy.

    Raises UsageError for a bundle, and BundleError where there is no such model.
    """
    name = model_name(base)
    return name if Path(name).is_dir() else str(find_base(name))


def model_name(base: str) -> str:
    """Return how transformers names a base: a folder, that inside a checkpoint, or a hub's name.

    Raises as `model_folder` does, without asking the hub.
    """
    path = Path(base)
    if (path / "checkpoint.json").is_file():
        return str(path / BACKBONE_FOLDER)
    if (path / "language.json").is_file():
        return str(path / "model")
    return base_name(base)


def _load_shapes(backbone: Backbone, path: Path) -> None:
    """Read the embedding of case shapes, where the backbone has one and the file is there."""
    if backbone.shape_embedding is None or not path.is_file():
        return
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        backbone.shape_embedding.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise BundleError(f"{path}: damaged: {_first_line(error)}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing warnings and progress bars."""
    import transformers.utils.logging

    hf_logging: Any = transformers.utils.logging
    verbosity, has_bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if has_bars:
            hf_logging.enable_progress_bar()


@contextlib.contextmanager
def reading(base: str, kind: str = "AutoModel") -> Iterator[None]:
    """Keep transformers quiet, and turn what it raises into a BundleError that names the base.

    `kind` is the class of transformers that reads the weights whole.
    """
    try:
        with quiet():
            yield
    except (OSError, ValueError, KeyError) as error:
        if is_pickled(base) if Path(base).is_dir() else "safetensors" in str(error):
            raise BundleError(
                f"{base}: no safetensors; pickled weights can run code and are not read",
                hint=way_to_safetensors(base, kind),
            ) from error
        raise BundleError(
            f"{base}: no model that transformers can load: {_first_line(error)}",
            hint=BASES,
        ) from error


def _read_model_config(folder: str, dropout: float | None) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if getattr(config, "is_encoder_decoder", False):
        raise BundleError(
            f"{folder}: {config.model_type} is an encoder with a decoder",
            hint="choose an encoder, such as BERT, RoBERTa, MiniLM or ModernBERT",
        )
    if dropout is not None:
        set_dropout(config, dropout)
    return config


def set_dropout(config: Any, dropout: float) -> None:
    """Set the dropout of a configuration of transformers; UsageError for a kind without any."""
    names = [name for name in _DROPOUTS if hasattr(config, name)]
    if not names:
        raise UsageError(
            f"dropout: a model of the kind {config.model_type} has none", hint="leave it out"
        )
    for name in names:
        setattr(config, name, dropout)


def _check_weights(base: str, info: Any) -> None:
    """Raise BundleError when weights of another model were loaded; warn about a few missing."""
    missing = sorted(info["missing_keys"])
    wrong = sorted(map(str, info["mismatched_keys"]))
    if wrong or any("word_embeddings" in key or "tok_embeddings" in key for key in missing):
        raise BundleError(
            f"{base}: its weights do not fit its config.json: {', '.join((wrong + missing)[:3])}",
            hint="download or save the encoder again",
        )
    if missing:
        log.warning(
            "%s: %d weights are missing and start at random: %s",
            base,
            len(missing),
            ", ".join(missing[:3]),
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
