"""CUDA kernels executed on the CPU: the text of a .cu file, compiled as C++ and run under AddressSanitizer.

`RawModule` takes the place of cupy.RawModule. A launch fails where a thread reads or writes outside of an array, where
a result hangs on the order of threads (a barrier that is missing), where an argument is not of the kernel's own type,
and where something is written through a pointer to const.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HEADER, ENGINE = (Path(__file__).with_name(name) for name in ("cuda.h", "fiber.cpp"))
FLAGS = (
    *("-O2", "-g1", "-no-pie", "-fno-pie", "-fno-strict-aliasing", "-ffp-contract=off"),
    *("-fsanitize=address,bounds,alignment,signed-integer-overflow", "-fno-sanitize-recover=undefined"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"),
)
MOST = {"grid": (2**31 - 1, 65535, 65535), "block": (1024, 1024, 64)}


class KernelError(RuntimeError):
    """A launch did something that a GPU would do wrong without a word; the message says what."""


class Part(NamedTuple):
    """The end of an array that is too large to be made: `before` numbers are missing."""

    numbers: np.ndarray
    before: int


def compiler() -> str | None:
    """g++, where it is there and this is Linux."""
    return shutil.which("g++") if platform.system() == "Linux" else None


@functools.cache
def _folder() -> Path:
    """Where what is compiled lies: in the cache folder of the tests, so that programs which they start find it too."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or tempfile.mkdtemp()) / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compiled(code: str, options: Sequence[str], names: Sequence[str]) -> Path:
    """An executable that serves launches of the kernels `names`."""
    table = ", ".join(f"KERNEL({name})" for name in names)
    # a nameless namespace: AddressSanitizer leaves no room around the shared memory of templates that others may see
    text = (
        f'#include "{HEADER}"\nnamespace {{\n#line 1 "kernel.cu"\n{code}\n}}\nnamespace harness {{\n'
        f"extern const Kernel kernels[] = {{{table}}};\nextern const int kernel_count = {len(names)};\n}}\n"
    )
    taken = [option for option in options if option.startswith(("-std", "-D"))]
    engine = _made(ENGINE.read_text("utf-8"), "-c", "-std=c++17", f"-I{ENGINE.parent}")
    return _made(text, *(taken or ["-std=c++17"]), str(engine))


def _made(text: str, *arguments: str) -> Path:
    """What g++ makes of a text, once a text."""
    key = hashlib.sha256(repr((HEADER.read_text("utf-8"), text, arguments, FLAGS)).encode()).hexdigest()
    made = _folder() / f"{key[:32]}.o"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=_folder()) as scratch:
            source, unfinished = Path(scratch, "kernel.cpp"), Path(scratch, "made")
            source.write_text(text, "utf-8")
            command = [compiler() or "g++", *FLAGS, str(source), *arguments, "-o", str(unfinished)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise KernelError(f"g++ refuses the kernel:\n{done.stderr[-4000:]}")
            unfinished.rename(made)
    return made


def _shared_memory(program: Path) -> list[str]:
    """Addresses and sizes of the static variables of functions, which is what __shared__ becomes."""
    listed = subprocess.run(["nm", "-S", str(program)], capture_output=True, text=True, check=True).stdout
    return [
        word
        for variable in re.findall(r"^(\w+) (\w+) [bd] _ZZ(?:N12_GLOBAL__N_1|\d)", listed, re.M)
        for word in variable
    ]


class _Program:
    """A running executable; started again after a launch that ended it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: Any = None
        self.signatures: dict[str, list[str]] = {}
        self.start()

    def start(self) -> None:
        options = "detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=0:exitcode=99"
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the program)
        self.process = subprocess.Popen(
            [str(self.path), *_shared_memory(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ | {"ASAN_OPTIONS": options, "UBSAN_OPTIONS": "print_stacktrace=0"},
        )
        while line := self.process.stdout.readline().decode().strip():
            name, _, signature = line.partition(":")
            self.signatures[name] = signature.split()

    def launch(self, message: bytes, sizes: list[int]) -> list[bytes]:
        """What the arrays hold afterwards."""
        if self.process is None:
            self.start()
        pipe = self.process
        with contextlib.suppress(BrokenPipeError):
            pipe.stdin.write(message)
            pipe.stdin.flush()
        head = pipe.stdout.read(8)
        if len(head) == 8:
            (length,) = struct.unpack("q", head)
            if length:
                raise KernelError(pipe.stdout.read(length).decode())
            return [pipe.stdout.read(size) for size in sizes]
        pipe.wait()
        self.log.seek(0)
        report = self.log.read().decode(errors="replace")
        self.close()
        said = [line for line in report.splitlines() if "ERROR: " in line or "runtime error: " in line]
        where = re.findall(r"\w+\.cuh?:\d+", report)[:1]
        raise KernelError("; ".join([*said[:1], *where]) or f"the kernel ended its process: {report[-2000:]}")

    def close(self) -> None:
        if self.process is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()
            self.log.close()
            self.process = None


@functools.cache
def _program(path: Path) -> _Program:
    program = _Program(path)
    atexit.register(program.close)
    return program


class RawModule:
    """Kernels from source, called as those of cupy.RawModule are.

    Parameters
    ----------
    code : str
    options : sequence of str
        -std and -D go to the compiler, the rest is NVRTC's.
    name_expressions : sequence of str
        Instances of templates, such as add<float, 3>; without it, what the code has as extern "C".

    Attributes
    ----------
    runs : int
        Orders of threads that each launch is tried in: forward, backward, and others at random.
    """

    runs = 3

    def __init__(
        self, code: str, options: Sequence[str] = (), name_expressions: Sequence[str] | None = None, **_: Any
    ) -> None:
        if name_expressions is not None and not any(option.startswith("-std=") for option in options):
            raise ValueError("need to specify C++ standard for compiling template code")  # as CuPy says it
        self.names = list(name_expressions or re.findall(r'extern "C" __global__ void (\w+)', code))
        self.program = _program(compiled(code, options, self.names))

    def get_function(self, name: str) -> Callable[..., None]:
        """A function (grid, block, args, *, shared_mem=0, stream=None); `blocks` has only some of the grid run."""
        if name not in self.names:
            raise KernelError(f"no kernel {name}; there are {', '.join(self.names)}")
        return functools.partial(self._launch, name)

    def _launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Any = None,
        blocks: range | None = None,
    ) -> None:
        sizes = {"grid": grid, "block": block}
        for what, dims in sizes.items():
            if len(dims) > 3 or any(not 0 < size <= most for size, most in zip(dims, MOST[what], strict=False)):
                raise KernelError(f"{name}: {what} {dims} is out of range")
        if np.prod(block) > 1024 or shared_mem:
            raise KernelError(f"{name}: {np.prod(block)} threads, {shared_mem} bytes: at most 1024 and none")
        signature = self.program.signatures[name]
        if len(signature) != len(args):
            raise KernelError(f"{name} takes {len(signature)} arguments; got {len(args)}")
        arrays, message = [], []
        for i, (word, argument) in enumerate(zip(signature, args, strict=True)):
            numbers, before = argument if isinstance(argument, Part) else (argument, 0)
            is_array, start, size = _bytes(f"{name}, argument {i}", word, numbers)
            content = ctypes.string_at(start, size) if is_array else numbers.tobytes()
            skew, missing = start % 16 if is_array and not before else 0, before * numbers.itemsize
            message.append(struct.pack("4q", is_array, skew, missing, len(content)) + content)
            if is_array:
                arrays.append((i, word, start, content))
        whole = [*grid, *[1] * (3 - len(grid)), *block, *[1] * (3 - len(block))]
        blocks = range(int(np.prod(grid, dtype=np.int64))) if blocks is None else blocks
        head = struct.pack("11q", self.names.index(name), self.runs, *whole, blocks.start, len(blocks), len(args))
        after = self.program.launch(head + b"".join(message), [len(content) for *_, content in arrays])
        for (i, word, start, content), left in zip(arrays, after, strict=True):
            if word[0] == "P":
                ctypes.memmove(start, left, len(left))
            elif left != content:
                raise KernelError(f"{name} writes into argument {i}, which is const")


def _bytes(what: str, word: str, argument: Any) -> tuple[bool, int, int]:
    """Whether an argument is an array, its address and its bytes. CuPy hands over whatever it gets; this does not."""
    if isinstance(argument, np.generic):
        if word[0] in "pP":
            if argument != 0 or argument.dtype != np.uintp:
                raise KernelError(f"{what} is a pointer; got {argument!r}")
        elif word != argument.dtype.str[1:]:
            raise KernelError(f"{what} is {word}; got {argument.dtype.str[1:]}")
        return False, 0, 0
    if not isinstance(argument, np.ndarray):
        raise KernelError(f"{what}: a number must say its type, as np.int32 does; got {argument!r}")
    if word[0] not in "pP" or word[1:] != argument.dtype.str[1:]:
        raise KernelError(f"{what} is {word}; got an array of {argument.dtype.str[1:]}")
    if not argument.flags.c_contiguous:
        raise KernelError(f"{what}: a kernel knows no strides; got {argument.strides} for {argument.shape}")
    return True, argument.ctypes.data, argument.nbytes
