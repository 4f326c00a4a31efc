"""What a layer is, and the trees of named arrays that parameters and gradients are.

A tree is an array, or a dictionary, list or named tuple of trees. The gradient of a tree is a tree of the same form.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, Protocol, cast

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


def require_array(owner: object, x: object, name: str = "x", dtype: str = "np.float32") -> None:
    """Raise ShapeError unless x is an array of NumPy or CuPy; a list would become one of dtype."""
    if isinstance(x, np.ma.MaskedArray):  # a layer would compute with what is masked
        who = owner if isinstance(owner, str) else repr(owner)
        raise ShapeError(f"{who}: {name} is a masked array. Choose what stands in the masked places: {name}.filled(0)")
    if isinstance(x, np.matrix):  # whose * is another product
        who = owner if isinstance(owner, str) else repr(owner)
        raise ShapeError(f"{who}: {name} is an np.matrix. Convert it: np.asarray({name})")
    if isinstance(x, (np.ndarray, np.generic)) or array_module(cast(Array, x)) is not np:
        return
    kind = f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
    word = name.removeprefix("the ")
    if hasattr(x, "parameters") and hasattr(x, "forward"):
        raise ShapeError(f"{owner}: {name} must be arrays by name; got the layer {x!r}. Hand over {word}.parameters")
    cure = f"{word}.detach().cpu().numpy()" if kind.startswith("torch.") else f"np.asarray({word}, {dtype})"
    owner = owner if isinstance(owner, str) else repr(owner)
    raise ShapeError(f"{owner}: {name} must be an array of NumPy or CuPy; got {kind}. Convert it: {cure}")


def require_size(layer: str, name: str, value: object, least: int = 1) -> int:
    """The value as an int; raise ShapeError unless it is an integer, of Python or NumPy, that is large enough."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        needed = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ShapeError(f"{layer}: {name} must be {needed}; got {value!r}")
    return int(value)


def require_number(layer: str, name: str, value: object) -> float:
    """The value as a float; raise ShapeError unless it is a finite number, of Python or NumPy."""
    if (
        not isinstance(value, (int, float, np.integer, np.floating))
        or isinstance(value, bool)
        or not -math.inf < value < math.inf
    ):
        raise ShapeError(f"{layer}: {name} must be a finite number; got {value!r}")
    return float(value)


def generator(layer: str, rng: np.random.Generator | int) -> np.random.Generator:
    """The generator itself, or a new one of an integer seed; nothing else would draw the same weights again."""
    if isinstance(rng, np.random.Generator):
        return rng
    if not isinstance(rng, (int, np.integer)) or rng < 0:
        raise ShapeError(
            f"{layer}: rng must be a numpy.random.Generator or a seed of at least 0; got {rng!r}. "
            "Make one: np.random.default_rng(0)"
        )
    return np.random.default_rng(int(rng))


def drawn(layer: str, initial: Any, rng: np.random.Generator | int, shape: tuple[int, int, int]) -> np.ndarray:
    """Initial weights of this shape; raise ShapeError unless `initial` is a function that draws them."""
    cure = "Take one of nn1d.initial: initial=nn1d.initial.he_normal"
    require(callable(initial), f"{layer}: initial must be a function (rng, shape) -> array; got {initial!r}. {cure}")
    weight = initial(generator(layer, rng), shape)
    form = getattr(weight, "shape", type(weight).__name__)
    require(form == shape, f"{layer}: initial must draw an array {shape}; got {form}. {cure}")
    return cast(np.ndarray, weight)


def require_dtype(layer: str, dtype: Any) -> None:
    """Raise ShapeError unless parameters of this type can be trained: float32, or float64."""
    with suppress(TypeError):
        if dtype is not None and np.dtype(dtype) in (np.float32, np.float64):
            return
    raise ShapeError(f"{layer}: dtype must be float32 or float64; got {getattr(dtype, '__name__', repr(dtype))}")


def require_floats(layer: object, x: Array, name: str = "x") -> None:
    """Raise ShapeError unless x is an array of floats: a layer computes in the numbers that it is given."""
    require_array(layer, x, name)
    require(x.ndim > 0, f"{layer!r}: {name} must have an axis; got a single number. Wrap it: {name}[None]")
    if x.dtype.kind != "f" or x.dtype.itemsize > 8:  # the extended double has no integers of its size
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
    """Raise ShapeError unless dy has the shape and dtype, or None for any float, of the output of forward."""
    require_array(layer, dy, "dy")
    if dy.shape != shape or (dy.dtype.kind != "f" if dtype is None else dy.dtype != dtype):
        dtype = dtype or (dy.dtype if dy.dtype.kind == "f" else "floats")
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
    that several layers hold has one place in the vector and one view, under the first of its names. Copied or pickled
    together with the layers, the copy is the vector of the copied layers.

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

    Raises
    ------
    ShapeError
        The parameters are not of one dtype, one is no array, or two that are not the same array have memory in common.
    """

    def __init__(self, tree: dict[str, Tree], module: ModuleType = np) -> None:
        require(
            isinstance(tree, dict),
            f"FlatParameters: needs arrays by name, such as network.parameters; got {type(tree).__name__}",
        )
        self._first = first_names(tree)
        leaves = named_parameters(tree)
        _require_one_dtype(leaves)
        require_apart("FlatParameters", leaves)
        self.vector: Array = module.asarray(flatten(leaves))
        self.views: dict[str, Array] = {}
        self._shapes = {name: leaf.shape for name, leaf in leaves.items()}
        self._places = list(_places(tree, ""))
        self._point()

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy: layers that were copied with this vector are pointed at views of the new one."""
        vars(self).update(state)
        self._point()

    def _point(self) -> None:
        start = 0
        for name, shape in self._shapes.items():
            self.views[name] = self.vector[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        for innermost, name, path in self._places:
            innermost[name] = self.views[self._first[path]]


def _places(tree: Tree, prefix: str) -> Iterator[tuple[Any, Any, str]]:
    """Of each leaf of nested dictionaries and lists: the innermost one, the key in it, and the dotted name."""
    for name, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(child, (dict, list)):
            yield from _places(child, path)
        else:
            yield tree, name, path


def _require_one_dtype(leaves: Mapping[str, Array]) -> None:
    first: dict[Any, str] = {}
    for name, leaf in leaves.items():
        require_array("FlatParameters", leaf, name)
        first.setdefault(leaf.dtype, name)
    listed = " and ".join(f"{dtype} ({name})" for dtype, name in first.items())
    require(
        len(first) < 2,
        f"FlatParameters: all parameters must have one dtype; got {listed}. Build every layer with the same dtype",
    )


def require_apart(owner: str, leaves: Mapping[str, Array]) -> None:
    """Raise ShapeError if two arrays that are not one have memory in common: are they one parameter or two?"""
    for (one, a), (other, b) in itertools.combinations(leaves.items(), 2):
        require(
            array_module(a) is not np or not np.may_share_memory(a, b) or not np.shares_memory(a, b),
            f"{owner}: {one} and {other} are different arrays over one memory. To share a parameter let both layers "
            "hold the same array; to have two, copy one",
        )


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
    for run in _neighbours(leaves):
        vector[start : start + run.size] = run
        start += run.size
    return vector


def _neighbours(vectors: list[Any]) -> list[Any]:
    """Vectors of CuPy that follow each other in one piece of memory as one: a copy of all is one launch.

    So lie the gradients of filters and bias that a kernel gives.
    """
    runs: list[Any] = []
    for vector in vectors:
        last = runs[-1] if runs else None
        if (
            last is not None
            and last.data.mem is vector.data.mem
            and last.data.ptr + last.nbytes == vector.data.ptr
            and last.dtype == vector.dtype
        ):
            runs[-1] = array_module(vector).ndarray(last.size + vector.size, last.dtype, last.data)
        else:
            runs.append(vector)
    return runs
