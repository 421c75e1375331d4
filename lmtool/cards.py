"""Model cards: what a bundle is, where it comes from, how good it is."""

from __future__ import annotations

from typing import Any

from .bundles import BackboneInfo, BundleInfo


def model_card(info: BundleInfo, backbone: BackboneInfo, notes: str = "") -> str:
    """Return the README.md of a bundle: its facts, scores by set and precision, and notes."""
    labels = "; ".join(f"{key}: {', '.join(names)}" for key, names in info.labels.items())
    sections = [
        f"# {info.name}",
        f"A bundle of [lmtool](https://pypi.org/project/lmtool) for the task `{info.task}`.",
        "\n".join(
            [
                f"- Labels: {labels}",
                f"- Licence: {info.licence or 'not stated'}",
                f"- Precision: {backbone.precision}, backbone {backbone.hash[:12]}, windows of "
                f"{backbone.encoding.get('max_tokens')} tokens",
                "- Made with: "
                + ", ".join(f"{name} {version}" for name, version in info.versions.code.items()),
            ]
        ),
        "## Scores on the dev sets",
        _scores(info.metrics),
    ]
    if info.versions.data:
        rows = [f"- {name}: {text}" for name, text in info.versions.data.items()]
        sections += ["## Training data", "\n".join(rows)]
    if notes:
        sections.append(notes.strip())
    return "\n\n".join(sections) + "\n"


def _scores(metrics: dict[str, Any]) -> str:
    """Return a table: a row for each set, a column for each precision."""
    precisions = list(metrics)
    sets = list(metrics[precisions[0]]["sets"])
    name = metrics[precisions[0]]["metric"]
    lines = [f"| {name} | {' | '.join(precisions)} |", "|---|" + "---:|" * len(precisions)]
    for key in sets:
        lines.append(_row(key, [f"{metrics[p]['sets'][key]:.2f}" for p in precisions]))
    lines.append(_row("all together", [f"{metrics[p]['all']:.2f}" for p in precisions]))
    lines.append(
        _row("size of the backbone", [f"{metrics[p]['megabytes']} MB" for p in precisions])
    )
    lines.append(
        _row(
            "tokens per second where it was exported",
            [f"{metrics[p]['tokens_per_second']:,}" for p in precisions],
        )
    )
    return "\n".join(lines)


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"
