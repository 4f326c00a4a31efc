"""Every table and document that a command reads back, changed in its structure by the thousand: read, or one error.

In one process, without the command around it, so that thousands take a minute; tests/tampering.py has the commands.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from inference.descriptor import DescriptorError, read_table
from report.comparison import read_evaluations
from report.emotion import _read as read_probe
from speech.fold import read_folds
from speech.manifest import read_manifest
from speech.recording import CorpusError
from speech.shard import MANIFEST, Shards
from speech.split import SplitError
from tests.tampering import DIGITS, VALUES, Tampered, leaves
from training import schema
from training.configuration import Configuration
from training.ownership import MARKER, Ownership
from training.rank import Ranks
from training.run_files import RunError, read_config
from training.run_folder import ReadOnlyRun
from training.sharding import make_shards
from training.sweep import Planned, SweepError, _claim, _row

JSON_VALUES = [*VALUES.values(), -0.0, 2**63, -(2**63), 10**400, "", "..", "nan", [[1, 2], [3]], {"": ""}, {"\0": 1}]
CELLS = ["", "nan", "inf", "1e400", DIGITS, "-1", "x", "\0", "'=1", "=1", "a\nb", '"', "..", "٣", " 1 ", "a" * 140_000]
BROKEN_JSON = ["", "[", "]", '"', "\\", DIGITS, "NaN", "\0", "{" * 3000]
BROKEN_BYTES = [b"\xff", b"\0", b'"', b"\r", b"\xef\xbb\xbf"]
Case = tuple[str, Callable[[], Any], tuple[type[Exception], ...]]  # name, what reads it, what it may raise


def changed(content: Any, rng: random.Random) -> Any:
    """A copy of a document with values gone, replaced, put elsewhere or added."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if not (places := list(leaves(content))):
            return content
        *above, last = rng.choice(places)
        holder = content
        for key in above:
            holder = holder[key]
        way, value = rng.random(), copy.deepcopy(rng.choice(JSON_VALUES))
        if way < 0.15:
            del holder[last]
        elif way < 0.25 and isinstance(holder, dict):
            holder[rng.choice(["new", "", "\ud800", "settings"])] = value
        elif way < 0.35 and isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), value)
        elif way < 0.45:
            other = content
            for key in rng.choice(places):
                other = other[key]
            holder[last] = copy.deepcopy(other)
        else:
            holder[last] = value
    return content


def as_text(content: Any, rng: random.Random) -> bytes:
    """A document as JSON, now and then broken."""
    text = json.dumps(content)
    if rng.random() < 0.1:
        position = rng.randrange(len(text))
        text = text[:position] + rng.choice(BROKEN_JSON) + text[position + rng.randrange(3) :]
    return text.encode("utf-8", "surrogatepass")


def changed_table(lines: list[list[str]], rng: random.Random) -> bytes:
    """A table as CSV with lines and cells gone, replaced or added, now and then broken."""
    lines = copy.deepcopy(lines)
    for _ in range(rng.choice([1, 1, 2])):
        way, row = rng.random(), rng.randrange(len(lines)) if lines else 0
        if way < 0.2 or not lines or not lines[row]:
            lines.insert(row, rng.choices(["a", "", "1", "nan"], k=rng.randrange(6)))
        elif way < 0.3:
            del lines[row]
        elif way < 0.4:
            del lines[row][rng.randrange(len(lines[row]))]
        else:
            lines[row][rng.randrange(len(lines[row]))] = rng.choice(CELLS)
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    content = text.getvalue().encode()
    position = rng.randrange(len(content) + 1)
    return content[:position] + rng.choice(BROKEN_BYTES) + content[position:] if rng.random() < 0.1 else content


def mutations(folder: Path, rng: random.Random) -> Iterator[str]:
    """What came of each change of each file."""
    names = "config.json", "results.json", "probe.json", MARKER
    run, made, other = folder / "run", folder / "shards", folder / "other.csv"
    tampered = Tampered(folder)
    shutil.copytree(tampered.whole, run)
    settings = Configuration(db="folder", data_dir=tampered.recordings, clip_samples=800, device="cpu")
    with contextlib.redirect_stdout(io.StringIO()):
        tampered.command("report")
        make_shards(settings, made, 4, Ranks())
    documents = {run / name: json.loads((run / name).read_text()) for name in names}
    tables = {path: table(path) for path in (run / "history.csv", run / "metrics.csv")}
    states = [about(path) for path in sorted(run.glob("checkpoints/*.state.safetensors"))]
    manifest, index = json.loads((made / MANIFEST).read_text()), table(made / "00000.csv")
    sweep = {"arguments": ["--db", "demo"], "seeds": [0, 1]}

    def shards() -> None:
        opened = Shards(made)
        parts = opened.parts("held-out")
        opened.learned({"a"})
        opened.names[0]
        if opened.manifest.clip_samples == 800:  # as many as were asked for; else train.py goes no further
            opened.shown()
            parts.train.shuffled(np.random.default_rng(0))[:4]

    of_files: list[tuple[Path, Case]] = [
        (run / "config.json", ("config.json", lambda: read_config(run), (RunError,))),
        (run / "results.json", ("results.json", lambda: ReadOnlyRun(run).read_results(), (RunError,))),
        (run / "results.json", ("results.json of a sweep", lambda: _row(Planned("a", "", 0, run, [])), ())),
        (run / "probe.json", ("probe.json", lambda: read_probe(run), ())),
        (run / MARKER, ("record of a run", lambda: Ownership.read(run), ())),
        (run / "history.csv", ("history.csv", lambda: ReadOnlyRun(run).read_history(), (RunError,))),
        (run / "metrics.csv", ("metrics.csv", lambda: read_evaluations(run), (RunError,))),
    ]
    of_tables: list[tuple[str, Case]] = [
        ("name,fold a,1 b,2", ("folds", lambda: read_folds(other), (SplitError,))),
        ("path,label,speaker,text,fold a.wav,x,s,t,1 b.wav,y,s,t,2",
         ("list of recordings", lambda: read_manifest(other, folder), (CorpusError,))),
        ("name,x,y a,1,2 b,3,4", ("features of others", lambda: read_table(other, ["a", "b"]), (DescriptorError,))),
    ]  # fmt: skip
    while True:
        for path, case in of_files:
            broken = as_text(changed(documents[path], rng), rng) if path in documents else b""
            path.write_bytes(broken or changed_table(tables[path], rng))
            yield outcome(*case)
        for text, case in of_tables:
            other.write_bytes(changed_table([line.split(",") for line in text.split()], rng))
            yield outcome(*case)
        state = changed(rng.choice(states), rng)
        yield outcome("state", lambda state=state: schema.check_state(state), (schema.FormError,))  # type: ignore[misc]
        (folder / "sweep.json").write_bytes(as_text(changed(sweep, rng), rng))
        yield outcome("sweep.json", lambda: _claim(folder, sweep, []), (SweepError,))
        content = changed_table(index, rng)
        (made / "00000.csv").write_bytes(content)
        right = copy.deepcopy(manifest)
        right["shards"][0]["index_sha256"] = hashlib.sha256(content).hexdigest()  # it may come from anybody
        (made / MANIFEST).write_bytes(as_text(changed(right, rng) if rng.random() < 0.5 else right, rng))
        yield outcome("shards", shards, (CorpusError,))


def outcome(name: str, read: Callable[[], Any], errors: tuple[type[Exception], ...]) -> str:
    """Whether it was read or refused; any other error is raised."""
    try:
        read()
    except errors as error:
        assert str(error), name
        return f"{name}: refused"
    except Exception as error:
        error.add_note(name)
        raise
    return f"{name}: read"


def table(path: Path) -> list[list[str]]:
    """A CSV file."""
    return list(csv.reader(io.StringIO(path.read_text(), newline="")))


def about(path: Path) -> dict[str, Any]:
    """What a state says of itself."""
    with safe_open(path, "numpy") as file:
        return dict(json.loads(file.metadata()["nn1d"]))
