"""What cupy.cuda holds."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from tests.gpu.standin import memory as _memory
from tests.gpu.standin import nccl  # noqa: F401
from tests.gpu.standin.memory import (  # noqa: F401
    TOTAL_BYTES,
    Memory,
    MemoryPointer,
    MemoryPool,
    alloc,
    set_allocator,
    using_allocator,
)
from tests.gpu.standin.stream import (  # noqa: F401
    Event,
    Graph,
    Stream,
    get_current_stream,
    get_elapsed_time,
)

memory = SimpleNamespace(OutOfMemoryError=_memory.OutOfMemoryError)


class Device:
    """The only one."""

    compute_capability = "90"
    pci_bus_id = f"0000:{os.getpid():x}:00.0"  # every process has one of its own

    def __init__(self, device: int | None = None) -> None:
        self.id = 0
        self.mem_info = _mem_info()

    def synchronize(self) -> None:
        Stream.null.synchronize()

    def use(self) -> None:
        pass


def _mem_info() -> tuple[int, int]:
    return TOTAL_BYTES - _memory.Device.bytes_taken, TOTAL_BYTES


def _properties(device: int) -> dict[str, Any]:
    return {"name": b"Stand-in", "major": 9, "minor": 0, "totalGlobalMem": TOTAL_BYTES, "multiProcessorCount": 2}


runtime = SimpleNamespace(
    CUDARuntimeError=_memory.CUDARuntimeError,
    getDeviceCount=lambda: 1,
    getDevice=lambda: 0,
    getDeviceProperties=_properties,
    driverGetVersion=lambda: 13020,
    runtimeGetVersion=lambda: 13020,
    memGetInfo=_mem_info,
    deviceSynchronize=lambda: Stream.null.synchronize(),
)
nvrtc = SimpleNamespace(getVersion=lambda: (13, 2))
