"""Raw kernels: what CuPy asks of their arguments, around a harness that runs the same source on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.gpu.standin.array import ndarray
from tests.gpu.standin.stream import Stream, enqueue


class RawModule:
    """As cupy.RawModule."""

    def __init__(
        self,
        *,
        code: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        name_expressions: Sequence[str] | None = None,
    ) -> None:
        try:
            Harness = importlib.import_module("tests.gpu.harness").RawModule
        except ImportError as error:
            raise NotImplementedError("kernels do not run here: there is no tests/gpu/harness.py") from error
        self._harness = Harness(code, options, name_expressions)

    def get_function(self, name: str) -> Callable[..., None]:
        function = self._harness.get_function(name)

        def call(
            grid: tuple[int, ...],
            block: tuple[int, ...],
            args: tuple[Any, ...],
            *,
            shared_mem: int = 0,
            stream: Stream | None = None,
        ) -> None:
            for value in args:
                if isinstance(value, ndarray):
                    if not value.flags.c_contiguous:
                        raise TypeError(f"{name}: a strided array {value.shape}, {value.strides}")
                elif not isinstance(value, np.generic):
                    raise TypeError(f"{name}: {value!r} has no type of C: pass np.int32 or the like")
            values = tuple(value._values if isinstance(value, ndarray) else value for value in args)
            memory = [value.data.mem for value in args if isinstance(value, ndarray)]
            enqueue(lambda: function(grid, block, values, shared_mem=shared_mem), memory)

        return call
