"""Which clips of a run are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST, MOST = 6, 12


def select(scores: Sequence[float], labels: Sequence[str]) -> list[tuple[int, str]]:
    """The best, the median and the worst clip, one of every label as far as they go, and at least six.

    A label that none of the first three has is shown by the clip of it that lies nearest to its median. Where six are
    not reached, the ranks between are filled evenly.

    Parameters
    ----------
    scores : (n,) sequence of float
        Higher is better; clips whose score is NaN come last, and no median is of them.
    labels : (n,) sequence of str
        "" is no label.

    Returns
    -------
    chosen : list of (int, str)
        At most 12 positions in `scores`, each once, and why each was chosen.
    """
    values = np.asarray(scores, np.float64)
    order = sorted(range(len(values)), key=lambda i: (np.isnan(values[i]), -values[i]))
    ranked = [i for i in order if not np.isnan(values[i])]
    chosen: dict[int, str] = {}
    if ranked:
        for rank, why in ((0, "the best"), (len(ranked) // 2, "the median"), (len(ranked) - 1, "the worst")):
            chosen.setdefault(ranked[rank], why)
    for label in sorted({label for label in labels if label} - {labels[i] for i in chosen}):
        labelled = [i for i in order if labels[i] == label]
        known = [i for i in labelled if not np.isnan(values[i])] or labelled
        if len(chosen) < MOST:
            chosen[known[len(known) // 2]] = f"typical of {label}"
    wanted = min(LEAST, len(order))
    for step in range(1, len(order) + 1):  # ever finer divisions of the ranks
        for part in range(1, step):
            i = order[part * len(order) // step]
            if len(chosen) < wanted:
                chosen.setdefault(i, f"rank {order.index(i) + 1} of {len(order)}")
    for i in order:
        if len(chosen) < wanted:
            chosen.setdefault(i, f"rank {order.index(i) + 1} of {len(order)}")
    return list(chosen.items())
