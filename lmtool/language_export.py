"""From a decoder of Hugging Face to a bundle, through the builder of onnxruntime-genai.

The fp32 model must say what PyTorch says, token for token, and the final precision may lose little
perplexity against it: otherwise nothing is written.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ._comparison import PROMPTS, asked, compare, compared_prompts
from ._hf_folders import check_model, staged
from ._prompts import PromptEncoder, read_template
from .bundles import LanguageInfo, Versions, problems, sha256, write_record, writing
from .cards import language_card
from .documents import Document
from .errors import BundleError, DataError, NegativeResult, UsageError
from .language import LanguageModel, Prompt, Sampling, open_folder
from .tasks import TextTask
from .textmodels import find_text_task

PRECISIONS = ("int4", "int8", "fp16", "fp32")
BLOCKS = (16, 32, 64, 128, 256)
OWN_TOKENS = 256
MEASURED_TOKENS = 50_000
"""Tokens on which perplexity is measured, about, where there are as many: evenly chosen texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageExport:
    """What an export can be told."""

    name: str
    task: str = "generate"
    """What the model was tuned for."""
    tasks: tuple[str, ...] = ()
    """What it can be used for (default: its task)."""
    form: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of the task's options and of Sampling."""
    precision: str = "int4"
    block: int = 0
    """Weights that share a scale in int4 and int8: 16 to 256; fewer are more exact, more are
    faster and smaller. 0: 32 in int4, and in int8, which loses next to nothing, up to 128."""
    gate: float = 10.0
    """Per cent by which perplexity may rise against fp32."""
    texts: Sequence[str] = ()
    """Texts to measure perplexity on (default: what the fp32 model says by itself)."""
    documents: Sequence[Document] = ()
    """Documents with the task's gold to measure it on as well."""
    context: int = 0
    """Tokens that the model was trained to read at once (0: as its configuration says)."""
    licence: str = ""
    notes: str = ""
    """Markdown for the model card."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Versions or sources of the training data, by name."""
    overwrite: bool = False


def write_language_bundle(source: Path, out: Path, options: LanguageExport) -> LanguageInfo:
    """Export a folder of Hugging Face, or a LoRA adapter's, as the bundle `out`.

    An adapter is merged into its base. Raises UsageError for a folder that cannot be exported, and
    NegativeResult, with nothing written, when the fp32 model differs from PyTorch or quantization
    loses more than the gate.
    """
    if options.precision not in PRECISIONS:
        raise UsageError(
            f"unknown precision {options.precision!r}", hint=f"one of {', '.join(PRECISIONS)}"
        )
    if options.block not in (0, *BLOCKS):
        raise UsageError(
            f"a block of {options.block} weights", hint=f"one of {', '.join(map(str, BLOCKS))}"
        )
    check_model(source)
    if out.exists() and source.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"{out}: holds the model that is exported", hint="choose another folder")
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = stack.enter_context(writing(out, replace=options.overwrite))
        model_folder = staged(source, work)
        exact = folder if options.precision == "fp32" else work / "fp32"
        build(model_folder, exact, "fp32")
        info = _info(options)
        reference = open_folder(exact, info, device="cpu")
        texts = measured_texts(options, model_folder, reference)
        prompts = compared_prompts(options.task, options.documents, reference)
        n_equal = compare(model_folder, reference, prompts, [text for text, _ in texts])
        metrics = {"fp32": {**_measure(exact, reference, texts), "compared_tokens": n_equal}}
        if options.precision != "fp32":
            build(model_folder, folder, options.precision, options.block)
            model = open_folder(folder, info)
            metrics[options.precision] = _measure(folder, model, texts)
            _check_gate(metrics, options)
        info = msgspec.structs.replace(info, context=reference.context, metrics=metrics)
        return _write_records(folder, info, options.notes)


def check_tasks(options: LanguageExport, source: Path) -> None:
    """Raise UsageError for a task that there is not, or whose messages need a chat template.

    `source` is the model's folder: one without a tokenizer, as that of an adapter may be, has the
    chat template of its base, which is not looked at.
    """
    needs_own = (source / "tokenizer_config.json").is_file() and not read_template(source)
    for name in options.tasks or (options.task,):
        kind = find_text_task(name)
        form = options.form if name == options.task else options.form.get(name)
        task = kind(form if isinstance(form, Mapping) else {})
        if needs_own and _asks_in_messages(task):
            raise UsageError(
                f"task {name!r} asks in messages, and the model has no chat template",
                hint=f"lmtool train {name} teaches one to a model; or choose another --task",
            )


def _asks_in_messages(task: TextTask) -> bool:
    return any(not isinstance(prompt, str) for prompt in asked(task, PROMPTS[:1]))


def build(source: Path, out: Path, precision: str, block: int = 0) -> None:
    """Write the files of onnxruntime-genai for a folder of Hugging Face; `block` as in the options.

    Raises UsageError for a model that its builder does not take.
    """
    said = io.StringIO()
    provider = "cuda" if precision == "fp16" else "cpu"
    try:
        with tempfile.TemporaryDirectory() as cache, _builder(said) as builder:
            arguments = ("", str(source), str(out), precision, provider, cache)
            block = block or _block(source, precision)
            extra = builder.parse_extra_options(*arguments, [f"block_size={block}"])
            builder.create_model(*arguments, **extra)
    except NotImplementedError as error:
        raise UsageError(
            f"onnxruntime-genai's builder does not take this kind of model: {error}",
            hint="it takes Llama, Mistral, Qwen, Gemma, Phi, Granite, SmolLM, OLMo and their like",
        ) from error
    except Exception as error:  # the builder lets through whatever goes wrong inside
        raise UsageError(
            f"onnxruntime-genai's builder fails: {type(error).__name__}: {error}",
            hint="check that transformers loads the folder, without trust_remote_code",
        ) from error
    if not (out / "tokenizer.json").is_file():
        raise UsageError(
            "the model's tokenizer cannot be written as tokenizer.json",
            hint="save it with a fast tokenizer of transformers",
        )


def _block(source: Path, precision: str) -> int:
    """Return how many weights share a scale: more in int8, where rows divide into them."""
    width = json.loads((source / "config.json").read_text("utf-8")).get("hidden_size") or 0
    fits = (size for size in (128, 64) if precision == "int8" and width % size == 0)
    return next(fits, 32)


@contextlib.contextmanager
def _builder(said: io.StringIO) -> Iterator[Any]:
    """Give genai's builder, kept from the terminal, from the logs and from the import path.

    It ties the embedding to the head, where the model does, in int4 alone: here in int8 too.
    """
    import logging
    import sys

    from .training.backbone import quiet

    root, path = logging.getLogger(), list(sys.path)
    handlers, level = list(root.handlers), root.level
    with quiet(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            from onnxruntime_genai.models import builder

            logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").disabled = True
            with _tied_in_int8(builder.Model):
                yield builder
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            sys.path[:] = path


@contextlib.contextmanager
def _tied_in_int8(kind: Any) -> Iterator[None]:
    """Have the builder's models share the quantized head with the embedding in int8."""
    begin, names = kind.make_tied_embeddings_init, kind.make_tied_quantized_embedding_input_names

    def is_int8(model: Any) -> bool:
        return model.onnx_dtype.name in ("INT8", "UINT8") and model.quantization_algo == "default"

    def tie(self: Any, config: Any) -> None:
        begin(self, config)
        shares = bool(self.extra_options.get("shared_embeddings"))
        if shares and is_int8(self) and self.is_lm_head_quantized():
            self.tied_quantized_embeddings = True

    def tied_names(self: Any) -> Any:
        if is_int8(self):
            return 8, "lm_head.MatMul.weight_Q8", "lm_head.MatMul.weight_scales", ""
        return names(self)

    kind.make_tied_embeddings_init = tie
    kind.make_tied_quantized_embedding_input_names = tied_names
    try:
        yield
    finally:
        kind.make_tied_embeddings_init = begin
        kind.make_tied_quantized_embedding_input_names = names


class Measured(NamedTuple):
    """A text to measure perplexity on, and what of its beginning is given, and not measured."""

    text: str
    prompt: str = ""


def measured_texts(options: LanguageExport, folder: Path, model: LanguageModel) -> list[Measured]:
    """Return the texts to measure perplexity on, evenly chosen where they are many.

    Where those are still far too long, as a few whole books are, the beginning of each is taken.
    """
    plain = options.texts if options.texts or options.documents else own_texts(model)
    texts = [*map(Measured, plain), *gold_texts(options, folder)]
    sizes = [model.count(text) for text, _ in texts]
    step = -(-sum(sizes) // MEASURED_TOKENS)
    if len(texts) > step:
        texts, sizes = texts[::step], sizes[::step]
    if sum(sizes) <= 2 * MEASURED_TOKENS:
        return texts
    most = _most_of_each(sizes, MEASURED_TOKENS)
    return [
        Measured(_beginning(text, most / n), prompt)
        for (text, prompt), n in zip(texts, sizes, strict=True)
    ]


def _most_of_each(sizes: Sequence[int], total: int) -> float:
    """Return the limit at which sizes, cut to it, add up to the total that they exceed."""
    for n_left, size in zip(range(len(sizes), 0, -1), sorted(sizes), strict=True):
        if size * n_left > total:
            return total / n_left
        total -= size
    return max(sizes)


def _beginning(text: str, share: float) -> str:
    """Return the first share of a text, all of it where that is 1 or more."""
    end = max(int(share * len(text)), 1)
    if not isinstance(text, Prompt) or end >= len(text):
        return text[:end]
    plain = [(a, min(b, end)) for a, b in text.plain if a < end]
    return Prompt(text[:end], plain, has_start=text.has_start)


def gold_texts(options: LanguageExport, folder: Path) -> list[Measured]:
    """Return what the task's gold in the documents teaches: prompts with their completions."""
    if not options.documents:
        return []
    task = find_text_task(options.task)(options.form)
    encoder = PromptEncoder(folder)
    texts: list[Measured] = []
    for document in options.documents:
        for prompt, completion in task.pairs(document):
            if not isinstance(prompt, str):
                prompt = encoder.chat_prompt(prompt)
            has_start = isinstance(prompt, Prompt) and prompt.has_start
            plain = prompt.plain if isinstance(prompt, Prompt) else ((0, len(prompt)),)
            text = prompt + completion
            plain = (*plain, (len(prompt), len(text)))
            texts.append(Measured(Prompt(text, plain, has_start=has_start), prompt))
    if not texts:
        raise DataError(
            f"no document has gold of the task {options.task!r}", hint="see lmtool data check"
        )
    return texts


def own_texts(model: LanguageModel) -> list[str]:
    """Return texts that a model says by itself: what it is most at home in."""
    sampling = Sampling(
        max_tokens=min(OWN_TOKENS, model.context // 2), temperature=1.0, seed=0, choices=8
    )
    said = [completion.text for completion in model.complete([""], sampling)[0]]
    return [text for text in said if text.strip()] or list(PROMPTS)


def _measure(folder: Path, model: LanguageModel, texts: Sequence[Measured]) -> dict[str, Any]:
    found = model.score((text for text, _ in texts), (prompt for _, prompt in texts))
    return {
        "perplexity": round(found.perplexity, 4),
        "bits_per_byte": round(found.bits_per_byte, 4),
        "tokens": found.tokens,
        "megabytes": round(sum(p.stat().st_size for p in folder.glob("model.onnx*")) / 1e6, 2),
    }


def _check_gate(metrics: Mapping[str, dict[str, Any]], options: LanguageExport) -> None:
    exact, final = (metrics[name]["perplexity"] for name in ("fp32", options.precision))
    worse = 100 * (final / exact - 1)
    metrics[options.precision]["worse_by_percent"] = round(worse, 2)
    if not worse <= options.gate:  # NaN does not pass
        raise NegativeResult(
            f"{options.precision} raises perplexity by {worse:.1f} % ({exact:.2f} to {final:.2f}); "
            f"the gate is {options.gate:g} %. Nothing was written",
            hint="--precision int8 or fp32 loses less, --gate allows more",
        )


def _info(options: LanguageExport) -> LanguageInfo:
    return LanguageInfo(
        name=options.name,
        task=options.task,
        tasks=list(options.tasks or (options.task,)),
        form=dict(options.form),
        options=dict(options.options),
        context=options.context,
        precision=options.precision,
        files={},
        licence=options.licence,
        versions=Versions(code=_versions(), data=dict(options.data)),
    )


def _write_records(folder: Path, info: LanguageInfo, notes: str) -> LanguageInfo:
    """Write the model card and bundle.json."""
    (folder / "README.md").write_text(language_card(info, notes), "utf-8")
    files = {p.relative_to(folder).as_posix(): sha256(p) for p in _files(folder)}
    info = msgspec.structs.replace(info, files=files)
    write_record(folder / "bundle.json", info)
    return info


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def checkpoint_export(folder: Path, name: str, **changes: Any) -> tuple[Path, LanguageExport]:
    """Return the model's folder of a language checkpoint, and its export as its record says.

    `changes` go before it; options are added to its own.

    Raises UsageError for a masked model, and BundleError for a damaged checkpoint.
    """
    from .training.checkpoint import find_checkpoint
    from .training.language.checkpoint import MODEL_FOLDER, RECORD_FILE, read_language_checkpoint

    found = find_checkpoint(folder, RECORD_FILE)
    record = read_language_checkpoint(found)
    for problem in problems(found, record.files):
        raise BundleError(problem, hint="train again, or use another checkpoint of the run")
    if record.objective != "causal":
        raise UsageError(
            f"{folder}: a masked model, which continues no texts",
            hint=f"train a task of an encoder on it: lmtool train TASK --base {folder}",
        )
    options = LanguageExport(
        name=name,
        task=record.task or "generate",
        form=record.form,
        options=record.options,
        context=record.context,
    )
    changes["options"] = {**record.options, **changes.get("options", {})}
    return found / MODEL_FOLDER, replace(options, **changes)


def _versions() -> dict[str, str]:
    names = ("lmtool", "torch", "transformers", "onnxruntime", "onnxruntime-genai")
    return {name: version(name) for name in names}
