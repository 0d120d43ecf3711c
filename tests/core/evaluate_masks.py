"""Masks and metrics for tests of scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from voxgraft.imaging.structures import Labels

AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])
LABELS = Labels.of({"liver": 1, "spleen": 2})


def mask(seed: int = 0, shape: tuple[int, ...] = (6, 5, 4), values: int = 3, kind: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, shape).astype(kind)
