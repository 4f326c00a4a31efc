"""python -m docs.network: draw the paper's network from the network itself, for README and the pages.

A test draws it anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from models.autoencoder import Autoencoder
from nn1d.command import Parser
from report.network import draw

ROOT = Path(__file__).parents[1]
CLIP_SAMPLES = 64_000  # four seconds
DRAWING = ROOT / "docs" / "figures" / "network.svg"


def main() -> int:
    """Write the drawing."""
    Parser(command="docs.network", description=__doc__).parse_args()
    DRAWING.parent.mkdir(exist_ok=True)
    DRAWING.write_text(draw(Autoencoder(rng=np.random.default_rng(0)), CLIP_SAMPLES), "utf-8")
    print(f"written: {DRAWING.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
