"""Models that rewrite documents: one masks, the other puts the originals back."""

from __future__ import annotations

import logging
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import lmtool
from lmtool.documentmodels import DocumentModel
from lmtool.documents import LAYERS, Coverage

from .fields import has_offsets, map_texts, texts_of
from .keys import KeyFile, read_key
from .masks import Masks, Style, restore
from .names import (
    NAMED,
    kind_of,
    normal,
    person_names,
    plain,
    repeated,
    surnames,
    titled,
    trimmed,
    without_overlaps,
)
from .patterns import KINDS, find
from .task import RedactOptions, RedactTask

LAYER: Final = "redactions"
MASKED: Final = "masked"
"""The field by which a record of `lmtool recall` says that its text was masked."""
BY_FORM: Final = (*KINDS, "MASK")
"""Kinds that a model has no say in."""
KEPT_LAYERS: Final = ("labels", "coverage")
"""The layers of the core that hold neither offsets nor words of the text."""

log = logging.getLogger("lmtool")
Span = tuple[int, int, str]


def needs_names(options: RedactOptions) -> bool:
    """Whether the kinds to mask are not all known by their form."""
    kept = {kind.upper() for kind in options.keep}
    if not kept <= {*NAMED, *KINDS}:  # another label, which a model may know
        return True
    return not ({kind.upper() for kind in options.only} or set(NAMED)) - kept <= set(KINDS)


class _Rewriter(DocumentModel):
    """A model that rewrites texts."""

    def __init__(self, options: RedactOptions, name: str) -> None:
        super().__init__(RedactTask({}), name=name, options=options)
        self._noted: set[str] = set()

    def n_characters(self, document: lmtool.Document) -> int:
        """Return the characters of all texts that are rewritten."""
        return sum(map(len, self._texts(document)))

    def _note_once(self, about: str, message: str, *arguments: object) -> None:
        if about not in self._noted:
            self._noted.add(about)
            log.warning(message, *arguments)

    def _texts(self, document: lmtool.Document) -> list[str]:
        """Return the texts of a document that are rewritten: its own, its pair, its fields."""
        found = [document.text] + ([] if document.pair is None else [document.pair])
        for name in self.options.fields:
            if name != "id" and name not in document.fields:
                known = ", ".join(["text", *document.fields])
                self._note_once(
                    f"no field {name}", "--fields %s: a record has no such field (%s)", name, known
                )
            found += texts_of(_field(document, name))
        return found

    def _rewritten(
        self,
        document: lmtool.Document,
        texts: Sequence[str],
        layers: dict[str, Any],
        coverage: Coverage | None = None,
    ) -> lmtool.Document:
        """Return a document with these in place of `_texts`, without what they make stale."""
        left = iter(texts)
        text = next(left)
        pair = None if document.pair is None else next(left)
        fields: dict[str, Any] = {}
        changed = {n: map_texts(_field(document, n), left) for n in self.options.fields}
        stale = [name for name in LAYERS if name not in KEPT_LAYERS and document.layer(name)]
        for name, value in document.fields.items():
            if name not in changed and (name == LAYER or has_offsets(value)):
                stale += [name] if name != LAYER else []
            else:
                fields[name] = changed.get(name, value)
        for name in stale:
            self._note_once(
                name,
                "the layer %s is left out: it fits the text as it was, not as it is written",
                name,
            )
        return lmtool.Document(
            text=text,
            id=changed.get("id", document.id),
            pair=pair,
            fields={**fields, **layers},
            labels=document.labels,
            coverage=coverage,
        )


class RedactModel(_Rewriter):
    """Masks names and identifiers; what it has masked keeps its mask as long as it lives."""

    def __init__(self, model: lmtool.Model | None, options: RedactOptions) -> None:
        """Take a model of extract to find names with; none for kinds that are known by form."""
        style = Style(options.mask)
        if options.key is not None and not style.is_reversible:
            raise lmtool.UsageError(
                f"--mask {options.mask!r} cannot be undone by a key",
                hint="it needs {n}, and a sign at its beginning and at its end that stands "
                'nowhere else in it, as "[{kind}-{n}]" or "<{n}>"',
            )
        self.kinds = _kinds(model.labels.get("entities", ()) if model else (), options)
        self._key = KeyFile(options.key, style) if options.key is not None else None
        self._masks = self._key.masks if self._key else Masks(style)
        self._kinds: dict[str, str] = {}
        for entry in self._masks.entries.values():
            if entry.kind not in BY_FORM:
                self._kinds.setdefault(plain(entry.text), entry.kind)
        name = f"{model.name} as redact" if model else "redact by form"
        if self._key is None and style.is_numbered:  # so that --resume is refused: see docs
            name += f", numbers of this run alone ({secrets.token_hex(4)}), --key FILE keeps them"
        super().__init__(options, name)
        self._finder: lmtool.Model | None = None
        if model is not None and self.kinds - set(KINDS):
            limited = model.task.limit(model.options, ["entities"])
            self._finder = model.with_task(model.task, limited)
            self.providers = model.providers

    def annotate(self, documents: Sequence[lmtool.Document]) -> list[lmtool.Document]:
        """Return the documents masked, after the key file says what their masks stand for."""
        masked = [
            self._mask(document, texts, names, coverage)
            for document, texts, names, coverage in self._find_names(documents)
        ]
        if self._key is not None:
            self._key.save()
        return masked

    def _find_names(
        self, documents: Sequence[lmtool.Document]
    ) -> Iterable[tuple[lmtool.Document, list[str], list[list[Span]], Coverage | None]]:
        """Yield each document, its texts, the names in each, and what was read of the first."""
        texts = [self._texts(document) for document in documents]
        flat = [lmtool.Document(text=text) for of in texts for text in of]
        found = iter(self._finder.annotate(flat) if self._finder else flat)
        for document, of in zip(documents, texts, strict=True):
            read = [next(found) for _ in of]
            names = [
                [
                    (*trimmed(text, e.start, e.end), kind_of(e.label))
                    for e in one.entities or ()
                    if e.score is None or e.score >= self.options.threshold
                ]
                for text, one in zip(of, read, strict=True)
            ]
            given = document.entities or ()
            names[0] = [*((e.start, e.end, kind_of(e.label)) for e in given), *names[0]]
            wanted = [[span for span in spans if span[2] in self.kinds] for spans in names]
            yield document, of, wanted, read[0].coverage

    def _mask(
        self,
        document: lmtool.Document,
        texts: list[str],
        names: list[list[Span]],
        coverage: Coverage | None,
    ) -> lmtool.Document:
        spans = self._one_kind(texts, self._spans(texts, names))
        persons = [
            titled(text, start, end)
            for text, of in zip(texts, spans, strict=True)
            for start, end, kind in of
            if kind == "PER"
        ]
        names_of = person_names(persons)
        masked, first = [], []
        for number, (text, of) in enumerate(zip(texts, spans, strict=True)):
            pieces, at, length = [], 0, 0
            for start, end, kind in of:
                name = normal(kind, text[start:end])
                if kind == "PER":
                    name = names_of[titled(text, start, end)]
                mask = self._masks.mask(kind, name, text[start:end])
                pieces += [text[at:start], mask]
                length += start - at + len(mask)
                if number == 0:
                    where = {"start": length - len(mask), "end": length}
                    first.append({**where, "text": mask, "kind": kind})
                at = end
            masked.append("".join([*pieces, text[at:]]))
        self._warn_of_fields(document)
        return self._rewritten(document, masked, {LAYER: first}, coverage)

    def _spans(self, texts: Sequence[str], names: list[list[Span]]) -> list[list[Span]]:
        """Return what is masked in each text: what looks like a mask, identifiers, names."""
        mentions = [
            (text[start:end], kind)
            for text, of in zip(texts, names, strict=True)
            for start, end, kind in of
        ]
        again = repeated(texts, [*mentions, *surnames(mentions)])
        spans = []
        for text, of, more in zip(texts, names, again, strict=True):
            like = [(start, end, "MASK") for start, end in self._masks.style.find(text)]
            formed = [(f.start, f.end, f.kind) for f in find(text) if f.kind in self.kinds]
            spans.append(without_overlaps([*like, *formed, *of, *more], text))
        return spans

    def _one_kind(self, texts: Sequence[str], spans: Sequence[list[Span]]) -> list[list[Span]]:
        """Return the spans with one kind for each name: that of its first mask, or of most."""
        counts: dict[str, Counter[str]] = {}
        for text, of in zip(texts, spans, strict=True):
            for start, end, kind in of:
                if kind not in BY_FORM:
                    counts.setdefault(plain(text[start:end]), Counter())[kind] += 1
        kinds = {name: found.most_common(1)[0][0] for name, found in counts.items()}
        kinds |= {name: self._kinds[name] for name in kinds if self._kinds.get(name) in self.kinds}
        if self._masks.style.is_numbered:  # others mean the same in every run: no run has a say
            self._kinds = kinds | self._kinds
        return [
            [
                (start, end, kind if kind in BY_FORM else kinds[plain(text[start:end])])
                for start, end, kind in of
            ]
            for text, of in zip(texts, spans, strict=True)
        ]

    def _warn_of_fields(self, document: lmtool.Document) -> None:
        passed = [
            name
            for name, value in document.fields.items()
            if name not in self.options.fields
            and name != LAYER
            and not has_offsets(value)
            and any(texts_of(value))
        ]
        name = document.id if isinstance(document.id, str) else ""
        is_path = "\0" not in name and os.path.exists(name)  # which a whole file has as its id
        if name and not is_path and "id" not in self.options.fields:
            passed.append("id")
        for name in passed:
            self._note_once(
                f"field {name}",
                "the field %s has text and is passed on as it is; --fields %s masks it too",
                name,
                name,
            )


class RestoreModel(_Rewriter):
    """Puts the originals of a key file back."""

    def __init__(self, options: RedactOptions) -> None:
        if options.key is None:
            raise lmtool.UsageError(
                "--restore without a key: the masks alone do not say what they stand for",
                hint="name the file that was written with --key",
            )
        key = read_key(options.key)
        if key is None:
            raise lmtool.UsageError(
                f"--key {options.key}: no such file", hint="name the file written with --key"
            )
        self._style, self._entries = Style(key.mask), key.masks
        super().__init__(options, "restore")

    def annotate(self, documents: Sequence[lmtool.Document]) -> list[lmtool.Document]:
        """Return the documents with the originals in place of the masks."""
        return [self._restored(document) for document in documents]

    def _restored(self, document: lmtool.Document) -> lmtool.Document:
        texts, is_whole = [], True
        for text in self._texts(document):
            original, unknown = restore(text, self._style, self._entries)
            texts.append(original)
            is_whole = is_whole and not unknown
            for mask in unknown:
                self._note_once(
                    "unknown", "%s is not in the key, and stays (as do others like it)", mask
                )
        restored = self._rewritten(document, texts, {})
        if is_whole and restored.fields.get(MASKED) is True:
            del restored.fields[MASKED]
        return restored


def _field(document: lmtool.Document, name: str) -> Any:
    return document.id if name == "id" else document.fields.get(name)


def _kinds(labels: Iterable[str], options: RedactOptions) -> set[str]:
    """Return the kinds to mask; UsageError for one that neither model nor patterns know."""
    of_model = {kind_of(label) for label in labels}
    known = [*NAMED, *sorted(of_model - set(NAMED) - set(KINDS)), *KINDS]
    for name, given in (("only", options.only), ("keep", options.keep)):
        for kind in given:
            if kind.upper() not in known:
                raise lmtool.UsageError(
                    f"--{name}: unknown kind {kind!r}", hint=f"kinds are: {', '.join(known)}"
                )
    wanted = {kind.upper() for kind in options.only} or {*NAMED, *KINDS}
    return wanted - {kind.upper() for kind in options.keep}
