"""Prepared arrays: what the network trains on, in a cache that is memory-mapped, shared and safe to interrupt.

One folder a case, named by everything that decides its content: `image.npy` (float32, channel first), `label.npy`
(uint8 class indices) and `places.npy` (where each class is). A folder appears whole or not at all, and never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..discovery import Catalogue
from ..errors import DataError
from ..files import TEMPORARY, digest, remove, whole
from ..interfaces import Modality
from ..volume import Array
from .cases import Case
from .fingerprint import read_case
from .grid import shape_at
from .plan import Plan
from .resample import resample_image, resample_labels

FORMAT = 2
PLACES = 2000
"""Remembered voxels of each class, for patches that are centred on a structure."""


@dataclass(frozen=True)
class Prepared:
    """One case as the network sees it; arrays are memory-mapped.

    Attributes:
        image: float32 (channel, *spatial), normalised, at the plan's spacing, axes in RAS order.
        label: uint8 class indices (*spatial), None for an unlabelled case.
        places: int32 (n, 1 + axes): class index and voxel, classes in order.
    """

    case: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8] | None
    places: NDArray[np.int32]


def prepared_folder(cache: Path, content: str, plan: Plan) -> Path:
    """Where a case's arrays are, by the hash of its files and of what the plan does to them."""
    decides = {
        "format": FORMAT,
        "content": content,
        "modality": plan.modality,
        "normalisation": plan.normalisation,
        "spacing": plan.spacing,
        "labels": [value for value, _ in plan.labels],
    }
    return cache / digest(decides)[:24]


def prepare(case: Case, folder: Path, plan: Plan, modality: Modality, catalogue: Catalogue) -> bool:
    """Make a case's arrays, unless they are there.

    Returns:
        Whether there was anything to do.

    Raises:
        DataError: The case cannot be read, or the disk is full.
    """
    if folder.is_dir():
        return False
    image, label = read_case(case, catalogue)
    voxels = network_image(image.array.reshape(image.channels, *image.shape), image.spacing, plan, modality)
    classes = None if label is None else _classes(label.array, voxels.shape[1:], plan)
    with whole(folder) as beside:
        beside.mkdir(parents=True)
        np.save(beside / "image.npy", voxels)
        if classes is not None:
            np.save(beside / "label.npy", classes)
            np.save(beside / "places.npy", _places(classes, len(plan.labels)))
    return True


def network_image(array: Array, spacing: tuple[float, ...], plan: Plan, modality: Modality) -> NDArray[np.float32]:
    """Normalise and resample (channel, *spatial), axes in RAS order: the one path for training and for prediction."""
    normalised = modality.normalise(array, plan.normalisation)
    return resample_image(normalised, shape_at(array.shape[1:], spacing, plan.spacing))


def load_prepared(case: str, folder: Path) -> Prepared:
    """Open a case's arrays without reading them.

    Raises:
        DataError: They are not there or damaged.
    """
    try:
        image = np.load(folder / "image.npy", mmap_mode="r", allow_pickle=False)
        label, places = None, np.zeros((0, image.ndim), np.int32)
        if (folder / "label.npy").exists():
            label = np.load(folder / "label.npy", mmap_mode="r", allow_pickle=False)
            places = np.load(folder / "places.npy", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder.name}: the prepared arrays of case {case!r} are damaged; remove that folder of the cache"
        ) from error
    return Prepared(case, image, label, places)


def sweep(cache: Path) -> None:
    """Remove what interrupted processes left half-written."""
    for leftover in cache.glob(f"{TEMPORARY}-*") if cache.is_dir() else ():
        pid = leftover.name.split("-")[1]
        if not (pid.isdigit() and Path("/proc", pid).exists()):
            remove(leftover)


def _classes(label: Array, shape: tuple[int, ...], plan: Plan) -> NDArray[np.uint8]:
    table = np.zeros(max(int(label.max()), *plan.values) + 1, np.uint8)
    for index, value in enumerate(plan.values):
        table[value] = index
    return resample_labels(table[label], shape, plan.classes)


def _places(classes: NDArray[np.uint8], structures: int) -> NDArray[np.int32]:
    found: list[NDArray[Any]] = [np.zeros((0, classes.ndim + 1), np.int32)]
    for index in range(1, structures + 1):
        voxels = np.flatnonzero(classes == index)
        voxels = voxels[:: max(1, voxels.size // PLACES)]
        where = np.stack(np.unravel_index(voxels, classes.shape), 1)
        found.append(np.concatenate([np.full((len(where), 1), index), where], 1).astype(np.int32))
    return np.concatenate(found)
