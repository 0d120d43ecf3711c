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
from ..imaging.body import Box
from ..preprocessing.encoding import masks_of, regridded
from ..preprocessing.plan import encoded_type
from ..support.machine import free_memory
from .around import Cover, covering, on_grid
from .decide import Decisions, Tally, decide_here, disagree
from .grid import Interpolation, Place, Planes
from .need import columns_that_fit
from .precision import Network
from .sliding import logits_by_slab

if TYPE_CHECKING:
    from ..preprocessing.plan import Plan

See = Callable[[tuple[slice, ...], NDArray[np.float32]], None]
"""Is shown where a part of the scan lies, and the probabilities of the network's outputs there: (output, *part)."""

NOT_FINITE = (
    "the network's output is not finite: the scan holds values far from those of training, or the model is damaged; no "
    "mask is made of it"
)

VALUES = 1 << 21
"""Interpolated logits that are there together, at least those of one row; with eight times as many it takes a quarter
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
    box: Box | None = None,
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
        box: A part of the result: only windows that it takes to cover it are computed, and where none of them reaches
            nothing is found. By default all of it.

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
    source = tuple(int(n) for n in image.shape[1:])
    inside = None if box is None else on_grid(box, shape, source)
    if plan.dims != plan.image_dims:
        return _by_slice(network, image, shape, plan, options, see, inside)
    result = np.zeros(shape, encoded_type(plan))
    tally = Tally(plan.classes)
    cover = covering(source, plan.patch, overlap, inside)
    for columns in _columns(cover, source, shape, plan, room):
        _fill(result, tally, network, image, plan, cover, columns, options, see)
    if see is not None:
        show_nothing(see, _reached(cover, source, shape), shape, plan)
    return result, tally.means()


def _fill(
    result: NDArray[Any],
    tally: Tally,
    network: Network,
    image: Tensor,
    plan: Plan,
    cover: Cover,
    columns: tuple[int, int],
    options: dict[str, Any],
    see: See | None,
) -> None:
    """Decide about what each slab of logits gives on the result's grid; two slabs share a row.

    Args:
        columns: Of the whole image.
    """
    source = tuple(int(n) for n in image.shape[1:])
    low, high = cover.part[1]
    reach = (max(low, columns[0] - 2), min(high, columns[1] + 2))
    axes = [Interpolation(old, new) for old, new in zip(source, result.shape, strict=True)]
    rest = [
        Place(axis, *axis.targets(begin, end, size), first)
        for axis, (begin, end), size, first in zip(
            axes[1:],
            [columns, *cover.part[2:]],
            source[1:],
            [reach[0], *(begin for begin, _ in cover.part[2:])],
            strict=True,
        )
    ]
    if any(place.low == place.high for place in rest):
        return
    image = image[(slice(None), *cover.crop)]
    options = {**options, "columns": (reach[0] - low, reach[1] - low), "starts": cover.within}
    for row, slab in logits_by_slab(network, image, plan.patch, shared=1, **options):
        begin = row + cover.part[0][0]
        most = _largest(slab)
        first, last = axes[0].targets(begin, begin + slab.shape[1], source[0])
        places = [Place(axes[0], first, last, begin), *rest]
        if first < last:
            part = tuple(slice(place.low, place.high) for place in places)
            result[part] = _decided(slab, most, places, plan, tally, see)


def _reached(cover: Cover, source: Sequence[int], shape: Sequence[int]) -> Box:
    """What windows over a part of the source reach of the result."""
    return tuple(
        Interpolation(old, new).targets(*ends, old) for ends, old, new in zip(cover.part, source, shape, strict=True)
    )


def show_nothing(see: See, box: Box, shape: Sequence[int], plan: Plan) -> None:
    """Show that nothing is found outside of a box: background for certain.

    Args:
        see: Is shown each voxel once.
        shape: Of the result.
        plan: Says whether there is an output for the background.
    """
    sure = np.zeros((plan.classes, *[1] * len(shape)), np.float32)
    if not plan.regions:
        sure[0] = 1
    rest = [slice(0, n) for n in shape]
    for axis, (low, high) in enumerate(box):
        for part in (slice(0, low), slice(high, shape[axis])):
            outside = (*rest[:axis], part, *rest[axis + 1 :])
            size = tuple(one.stop - one.start for one in outside)
            if math.prod(size):
                see(outside, np.broadcast_to(sure, (plan.classes, *size)))
        rest[axis] = slice(low, high)


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
    decisions = None if plain or coarser or disagree(slab) else Decisions(slab, most, places[1:])
    planes = Planes(slab, places[1:])
    step = max(1, VALUES // (len(slab) * math.prod(shape[1:])))
    for start in range(places[0].low, places[0].high, step):
        some = replace(places[0], low=start, high=min(places[0].high, start + step))
        parts = [some, *places[1:]]
        rows = slice(start - places[0].low, some.high - places[0].low)
        if decisions is not None:
            found[rows] = decisions.between(some, tally).cpu().numpy()
            continue
        logits = planes.at(some)
        if see is not None:
            see(tuple(slice(place.low, place.high) for place in parts), probabilities_of(logits, plan))
        found[rows] = decide(logits, plan, tally, spent=not all(place.same for place in parts)).cpu().numpy()
    return found


def _by_slice(
    network: Network,
    image: Tensor,
    shape: tuple[int, ...],
    plan: Plan,
    options: dict[str, Any],
    see: See | None,
    box: Box | None,
) -> tuple[NDArray[Any], list[float]]:
    """A 2D network on a volume: each slice by itself, resampled in its plane, then along the slices' axis.

    Args:
        box: Of the image; slices outside of it are not looked at.
    """
    axis, source = plan.slice_axis, tuple(int(n) for n in image.shape[1:])
    flat, plane = (tuple(n for a, n in enumerate(size) if a != axis) for size in (shape, source))
    number, (begin, end) = source[axis], (0, source[axis]) if box is None else box[axis]
    inside = None if box is None else (*box[:axis], *box[axis + 1 :])
    cover = covering(plane, plan.patch, options["overlap"], inside)
    tally = Tally(plan.classes)
    slices = []
    for index in range(number):
        part = np.zeros(flat, encoded_type(plan))
        watching = _in_slice(see, axis, index) if see and number == shape[axis] else None
        some = {**options, "progress": None}
        reached: Box = ((0, 0), *[(0, n) for n in flat[1:]])
        if begin <= index < end:
            _fill(part, tally, network, image.select(1 + axis, index), plan, cover, cover.part[1], some, watching)
            reached = _reached(cover, plane, flat)
        if watching is not None:
            show_nothing(watching, reached, flat, plan)
        slices.append(part)
        progress = options["progress"]
        if callable(progress):
            progress((index + 1) / number)
    return regridded(np.stack(slices, axis), shape, plan), tally.means()


def _in_slice(see: See, axis: int, index: int) -> See:
    """Shows the probabilities of one slice as a part of the volume."""

    def show(part: tuple[slice, ...], probabilities: NDArray[np.float32]) -> None:
        see((*part[:axis], slice(index, index + 1), *part[axis:]), np.expand_dims(probabilities, 1 + axis))

    return show


def _columns(
    cover: Cover, source: tuple[int, ...], shape: tuple[int, ...], plan: Plan, room: float | None = None
) -> Iterator[tuple[int, int]]:
    """Parts of the second axis whose slab of logits fits into memory, each sharing its last position with the next.

    Args:
        cover: What is looked at.
        source: Voxels of what the network sees.
        shape: Of the result.
        room: Bytes for the slab; by default what is free.
    """
    part = tuple(math.ceil(n * new / old) for n, old, new in zip(cover.shape, source, shape, strict=True))
    width = columns_that_fit(plan, cover.shape, part, free_memory() if room is None else room)
    start, last = cover.part[1]
    while True:
        end = min(last, start + width)
        yield start, end
        if end == last:
            return
        start = end - 1 if width > 1 else end


def decide(logits: Tensor, plan: Plan, tally: Tally, spent: bool = False) -> Tensor:
    """The winning class of each voxel, or a bit for each region that is more likely there than not.

    Args:
        logits: (output, *spatial).
        plan: Says whether outputs are classes, which exclude each other, or regions.
        tally: Is told the probabilities of what was decided.
        spent: Nobody needs the logits any more.
    """
    if not plan.regions:
        return decide_here(logits, tally, spent)
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
