"""Where a case counts, such as the field of view of a camera: a file beside its mask, or what its modality finds in the
image. Voxels outside count neither in training nor in scores, as those that `data.ignore` marks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..components.choice import choose
from ..errors import BadImage, BrokenPlugin, DataError
from ..imaging.volume import FoundRegion, first_channel
from .masks import in_grid_of, read_map

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..imaging.volume import ImageRef, Volume

REGION = "the valid region"
"""What such a file is called in messages."""


@runtime_checkable
class FindsRegion(Protocol):
    """A modality that sees in an image where it counts, such as the round field of view of a camera."""

    def valid_region(self, array: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Where an image (channel, *spatial) as it was read counts: bool (*spatial); None where all of it does."""
        ...


def region_in(modality: object, image: Volume) -> NDArray[np.bool_] | None:
    """Where an image counts by what its modality finds in it: bool (*spatial); None where all of it does.

    Raises:
        BrokenPlugin: What it finds does not have the image's shape.
    """
    if not isinstance(modality, FindsRegion):
        return None
    inside = modality.valid_region(image.array.reshape(image.channels, *image.shape))
    if inside is None or (inside.shape == image.shape and inside.dtype == np.bool_):
        return inside
    error = ValueError(f"gives {inside.dtype} of {inside.shape} for an image of {image.shape}, not bool")
    raise BrokenPlugin(type(modality).__module__, "finding where an image counts", error)


def found_region(reference: FoundRegion, image: Volume, catalogue: Catalogue) -> NDArray[np.bool_]:
    """Where a case counts, found in its image by its modality; everywhere, where that finds no border.

    Args:
        reference: The modality, with its options.
    """
    modality = choose(catalogue, "modality", json.loads(reference.modality)).build()
    inside = region_in(modality, image)
    return np.ones(image.shape, np.bool_) if inside is None else inside


def read_valid_region(reference: ImageRef, like: Volume, catalogue: Catalogue, case: str) -> NDArray[np.bool_]:
    """Where a case counts: bool of the shape and order of axes of its image.

    Args:
        reference: The file of the region, 0 is out, everything else in; or what is found in the image.
        case: What messages call the case.

    Raises:
        DataError: The file cannot be read, lies on another grid than the image, or is 0 everywhere.
    """
    if isinstance(reference, FoundRegion):
        return found_region(reference, like, catalogue)
    try:
        volume = one_channel(read_map(reference, catalogue), reference)
        inside = nonzero(volume)
        inside = in_grid_of(volume.with_array(inside), like, reference, REGION).array
    except DataError as error:
        raise DataError(f"case {case!r}, {REGION}: {error}") from error
    if not inside.any():
        raise DataError(f"case {case!r}: {REGION} {reference.path.name} is 0 everywhere, so that nothing would count")
    return np.asarray(inside, np.bool_)


def one_channel(volume: Volume, name: object) -> Volume:
    """The file as one map; a picture whose colours are all the same is one."""
    if volume.channels == 1:
        return first_channel(volume)
    colours = volume.array[:3] if volume.dims == 2 and volume.channels == 4 else volume.array  # the fourth is opacity
    if any(not np.array_equal(colours[0], channel) for channel in colours[1:]):
        raise BadImage(name, f"it has {volume.channels} channels that differ; one is needed, 0 where nothing counts")
    return volume.with_array(colours[0])


def nonzero(volume: Volume) -> NDArray[np.bool_]:
    """Where a map is not 0.

    Raises:
        BadImage: Its values are not real numbers, or some are NaN.
    """
    array = volume.array
    name = volume.item.path.name if volume.item else REGION
    if array.dtype.kind not in "biuf":
        raise BadImage(name, f"it holds values of type {array.dtype}, which cannot be compared with 0")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise BadImage(name, "it contains NaN; write 0 where nothing counts, else 1")
    return np.asarray(array != 0)
