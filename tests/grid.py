"""What nn1d makes of the computation that a grid of docs/gradients shows: its arrays and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import nn1d
from tests.loops import adam

Values = dict[str, np.ndarray]
Back = Callable[[np.ndarray], list[np.ndarray]]


def layer_of(kind: str, op: dict[str, Any], inputs: list[np.ndarray]) -> Any:
    """The layer of nn1d that a map of the script stands for, with these weights."""
    if kind in ("conv", "conv_transpose"):
        w, transposed = inputs[1], kind == "conv_transpose"
        taps, channels, outs = w.shape if not transposed else (w.shape[0], w.shape[2], w.shape[1])
        layer: Any = (nn1d.ConvTranspose1d if transposed else nn1d.Conv1d)(
            channels, outs, taps, op["stride"], op["padding"],
            bias=len(inputs) > 2, rng=np.random.default_rng(0), dtype=np.float64,
        )  # fmt: skip
        layer.parameters["weight"] = w.copy()
        if len(inputs) > 2:
            layer.parameters["bias"] = inputs[2].copy()
        return layer
    if kind == "layer_norm":
        layer = nn1d.LayerNorm(inputs[0].shape[1], op["epsilon"], dtype=np.float64)
        layer.parameters["weight"], layer.parameters["bias"] = inputs[1].copy(), inputs[2].copy()
        return layer
    return {
        "elu": lambda: nn1d.ELU(op.get("alpha", 1.0)),
        "leaky_relu": lambda: nn1d.LeakyReLU(op.get("slope", 0.1)),
        "sigmoid": nn1d.Sigmoid,
        "hard_sigmoid": nn1d.HardSigmoid,
        "max_pool": lambda: nn1d.MaxPool1d(op["size"]),
        "unpool": lambda: nn1d.MaxUnpool1d(op["size"]),
        "average_pool": lambda: nn1d.AvgPool1d(op["size"]),
        "dropout": lambda: nn1d.Dropout(op["rate"]),
        "upsample": lambda: nn1d.Upsample1d(op["factor"]),
        "fold": lambda: nn1d.Fold1d(op["size"]),
    }[kind]()


def back_through(layer: Any, cache: Any, dy: np.ndarray) -> list[np.ndarray]:
    dx, grads = layer.backward(dy, cache)
    return [dx, *grads.values()]


def squares(y: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, Back]:
    loss, slope = nn1d.mse(y.reshape(1, -1, 1), target.reshape(1, -1, 1))
    return np.asarray(loss), lambda d: [slope.reshape(y.shape) * d]


def total(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Back]:
    return a + b, lambda d: [d, d]


def times(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Back]:
    return a * b, lambda d: [d * b, d * a]


def neurons(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Back]:
    return x @ w + b, lambda d: [d @ w.T, x.T @ d, d.sum(0)]


def entropy(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, Back]:
    """A target may be spread over classes here: a weighted sum of nn1d's losses."""
    loss, slope = np.zeros(()), np.zeros(x.shape)
    for n, c in np.ndindex(x.shape):
        part, d_row = nn1d.cross_entropy(x[n : n + 1], np.array([c]))
        loss = loss + target[n, c] * part / len(x)
        slope[n] += target[n, c] * d_row[0] / len(x)
    return loss, lambda d: [slope * d]


PLAIN: dict[str, Callable[..., tuple[np.ndarray, Back]]] = {
    "mse": squares, "cross_entropy": entropy, "add": total, "mul": times, "linear": neurons,
}  # fmt: skip


def by_nn1d(spec: dict[str, Any], leaves: Values, dy: np.ndarray | None) -> tuple[Values, Values]:
    """All arrays of a page, and the gradients of those that have one."""
    values = dict(leaves)
    if spec["ops"][-1]["kind"] == "adam":
        return by_adam(spec, values), {}
    if spec["ops"][-1]["kind"] == "sgd":
        return by_sgd(spec, values), {}
    undo: list[Back] = []  # of each map: its dy -> the gradients of what went in
    for op in spec["ops"]:
        kind, out = op["kind"], op["out"][0]
        inputs = [values[name] for name in op["in"]]
        if kind in PLAIN:
            values[out], back = PLAIN[kind](*inputs)
            undo.append(back)
        else:
            layer = layer_of(kind, op, inputs)
            context = [inputs[1].astype(bool)] if kind in ("unpool", "dropout") else []
            values[out], cache = layer.forward(inputs[0], *context)
            if kind == "max_pool":
                values[op["out"][1]] = cache

            undo.append(partial(back_through, layer, cache))
    gradients = {spec["output"]: np.ones(()) if dy is None else dy}
    for op, back in zip(reversed(spec["ops"]), reversed(undo), strict=True):
        for name, gradient in zip(op["in"], back(gradients[op["out"][0]]), strict=False):
            gradients[name] = gradients.get(name, 0) + gradient
    return values, gradients


def by_sgd(spec: dict[str, Any], values: Values) -> Values:
    """The velocity and the place after each step."""
    velocity, last = spec["ops"]
    optimiser = nn1d.SGD(last["rate"], velocity["momentum"])
    p = np.zeros(len(values["g"]))
    v, places = [], []
    for g in values["g"].T:
        optimiser.step(p, g.copy())
        assert optimiser.velocity is not None
        v.append(optimiser.velocity.copy())
        places.append(p.copy())
    return values | {"v": np.array(v).T, "p": np.array(places).T}


def by_adam(spec: dict[str, Any], values: Values) -> Values:
    """The places after each step, by the definition; m and v are what nn1d.Adam holds."""
    settings = spec["ops"][-1]
    optimiser = nn1d.Adam(settings["rate"], settings["beta1"], settings["beta2"], settings["epsilon"])
    p = np.zeros(len(values["g"]))
    rows: dict[str, list[np.ndarray]] = {"m": [], "v": [], "p": []}
    for t, g in enumerate(values["g"].T, 1):
        optimiser.step(p, g.copy())
        expected = adam(
            [0.0] * len(p), values["g"].T[:t].tolist(), rate=settings["rate"], beta1=settings["beta1"],
            beta2=settings["beta2"], epsilon=settings["epsilon"], decay=[0.0] * len(p), decoupled=False,
        )  # fmt: skip
        np.testing.assert_allclose(p, expected, atol=1e-9)
        for name, array in (("m", optimiser.mean), ("v", optimiser.square), ("p", p)):
            assert array is not None
            rows[name].append(array.copy())
    return values | {name: np.array(row).T for name, row in rows.items()}
