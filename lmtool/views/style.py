"""The look of the HTML view: one style sheet, light and dark, for the screen and for paper.

Every rule is scoped to the class `lmtool`, so that a notebook keeps its own look.
"""

from __future__ import annotations

from typing import Final

LIGHT: Final = {
    "paper": "#ffffff",
    "ink": "#1b1d21",
    "soft": "#5a6069",
    "line": "#d5d9df",
    "panel": "#f5f6f8",
    "bar": "#2f6fd0",
}
DARK: Final = {
    "paper": "#15171b",
    "ink": "#e8eaed",
    "soft": "#a6adb8",
    "line": "#3c424c",
    "panel": "#1f2228",
    "bar": "#6ea4f5",
}
"""The colours by name; ink and soft are read on paper and on panel."""

LIGHT_LABELS: Final = (
    "#c9e4ff", "#ffe3ad", "#c8efce", "#f3d3f5", "#ffc9c9",
    "#d8d4c8", "#bdeef0", "#dcdcff", "#d5ecb4", "#ffd6bf",
)  # fmt: skip
DARK_LABELS: Final = (
    "#16406b", "#5c4108", "#1b4f27", "#57265c", "#701f28",
    "#494945", "#0d4c50", "#3a3a80", "#35500f", "#6a3413",
)  # fmt: skip
"""The grounds of labels; ink is read on them. The first six differ most: usual labels have them."""

N_COLOURS: Final = len(LIGHT_LABELS)


def _variables(colours: dict[str, str], labels: tuple[str, ...]) -> str:
    names = {**colours, **{f"c{number}": colour for number, colour in enumerate(labels)}}
    return "".join(f"--{name}:{colour};" for name, colour in names.items())


_RULES: Final = """
.lmtool{background:var(--paper);color:var(--ink);font:1rem/1.6 system-ui,sans-serif;
overflow-wrap:anywhere}
.lmtool *{box-sizing:border-box}
.lmtool article{max-width:60rem;margin:0 auto;padding:1.25rem 1rem;
border-bottom:1px solid var(--line);content-visibility:auto;contain-intrinsic-size:auto 20rem}
.lmtool h2,.lmtool h3{margin:1rem 0 .4rem;line-height:1.3;font-size:.9rem;font-weight:600;
color:var(--soft)}
.lmtool h2{margin-top:0;font-size:1.05rem;color:var(--ink)}
.lmtool p{margin:.4rem 0}
.lmtool .text{white-space:pre-wrap}
.lmtool mark{color:inherit;border-radius:.25rem;padding:.05rem .2rem;
border:1px solid transparent;-webkit-box-decoration-break:clone;box-decoration-break:clone}
.lmtool mark mark{border-color:var(--soft)}
.lmtool small{font-size:.7rem;font-weight:600;margin-left:.3rem;white-space:nowrap}
.lmtool ul{list-style:none;margin:.4rem 0;padding:0}
.lmtool .legend{display:flex;flex-wrap:wrap;gap:.2rem .8rem;font-size:.8rem;color:var(--soft)}
.lmtool .legend mark{color:var(--ink)}
.lmtool .turn{margin:0 0 .6rem;padding-left:.6rem;border-left:2px solid var(--line)}
.lmtool .turn h3{margin:0}
.lmtool .sentence{margin:0 0 .9rem}
.lmtool .frame{display:flex;flex-wrap:wrap;gap:.15rem .4rem;align-items:flex-start;
margin:.3rem 0 .3rem 1rem;padding-left:.6rem;border-left:2px solid var(--line);font-size:.9rem}
.lmtool .frame>span{display:inline-block;text-align:center;line-height:1.35}
.lmtool .frame i{display:block;font-style:normal;border:1px solid var(--soft);border-top:0;
padding:0 .3rem .1rem}
.lmtool .frame b{display:block;border-bottom:4px double var(--ink);padding:0 .3rem}
.lmtool .frame .role{font-size:.72rem;color:var(--soft);white-space:nowrap}
.lmtool .frame .gap{color:var(--soft)}
.lmtool .arcs{overflow-x:auto;margin:.6rem 0}
.lmtool svg{display:block;max-width:none}
.lmtool svg text{white-space:pre;fill:var(--ink);font:13px ui-monospace,Menlo,Consolas,monospace}
.lmtool svg .label{font:11px system-ui,sans-serif;paint-order:stroke;stroke:var(--paper);
stroke-width:4px}
.lmtool svg path{fill:none;stroke:var(--soft);stroke-width:1.2}
.lmtool svg .tip{fill:var(--soft);stroke:none}
.lmtool .links li{padding:.1rem 0}
.lmtool .score{color:var(--soft);font-size:.8rem}
.lmtool .cards{display:flex;flex-wrap:wrap;gap:.6rem}
.lmtool .card{background:var(--panel);border:1px solid var(--line);border-radius:.4rem;
padding:.5rem .8rem;min-width:12rem;max-width:100%}
.lmtool .card p{margin:0 0 .2rem;font-weight:600}
.lmtool dl{display:grid;grid-template-columns:fit-content(40%) 1fr;gap:0 .8rem;margin:0;
font-size:.9rem}
.lmtool dt,.lmtool dd{float:none;width:auto;margin:0}
.lmtool dt{color:var(--soft);font-weight:400}
.lmtool .bars{display:grid;gap:.15rem .8rem;align-items:center;font-size:.9rem;
grid-template-columns:fit-content(45%) minmax(4rem,16rem) max-content}
.lmtool .bars .name{min-width:7rem}
.lmtool .track{background:var(--panel);border:1px solid var(--line);height:.8rem;
border-radius:.2rem}
.lmtool .track div{background:var(--bar);height:100%;border-radius:.15rem}
"""

_PRINT: Final = """
@media print{.lmtool h2,.lmtool h3{break-after:avoid}
.lmtool article{max-width:none;break-inside:auto;content-visibility:visible}
.lmtool .sentence,.lmtool .turn,.lmtool .card,
.lmtool .bars,.lmtool .arcs,.lmtool .frame{break-inside:avoid}
.lmtool mark,.lmtool .track div{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.lmtool mark{border-color:currentColor}.lmtool .arcs{overflow:visible}}
"""


_LIGHT_PAGES: Final = (
    "[data-jp-theme-light=true]", ".vscode-light", "[theme=light]", "[data-theme=light]",
)  # fmt: skip
_DARK_PAGES: Final = (
    "[data-jp-theme-light=false]", ".vscode-dark", "[theme=dark]", "[data-theme=dark]",
)  # fmt: skip
"""Who says in its page that it is light or dark: JupyterLab, VS Code, Colab, Sphinx."""


def _inside(pages: tuple[str, ...]) -> str:
    return ",".join(f".lmtool:is({page} *)" for page in pages)


def style_sheet() -> str:
    """Return the style sheet; on a screen it is dark as the page around it, or the system, is.

    The class stands twice in each selector: a notebook's own rules for lists and headings would
    go before those with one.
    """
    marks = "".join(f".lmtool .c{n}{{background:var(--c{n})}}" for n in range(N_COLOURS))
    light = f"color-scheme:light;{_variables(LIGHT, LIGHT_LABELS)}"
    dark = f"color-scheme:dark;{_variables(DARK, DARK_LABELS)}"
    return (
        f".lmtool{{{light}}}"
        f"@media screen and (prefers-color-scheme:dark){{.lmtool{{{dark}}}}}"
        f"@media screen{{{_inside(_LIGHT_PAGES)}{{{light}}}{_inside(_DARK_PAGES)}{{{dark}}}}}"
        + (_RULES + marks + _PRINT).replace("\n", "").replace(".lmtool", ".lmtool.lmtool")
    )
