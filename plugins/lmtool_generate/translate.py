"""The task of `lmtool translate`: a text in another language."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import lmtool

from .languages import SPACELESS, code_of, name_of

if TYPE_CHECKING:
    from lmtool.language import Completion, Message

log = logging.getLogger("lmtool")
SHOWN = 40
"""Characters of a text that a warning shows."""
LAYER = "translation"
PROMPT = "{from}>{to}: {text}\n"
"""What a model is asked that is tuned to translate, unless its form says another prompt."""


@dataclass(frozen=True, slots=True)
class TranslateOptions:
    """What `lmtool translate` can be told."""

    source: Annotated[
        str,
        lmtool.Opt(
            "Language of the text, as en (default: the record's, or the model's)", flag="from"
        ),
    ] = ""
    target: Annotated[
        str, lmtool.Opt("Language to translate to, as zh (default: the model's)", flag="to")
    ] = ""
    unit: Annotated[
        Literal["sentence", "window"] | None,
        lmtool.Opt(
            "Translate each sentence by itself, or as many at once as fit (default: as the model "
            "was made for)"
        ),
    ] = None


class TranslateTask(lmtool.TextTask):
    """Translates a text sentence by sentence, or in windows, and joins the translations.

    `form` of a model that is tuned for it holds "from" and "to", or several "pairs" of languages,
    its "prompt" (`PROMPT` by default) and "unit". Any other model is told by its chat template.
    """

    name: ClassVar[str] = "translate"
    summary: ClassVar[str] = "Translate texts into another language"
    layers: ClassVar[tuple[str, ...]] = (LAYER,)
    main_metric: ClassVar[str] = "chrf"
    Options: ClassVar[type[Any]] = TranslateOptions
    form_keys: ClassVar[tuple[str, ...]] = ("from", "to", "pairs", "prompt", "unit")
    is_streamed: ClassVar[bool] = True
    growth: ClassVar[float] = 2.0
    gives_text: ClassVar[bool] = True
    _has_warned = False

    @classmethod
    def collect_form(cls, documents: Sequence[lmtool.Document]) -> dict[str, Any]:
        """Return the languages of the gold, and the prompt; DataError where they are not said."""
        found: dict[tuple[str, str], None] = {}
        for document in documents:
            if (gold := _gold(document)) is not None:
                found[(str(document.fields.get("language", "")), gold["language"])] = None
        pairs = sorted(found)
        form: dict[str, Any] = {"prompt": PROMPT}
        if len(pairs) == 1:
            return {**form, "from": pairs[0][0], "to": pairs[0][1]}
        if any(not source for source, _ in pairs):
            raise lmtool.DataError(
                "texts without a language beside translations from or to several",
                hint='write the language of each text: {"text": "…", "language": "en"}',
            )
        return {**form, "pairs": [list(pair) for pair in pairs]} if pairs else form

    @property
    def languages(self) -> list[tuple[str, str]]:
        """The pairs (from, to) that the model is tuned for; none where it is not."""
        if "pairs" in self.form:
            return [(source, target) for source, target in self.form["pairs"]]
        if self.form.get("to"):
            return [(self.form.get("from", ""), self.form["to"])]
        return []

    def check_options(self, options: TranslateOptions) -> None:
        """Refuse languages that the model was not tuned for, and a model that cannot be told."""
        if self.languages:
            self._pair(options.source, options.target)
        elif not self.form.get("chat"):
            raise lmtool.UsageError(
                "the model is neither tuned to translate nor made to follow instructions",
                hint="choose another with --model: lmtool models list",
            )
        elif not options.target:
            raise lmtool.UsageError("no language to translate to", hint="say --to zh")

    def direction(self, document: lmtool.Document, options: TranslateOptions) -> tuple[str, str]:
        """Return the languages from and to which a document is translated; "" for one unknown."""
        said = document.fields.get("language")
        source = options.source or (said if isinstance(said, str) else "")
        if not self.languages:
            return code_of(source), code_of(options.target)
        try:
            return self._pair(source, options.target)
        except lmtool.UsageError as error:
            raise lmtool.DataError(error.message, hint=error.hint) from error

    def _pair(self, source: str, target: str) -> tuple[str, str]:
        """Return the model's pair of languages for what is given of one."""
        able = [
            pair
            for pair in self.languages
            if (not source or code_of(pair[0]) in ("", code_of(source)))
            and code_of(target) in ("", code_of(pair[1]))
        ]
        if not able:
            raise lmtool.UsageError(
                f"the model does not translate{f' from {source!r}' if source else ''}"
                f"{f' to {target!r}' if target else ''}",
                hint=f"it translates {_shown(self.languages)}",
            )
        if len(able) > 1:
            raise lmtool.UsageError(
                "the model translates between several languages",
                hint=f"say which with --from and --to: {_shown(able)}",
            )
        return able[0]

    def unit(self, options: TranslateOptions) -> Literal["text", "sentence", "window"]:
        """Return what is translated at once."""
        own = self.form.get("unit", "sentence" if self.languages else "window")
        return options.unit or ("window" if own == "window" else "sentence")

    def language(self, document: lmtool.Document, options: TranslateOptions) -> str:
        """Return the language that is translated from, English where nobody says."""
        return self.direction(document, options)[0] or "en"

    def prompt(
        self, document: lmtool.Document, options: TranslateOptions
    ) -> str | Sequence[Message] | None:
        """Return the text in the model's own form, or as an instruction; None without words."""
        source, target = self.direction(document, options)
        if not document.text.strip():
            return None
        if self.languages:
            from lmtool.language import fill_prompt
            from lmtool.scripts import may_be

            text = " ".join(document.text.split())
            if not self._has_warned and not may_be(source, text):
                self._has_warned = True
                message = "not in %s, by its letters, and its translation means nothing: %r"
                log.warning(message, name_of(source), text[:SHOWN])
            record = {"text": text, "from": source, "to": target}
            return fill_prompt(self.form.get("prompt", PROMPT), **record)
        origin = f" from {name_of(source)}" if source else ""
        asked = (
            f"Translate this text{origin} to {name_of(target)}. Answer with the translation and "
            f"nothing else.\n\n{document.text.strip()}"
        )
        return [{"role": "user", "content": asked}]

    def parse(
        self,
        document: lmtool.Document,
        completions: Sequence[Completion],
        options: TranslateOptions,
    ) -> dict[str, Any]:
        """Return the translation; "finish" says where it was cut at its limit."""
        _, target = self.direction(document, options)
        found: dict[str, Any] = {"text": "", "language": target}
        for completion in completions[:1]:
            found["text"] = completion.text.strip()
            if completion.finish == "length":
                found["finish"] = "length"
        return {LAYER: found}

    def join(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: TranslateOptions
    ) -> dict[str, Any]:
        """Return the translations one after the other, and what each sentence became.

        "sentences" has of each the characters, start and end, and its translation. Lines
        stay lines; other sentences have a space between them where the language writes spaces.
        """
        _, target = self.direction(document, options)
        ends = [part.start for part in parts[1:]] + [len(document.text)]
        text, read, is_cut = "", 0, False
        sentences: list[dict[str, Any]] = []
        for part, end in zip(parts, ends, strict=True):
            found = part.value[LAYER]
            is_cut = is_cut or "finish" in found
            whole = document.text[part.start : end]
            if not whole.strip():
                continue
            begin = part.start + len(whole) - len(whole.lstrip())
            end = part.start + len(whole.rstrip())
            if sentences:
                text += self.between(document, read, begin, options)
            text += found["text"]
            read = end
            sentences.append({"start": begin, "end": end, "translation": found["text"]})
        joined = {"text": text, "language": target, "sentences": sentences}
        return {LAYER: {**joined, "finish": "length"} if is_cut else joined}

    def between(
        self, document: lmtool.Document, start: int, end: int, options: TranslateOptions
    ) -> str:
        """Return the line ends between two sentences; else a space where the language has any."""
        _, target = self.direction(document, options)
        space = "" if target.split("-")[0].lower() in SPACELESS else " "
        return re.sub(r"[^\n]", "", document.text[start:end]) or space

    def pairs(self, document: lmtool.Document) -> list[tuple[str | Sequence[Message], str]]:
        """Return the prompt for the text, and the translation that the gold has."""
        gold = _gold(document)
        if gold is None:
            return []
        if self.form.get("to") == "" and not self.languages:  # as gold of no language made it
            raise lmtool.DataError(
                "the translation says no language",
                hint='write "translation": {"text": "…", "language": "zh"}, or to = "zh" in the '
                "table [form] of the training file",
            )
        options = TranslateOptions(target=gold["language"])
        prompt = self.prompt(document, options)
        return [] if prompt is None else [(prompt, gold["text"])]

    def blank(self, document: lmtool.Document, options: TranslateOptions) -> lmtool.Document:
        """Return the text without its translation."""
        return document.without_layers([LAYER])

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return BLEU, chrF and exact matches; BLEU's words are those of the gold's language."""
        from .scoring import compare

        wanted = [_gold(document) or {"text": "", "language": ""} for document in gold]
        found = [(_gold(document) or {"text": ""})["text"] for document in predicted]
        language = next((item["language"] for item in wanted), "")
        return compare([item["text"] for item in wanted], found, language)


def _gold(document: lmtool.Document) -> dict[str, str] | None:
    """Return text and language of the layer; None where there is none, DataError for no layer."""
    layer = document.layer(LAYER)
    if layer is None:
        return None
    if not isinstance(layer, dict) or not isinstance(layer.get("text"), str):
        raise lmtool.DataError(
            "translation is no text with a language",
            hint='write "translation": {"text": "…", "language": "zh"}',
        )
    return {"text": layer["text"], "language": str(layer.get("language", ""))}


def _shown(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{source or 'any language'} to {target}" for source, target in pairs)
