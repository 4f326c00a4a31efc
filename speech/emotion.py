"""Emotions that corpora share under different names."""

from __future__ import annotations

SHARED = {  # label of a corpus -> label for evaluation across corpora; None: it has no partner elsewhere
    "anger": "anger",
    "boredom": None,  # EmoDB alone; no other corpus asked for it
    "calm": "neutral",  # RAVDESS made it a second baseline beside neutral
    "disgust": "disgust",
    "fear": "fear",
    "happiness": "happiness",
    "neutral": "neutral",
    "pleasant surprise": "surprise",  # TESS
    "sadness": "sadness",
    "surprise": "surprise",
}


def shared_label(label: str) -> str:
    """The label for evaluation across corpora; "" where it has no partner."""
    return SHARED.get(label, label) or ""
