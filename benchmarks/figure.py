"""The figures of docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

matplotlib.use("Agg")
OURS, THEIRS, GREY = "#2389b8", "#d9730d", "#8a8a8a"
INK = "#7d8590"  # stands out from white and from black
STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "axes.facecolor": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "nn1d",
}


def draw(runs: dict[str, Any], folder: Path) -> list[Path]:
    """Every figure, as SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = {"speed": speed, "roofline": roofline, "scaling": scaling, "tricks": tricks}
    paths = []
    with plt.rc_context(STYLE):
        for name, make in makers.items():
            figure = make(runs)
            paths.append(folder / f"performance-{name}.svg")
            figure.savefig(paths[-1], bbox_inches="tight", transparent=True, metadata={"Date": None})
            plt.close(figure)
    return paths


def speed(runs: dict[str, Any]) -> Figure:
    """Milliseconds a clip against the batch, ours and PyTorch's, for each kind of work."""
    cases = runs["step"]["cases"]
    most = max(case["threads"] for case in cases)
    works = list(dict.fromkeys(case["work"] for case in cases))
    figure, axes = plt.subplots(1, len(works), figsize=(2.6 * len(works), 2.8), squeeze=False)
    for axis, work in zip(axes[0], works, strict=True):
        of_work = [case for case in cases if case["work"] == work and case["threads"] == most]
        places = range(len(of_work))
        for side, colour, shift in (("nn1d", OURS, -0.2), ("torch", THEIRS, 0.2)):
            heights = [case[side]["ms"] for case in of_work]
            least = [case[side]["ms"] - case[side]["ms_least"] for case in of_work]
            above = [case[side]["ms_most"] - case[side]["ms"] for case in of_work]
            label = "nn1d" if side == "nn1d" else "PyTorch"
            axis.bar(
                [p + shift for p in places], heights, 0.4, color=colour, label=label, yerr=[least, above], ecolor=GREY
            )
        axis.set(title=work, xlabel="batch", xticks=list(places), xticklabels=[str(case["batch"]) for case in of_work])
    axes[0][0].set_ylabel(f"ms a clip, {most} threads")
    axes[0][0].legend(frameon=False)
    figure.tight_layout()
    return figure


def roofline(runs: dict[str, Any]) -> Figure:
    """GFLOP/s of each convolution against its operations a byte, under what products and copies reach.

    Backward is two of the forms that forward is one of: twice the operations on twice the numbers.
    """
    layers = runs["layers"]
    figure, axis = plt.subplots(figsize=(6, 3.6))
    shown = [row for row in layers["layers"] if "gflops" in row]
    for side, colour in (("nn1d", OURS), ("torch", THEIRS)):
        for way, marker in (("forward", "o"), ("backward", "^")):
            x, y = [], []
            for row in shown:
                before, after = row["channels"], row["channels_out"]
                operations = 2 * 3 * before * after  # a sample
                x.append(operations / (4 * (before + after)))
                forms = 1 if way == "forward" else 2
                y.append(forms * operations * row["samples"] / row[side][way] / 1e6)
            label = f"{'nn1d' if side == 'nn1d' else 'PyTorch'}, {way}"
            axis.plot(x, y, marker, color=colour, label=label, markersize=5, alpha=0.8)
    product, copied = layers["product_gflops"], layers["copy_gb_s"]
    intensity = [0.25, product / copied, 100]
    axis.plot(intensity, [min(product, copied * operations_a_byte) for operations_a_byte in intensity], color=GREY)
    axis.annotate(
        f"a large product, {product:.0f} GFLOP/s", (100, product), xytext=(0, 4), textcoords="offset points", ha="right"
    )
    axis.annotate(f"a copy, {copied:.0f} GB/s", (0.3, copied * 0.3), xytext=(4, -12), textcoords="offset points")
    axis.set(xscale="log", yscale="log", xlabel="operations a byte that must move", ylabel="GFLOP/s, 1 thread")
    axis.legend(frameon=False, loc="lower right")
    return figure


def scaling(runs: dict[str, Any]) -> Figure:
    """Time of a clip and peak memory against each size."""
    curves = runs["scaling"]["curves"]
    figure, axes = plt.subplots(2, len(curves), figsize=(2.6 * len(curves), 4.2), squeeze=False)
    for column, measured_curve in enumerate(curves):
        sizes = [point["size"] for point in measured_curve["points"]]
        for row, (name, label) in enumerate((("clip_ms", "ms a clip"), ("peak_mib", "peak MiB"))):
            axis: Axes = axes[row][column]
            axis.plot(sizes, [point[name] for point in measured_curve["points"]], "o-", color=OURS, markersize=4)
            axis.set(xscale="log", ylim=(0, None))
            if column == 0:
                axis.set_ylabel(label)
            if row == 1:
                axis.set_xlabel(f"{measured_curve['name']} [{measured_curve['unit']}]")
            ticks = sizes if len(sizes) < 6 else sizes[::2]
            axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            axis.minorticks_off()
    figure.tight_layout()
    return figure


def tricks(runs: dict[str, Any]) -> Figure:
    """How many times as long a step takes without each trick."""
    rows = sorted(runs["trick"]["tricks"], key=lambda row: row["ratio"]["median"])
    figure, axis = plt.subplots(figsize=(6, 0.3 * len(rows) + 0.6))
    middle = [row["ratio"]["median"] for row in rows]
    spread = [
        [row["ratio"]["median"] - row["ratio"]["least"] for row in rows],
        [row["ratio"]["most"] - row["ratio"]["median"] for row in rows],
    ]
    names = [row["what"].split(" (off")[0] for row in rows]
    axis.barh(names, [value - 1 for value in middle], left=1, color=OURS, xerr=spread, ecolor=GREY)
    axis.axvline(1, color=GREY, linewidth=0.8)
    axis.set_xlabel("a step without it / a step with it")
    return figure
