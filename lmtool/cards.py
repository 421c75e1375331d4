"""Model cards: what a bundle is, where it comes from, how good it is."""

from __future__ import annotations

from typing import Any

from .bundles import BackboneInfo, BundleInfo, LanguageInfo


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


def language_card(info: LanguageInfo, notes: str = "") -> str:
    """Return the README.md of a language model's bundle."""
    facts = [
        f"- Context: {info.context:,} tokens",
        f"- Precision: {info.precision}",
        f"- Licence: {info.licence or 'not stated'}",
        "- Made with: " + ", ".join(f"{name} {v}" for name, v in info.versions.code.items()),
    ]
    lines = ["| | perplexity | bits per byte | MB |", "|---|---:|---:|---:|"]
    for precision, row in info.metrics.items():
        if "perplexity" in row:
            cells = [f"{row['perplexity']:.2f}", f"{row['bits_per_byte']:.3f}"]
            lines.append(_row(precision, [*cells, f"{row['megabytes']:.1f}"]))
    sections = [
        f"# {info.name}",
        f"A language model for [lmtool](https://pypi.org/project/lmtool), for `{info.task}`.",
        "\n".join(facts),
        "## Before and after quantization",
        "\n".join(lines),
    ]
    if info.versions.data:
        rows = [f"- {name}: {text}" for name, text in info.versions.data.items()]
        sections += ["## Made from", "\n".join(rows)]
    if notes:
        sections.append(notes.strip())
    return "\n\n".join(sections) + "\n"
