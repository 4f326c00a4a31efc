"""What cupy.cuda.nccl holds: messages between ranks, which MPI carries here, from memory that stands in for a GPU's."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

from tests.gpu.standin import stream as _stream

available = True
NCCL_UINT8 = 1
TAG = 20_000  # of its messages, which are none of training/rank.py


class NcclError(RuntimeError):
    """What NCCL says."""


def get_unique_id() -> bytes:
    """128 bytes that name a group of ranks: here who has made it, where the others come together."""
    return _world().Get_rank().to_bytes(8, "little") + os.urandom(120)


class NcclCommunicator:
    """Some ranks. Messages go at once, in the order in which they are asked for, as those of one stream do."""

    def __init__(self, ndev: int, commId: bytes, rank: int, config: Any = None) -> None:
        if not (isinstance(commId, bytes) and len(commId) == 128 and 0 <= rank < ndev):
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: invalid argument")
        world, first = _world(), int.from_bytes(commId[:8], "little")
        if rank == 0:
            members = dict([(0, world.Get_rank()), *(world.recv(tag=TAG) for _ in range(ndev - 1))])
            for member in range(1, ndev):
                world.send(members, members[member], TAG + 1)
        else:
            world.send((rank, world.Get_rank()), first, TAG)
            members = world.recv(source=first, tag=TAG + 1)
        self._members, self._rank = members, rank
        self._gone = False

    def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        _world().Send(self._bytes(sendbuf, count, datatype, stream), self._members[peer], TAG + 2)

    def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        _world().Recv(self._bytes(recvbuf, count, datatype, stream), self._members[peer], TAG + 2)

    def bcast(self, buff: int, count: int, datatype: int, root: int, stream: int) -> None:
        if self._rank != root:
            self.recv(buff, count, datatype, root, stream)
            return
        for member in self._members:
            if member != root:
                self.send(buff, count, datatype, member, stream)

    def abort(self) -> None:
        self._gone = True

    def destroy(self) -> None:
        if self._gone:
            raise NcclError("NCCL_ERROR_INVALID_USAGE: invalid usage")
        self._gone = True

    def _bytes(self, place: int, count: int, datatype: int, stream: int) -> Any:
        current = _stream.get_current_stream()
        current._check_idle("ncclSend")
        if self._gone or datatype != NCCL_UINT8 or stream != current.ptr:
            raise NcclError("NCCL_ERROR_INVALID_USAGE: invalid usage")
        return np.ctypeslib.as_array((ctypes.c_ubyte * count).from_address(place))


def _world() -> Any:
    from mpi4py import MPI

    return MPI.COMM_WORLD
