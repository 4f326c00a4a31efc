"""python -m benchmarks.page: write docs/performance.md and its figures from the JSON files in docs/performance/."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from nn1d.command import Parser, run_command

ROOT = Path(__file__).parents[1]
RUNS = {
    "step": "python -m benchmarks.step --against torch --json docs/performance/step.json",
    "step-avx2": "OPENBLAS_CORETYPE=Haswell python -m benchmarks.step --batch 16 --against torch "
    "--json docs/performance/step-avx2.json",
    "layers": "python -m benchmarks.layers --against torch --json docs/performance/layers.json",
    "scaling": "python -m benchmarks.scaling --json docs/performance/scaling.json",
    "trick": "python -m benchmarks.trick --json docs/performance/trick.json",
    "profile": "python -m benchmarks.profile --json docs/performance/profile.json",
    "epoch": "python -m benchmarks.epoch --json docs/performance/epoch.json",
}
Figures = dict[str, Any]


def find(cases: list[Figures], work: str, threads: int, batch: int = 16) -> Figures:
    """The case of benchmarks.step."""
    return next(case for case in cases if (case["work"], case["threads"], case["batch"]) == (work, threads, batch))


def curve(scaling: Figures, name: str) -> Figures:
    """The curve of benchmarks.scaling."""
    return next(candidate for candidate in scaling["curves"] if candidate["name"] == name)


def targets(runs: dict[str, Figures]) -> list[tuple[str, str, str, bool]]:
    """What was to be reached, at least or at most, what was measured, and whether that is enough."""
    cases = runs["step"]["cases"]
    most = max(case["threads"] for case in cases)
    train, alone = find(cases, "train", most), find(cases, "train", 1)
    best = min((c for c in cases if c["work"] == "train" and c["threads"] == most), key=lambda c: c["torch"]["ms"])
    over_best = best["torch"]["ms"] / train["nn1d"]["ms"]
    memory = train["torch"]["peak_mib"] / train["nn1d"]["peak_mib"]
    peaks = {point["size"]: point["peak_mib"] for point in curve(runs["scaling"], "batch")["points"]}
    growth = peaks[256] / peaks[16] - 1
    rows = [(f"training step, batch 16, {most} threads, over PyTorch", 3.0, train["ratio"]["median"])]
    rows.append((f"the same, over PyTorch's best batch ({best['batch']})", 2.0, over_best))
    rows.append(("training step, batch 16, 1 thread, over PyTorch", 2.0, alone["ratio"]["median"]))
    for work, name in (("phase2", "phase 2 step, batch 16"), ("encode", "encode only, batch 16")):
        rows.append((f"{name}, {most} threads, over PyTorch", 3.0, find(cases, work, most)["ratio"]["median"]))
    table = [(name, f"at least {least:.1f} times", f"{value:.2f} times", value >= least) for name, least, value in rows]
    share, epoch = train["share"], runs["epoch"]["ratio"]
    return [
        *table,
        (
            f"share of the matrix-product rate, training step, {most} threads",
            "at least 40 %",
            f"{share:.0%}",
            share >= 0.4,
        ),
        ("peak memory, training step, batch 16", "at most 1/8 of PyTorch's", f"1/{memory:.1f}", memory >= 8),
        ("peak memory at batch 256 over that at batch 16", "within 20 %", f"{growth:+.0%}", abs(growth) <= 0.2),
        (
            f"an epoch of python train.py --db {runs['epoch']['db']} over its steps alone",
            "within 10 %",
            f"{epoch - 1:+.1%}",
            epoch <= 1.1,
        ),
    ]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def step_rows(cases: list[Figures]) -> list[list[str]]:
    """One line a case."""
    return [
        [
            f"{case['work']}, batch {case['batch']}, {case['threads']} threads",
            f"{case['nn1d']['ms']:.1f}",
            f"{1e3 / case['nn1d']['ms']:.0f}",
            f"{case['gflops']:.0f} ({case['share']:.0%})",
            f"{case['nn1d']['peak_mib']:.0f}",
            f"{case['torch']['ms']:.1f}",
            f"{case['torch']['peak_mib']:.0f}",
            f"{case['ratio']['median']:.2f} ({case['ratio']['least']:.2f} to {case['ratio']['most']:.2f})",
            f"{case['values']['relative_difference']:.0e}",
        ]
        for case in cases
    ]


STEP_HEAD = [
    "",
    "nn1d, ms a clip",
    "clips/s",
    "GFLOP/s (of a large product)",
    "peak MiB",
    "PyTorch, ms a clip",
    "peak MiB",
    "PyTorch / nn1d",
    "values differ by",
]


def layer_rows(layers: list[Figures]) -> list[list[str]]:
    """One line a layer and shape."""
    rows = []
    for row in layers:
        nn1d, torch = row["nn1d"], row["torch"]
        line = [f"{row['kind']} {row['channels']} → {row['channels_out']}, {row['samples']}", str(row["times"])]
        for way in ("forward", "backward"):
            line += [f"{nn1d[way]:.3f}", f"{torch[way] / nn1d[way]:.1f}"]
        rows.append(line)
    return rows


def profile_rows(profile: Figures) -> list[list[str]]:
    """One line a part."""
    rows = []
    for part, names in profile["parts"].items():
        spent = sum(names.values())
        within = ", ".join(f"{name.split('.', 1)[-1]} {value:.1f}" for name, value in names.items())
        rows.append([part, f"{spent:.1f}", f"{spent / profile['all']:.0%}", within])
    return rows


def write_page(runs: dict[str, Figures], path: Path) -> None:
    """docs/performance.md."""
    about = runs["step"]["machine"]
    commit = about["git_commit"] or "unknown"
    reached = [
        [name, wanted, f"**{measured}**" if enough else f"{measured} (not reached)"]
        for name, wanted, measured, enough in targets(runs)
    ]
    tricks = [
        [row["what"], f"{row['ratio']['median']:.2f} ({row['ratio']['least']:.2f} to {row['ratio']['most']:.2f})"]
        for row in sorted(runs["trick"]["tricks"], key=lambda row: -row["ratio"]["median"])
    ]
    growth = [
        [
            f"{c['name']}, {c['points'][0]['size']} to {c['points'][-1]['size']} {c['unit']}",
            f"{c['step_ms_exponent']:.2f}",
            f"{c['peak_mib_exponent']:.2f}",
            f"{c['points'][0]['peak_mib']:.0f} to {c['points'][-1]['peak_mib']:.0f}",
        ]
        for c in runs["scaling"]["curves"]
    ]
    layers = runs["layers"]
    values = {
        "processor": about["processor"],
        "cores": about["cores"],
        "numpy": about["numpy"],
        "blas": about["blas"],
        "avx2": runs["step-avx2"]["machine"]["blas"],
        "commit": commit[:12] + ("-dirty" if commit.endswith("-dirty") else ""),
        "targets": table(["", "wanted", "measured"], reached),
        "steps": table(STEP_HEAD, step_rows(runs["step"]["cases"])),
        "avx2_steps": table(STEP_HEAD, step_rows(runs["step-avx2"]["cases"])),
        "layers": table(
            ["layer, samples", "in the network", "forward, ms", "PyTorch / nn1d", "backward, ms", "PyTorch / nn1d"],
            layer_rows(layers["layers"]),
        ),
        "product": f"{layers['product_gflops']:.0f}",
        "copy": f"{layers['copy_gb_s']:.0f}",
        "profile": table(["", "ms a clip", "share", "of which"], profile_rows(runs["profile"])),
        "tricks": table(["trick", "step without it / step"], tricks),
        "scaling": table(["as this grows", "exponent of a step's time", "of its memory", "peak MiB"], growth),
        "commands": "\n".join(RUNS.values()),
    }
    template = (ROOT / "docs" / "performance" / "page.md").read_text("utf-8")
    path.write_text(template.format(**values), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or say which measurement is missing."""
    parser = Parser(command="benchmarks.page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder written to (default: docs)")
    options = parser.parse_args(arguments)
    source = ROOT / "docs" / "performance"
    missing = [name for name in RUNS if not (source / f"{name}.json").exists()]
    if missing:
        print(f"benchmarks.page: docs/performance/{missing[0]}.json is missing: {RUNS[missing[0]]}", file=sys.stderr)
        return 2
    runs = {name: json.loads((source / f"{name}.json").read_text("utf-8")) for name in RUNS}
    write_page(runs, options.docs / "performance.md")
    from benchmarks.figure import draw  # only here: it imports matplotlib

    for figure in draw(runs, options.docs / "figures"):
        print(f"written: {figure}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("benchmarks.page", main))
