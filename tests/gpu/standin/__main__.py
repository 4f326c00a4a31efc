"""python -m tests.gpu.standin: what the stand-in offers that the CuPy here does not; 1 if there is any."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import cupy
import cupy.cuda.nccl

from tests.gpu.standin import cuda, memory, nccl, routine, stream
from tests.gpu.standin.array import ndarray
from tests.gpu.standin.module import RawModule


def main() -> int:
    """Print them, a line each."""
    pairs: list[tuple[str, Any, Any]] = [
        ("cupy", {name: vars(routine)[name] for name in routine.__all__}, cupy),
        ("cupy", {"RawModule": RawModule}, cupy),
        ("cupy.ndarray", vars(ndarray), cupy.ndarray),
        ("cupy.cuda", vars(cuda), cupy.cuda),
        ("cupy.cuda.runtime", vars(cuda.runtime), cupy.cuda.runtime),
        ("cupy.cuda.memory", vars(cuda.memory), cupy.cuda.memory),
        ("cupy.cuda.MemoryPool", vars(memory.MemoryPool), cupy.cuda.MemoryPool),
        ("cupy.cuda.Memory", vars(memory.Memory), cupy.cuda.Memory),
        ("cupy.cuda.MemoryPointer", vars(memory.MemoryPointer), cupy.cuda.MemoryPointer),
        ("cupy.cuda.Stream", vars(stream.Stream), cupy.cuda.Stream),
        ("cupy.cuda.Event", vars(stream.Event), cupy.cuda.Event),
        ("cupy.cuda.Graph", vars(stream.Graph), cupy.cuda.Graph),
    ]
    if cupy.cuda.nccl.available:
        communicator = cupy.cuda.nccl.NcclCommunicator
        pairs.append(("cupy.cuda.nccl", vars(nccl), cupy.cuda.nccl))
        pairs.append(("cupy.cuda.nccl.NcclCommunicator", vars(nccl.NcclCommunicator), communicator))
    else:
        print("cupy.cuda.nccl is not looked at: NCCL is not installed here")
    missing = [line for pair in pairs for line in differences(*pair)]
    print(*missing or [f"nothing that CuPy {cupy.__version__} lacks"], sep="\n")
    return 1 if missing else 0


def differences(place: str, standin: dict[str, Any], real: Any) -> Iterator[str]:
    """Names, and arguments where Python can tell them."""
    modules = ("tests.gpu.standin.", "builtins")
    for name, thing in standin.items():
        made_here = (getattr(thing, "__module__", "") or "").startswith(modules) or isinstance(thing, property)
        if name.startswith("_") or not made_here or name == "everyone":
            continue
        if not hasattr(real, name):
            yield f"{place}.{name}: CuPy has none"
            continue
        try:
            theirs = set(inspect.signature(getattr(real, name)).parameters)
            ours = set(inspect.signature(thing).parameters)
        except (TypeError, ValueError):
            continue
        if "args" not in theirs and (extra := ours - theirs - {"inputs"}):
            yield f"{place}.{name}: CuPy has no argument {', '.join(sorted(extra))}"


if __name__ == "__main__":
    sys.exit(main())
