"""Checkpoints: arrays under names, and a few words about them, in one safetensors file that runs nothing when read.

The metadata holds one entry, nn1d: JSON with the format, a checksum of the arrays, and what the writer has to say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from storage.atomic import write_atomic

FORMAT = 1
Shapes = Mapping[str, tuple[int, ...]]


class CheckpointError(RuntimeError):
    """A file is not a checkpoint that fits; the message says what is wrong with it."""


class NewerFormatError(CheckpointError):
    """The file is of another version of this package."""


def save_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write float32 arrays and what JSON can hold, at once or not at all.

    Raises
    ------
    OSError
        The file cannot be written; the one that was there is still there.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = {"format": FORMAT, "sha256": _checksum(arrays, about), **about}
    write_atomic(path, save(arrays, {"nn1d": json.dumps(head)}))  # one entry: several come in random order


def load_checkpoint(path: Path, shapes: Shapes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of the given names and shapes, and what was said about them.

    Raises
    ------
    CheckpointError
        The file cannot be read, is truncated or altered, has a newer format, holds a number that is not finite, or
        other arrays: then all missing, unexpected and misshapen names are listed.
    """
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise CheckpointError(f"{path}: not a file")
    try:
        with safe_open(path, "numpy") as file:
            head = _head(path, file.metadata())
            _check_names(path, {name: file.get_slice(name) for name in list(file.keys())}, shapes)
            arrays = {name: file.get_tensor(name) for name in shapes}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from error
    about = {name: value for name, value in head.items() if name not in ("format", "sha256")}
    if head["sha256"] != _checksum(arrays, about):
        raise CheckpointError(f"{path}: altered since it was written: its checksum is another")
    if spoilt := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise CheckpointError(f"{path}: holds numbers that are NaN or infinite, in {spoilt[0]}")
    return arrays, about


def _head(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        head = json.loads((metadata or {})["nn1d"])
        newest = int(head["format"])
        known = isinstance(head["sha256"], str)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of nn1d: its metadata say nothing of it") from error
    if newest != FORMAT or not known:
        raise NewerFormatError(f"{path}: needs format {FORMAT}; got {newest}. Read it with the nn1d that wrote it")
    return head


def _check_names(path: Path, arrays: Mapping[str, Any], shapes: Shapes) -> None:
    faults = [f"missing {name}" for name in shapes if name not in arrays]
    faults += [f"unexpected {name}" for name in arrays if name not in shapes]
    for name in shapes:
        if name in arrays:
            shape, dtype = tuple(arrays[name].get_shape()), arrays[name].get_dtype()
            if (shape, dtype) != (tuple(shapes[name]), "F32"):
                faults.append(f"{name} must be F32 {tuple(shapes[name])}, got {dtype} {shape}")
    if faults:
        raise CheckpointError(f"{path}: does not fit the network: {'; '.join(faults)}")


def _checksum(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()
