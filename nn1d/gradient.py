"""A gradient checker for layers of your own.

Move the input or a parameter p a small way ε along a random direction v. With a random gradient dy of the output,

    (⟨dy, f(p + ε·v)⟩ - ⟨dy, f(p - ε·v)⟩) / 2ε  =  ⟨dp, v⟩  +  O(ε²)

where dp is what backward returned. dy has to be random: with dy = 1 every permutation of the outputs goes unseen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn1d.backend import Array, array_module, to_numpy
from nn1d.layer import (
    ShapeError,
    Tree,
    add_shared,
    first_names,
    generator,
    map_leaves,
    named_leaves,
    named_parameters,
    require,
    require_apart,
    require_array,
    require_number,
)


class Slope(NamedTuple):
    """One line of a report: the slope by backward, the same by differences, and how far apart they are."""

    name: str
    analytic: float
    numeric: float
    relative_error: float


@dataclass(frozen=True)
class GradientReport:
    """What check_gradients found.

    Attributes
    ----------
    layer : str
    slopes : list of Slope
        The input, each parameter by dotted name, and "all at once".
    faults : list of str
        Broken promises of the layer protocol, such as an argument written to.
    tolerance : float
        The relative error that a slope may have.
    seconds : float
    """

    layer: str
    slopes: list[Slope]
    faults: list[str]
    tolerance: float
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every slope is within the tolerance and no promise was broken."""
        return not self.faults and all(slope.relative_error <= self.tolerance for slope in self.slopes)

    def __str__(self) -> str:
        """A table, a slope a line."""
        lines = [f"{self.layer}: {'ok' if self.ok else 'FAILED'} (tolerance {self.tolerance:g}, {self.seconds:.2f} s)"]
        for slope in self.slopes:
            mark = " " if slope.relative_error <= self.tolerance else "*"
            lines.append(
                f"{mark} {slope.name:<40} backward {slope.analytic:+.9e}   differences {slope.numeric:+.9e}"
                f"   relative error {slope.relative_error:.1e}"
            )
        return "\n".join(lines + [f"* {fault}" for fault in self.faults])


class GradientError(AssertionError):
    """A gradient is wrong; the message is the report, and `report` holds it."""

    def __init__(self, report: GradientReport) -> None:
        super().__init__(str(report))
        self.report = report


def check_gradients(
    layer: Any,
    x: Array,
    *context: Any,
    rng: np.random.Generator | int,
    epsilon: float = 3e-6,
    tolerance: float = 1e-6,
    name: str | None = None,
) -> GradientReport:
    """Compare a layer's backward with differences of its forward, along random directions.

    Parameters
    ----------
    layer : Layer
        Anything with parameters, forward(x, *context) -> (y, cache) and backward(dy, cache) -> (dx, grads). y may be a
        tree of arrays; then dy is a tree of the same form.
    x : float64 array or tree of them
    *context
        Further arguments of forward, such as the mask of an unpool. No gradient is checked for them.
    rng : numpy.random.Generator or int
        Where dy and the directions are drawn from, or a seed. Not a new generator with the seed that x was drawn with:
        dy would be x, and a backward that looks at one instead of the other goes unseen.
    epsilon : float
        ε, along a direction of length 1. Kinks (a max pool has them where two samples tie) must be further away.
    tolerance : float
        The largest relative error |a - b| / max(|a|, |b|, |gradient|) of two slopes that is accepted. The slope along a
        random direction is as large as the gradient is long, unless it happens to be near 0; then the difference
        quotient has few digits and the length is what they are judged by.
    name : str
        What the report calls the layer; repr(layer) unless given.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        A slope is wrong, or a promise of the protocol is broken: backward must not write into its arguments, forward
        must not change the layer, and must give finite numbers as precise as x; gradients must have the form, shapes
        and dtype of what they are gradients of.
    ShapeError
        x or a parameter is not float64, since differences need the digits; or is empty, read-only or not finite. Two
        parameters that are not the same array have memory in common. What is checked is no layer, or epsilon or
        tolerance is not positive.

    Source
    ------
    Griewank and Walther 2008, "Evaluating derivatives", section 3.2; the random direction as in Chainer's checker.

    Examples
    --------
    >>> import numpy as np
    >>> from nn1d import Conv1d, check_gradients
    >>> rng = np.random.default_rng(0)
    >>> layer = Conv1d(2, 3, kernel_size=3, padding=1, rng=rng, dtype=np.float64)
    >>> check_gradients(layer, rng.standard_normal((2, 10, 2)), rng=rng).ok
    True
    """
    started = time.perf_counter()
    _require_layer(layer)
    for setting, value in (("epsilon", epsilon), ("tolerance", tolerance)):
        require_number("check_gradients", setting, value)
        require(value > 0, f"check_gradients: {setting} must be positive; got {value!r}")
    title = name or repr(layer)
    leaves = {"input": x} if hasattr(x, "dtype") else {f"input.{path}": leaf for path, leaf in named_leaves(x)}
    first = first_names(layer.parameters)  # a parameter that layers share moves under all its names at once
    leaves |= named_parameters(layer.parameters)
    # a seed is likely that of x as well: another stream, or dy would be x
    rng = rng if isinstance(rng, np.random.Generator) else generator("check_gradients", rng).spawn(1)[0]
    for path, leaf in leaves.items():
        _require_movable(leaf, path, title)
    require_apart("check_gradients", leaves)
    arguments = {"input": x, "parameters": layer.parameters}
    before = map_leaves(lambda leaf: leaf.copy(), arguments)
    answer = layer.forward(x, *context)
    faults = _faults_of_answer(answer)
    if faults:
        raise GradientError(GradientReport(title, [], faults, tolerance, time.perf_counter() - started))
    y, cache = answer
    dy = map_leaves(lambda leaf: _random_like(leaf, rng), y)
    answers = {"output": y, "dy": dy}
    kept = map_leaves(lambda leaf: leaf.copy(), answers)
    faults += _differences(arguments, before, "forward changed {}")
    returned = layer.backward(dy, cache)
    faults += _differences(arguments, before, "backward changed {}")
    faults += _differences(answers, kept, "backward changed {}")
    if isinstance(returned, (tuple, list)) and len(returned) == 2:
        dx, grads = returned
    else:
        dx, grads = x, layer.parameters  # of the right form: one fault is enough
        faults.append(f"backward must return dx and the gradients of the parameters; got {_count(returned)}")

    slopes: list[Slope] = []
    gradients = {"input": dx} if hasattr(x, "dtype") else {f"input.{path}": leaf for path, leaf in named_leaves(dx)}
    partial = dict(named_leaves(grads))
    expected = [path for path in leaves if path not in first] + list(first)
    faults += [f"backward returned no gradient for {path}" for path in expected if path not in {**gradients, **partial}]
    gradients |= add_shared(partial, first)
    faults += [
        f"backward returned a gradient for {path}, which is no parameter" for path in gradients if path not in leaves
    ]
    faults += [
        f"the gradient of {path} is {_form(gradients[path])}, not {_form(leaf)}"
        for path, leaf in leaves.items()
        if path in gradients and _form(gradients[path]) != _form(leaf)
    ]
    if not faults:
        directions = {path: _random_like(leaf, rng) for path, leaf in leaves.items()}

        def output_along(paths: list[str], distance: float) -> Tree:
            length = sum(_dot(directions[path], directions[path]) for path in paths) ** 0.5
            saved = {path: leaves[path].copy() for path in paths}
            try:
                for path in paths:
                    leaves[path] += distance / length * directions[path]
                moved, _ = layer.forward(x, *context)
                return map_leaves(lambda leaf: leaf * length, moved)  # a copy: moved may be a view of x
            finally:
                for path in paths:
                    leaves[path][...] = saved[path]

        for title_of_row, paths in [*((path, [path]) for path in leaves), ("all at once", list(leaves))]:
            above, below = output_along(paths, epsilon), output_along(paths, -epsilon)
            numeric = _slope(dy, above, below) / (2 * epsilon)
            analytic = sum(_dot(gradients[path], directions[path]) for path in paths)
            size = sum(_dot(gradients[path], gradients[path]) for path in paths) ** 0.5
            slopes.append(Slope(title_of_row, analytic, numeric, _relative_error(analytic, numeric, size)))

    report = GradientReport(title, slopes, faults, tolerance, time.perf_counter() - started)
    if not report.ok:
        raise GradientError(report)
    return report


def _require_layer(layer: Any) -> None:
    needs = "check_gradients: needs a layer, with parameters, forward and backward; got"
    if isinstance(layer, type):
        raise ShapeError(f"{needs} the class {layer.__name__}. Make one: {layer.__name__}(...)")
    for part in ("parameters", "forward", "backward"):
        require(hasattr(layer, part), f"{needs} {type(layer).__name__}, which has no {part}")


def _require_movable(leaf: Any, path: str, title: str) -> None:
    """Raise ShapeError unless the input or a parameter can be moved a small way, in place."""
    word = "x" if path == "input" else path
    require_array("check_gradients", leaf, word, "np.float64")
    who, xp = f"check_gradients: {path} of {title}", array_module(leaf)
    cure = f"Convert it: {word}.astype(np.float64)" if path.startswith("input") else "Pass dtype=np.float64"
    require(leaf.dtype == np.float64, f"{who} must be float64; got {leaf.dtype}. {cure}")
    require(leaf.size > 0, f"{who} has no numbers to move; got {leaf.shape}")
    require(
        xp is not np or leaf.flags.writeable,
        f"{who} is read-only or a number by itself, and is moved in place. Copy it: np.array({word})",
    )
    require(bool(xp.isfinite(leaf).all()), f"{who} has NaN or infinity")


def _faults_of_answer(answer: Any) -> list[str]:
    """What keeps the answer of forward from being compared with another."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return [f"forward must return y and what backward needs; got {_count(answer)}"]
    outputs = dict(named_leaves({"output": answer[0]}))
    faults = [
        f"{path} is {_form(leaf)}, and must be an array. Wrap it: np.array([y])"
        for path, leaf in outputs.items()
        if not hasattr(leaf, "dtype")
    ]
    if faults:
        return faults
    for path, leaf in outputs.items():
        if leaf.dtype.kind == "f" and leaf.dtype.itemsize < 8:
            faults.append(f"{path} is {leaf.dtype} where x is float64")
        elif leaf.dtype.kind == "f" and not array_module(leaf).isfinite(leaf).all():
            faults.append(f"{path} has NaN or infinity")
    return faults


def _count(returned: Any) -> str:
    kind = type(returned).__name__
    return f"a {kind} of {len(returned)}" if isinstance(returned, (tuple, list)) else f"one {kind}"


def _form(leaf: Any) -> str:
    return f"{leaf.dtype} {leaf.shape}" if hasattr(leaf, "shape") else type(leaf).__name__


def _random_like(leaf: Array, rng: np.random.Generator) -> Array:
    return array_module(leaf).asarray(rng.standard_normal(leaf.shape).astype(leaf.dtype))


def _dot(a: Array, b: Array) -> float:
    return float(to_numpy((a * b).sum()))


def _slope(dy: Tree, above: Tree, below: Tree) -> float:
    # outputs are subtracted before they are summed: the other way round, the sum's rounding is all that is left
    leaves = zip(named_leaves(dy), named_leaves(above), named_leaves(below), strict=True)
    return sum(_dot(d, a - b) for (_, d), (_, a), (_, b) in leaves)


def _relative_error(a: float, b: float, size: float) -> float:
    if not (np.isfinite(a) and np.isfinite(b)):
        return float("inf")
    return abs(a - b) / max(abs(a), abs(b), size, 1e-300)


def _differences(tree: Tree, copy: Tree, sentence: str) -> list[str]:
    pairs = zip(named_leaves(tree), named_leaves(copy), strict=True)
    return [sentence.format(path) for (path, now), (_, then) in pairs if bool((now != then).any())]
