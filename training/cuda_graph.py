"""A function that a GPU runs many times on arrays of one shape: launched by Python at first, then as a CUDA graph.

Python takes some ten microseconds for each kernel that it launches; a graph is launched whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Array = Any  # of CuPy, which has no types
Function = Callable[..., Any]


class CapturedStep:
    """Run a function of arrays; of its second call on, of the largest arrays that it has had, as a graph.

    A graph reads and writes the same addresses whenever it is launched. So its arrays lie in a pool of their own, and
    the inputs are copied there; what they take is taken off the limit of the default pool. The first call is plain,
    since it compiles kernels, and so is one of fewer clips, such as the last batch of an epoch. Where a graph cannot be
    captured, calls stay plain, which is said once.

    Parameters
    ----------
    module : cupy
    """

    def __init__(self, module: Any) -> None:
        self._cupy = module
        self._default = module.get_default_memory_pool()
        self._limit = self._default.get_limit()
        self._said = False
        self._pool: Any = None
        self.forget()

    def forget(self) -> None:
        """Let go of the graph and its memory; the next call is plain."""
        self._function: Function | None = None
        self._clips = 0  # of the largest call
        self._refused = False
        self._graph: Any = None
        self._inputs: list[Array] = []
        self._outputs: tuple[Array, ...] = ()
        if self._pool is not None:
            self._pool.free_all_blocks()  # CuPy 14 loses the free blocks of a pool that goes
            self._default.set_limit(size=self._limit)
        self._pool = None

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
        if clips == self._clips and self._graph is None and not self._refused:
            self._capture(function, inputs)
        if clips < self._clips or self._refused:
            return function(*inputs)
        for kept, array in zip(self._inputs, inputs, strict=True):
            kept[...] = array
        self._graph.launch()
        return self._outputs

    def _capture(self, function: Function, inputs: tuple[Array, ...]) -> None:
        cuda, reason = self._cupy.cuda, ""
        self._default.free_all_blocks()  # what the first call needed is needed by the graph
        self._pool, stream = cuda.MemoryPool(_allocator(cuda)), cuda.Stream(non_blocking=True)
        self._pool.set_limit(size=0)  # else it has that of CUPY_GPU_MEMORY_LIMIT, and frees blocks when it is reached
        try:
            with cuda.using_allocator(self._pool.malloc):
                self._inputs = [array.copy() for array in inputs]
            with cuda.using_allocator(self._pool.malloc), stream:
                stream.begin_capture()
                try:
                    self._outputs = function(*self._inputs)
                    self._graph = stream.end_capture()
                except BaseException:
                    with suppress(Exception):  # it has failed already
                        stream.end_capture()
                    raise
            self._graph.upload()  # so that it is now that its own memory does not suffice
        except Exception as error:  # whatever cannot be captured says so in its own way
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if reason:  # only here does nothing hold the arrays any more that the pool is to free
            self.forget()
            self._function, self._clips, self._refused = function, len(inputs[0]), True
            if not self._said:
                self._said = True
                logging.getLogger("training").warning(
                    "gpu: the training step is not captured as a CUDA graph (%s)", reason
                )
        elif self._limit:
            self._default.set_limit(size=max(1, self._limit - self.bytes_held))


def _allocator(cuda: Any) -> Callable[[int], Any]:
    """Where a pool gets its blocks: tells that there are none left by the error of a pool that has tried everything.

    At any other refusal the pool would give free blocks back to the device and ask again. In a capture these are
    blocks that the graph computes in.
    """

    def allocate(size: int) -> Any:
        try:
            return cuda.MemoryPointer(cuda.Memory(size), 0)
        except cuda.runtime.CUDARuntimeError as error:
            raise cuda.memory.OutOfMemoryError(size, 0) from error

    return allocate
