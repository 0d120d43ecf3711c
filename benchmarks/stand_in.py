"""What benchmarks of batches share: a model of balls without weights, and what a stand-in for its network says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Volume
from voxgraft.packages.package import Package
from voxgraft.preprocessing.plan import Plan


@dataclass
class Found:
    """What the stand-in for a network says of a scan."""

    labels: Volume
    confidence: dict[str, float]


def bright(volume: Volume) -> Found:
    """What is bright is the ball."""
    return Found(volume.with_array((volume.array > 100).astype(np.uint8)), {"ball": 0.9})


def plan_of(classes: int, patch: tuple[int, int, int] = (16, 16, 16), **changes: Any) -> Plan:
    """A plan for volumes of one channel, with other values of some fields; the background is one of the classes."""
    fields: dict[str, Any] = {
        "dims": 3,
        "image_dims": 3,
        "channels": ("image",),
        "labels": tuple((value, "ball" if classes == 2 else f"structure-{value}") for value in range(1, classes)),
        "modality": "mr",
        "normalisation": ({},),
        "spacing": (1.0, 1.0, 1.0),
        "patch": patch,
        "batch": 1,
        "strides": ((1, 1, 1),),
    }
    return Plan(**fields | changes)


def package_of_balls(folder: Path, fingerprint: str = "0" * 64) -> Package:
    """A model of balls.

    Args:
        folder: Where it would stand.
        fingerprint: Another one is another model.
    """
    return Package(folder, plan_of(2), Labels((Label(1, "ball"),)), {"name": "balls", "version": "1"}, fingerprint)
