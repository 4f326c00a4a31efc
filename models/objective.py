"""The loss of the paper's Eq. 8, in its parts.

    L = L_decoder + weight · L_middle (+ L_encoder, the weight decay, which Adam applies)

L_decoder is the mean squared error of the reconstruction. L_middle sums, over the stages, the mean squared difference
between what enters pool i and what leaves unpool i; its gradient reaches both sides.
"""

from __future__ import annotations

from typing import NamedTuple

from models.autoencoder import Trace
from nn1d import mse
from nn1d.backend import Array


class Loss(NamedTuple):
    """The objective at one batch of clips."""

    total: Array
    reconstruction: Array
    middle: Array | float


def objective(trace: Trace, x: Array, middle_weight: float = 0.0) -> tuple[Loss, Trace]:
    """The loss of a trace and its gradient.

    Parameters
    ----------
    trace : Trace
    x : (N, L, 1) array
        The clips; the loss and its gradient have their type, also where signals are float16.
    middle_weight : float
        Of L_middle; at 0 it is not computed and reported as 0.

    Returns
    -------
    (Loss, Trace) : the parts, and the gradient of the total with the form of the trace.

    Source
    ------
    the paper's Eq. 7 and 8
    """

    def wide(h: Array) -> Array:
        return h.astype(x.dtype, copy=False)

    reconstruction, dy = mse(wide(trace.reconstruction), x)
    if middle_weight == 0:
        return Loss(reconstruction, reconstruction, 0.0), Trace(dy, [], [])
    middle: Array | float = 0.0
    d_encoded, d_decoded = [], []
    for encoded, decoded in zip(trace.encoded, trace.decoded, strict=True):
        difference, d = mse(wide(encoded), wide(decoded))
        middle = middle + difference
        d_encoded.append(middle_weight * d)
        d_decoded.append(-middle_weight * d)
    return Loss(reconstruction + middle_weight * middle, reconstruction, middle), Trace(dy, d_encoded, d_decoded)
