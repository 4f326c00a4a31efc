"""What a recording is that holds no sound: how far apart its values lie, and how few of them occur."""

from __future__ import annotations

import math

import numpy as np

SMALLEST_RANGE = 1e-6  # -120 dB of full scale: the residue of coded silence, not a voice
ROUNDING_STEPS = 6  # a range of so many steps is rounding noise, dithered or not; -81 dB of full scale for 16 bits
TIMES = 16  # that each value must occur, on average, to be one of the few that a recording has
CANCELLED = 1e-4  # of the power of the channels, -40 dB: what coding leaves where they are averaged
STEPS = {  # between the values of an encoding that are nearest to 0, where it is not that of 16 bits
    **dict.fromkeys(("PCM_S8", "PCM_U8", "DPCM_8"), 2.0**-7),
    "ALAW": 2.0**-11,
    "ULAW": 2.0**-12,
    **dict.fromkeys(("DWVW_12", "GSM610"), 2.0**-11),
    **dict.fromkeys(("NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"), 2.0**-12),
    "ALAC_20": 2.0**-19,
    **dict.fromkeys(("PCM_24", "DWVW_24", "ALAC_24"), 2.0**-23),
    **dict.fromkeys(("PCM_32", "ALAC_32", "FLOAT", "DOUBLE"), 2.0**-31),
}


def between_values(block: np.ndarray) -> float:
    """The least difference between the values of a channel; 0 where they are many, infinity where they are one."""
    least = math.inf
    for channel in block.reshape(len(block), -1).T:
        values = np.unique(channel)
        if len(values) * TIMES > len(channel):
            return 0.0
        if len(values) > 1:
            least = min(least, float(np.diff(values).min()))
    return least
