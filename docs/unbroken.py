"""What a line or a narrow table must not tear apart: a number, an option, a formula and the full stop after it."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

from docs.equation import pieces

WHOLE = re.compile(r"(?<![\w.])[-−+]?\d[\d.,]*e[-−+]?\d+")  # a browser breaks 2.1e-4 after its hyphen
CLOSING = re.compile(r"[.,;:!?)\]]+")
WORDS = 24  # letters of a table's cell that is words, and needs room for some of them in a line


class Unbroken(SphinxPostTransform):
    """Wrap them as <span class="whole">, and mark the cells of a table that are words."""

    default_priority = 700

    def run(self, **kwargs: object) -> None:
        """Of one page."""
        for formula in list(self.document.findall(nodes.math)):
            after = formula.next_node(nodes.Text, descend=False, siblings=True)
            parent = formula.parent
            place = parent.index(formula)
            closing = CLOSING.match(after.astext()) if after and parent.index(after) == place + 1 else None
            if after is not None and closing:
                parent.remove(after)
                parent.remove(formula)
                rest = after.astext()[closing.end() :]
                *firsts, last = [nodes.math(part, part) for chain in pieces(formula.astext()) for part in chain]
                whole = nodes.inline("", "", last, nodes.Text(closing[0]), classes=["whole"])
                before = [node for first in firsts for node in (first, nodes.Text(" "))]
                parent[place:place] = [*before, whole, nodes.Text(rest)] if rest else [*before, whole]
        for text in list(self.document.findall(nodes.Text)):
            skipped = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.title)
            if isinstance(text.parent, skipped) or not WHOLE.search(text):
                continue
            parts: list[nodes.Node] = []
            end = 0
            for number in WHOLE.finditer(text):
                parts += [nodes.Text(text[end : number.start()])] if number.start() > end else []
                parts.append(nodes.inline("", number[0], classes=["whole"]))
                end = number.end()
            parts += [nodes.Text(text[end:])] if end < len(text) else []
            text.parent.replace(text, parts)
        for cell in self.document.findall(nodes.entry):
            if len(cell.astext()) > WORDS:
                cell["classes"].append("words")


def setup(app: Sphinx) -> None:
    """Register it."""
    app.add_post_transform(Unbroken)
