"""From a network image to what is found at each voxel, and to the mask that is written.

The result is on a grid of its own: in slabs where memory is short, or by slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..errors import ModelError
from ..preprocessing.encoding import encoded_type, masks_of, regridded
from ..support.memory import free_memory
from .sliding import logits_by_slab

if TYPE_CHECKING:
    from ..networks.network import SegmentationNetwork
    from ..preprocessing.plan import Plan

See = Callable[[tuple[slice, ...], NDArray[np.float32]], None]
"""Is shown where a part of the scan lies, and the probabilities of the network's outputs there: (output, *part)."""

NOT_FINITE = (
    "the network's output is not finite: the scan holds values far from those of training, or the model is damaged; no "
    "mask is made of it"
)

SHARE_OF_MEMORY = 0.25
"""Of the memory that is free, what the logits of one slab may take."""


def segment_array(
    network: SegmentationNetwork,
    image: Tensor,
    shape: tuple[int, ...],
    plan: Plan,
    *,
    overlap: float = 0.5,
    mirror: Sequence[int] = (),
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
        mirror: The network's axes along which windows are mirrored, and the logits of all copies averaged.

    Returns:
        Class indices or bits (*shape), see `voxgraft.preprocessing.encoding`; and for each output of the network the
        mean probability where it won, or where the region is (0 where that is nowhere).

    Raises:
        ModelError: The network's output is not finite.
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
    result = np.zeros(shape, encoded_type(plan))
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
        if not bool(torch.isfinite(slab).all()):
            raise ModelError(NOT_FINITE)
        begin = start + slab.shape[1] - held.shape[1]
        end = start + slab.shape[1]
        low, high = rows.targets(begin, end, source[0])
        if low < high:
            logits = rows.take(held, 1, low, high, begin)
            logits = cols.take(logits, 2, first_col, last_col, reach[0])
            logits = resize_rest(logits, result.shape[2:])
            if see is not None:
                rest = (slice(0, n) for n in result.shape[2:])
                see((slice(low, high), slice(first_col, last_col), *rest), probabilities_of(logits, plan))
            result[low:high, first_col:last_col] = decide(logits, plan, tally).cpu().numpy()
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
        part = np.zeros(flat, encoded_type(plan))
        plane = image.select(1 + axis, index)
        watching = _in_slice(see, axis, index) if see and image.shape[1 + axis] == shape[axis] else None
        _fill(part, tally, network, plane, plan, (0, int(plane.shape[2])), {**options, "progress": None}, watching)
        slices.append(part)
        progress = options["progress"]
        if callable(progress):
            progress((index + 1) / image.shape[1 + axis])
    return regridded(np.stack(slices, axis), shape, plan), tally.means()


def _in_slice(see: See, axis: int, index: int) -> See:
    """Shows the probabilities of one slice as a part of the volume."""

    def show(part: tuple[slice, ...], probabilities: NDArray[np.float32]) -> None:
        see((*part[:axis], slice(index, index + 1), *part[axis:]), np.expand_dims(probabilities, 1 + axis))

    return show


def _columns(source: tuple[int, ...], plan: Plan) -> Iterator[tuple[int, int]]:
    """Parts of the second axis whose slab of logits fits into memory, each sharing its last position with the next."""
    rows = min(source[0], plan.patch[0]) * 3
    column = 4.0 * plan.classes * rows * float(np.prod(source[2:]))
    fits = int(free_memory() * SHARE_OF_MEMORY / column)
    width = max(min(plan.patch[1], source[1]), fits)
    start = 0
    while True:
        end = min(source[1], start + width)
        yield start, end
        if end == source[1]:
            return
        start = end - 1


class Tally:
    """Mean probability of the winning class, class by class, over parts of a scan."""

    def __init__(self, classes: int) -> None:
        self.sums = torch.zeros(classes, dtype=torch.float64)
        self.voxels = torch.zeros(classes, dtype=torch.float64)

    def add(self, classes: Tensor, best: Tensor) -> None:
        flat = classes.flatten()
        number = len(self.sums)
        self.sums += torch.bincount(flat, best.flatten().double(), minlength=number).cpu()
        self.voxels += torch.bincount(flat, minlength=number).double().cpu()

    def add_region(self, index: int, probability: Tensor, inside: Tensor) -> None:
        """Add one part of a scan for one region.

        Args:
            index: The region's place among the network's outputs.
            probability: Of the region, any shape.
            inside: Bool of the same shape: where the region was decided for.
        """
        self.sums[index] += (probability * inside).double().sum().cpu()
        self.voxels[index] += inside.sum().double().cpu()

    def means(self) -> list[float]:
        return [float(s / n) if n else 0.0 for s, n in zip(self.sums, self.voxels, strict=True)]


def decide(logits: Tensor, plan: Plan, tally: Tally) -> Tensor:
    """The winning class of each voxel, or a bit for each region that is more likely there than not.

    Args:
        logits: (output, *spatial).
        plan: Says whether outputs are classes, which exclude each other, or regions.
        tally: Is told the probabilities of what was decided.
    """
    if not plan.regions:
        best, classes = logits.softmax(0).max(0)
        tally.add(classes, best)
        return classes.short()
    bits = torch.zeros(logits.shape[1:], dtype=torch.int32, device=logits.device)
    for index, channel in enumerate(logits):
        inside = channel > 0
        bits |= inside.int() << index
        tally.add_region(index, channel.sigmoid(), inside)
    return bits


def probabilities_of(logits: Tensor, plan: Plan) -> NDArray[np.float32]:
    """The probability of each output of the network, background among them unless it finds regions."""
    probabilities: NDArray[np.float32] = (logits.sigmoid() if plan.regions else logits.softmax(0)).float().cpu().numpy()
    return probabilities


def mask_of(decisions: NDArray[Any], plan: Plan) -> NDArray[Any]:
    """What is written of class indices or bits (*spatial).

    Returns:
        Label values (*spatial); for regions that nothing is painted with, uint8 0 and 1 (region, *spatial).
    """
    kind = np.uint8 if max(plan.values) < 256 else np.uint16
    if not plan.regions:
        values: NDArray[Any] = np.array(plan.values, dtype=kind)
        labels: NDArray[Any] = values[decisions]
        return labels
    masks = (masks_of(decisions, index, plan) for index in range(1, plan.classes + 1))
    if not plan.paint:
        return np.stack([mask.astype(np.uint8) for mask in masks])
    painted = np.zeros(decisions.shape, kind)
    for value, mask in zip(plan.paint, masks, strict=True):
        painted[mask] = value
    return painted


class Interpolation:
    """Linear interpolation along one axis between grids over the same extent, a part at a time."""

    def __init__(self, source: int, target: int) -> None:
        position = (torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5
        position = position.clamp(0, source - 1)
        self.low = position.floor().long()
        self.high = (self.low + 1).clamp_max(source - 1)
        self.share = (position - self.low).float()

    def targets(self, begin: int, end: int, source: int) -> tuple[int, int]:
        """The target positions that belong to source positions begin..end, and can be made of them.

        Each target belongs to exactly one of consecutive parts that overlap by their last position.

        Args:
            begin, end: The part of the source that is there: its first position, and the one after its last.
            source: Positions of the whole source.
        """
        low = 0 if begin == 0 else int((self.low < begin).sum())
        high = len(self.low) if end >= source else int((self.low < end - 1).sum())
        return low, max(low, high)

    def take(self, values: Tensor, axis: int, low: int, high: int, begin: int) -> Tensor:
        """Target positions low..high of an axis whose first position is `begin` of the source.

        Args:
            values: A part of the source, any number of axes.
            axis: Along which it is interpolated.
            low, high: The first target position, and the one after the last.
            begin: The position in the whole source of the first one in `values`.
        """
        lower, upper = self.low[low:high] - begin, self.high[low:high] - begin
        share = self.share[low:high]
        if not share.any() and torch.equal(lower, torch.arange(values.shape[axis])):
            return values
        share = share.to(values.device).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        below = values.index_select(axis, lower.to(values.device))
        other = values.index_select(axis, upper.to(values.device))
        return torch.lerp(below, other, share)


def resize_rest(logits: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Linear interpolation of the last axes of (class, rows, columns, *rest)."""
    if tuple(logits.shape[3:]) == shape:
        return logits
    flat = logits.flatten(0, 2)[:, None]
    done = functional.interpolate(flat, shape, mode="linear", align_corners=False)
    return done.reshape(*logits.shape[:3], *shape)
