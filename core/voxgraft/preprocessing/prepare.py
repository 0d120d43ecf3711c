"""Prepared arrays: what the network trains on, in a cache that is memory-mapped, shared and safe to interrupt.

One folder a case, named by everything that decides its content: `image.npy` (float32, channel first), `label.npy`
(see `voxgraft.preprocessing.encoding`) and `places.npy` (where each structure is). A folder appears whole or not at
all, and never changes, but for a call with `--fresh`, which makes it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..imaging.channels import missing_in
from ..support.files import atomic_write, digest
from .encoding import encode_labels, masks_of
from .fingerprint import read_case
from .plan import Plan, network_image

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..datasets.cases import Case
    from ..imaging.structures import Labels
    from .modality import Modality

FORMAT = 4
PLACES = 2000
"""Remembered voxels of a class, at most, for patches that are centred on a structure."""


class Prepared(Protocol):
    """One case as the network sees it.

    Attributes:
        shape: Voxels along each axis.
        image: float32 (channel, *spatial), normalised, at the plan's spacing, axes in RAS order.
        label: Class indices or bits of regions (*spatial), see `voxgraft.preprocessing.encoding`; None for an
            unlabelled case.
        places: int16, or int32 for long axes (n, 1 + axes): structure, counted from 1, and voxel, structures in order.
    """

    @property
    def case(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def image(self) -> NDArray[np.float32]: ...

    @property
    def label(self) -> NDArray[Any] | None: ...

    @property
    def places(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Stored:
    """A prepared case in the cache. Its arrays are mapped when they are asked for and not held: a mapped file counts
    as an open one, and a data set may have more cases than a process may have open files."""

    case: str
    folder: Path
    shape: tuple[int, ...]
    labelled: bool
    places: NDArray[Any]

    @property
    def image(self) -> NDArray[np.float32]:
        return _mapped(self.folder / "image.npy", self.case)

    @property
    def label(self) -> NDArray[Any] | None:
        return _mapped(self.folder / "label.npy", self.case) if self.labelled else None


def prepared_folder(cache: Path, decides: Mapping[str, Any]) -> Path:
    """Where a case's arrays are, by everything that decides their content (see `voxgraft.runs.steps.prepare`)."""
    return cache / digest({"format": FORMAT, **decides})[:24]


def prepare(
    case: Case,
    folder: Path,
    plan: Plan,
    modality: Modality,
    catalogue: Catalogue,
    labels: Labels | None = None,
    *,
    again: bool = False,
) -> bool:
    """Make a case's arrays, unless they are there.

    Args:
        again: Make them also where they are there, and replace those.

    Returns:
        Whether there was anything to do.

    Raises:
        DataError: The case cannot be read, or the disk is full.
    """
    if folder.is_dir() and not again:
        return False
    image, label = read_case(case, catalogue, labels)
    array = image.array.reshape(image.channels, *image.shape)
    voxels = network_image(array, image.spacing, plan, modality, missing_in(case.images))
    classes = None if label is None else encode_labels(label.array, voxels.shape[1:], plan)
    with atomic_write(folder, first=not again) as temporary:
        temporary.mkdir(parents=True)
        np.save(temporary / "image.npy", voxels)
        if classes is not None:
            np.save(temporary / "label.npy", classes)
            np.save(temporary / "places.npy", structure_places(classes, plan))
    return True


def load_prepared(case: str, folder: Path) -> Stored:
    """Open a case's arrays without reading them."""
    image = _mapped(folder / "image.npy", case)
    labelled = (folder / "label.npy").exists()
    voxels = np.zeros((0, image.ndim), np.int16)
    if labelled:
        _mapped(folder / "label.npy", case)
        voxels = np.array(_mapped(folder / "places.npy", case))
    return Stored(case, folder, image.shape[1:], labelled, voxels)


def _mapped(path: Path, case: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path.parent.name}: the prepared arrays of case {case!r} are damaged; remove that folder of the cache"
        ) from error
    return array


def structure_places(label: NDArray[Any], plan: Plan) -> NDArray[Any]:
    """Evenly drawn voxels of each structure, so few that those of many cases and structures fit into memory, in the
    smallest type that holds every position."""
    structures = len(plan.labels)
    most = max(200, min(PLACES, 10 * PLACES // max(1, structures)))
    kind = np.int16 if max(*label.shape, structures) < 1 << 15 else np.int32
    blocks: list[NDArray[Any]] = [np.zeros((0, label.ndim + 1), kind)]
    for index in range(1, structures + 1):
        voxels = np.flatnonzero(masks_of(label, index, plan))
        voxels = voxels[:: max(1, -(-voxels.size // most))]
        where = np.stack(np.unravel_index(voxels, label.shape), 1)
        blocks.append(np.concatenate([np.full((len(where), 1), index), where], 1).astype(kind))
    return np.concatenate(blocks)
