"""The chain of sums from GPU to GPU, by NCCL through CuPy: training/rank.py has the one through the host.

Written against the documentation of CuPy 14.2 and of NCCL 2.32, run on what stands in for both
(tests/gpu/standin/nccl.py).
Not measured, and not tried on a GPU.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from nn1d.backend import Array
from nn1d.device import nccl
from training.executor import Gradient
from training.rank import RankError, Ranks
from training.terminal import say

HEAD = 8  # bytes of a message before its vector: the loss, in float64


class NcclChain:
    """GPUs, one a rank, that sum gradients in the order of the ranks.

    Rank r receives the sum over the ranks before it, adds its own and hands it on; the last gives the sum to all:

        S₀ = g₀,  Sᵣ = Sᵣ₋₁ + gᵣ,  all get S of the last

    An all-reduce would add in an order that NCCL chooses by the number of ranks. Everything is put into the current
    stream, and nobody waits for it: who looks at a sum waits.

    Parameters
    ----------
    communicator : cupy.cuda.nccl.NcclCommunicator
    rank, size : int
    module : cupy
    kind : int
        NCCL's number for bytes.

    References
    ----------
    NVIDIA, NCCL user guide, "Point-to-point communication": https://docs.nvidia.com/deeplearning/nccl/user-guide/docs
    """

    def __init__(self, communicator: Any, rank: int, size: int, module: Any, kind: int) -> None:
        self._communicator, self._rank, self._size = communicator, rank, size
        self._cupy, self._kind = module, kind

    @classmethod
    def join(cls, ranks: Ranks, module: Any) -> NcclChain | None:
        """The chain of all ranks, or None, with a line that says why: no NCCL, or a GPU that two of them share.

        Raises
        ------
        RankError
            NCCL refuses to join the GPUs.
        """
        library = nccl()
        gpu = f"{platform.node()} {module.cuda.Device().pci_bus_id}" if library.available else None
        gpus = ranks.gather(lambda: gpu)
        if None in gpus:
            version = module.cuda.runtime.runtimeGetVersion() // 1000
            say(f"gpu: gradients go through the host: CuPy finds no NCCL. For one: pip install nvidia-nccl-cu{version}")
            return None
        if len(set(gpus)) < ranks.size:
            say("gpu: gradients go through the host: ranks share a GPU, which NCCL does not do")
            return None
        identity = ranks.first(library.get_unique_id)
        try:
            communicator = library.NcclCommunicator(ranks.size, identity, ranks.rank)
        except library.NcclError as error:
            raise RankError(
                f"NCCL does not join the GPUs of {ranks.size} ranks: {error}. NCCL_DEBUG=INFO tells more; after "
                "pip uninstall of nvidia-nccl gradients go through the host"
            ) from error
        say("gpu: gradients go from GPU to GPU, by NCCL")
        return cls(communicator, ranks.rank, ranks.size, module, library.NCCL_UINT8)

    def chain(self, numbers: int, dtype: Any, mine: list[Gradient]) -> tuple[Array, Array]:
        """The sum of losses, and of vectors of `numbers` numbers, over the ranks in their order; not synchronised."""
        message = self._cupy.zeros(HEAD + numbers * np.dtype(dtype).itemsize, np.uint8)
        loss, total = message[:HEAD].view(np.float64), message[HEAD:].view(dtype)
        stream = self._cupy.cuda.get_current_stream().ptr
        whole = message.data.ptr, message.size, self._kind
        if self._rank > 0:
            self._communicator.recv(*whole, self._rank - 1, stream)
        for gradient_loss, gradient in mine:
            loss += gradient_loss
            total += gradient
        if self._rank + 1 < self._size:
            self._communicator.send(*whole, self._rank + 1, stream)
        self._communicator.bcast(*whole, self._size - 1, stream)
        return loss[0], total

    def leave(self, failed: bool) -> None:
        """End it; of ranks of which one has failed, without waiting for the others."""
        if failed:
            self._communicator.abort()
        else:
            self._cupy.cuda.get_current_stream().synchronize()
            self._communicator.destroy()
