"""A map of clips: their representations, as points of a plane."""

from __future__ import annotations

import numpy as np


def principal_components(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project rows on the two directions in which they differ most.

    z = (table - mean) / deviation of each column,  z = U S Vᵀ,  xy = U S of the two largest S

    A column that does not vary says nothing and counts as 0. The sign of a direction is free: its largest component is
    made positive, so that the same rows give the same map everywhere.

    Shapes
    ------
    table (n, d) -> xy (n, 2), share (2,): the part of the variance that lies along each

    Raises
    ------
    ValueError
        table is not (n, d) with n > 0 and d > 0, or holds NaN or infinity.

    Source
    ------
    Jolliffe 2002, Principal Component Analysis, chapter 3.5
    """
    table = np.asarray(table, np.float64)
    if table.ndim != 2 or 0 in table.shape or not np.isfinite(table).all():
        raise ValueError(f"principal_components: table must be (n, d) of finite numbers, not empty; got {table.shape}")
    centred = table - table.mean(axis=0)
    deviation = centred.std(axis=0)
    varies = deviation > 1e-12 * abs(table).max(axis=0)
    z = np.divide(centred, deviation, out=np.zeros_like(centred), where=varies)
    u, s, vt = np.linalg.svd(z, full_matrices=False)
    sign = np.sign(vt[np.arange(len(vt)), abs(vt).argmax(axis=1)])
    xy, share = np.zeros((len(table), 2)), np.zeros(2)
    k = min(2, len(s))
    xy[:, :k] = (u * s * sign)[:, :k]
    if (total := (s**2).sum()) > 0:
        share[:k] = s[:k] ** 2 / total
    return xy, share
