"""What the listening page says of bits: the rates in results.json, which python -m inference rate writes there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.arguments import WHOLE
from report.figure import MARKERS, PALETTE, styled, svg_uri, write_figure

NAMES = {
    "finetuned": "representation, after fine-tuning",
    "pretrained": "representation, after pre-training",
    "pcm": "recording, plain samples",
    "mu-law": "recording, mu-law",
    "flac": "recording, FLAC",
}


def rate_section(results: Mapping[str, Any], figures: Callable[[str], Path]) -> dict[str, Any] | None:
    """The section of a run whose decoders were judged at fewer bits; None where they were not.

    Parameters
    ----------
    results : mapping
        Those of the run; "rates" has a line for each number of bits.
    figures : function name -> Path
        Where rate is written, as SVG and PNG.

    Shapes
    ------
    -> columns and rows of the table; picture, an address that holds it, and its text
    """
    rates = results.get("rates")
    if not rates:
        return None
    return {
        "clips": rates["test_clips"],
        "columns": ["bits", "kbit/s", "of an ideal coder", "MSE", "SI-SDR [dB]", "ESTOI"],
        "rows": [(NAMES.get(line["what"], line["what"]), _cells(line)) for line in rates["rates"]],
        "picture": svg_uri(write_figure(figures, "rate", draw_rates(rates["rates"]))),
        "alt": f"SI-SDR against bits a second of {len({line['what'] for line in rates['rates']})} ways to keep a clip",
    }


@styled
def draw_rates(lines: Sequence[Mapping[str, Any]]) -> Figure:
    """SI-SDR against the bits a second of an ideal coder; what loses nothing is a line of its own."""
    figure = Figure((6, 3.6))
    axes: Axes = figure.add_subplot()
    for k, what in enumerate(dict.fromkeys(line["what"] for line in lines)):
        points = [line for line in lines if line["what"] == what]
        kbit = [line["entropy_bits_per_second"] / 1000 for line in points]
        decibels = [math.nan if line["si_sdr_db"] is None else line["si_sdr_db"] for line in points]
        style: dict[str, Any] = {"color": PALETTE[k % len(PALETTE)], "label": NAMES.get(what, what)}
        if points[0]["test_mse"] == 0:
            axes.axvline(kbit[0], linestyle="--", **style)
        else:
            axes.plot(kbit, decibels, marker=MARKERS[k % len(MARKERS)][0], markersize=4, linewidth=1, **style)
    axes.set(xscale="log", xlabel="bits a second of an ideal coder [kbit/s]", ylabel="SI-SDR [dB], median")
    axes.xaxis.set_major_formatter("{x:g}")  # powers of ten would be formulas, which are switched off
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def _cells(line: Mapping[str, Any]) -> list[str]:
    bits = f"{WHOLE} (float)" if line["bits"] == WHOLE else str(line["bits"])
    fixed, entropy = (f"{line[name] / 1000:.0f}" for name in ("fixed_bits_per_second", "entropy_bits_per_second"))
    decibels = "no loss" if line["test_mse"] == 0 else _number(line["si_sdr_db"], ".1f")
    return [bits, fixed, entropy, _number(line["test_mse"], ".2e"), decibels, _number(line["estoi"], ".3f")]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)  # ESTOI of clips that are too short for it
