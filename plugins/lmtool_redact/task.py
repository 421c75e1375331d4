"""The task of `lmtool redact`: texts without names and identifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn

import lmtool

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from lmtool.documentmodels import DocumentModel
    from lmtool.windows import Window


@dataclass(frozen=True, slots=True)
class RedactOptions:
    """What `lmtool redact` can be told."""

    only: Annotated[
        tuple[str, ...],
        lmtool.Opt(
            "Mask only these kinds, separated by commas: PER, ORG, LOC, EMAIL, URL, PHONE, CARD, "
            "ACCOUNT, IP (the default), or another label of the model"
        ),
    ] = ()
    keep: Annotated[
        tuple[str, ...], lmtool.Opt("Leave these kinds as they are, separated by commas")
    ] = ()
    mask: Annotated[
        str, lmtool.Opt("What stands for a name; {kind} and {n}, its number, may be in it")
    ] = "[{kind}-{n}]"
    fields: Annotated[
        tuple[str, ...],
        lmtool.Opt("Mask the texts of these fields of the records too, separated by commas"),
    ] = ()
    key: Annotated[
        Path | None,
        lmtool.Opt("File that says what each mask stands for, to be kept apart; it is added to"),
    ] = None
    restore: Annotated[bool, lmtool.Opt("Put the originals of --key back")] = False
    threshold: Annotated[
        float, lmtool.Opt("Least score of a name that is masked", minimum=0, maximum=1)
    ] = 0.0


class RedactTask(lmtool.EncoderTask):
    """Masks names, found by a model of extract, and identifiers, found by their form.

    It has no head of its own: `open` gives a `redactor.RedactModel`, which rewrites texts where
    other models add layers.
    """

    name: ClassVar[str] = "redact"
    summary: ClassVar[str] = "Mask names, addresses and numbers, and restore them"
    layers: ClassVar[tuple[str, ...]] = ("redactions",)
    main_metric: ClassVar[str] = "micro_f1"
    Options: ClassVar[type[Any]] = RedactOptions
    is_default: ClassVar[bool] = False
    whole_files: ClassVar[bool] = True
    gives_text: ClassVar[bool] = True

    @classmethod
    def open(
        cls,
        ref: str | Path | None,
        options: RedactOptions,
        *,
        device: str = "auto",
        threads: int = 0,
        batch_tokens: int = 1024,
    ) -> DocumentModel:
        """Return a model that masks what a model of extract and the patterns find, or restores.

        The model of extract is loaded where names are looked for: not to restore, nor for kinds
        that are known by their form.
        """
        from .redactor import RedactModel, RestoreModel, needs_names

        if options.restore:
            return RestoreModel(options)
        if not needs_names(options):
            return RedactModel(None, options)
        from lmtool.models import load_encoder

        model = load_encoder(
            ref, task_name="extract", device=device, threads=threads, batch_tokens=batch_tokens
        )
        return RedactModel(model, options)

    @classmethod
    def collect_labels(cls, documents: Sequence[lmtool.Document]) -> dict[str, list[str]]:
        """Refuse: there is nothing to train."""
        _refuse()

    def build_head(self, hidden_size: int) -> torch.nn.Module:
        """Refuse: there is nothing to train."""
        _refuse()

    def targets(self, window: Window, document: lmtool.Document) -> dict[str, NDArray[Any]]:
        """Refuse: there is nothing to train."""
        _refuse()

    def infer(
        self,
        graphs: Mapping[str, lmtool.Graph],
        hidden: Mapping[str, NDArray[Any]],
        windows: Sequence[Window],
        options: RedactOptions,
    ) -> list[Any]:
        """Refuse: a text that is rewritten cannot share a pass with tasks that annotate it."""
        _refuse()

    def merge(
        self, document: lmtool.Document, parts: Sequence[lmtool.Part], options: RedactOptions
    ) -> dict[str, Any]:
        """Refuse, as `infer`."""
        _refuse()

    def score(
        self, gold: Sequence[lmtool.Document], predicted: Sequence[lmtool.Document]
    ) -> dict[str, Any]:
        """Refuse: what is found is scored as entities."""
        _refuse()


def _refuse() -> NoReturn:
    raise lmtool.UsageError(
        "redact has no model of its own to train, evaluate or run beside others: it uses one of "
        "extract",
        hint="train or evaluate that: lmtool train extract; run lmtool redact by itself",
    )
