"""The task of `lmtool roles`: who did what to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import lmtool
from lmtool.documents import UNKNOWN, Frame, FrameArgument, Span

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from lmtool.windows import Window

    from .finding import FoundFrame

_BEHIND = " \t\r\n,;:，、；："
"""Characters that are none of an argument at its end."""
FORM = {"width": 128, "layers": 2, "feedforward": 256}
"""The narrow encoder of arguments; the width is a multiple of 32, the size of an attention head."""


@dataclass(frozen=True, slots=True)
class RolesOptions:
    """What `lmtool roles` can be told."""

    roles: Annotated[
        tuple[str, ...],
        lmtool.Opt("Only these roles, separated by commas (default: all)", values="labels"),
    ] = ()
    threshold: Annotated[
        float, lmtool.Opt("Least score of an argument that is kept", minimum=0, maximum=1)
    ] = 0.0
    predicates: Annotated[
        Literal["found", "given"],
        lmtool.Opt("Where predicates come from: the model, or the frames of the input"),
    ] = "found"


class RolesTask(lmtool.EncoderTask):
    """Finds the predicates of a text, verbs, nouns and adjectives, and their arguments.

    Arguments are looked for in the sentence of their predicate; senses are not predicted. The
    `form` is that of the narrow encoder, by the keys of `FORM`; `reach`, two numbers of words,
    keeps the search as near to the predicate, before and behind: it saves time in long sentences.
    """

    name: ClassVar[str] = "roles"
    summary: ClassVar[str] = "Find who did what to whom: predicates and their arguments"
    layers: ClassVar[tuple[str, ...]] = ("frames",)
    main_metric: ClassVar[str] = "argument_f1"
    Options: ClassVar[type[Any]] = RolesOptions
    form_keys: ClassVar[tuple[str, ...]] = (*FORM, "reach")

    @classmethod
    def collect_labels(cls, documents: Sequence[lmtool.Document]) -> dict[str, list[str]]:
        """Return the roles of the gold, sorted."""
        frames = (frame for document in documents for frame in document.frames or ())
        found = {argument.role for frame in frames for argument in frame.arguments}
        return {"roles": sorted(found - {UNKNOWN})}

    @classmethod
    def labels_of(cls, labels: dict[str, list[str]], layers: Sequence[str]) -> dict[str, list[str]]:
        """Return the roles where the layer of frames is among these."""
        return labels if "frames" in layers else {}

    @classmethod
    def collect_form(cls, documents: Sequence[lmtool.Document]) -> dict[str, Any]:
        """Return the default size of the narrow encoder; a user's own goes before it."""
        return dict(FORM)

    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Return the tagger of predicates and the narrow encoder of arguments."""
        from .model import RolesHead
        from .words import tag_names

        form = {name: int(self.form.get(name, value)) for name, value in FORM.items()}
        if form["width"] < 32 or form["width"] % 32:
            raise lmtool.UsageError(f"form: width is {form['width']}, not a multiple of 32")
        return RolesHead(hidden_size, len(tag_names(self.labels["roles"])), form)

    def graphs(self, head: torch.nn.Module) -> dict[str, torch.nn.Module]:
        """Return the two graphs: one runs for each window, the other for each predicate."""
        return {"predicates": head.predicates, "arguments": head.arguments}  # type: ignore[dict-item]

    def example_inputs(self, hidden: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return pairs of 3 predicates and sentences of 5 words."""
        import torch

        width = int(self.form.get("width", FORM["width"]))
        return {
            "tokens": torch.zeros(3, 5, width),
            "predicate": torch.zeros(3, hidden["hidden"].shape[2]),
            "distances": torch.arange(15).reshape(3, 5),
            "mask": torch.ones(3, 5, dtype=torch.bool),
        }

    def targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        """Return the arrays of `frame_targets`; none for a text whose frames are absent."""
        from .gold import frame_targets

        if document.frames is None:
            return {}
        return frame_targets(window, document, self.labels["roles"])

    def check_options(self, options: RolesOptions) -> None:
        """Refuse roles that this model does not have."""
        unknown = sorted(set(options.roles) - set(self.labels["roles"]))
        if unknown:
            raise lmtool.UsageError(
                f"unknown role {unknown[0]!r}",
                hint=f"this model has: {', '.join(self.labels['roles'])}",
            )

    def given_layers(self, options: RolesOptions) -> tuple[str, ...]:
        """Return the frames where predicates are given."""
        return ("frames",) if options.predicates == "given" else ()

    def blank(self, document: lmtool.Document, options: RolesOptions) -> lmtool.Document:
        """Return a document without its frames, or where these are given without arguments."""
        if options.predicates == "found" or document.frames is None:
            return document.without_layers(self.layers)
        bare = [Frame(frame.predicate, frame.sense) for frame in document.frames]
        return document.with_layers({"frames": bare})

    def infer(
        self,
        graphs: Mapping[str, lmtool.Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: RolesOptions,
    ) -> list[list[FoundFrame]]:
        """Return the frames of each window, in the order of their predicates."""
        from .finding import find_frames

        is_given = options.predicates == "given"
        before_behind = self.form.get("reach")
        reach = None if before_behind is None else (before_behind[0], before_behind[1])
        return find_frames(
            graphs, hidden, windows, self.labels["roles"], is_given=is_given, reach=reach
        )

    def merge(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: RolesOptions
    ) -> dict[str, Any]:
        """Return the frames of all windows with offsets in the document.

        Found ones are sorted by their predicates. Given ones stay in their order, and keep their
        predicates and senses.
        """
        found = [(part.start, frame) for part in parts for frame in part.value]
        if options.predicates == "found":
            found.sort(key=lambda item: (item[0] + item[1].start, item[0] + item[1].end))
            predicates = [_predicate(document.text, *item) for item in found]
            frames = [
                Frame(predicate, None, _arguments(document, *item, options))
                for predicate, item in zip(predicates, found, strict=True)
                if any(map(str.isalnum, predicate.text))
            ]
            return {"frames": frames}
        if document.frames is None:
            raise lmtool.DataError(
                "no layer 'frames', and the predicates are to be given",
                hint="leave out --predicates given, or give each record its frames",
            )
        arguments = {item[1].number: _arguments(document, *item, options) for item in found}
        frames = [
            Frame(frame.predicate, frame.sense, arguments.get(number, []))
            for number, frame in enumerate(document.frames)
        ]
        return {"frames": frames}

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Return precision, recall and F1 of arguments and of predicates, in percent.

        See `score_frames` for the measure.
        """
        from .scoring import score_frames

        return score_frames(gold, predicted, self.labels["roles"])

    def gold_parts(self, window: Window, document: lmtool.Document) -> Any:
        """Return what `infer` would give for the gold of this window."""
        from .finding import FoundFrame
        from .gold import gold_frames
        from .words import role_words

        words = role_words(window)
        parts = []
        for frame, _, _, spans in gold_frames(window, document, self.labels["roles"]):
            arguments = [
                (int(words.word_starts[first]), int(words.word_ends[last - 1]), role, 1.0)
                for first, last, role in spans
                if role != UNKNOWN
            ]
            start, end = frame.predicate.start - window.start, frame.predicate.end - window.start
            parts.append(FoundFrame(start, end, 1.0, arguments))
        return parts


def _predicate(text: str, origin: int, frame: FoundFrame) -> Span:
    start, end = origin + frame.start, origin + frame.end
    return Span(start, end, text[start:end], frame.score)


def _arguments(
    document: lmtool.Document, origin: int, frame: FoundFrame, options: RolesOptions
) -> list[FrameArgument]:
    """Return the arguments that the options keep, with offsets in the document.

    A comma or the like at the end of a span is none of it.
    """
    arguments = []
    for start, end, role, score in frame.arguments:
        if score >= options.threshold and (not options.roles or role in options.roles):
            start += origin
            if text := document.text[start : origin + end].rstrip(_BEHIND):
                arguments.append(FrameArgument(role, start, start + len(text), text, score))
    return arguments
