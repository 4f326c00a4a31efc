"""Equations as MathML, which every browser draws by itself: no script, no picture, no network."""

from __future__ import annotations

import re
import textwrap

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

CONVERTER = LatexToMathML(
    macros={"substack": r"\begin{matrix}#1\end{matrix}"},
    annotation=True,  # the LaTeX, to be copied
    fancy_error=False,
)
PRIMED = re.compile(r"<msup>(<mi>[^<]*</mi>)<mo>(′+)</mo></msup>")  # a prime is high already


def mathml(latex: str, *, display: bool) -> str:
    """LaTeX as a <math> element.

    Raises
    ------
    LatexError
        A command is unknown or misused; nothing is drawn by halves.
    """
    if display and r"\\" in latex and r"\begin" not in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    drawn = CONVERTER.convert_with_local_state(latex, displaystyle=display)
    drawn = drawn.replace("<mi>l</mi>", "<mi>ℓ</mi>")  # the index l, which reads as a one
    return PRIMED.sub(r'<mrow>\1<mo lspace="0" rspace="0">\2</mo></mrow>', drawn)


LONG = 44  # letters of LaTeX that may not fit on a phone


def pieces(latex: str) -> list[list[str]]:
    """Equations side by side, each cut before equals signs, arrows and words, where a narrow page may break them."""
    if re.search(r"\\\\|\\begin", latex) or len(latex) < LONG:
        return [[latex]]
    pieces = []
    for equation in re.split(r"\\qquad", latex):
        cuts, depth = [0], 0
        for i, letter in enumerate(equation):
            depth += (letter in "{([") - (letter in "})]")
            before = equation[:i].rstrip()
            is_word = re.match(r"\\text\b", equation[i:]) and not re.search(r"(\\cdot|\\to|[-+=/(])(\\;)?$", before)
            if depth == 0 and before and (letter == "=" or equation.startswith(r"\to ", i) or is_word):
                cuts.append(i)
        parts = [equation[start:end] for start, end in zip(cuts, [*cuts[1:], len(equation)], strict=True)]
        lines = [piece.strip() for part in parts for piece in re.split(r"\\quad", part) if piece.strip()]
        pieces.append([line for piece in lines for line in _lines(piece)])
    return pieces


def _lines(piece: str) -> list[str]:
    """Words that are too long for a phone, cut between two of them."""
    words = re.fullmatch(r"((?:= ?)?)\\text\{([^{}]{24,})\}(.*)", piece)
    if not words:
        return [piece]
    lines = [rf"\text{{{line}}}" for line in textwrap.wrap(words[2], 24)]
    return [words[1] + lines[0], *lines[1:-1], lines[-1] + words[3]] if lines[1:] else [piece]


def _draw(self: HTML5Translator, node: nodes.math | nodes.math_block, display: bool) -> None:
    try:
        chains = [[mathml(piece, display=display) for piece in chain] for chain in pieces(node.astext())]
    except LatexError as error:
        logging.getLogger(__name__).warning("%s in the equation %s", error, node.astext(), location=node)
        raise nodes.SkipNode from error
    if display:
        number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
        names = f' id="{node["ids"][0]}"' if node.get("ids") else ""
        drawn = "".join(f'<div class="chain">{"".join(chain)}</div>' for chain in chains)
        drawn = f'<div class="equation"{names}>{drawn}{number}</div>'
    else:
        drawn = " ".join(" ".join(chain) for chain in chains)
    self.body.append(drawn)
    raise nodes.SkipNode


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """Within a line."""
    _draw(self, node, False)


def block(self: HTML5Translator, node: nodes.math_block) -> None:
    """On a line of its own."""
    _draw(self, node, True)


def setup(app: Sphinx) -> None:
    """Register the renderer as "mathml"."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
