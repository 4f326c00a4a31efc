"""The listening page: what it says in tables and sentences, and the one file that all of it is put into."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from report import figure
from report.table import mask_table, paper_table
from speech import corpus
from speech.audio import SAMPLE_RATE_HZ
from speech.clip import Clips
from speech.distortion import MEASURES, missing
from speech.split import Split
from training.configuration import SHARDS

SUMMARY = "Medians over the test clips, and means with 95 % bootstrap intervals. ↑ higher is better, ↓ lower is better"
# One after the other in the page; the first has functions only. The last is of a page with a map.
SCRIPTS = ("picture.js", "spectrum.js", "page.js", "blind.js", "live.js", "map.js")


def describe_run(config: Mapping[str, Any], db: str, results: Mapping[str, Any], split: Split) -> dict[str, Any]:
    """What the page says of the whole run.

    Parameters
    ----------
    config, results : mapping
        config.json, and results.json with its distortion.
    db : str
    split : Split
    """
    distortion = results["distortion"]
    medians = {
        phase: {name: figures["median"] for name, figures in measures.items()} for phase, measures in distortion.items()
    }
    lead = [
        f"{figure.TITLES[phase]}: "
        + ", ".join(
            f"{title} {number(median[name], unit)}"
            for name, title, unit in (("si_sdr_db", "SI-SDR", "dB"), ("estoi", "ESTOI", ""), ("pesq", "PESQ", ""))
            if median[name] is not None
        )
        for phase, median in medians.items()
    ]
    shown = [name for name in MEASURES if any(measures[name]["clips"] for measures in distortion.values())]
    cells = {name: _summary_cells([measures[name] for measures in distortion.values()]) for name in shown}
    rows = [(title(name), cells[name]) for name in shown]
    columns = [
        *(f"{phase}: {word}" for phase in ("pre-training", "fine-tuning") for word in ("median", "mean [95 %]")),
        "undefined",
    ]
    machine, parts = config.get("machine", {}), config.get("parts", {})  # of shards, which are not all shown
    around = {
        "git commit": config.get("git_commit"),
        "Python, NumPy": f"{config.get('python')}, {config.get('numpy')}",
        "processor": f"{machine.get('processor')}, {machine.get('cores')} cores, {config.get('threads')} threads",
        "system": machine.get("system"),
        "corpus": config.get("corpus"),
    }
    return {
        "title": f"{corpus_title(config, db)}: what the network makes of speech",
        "lead": f"Medians of {len(split.test)} test clips: {'; '.join(lead)}.",
        "mark": "",
        "tables": [paper_table(results)],
        "commands": [shlex.join(["python", *config.get("command", [])])],
        "test_clips": len(split.test),
        "summaries": [(SUMMARY, columns, rows)],
        "dashes": dashes(shown),
        "mask_tables": [mask_table(results["masks"])],
        "split": [
            *((part, [parts.get(part, len(getattr(split, part)))]) for part in ("train", "validation", "test")),
            ("left out", [len(config.get("left_out", []))]),
        ],
        "setting_columns": ["value"],
        "settings": [(name, [value]) for name, value in config["settings"].items()],
        "surroundings": [(name, [value]) for name, value in around.items()],
    }


def corpus_title(config: Mapping[str, Any], db: str) -> str:
    """What a corpus is called: its own name, or that of the user's folder."""
    return Path(config["corpus"]).name if db in ("folder", SHARDS) and config.get("corpus") else corpus.corpus_title(db)


def measures_shown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The measures that some clip has a number for."""
    return [name for name in MEASURES if any(math.isfinite(row[name]) for row in rows)]


def dashes(shown: Sequence[str]) -> list[str]:
    """Why measures are not shown, and what a dash stands for, a sentence each."""
    reasons = missing(SAMPLE_RATE_HZ)
    sentences = [f"{reason}." for reason in reasons]
    for name, about in MEASURES.items():
        if name not in shown and not (name == "pesq" and reasons):
            sentences.append(f"{about.title} is left out: it is undefined for every test clip ({about.undefined}).")
    return [*sentences, "A dash says that a measure is undefined there: the clip is too short, or silent."]


def describe_measures() -> list[dict[str, str]]:
    """Names, titles and directions of all measures, as the page's table takes them."""
    return [
        {"name": name, "title": title(name), "ascending": "" if about.better == "higher" else "yes"}
        for name, about in MEASURES.items()
    ]


def title(measure: str) -> str:
    """A measure as a heading: whether more is better, its name, its unit."""
    about = MEASURES[measure]
    unit = "" if about.unit == "1" else f" [{about.unit}]"
    return f"{'↑' if about.better == 'higher' else '↓'} {about.title}{unit}"


def number(value: float | None, unit: str = "") -> str:
    """Three digits, written out up to a million, or a dash."""
    if value is None or math.isnan(value):
        return "-"
    return f"{float(f'{value:.3g}'):g}{' ' if unit else ''}{unit}"


def render(content: Mapping[str, Any], data: Mapping[str, Any], clips: Clips) -> str:
    """The page: template, style and script of this folder, filled in.

    Parameters
    ----------
    content : mapping
        What the template names.
    data : mapping
        What the script reads: phases, measures, clips, and the sounds of the map.
    clips : Clips
    """
    here = Path(__file__).parent
    scripts = SCRIPTS if content["map"] else SCRIPTS[:-1]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    heard = len(data["sounds"]) + sum("sounds" in clip for clip in data["clips"])
    hint = "Hover or use the arrow keys to see a name, click or press Enter to listen."
    if heard < len(clips):
        hint += f" The page has room for the sound of {heard} of {len(clips)} clips."
    return environment.from_string((here / "page.html").read_text("utf-8")).render(
        {
            **content,
            "css": jinja2.utils.markupsafe.Markup((here / "page.css").read_text("utf-8")),
            "script": jinja2.utils.markupsafe.Markup("".join((here / name).read_text("utf-8") for name in scripts)),
            "network_script": jinja2.utils.markupsafe.Markup((here / "network.js").read_text("utf-8")),
            "data": data,
            "hint": hint,
        }
    )


def _summary_cells(phases: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = []
    for figures in phases:
        interval = f"{number(figures['mean'])} [{number(figures['low'])}, {number(figures['high'])}]"
        cells += [number(figures["median"]), interval]
    return [*cells, " and ".join(str(figures["undefined"] + figures["infinite"]) for figures in phases)]
