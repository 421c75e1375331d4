"""Text models: a task of texts on a language model, ready to annotate documents.

Document ─windows→ ─task.prompt→ prompts ─LanguageModel.complete→ completions ─task.parse→ layers
         ─task.join→ Document
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._answers import Answer, Asked, Searched
from .batching import cut_chunks
from .documents import Coverage, Document
from .errors import DataError, UsageError
from .language import (
    Completion,
    LanguageModel,
    Likelihood,
    Prompt,
    PromptTooLong,
    Sampling,
    Stream,
    load_language_model,
)
from .options import make_options
from .tasks import Part, TextTask
from .textwindows import window_ends

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_PROMPTS = 256
"""Prompts that are sorted and answered together: what a run that stops loses at the most."""

DEFAULT_TOKENS = 256
"""Most tokens of a completion where nobody says, and half the context holds them."""

_CONTRADICTED = {"beams": ("temperature",), "temperature": ("beams",), "schema": ("beams", "stop")}
"""Defaults of a bundle that give way to an option that somebody sets."""


class TextModel:
    """A text task on a language model.

    Call it with a text, or use `pipe` for a stream of them. `task`, `options` (the task's
    Options), `sampling`, `name` and `providers` can be read. With `windows`, a text that does not
    fit is cut at the ends of sentences where the task can join what it finds in each.
    """

    def __init__(
        self,
        task: TextTask,
        model: LanguageModel,
        *,
        sampling: Sampling | None = None,
        options: Any = None,
        windows: bool = False,
    ) -> None:
        self.task = task
        self.model = model
        self.name = model.name
        self.providers = model.providers
        self.options = task.Options() if options is None else options
        task.check_options(self.options)
        sampling = sampling or default_sampling(model, {})
        if sampling.choices > 1 and not task.takes_choices:
            raise UsageError(f"{task.name} has one answer: no choices", hint="leave choices out")
        if sampling.max_tokens >= model.context and not sampling.shrinks:
            raise UsageError(
                f"max_tokens={sampling.max_tokens:,}: the model's context holds "
                f"{model.context:,} tokens, those of the prompt with them",
                hint="allow fewer, or leave max_tokens out: then an answer has what room is left",
            )
        own = () if sampling.schema else tuple(task.form.get("stop", ()))
        self.sampling = dataclasses.replace(sampling, stop=(*own, *sampling.stop))
        self.windows = windows

    def __call__(self, text: str | Document) -> Document:
        """Answer one text and return its document; DataError where that is not possible."""
        return _good(self.annotate([_document(text)])[0])

    def pipe(self, texts: Iterable[str | Document]) -> Iterator[Document]:
        """Answer a stream, in order, in constant memory; DataError for the first that cannot be."""
        if isinstance(texts, str):
            raise UsageError("pipe takes many texts", hint="call the model with a single one")
        number = 0
        for chunk in self.chunks(map(_document, texts)):
            yield from map(_good, self.annotate_from(number, chunk))
            number += len(chunk)

    def chunks(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Cut a stream into chunks of about CHUNK_PROMPTS prompts, by the lengths of the texts."""
        per_prompt = 100 if self.task.unit(self.options) == "sentence" else 2 * self.model.context
        return cut_chunks(documents, CHUNK_PROMPTS, per_prompt)

    def annotate(self, documents: Sequence[Document]) -> list[Document | DataError]:
        """Return the documents with the task's layers, in order.

        In the place of a document that cannot be asked or answered stands a DataError.
        """
        return self.annotate_from(0, documents)

    def annotate_from(
        self, number: int, documents: Sequence[Document]
    ) -> list[Document | DataError]:
        """Return what `annotate` does, for documents of a stream from this number on.

        One seed draws other texts behind another number.
        """
        windows = [_tried(self._windows, document) for document in documents]
        asked = [w for found in windows if not isinstance(found, DataError) for w in found]
        answers = self._complete([w.prompt for w in asked if w.prompt is not None], number)
        results: list[Document | DataError] = []
        for document, found in zip(documents, windows, strict=True):
            if isinstance(found, DataError):
                results.append(found)
                continue
            answered = [(w, [] if w.prompt is None else next(answers)) for w in found]
            results.append(_tried(self.answered, document, answered))
        return results

    def stream(self, text: str | Document) -> Answer:
        """Return the answer to one text, piece by piece; DataError where it cannot be asked.

        With beams it comes in one piece. UsageError for several choices, and for a text that is
        asked in several windows.
        """
        document = _document(text)
        windows = self._windows(document)
        if len(windows) > 1:
            raise UsageError(
                "several windows have no one answer", hint="stream_windows has an answer for each"
            )
        return self._streamed(document, windows[0])

    def stream_windows(self, text: str | Document) -> Iterator[tuple[str, Answer]]:
        """Yield the answer to each window of a text, and what stands before it in the whole.

        One after the other: an answer begins when the next is asked for. DataError where a window
        cannot be asked.
        """
        document = _document(text)
        end: int | None = None
        for asked in self._windows(document):
            part = document.text[asked.start : asked.start + len(asked.document.text)]
            if asked.prompt is None:
                continue
            begin = asked.start + len(part) - len(part.lstrip())
            before = "" if end is None else self.task.between(document, end, begin, self.options)
            yield before, self._streamed(document, asked)
            end = asked.start + len(part.rstrip())

    def _streamed(self, document: Document, asked: Asked) -> Answer:
        prompt, sampling = asked.prompt, self.sampling
        stream: Stream | Searched | None = None
        if prompt is not None and sampling.beams > sampling.choices == 1:
            stream = Searched(self.model, prompt, sampling)
        elif prompt is not None:
            stream = self.model.stream(prompt, sampling)
        return Answer(self, document, asked, stream)

    def likelihood(self, texts: Iterable[str]) -> Likelihood:
        """Return how likely the language model takes texts to be."""
        return self.model.score(texts)

    # ── what is asked ────────────────────────────────────────────────────────────────────────

    def _windows(self, document: Document) -> list[Asked]:
        """Return the windows of a document with their prompts; DataError where one is too long."""
        unit = self.task.unit(self.options)
        if unit != "text":
            return self._cut(document, unit)
        try:
            return [self._ask(0, document, shrinks=self.sampling.shrinks and not self.windows)]
        except PromptTooLong as error:
            if self.windows:
                return self._cut(document, "window")
            if type(self.task).join is not TextTask.join:
                error.hint += ", or have the text read in windows (--windows)"
            raise

    def _ask(self, start: int, document: Document, *, shrinks: bool) -> Asked:
        """Return a window with its prompt, with as much left out as must be to make it fit.

        With `shrinks` the answer gets what room there is where nothing more can be left out.
        """
        context, sampling = self.model.context, self.sampling
        first: PromptTooLong | None = None
        while True:
            prompt = self._prompt(document)
            n_tokens = 0 if prompt is None else self.model.count(prompt)
            if n_tokens + sampling.max_tokens <= context:
                return Asked(start, document, prompt)
            first = first or PromptTooLong(0, n_tokens, sampling, context)
            shorter = self.task.shorter(document, self.options)
            if shorter is None:
                if shrinks and n_tokens < context:
                    return Asked(start, document, prompt)
                raise first
            document = shorter

    def _prompt(self, document: Document) -> str | None:
        prompt = self.task.prompt(document, self.options)
        if prompt is None or isinstance(prompt, str):
            return prompt
        return self.model.chat_prompt(prompt)

    def _cut(self, document: Document, unit: str) -> list[Asked]:
        """Return the windows of a text, which partition it: sentences, or as many as fit."""
        room = self._room(document)
        language = self.task.language(document, self.options)
        windows = []
        start = 0
        for end in window_ends(document.text, language, self.model.count, room, unit):
            part = document.with_text(document.text[start:end])
            windows.append(self._ask(start, part, shrinks=self.sampling.shrinks))
            start = end
        return windows

    def _room(self, document: Document) -> int:
        """Return how many tokens of text a window may have: those that the prompt leaves."""
        max_tokens, context = self.sampling.max_tokens, self.model.context
        n_around = self.model.count(self._prompt(document.with_text("x")) or "")
        if self.sampling.shrinks:  # at most half of the room is the answer's
            max_tokens = min(max_tokens, (context - n_around) // 2)
        room = context - max_tokens - n_around
        if room < 1 or max_tokens < 1:
            raise PromptTooLong(0, n_around, self.sampling, context)
        return min(room, max(int(max_tokens / self.task.growth), 1)) if self.task.growth else room

    # ── what is answered ─────────────────────────────────────────────────────────────────────

    def _complete(self, prompts: Sequence[str], number: int) -> Iterator[list[Completion]]:
        """Yield the completions of each prompt; equal ones are asked once, where chance is out."""
        if self.sampling.is_random:
            yield from self.model.complete(prompts, self.sampling, number=number)
            return
        first = {_read_as(prompt): prompt for prompt in prompts}
        found = self.model.complete(list(first.values()), self.sampling) if first else []
        answers = dict(zip(first, found, strict=True))
        yield from (answers[_read_as(prompt)] for prompt in prompts)

    def answered(
        self, document: Document, windows: Sequence[tuple[Asked, list[Completion]]]
    ) -> Document:
        """Return a document with what was found in its windows."""
        task, options = self.task, self.options
        is_whole = len(windows) == 1
        parts = [
            Part(
                window.start,
                task.parse(document if is_whole else window.document, completions, options),
            )
            for window, completions in windows
        ]
        layers = parts[0].value if is_whole else task.join(document, parts, options)
        n_read = sum(task.n_read(window.document, options) for window, _ in windows)
        coverage = Coverage(task.n_characters(document), n_read, len(windows))
        return document.with_layers({**layers, "coverage": coverage})


def load_text_model(
    ref: str | Path | None = None,
    *,
    task_name: str | None = None,
    device: str = "auto",
    threads: int = 0,
    windows: bool = False,
    **options: Any,
) -> TextModel:
    """Load a bundle of a language model for a task: the one that it is made for, or `task_name`.

    `options` are those of the task and of `Sampling`, above the bundle's own. Raises UsageError
    for options that there are not or do not fit, and for a task that the model does not serve:
    one for chat serves all that put their prompts as messages.
    """
    if ref is None:
        from .choice import default_model

        ref = default_model(task_name or "")
    if task_name is not None:
        _split(find_text_task(task_name), options)  # what is wrong with them comes first
    model = load_language_model(ref, device=device, threads=threads)
    info = model.info
    name = task_name or info.task
    able = {info.task, *info.tasks}
    if name not in able and not ("chat" in able and model.has_chat):
        raise UsageError(
            f"{ref}: a model for {info.task!r}, not for {name!r}",
            hint=f"run it with lmtool {info.task}",
        )
    task = find_text_task(name)
    own, drawn = _split(task, options)
    own_defaults, drawn_defaults = _split(task, info.options)
    return TextModel(
        task(form_for(name, model)),
        model,
        sampling=default_sampling(model, drawn, drawn_defaults),
        options=make_options(task.Options, own, own_defaults),
        windows=windows,
    )


def check_defaults(task_name: str, options: Mapping[str, Any]) -> None:
    """Raise UsageError for defaults of a bundle that its task or `Sampling` would not take."""
    task = find_text_task(task_name)
    own, drawn = _split(task, options)
    make_options(task.Options, own)
    make_options(Sampling, drawn)


def find_text_task(name: str) -> type[TextTask]:
    """Return the text task that somebody named; UsageError when no plugin has it."""
    from .plugins import registry

    task = registry().task(name)
    if task is None or not issubclass(task, TextTask):
        reason = "no plugin has it" if task is None else "it reads with an encoder"
        raise UsageError(
            f"no task {name!r} of language models: {reason}",
            hint=f"plugins are: {', '.join(registry().names())}",
        )
    return task


def form_for(task: str, model: LanguageModel) -> dict[str, Any]:
    """Return the form that a task gets with a model.

    That of the bundle for the task it was made for; for others what stands under their name
    in it. "chat" is set where the model has a chat template and no prompt of its own.
    """
    info = model.info
    found = info.form.get(task)
    form = dict(found) if isinstance(found, Mapping) else {}
    if task == info.task:
        form = {**info.form, **form}
    form.setdefault("chat", model.has_chat and "prompt" not in form)
    return form


def default_sampling(
    model: LanguageModel, values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Sampling:
    """Return how a model samples: `values`, above the bundle's `defaults`, above our own.

    Defaults that contradict a value are left out. max_tokens shrinks where nobody asked for it.
    """
    tokens = {
        "max_tokens": max(min(DEFAULT_TOKENS, model.context // 2), 1),
        "shrinks": "max_tokens" not in values,
    }
    plain = Sampling()
    away = {
        name
        for given, names in _CONTRADICTED.items()
        if given in values and values[given] != getattr(plain, given)
        for name in names
    }
    own = {name: value for name, value in (defaults or {}).items() if name not in away}
    sampling: Sampling = make_options(Sampling, values, {**tokens, **own})
    return sampling


def _split(
    task: type[TextTask], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a task and those of Sampling; UsageError for an unknown one."""
    own = {field.name for field in dataclasses.fields(task.Options)}
    drawn = {field.name for field in dataclasses.fields(Sampling)}
    for name in options:
        if name not in own | drawn:
            raise UsageError(
                f"unknown option {name!r}",
                hint=f"the options are: {', '.join(sorted(own) + sorted(drawn))}",
            )
    return (
        {name: value for name, value in options.items() if name in own},
        {name: value for name, value in options.items() if name not in own},
    )


def _read_as(prompt: str) -> tuple[Any, ...]:
    """Return what decides how a prompt is read: its text, and where control tokens count in it."""
    if isinstance(prompt, Prompt):
        return str(prompt), prompt.plain, prompt.has_start
    return (prompt,)


def _tried(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of work, or the DataError that it raises."""
    try:
        return work(*arguments)
    except DataError as error:
        return error


def _good(found: Document | DataError) -> Document:
    if isinstance(found, DataError):
        raise found
    return found


def _document(text: str | Document) -> Document:
    return text if isinstance(text, Document) else Document(text=text)
