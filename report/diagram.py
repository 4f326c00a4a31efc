"""What the drawings of this project share: text, and a panel with colours for light and for dark, in SVG.

Written without a library: the same content gives the same bytes under every version of everything, so a test can
compare the drawings, and they stay small.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

# class -> colours on a light and on a dark page
FILLS = {
    "panel": ("#fbfaf7", "#1f2124"),
    "above": ("#f0a45a", "#b0641a"),  # of the highest number; smaller ones let the panel through
    "below": ("#6fa8cd", "#3f7ea8"),
    "set": ("#96c48c", "#4f8646"),
    "gate": ("#ffffff", "#2c2f33"),
    "band": ("#f1ede4", "#2a2d30"),
    "other": ("#e9eef0", "#26313a"),
    "first": ("#0b6e99", "#6cc0e5"),
    "second": ("#857f75", "#a8a196"),
    "third": ("#d9730d", "#ff9d45"),
    "down": ("#b3261e", "#ff8a80"),
    "soft": ("#666159", "#b9b3a8"),
    "ink": ("#1a1a1a", "#f1eee8"),
}
STROKES = {
    "edge": ("#a9a49a", "#6d685f"),
    "thin": ("#d8d4cb", "#3d4045"),
    "wire": ("#857f75", "#a8a196"),
    "mark": ("#1a1a1a", "#f1eee8"),
    "fine": ("#0b6e99", "#6cc0e5"),
    "grey": ("#857f75", "#a8a196"),
    "warm": ("#d9730d", "#ff9d45"),
}


def panel(alt: str, width: float, height: float, body: Sequence[str]) -> str:
    """The SVG of a panel with these elements on it."""
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
            f"viewBox='0 0 {width:g} {height:g}' role='img'>",
            f"<title>{escape(alt)}</title>",
            style("".join(body)),
            f"<rect class='panel thin' width='{width:g}' height='{height:g}' rx='8'/>",
            *body,
            "</svg>\n",
        ]
    )


def style(body: str) -> str:
    """The colours of the classes that occur, light and dark."""
    used = {name for names in re.findall(r"class='([^']*)'", body) for name in names.split()} | {"panel", "thin", "ink"}

    def rules(scheme: int) -> str:
        fills = [f".{name}{{fill:{colours[scheme]}}}" for name, colours in FILLS.items() if name in used]
        strokes = [f".{name}{{stroke:{colours[scheme]}}}" for name, colours in STROKES.items() if name in used]
        return "".join([*fills, *strokes])

    font = "text{font-family:'DejaVu Sans',Verdana,Helvetica,sans-serif}"
    return f"<style>{font}{rules(0)}@media(prefers-color-scheme:dark){{{rules(1)}}}</style>"


def label(
    x: float, y: float, text: str, size: int, kind: str = "ink", weight: str = "normal", anchor: str = "middle"
) -> str:
    """Text whose middle is at the height y."""
    # not by dominant-baseline, which not every viewer knows
    bold = f" font-weight='{weight}'" if weight != "normal" else ""
    return (
        f"<text class='{kind}' x='{x:g}' y='{y + 0.36 * size:.4g}' font-size='{size}'{bold} text-anchor='{anchor}'>"
        f"{escape(text)}</text>"
    )
