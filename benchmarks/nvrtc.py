"""NVIDIA's run-time compiler without a GPU: what CuPy does with the text of a .cu file, up to the machine code."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

INSTRUCTION_BYTES = 16  # since Volta
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")  # ours, and what CuPy 14.2 adds


class Resources(NamedTuple):
    """What ptxas says of a kernel, and the length of its machine code."""

    registers: int
    shared_bytes: int
    local_bytes: int  # of a thread, in memory: what spills, and arrays that are not unrolled into registers
    instructions: int


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
        call("nvrtcGetCUBINSize", program, ctypes.byref(size))
        cubin = ctypes.create_string_buffer(size.value)
        call("nvrtcGetCUBIN", program, cubin)
        sections = section_bytes(cubin.raw)
        resources = {}
        for name in names:
            lowered = ctypes.c_char_p()
            if call("nvrtcGetLoweredName", program, name.encode(), ctypes.byref(lowered)):
                raise CompileError(f"{architecture}: no kernel {name}")
            mangled = (lowered.value or b"").decode()
            resources[name] = _resources(log, mangled, sections[f".text.{mangled}"] // INSTRUCTION_BYTES)
        return resources
    finally:
        call("nvrtcDestroyProgram", ctypes.byref(program))


def version() -> str:
    """Such as 12.9."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def section_bytes(elf: bytes) -> dict[str, int]:
    """The sizes of the sections of an ELF file of 64 bits, by their names."""
    (table,) = struct.unpack_from("<Q", elf, 40)
    entry_bytes, count, names = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + i * entry_bytes) for i in range(count)]
    words = headers[names][4]
    return {elf[words + name : elf.index(b"\0", words + name)].decode(): size for name, *_, size in headers}


def _resources(log: str, mangled: str, instructions: int) -> Resources:
    part = re.search(rf"Compiling entry function '{re.escape(mangled)}'(.*?Used \d+ registers[^\n]*)", log, re.S)
    if part is None:
        raise CompileError(f"ptxas says nothing of {mangled}: {log}")

    def read(pattern: str) -> int:
        match = re.search(pattern, part[1])
        return int(match[1]) if match else 0

    local = max(read(r"(\d+) bytes stack frame"), read(r"(\d+) bytes spill stores"), read(r"(\d+) bytes lmem"))
    return Resources(read(r"Used (\d+) registers"), read(r"(\d+) bytes smem"), local, instructions)
