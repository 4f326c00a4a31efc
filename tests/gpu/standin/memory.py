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


class Chunk:
    """A part of a block of the device, with the parts before and behind it."""

    def __init__(self, size: int, before: Chunk | None = None, behind: Chunk | None = None) -> None:
        self.size, self.before, self.behind, self.used = size, before, behind, False

    def split(self, size: int) -> Chunk:
        """Make it that large; the rest."""
        rest = Chunk(self.size - size, self, self.behind)
        if self.behind is not None:
            self.behind.before = rest
        self.size, self.behind = size, rest
        return rest

    def join(self) -> Chunk:
        """Take in the chunk behind; that chunk."""
        rest = self.behind
        assert rest is not None
        self.size, self.behind = self.size + rest.size, rest.behind
        if self.behind is not None:
            self.behind.before = self
        return rest


class PooledMemory:
    """A chunk; it goes back to its pool with the last array that lies in it. Fresh memory holds NaN."""

    def __init__(self, chunk: Chunk, pool: MemoryPool) -> None:
        self._pool, self._chunk, self.size = pool, chunk, chunk.size
        room = np.full(chunk.size + ALIGNMENT, 0xFF, np.uint8)
        self.bytes = room[-room.ctypes.data % ALIGNMENT :][: chunk.size]
        self.ptr = self.bytes.ctypes.data

    def __del__(self) -> None:
        self._pool._take_back(self._chunk)


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

    As CuPy's, it hands out the smallest free chunk that is large enough, cuts off the rest, and joins free neighbours;
    where its limit or the device refuses a block, it gives back the blocks that are free as a whole and tries again.
    """

    everyone: ClassVar[weakref.WeakSet[MemoryPool]] = weakref.WeakSet()

    def __init__(self, allocator: Callable[[int], MemoryPointer] = _malloc) -> None:
        self._allocator = allocator
        self._free: list[Chunk] = []
        self._used = self._limit = 0
        self._handed_out = 0  # changes whenever memory that was free may have got another owner
        self._released = 0  # changes whenever memory that was free may have gone back to the device
        MemoryPool.everyone.add(self)

    def malloc(self, size: int) -> MemoryPointer:
        rounded = -(-size // ALIGNMENT) * ALIGNMENT
        chunk = min((free for free in self._free if free.size >= rounded), key=lambda free: free.size, default=None)
        if chunk is None:
            chunk = self._new_block(rounded)
        else:
            self._free.remove(chunk)
        if chunk.size > rounded:
            self._free.append(chunk.split(rounded))
        chunk.used = True
        self._used += rounded
        self._handed_out += 1
        return MemoryPointer(PooledMemory(chunk, self), 0)

    def _new_block(self, size: int) -> Chunk:
        if self._limit and self.total_bytes() + size > self._limit:
            self.free_all_blocks()
            if self.total_bytes() + size > self._limit:
                raise OutOfMemoryError(size, self.total_bytes(), self._limit)
        try:
            self._allocator(size)
        except CUDARuntimeError:
            self.free_all_blocks()
            try:
                self._allocator(size)
            except CUDARuntimeError:
                raise OutOfMemoryError(size, self.total_bytes(), self._limit) from None
        return Chunk(size)

    def _take_back(self, chunk: Chunk) -> None:
        self._used -= chunk.size
        chunk.used = False
        if chunk.behind is not None and not chunk.behind.used:
            self._free.remove(chunk.join())
        if chunk.before is not None and not chunk.before.used:
            chunk.before.join()
        else:
            self._free.append(chunk)

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        self._limit = int(size or (fraction or 0) * TOTAL_BYTES)

    def get_limit(self) -> int:
        return self._limit

    def used_bytes(self) -> int:
        return self._used

    def free_bytes(self) -> int:
        return sum(chunk.size for chunk in self._free)

    def total_bytes(self) -> int:
        return self._used + self.free_bytes()

    def free_all_blocks(self, stream: Any = None) -> None:
        whole = [chunk for chunk in self._free if chunk.before is None and chunk.behind is None]
        Device.bytes_taken -= sum(chunk.size for chunk in whole)
        self._free = [chunk for chunk in self._free if chunk not in whole]
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
