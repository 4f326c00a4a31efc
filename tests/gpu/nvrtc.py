"""NVIDIA's run-time compiler without a GPU: what CuPy does with the text of a .cu file, up to the machine code."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")  # ours, and what CuPy 14.2 adds


class Resources(NamedTuple):
    """What ptxas says of a kernel."""

    registers: int
    shared_bytes: int
    spilled_bytes: int


class CompileError(RuntimeError):
    """The log of a compilation that failed, or that had a warning."""


def library_path() -> Path | None:
    """libnvrtc of the package nvidia-cuda-nvrtc-cu12, if it is installed."""
    try:
        spec = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        return None
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () for path in Path(folder).glob("lib/libnvrtc.so*")), None)


@functools.cache
def _library() -> Any:
    return ctypes.CDLL(str(library_path()))


def compile_kernels(code: str, names: Sequence[str], architecture: str) -> dict[str, Resources]:
    """Machine code for an architecture such as sm_90, thrown away; what ptxas says of each kernel by its C++ name.

    Raises
    ------
    CompileError
        The code does not compile, or not without a warning.
    """
    nvrtc, program = _library(), ctypes.c_void_p()

    def call(name: str, *arguments: Any) -> int:
        return getattr(nvrtc, name)(*arguments)

    call("nvrtcCreateProgram", ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None)
    try:
        for name in names:
            call("nvrtcAddNameExpression", program, name.encode())
        options = [option.encode() for option in (*OPTIONS, f"-arch={architecture}", "--ptxas-options=-v")]
        failed = call("nvrtcCompileProgram", program, len(options), (ctypes.c_char_p * len(options))(*options))
        size = ctypes.c_size_t()
        call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        call("nvrtcGetProgramLog", program, text)
        log = re.sub(r"nvrtc: warning: Architectures prior to .* are deprecated.*\n", "", text.value.decode())
        if failed or re.search(r"\b(warning|error)\b", log):
            raise CompileError(f"{architecture}: {log}")
        found = {}
        for name in names:
            lowered = ctypes.c_char_p()
            if call("nvrtcGetLoweredName", program, name.encode(), ctypes.byref(lowered)):
                raise CompileError(f"{architecture}: no kernel {name}")
            found[name] = _resources(log, (lowered.value or b"").decode())
        return found
    finally:
        call("nvrtcDestroyProgram", ctypes.byref(program))


def _resources(log: str, mangled: str) -> Resources:
    part = re.search(rf"Compiling entry function '{re.escape(mangled)}'(.*?Used \d+ registers[^\n]*)", log, re.S)
    if part is None:
        raise CompileError(f"ptxas says nothing of {mangled}: {log}")

    def read(pattern: str) -> int:
        match = re.search(pattern, part[1])
        return int(match[1]) if match else 0

    return Resources(read(r"Used (\d+) registers"), read(r"(\d+) bytes smem"), read(r"(\d+) bytes spill stores"))
