"""Memory of the device: pools with a limit, pointers, and what is in memory that nobody has written yet."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

TOTAL_BYTES = 1 << 32  # of the device
ALIGNMENT = 512  # a pool hands out multiples of it


class OutOfMemoryError(MemoryError):
    """The text of CuPy's own."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        text = f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes"
        super().__init__(f"{text}, limit set to: {limit:,} bytes)." if limit else f"{text}).")


class CUDARuntimeError(RuntimeError):
    """As the runtime's own: its name first."""


class Device:
    """What all pools together have of the device. A pool that goes with free blocks has lost them, as in CuPy 14."""

    bytes_taken = 0


class Memory:
    """Memory of the device as a pool gets it: counted, and given back by the pool."""

    def __init__(self, size: int) -> None:
        if Device.bytes_taken + size > TOTAL_BYTES:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        Device.bytes_taken += size
        self.size = size


class PooledMemory:
    """A block; it goes back to its pool with the last array that lies in it. Fresh memory holds NaN."""

    def __init__(self, size: int, pool: MemoryPool) -> None:
        self._pool, self.size = pool, size
        room = np.full(size + ALIGNMENT, 0xFF, np.uint8)
        self.bytes = room[-room.ctypes.data % ALIGNMENT :][:size]
        self.ptr = self.bytes.ctypes.data

    def __del__(self) -> None:
        self._pool._take_back(self.size)


class MemoryPointer:
    """A place in a block."""

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.offset = mem, offset

    @property
    def ptr(self) -> int:
        return self.mem.ptr + self.offset

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.offset + offset)


def _malloc(size: int) -> MemoryPointer:
    return MemoryPointer(Memory(size), 0)


class MemoryPool:
    """Blocks that are freed stay in the pool and count towards its limit, until free_all_blocks.

    As CuPy's, it calls that itself, and tries once more, where its limit or the device refuses a block.
    """

    everyone: ClassVar[weakref.WeakSet[MemoryPool]] = weakref.WeakSet()

    def __init__(self, allocator: Callable[[int], MemoryPointer] = _malloc) -> None:
        self._allocator = allocator
        self._used = self._free = self._limit = 0
        self._handed_out = 0  # changes whenever memory that was free may have got another owner
        self._released = 0  # changes whenever memory that was free may have gone back to the device
        MemoryPool.everyone.add(self)

    def malloc(self, size: int) -> MemoryPointer:
        rounded = -(-size // ALIGNMENT) * ALIGNMENT
        if rounded > self._free:
            if self._limit and self.total_bytes() + rounded > self._limit:
                self.free_all_blocks()
                if self.total_bytes() + rounded > self._limit:
                    raise OutOfMemoryError(rounded, self.total_bytes(), self._limit)
            try:
                self._allocator(rounded)
            except CUDARuntimeError:
                self.free_all_blocks()
                try:
                    self._allocator(rounded)
                except CUDARuntimeError:
                    raise OutOfMemoryError(rounded, self.total_bytes(), self._limit) from None
            self._free += rounded
        self._free -= rounded
        self._used += rounded
        self._handed_out += 1
        return MemoryPointer(PooledMemory(rounded, self), 0)

    def _take_back(self, size: int) -> None:
        self._used -= size
        self._free += size

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        self._limit = int(size or (fraction or 0) * TOTAL_BYTES)

    def get_limit(self) -> int:
        return self._limit

    def used_bytes(self) -> int:
        return self._used

    def free_bytes(self) -> int:
        return self._free

    def total_bytes(self) -> int:
        return self._used + self._free

    def free_all_blocks(self, stream: Any = None) -> None:
        Device.bytes_taken -= self._free
        self._free = 0
        self._handed_out += 1
        self._released += 1


def take_stock() -> None:
    """As after a start: what pools have lost is there again."""
    Device.bytes_taken = sum(pool.total_bytes() for pool in MemoryPool.everyone)


default_pool = MemoryPool()
_allocator: Callable[[int], MemoryPointer] = default_pool.malloc


def get_default_memory_pool() -> MemoryPool:
    return default_pool


def alloc(size: int) -> MemoryPointer:
    return _allocator(size)


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    global _allocator
    _allocator = allocator or default_pool.malloc


@contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    before = _allocator
    set_allocator(allocator)
    try:
        yield
    finally:
        set_allocator(before)
