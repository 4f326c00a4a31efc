"""The Geneva Minimalistic Acoustic Parameter Set, by openSMILE where the user installed it.

openSMILE is free for research and private use and needs a licence for anything commercial; so it is no dependency and
no extra of this project.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np


def installed() -> bool:
    """Whether openSMILE is there."""
    return find_spec("opensmile") is not None


def egemaps(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The 88 functionals of eGeMAPSv02.

    Shapes
    ------
    waveform (samples,) -> (88,), float64; what is not defined, as in a clip without a voice, is 0

    Raises
    ------
    ImportError
        openSMILE is not installed.

    Source
    ------
    Eyben et al. 2016, The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research and affective
    computing, IEEE Transactions on Affective Computing 7(2)
    """
    values = _smile().process_signal(waveform, sample_rate_hz).to_numpy(np.float64)[0]
    return np.nan_to_num(values, posinf=0, neginf=0)


@lru_cache(maxsize=1)
def _smile() -> Any:
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
