"""What docs/gradients/network.py measures, on a small network, and what stands in network.json."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from docs.gradients.chart import stages
from docs.gradients.network import PATH, follow, follow_run, length, main
from models.autoencoder import Autoencoder
from models.objective import objective
from nn1d import named_leaves
from speech.clip import load_clips
from speech.demo import list_recordings
from tests.command import SMALL, train
from training.seed import generator

STORED = json.loads(PATH.read_text("utf-8"))


def check_chain(walk: dict[str, Any], depth: int, tolerance: float) -> None:
    """Each layer's dx is the dy of the next, a block adds its two ways, and a pool keeps every number."""
    way = [note for note in walk["layers"] if not note["name"].endswith(".body")]
    bodies = {note["name"]: note for note in walk["layers"] if note["name"].endswith(".body")}
    assert way[0]["name"] == "decoder.output"
    assert way[0]["dy"] == pytest.approx(walk["dy"], rel=tolerance)
    for before, after in pairwise(way):
        assert after["dy"] == pytest.approx(before["dx"], rel=tolerance), after["name"]
    assert len(bodies) == 2 * depth
    for note in way:
        if note["name"].endswith(".residual"):
            body = bodies[note["name"] + ".body"]
            assert body["dy"] == pytest.approx(note["dy"], rel=tolerance)
            assert body["sum"] == pytest.approx(note["dx"], rel=tolerance)
            # the law of cosines ties the two ways to their sum
            squares = body["dy"] ** 2 + body["dx"] ** 2 + 2 * body["cosine"] * body["dy"] * body["dx"]
            assert body["sum"] ** 2 == pytest.approx(squares, rel=10 * tolerance)
        if note["name"] == "encoder.pool":
            assert note["dx"] == pytest.approx(note["dy"], rel=tolerance)
        if note["name"] == "decoder.unpool":
            assert note["dx"] < note["dy"]
    assert len(set(stages([note["name"] for note in way]))) == 2 * depth


def test_a_small_network_is_followed_to_its_first_filter() -> None:
    def network() -> Autoencoder:
        return Autoencoder((3, 4, 5), rng=np.random.default_rng(1), dtype=np.float64)

    x = np.random.default_rng(0).uniform(0, 1, (2, 32, 1))
    walk = follow(network(), x)
    check_chain(walk, 3, 1e-12)

    # the same without anybody watching
    plain = network()
    trace, cache = plain.forward(x)
    loss, d_trace = objective(trace, x)
    dx, grads = plain.backward(d_trace, cache)
    assert walk["loss"] == pytest.approx(float(loss.total), rel=1e-12)
    assert walk["layers"][-1]["dx"] == pytest.approx(length(dx), rel=1e-12)
    assert list(walk["weights"]) == [name for name, _ in named_leaves(grads)]
    for name, leaf in named_leaves(grads):
        assert walk["weights"][name]["length"] == pytest.approx(np.linalg.norm(leaf.ravel()), rel=1e-12)
        assert walk["weights"][name]["shape"] == str(leaf.shape)


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_file_is_of_the_whole_network(when: str) -> None:
    walk = STORED[when]
    check_chain(walk, 5, 1e-4)
    assert len(walk["weights"]) == 60
    # the gradient of a mean of squares is as long as its value says
    assert walk["dy"] == pytest.approx(2 * (walk["loss"] / 64_000) ** 0.5, rel=1e-4)
    assert STORED["after"]["loss"] < STORED["before"]["loss"] / 5


def test_the_walk_before_training_is_what_the_code_gives_today() -> None:
    """The full network with its first weights, and the clip made anew: what needs no training can be measured again.

    To 5 %: in silence all samples of a window are equal, and the rounding of BLAS decides which is the maximum; kernels
    of two processors differ by 1.7 % at most.
    """
    number = int(STORED["clip"].rsplit("-", 1)[1])
    clips, _ = load_clips([list_recordings(number + 1)[number]])
    network = Autoencoder(rng=generator(0, "weights"), residual_gain=0.1, dtype=np.float64)
    walk = follow(network, clips.samples[:, :, None].astype(np.float64))
    assert walk["loss"] == pytest.approx(STORED["before"]["loss"], rel=1e-3)
    for now, then in zip(walk["layers"], STORED["before"]["layers"], strict=True):
        assert (now["name"], now["shape"]) == (then["name"], then["shape"])
        assert now["dx"] == pytest.approx(then["dx"], rel=0.05), now["name"]


def test_the_page_has_the_numbers_of_the_file() -> None:
    page = (PATH.parent / "whole-network.md").read_text("utf-8")
    rows = re.findall(
        r"^\| ((?:en|de)coder) (\d): (\w+) \| (\(.*?\)) \| (\S+) \| (\S+) \| (\S+) \|$", page, re.MULTILINE
    )
    way = [note for note in STORED["after"]["layers"] if not note["name"].endswith(".body")]
    assert len(rows) == len(way)
    for (*_, layer, shape, dx, share, _), note in zip(rows, way, strict=True):
        assert (layer, shape) == (note["name"].split(".")[-1], note["shape"])
        assert float(dx) == pytest.approx(note["dx"], rel=0.01)
        assert float(share) == pytest.approx(note["dx"] / note["dy"], abs=0.0051)
    assert f"Its loss is {STORED['before']['loss']:.5f} before training and {STORED['after']['loss']:.5f} after" in page


def test_a_run_on_the_demo_corpus_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    train("--db", "demo", "--limit", "6", *SMALL, "--out", run)
    assert main([str(run), "--json", str(tmp_path / "found.json")]) == 0
    written = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert written == follow_run(run)
    for when in ("before", "after"):
        check_chain(written[when], 2, 1e-4)
    assert written["clip"] == json.loads((run / "config.json").read_text("utf-8"))["split"]["test"][0]
    assert written["before"]["loss"] != written["after"]["loss"]
    assert capsys.readouterr().out.startswith("written: ")


def test_a_folder_without_a_run_is_refused_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.startswith("docs.gradients.network: ")) == ("", True)
    assert len(said.err.splitlines()) == 1
