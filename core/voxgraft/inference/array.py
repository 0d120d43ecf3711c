"""From a network image to what is found at each voxel, and to the mask that is written.

The result is on a grid of its own: in slabs where memory is short, or by slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ModelError
from ..preprocessing.encoding import masks_of, regridded
from ..preprocessing.plan import encoded_type
from ..support.memory import free_memory
from .borders import Decisions, decide_here
from .interpolation import Interpolation, Place, interpolated
from .need import columns_that_fit
from .precision import Network
from .sliding import logits_by_slab
from .winners import Tally

if TYPE_CHECKING:
    from ..preprocessing.plan import Plan

See = Callable[[tuple[slice, ...], NDArray[np.float32]], None]
"""Is shown where a part of the scan lies, and the probabilities of the network's outputs there: (output, *part)."""

NOT_FINITE = (
    "the network's output is not finite: the scan holds values far from those of training, or the model is damaged; no "
    "mask is made of it"
)

VALUES = 1 << 22
"""Interpolated logits that are there together, at least those of one row; with four times as many it takes a quarter
longer, since they leave the processor's cache."""


def segment_array(
    network: Network,
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
    skip_empty: bool = True,
    room: float | None = None,
) -> tuple[NDArray[Any], list[float]]:
    """What is found in a network image, on a grid of another number of voxels over the same extent.

    Memory: the network image and the result, and the logits of one slab of rows; where those are too many for the
    machine, the slab is done in columns.

    Args:
        image: float32 (channel, *spatial), axes in RAS order, at the plan's spacing.
        shape: Voxels of the result.
        mirror: The network's axes along which windows are mirrored, and the logits of all copies averaged.
        skip_empty: Windows of one value are computed once, with the same result.
        room: Bytes for the logits of a slab; by default what is free.

    Returns:
        Class indices or bits (*shape), see `voxgraft.preprocessing.encoding`; and for each output of the network the
        mean probability where it won, or where the region is (0 where that is nowhere).

    Raises:
        ModelError: The network's output is not finite.
        TooLarge: Not even the logits of a few columns fit into memory.
    """
    options: dict[str, Any] = {
        "overlap": overlap,
        "mirror": mirror,
        "batch": batch,
        "device": device,
        "progress": progress,
        "skip_empty": skip_empty,
    }
    if plan.dims != plan.image_dims:
        return _by_slice(network, image, shape, plan, options, see)
    result = np.zeros(shape, encoded_type(plan))
    tally = Tally(plan.classes)
    for columns in _columns(tuple(image.shape[1:]), shape, plan, room):
        _fill(result, tally, network, image, plan, columns, options, see)
    return result, tally.means()


def _fill(
    result: NDArray[Any],
    tally: Tally,
    network: Network,
    image: Tensor,
    plan: Plan,
    columns: tuple[int, int],
    options: dict[str, Any],
    see: See | None,
) -> None:
    """Decide about what each slab of logits gives on the result's grid; two slabs share a row."""
    source = tuple(int(n) for n in image.shape[1:])
    reach = (max(0, columns[0] - 2), min(source[1], columns[1] + 2))
    axes = [Interpolation(old, new) for old, new in zip(source, result.shape, strict=True)]
    first, last = axes[1].targets(columns[0], columns[1], source[1])
    rest = [Place(axes[1], first, last, reach[0]), *(Place(axis, 0, len(axis.low)) for axis in axes[2:])]
    if first == last:
        return
    for begin, slab in logits_by_slab(network, image, plan.patch, columns=reach, shared=1, **options):
        most = _largest(slab)
        low, high = axes[0].targets(begin, begin + slab.shape[1], source[0])
        part = (slice(low, high), slice(first, last))
        places = [Place(axes[0], low, high, begin), *rest]
        if low < high:
            result[part] = _decided(slab, most, places, plan, tally, see)


def _largest(logits: Tensor) -> float:
    """The largest absolute value.

    Raises:
        ModelError: It is not finite.
    """
    # Class by class: of a part of a larger buffer torch would make a copy first. NaN anywhere makes both ends NaN.
    ends = torch.stack([end for channel in logits for end in torch.aminmax(channel)])
    most = float(ends.abs().max())
    if not math.isfinite(most):
        raise ModelError(NOT_FINITE)
    return most


def _decided(
    slab: Tensor, most: float, places: Sequence[Place], plan: Plan, tally: Tally, see: See | None
) -> NDArray[Any]:
    """What is found at the places, some rows at a time; all logits are interpolated only where somebody asks for them.

    Args:
        slab: Logits (output, *spatial).
        most: Their largest absolute value.
        places: What is wanted along each axis.
        plan: Says whether outputs are classes or regions.
        tally: Is told the probabilities of what was decided.
        see: Is shown the probabilities.
    """
    shape = tuple(place.number for place in places)
    found: NDArray[Any] = np.empty(shape, encoded_type(plan))
    plain = see is not None or bool(plan.regions) or all(place.same for place in places)
    coarser = 2 * math.prod(shape) < slab[0].numel()  # then it costs more to look at the source than at the result
    decisions = None if plain or coarser else Decisions(slab, most, places[1:])
    step = max(1, VALUES // (len(slab) * math.prod(shape[1:])))
    for start in range(places[0].low, places[0].high, step):
        some = replace(places[0], low=start, high=min(places[0].high, start + step))
        parts = [some, *places[1:]]
        rows = slice(start - places[0].low, some.high - places[0].low)
        if decisions is not None:
            found[rows] = decisions.between(some, tally).cpu().numpy()
            continue
        logits = interpolated(slab, parts)
        if see is not None:
            see(tuple(slice(place.low, place.high) for place in parts), probabilities_of(logits, plan))
        found[rows] = decide(logits, plan, tally).cpu().numpy()
    return found


def _by_slice(
    network: Network,
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


def _columns(
    source: tuple[int, ...], shape: tuple[int, ...], plan: Plan, room: float | None = None
) -> Iterator[tuple[int, int]]:
    """Parts of the second axis whose slab of logits fits into memory, each sharing its last position with the next.

    Args:
        source: Voxels of what the network sees.
        shape: Of the result.
        room: Bytes for the slab; by default what is free.
    """
    width = columns_that_fit(plan, source, shape, free_memory() if room is None else room)
    start = 0
    while True:
        end = min(source[1], start + width)
        yield start, end
        if end == source[1]:
            return
        start = end - 1 if width > 1 else end


def decide(logits: Tensor, plan: Plan, tally: Tally) -> Tensor:
    """The winning class of each voxel, or a bit for each region that is more likely there than not.

    Args:
        logits: (output, *spatial).
        plan: Says whether outputs are classes, which exclude each other, or regions.
        tally: Is told the probabilities of what was decided.
    """
    if not plan.regions:
        return decide_here(logits, tally)
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
