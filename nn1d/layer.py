"""What a layer is, and the trees of named arrays that parameters and gradients are.

A tree is an array, or a dictionary, list or named tuple of trees. The gradient of a tree is a tree of the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from nn1d.backend import Array, array_module

Tree = Any


class ShapeError(ValueError):
    """An array or a size does not fit; the message names the layer, what it needs, what it got, and the cure."""


class Layer(Protocol):
    """Two pure functions and the parameters that they read.

    forward changes nothing: not the layer, not x. backward returns the gradient of the input and a tree of the form
    of `parameters`, and changes nothing either.
    """

    @property
    def parameters(self) -> dict[str, Tree]:
        """Arrays by name, nested as the layer is."""

    def forward(self, x: Array) -> tuple[Array, Any]:
        """The output, and the least that backward needs."""

    def backward(self, dy: Array, cache: Any) -> tuple[Array, dict[str, Tree]]:
        """Gradients of the input and of the parameters, given the gradient of the output."""


def require(condition: bool, message: str) -> None:
    """Raise ShapeError with the message unless the condition holds."""
    if not condition:
        raise ShapeError(message)


def require_floats(layer: object, x: Array, name: str = "x") -> None:
    """Raise ShapeError unless x is an array of floats: a layer computes in the numbers that it is given."""
    require(x.ndim > 0, f"{layer!r}: {name} must have an axis; got a single number. Wrap it: {name}[None]")
    if x.dtype.kind != "f":
        raise ShapeError(
            f"{layer!r}: {name} must hold floats, such as float32; got {x.dtype}. Convert it: {name}.astype(np.float32)"
        )


def require_signal(layer: object, x: Array, channels: int | None = None, name: str = "x") -> None:
    """Raise ShapeError unless x is (N, L, channels) of floats; None accepts any number of channels."""
    require_floats(layer, x, name)
    if x.ndim == 3 and channels in (None, x.shape[2]):
        return
    cure = ""
    if x.ndim == 3 and x.shape[1] == channels:
        cure = f". Channels come last: {name}.swapaxes(1, 2)"
    elif x.ndim == 2:
        cure = f". One clip of one channel: {name}[None, :, None]"
    raise ShapeError(f"{layer!r}: {name} must be (N, L, {'C' if channels is None else channels}); got {x.shape}{cure}")


def require_like(layer: object, dy: Array, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise ShapeError unless dy has the shape and dtype of the output that it is the gradient of."""
    if dy.shape != shape or dy.dtype != dtype:
        raise ShapeError(f"{layer!r}: dy must be like y, {dtype} {shape}; got {dy.dtype} {dy.shape}")


def named_layers(layer: Layer, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """Walk a network: (dotted name, layer) for each layer that holds no others, under the names of its parameters.

    What holds others has them by name in `layers`. A prefix comes before every name, with a dot between.
    """
    children: dict[str, Layer] | None = getattr(layer, "layers", None)
    if children is None:
        yield prefix, layer
        return
    for name, child in children.items():
        yield from named_layers(child, f"{prefix}.{name}" if prefix else name)


def parameters_of(layers: dict[str, Layer]) -> dict[str, Tree]:
    """The parameters of each layer that has any, by its name."""
    return {name: layer.parameters for name, layer in layers.items() if layer.parameters}


def named_leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """Walk a tree: (dotted name, array) in a fixed order; None is a tree without leaves.

    A prefix comes before every name, with a dot between.
    """
    if tree is None:
        return
    if isinstance(tree, dict):
        children: Any = tree.items()
    elif isinstance(tree, tuple) and hasattr(tree, "_fields"):
        children = zip(tree._fields, tree, strict=True)
    elif isinstance(tree, (list, tuple)):
        children = enumerate(tree)
    else:
        yield prefix, tree
        return
    for name, child in children:
        yield from named_leaves(child, f"{prefix}.{name}" if prefix else str(name))


def map_leaves(function: Callable[[Array], Any], tree: Tree) -> Tree:
    """A tree of the same form with function applied to each array."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: map_leaves(function, child) for name, child in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_leaves(function, child) for child in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_leaves(function, child) for child in tree)
    return function(tree)


def first_names(tree: Tree) -> dict[str, str]:
    """Dotted name -> the first name of the same array: its own, unless layers share the array.

    A layer shares a parameter with another by holding the same array object. What is one array is one parameter: it is
    stored once, moves once a step, and the gradients that backward returns under its names add.
    """
    first: dict[int, str] = {}
    return {name: first.setdefault(id(leaf), name) for name, leaf in named_leaves(tree)}


def named_parameters(tree: Tree) -> dict[str, Array]:
    """The parameters of a tree, each once, under its first name."""
    first = first_names(tree)
    return {name: leaf for name, leaf in named_leaves(tree) if first[name] == name}


def add_shared(gradients: Mapping[str, Array], first: Mapping[str, str]) -> dict[str, Array]:
    """Gradients by dotted name, each parameter's once, under its first name: the sum over all its names."""
    total: dict[str, Array] = {}
    for name, gradient in gradients.items():
        known = first.get(name, name)
        total[known] = total[known] + gradient if known in total else gradient
    return total


class FlatParameters:
    """All parameters of a model in one vector, with a named view for each.

    The layers keep working: their dictionaries are pointed at the views, so an update of the vector in place is an
    update of every layer. Then Adam is its formula on one array, and a checkpoint is a dictionary of views. An array
    that several layers hold has one place in the vector and one view, under the first of its names.

    Parameters
    ----------
    tree : dict
        `model.parameters`; its innermost dictionaries are changed to hold views. A model is flattened once: a second
        vector would take the layers away from the first.
    module : numpy or cupy
        Where the vector lives, and so where the model computes.

    Attributes
    ----------
    vector : (P,) array
        Every parameter, in the order of the tree.
    views : dict
        Dotted name -> view into the vector, such as encoder.0.convolution.weight.
    """

    def __init__(self, tree: dict[str, Tree], module: ModuleType = np) -> None:
        self._first = first_names(tree)
        leaves = named_parameters(tree)
        self.vector = module.asarray(flatten(leaves))
        self.views: dict[str, Array] = {}
        start = 0
        for name, leaf in leaves.items():
            self.views[name] = self.vector[start : start + leaf.size].reshape(leaf.shape)
            start += leaf.size
        self._point(tree, "")

    def flatten(self, gradients: Tree, part: str = "") -> Array:
        """What backward returned, as one new vector; the gradients of a shared parameter add.

        Parameters
        ----------
        gradients : tree
            Like `model.parameters`, or like the part of it under the dotted name `part`.

        Shapes
        ------
        (P,), or as many as first named in that part: what it shares with one before it is left out
        """
        total = add_shared(dict(named_leaves(gradients, part)), self._first)
        inside = f"{part}." if part else ""
        return flatten({name: gradient for name, gradient in total.items() if name.startswith(inside)})

    def _point(self, tree: Tree, prefix: str) -> None:
        for name, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
            path = f"{prefix}.{name}" if prefix else str(name)
            if isinstance(child, (dict, list)):
                self._point(child, path)
            else:
                tree[name] = self.views[self._first[path]]


def flatten(tree: Tree) -> Array:
    """Every array of a tree, in order, in one new vector.

    Shapes
    ------
    tree of P numbers in all -> (P,)
    """
    leaves = [leaf.reshape(-1) for _, leaf in named_leaves(tree)]
    if not leaves or array_module(leaves[0]) is np:
        return np.concatenate(leaves) if leaves else np.zeros(0, np.float32)
    # CuPy would join many by a table of addresses sent from the host, which a CUDA graph must not hold
    vector = array_module(leaves[0]).empty(sum(leaf.size for leaf in leaves), leaves[0].dtype)
    start = 0
    for leaf in leaves:
        vector[start : start + leaf.size] = leaf
        start += leaf.size
    return vector
