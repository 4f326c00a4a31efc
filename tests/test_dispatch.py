"""The one place that decides where a function of arrays is computed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from models.autoencoder import Autoencoder
from nn1d import ELU, Conv1d, ResidualBlock, Sequential, named_layers, named_leaves
from nn1d.dispatch import FORMS, accelerated, register


def test_numpy_alone_imports_nothing_of_a_gpu() -> None:
    code = """
import sys
import numpy as np
from nn1d import Adam, MaxPool1d, ResidualBlock, find_device, flatten, mse
block = ResidualBlock(2, 3, rng=np.random.default_rng(0))
x = np.ones((1, 8, 2), np.float32)
y, cache = block.forward(x)
_, grads = block.backward(mse(y, x)[1], cache)
Adam().step(flatten(block.parameters), flatten(grads))
MaxPool1d(2).forward(x)
find_device("cpu")
print(sorted(name for name in sys.modules if name.startswith(("nn1d.cuda", "cupy"))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_last_form_that_fits_is_taken() -> None:
    with patch.dict(FORMS):

        @accelerated
        def scaled(x: np.ndarray, factor: int) -> Any:
            return "plain", factor

        x = np.ones(3)
        assert scaled(x, 2) == ("plain", 2)
        register("scaled")(lambda x, factor: ("first", factor))
        register("scaled")(lambda x, factor: ("second", factor) if factor > 2 else NotImplemented)
        register("another")(lambda x, factor: "of another function")
        assert scaled(x, 2) == ("first", 2)
        assert scaled(x, factor=3) == ("second", 3)


@pytest.mark.parametrize(("half", "computed", "returned"), [
    ("kept", np.float16, np.float16), ("rounded", np.float32, np.float16), ("widened", np.float32, np.float32),
])  # fmt: skip
def test_float16_that_no_form_takes(half: str, computed: type, returned: type) -> None:
    with patch.dict(FORMS):
        seen = []

        @accelerated(half=half)
        def doubled(x: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
            seen.append((x.dtype, mask.dtype, name))
            return 2 * x

        x, mask = np.ones(3, np.float16), np.ones(3, bool)
        assert doubled(x, mask, "a").dtype == returned
        assert seen == [(computed, bool, "a")]
        assert doubled(x.astype(np.float64), mask, "a").dtype == np.float64
        register("doubled")(lambda x, mask, name: x if x.dtype == np.float16 else NotImplemented)
        assert doubled(x, mask, "a") is x  # a form that takes float16 has it as it is


def test_layers_have_the_names_of_their_parameters() -> None:
    rng = np.random.default_rng(0)
    first = Conv1d(1, 2, 3, 1, 1, rng=rng)
    network = Sequential(first, ELU(), residual=ResidualBlock(2, rng=rng))
    names = dict(named_layers(network, "stage"))
    assert list(names) == [
        *("stage.0", "stage.1"),
        *(f"stage.residual.body.{i}" for i in range(4)),
    ]
    assert names["stage.0"] is first
    parts: list[Any] = [network, Autoencoder((2, 3), rng=rng)]
    for part in parts:
        leaves = {
            f"{name}.{path}": leaf
            for name, layer in named_layers(part)
            for path, leaf in named_leaves(layer.parameters)
        }
        expected = dict(named_leaves(part.parameters))
        assert list(leaves) == list(expected)
        assert all(leaves[name] is leaf for name, leaf in expected.items())
