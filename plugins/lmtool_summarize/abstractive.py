"""Summaries that a language model writes, of texts of any length.

A text that fits the model's context is asked about at once. Any other is cut at sentence ends into
parts that fit; each is summarized, and then their summaries, which are cut again while they are too
long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import lmtool
from lmtool.documentmodels import DocumentModel
from lmtool.documents import Summary, SummaryPart
from lmtool.language import (
    LanguageModel,
    PromptTooLong,
    Sampling,
    fill_prompt,
    load_language_model,
)
from lmtool.textmodels import TextModel, form_for

from .prompts import Step, cue, instruction, language_of
from .task import SummarizeOptions, SummarizeTask

if TYPE_CHECKING:
    from lmtool.language import Completion, Message

DEFAULT_TOKENS: Final = 256
BLANK_LINE: Final = "\n\n"
"""Ends the summary of a model that continues texts, and would go on behind it."""


def load_abstractive(
    ref: str | Path | None, options: SummarizeOptions, *, device: str = "auto", threads: int = 0
) -> AbstractiveModel:
    """Load a language model to write summaries; UsageError where none is named."""
    if options.template and "{text}" not in options.template:
        raise lmtool.UsageError(
            "--template has no {text}", hint="write where the text stands: 'In one line: {text}'"
        )
    if ref is None:
        raise lmtool.UsageError(
            "--abstractive: no language model is named",
            hint="say --model NAME; lmtool models list shows them, lmtool models import brings one",
        )
    model = load_language_model(ref, device=device, threads=threads)
    return AbstractiveModel(model, options)


class AbstractiveModel(DocumentModel):
    """A language model that writes the layer `summary`.

    `sampling` says how: always the likeliest token, at most `max_tokens` of them.
    """

    windows: ClassVar[bool] = True
    """A text that does not fit is read in parts."""

    def __init__(self, model: LanguageModel, options: SummarizeOptions) -> None:
        task = SummarizeTask({})
        super().__init__(task, name=f"{model.name} as {task.name}", options=options)
        self.providers = model.providers
        n_tokens = options.max_tokens or max(min(DEFAULT_TOKENS, model.context // 4), 1)
        own = {key: model.info.options[key] for key in _KEPT if key in model.info.options}
        self.sampling = Sampling(max_tokens=n_tokens, **own)
        form = form_for(task.name, model)

        def asking(step: Step) -> TextModel:
            asked = AbstractTask(form, step)
            return TextModel(asked, model, sampling=self.sampling, options=options)

        self._whole, self._part, self._merge = asking("whole"), asking("part"), asking("merge")

    def chunks(self, documents: Iterable[lmtool.Document]) -> Iterator[list[lmtool.Document]]:
        """Cut a stream into chunks of some hundred prompts."""
        return self._whole.chunks(documents)

    def annotate(
        self, documents: Sequence[lmtool.Document]
    ) -> list[lmtool.Document | lmtool.DataError]:
        """Return the documents with their summaries; a DataError for one that cannot be had."""
        found = self._whole.annotate(documents)
        first: dict[int, lmtool.Document] = {}
        long = {i: documents[i] for i, one in enumerate(found) if isinstance(one, PromptTooLong)}
        while long:
            shorter: dict[int, lmtool.Document] = {}
            read = self._part.annotate(list(long.values()))
            for (i, document), result in zip(long.items(), read, strict=True):
                if isinstance(result, lmtool.DataError):
                    found[i] = result
                    continue
                first.setdefault(i, result)
                try:
                    shorter[i] = document.with_text(self._joined(result))
                except lmtool.DataError as error:
                    found[i] = error
                    continue
                language = self._part.task.language(document, self.options)
                shorter[i].fields = {**document.fields, "language": language}
            merged = self._merge.annotate(list(shorter.values()))
            results = dict(zip(shorter, merged, strict=True))
            long = {i: shorter[i] for i, one in results.items() if isinstance(one, PromptTooLong)}
            found = [
                one if i not in results or i in long else _completed(first[i], results[i])
                for i, one in enumerate(found)
            ]
        return found

    def _joined(self, document: lmtool.Document) -> str:
        """Return the summaries of a text's parts; DataError where they are as long as it is."""
        summary = document.summary or Summary("")
        text = "\n".join(part.text for part in summary.parts)
        count = self._whole.model.count
        if count(text) < count(document.text):
            return text
        raise lmtool.DataError(
            f"{self.name}: the summaries of the parts are as long as the text, and do not fit its "
            f"context of {self._whole.model.context:,} tokens",
            hint="allow fewer tokens (--max-tokens), or take a model with a longer context",
        )


_KEPT: Final = ("repetition_penalty",)
"""What a bundle says about sampling that counts here: a summary is not drawn by chance."""


def _completed(
    first: lmtool.Document, merged: lmtool.Document | lmtool.DataError
) -> lmtool.Document | lmtool.DataError:
    """Return a document with its parts, as it was read first, and the summary of the whole."""
    if isinstance(merged, lmtool.DataError):
        return merged
    whole, parts = merged.summary or Summary(""), first.summary or Summary("")
    return first.with_layers({"summary": Summary(whole.text, [], parts.parts, whole.finish)})


class AbstractTask(lmtool.TextTask):
    """Asks a language model for the summary of a text, of a part of one, or of summaries.

    `form` may hold the "prompt" that a model was tuned on, with {text} in it, and "stop".
    """

    name: ClassVar[str] = "summarize"
    summary: ClassVar[str] = "Summarize a text in a model's own words"
    layers: ClassVar[tuple[str, ...]] = ("summary",)
    main_metric: ClassVar[str] = "rouge1"
    Options: ClassVar[type[Any]] = SummarizeOptions

    def __init__(self, form: Mapping[str, Any] | None = None, step: Step = "whole") -> None:
        super().__init__(form)
        self.step = step
        if not self.form.get("chat"):
            self.form.setdefault("stop", [BLANK_LINE])

    def unit(self, options: SummarizeOptions) -> Literal["text", "sentence", "window"]:
        """Return what is asked at once: as much as fits, of a text that does not."""
        return "window" if self.step == "part" else "text"

    def language(self, document: lmtool.Document, options: SummarizeOptions) -> str:
        """Return the language that the record says, or the text looks like."""
        said = document.fields.get("language")
        return said if isinstance(said, str) and said else language_of(document.text)

    def prompt(
        self, document: lmtool.Document, options: SummarizeOptions
    ) -> str | Sequence[Message] | None:
        """Return the template or our own instruction with the text; None without words."""
        text = document.text.strip()
        if not text:
            return None
        form = options.template or self.form.get("prompt", "")
        if not form:
            language = self.language(document, options)
            form = "{asked}\n\n{text}"
            if not self.form.get("chat"):
                form += f"\n\n{cue(language)}"
            asked = instruction(language, self.step, options)
            filled = fill_prompt(form, asked=asked, text=text)
        else:
            filled = fill_prompt(form, text=text, query=options.query)
        if self.form.get("chat"):
            return [{"role": "user", "content": str(filled)}]
        return filled

    def parse(
        self,
        document: lmtool.Document,
        completions: Sequence[Completion],
        options: SummarizeOptions,
    ) -> dict[str, Any]:
        """Return the summary; of a part also as the only one there is."""
        text, finish = "", ""
        for completion in completions[:1]:
            text = completion.text.strip()
            finish = "length" if completion.finish == "length" else ""
        parts = [SummaryPart(0, len(document.text), text, finish)] if self.step == "part" else []
        return {"summary": Summary(text, [], parts, finish)}

    def join(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: SummarizeOptions
    ) -> dict[str, Any]:
        """Return the summaries of the parts with the characters of each."""
        ends = [part.start for part in parts[1:]] + [len(document.text)]
        found = [
            SummaryPart(part.start, end, part.value["summary"].text, part.value["summary"].finish)
            for part, end in zip(parts, ends, strict=True)
        ]
        return {"summary": Summary("\n".join(part.text for part in found), [], found)}

    def pairs(self, document: lmtool.Document) -> list[tuple[str | Sequence[Message], str]]:
        """Return the prompt with the gold summary."""
        prompt = self.prompt(document, SummarizeOptions())
        if document.summary is None or prompt is None:
            return []
        return [(prompt, document.summary.text)]

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return ROUGE-1, 2 and L in percent."""
        from .scoring import score_summaries

        return score_summaries(gold, predicted)
