"""What voxels tell of the modality where no header does: Hounsfield units look like nothing else."""

from __future__ import annotations


def not_hounsfield(least: float, greatest: float) -> str:
    """Why values from `least` to `greatest` are no CT in Hounsfield units; empty where they may well be."""
    if least >= 0 and greatest <= 255:
        return f"its values go from {least:g} to {greatest:g}, as a picture's"
    if max(abs(least), abs(greatest)) < 30:
        return f"its values go from {least:.3g} to {greatest:.3g}, as if it had been normalised"
    if least >= 0:
        return f"no value is below 0 (greatest {greatest:g}), and air is -1000: subtract 1024 if it is stored unsigned"
    return ""


HOUNSFIELD = "HU"
"""The unit of CT, as measurements and modalities name it."""


def like_hounsfield(low: float, high: float, whole: bool) -> bool:
    """Whether values are Hounsfield units: air near -1000 and whole numbers, as in no other modality.

    Args:
        low, high: The percentiles 0.5 and 99.5.
        whole: All are whole numbers.
    """
    return whole and -1100 <= low <= -900 and high > 100
