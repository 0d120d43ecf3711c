"""A small model and small scans for the tests of batches, balls in noise, found by their brightness; and calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from voxgraft.batch.ledger import Ledger, Row
from voxgraft.batch.segment import Batch, segment
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Volume
from voxgraft.packages.package import Package
from voxgraft.preprocessing.plan import Plan

AFFINE = np.array([[-1.0, 0, 0, 12], [0, 1.0, 0, -9], [0, 0, 1.5, 30], [0, 0, 0, 1]])
SHAPE = (26, 24, 14)
CONTRACT = {
    "modality": ["MR"],
    "channels": 1,
    "spacing_mm": [[1.0, 1.0], [1.0, 1.0], [1.0, 1.5]],
    "size_mm": [[20.0, 30.0], [20.0, 30.0], [15.0, 30.0]],
}


def model(folder: Path, **changes: Any) -> Package:
    """A package without weights: what a batch needs to know of a model."""
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "dims": 3,
        "image_dims": 3,
        "channels": ("image",),
        "labels": ((1, "ball"), (2, "core")),
        "modality": "mr",
        "normalisation": ({},),
        "spacing": (1.0, 1.0, 1.0),
        "patch": (16, 16, 16),
        "batch": 1,
        "strides": ((1, 1, 1),),
        "contract": CONTRACT,
    }
    facts = {"name": "balls", "version": "3", "voxgraft": "0", **changes.pop("facts", {})}
    identity = changes.pop("hash", "a" * 64)
    plan = Plan(**{**values, **changes})
    return Package(folder, plan, Labels(tuple(Label(value, name) for value, name in plan.labels)), facts, identity)


def ball(shape: tuple[int, int, int] = SHAPE, centre: tuple[float, ...] | None = None, radius: float = 5) -> Any:
    """A bright ball with a brighter core in dark noise: int16 of shape (i, j, k)."""
    middle = centre or tuple((n - 1) / 2 for n in shape)
    place = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    distance = np.sqrt(((place - middle) ** 2).sum(-1))
    noise = np.random.default_rng(3).integers(0, 40, shape)
    return (noise + 120 * (distance < radius) + 80 * (distance < radius / 2)).astype(np.int16)


def write_scan(path: Path, array: Any = None, affine: Any = AFFINE) -> Path:
    """A NIfTI file of a ball, or of another array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(ball() if array is None else array, affine), path)
    return path


@dataclass
class Found:
    """What a predictor says."""

    labels: Volume
    confidence: dict[str, float]
    seconds: float = 0.0


@dataclass
class Brightness:
    """A predictor that knows balls by their brightness, and what it was asked.

    Attributes:
        slow: Seconds that each scan takes.
        fails: Raised for scans of these names.
    """

    slow: float = 0.0
    confidence: float = 0.95
    fails: dict[str, BaseException] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    loaded: int = 0
    notes: tuple[str, ...] = ()

    def __call__(self, package: Package) -> Brightness:
        self.loaded += 1
        return self

    def predict(self, volume: Volume, progress: Any = None, missing: Any = ()) -> Found:
        name = volume.item.path.name if volume.item else ""
        self.seen.append(name)
        if name in self.fails:
            raise self.fails[name]
        time.sleep(self.slow)
        first = volume.array.reshape(volume.channels, *volume.shape)[0]
        mask = (first > 100).astype(np.uint8) + (first > 200).astype(np.uint8)
        return Found(
            Volume(mask, volume.affine, dims=volume.dims, item=volume.item), {"ball": self.confidence, "core": 0.99}
        )


def run(tmp_path: Path, catalogue: Catalogue, *inputs: Path, predictor: Any = None, **options: Any) -> Batch:
    package = options.pop("package", None) or model(tmp_path / "model")
    return segment(
        package, inputs, tmp_path / "out", catalogue, predictor=predictor or Brightness(), **{"workers": 1, **options}
    )


def states(batch: Batch) -> dict[str, str]:
    return {scan.case: scan.state for scan in batch.scans}


def rows(tmp_path: Path) -> dict[str, Row]:
    with Ledger(tmp_path / "out") as ledger:
        return {row.case: row for row in ledger.rows()}


def three(tmp_path: Path) -> list[Path]:
    return [write_scan(tmp_path / "in" / f"{name}.nii.gz") for name in "abc"]


def broken(tmp_path: Path) -> Path:
    path = write_scan(tmp_path / "in" / "broken.nii.gz")
    path.write_bytes(path.read_bytes()[:300])
    return path


def other_code(monkeypatch: pytest.MonkeyPatch, module: str, asks: str = "voxgraft.batch.entry") -> None:
    """The code of a plugin, or of VoxGraft itself, is another.

    Args:
        asks: The module that asks for VoxGraft's own code.
    """
    if module == "voxgraft":
        monkeypatch.setattr(f"{asks}.own_code", lambda: "other")
        return
    plain: Callable[[Catalogue, Origin], str] = Catalogue.code_of

    def code_of(catalogue: Catalogue, origin: Origin) -> str:
        return ("other " if origin.module == module else "") + plain(catalogue, origin)

    monkeypatch.setattr(Catalogue, "code_of", code_of)
