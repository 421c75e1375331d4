"""Models: loaded bundles or checkpoints that annotate documents."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .batching import cut_batches, cut_chunks, pad_windows
from .bundles import BackboneInfo, Bundle, find_bundle, load_bundle, load_encoder_bundle
from .choice import default_model, heads, read_head
from .documentmodels import DocumentModel
from .documents import Coverage, Document
from .errors import BundleError, PluginError, UsageError
from .plugins import registry
from .scripts import reads_script
from .sessions import GraphFile, Session, n_threads, open_session
from .tasks import EncoderTask, Graph, Part, TextTask, make_options
from .windows import Encoding, TextEncoder, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .textmodels import TextModel

log = logging.getLogger("lmtool")

CHUNK_WINDOWS = 1024
"""Windows that are sorted together: enough to pad little, few enough to stay small in memory."""

MOST_TOKENS = 128 * CHUNK_WINDOWS
"""Tokens of windows that are held at once: some 5 MB. A longer document is read in parts."""

BATCH_TOKENS = 1024
"""Padded tokens of a micro-batch: larger ones leave the cache and are slower."""


class Model(DocumentModel):
    """A task with its backbone and head, ready to annotate.

    Call it with a text, or use `pipe` for a stream. `labels`, `options` (the task's Options) and
    `providers` (what it runs on) can be read.
    """

    def __init__(
        self,
        task: EncoderTask,
        encoder: TextEncoder,
        backbone: Graph,
        graphs: Mapping[str, Graph],
        *,
        name: str,
        options: Any = None,
        batch_tokens: int = BATCH_TOKENS,
        threads: int = 1,
    ) -> None:
        super().__init__(task, name=name, options=options)
        self.labels = task.labels
        self.providers: tuple[str, ...] = getattr(backbone, "providers", ())
        self.encoder = encoder
        self.backbone = backbone
        self.graphs = graphs
        self.batch_tokens = batch_tokens
        self.threads = threads
        self.has_told_script = False
        """Whether it has warned of a text in a script that its encoder does not know."""

    def chunks(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Cut a stream into chunks of about CHUNK_WINDOWS windows, as `cut_chunks` does."""
        return cut_chunks(documents, CHUNK_WINDOWS, 2 * self.encoder.encoding.max_tokens)

    def annotate(self, documents: Sequence[Document]) -> list[Document]:
        """Annotate a chunk of documents and return them with the task's layers, in order."""
        return annotate([self], documents)

    def parts(self, documents: Sequence[Document]) -> list[list[Part]]:
        """Return what the task finds in the windows of each document, before it is merged."""
        return _run([self], documents).parts[0]

    def hidden(self, windows: Sequence[Window]) -> dict[str, NDArray[Any]]:
        """Return the backbone's outputs for a micro-batch, and its attention mask.

        `hidden` is float32 (batch, seq, hidden), where seq is the longest window's tokens.
        """
        inputs = pad_windows(windows)
        return {**self.backbone.run(inputs), "attention_mask": inputs["attention_mask"]}

    def with_task(self, task: EncoderTask, options: Any) -> Model:
        """Return a model of another task, on this one's backbone and graphs."""
        return Model(
            task,
            self.encoder,
            self.backbone,
            self.graphs,
            name=self.name,
            options=options,
            batch_tokens=self.batch_tokens,
            threads=self.threads,
        )

    def shares_pass(self, other: Model) -> bool:
        """Whether one pass of a backbone over the same windows serves both models."""
        return (
            self.backbone is other.backbone
            and self.encoder.encoding == other.encoder.encoding
            and self.task.reads_pairs == other.task.reads_pairs
        )


class ModelGroup:
    """Several models over the same documents; those that share a backbone share its pass.

    Each model's layers are merged in turn, so it gives what a pipe of the models gives.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = list(models)
        self.name = " + ".join(model.name for model in models)
        self.options = [model.options for model in models]

    def chunks(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Cut a stream into chunks, as the first model does."""
        return self.models[0].chunks(documents)

    def annotate(self, documents: Sequence[Document]) -> list[Document]:
        """Annotate a chunk of documents with all models and return them in order."""
        return annotate(self.models, documents)


def annotate(models: Sequence[Model], documents: Sequence[Document]) -> list[Document]:
    """Annotate documents with each model in turn, with one pass of each backbone.

    Beside others, a model that compares two texts leaves documents without a `pair` alone. A model
    that takes a layer as given which another writes runs after that one.
    """
    stages: list[list[Model]] = [[]]
    for model in _in_order(models):
        written = {layer for before in stages[-1] for layer in before.task.layers}
        if written & set(model.task.given_layers(model.options)):
            stages.append([])
        stages[-1].append(model)
    are_pairs_needed = all(model.task.reads_pairs for model in models)
    annotated = list(documents)
    for stage in stages:
        annotated = _annotate_at_once(stage, annotated, are_pairs_needed=are_pairs_needed)
    return annotated


def _in_order(models: Sequence[Model]) -> list[Model]:
    """Return the models in their order, but behind others that write what they take as given.

    Those that wait for each other stay as they are.
    """
    left, ordered = list(models), []
    while left:
        ready = next((model for model in left if not _waits(model, left)), left[0])
        left.remove(ready)
        ordered.append(ready)
    return ordered


def _waits(model: Model, others: Sequence[Model]) -> bool:
    """Whether another of the models writes a layer that this one takes as given."""
    given = set(model.task.given_layers(model.options))
    return any(given & set(other.task.layers) for other in others if other is not model)


def _annotate_at_once(
    models: Sequence[Model], documents: Sequence[Document], *, are_pairs_needed: bool
) -> list[Document]:
    """Annotate documents with models none of which needs what another writes."""
    passes: list[list[Model]] = []
    for model in models:
        shared = next((group for group in passes if group[0].shares_pass(model)), None)
        if shared is None:
            passes.append([model])
        else:
            shared.append(model)
    found: dict[int, tuple[_Found, int]] = {}
    for group in passes:
        is_optional = group[0].task.reads_pairs and not are_pairs_needed
        read = [d for d in documents if d.pair is not None] if is_optional else documents
        results = _run(group, read)
        found |= {id(model): (results, number) for number, model in enumerate(group)}
    annotated = list(documents)
    for model in models:
        results, number = found[id(model)]
        for index, document in enumerate(annotated):
            place = results.place.get(id(documents[index]))
            if place is None:
                continue
            parts, n_read = results.parts[number][place], results.n_read[place]
            layers = model.task.merge(document, parts, model.options)
            coverage = Coverage(len(document.text), n_read, len(parts))
            annotated[index] = document.with_layers({**layers, "coverage": coverage})
    return annotated


class _Found(NamedTuple):
    """What some models found: parts by model and document, characters read by document."""

    parts: list[list[list[Part]]]
    n_read: list[int]
    place: dict[int, int]
    """The number of a document by its id()."""


def _run(models: Sequence[Model], documents: Sequence[Document]) -> _Found:
    """Run models that share a pass over documents."""
    first = models[0]
    parts: list[list[list[Part]]] = [[[] for _ in documents] for _ in models]
    n_read = [0] * len(documents)
    pending: list[tuple[int, Window]] = []
    n_tokens = 0
    has_given = any(model.task.given_layers(model.options) for model in models)
    pairs = first.task.reads_pairs
    for index, window in first.encoder.windows_of_documents(documents, pairs=pairs):
        window.document = documents[index] if has_given else None
        pending.append((index, window))
        n_read[index] += len(window.text)
        n_tokens += len(window.ids)
        if n_tokens >= MOST_TOKENS:  # one long document fills many chunks
            _run_windows(models, pending, parts)
            pending, n_tokens = [], 0
    _run_windows(models, pending, parts)
    _warn_of_script(models, documents)
    return _Found(parts, n_read, {id(document): i for i, document in enumerate(documents)})


def _warn_of_script(models: Sequence[Model], documents: Sequence[Document]) -> None:
    """Warn of the first text in a script that the models' encoder does not know."""
    if any(model.has_told_script for model in models):
        return
    for document in documents:
        text = document.text
        has_others = len(text.encode(errors="replace")) > 1.1 * len(text)  # than those of ASCII
        if has_others and not reads_script(models[0].encoder.tokenizer, text):
            log.warning(
                "%sthe model does not know the script of this text, and what it finds means "
                "little: take a model for that language (--model)",
                "" if document.id is None else f"{document.id}: ",
            )
            for model in models:
                model.has_told_script = True
            return


def _run_windows(
    models: Sequence[Model],
    pending: Sequence[tuple[int, Window]],
    parts: list[list[list[Part]]],
) -> None:
    """Run windows, each distinct one once, and append their parts to their documents'."""
    distinct: dict[tuple[Any, ...], int] = {}
    slots = [distinct.setdefault(window.key, len(distinct)) for _, window in pending]
    windows: list[Window] = [None] * len(distinct)  # type: ignore[list-item]
    for slot, (_, window) in zip(slots, pending, strict=True):
        windows[slot] = window
    values: list[Any] = [None] * len(windows)
    batches = cut_batches([len(w.ids) for w in windows], models[0].batch_tokens)
    found = _infer_all(models, [[windows[i] for i in batch] for batch in batches])
    for batch, batch_values in zip(batches, found, strict=True):
        for index, value in zip(batch, batch_values, strict=True):
            values[index] = value
    for slot, (index, window) in zip(slots, pending, strict=True):
        for number in range(len(models)):
            parts[number][index].append(Part(window.start, values[slot][number]))


def _infer_all(
    models: Sequence[Model], batches: Sequence[Sequence[Window]]
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the parts of each micro-batch, computed in as many threads as the model has."""
    infer = functools.partial(_infer, models)
    if models[0].threads == 1 or len(batches) < 2:
        yield from map(infer, batches)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(models[0].threads) as pool:
        yield from pool.map(infer, batches)


def _infer(models: Sequence[Model], windows: Sequence[Window]) -> list[tuple[Any, ...]]:
    """Return the parts of each window, one of each model."""
    hidden = models[0].hidden(windows)
    found = []
    for model in models:
        parts = model.task.infer(model.graphs, hidden, windows, model.options)
        if len(parts) != len(windows):
            raise PluginError(
                f"task {model.task.name!r}: infer gave {len(parts)} parts for "
                f"{len(windows)} windows"
            )
        found.append(parts)
    return list(zip(*found, strict=True))


def load(
    ref: str | Path | None = None,
    *,
    device: str = "auto",
    threads: int = 0,
    batch_tokens: int = BATCH_TOKENS,
    task_name: str | None = None,
    head: str | None = None,
    **options: Any,
) -> DocumentModel | TextModel:
    """Load a bundle (a name or a folder) or a training checkpoint (a folder, needs torch).

    What it gives is a TextModel for a language model, and a Model, with a backbone, for all others
    but those that `task_name` makes itself for these options.

    Without one, it is what `task_name` uses on the command line. `options` are the task's; an
    unknown one, and a value that does not fit, is a UsageError, as is a model of another task
    than `task_name`. `threads` 0 means all cores. `head` chooses among the heads of a checkpoint
    that was trained for several tasks.
    """
    if task_name is not None:
        own = own_model(
            task_name, ref, options, device=device, threads=threads, batch_tokens=batch_tokens
        )
        if own is not None:
            return own
    if is_language(ref, task_name):
        if head is not None:
            raise UsageError(f"head {head!r}: a language model has none", hint="leave it out")
        from .textmodels import load_text_model

        return load_text_model(ref, task_name=task_name, device=device, threads=threads, **options)
    return load_encoder(
        ref, device=device, threads=threads, batch_tokens=batch_tokens, task_name=task_name,
        head=head, **options,
    )  # fmt: skip


def own_model(
    task_name: str, ref: str | Path | None, options: Mapping[str, Any], **told: Any
) -> DocumentModel | None:
    """Return the model that a task makes itself for these options, None where it makes none.

    `told` is the device, the threads and the batch tokens.
    """
    task = registry().task(task_name)
    if task is None or not issubclass(task, EncoderTask):
        return None
    return task.open(ref, make_options(task.Options, options), **told)


def is_language(ref: str | Path | None, task_name: str | None) -> bool:
    """Whether a language model is meant: by the model's kind, or else by the task's."""
    if ref is None:
        task = registry().task(task_name) if task_name is not None else None
        return task is not None and issubclass(task, TextTask)
    if (Path(ref) / "language.json").is_file():
        raise UsageError(
            f"{ref}: a checkpoint of a language model, which runs when it is exported",
            hint=f"lmtool export {ref} -o FOLDER",
        )
    if (Path(ref) / "checkpoint.json").is_file():
        return False
    return read_head(find_bundle(ref)).kind == "language"


def load_encoder(
    ref: str | Path | None = None,
    *,
    device: str = "auto",
    threads: int = 0,
    batch_tokens: int = BATCH_TOKENS,
    task_name: str | None = None,
    head: str | None = None,
    **options: Any,
) -> Model:
    """Load a model with a backbone, as `load` does; BundleError for a language model."""
    if task_name is not None:
        task_class = find_task(task_name)
        wanted = make_options(task_class.Options, options)
        if (other := task_class.model_task(wanted)) != task_name:
            if ref is not None and not (Path(ref) / "checkpoint.json").is_file():
                check_task(ref, load_bundle(ref, verify=False).info.task, other, task_name)
            model = load_encoder(
                ref, device=device, threads=threads, batch_tokens=batch_tokens,
                task_name=other, head=head,
            )  # fmt: skip
            return task_class.on_model(model, wanted)
    if ref is None:
        ref = default_model(task_name or "", options.get("scheme", ()))
    if (Path(ref) / "checkpoint.json").is_file():
        try:
            from .training.checkpoint import load_checkpoint
            from .training.inference import model_from_checkpoint
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{ref}: a checkpoint needs {error.name}, which a plain installation leaves out",
                hint='pip install "lmtool[train]"',
            ) from error
        checkpoint = load_checkpoint(Path(ref))
        model = model_from_checkpoint(
            checkpoint, options, batch_tokens,
            head=checkpoint.head(head, task_name), device=device, threads=threads,
        )  # fmt: skip
        return model.task.on_model(model, model.options)
    bundle = load_encoder_bundle(ref)
    if task_name is not None:
        check_task(ref, bundle.info.task, task_name)
    task = task_of(bundle.info.task, str(ref))(bundle.info.labels, bundle.info.form)
    open_graph = functools.partial(open_session, device=device, threads=threads)
    backbone = backbone_session(bundle.backbone_folder, bundle.backbone, device, threads)
    encoder = _encoder(bundle.backbone_folder, bundle.backbone.hash, bundle.encoding)
    runs_on_cpu = backbone.providers == ("CPUExecutionProvider",)
    model = Model(
        task,
        encoder,
        backbone,
        {
            name: open_graph(GraphFile(bundle.folder / graph.file, graph.signature))
            for name, graph in bundle.info.graphs.items()
        },
        name=_identity(bundle),
        options=make_options(task.Options, options, bundle.info.options),
        batch_tokens=batch_tokens,
        threads=n_threads(threads) if runs_on_cpu else 1,
    )
    return task.on_model(model, model.options)


def find_task(name: str) -> type[EncoderTask]:
    """Return the encoder task that somebody named; UsageError when no plugin has it."""
    task = registry().task(name)
    if task is None:
        encoders = (task for task in registry().tasks() if issubclass(task, EncoderTask))
        names = sorted(task.name for task in encoders if _has_head(task))
        raise UsageError(
            f"task: no plugin has a task {name!r}",
            hint=f"tasks with a head are: {', '.join(names)}",
        )
    if not issubclass(task, EncoderTask):
        raise UsageError(f"task: {name!r} is answered by a language model, it has no head to train")
    return task


def _has_head(task: type[EncoderTask]) -> bool:
    """Whether a task has a head of its own: one without refuses to be trained."""
    try:
        task.collect_labels([])
    except UsageError:
        return False
    return True


def task_of(name: str, where: str) -> type[EncoderTask]:
    """Return the encoder task that a model names; BundleError when no plugin has it."""
    task = registry().task(name)
    if task is None:
        raise BundleError(
            f"{where}: needs the task {name!r}, which no installed plugin has",
            hint="install the plugin that made it (see lmtool plugins)",
        )
    if not issubclass(task, EncoderTask):
        raise BundleError(f"{where}: {name!r} is a task for language models")
    return task


def check_task(ref: str | Path, found: str, wanted: str, asked: str | None = None) -> None:
    """Raise UsageError for a model of the task `found` where one of `wanted` is needed.

    `asked` is the task that somebody runs, where its options need a model of another task.
    """
    if found == wanted:
        return
    if asked in (None, wanted):
        raise UsageError(
            f"{ref}: a model for {found!r}, not for {wanted!r}",
            hint=f"run it with lmtool {found}",
        )
    registry().load_all()
    able = [name for name, _, head in heads() if head.task == wanted]
    raise UsageError(
        f"{ref}: a model for {found!r}; these options of {asked!r} need one for {wanted!r}",
        hint=f"leave the model out, or name one of: {', '.join(able) or 'none is installed'}",
    )


_sessions: dict[tuple[str, str, int], Session] = {}


def backbone_session(folder: Path, info: BackboneInfo, device: str, threads: int) -> Session:
    """Open a backbone; bundles that share one, by hash, share its session in this process."""
    key = (info.hash, device, threads)
    if key not in _sessions:
        graph = GraphFile(folder / "backbone.onnx", info.signature)
        _sessions[key] = open_session(graph, device, threads)
    return _sessions[key]


_encoders: dict[tuple[str, Encoding], TextEncoder] = {}


def _encoder(folder: Path, backbone_hash: str, encoding: Encoding) -> TextEncoder:
    """Load a backbone's tokenizer; as `backbone_session` does, once for all that share it."""
    key = (backbone_hash, encoding)
    if key not in _encoders:
        _encoders[key] = TextEncoder.from_file(folder / "tokenizer.json", encoding)
    return _encoders[key]


def _identity(bundle: Bundle) -> str:
    digest = hashlib.sha256(msgspec.json.encode([bundle.info.files, bundle.backbone.hash]))
    return f"{bundle.info.name} {digest.hexdigest()[:16]}"
