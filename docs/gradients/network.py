"""python -m docs.gradients.network RUN: follow one clip's gradient through a trained network, for whole-network.md.

The answer, docs/gradients/network.json, holds the same network before its training as well. The run is one of train.py
--db demo, whose recordings are made anew.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from inference.model import load_run
from models.autoencoder import Autoencoder
from models.objective import objective
from nn1d import load_parameters, named_leaves
from nn1d.command import Parser
from speech.clip import load_clips
from speech.demo import list_recordings
from training.checkpoint import CheckpointError
from training.run_files import RunError, read_config
from training.seed import generator

COMMANDS = "python train.py --db demo --out runs/demo\npython -m docs.gradients.network runs/demo"
PATH = Path(__file__).parent / "network.json"


class Watched:
    """A layer that does what another one does, and notes what its backward is given and returns."""

    def __init__(self, layer: Any, name: str, notes: list[dict[str, Any]]) -> None:
        self.layer, self.name, self.notes = layer, name, notes

    def __getattr__(self, name: str) -> Any:
        """All but backward is the layer's own."""
        return getattr(self.layer, name)

    def backward(self, dy: Any, cache: Any) -> tuple[Any, Any]:
        """As the layer; the notes are numbers, since an array may be changed by who takes it next."""
        dx, grads = self.layer.backward(dy, cache)
        note: dict[str, Any] = {"name": self.name, "shape": str(dx.shape), "dy": length(dy), "dx": length(dx)}
        if self.name.endswith("body"):
            note |= {"sum": length(dy + dx), "cosine": float((dy * dx).sum()) / (note["dy"] * note["dx"] or 1)}
        self.notes.append(note)
        return dx, grads


def length(array: Any) -> float:
    """The root of the sum of squares."""
    return float(np.sqrt((array * array).sum()))


def watch(network: Autoencoder) -> list[dict[str, Any]]:
    """Put a Watched in the place of every layer of the network; the list that they write to."""
    notes: list[dict[str, Any]] = []
    for half in ("encoder", "decoder"):
        coder = getattr(network, half)
        for i, stage in enumerate(coder.stages):
            for name, layer in stage.layers.items():
                if name == "residual":
                    layer.body = Watched(layer.body, f"{half}.{i}.residual.body", notes)
                stage.layers[name] = Watched(layer, f"{half}.{i}.{name}", notes)
    network.encoder.pool = Watched(network.encoder.pool, "encoder.pool", notes)  # type: ignore[assignment]
    for name in ("unpool", "activation", "output"):
        setattr(network.decoder, name, Watched(getattr(network.decoder, name), f"decoder.{name}", notes))
    return notes


def follow(network: Autoencoder, x: np.ndarray) -> dict[str, Any]:
    """The loss of clips x, and every gradient on the way from it to the first filter.

    Shapes
    ------
    x (N, L, 1) -> loss, the gradient that the loss sends, what each layer's backward was given and returned, in this
    order, and the gradient of each parameter
    """
    notes = watch(network)
    trace, cache = network.forward(x, middle=False)
    loss, d_trace = objective(trace, x)
    _, grads = network.backward(d_trace, cache)
    weights = {name: {"shape": str(leaf.shape), "length": length(leaf)} for name, leaf in named_leaves(grads)}
    return {"loss": float(loss.total), "dy": length(d_trace.reconstruction), "layers": notes, "weights": weights}


def follow_run(run: Path) -> dict[str, Any]:
    """The first test clip of a run on the demo corpus, through its pre-trained network and through the one before."""
    config, settings = read_config(run)
    if settings.db != "demo":
        raise RunError(f"{run}: must be a run of train.py --db demo; got --db {settings.db}")
    name = config["split"]["test"][0]
    recording = list_recordings(int(name.rsplit("-", 1)[1]) + 1)[-1]  # a name ends with the number of the clip
    clips, _ = load_clips([recording], settings.clip_samples)
    x = clips.samples[:, :, None].astype(np.float64)
    notes: dict[str, Any] = {"clip": recording.name, "numpy": np.__version__}
    for when in ("before", "after"):
        network = Autoencoder(
            settings.channels,
            settings.kernel_size,
            rng=generator(settings.seed, "weights"),
            residual_gain=settings.residual_gain,
            output=settings.output,
            dtype=np.float64,
        )
        if when == "after":
            trained = load_run(run, "pretrained").network
            load_parameters(network.parameters, dict(named_leaves(trained.parameters)))
        notes[when] = follow(network, x)
    return rounded(notes)


def rounded(tree: Any) -> Any:
    """Floats to five digits."""
    if isinstance(tree, dict):
        return {name: rounded(child) for name, child in tree.items()}
    if isinstance(tree, list):
        return [rounded(child) for child in tree]
    return float(f"{tree:.5g}") if isinstance(tree, float) else tree


def main(arguments: list[str] | None = None) -> int:
    """Write the file; 2 if the run cannot be used."""
    parser = Parser(command="docs.gradients.network", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run of train.py --db demo")
    parser.add_argument("--json", type=Path, default=PATH, help="file written (default: docs/gradients/network.json)")
    options = parser.parse_args(arguments)
    try:
        notes = follow_run(options.run)
    except (RunError, CheckpointError) as error:
        print(f"docs.gradients.network: {error}", file=sys.stderr)
        return 2
    lines = re.sub(r"{[^{}]*}", lambda row: " ".join(row[0].split()), json.dumps(notes, indent=1))  # a layer a line
    options.json.write_text(lines + "\n", "utf-8")
    print(f"written: {options.json}. The page: python -m docs.gradients.page whole-network")
    return 0


if __name__ == "__main__":
    sys.exit(main())
