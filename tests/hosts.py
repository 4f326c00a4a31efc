"""python -m tests.hosts: a job over machines that are network namespaces of this one. Needs root, iproute2 and MPICH.

Each namespace has a network of its own, a host name and one cable, to a bridge. mpiexec reaches them as it would by
ssh, and MPI has TCP alone. The run comes to the bits of one process; what went through the cables is printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ranks import MPIEXEC
from nn1d.command import Parser
from tests.command import ROOT, SMALL, make_recordings, outcome, train

NAMES = ("nn1d-a", "nn1d-b", "nn1d-c")
BRIDGE = "nn1d-hub"  # a namespace too: the network of the machine itself is left alone
OVER_TCP = {"UCX_TLS": "tcp,self", "FI_PROVIDER": "tcp"}
REACH = """#!/bin/sh
# mpiexec calls it as it calls ssh: options, an address, a command
while [ "${1#-}" != "$1" ]; do shift; done
host="nn1d-$(echo "${1##*.}" | tr 123 abc)"
shift
exec ip netns exec "$host" unshare --uts sh -c "hostname $host; exec $*"
"""


def ip(*words: str) -> str:
    """What a command of iproute2 prints."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@contextmanager
def hosts(count: int) -> Iterator[list[str]]:
    """Addresses of as many machines, which are there until the end of the block."""
    names = NAMES[:count]
    try:
        ip("netns", "add", BRIDGE)
        ip("-n", BRIDGE, "link", "add", "hub", "type", "bridge")
        ip("-n", BRIDGE, "link", "set", "hub", "up")
        for number, name in enumerate(names, 1):
            ip("netns", "add", name)
            ip("-n", BRIDGE, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", BRIDGE, "link", "set", f"port{number}", "master", "hub", "up")
            ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
        yield [f"10.77.0.{number}" for number in range(1, count + 1)]
    finally:
        for name in (*names, BRIDGE):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def sent_bytes(name: str) -> int:
    """What a machine has sent through its cable."""
    text = subprocess.run(
        ["ip", "netns", "exec", name, "cat", "/sys/class/net/eth0/statistics/tx_bytes"], check=True,
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    return int(text)


def main() -> int:
    """One process, then two and three machines with two ranks each."""
    Parser(command="tests.hosts", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        reach = folder / "reach"
        reach.write_text(REACH)
        reach.chmod(0o700)
        options = ("--db", "folder", "--data-dir", str(make_recordings(folder / "recordings")), *SMALL,
                   "--cache-dir", str(folder / "cache"), "--batch-size", "6", "--threads", "1")  # fmt: skip
        train(*options, "--out", folder / "alone")
        expected = outcome(folder / "alone")
        for count in (2, 3):
            run = folder / f"on{count}"
            with hosts(count) as addresses:
                command = ["ip", "netns", "exec", NAMES[0], str(MPIEXEC), "-launcher", "ssh",
                           "-launcher-exec", str(reach), "-hosts", ",".join(addresses),
                           "-ppn", "2", "-n", str(2 * count), "-iface", "eth0", sys.executable, "train.py", *options,
                           "--out", str(run)]  # fmt: skip
                done = subprocess.run(
                    command, cwd=ROOT, env=os.environ | OVER_TCP, capture_output=True, text=True, timeout=300,
                    stdin=subprocess.DEVNULL,
                )  # fmt: skip
                assert done.returncode == 0, done.stdout + done.stderr
                print(done.stdout.splitlines()[0])
                print(f"  sent: {', '.join(f'{name} {sent_bytes(name):,} bytes' for name in NAMES[:count])}")
            other = [name for name, value in outcome(run).items() if value != expected[name]]
            assert not other, f"{count} machines came to another end: {', '.join(other)}"
            print("  the same weights, states, features, history and results as one process")
    return 0


if __name__ == "__main__":
    sys.exit(main())
