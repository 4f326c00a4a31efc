"""Weights in and out: by name, and in the layout of torch.nn.

PyTorch keeps the filters of Conv1d as (O, C, K) and those of ConvTranspose1d as (C, O, K); ours are (K, C, O) and
(K, O, C). Its Linear has (O, C), ours (C, O). All are our axes in reverse order, so one transposition serves both ways.
PyTorch is not needed: its arrays come and go as NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nn1d.backend import array_module, to_numpy
from nn1d.layer import ShapeError, Tree, first_names, named_leaves, named_parameters, require, require_array


def load_parameters(parameters: Tree, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy arrays into the parameters of the same dotted names, all or none.

    Parameters
    ----------
    parameters : tree
        `layer.parameters`.
    arrays : mapping
        Dotted name -> array of the parameter's shape. One that layers share may come under its first name alone, or
        under all, as in the state of a torch.nn twin; then with the same numbers.

    Raises
    ------
    ShapeError
        Names are missing, unexpected or misshapen, or a shared parameter comes with different numbers: all of them are
        listed, and nothing is changed. Or what comes under a name is no array of numbers.
    """
    _check_arrays("load_parameters", arrays)
    leaves, first = named_parameters(parameters), first_names(parameters)
    for name, leaf in leaves.items():
        require_array("load_parameters", leaf, name or "the network")
    faults = [f"missing {name}" for name in leaves if name not in arrays]
    faults += [f"unexpected {name}" for name in arrays if name not in first]
    faults += [
        f"{name} must equal {first[name]}, which is the same parameter"
        for name in arrays
        if first.get(name, name) != name
        and first[name] in arrays
        and not np.array_equal(arrays[name], arrays[first[name]], equal_nan=True)
    ]
    faults += [
        f"{name} must be {leaves[name].shape}, got {tuple(arrays[name].shape)}"
        for name in leaves
        if name in arrays and leaves[name].shape != tuple(arrays[name].shape)
    ]
    if faults:
        raise ShapeError(f"the weights do not fit the network: {'; '.join(faults)}")
    for name, array in leaves.items():
        array[...] = array_module(array).asarray(arrays[name])


def from_torch(parameters: Tree, state: Mapping[str, np.ndarray]) -> None:
    """Copy the arrays of a torch.nn twin into our parameters.

    Parameters
    ----------
    parameters : tree
        `layer.parameters`.
    state : mapping
        {name: tensor.numpy() for name, tensor in twin.state_dict().items()}, under our dotted names.

    Shapes
    ------
    Conv1d (O, C, K) -> (K, C, O); ConvTranspose1d (C, O, K) -> (K, O, C); Linear (O, C) -> (C, O); vectors as they are

    Raises
    ------
    ShapeError
        As load_parameters.
    """
    _check_arrays("from_torch", state)
    load_parameters(parameters, {name: _reversed_axes(array) for name, array in state.items()})


def to_torch(parameters: Tree) -> dict[str, np.ndarray]:
    """Our parameters in the layout of torch.nn: what twin.load_state_dict takes once each is a tensor.

    One that layers share comes under each of its names, as in the state of a twin.

    Shapes
    ------
    Conv1d (K, C, O) -> (O, C, K); ConvTranspose1d (K, O, C) -> (C, O, K); Linear (C, O) -> (O, C); vectors as they are

    Raises
    ------
    ShapeError
        The parameters are no arrays by name.
    """
    leaves = dict(named_leaves(parameters))
    for name, leaf in leaves.items():
        require_array("to_torch", leaf, name or "the network")
    return {name: np.ascontiguousarray(_reversed_axes(to_numpy(array))) for name, array in leaves.items()}


def _check_arrays(function: str, arrays: Mapping[str, np.ndarray]) -> None:
    require(
        isinstance(arrays, Mapping),
        f"{function}: needs arrays by name, such as dict(...); got {type(arrays).__name__}",
    )
    for name, array in arrays.items():
        require(
            not isinstance(array, Mapping),
            f"{function}: {name} is a dict, where arrays stand under dotted names. Walk it: dict(named_leaves(...))",
        )
        require_array(function, array, str(name))
        require(array.dtype.kind in "fiu", f"{function}: {name} must hold numbers; got {array.dtype}")


def _reversed_axes(array: np.ndarray) -> np.ndarray:
    return array.T
