"""From a scan to labels in the scan's own grid, with the preprocessing that the package carries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from ..data.coding import bit_type, regridded
from ..data.grid import reoriented
from ..data.plan import Plan
from ..data.prepare import network_image
from ..discovery import Catalogue
from ..errors import BadImage, ModelError
from ..interfaces import Modality
from ..model.network import SegmentationNetwork
from ..package import Package
from ..volume import Volume
from .build import network_of, recipe_of
from .decide import Tally, decided, mask_of, shares
from .device import choose_device
from .interpolation import Interpolation, resize_rest
from .sliding import logits_by_slab

See = Callable[[tuple[slice, ...], NDArray[np.float32]], None]
"""Is shown where a part of the scan lies, and the probabilities of the network's outputs there: (output, *part)."""

SHARE_OF_MEMORY = 0.25
"""Of the memory that is free, what the logits of one slab may take."""


@dataclass(frozen=True)
class Prediction:
    """What was found in a scan.

    Attributes:
        labels: The values the package's labels name, in the scan's own grid; `labels.item` is the scan's. Of regions
            that nothing is painted with: 0 and 1 (region, i, j[, k]), in the order of the package's labels.
        confidence: For each structure found, the mean probability of it inside it (0 to 1).
        seconds: Of computing, without reading and writing.
    """

    labels: Volume
    confidence: dict[str, float]
    seconds: float


class Predictor:
    """A trained model, ready for scans.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        overlap, mirror: By default what the package's workflow says.

    Raises:
        ModelError: The weights do not fit the network that the package describes, or a plugin it needs is missing.
    """

    def __init__(
        self,
        package: Package,
        catalogue: Catalogue,
        *,
        device: str = "auto",
        overlap: float | None = None,
        mirror: bool | None = None,
    ) -> None:
        recipe = recipe_of(package, catalogue)
        self.package, self.plan = package, package.plan
        self.overlap = recipe.inference.overlap if overlap is None else overlap
        self.mirror = recipe.inference.mirror if mirror is None else mirror
        self.batch = recipe.inference.batch
        self.device = choose_device(device)
        self.modality: Modality = recipe.modality.build()
        self.network = network_of(recipe.model, package.plan)
        try:
            self.network.load_state_dict(load_file(package.weights))
        except Exception as error:
            raise ModelError(f"{package.folder}: the weights do not fit the network it describes") from error
        self.network.to(self.device).eval()

    def predict(
        self,
        volume: Volume,
        progress: Callable[[float], None] | None = None,
        missing: Sequence[int] = (),
        see: See | None = None,
    ) -> Prediction:
        """Labels in the scan's own grid.

        Args:
            volume: One scan, (channel, i, j[, k]) or (i, j[, k]), in any orientation and spacing.
            missing: The optional channels that the scan lacks; what `volume` holds in their place is not looked at.
            see: Is shown the probabilities, a part of the scan at a time, each voxel once, in RAS order of axes. A 2D
                network on slices that had to be resampled shows nothing: its masks are resampled, not probabilities.

        Raises:
            BadImage: It has another number of channels or axes than the model was trained on, or lacks a channel that
                the model cannot do without.
        """
        start = time.monotonic()
        check_scan(volume, self.plan, missing)
        image, orientation = reoriented(volume)
        voxels = network_image(
            image.array.reshape(image.channels, *image.shape), image.spacing, self.plan, self.modality, missing
        )
        classes, confidence = segment_array(
            self.network,
            torch.from_numpy(np.ascontiguousarray(voxels)),
            image.shape,
            self.plan,
            overlap=self.overlap,
            mirror=self.mirror,
            batch=self.batch,
            device=self.device,
            progress=progress,
            see=see,
        )
        labels = np.ascontiguousarray(orientation.undo(mask_of(classes, self.plan)))
        first = 0 if self.plan.regions else 1
        names = output_names(self.package)
        found = {name: round(confidence[i + first], 4) for i, name in enumerate(names) if confidence[i + first] > 0}
        result = Volume(labels, volume.affine, dims=volume.dims, item=volume.item)
        return Prediction(result, found, time.monotonic() - start)


def output_names(package: Package) -> list[str]:
    """The structure of each output, background left out; a region that is painted has its colour's name."""
    called = {label.value: label.name for label in package.labels.items}
    return [called.get(value, name) for value, name in package.plan.labels]


def segment_array(
    network: SegmentationNetwork,
    image: Tensor,
    shape: tuple[int, ...],
    plan: Plan,
    *,
    overlap: float = 0.5,
    mirror: bool = False,
    batch: int = 1,
    device: torch.device | None = None,
    progress: Callable[[float], None] | None = None,
    see: See | None = None,
) -> tuple[NDArray[Any], list[float]]:
    """What is found in a network image, on a grid of another number of voxels over the same extent.

    Memory: the network image and the result, and the logits of one slab of rows; where those are too many for the
    machine, the slab is done in columns.

    Args:
        image: float32 (channel, *spatial), axes in RAS order, at the plan's spacing.
        shape: Voxels of the result.

    Returns:
        Class indices or bits (*shape), see `voxgraft.data.coding`; and for each output of the network the mean
        probability where it won, or where the region is (0 where that is nowhere).
    """
    options: dict[str, Any] = {
        "overlap": overlap,
        "mirror": mirror,
        "batch": batch,
        "device": device,
        "progress": progress,
    }
    if plan.dims != plan.image_dims:
        return _by_slice(network, image, shape, plan, options, see)
    result = np.zeros(shape, bit_type(plan) if plan.regions else np.uint8)
    tally = Tally(plan.classes)
    for columns in _columns(tuple(image.shape[1:]), plan):
        _fill(result, tally, network, image, plan, columns, options, see)
    return result, tally.means()


def _fill(
    result: NDArray[Any],
    tally: Tally,
    network: SegmentationNetwork,
    image: Tensor,
    plan: Plan,
    columns: tuple[int, int],
    options: dict[str, Any],
    see: See | None,
) -> None:
    """Resample each slab of logits to the result's grid and keep what was found; two slabs share a row."""
    source = tuple(int(n) for n in image.shape[1:])
    reach = (max(0, columns[0] - 2), min(source[1], columns[1] + 2))
    rows = Interpolation(source[0], result.shape[0])
    cols = Interpolation(source[1], result.shape[1])
    first_col, last_col = cols.targets(columns[0], columns[1], source[1])
    held: Tensor | None = None
    for start, slab in logits_by_slab(network, image, plan.patch, columns=reach, **options):
        held = slab if held is None else torch.cat([held, slab], 1)
        begin = start + slab.shape[1] - held.shape[1]
        end = start + slab.shape[1]
        low, high = rows.targets(begin, end, source[0])
        if low < high:
            logits = rows.take(held, 1, low, high, begin)
            logits = cols.take(logits, 2, first_col, last_col, reach[0])
            logits = resize_rest(logits, result.shape[2:])
            if see is not None:
                rest = (slice(0, n) for n in result.shape[2:])
                see((slice(low, high), slice(first_col, last_col), *rest), shares(logits, plan))
            result[low:high, first_col:last_col] = decided(logits, plan, tally).cpu().numpy()
        held = held[:, -1:]


def _by_slice(
    network: SegmentationNetwork,
    image: Tensor,
    shape: tuple[int, ...],
    plan: Plan,
    options: dict[str, Any],
    see: See | None,
) -> tuple[NDArray[Any], list[float]]:
    """A 2D network on a volume: each slice by itself, resampled in its plane, then along the slices' axis."""
    axis = plan.slice_axis
    flat = tuple(n for a, n in enumerate(shape) if a != axis)
    tally = Tally(plan.classes)
    slices = []
    for index in range(image.shape[1 + axis]):
        part = np.zeros(flat, bit_type(plan) if plan.regions else np.uint8)
        one = image.select(1 + axis, index)
        watching = _in_slice(see, axis, index) if see and image.shape[1 + axis] == shape[axis] else None
        _fill(part, tally, network, one, plan, (0, int(one.shape[2])), {**options, "progress": None}, watching)
        slices.append(part)
        progress = options["progress"]
        if callable(progress):
            progress((index + 1) / image.shape[1 + axis])
    return regridded(np.stack(slices, axis), shape, plan), tally.means()


def _in_slice(see: See, axis: int, index: int) -> See:
    """Shows the probabilities of one slice as a part of the volume."""

    def show(part: tuple[slice, ...], found: NDArray[np.float32]) -> None:
        see((*part[:axis], slice(index, index + 1), *part[axis:]), np.expand_dims(found, 1 + axis))

    return show


def _columns(source: tuple[int, ...], plan: Plan) -> Iterator[tuple[int, int]]:
    """Parts of the second axis whose slab of logits fits into memory, each sharing its last position with the next."""
    rows = min(source[0], plan.patch[0]) * 3
    column = 4.0 * plan.classes * rows * float(np.prod(source[2:]))
    fits = int(psutil.virtual_memory().available * SHARE_OF_MEMORY / column)
    width = max(min(plan.patch[1], source[1]), fits)
    start = 0
    while True:
        end = min(source[1], start + width)
        yield start, end
        if end == source[1]:
            return
        start = end - 1


def check_scan(volume: Volume, plan: Plan, missing: Sequence[int]) -> None:
    """Refuse a scan that the model is not for.

    Raises:
        BadImage: It has another number of channels or axes, or lacks a channel that the model cannot do without.
    """
    name = volume.item.path.name if volume.item else "the scan"
    if volume.dims != plan.image_dims:
        raise BadImage(name, f"has {volume.dims} axes; the model was trained on images of {plan.image_dims}")
    if volume.channels != len(plan.channels):
        wanted = ", ".join(plan.channels)
        raise BadImage(name, f"has {volume.channels} channels; the model needs {len(plan.channels)}: {wanted}")
    if min(volume.shape) < 1 or not np.isfinite(volume.spacing).all():
        raise BadImage(name, "has no voxels")
    for place in missing:
        if plan.channels[place] not in plan.optional:
            raise BadImage(name, f"lacks the channel {plan.channels[place]}, which the model cannot do without")
