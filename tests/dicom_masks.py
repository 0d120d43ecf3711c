"""Masks of DICOM series of known geometry, for tests of the objects that hold them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_series import make_series
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import BadImage
from voxgraft.imaging.formats import StructureReader
from voxgraft.imaging.read import scan
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Item, Volume

LABELS = Labels((Label(1, "Left kidney"), Label(2, "mystery"), Label(3, "Tumour")))
FACTS = {"model": "kidney-ct", "version": "3", "hash": "ab" * 32, "software": "voxgraft 0.1.0"}
DCIODVFY = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed"
)


def turned(*angles: float, spacing: tuple[float, float, float] = (0.9, 0.8, 2.5)) -> Any:
    """An affine of axes that are turned around x, y and z by these angles in degrees."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        one = np.eye(3)
        a, b = [other for other in range(3) if other != axis]
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ one
    affine = np.eye(4)
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = [31.4, -27.1, 8.2]
    return affine


ORIENTATIONS = {
    "axial": turned(0, 0, 0),
    "sagittal": turned(0, 90, 0) @ np.diag([1, -1, 1, 1]),
    "coronal": turned(90, 0, 0) @ np.diag([-1, 1, 1, 1]),
    "oblique": turned(20, -35, 12),
}


def series(folder: Path, affine: Any = None, shape: tuple[int, int, int] = (19, 14, 9), **changes: Any) -> None:
    """A series of slices with a gradient in them."""
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    make_series(folder, array, turned(20, -35, 12) if affine is None else affine, **changes)


def only(path: Path, catalogue: Catalogue) -> Item:
    (item,) = scan(path, catalogue)
    assert item.errors == ()
    return item


def blobs(item: Item, seed: int = 3, labels: Labels = LABELS) -> Volume:
    """A mask with every label, without any symmetry; the first slice stays empty."""
    rng = np.random.default_rng(seed)
    shape = (*item.shape, 1)[:3]
    mask = np.zeros(shape, np.uint8, order="F")
    for value in labels.values:
        for _ in range(3):
            low = [int(rng.integers(0, max(1, n - 3))) for n in shape]
            mask[tuple(slice(a, a + int(rng.integers(2, 5))) for a in low)] = value
    if shape[2] > 1:
        mask[:, :, 0] = 0
    mask[1, 2, -1] = labels.values[1]
    assert set(np.unique(mask)) == {0, *labels.values}
    return Volume(mask.reshape(item.shape), item.affine, dims=len(item.shape), item=item)


def overlapping(item: Item, seed: int = 5, labels: Labels = LABELS) -> Volume:
    """A mask with a channel for each label, in which structures overlap."""
    rng = np.random.default_rng(seed)
    masks = (rng.random((len(labels.items), *item.shape)) < 0.3).astype(np.uint8)
    assert (masks.sum(0) > 1).any()
    return Volume(masks, item.affine, dims=len(item.shape), item=item)


def wanted(mask: Volume, labels: Labels = LABELS) -> dict[str, Any]:
    """Each structure of a mask by its name."""
    if mask.array.ndim > mask.dims:
        return {label.name: mask.array[number] != 0 for number, label in enumerate(labels.items)}
    return {label.name: mask.array == label.value for label in labels.items}


def same(found: dict[str, Any], meant: dict[str, Any]) -> bool:
    """Whether the structures are the same, voxel by voxel."""
    return found.keys() == meant.keys() and all(np.array_equal(found[name], meant[name]) for name in meant)


def refused_when_spoilt(reader: StructureReader, item: Item, mask: Volume, times: int, bytes_each: int) -> int:
    """How often an object with some random bytes is refused; else it must give bits in the mask's grid."""
    whole = item.path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(times):
        spoilt = bytearray(whole)
        for place in rng.integers(0, len(whole), bytes_each):
            spoilt[place] = int(rng.integers(0, 256))
        item.path.write_bytes(spoilt)
        (again,) = reader.scan([item.path])
        try:
            found = reader.structures(replace(item, problems=again.problems), mask)
            assert all(bits.shape == mask.shape for bits in found.values())
        except BadImage:
            refused += 1
    return refused


def check_other_frames(reader: StructureReader, item: Item, mask: Volume) -> None:
    """Another frame of reference is refused, unless the object names the series."""
    assert mask.item is not None
    other = replace(mask.item, facts={**mask.item.facts, "frame": "1.2.3"})
    assert same(reader.structures(item, replace(mask, item=other)), wanted(mask))
    with pytest.raises(BadImage, match="another frame of reference"):
        reader.structures(item, replace(mask, item=replace(other, series="1.2.4")))


def complaints(path: Path) -> list[str]:
    """The errors that a strict checker finds in a DICOM object."""
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert said
    return [line for line in said if line.startswith("Error")]
