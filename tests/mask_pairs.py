"""Pairs of masks for tests of metrics: smooth ones that resemble each other, and noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Volume
from voxgraft.scoring.confusion import count
from voxgraft.scoring.pair import Crops, MaskPair


def pair_of(prediction: Any, reference: Any, spacing: tuple[float, ...] | None = None) -> MaskPair:
    """What metrics are given; without a spacing voxels are 1 mm wide."""
    prediction, reference = (np.asarray(mask, bool) for mask in (prediction, reference))
    counts = count(prediction, reference).counts([1])
    crops = Crops(prediction, reference, [1])
    return MaskPair(counts, spacing or (1.0,) * prediction.ndim, lambda: crops.masks(1))


def blobs(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two smooth masks that resemble each other, touch the border of the image, and hold a few specks."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(seed)
    field = gaussian_filter(generator.standard_normal(shape), 3)
    other = field + gaussian_filter(generator.standard_normal(shape), 2) * 0.6
    prediction, reference = other > other.std() * 0.5, field > field.std() * 0.5
    prediction[tuple(generator.integers(0, n, 3) for n in shape)] = True
    return prediction, reference


def noise(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.random(shape) < 0.3, generator.random(shape) < 0.5


AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])

LABELS = Labels.of({"a": 1, "b": 2, "c": 3})

NAMES = ("dice", "recall", "specificity", "hd95", "nsd", "assd", "lesion-recall")


def labels_of(seed: int, shape: tuple[int, ...] = (9, 8, 7), values: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, shape).astype(np.uint8)


def volume(array: np.ndarray, dims: int = 0) -> Volume:
    return Volume(array, AFFINE, dims=dims)
