"""Streams, events and graphs. Work runs when it is asked for, but for the work of a graph, which is written down."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable

import numpy as np

from tests.gpu.standin.memory import CUDARuntimeError, MemoryPool, PooledMemory

Work = Callable[[], None]
Touched = tuple["weakref.ref[PooledMemory]", "weakref.ref[MemoryPool]", int]  # and what its pool had released by then


class Counts:
    """What a test may ask for: how often the host waited for the device, sent it something, or started work on it."""

    synchronisations = uploads = uploaded_bytes = launches = 0

    @classmethod
    def reset(cls) -> None:
        cls.synchronisations = cls.uploads = cls.uploaded_bytes = cls.launches = 0


class Graph:
    """Work to be done again at the same addresses.

    CUDA does not know whether the memory there has got another owner since. Here that is an error.
    """

    def __init__(self, work: list[Work], touched: list[Touched]) -> None:
        self._work = work
        self._touched = [(*each, owner and owner._handed_out) for each in touched for owner in [each[1]()]]

    def launch(self, stream: Stream | None = None) -> None:
        for memory, pool, released, handed_out in self._touched:
            owner = pool()
            gone = owner is None or owner._released != released or owner._handed_out != handed_out
            if memory() is None and gone:
                raise CUDARuntimeError("cudaErrorIllegalAddress: the graph works in memory that was given away")
        stream = stream or get_current_stream()
        stream._check_idle("cudaGraphLaunch")
        Counts.launches += 1
        with np.errstate(all="ignore"):
            for work in self._work:
                work()

    def upload(self, stream: Stream | None = None) -> None:
        pass


class Stream:
    """A stream; entered, it is the current one."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self._is_null, self._entered = null, 0
        self.ptr = 0 if null else id(self)
        self._work: list[Work] | None = None  # of the graph that is captured
        self._touched: list[Touched] = []
        self._invalid = False

    def __enter__(self) -> Stream:
        _current.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _current.pop()

    def synchronize(self) -> None:
        self._check_idle("cudaStreamSynchronize")
        Counts.synchronisations += 1

    def begin_capture(self, mode: int | None = None) -> None:
        if self._is_null:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self._work, self._touched, self._invalid = [], [], False

    def end_capture(self) -> Graph:
        work, self._work = self._work, None
        if work is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the stream is not capturing")
        if self._invalid:
            raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated: operation failed due to a previous error")
        touched, self._touched = self._touched, []
        return Graph(work, touched)

    def is_capturing(self) -> bool:
        return self._work is not None

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        pass

    def _check_idle(self, name: str) -> None:
        if self.is_capturing():
            self._invalid = True
            raise CUDARuntimeError(f"cudaErrorStreamCaptureUnsupported: {name} while the stream is capturing")


Stream.null = Stream(null=True)
_current = [Stream.null]


def get_current_stream() -> Stream:
    return _current[-1]


class Event:
    """A moment."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.time = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        Counts.synchronisations += 1


def get_elapsed_time(start: Event, end: Event) -> float:
    return (end.time - start.time) * 1e3


def enqueue(work: Work, memory: list[PooledMemory]) -> None:
    """Do it, or write it down for a graph."""
    stream = get_current_stream()
    if stream._work is not None:
        stream._work.append(work)
        stream._touched += [(weakref.ref(each), weakref.ref(each._pool), each._pool._released) for each in memory]
        return
    Counts.launches += 1
    with np.errstate(all="ignore"):  # a device has nobody to warn
        work()


def upload(size: int) -> None:
    """Count what the host sends. A graph would send it from memory that has other contents at its next launch."""
    get_current_stream()._check_idle("a copy from the host")
    Counts.uploads += 1
    Counts.uploaded_bytes += size


def wait() -> None:
    """The host looks at what the device has computed."""
    get_current_stream().synchronize()


def reset() -> None:
    """As after a start."""
    del _current[1:]
    Stream.null._work = None
    Counts.reset()
