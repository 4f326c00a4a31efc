"""A function that a GPU runs many times on arrays of one shape: launched by Python at first, then as a CUDA graph.

Python takes some ten microseconds for each kernel that it launches; a graph is launched whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nn1d.backend import Array

Function = Callable[..., tuple[Array, ...]]


class Repeated:
    """Run a function of arrays; of its second call on, of the largest arrays that it has had, as a graph.

    A graph reads and writes the same addresses whenever it is launched. So its arrays lie in a pool of their own, out
    of which nobody else is served, and the inputs are copied there. The first call is plain, since it compiles kernels.
    Where a graph cannot be captured, calls stay plain, which is said once.

    Parameters
    ----------
    module : cupy
    """

    def __init__(self, module: Any) -> None:
        self._cupy = module
        self._spoilt = False
        self.forget()

    def forget(self) -> None:
        """Let go of the graph and its memory; the next call is plain."""
        self._function: Function | None = None
        self._clips = 0  # of the largest call
        self._graph: Any = None
        self._pool: Any = None
        self._inputs: list[Array] = []
        self._outputs: tuple[Array, ...] = ()

    @property
    def bytes_held(self) -> int:
        """What the graph's pool has of the device."""
        return 0 if self._pool is None else self._pool.total_bytes()

    def __call__(self, function: Function, *inputs: Array) -> tuple[Array, ...]:
        """What the function gives, until the next call: a graph gives the same arrays again."""
        clips = len(inputs[0])
        if function != self._function or clips > self._clips:
            self.forget()
            self._function, self._clips = function, clips
            return function(*inputs)
        if self._spoilt or clips < self._clips:
            return function(*inputs)
        if self._graph is None:
            self._capture(function, inputs)
            if self._graph is None:
                return function(*inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own[...] = given
        self._graph.launch()
        return self._outputs

    def _capture(self, function: Function, inputs: tuple[Array, ...]) -> None:
        cuda, default = self._cupy.cuda, self._cupy.get_default_memory_pool()
        default.free_all_blocks()  # what the first call needed, which the graph needs as well
        pool = cuda.MemoryPool()
        if limit := default.get_limit():
            pool.set_limit(size=max(1, (limit - default.total_bytes()) * 3 // 4))  # the rest is for everything else
        stream = cuda.Stream(non_blocking=True)
        try:
            with cuda.using_allocator(pool.malloc):
                own = [given.copy() for given in inputs]
            with cuda.using_allocator(pool.malloc), stream:
                stream.begin_capture()
                try:
                    outputs = function(*own)
                    graph = stream.end_capture()
                except BaseException:
                    with suppress(Exception):  # it has failed already
                        stream.end_capture()
                    raise
        except cuda.memory.OutOfMemoryError:
            raise
        except Exception as error:  # whatever cannot be captured says so in its own way
            self._spoilt = True
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            logging.getLogger("models").warning("gpu: the training step is not captured as a CUDA graph (%s)", reason)
            return
        self._pool, self._graph, self._inputs, self._outputs = pool, graph, own, outputs
