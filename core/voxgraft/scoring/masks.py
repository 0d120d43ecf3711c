"""The two masks of a case: label maps, or channels of overlapping structures, in grids that have been compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..imaging.volume import Volume, millimetres_apart, times
from .confusion import Joint, count
from .pair import Crops, Integers, MaskPair
from .pairs import Structure
from .surface import SurfaceDistances, label_surface_distances

if TYPE_CHECKING:
    from ..imaging.structures import Labels
    from .calibration import Watch

Mask = NDArray[np.bool_]
SHEARED = 1e-4
"""The share by which slices of a sheared grid are closer to each other than their first voxels are."""


class CaseMasks:
    """A prediction and a reference in one grid, from which the pair of each structure is cut.

    Args:
        prediction: Label map, or channels: one for each structure, or for each region that `labels` names.
        reference: Label map, or channels: one for each structure.

    Raises:
        DataError: A mask holds fractions, or has channels for other structures than `labels` names.
    """

    def __init__(self, prediction: Volume, reference: Volume, labels: Labels) -> None:
        self.labels, self.spacing = labels, upright_spacing(reference)
        truth, predicted = _whole(reference, "reference"), _whole(prediction, "prediction")
        several = prediction.array.ndim > prediction.dims and prediction.channels == len(labels.regions)
        self.by_region = bool(labels.regions) and (bool(labels.paint) or several)
        if self.by_region and labels.paint:
            predicted = _unpainted(predicted, labels)
        elif self.by_region:
            predicted = predicted.reshape(len(labels.regions), *prediction.shape)
        self.ignored = _ignored(truth, labels.ignored, reference.dims)
        self._channels = tuple(array.ndim > reference.dims for array in (predicted, truth))
        for name, array, by_region in (("prediction", predicted, self.by_region), ("reference", truth, False)):
            if array.ndim > reference.dims and not by_region and len(array) != len(labels.items):
                raise DataError(
                    f"the {name} has {len(array)} channels; a mask has one, with a value for each structure, "
                    f"or a channel for each of the {len(labels.items)} structures"
                )
        if self.ignored is not None:
            predicted, truth = (np.where(self.ignored, array.dtype.type(0), array) for array in (predicted, truth))
        self._predicted, self._referred = predicted, truth
        if not any(self._channels):
            self._joint.check(labels.values)

    def has(self, structure: Structure) -> bool:
        """Whether the prediction can tell it: channels of regions hold these regions only."""
        return not self.by_region or self._region(structure) is not None

    def pair(self, structure: Structure, watch: Watch | None = None) -> MaskPair:
        """A structure or region in both masks."""
        calibrated = None if watch is None else partial(watch.reliability, structure.name)
        left_out = 0 if self.ignored is None else int(np.count_nonzero(self.ignored))
        if any(self._channels):
            predicted, truth = self._mask(self._predicted, structure, self.by_region), self.truth(structure)
            counts = count(predicted, truth).counts([1])
            cut = partial(Crops(predicted, truth, [1]).masks, 1)
            return MaskPair(replace(counts, tn=counts.tn - left_out), self.spacing, cut, calibrated=calibrated)
        single = len(structure.values) == 1
        measured = (lambda: self._surfaces.get(structure.values[0])) if single else None
        counts, cut = self._joint.counts(structure.values), partial(self._crops.masks, *structure.values)
        return MaskPair(replace(counts, tn=counts.tn - left_out), self.spacing, cut, measured, calibrated)

    def truth(self, structure: Structure, part: tuple[slice, ...] = ()) -> Mask:
        """A structure or region in the reference, shape (i, j[, k]), or in a part of it."""
        lead = (slice(None),) * (self._referred.ndim - len(self.spacing))
        return self._mask(self._referred[(*lead, *part)], structure, False)

    def arrays(self, structures: Sequence[Structure]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Prediction and reference as label maps where both are, else as 0 and 1 of shape (structure, i, j[, k])."""
        if not any(self._channels) and not self.by_region:
            return self._predicted, self._referred
        pairs = [
            (self._mask(self._predicted, structure, self.by_region), self.truth(structure)) for structure in structures
        ]
        predicted, truth = (np.stack(masks).astype(np.uint8) for masks in zip(*pairs, strict=True))
        return predicted, truth

    def _mask(self, array: Integers, structure: Structure, by_region: bool) -> Mask:
        if array.ndim == len(self.spacing):
            value = structure.values[0] if len(structure.values) == 1 else None
            return np.asarray(np.isin(array, structure.values) if value is None else array == value)
        if by_region:
            index = self._region(structure)
            assert index is not None, "a metric asked for something that the prediction lacks"
            return np.asarray(array[index] != 0)
        indices = [self.labels.values.index(value) for value in structure.values]
        return np.asarray((array[indices] != 0).any(0))

    def _region(self, structure: Structure) -> int | None:
        members = [tuple(sorted(set(region.members))) for region in self.labels.regions]
        return members.index(structure.values) if structure.values in members else None

    @cached_property
    def _joint(self) -> Joint:
        return count(self._predicted, self._referred)

    @cached_property
    def _crops(self) -> Crops:
        return Crops(self._predicted, self._referred, self.labels.values)

    @cached_property
    def _surfaces(self) -> dict[int, SurfaceDistances]:
        """Of all structures together: one pass over the masks."""
        kind = np.uint8 if max(self.labels.values) < 256 else np.uint16
        predicted, truth = (array.astype(kind, copy=False) for array in (self._predicted, self._referred))
        return label_surface_distances(predicted, truth, self.spacing)


def comparable(prediction: Volume, reference: Volume, labels: Labels) -> tuple[Volume, Volume]:
    """Both masks in one way of writing, for pictures: label maps where both are, else a channel for each structure or
    region; what counts nowhere is empty in both.

    Args:
        prediction, reference: Masks of one case, on one grid.
    """
    masks = CaseMasks(prediction, reference, labels)
    if masks.by_region:
        every = [Structure(region.name, tuple(sorted(set(region.members)))) for region in labels.regions]
    else:
        every = [Structure(label.name, (label.value,)) for label in labels.items]
    predicted, truth = masks.arrays(every)
    return prediction.with_array(predicted), reference.with_array(truth)


def upright_spacing(volume: Volume) -> tuple[float, ...]:
    """Millimetres along each axis, and through the slices of a sheared grid: its voxels have the volume that they have.

    Distances on a sheared grid are measured as if its slices stood upon each other.
    """
    spacing = volume.spacing
    if volume.dims != 3:
        return spacing
    through = abs(float(np.linalg.det(volume.affine[:3, :3]))) / (spacing[0] * spacing[1])
    return spacing if through > spacing[2] * (1 - SHEARED) else (spacing[0], spacing[1], through)


def check_grids(prediction: Volume, reference: Volume) -> None:
    """Refuse two masks that do not lie on one grid.

    Grids count as equal where no corner is further apart than 1 % of the smallest spacing, or 0.01 mm.
    """
    if prediction.shape != reference.shape:
        sizes = f"{times(prediction.shape)} voxels and the reference {times(reference.shape)}"
        raise DataError(f"the prediction has {sizes}; {_REMEDY}")
    apart = millimetres_apart(prediction.affine, reference.affine, reference.shape)
    if apart > max(0.01, 0.01 * min(reference.spacing)):
        raise DataError(f"the grids of prediction and reference lie up to {apart:.3g} mm apart; {_REMEDY}")


_REMEDY = "bring the prediction into the reference's grid with `voxgraft convert --reference --resample`"


def values_in(prediction: Volume, reference: Volume) -> tuple[int, ...]:
    """The values other than 0 that stand in two masks of one shape."""
    for name, volume in (("prediction", prediction), ("reference", reference)):
        if volume.channels != 1:
            raise DataError(
                f"the {name} has {volume.channels} channels; a mask has one, with a value for each structure"
            )
    return count(_whole(prediction, "prediction"), _whole(reference, "reference")).values


def _whole(volume: Volume, name: str) -> NDArray[Any]:
    """Whole numbers of shape (i, j[, k]), or (channel, i, j[, k]) where there are several."""
    array = volume.array.reshape(volume.shape) if volume.channels == 1 else volume.array
    if array.dtype.kind in "bui":
        return array
    if array.dtype.kind != "f":
        raise DataError(f"the {name} holds values of type {array.dtype}; a mask holds whole numbers")
    with np.errstate(invalid="ignore"):
        labels = array.astype(np.int32)
    if not (labels == array).all():
        raise DataError(
            f"the {name} holds values that are not whole numbers; is it an image or a map of probabilities?"
        )
    return labels


def _unpainted(prediction: NDArray[Any], labels: Labels) -> NDArray[np.bool_]:
    """The regions of a label map in which each was painted over those before it: shape (region, i, j[, k]).

    A voxel of a region's colour is in that region, and in those before it that hold all of its structures.
    """
    strange = sorted(set(np.unique(prediction).tolist()) - {0, *labels.paint})
    if strange:
        colours = ", ".join(map(str, labels.paint))
        raise DataError(f"the prediction holds the value {strange[0]}, which no region is painted with ({colours})")
    masks = []
    for index, region in enumerate(labels.regions):
        later = zip(labels.paint[index:], labels.regions[index:], strict=True)
        colours_of = [colour for colour, later_region in later if set(later_region.members) <= set(region.members)]
        masks.append(np.isin(prediction, colours_of))
    return np.stack(masks)


def _ignored(reference: NDArray[Any], value: int | None, dims: int) -> Mask | None:
    """Where voxels count nowhere; in channels the value stands in all of them."""
    if value is None:
        return None
    first = reference if reference.ndim == dims else reference[0]
    where: Mask = first == value
    return where if where.any() else None
