"""What optimisers share: the one array of parameters whose running sums they hold, and what they refuse."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from nn1d.backend import Array, array_module
from nn1d.layer import FlatParameters, ShapeError, require, require_array


class Stepped:
    """The one array of parameters that an optimiser steps, by whichever view.

    A copy of it has none yet: a copied optimiser steps the copy of the array.
    """

    def __init__(self, optimizer: str) -> None:
        self.optimizer = optimizer
        self._last: weakref.ref[Any] | None = None  # the array of the last step
        self._home: _Home | None = None

    def __getstate__(self) -> dict[str, Any]:
        """All but which array it was: a weak reference cannot be copied."""
        return {"optimizer": self.optimizer, "_last": None, "_home": None}

    def check(self, parameters: Array, gradient: Array, moment: Array | None) -> None:
        """Raise ShapeError unless the gradient fits, and the parameters are those that the moment belongs to."""
        if self._last is None or self._last() is not parameters:
            self._take(parameters, moment)
        self._require_array(gradient, "gradient", "Flatten it: flatten(gradient)")
        require(
            gradient.dtype.kind == "f",
            f"{self.optimizer}: the gradient must be floats, such as float32; got {gradient.dtype}. Convert it: "
            "gradient.astype(np.float32)",
        )
        require(
            parameters.shape == gradient.shape,
            f"{self.optimizer}: the gradient must have the shape of the parameters, {parameters.shape}; got "
            f"{gradient.shape}",
        )

    def _take(self, parameters: Array, moment: Array | None) -> None:
        """Let the moment belong to this array; not if it has another shape, or its own array is still there."""
        cure = "Flatten them once: weights = FlatParameters(network.parameters), and hand over weights.vector"
        self._require_array(parameters, "parameters", cure)
        require(
            parameters.dtype.kind == "f",
            f"{self.optimizer}: the parameters must be floats, such as float32; got {parameters.dtype}. Convert them: "
            "parameters.astype(np.float32)",
        )
        require(
            array_module(parameters) is not np or parameters.flags.writeable,
            f"{self.optimizer}: the parameters are read-only, and a step moves them in place. Copy them: "
            "parameters.copy()",
        )
        home = _Home(parameters)
        if (self._home is not None and self._home.remains_beside(home)) or (
            moment is not None and moment.shape != parameters.shape
        ):
            name = self.optimizer
            raise ShapeError(
                f"{name}: these parameters are not the array that was stepped before, whose moments this {name} holds. "
                f"Make one {name} for each array, or join them: FlatParameters(layer.parameters).vector"
            )
        self._last, self._home = weakref.ref(parameters), home

    def _require_array(self, array: Any, name: str, cure: str) -> None:
        """Raise ShapeError unless it is one array: a tree, or what holds one, is a vector after the cure."""
        is_tree = isinstance(array, (dict, list, tuple, FlatParameters)) or hasattr(array, "forward")
        kind = type(array).__name__
        require(not is_tree, f"{self.optimizer}: {name} must be an array of NumPy or CuPy; got {kind}. {cure}")
        require_array(self.optimizer, array, name)


class _Home:
    """The numbers of an array, by whichever view they are stepped, without keeping them."""

    def __init__(self, parameters: Any) -> None:
        module = array_module(parameters)
        base = getattr(parameters, "base", None)
        owner = base if isinstance(base, module.ndarray) else parameters
        address = parameters.ctypes.data if module is np else parameters.data.ptr
        self.owner, self.place = weakref.ref(owner), (int(address), parameters.shape, parameters.strides)

    def remains_beside(self, other: _Home) -> bool:
        """Whether these numbers are still there, and the others are not the same."""
        owner = self.owner()
        return owner is not None and (owner is not other.owner() or self.place != other.place)
