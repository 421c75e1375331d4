"""The engine of language models, onnxruntime-genai: generators over some rows of tokens."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._decoding import BATCH_ROWS, cut_rows
from .errors import BundleError, LmtoolError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime_genai as og
    from numpy.typing import NDArray

    from .language import Sampling

LOGITS_BYTES = 256_000_000
"""Memory for the logits of a prompt: every token of it has a row of the vocabulary's size."""
LEAST_CHUNK, MOST_CHUNK = 128, 512
"""Tokens of a prompt that are read at once, at least and at most: Ctrl-C waits for all of them."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What genai_config.json says of a model."""

    context: int
    vocabulary: int
    eos: tuple[int, ...]
    pad: int
    cache_bytes: int
    """Memory of a token's keys and values in fp32."""


def read_shape(folder: Path) -> Shape:
    """Read genai_config.json; BundleError when it is none of a decoder."""
    path = folder / "genai_config.json"
    try:
        model = json.loads(path.read_text("utf-8"))["model"]
        _check_safe(path, model)
        decoder, eos = model["decoder"], model["eos_token_id"]
        eos = tuple(eos) if isinstance(eos, list) else (eos,)
        size = decoder["num_key_value_heads"] * decoder["head_size"]
        return Shape(
            context=model["context_length"],
            vocabulary=model["vocab_size"],
            eos=eos,
            pad=model.get("pad_token_id", eos[0]),
            cache_bytes=2 * 4 * decoder["num_hidden_layers"] * size,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise BundleError(
            f"{path}: not what a decoder needs: {error!r}", hint="import the model again"
        ) from error


def _check_safe(path: Path, config: Any) -> None:
    """Raise BundleError where a configuration would have genai load code, or a file elsewhere."""
    if isinstance(config, list):
        for value in config:
            _check_safe(path, value)
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if key.endswith("library"):
            raise BundleError(
                f"{path}: {key} would load code, which no model may bring",
                hint="import the model again from its folder of Hugging Face",
            )
        if key.endswith("filename") and Path(str(value)).name != value:
            raise BundleError(f"{path}: {key} {value!r} leads out of the bundle")
        _check_safe(path, value)


class Engine:
    """A model in onnxruntime-genai. One step at a time: `lock` is held while it runs."""

    def __init__(self, model: og.Model, shape: Shape, providers: tuple[str, ...]) -> None:
        self.model = model
        self.shape = shape
        self.providers = providers
        self.lock = threading.Lock()

    def generator(
        self, rows: Sequence[Sequence[int]], sampling: Sampling, seed: int | None
    ) -> og.Generator:
        """Return a generator that has read these rows of tokens, each at least one.

        With beams the caller takes the `choices` best sequences of each row at the end.
        """
        import onnxruntime_genai as og

        longest = max(map(len, rows))
        params = og.GeneratorParams(self.model)
        params.set_search_options(
            max_length=longest + sampling.max_tokens,
            batch_size=len(rows),
            **_search(sampling, seed, self.shape.vocabulary),
        )
        if sampling.schema:
            params.set_guidance("lark_grammar", guidance(sampling.schema))
        with self.errors("generate"):
            generator = og.Generator(self.model, params)
            for chunk in self._chunks(rows, longest):
                with self.lock:
                    generator.append_tokens(chunk)
        return generator

    def steps(self, generator: og.Generator) -> Iterator[NDArray[np.int32]]:
        """Yield the next token of each row, (rows,), until all have ended."""
        with self.errors("generate"):
            while not generator.is_done():
                with self.lock:
                    generator.generate_next_token()
                    tokens = generator.get_next_tokens()
                yield tokens

    def _chunks(self, rows: Sequence[Sequence[int]], longest: int) -> Iterator[NDArray[np.int32]]:
        """Yield rows as arrays that genai takes, (batch, seq): padded, a long single one in parts.

        Shorter rows are padded at their end; genai puts what it generates after the padding, and
        its attention leaves the padding out.
        """
        import numpy as np

        if len(rows) > 1:
            padded = np.full((len(rows), longest), self.shape.pad, np.int32)
            for number, row in enumerate(rows):
                padded[number, : len(row)] = row
            yield padded
            return
        ids = np.array(rows[0], np.int32)
        size = max(LOGITS_BYTES // (4 * self.shape.vocabulary), LEAST_CHUNK)
        size = min(size, MOST_CHUNK)
        for start in range(0, len(ids), size):
            yield ids[start : start + size]

    def batches(self, rows: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]:
        """Return the numbers of the rows that run together, by batch."""
        shape, beams = self.shape, sampling.beams
        cache = shape.cache_bytes * beams
        sizes = (4 * shape.vocabulary + cache, cache)
        # With a schema a row that ends before the others is an error inside genai 0.18.
        most = 1 if sampling.schema else max(BATCH_ROWS // beams, 1)
        # A row that ends with the token that pads would be taken for a shorter one.
        alone = [number for number, row in enumerate(rows) if row[-1] == shape.pad]
        others = [number for number, row in enumerate(rows) if row[-1] != shape.pad]
        lengths = [len(rows[number]) for number in others]
        cut = cut_rows(lengths, sampling.max_tokens, sizes, most)
        return [[others[place] for place in batch] for batch in cut] + [[n] for n in alone]

    def nats(self, ids: Sequence[int], first: int) -> float:
        """Return the sum of -log p of the tokens from the place `first` on, at least 1."""
        import numpy as np
        import onnxruntime_genai as og

        params = og.GeneratorParams(self.model)
        params.set_search_options(max_length=len(ids), batch_size=1)
        total, place = 0.0, 0
        with self.errors("score a text"):
            generator = og.Generator(self.model, params)
            for chunk in self._chunks([ids], len(ids)):
                with self.lock:
                    generator.append_tokens(chunk)
                    logits = generator.get_output("logits")[0]  # (chunk, vocabulary)
                start = max(first - 1 - place, 0)
                wanted = np.array(ids[place + start + 1 : place + len(chunk) + 1], np.int64)
                total += _cross_entropy(logits[start : start + len(wanted)], wanted)
                place += len(chunk)
        return total

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn errors of genai, which are bare RuntimeErrors, into our own."""
        try:
            yield
        except LmtoolError:
            raise
        except (RuntimeError, ValueError, TypeError) as error:
            text = " ".join(str(error).split())
            if "grammar" in text:
                reason = text.rpartition("failed to compile JSON schema: ")[2]
                raise UsageError(
                    f"the schema cannot be used: {reason.partition(' 1 | ')[0]}",
                    hint="it must be a JSON schema; the docs say which keywords work",
                ) from error
            if "alloc" in text.lower():
                raise UsageError(
                    f"cannot {what}: out of memory: {text}",
                    hint="use shorter prompts or fewer --max-tokens",
                ) from error
            raise LmtoolError(
                f"cannot {what}: onnxruntime-genai says: {text}",
                hint="lmtool models verify checks the model's files, lmtool doctor the packages",
            ) from error


def _cross_entropy(logits: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Return the sum of -log softmax(logits)[wanted]; logits (n, vocabulary), wanted (n,)."""
    import numpy as np

    scores = logits.astype(np.float32)
    scores -= scores.max(1, keepdims=True)
    chosen = scores[np.arange(len(wanted)), wanted]
    np.exp(scores, out=scores)
    return float(np.log(scores.sum(1, dtype=np.float64)).sum() - chosen.sum(dtype=np.float64))


def _search(sampling: Sampling, seed: int | None, vocabulary: int) -> dict[str, Any]:
    """Return the search options of genai.

    Without top_k, genai 0.18 draws from more tokens than top_p allows, and is slower than with a
    top_k of all tokens; a top_p of 0 is none to it. A search that stops as soon as it has as many
    texts as beams finds shorter and less likely ones than the likeliest token alone would.
    """
    options: dict[str, Any] = {"repetition_penalty": sampling.repetition_penalty}
    if sampling.beams > 1:
        n = sampling.choices
        beams = {"num_beams": sampling.beams, "num_return_sequences": n}
        return {**options, **beams, "early_stopping": False}
    if seed is None:
        return {**options, "do_sample": False}
    return {
        **options,
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": min(sampling.top_k or vocabulary, vocabulary) if sampling.top_p else 1,
        "random_seed": seed,
    }


def guidance(schema: str) -> str:
    """Return a schema as a grammar for genai.

    JSON stands on one line, so that no model loses itself in white space. Nothing is forced: what
    must follow would be made tokens as a text, and one that begins inside a character is none.
    """
    try:
        found = json.loads(schema)
    except ValueError as error:
        raise UsageError(
            f"the schema is not JSON: {error}", hint='write {"type": "object", …}'
        ) from error
    if not isinstance(found, dict):
        raise UsageError("the schema is not a JSON object", hint='write {"type": "object", …}')
    form = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    whole = json.dumps({"x-guidance": form, **found}, ensure_ascii=False)
    return f'%llguidance {{"no_forcing": true}}\nstart: %json {whole}\n'


def open_engine(folder: Path, device: str, threads: int, pad: int | None = None) -> Engine:
    """Open the model of a folder on a device: auto, cpu or cuda.

    `pad` is the token that rows of a batch are padded with. It must end no row: genai takes what
    equals it at the end of a row for padding.
    """
    shape = read_shape(folder)
    if pad is not None:
        shape = replace(shape, pad=pad)
    try:
        import onnxruntime_genai as og
    except Exception as error:
        raise LmtoolError(
            f"onnxruntime-genai cannot be imported: {error}",
            hint="lmtool doctor says what mends it",
        ) from error
    og.disable_telemetry_events()
    names = _devices(og, device)
    for name in names:
        try:
            return _open(og, folder, shape, name, threads)
        except Exception as error:
            if name != names[-1]:
                continue
            raise BundleError(
                f"{folder}: onnxruntime-genai cannot load it on {name}: {error}",
                hint="lmtool models verify checks the files of a bundle",
            ) from error
    raise AssertionError("no device")


def _devices(og: Any, device: str) -> list[str]:
    """Return the devices to try, best first."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"device {device!r} runs no language models", hint="they run on auto, cpu and cuda"
        )
    if device == "cpu" or (device == "auto" and not og.is_cuda_available()):
        return ["cpu"]
    if not og.is_cuda_available():
        raise UsageError(
            "device cuda: this onnxruntime-genai is built without CUDA",
            hint="lmtool doctor tells how to install the build for CUDA",
        )
    return ["cuda"] if device == "cuda" else ["cuda", "cpu"]


def _open(og: Any, folder: Path, shape: Shape, device: str, threads: int) -> Engine:
    from .sessions import PROVIDERS_BY_DEVICE, n_threads

    config = og.Config(str(folder))
    config.clear_providers()
    if device != "cpu":
        config.append_provider(device)
    options = {"intra_op_num_threads": n_threads(threads), "log_severity_level": 3}
    overlay = {"model": {"pad_token_id": shape.pad, "decoder": {"session_options": options}}}
    config.overlay(json.dumps(overlay))
    return Engine(og.Model(config), shape, tuple(PROVIDERS_BY_DEVICE[device][:1]))
