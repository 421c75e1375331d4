"""The task of `lmtool extract`: named entities, relations between them, events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import lmtool
from lmtool.documents import UNKNOWN

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from lmtool.windows import Window

    from .finding import Found


@dataclass(frozen=True, slots=True)
class ExtractOptions:
    """What `lmtool extract` can be told."""

    labels: Annotated[
        tuple[str, ...],
        lmtool.Opt("Only these entity labels, separated by commas (default: all)", values="labels"),
    ] = ()
    threshold: Annotated[float, lmtool.Opt("Least score of what is kept", minimum=0, maximum=1)] = (
        0.0
    )
    relation_threshold: Annotated[
        float | None,
        lmtool.Opt("Least score of a relation (default: that of the rest)", minimum=0, maximum=1),
    ] = None
    only: Annotated[
        tuple[str, ...],
        lmtool.Opt("Only these of entities, relations, events, separated by commas (default: all)"),
    ] = ()
    frames: Annotated[
        bool, lmtool.Opt("Take the arguments of events that have none from the layer frames")
    ] = False


class ExtractTask(lmtool.EncoderTask):
    """Finds named entities, the relations between them, and events with their arguments."""

    name: ClassVar[str] = "extract"
    summary: ClassVar[str] = "Find names, relations between them, and events"
    layers: ClassVar[tuple[str, ...]] = ("entities", "relations", "events")
    main_metric: ClassVar[str] = "micro_f1"
    Options: ClassVar[type[Any]] = ExtractOptions
    form_keys: ClassVar[tuple[str, ...]] = (
        "relations.types", "relations.pairs", "relations.exclusive", "relations.groups",
        "relations.bias", "events.roles", "events.reach",
    )  # fmt: skip

    @classmethod
    def collect_labels(cls, documents: Sequence[lmtool.Document]) -> dict[str, list[str]]:
        """Return the labels that the gold has, sorted: of entities, relations, events, arguments.

        Layers without any are left out.
        """
        found: dict[str, set[str]] = {
            "entities": {e.label for d in documents for e in d.entities or ()},
            "relations": {r.label for d in documents for r in d.relations or ()},
            "events": {e.label for d in documents for e in d.events or ()},
            "arguments": {a.role for d in documents for e in d.events or () for a in e.arguments},
        }
        labels = {key: sorted(names - {UNKNOWN}) for key, names in found.items()}
        return {key: names for key, names in labels.items() if names} or {"entities": []}

    @classmethod
    def check_gold(cls, document: lmtool.Document) -> None:
        """Refuse relations and arguments that name an entity which the document has not."""
        ids = {entity.id for entity in document.entities or ()}
        named = [
            (f"relations[{number}].{side}", getattr(relation, side))
            for number, relation in enumerate(document.relations or ())
            for side in ("head", "tail")
        ]
        named += [
            (f"events[{number}].arguments[{place}].entity", argument.entity)
            for number, event in enumerate(document.events or ())
            for place, argument in enumerate(event.arguments)
            if argument.entity is not None and argument.start is None
        ]
        for where, name in named:
            if name not in ids:
                raise lmtool.DataError(
                    f"{where}: no entity of the document has the id {name!r}",
                    hint='give each entity the id that is named, as {"id": "e1", "start": 0, …}',
                )

    @classmethod
    def labels_of(cls, labels: dict[str, list[str]], layers: Sequence[str]) -> dict[str, list[str]]:
        """Return the labels that belong to these layers; the roles of arguments are of events."""
        keys = {*layers} & {*cls.layers} | ({"arguments"} if "events" in layers else set())
        return {key: names for key, names in labels.items() if key in keys}

    @property
    def parts(self) -> tuple[str, ...]:
        """The layers that this model has."""
        return tuple(layer for layer in self.layers if layer in self.labels)

    def limit(self, options: ExtractOptions, parts: Sequence[str]) -> ExtractOptions:
        """Return options for these layers alone."""
        return replace(options, only=tuple(parts))

    def narrowed(self, options: ExtractOptions) -> ExtractTask:
        """Return the task of the layers that are asked for."""
        labels = self.labels_of(self.labels, options.only) if options.only else self.labels
        return type(self)(labels, self.form)

    def has_gold(self, document: lmtool.Document) -> bool:
        """Whether a document has a layer that this model has labels for."""
        return any(
            document.layer(layer) is not None for layer in self.layers if layer in self.labels
        )

    @classmethod
    def collect_form(cls, documents: Sequence[lmtool.Document]) -> dict[str, Any]:
        """Return what `RelationForm` and `EventForm` read, for the layers that the gold has."""
        from .events import collect_event_form
        from .relations import collect_relation_form

        forms = {
            "relations": collect_relation_form(documents),
            "events": collect_event_form(documents),
        }
        return {layer: form for layer, form in forms.items() if form}

    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Return a linear tagger for entities alone, else a head with a part for each layer."""
        from .model import ArgumentHead, ExtractHead, Part, RelationHead, TaggingHead
        from .relations import RelationForm
        from .tags import tag_names

        labels = self.labels
        if list(labels) == ["entities"]:
            return TaggingHead(hidden_size, len(tag_names(labels["entities"])))
        parts: dict[str, Part] = {}
        if "entities" in labels:
            parts["head"] = TaggingHead(hidden_size, len(tag_names(labels["entities"])))
        if "relations" in labels:
            parts["relations"] = RelationHead(hidden_size, RelationForm.of(labels, self.form))
        if "events" in labels:
            n_tags = len(tag_names(labels["events"]))
            parts["events"] = TaggingHead(hidden_size, n_tags, "allowed_events")
        if "arguments" in labels:
            n_types, n_roles = len(labels["events"]), len(labels["arguments"])
            parts["arguments"] = ArgumentHead(hidden_size, n_types, n_roles)
        return ExtractHead(parts)

    def graphs(self, head: torch.nn.Module) -> dict[str, torch.nn.Module]:
        """Return a graph for each part of the head: "head" finds the entities."""
        parts = getattr(head, "parts", None)
        return {"head": head} if parts is None else dict(parts.items())

    def example_inputs(self, hidden: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return three mentions in two groups, their two pairs, and two triggers."""
        import torch

        n_rows = len(hidden["hidden"])
        rows = {
            "mentions": [[1, 2], [3, 3], [4, 5]],
            "mention_groups": [0, 1, 0],
            "group_types": [0, 0],
            "pairs": [[0, 1], [1, 0]],
            "pair_distances": [1, 2],
            "triggers": [[1, 2], [3, 3]],
            "trigger_types": [0, 0],
        }
        return {name: torch.tensor([row] * n_rows) for name, row in rows.items()}

    def targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        """Return the targets of the layers that the document has gold for.

        `allowed` and `allowed_events`, bool (tokens, tags), are set on the first token of each
        word. What pairs and triggers give is described in `relations` and `events`.
        """
        targets: dict[str, NDArray[Any]] = {}
        if "entities" in self.labels and document.entities is not None:
            spans = self._gold_spans(window, document)
            targets["allowed"] = self._allowed("entities", window, document, spans)
        if "relations" in self.labels and document.relations is not None:
            targets |= self._pair_targets(window, document)
        if "events" in self.labels and document.events is not None:
            targets |= self._event_targets(window, document)
        return targets

    def _allowed(
        self,
        layer: str,
        window: Window,
        document: lmtool.Document,
        spans: Sequence[tuple[int, int, str]],
    ) -> NDArray[Any]:
        import numpy as np

        from .tags import allowed_tags

        labels = self.labels[layer]
        annotated = (document.annotated or {}).get(layer, labels)
        words = allowed_tags(len(window.word_tokens), spans, labels, annotated)
        allowed = np.zeros((len(window.ids), words.shape[1]), bool)
        allowed[window.word_tokens] = words
        return allowed

    def _event_targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        from .events import EventForm, argument_targets, event_words

        labels = self.labels["events"]
        spans = [
            (first, last, label)
            for first, last, label in event_words(window, document)
            if label in labels or label == UNKNOWN
        ]
        targets = {"allowed_events": self._allowed("events", window, document, spans)}
        if "arguments" in self.labels:
            targets |= argument_targets(window, document, EventForm.of(self.labels, self.form))
        return targets

    def _pair_targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        from .relations import RelationForm, gold_pairs

        return gold_pairs(window, document, RelationForm.of(self.labels, self.form))

    def check_options(self, options: ExtractOptions) -> None:
        """Refuse labels and layers that this model does not have."""
        has = [layer for layer in self.layers if layer in self.labels]
        for kind, names, known in (
            ("label", options.labels, self.labels.get("entities", [])),
            ("layer", options.only, has),
        ):
            if unknown := sorted(set(names) - set(known)):
                raise lmtool.UsageError(
                    f"unknown {kind} {unknown[0]!r}",
                    hint=f"this model has: {', '.join(known)}",
                )

    def given_layers(self, options: ExtractOptions) -> tuple[str, ...]:
        """Return the layers of the input that are read.

        The entities where relations are wanted without them, and the frames if they are to give
        arguments.
        """
        wanted = self._wanted(options)
        is_given = "relations" in wanted and "entities" not in wanted
        has_frames = options.frames and "events" in wanted
        return (*(["entities"] if is_given else []), *(["frames"] if has_frames else []))

    def infer(
        self,
        graphs: Mapping[str, lmtool.Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: ExtractOptions,
    ) -> list[Found]:
        """Return what stands in each window, offsets from its start."""
        from .events import EventForm
        from .finding import find_events, find_relations
        from .relations import RelationForm

        wanted = self._wanted(options)
        found: list[Found] = [{} for _ in windows]
        if "entities" in self.labels and wanted & {"entities", "relations"}:
            self._find_entities(graphs["head"], hidden, windows, options, found)
        if "relations" in wanted:
            rows = [part.get("entities") for part in found]
            form = RelationForm.of(self.labels, self.form)
            relations = find_relations(graphs["relations"], hidden, windows, rows, form)
            for part, these in zip(found, relations, strict=True):
                part["relations"] = these
        if "events" in wanted:
            events = find_events(graphs, hidden, windows, EventForm.of(self.labels, self.form))
            for part, those in zip(found, events, strict=True):
                part["events"] = [e for e in those if e.score >= options.threshold]
        return found

    def _find_entities(
        self,
        graph: lmtool.Graph,
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: ExtractOptions,
        found: Sequence[Found],
    ) -> None:
        """Set the entities of each part, but not where they are given by the window's document."""
        from .finding import find_entities

        # a window has a document for other layers and other tasks of the same pass too
        takes_given = "entities" in self.given_layers(options)
        is_given = [
            takes_given and w.document is not None and w.document.entities is not None
            for w in windows
        ]
        if all(is_given):
            return
        rows = find_entities(graph, hidden, windows, self.labels["entities"])
        for part, entities, given in zip(found, rows, is_given, strict=True):
            if not given:
                part["entities"] = [
                    entity
                    for entity in entities
                    if entity.score >= options.threshold
                    and (not options.labels or entity.label in options.labels)
                ]

    def _wanted(self, options: ExtractOptions) -> set[str]:
        """Return the layers to find: those asked for, by default all that the model has."""
        return {
            layer
            for layer in self.layers
            if layer in self.labels and (not options.only or layer in options.only)
        }

    def merge(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: ExtractOptions
    ) -> dict[str, Any]:
        """Return the layers of all windows; the entities are numbered from e1 on.

        Given entities stay as they are, and are written only where they have no ids.
        """
        from .merging import merge_parts, relation_score, with_frame_arguments

        layers = self._wanted(options)
        if "relations" in layers and "entities" in self.labels and document.entities is None:
            layers.add("entities")
        bias = self.form.get("relations", {}).get("bias", 0.0)
        least = options.relation_threshold
        least = options.threshold if least is None else least
        merged = merge_parts(
            document,
            parts,
            [layer for layer in self.layers if layer in layers],
            lambda margin: relation_score(margin, bias, least),
        )
        if options.frames and "events" in merged:
            merged["events"] = with_frame_arguments(merged["events"], document)
        return merged

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return the scores of each layer that the model has; see `scoring`."""
        from .scoring import score_entities, score_layers

        if list(self.labels) == ["entities"]:
            return score_entities(gold, predicted, self.labels["entities"])
        return score_layers(gold, predicted, self.labels)

    def calibrate(
        self, documents: Sequence[lmtool.Document], parts: Sequence[Sequence[lmtool.Part]]
    ) -> dict[str, Any]:
        """Return the `bias` of relations with the best F1, as a key of the form's "relations"."""
        from .merging import merge_parts
        from .scoring import best_bias

        rows = [row for row, document in enumerate(documents) if document.relations is not None]
        if "relations" not in self.labels or not rows:
            return {}
        gold = [documents[row] for row in rows]
        blank = [self.blank(document, self.Options()) for document in gold]
        layers = ["entities", "relations"] if "entities" in self.labels else ["relations"]
        every = [
            document.with_layers(merge_parts(document, parts[row], layers, float))
            for row, document in zip(rows, blank, strict=True)
        ]
        bias = best_bias(gold, every, self.labels["relations"])
        return {"relations": {**self.form.get("relations", {}), "bias": bias}}

    def gold_parts(self, window: Window, document: lmtool.Document) -> Any:
        """Return what `infer` would give for the gold of this window."""
        from .merging import gold_part

        return gold_part(window, document, self._gold_spans(window, document), self.labels)

    def _gold_spans(self, window: Window, document: lmtool.Document) -> list[tuple[int, int, str]]:
        """Return the gold as word ranges, the longest first where spans overlap.

        Labels that this task was not built for count as outside. The words that a span touches
        without fitting them (it crosses a window, or cuts a word) are unknown.
        """
        spans: list[tuple[int, int, str]] = []
        taken: set[int] = set()
        for entity in sorted(document.entities or (), key=lambda e: e.start - e.end):
            label = entity.label
            if label != UNKNOWN and label not in self.labels.get("entities", ()):
                continue
            words = window.words_of(entity.start, entity.end)
            if words is None:
                words, label = window.words_touched(entity.start, entity.end), UNKNOWN
            if words[0] < words[1] and not taken & set(range(*words)):
                taken |= set(range(*words))
                spans.append((*words, label))
        return sorted(spans)
