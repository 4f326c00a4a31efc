"""What may befall one of nn1d's commands while it still imports, as a line and an exit code: Ctrl-C, too little memory.

From then on nn1d/command.py has it.
"""

from __future__ import annotations

import os
import signal
import sys

LEAST_MIB, THREAD_MIB = 140, 45  # of Python, NumPy and nn1d, and of a thread of BLAS
COMMANDS = {
    "nn1d.doctor": "doctor",
    "nn1d-doctor": "doctor",
    "nn1d.gradcheck": "gradcheck",
    "nn1d-gradcheck": "gradcheck",
}


def command_of_this_process() -> str | None:
    """The command of nn1d that Python was started for, before its module runs; None in any other program."""
    name = sys.argv[0] if hasattr(sys, "argv") and sys.argv else ""
    if name == "-m":  # until the module is found
        name = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv[:-1] else ""
    return COMMANDS.get(name.replace("\\", "/").rpartition("/")[2].removesuffix(".exe"))


def end_quietly(command: str) -> None:
    """Let SIGINT and SIGTERM end the process with one line: an import may swallow an exception."""

    def end(number: int, frame: object) -> None:
        os.write(2, f"{command}: {'interrupted' if number == signal.SIGINT else 'terminated'}\n".encode())
        os._exit(128 + number)  # nothing is written yet

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def check_address_space(command: str) -> None:
    """End the process where ulimit -v leaves no room for BLAS, which would end it without a sentence."""
    try:
        import resource
    except ImportError:
        return  # Windows
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    needed = LEAST_MIB + THREAD_MIB * (min(int(threads), cores) if threads.isdecimal() else cores)
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit >> 20 < needed:
        sentence = (
            f"{command}: needs about {needed} MiB of address space; ulimit -v allows {limit >> 20} MiB. Raise it: "
            "ulimit -v unlimited, or set OPENBLAS_NUM_THREADS=1\n"
        )
        os.write(2, sentence.encode())
        os._exit(2)


if command := command_of_this_process():
    end_quietly(command)
    check_address_space(command)
