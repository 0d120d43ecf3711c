"""Conformance checks of modalities: normalised voxels are finite single-precision numbers, whatever the scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..imaging.volume import Array
from ..preprocessing.modality import ShowsBody
from .conformance import Subject, check, require


@check("modality", "normalised voxels are finite float32, for constant scans too")
def _normalised_voxels_are_finite(subject: Subject, folder: Path) -> None:
    dice = np.random.default_rng(0)
    scans = {
        "noise": dice.normal(100, 40, (1, 12, 10, 8)),
        "Hounsfield units": dice.integers(-1024, 3071, (1, 12, 10, 8)),
        "a constant": np.full((1, 6, 5, 4), 7),
        "one bright voxel": np.eye(25).reshape(1, 5, 5, 25) * 1e6,
    }
    for name, one in scans.items():
        component = subject.build()
        scan = np.repeat(one, _channels(subject), axis=0)
        params = component.plan([_measured(channel) for channel in scan])
        for dtype in (np.int16, np.uint16, np.float32) if name != "one bright voxel" else (np.float32,):
            if dtype is np.uint16 and scan.min() < 0:
                continue
            array = scan.astype(dtype)
            before = array.copy()
            out = component.normalise(array, params)
            require(out.dtype == np.float32 and out.shape == scan.shape, f"{name}: gives {out.dtype} of {out.shape}")
            require(np.isfinite(out).all(), f"{name} as {np.dtype(dtype)}: gives values that are not finite")
            require(np.array_equal(before, array), f"{name}: changes the scan itself")
            low, high = component.window(array[0])
            require(np.isfinite([low, high]).all() and low <= high, f"{name}: its window is {low} to {high}")


@check("modality", "levels of air and body are finite and rise, where it has them")
def _the_body_is_told_from_air(subject: Subject, folder: Path) -> None:
    component = subject.build()
    if not isinstance(component, ShowsBody):
        return
    dice = np.random.default_rng(0)
    for scan in (dice.integers(0, 900, (1, 12, 10, 8)).astype(np.int16), np.zeros((1, 6, 5, 4), np.float32)):
        array: Array = np.repeat(scan, _channels(subject), axis=0)
        before = array.copy()
        levels = component.body_levels(array)
        require(np.array_equal(before, array), "telling the body from air changes the scan itself")
        if levels is not None:
            channel, air, body = levels
            require(0 <= channel < len(array), f"names channel {channel} of {len(array)}")
            require(np.isfinite([air, body]).all() and air <= body, f"air is below {air}, and the body above {body}")


def _channels(subject: Subject) -> int:
    """1, or 3 for a modality of colours."""
    for count in (1, 3):
        component = subject.build()
        try:
            component.normalise(np.ones((count, 4, 4), np.uint8), component.plan([_measured(np.arange(9))] * count))
        except Exception:  # it says that it wants another number of channels
            continue
        return count
    raise AssertionError("it normalises neither one channel nor three")


def _measured(channel: Array) -> dict[str, float]:
    """What a fingerprint says of one channel."""
    low, middle, high = np.percentile(channel, [0.5, 50, 99.5])
    values = {"min": channel.min(), "max": channel.max(), "mean": channel.mean(), "std": channel.std()}
    return {name: float(value) for name, value in (values | {"p00_5": low, "p50": middle, "p99_5": high}).items()}


@check("modality", "its strengths of augmentation are known ones")
def _strengths_of_augmentation_are_known(subject: Subject, folder: Path) -> None:
    strengths = dict(subject.build().augmentation)
    unknown = sorted(set(strengths) - KNOWN)
    require(not unknown, f"augmentation does not know {', '.join(unknown)}")
    require(all(value >= 0 for value in strengths.values()), "a strength is negative")


KNOWN = frozenset(
    ("rotation", "scale", "shift", "elastic", "mirror", "gamma", "brightness", "contrast", "shading", "invert")
) | {"noise", "blur", "lowres"}
"""What `voxgraft.training.augment` can do."""
