"""Sliding-window inference with Gaussian blending; memory is bounded by a slab of the image, not by its length.

Windows lie on a regular grid, so the sum of their weights is a product of one sum for each axis: no map of weights is
kept. They are visited along the first axis; as soon as no later window reaches a row, its logits are final and leave
the buffer, which is one for the whole scan: sums, their division and the move to the next slab happen in place. What
the caller does with them (argmax, resampling) is done slab by slab.

Windows that hold one value only (air beyond the clip of a CT, what a stripped brain is set in) are computed once for
each value: a network gives the same for the same, so the sums are bit for bit those of computing every window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..support.torch_dims import CHANNELS_LAST
from .decide import winners
from .kernels import FastKernels


def sliding_window(
    network: Callable[[Tensor], Any],
    image: Tensor,
    roi: Sequence[int],
    *,
    overlap: float = 0.5,
    batch: int = 1,
    mirror: bool | Sequence[int] = False,
    device: torch.device | str | None = None,
    result: Literal["labels", "logits"] = "labels",
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Apply a network to an image of any size.

    Args:
        network: Gives logits (batch, class, *roi) from (batch, channel, *roi), or an object with `.logits`.
        image: (channel, *spatial).
        roi: Voxels of a window along each axis.
        overlap: The share by which neighbouring windows overlap, 0 to less than 1.
        batch: Number of windows in one pass.
        mirror: Average the logits over the copies of each window that are mirrored along all axes, or along these.
        device: Where the network is; by default where its first parameter is.
        progress: Called with the share that is done.

    Returns:
        Class indices (*spatial) of the smallest fitting integer type, or float32 logits (class, *spatial).

    Raises:
        ValueError: The number of axes of `roi` is not that of the image, or the overlap is out of range.

    Examples:
        >>> image = torch.zeros(1, 40, 40, 20)
        >>> image[:, 10:20, 10:20, 5:10] = 1.0
        >>> network = lambda windows: torch.cat([1 - windows, windows], 1)
        >>> labels = vg.sliding_window(network, image, (16, 16, 16))
        >>> labels.shape, labels.dtype, int(labels.sum())
        (torch.Size([40, 40, 20]), torch.uint8, 500)
    """
    parts = []
    for _, logits in logits_by_slab(
        network, image, roi, overlap=overlap, batch=batch, mirror=mirror, device=device, progress=progress
    ):
        if result == "logits":
            parts.append(logits.cpu() if logits.device.type != "cpu" else logits.clone())
        else:
            classes = winners(logits)
            parts.append(classes.to(torch.uint8 if logits.shape[0] <= 256 else torch.int32).cpu())
    return torch.cat(parts, 1 if result == "logits" else 0)


@torch.inference_mode()
def logits_by_slab(
    network: Callable[[Tensor], Any],
    image: Tensor,
    roi: Sequence[int],
    *,
    overlap: float = 0.5,
    batch: int = 1,
    mirror: bool | Sequence[int] = False,
    device: torch.device | str | None = None,
    columns: tuple[int, int] | None = None,
    progress: Callable[[float], None] | None = None,
    shared: int = 0,
    skip_empty: bool = True,
    starts: Sequence[Sequence[int]] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """The blended logits of consecutive slabs along the first axis, as (first row, (class, rows, *rest)).

    A slab is a part of the buffer: it holds until the next one is asked for. Memory: float32 logits of as many rows as
    a window has, and those of one pass of the network.

    Args:
        columns: Only these positions of the second axis; the values are those of the whole image. For images whose
            slabs are too large for memory.
        shared: Rows of the slab before (0 or 1) with which each slab but the first begins.
        skip_empty: Compute windows of one value once; without, every window is computed.
        starts: Where windows begin along each axis, rising; together they cover the image. By default evenly spread.
    """
    dims = image.ndim - 1
    if len(roi) != dims or not 0 <= overlap < 1:
        raise ValueError(f"roi {tuple(roi)} and overlap {overlap} do not fit an image of {dims} axes")
    where = _device(network, device)
    shape = tuple(int(n) for n in image.shape[1:])
    padded, offset = _padded(image, roi)
    size = tuple(int(n) for n in padded.shape[1:])
    starts = starts or [window_starts(n, r, overlap) for n, r in zip(size, roi, strict=True)]
    tapers = [gaussian(r) for r in roi]
    sums = [_sums(n, s, t) for n, s, t in zip(size, starts, tapers, strict=True)]
    low, high = columns if columns is not None else (0, shape[1])
    low, high = low + offset[1], high + offset[1]
    rest = list(starts[1:])
    rest[0] = [s for s in starts[1] if s < high and s + roi[1] > low]
    weight = _outer(tapers)
    norm = _outer([sums[1][low:high], *sums[2:]])
    along = sums[0].reshape(-1, *[1] * (dims - 1))
    windows = Windows(network, padded, roi, where, batch, mirror, skip_empty)
    buffer: Tensor | None = None
    done = 0
    total = len(starts[0]) * int(np.prod([len(s) for s in rest]))
    seen = 0
    for index, top in enumerate(starts[0]):
        corners = [(top, *others) for others in product(*rest)]
        for corner, part in windows.at(corners):
            if buffer is None:
                buffer = _room((part.shape[0], shared + roi[0], high - low, *size[2:]), part.device)
                weight, norm, along = (each.to(buffer.device) for each in (weight, norm, along))
            _add(buffer[:, shared:], part.to(buffer.device), weight, corner, top, low, high)
            del part
            seen += 1
            if progress is not None and (seen % batch == 0 or seen == total):
                progress(seen / total)
        assert buffer is not None
        following = starts[0][index + 1] if index + 1 < len(starts[0]) else size[0]
        ready = following - top
        _divide(buffer[:, shared : shared + ready], along[top:following], norm)
        first, last = max(top, offset[0]), min(following, offset[0] + shape[0])
        if first < last:
            inner = [slice(o, o + n) for o, n in zip(offset[2:], shape[2:], strict=True)]
            before = min(shared, done)
            part = buffer[:, shared + first - top - before : shared + last - top]
            yield done - before, part[(slice(None), slice(None), slice(None), *inner)]
            done += last - first
        _move_up(buffer, ready)


class Windows:
    """The logits of windows, in their order.

    Args:
        network: Where it is computed on is `where`.
        padded: (channel, *spatial), at least a window large.
        batch: Windows in one pass; fewer once the device's memory has run out.
        skip_empty: Windows of one value are computed once.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Any],
        padded: Tensor,
        roi: Sequence[int],
        where: torch.device,
        batch: int,
        mirror: bool | Sequence[int],
        skip_empty: bool,
    ) -> None:
        self.network, self.roi, self.where = network, roi, where
        self.batch, self.mirror, self.skip_empty = batch, mirror, skip_empty
        self.padded, self.source = padded, _placed(padded, where)
        self.known: dict[tuple[float, ...], Tensor] = {}
        self.computed = 0

    def at(self, corners: Sequence[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], Tensor]]:
        """Each corner with the logits (class, *roi) of its window."""
        size = self.batch  # which may become less on the way
        for group in (corners[start : start + size] for start in range(0, len(corners), size)):
            values = [self._value(corner) for corner in group]
            known = [value is not None and value in self.known for value in values]
            new = iter(self._computed([corner for corner, old in zip(group, known, strict=True) if not old]))
            for corner, value, old in zip(group, values, known, strict=True):
                logits = self.known[value] if old and value is not None else next(new)
                if value is not None and not old and len(self.known) < VALUES_KEPT:
                    self.known[value] = logits.clone()
                yield corner, logits
                del logits  # it would stand beside those of the next pass

    def _value(self, corner: tuple[int, ...]) -> tuple[float, ...] | None:
        """The one value of each channel in a window; None where there are several."""
        if not self.skip_empty or self.padded.device.type != "cpu":
            return None
        part = self.padded[(slice(None), *_window(corner, self.roi))]
        first, flat = part[(slice(None), *[slice(0, 1)] * len(self.roi))], len(part)
        for probe in (part[..., -1:], part):  # most windows differ in their last plane already
            if not bool((probe == first).all()):
                return None
        return tuple(first.reshape(flat).tolist())

    def _computed(self, corners: Sequence[tuple[int, ...]]) -> Iterator[Tensor]:
        """The logits of some windows, in as many passes as the device's memory asks for."""
        start = 0
        while start < len(corners):
            some = corners[start : start + self.batch]
            try:
                windows = torch.stack([self.source[(slice(None), *_window(c, self.roi))] for c in some])
                logits = _forward(self.network, windows.to(self.where), self.mirror)
            except torch.OutOfMemoryError:
                if len(some) == 1:
                    raise
                self.batch = max(1, len(some) // 2)
                continue
            self.computed += len(some)
            start += len(some)
            yield from logits


VALUES_KEPT = 2
"""Windows of one value that are remembered, for so many values."""


def _placed(image: Tensor, where: torch.device) -> Tensor:
    """The image on the device at once, so that no window waits for its copy, where it takes a small part of it."""
    if where.type != "cuda" or image.device.type == "cuda":
        return image
    fits = image.numel() * image.element_size() <= torch.cuda.mem_get_info(where)[0] // 8
    return image.to(where) if fits else image


def _room(shape: Sequence[int], device: torch.device) -> Tensor:
    """Zeros for sums of logits: where they are computed, or on the host where that device has no room for them."""
    try:
        return torch.zeros(*shape, device=device)
    except torch.OutOfMemoryError:
        return torch.zeros(*shape)


def gaussian(size: int, sigma: float = 1 / 8) -> Tensor:
    """The weight of a window's voxels along one axis (float32, largest 1): a bell of sigma `sigma` times the window."""
    distance = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    bell = torch.exp(-0.5 * (distance / (size * sigma)) ** 2)
    return (bell / bell.max()).clamp_min(1e-3).float()


def window_starts(size: int, roi: int, overlap: float) -> Sequence[int]:
    """Evenly spread first voxels of windows that cover an axis with at least the overlap.

    Args:
        size: Voxels of the image along the axis.
        roi: Voxels of a window.
        overlap: The least share by which neighbours overlap.
    """
    if size <= roi:
        return [0]
    step = max(1, int(roi * (1 - overlap)))
    number = -(-(size - roi) // step) + 1
    return [round(i * (size - roi) / (number - 1)) for i in range(number)]


def _sums(size: int, starts: Sequence[int], taper: Tensor) -> Tensor:
    total = torch.zeros(size)
    for start in starts:
        total[start : start + len(taper)] += taper
    return total


def _outer(vectors: Sequence[Tensor]) -> Tensor:
    result = vectors[0]
    for vector in vectors[1:]:
        result = result[..., None] * vector
    return result


def _padded(image: Tensor, roi: Sequence[int]) -> tuple[Tensor, tuple[int, ...]]:
    """The image in the middle of one that is at least a window large; the edge is repeated outwards."""
    offset = tuple(max(0, r - n) // 2 for n, r in zip(image.shape[1:], roi, strict=True))
    for axis, (before, window) in enumerate(zip(offset, roi, strict=True), start=1):
        after = max(0, window - image.shape[axis] - before)
        if before or after:
            index = torch.arange(-before, image.shape[axis] + after).clamp(0, image.shape[axis] - 1)
            image = image.index_select(axis, index.to(image.device))
    return image, offset


def _window(corner: Sequence[int], roi: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(c, c + r) for c, r in zip(corner, roi, strict=True))


def _add(buffer: Tensor, part: Tensor, weight: Tensor, corner: Sequence[int], top: int, low: int, high: int) -> None:
    """Add the weighted logits of one window, a class or, where classes lie innermost, a row at a time.

    What is between stays in the processor's cache; class by class, channels-last logits take four times as long.
    """
    roi = part.shape[1:]
    first, last = max(corner[1], low), min(corner[1] + roi[1], high)
    rest = [slice(c, c + r) for c, r in zip(corner[2:], roi[2:], strict=True)]
    target = buffer[:, corner[0] - top : corner[0] - top + roi[0], first - low : last - low]
    target = target[(slice(None), slice(None), slice(None), *rest)]
    inside = slice(first - corner[1], last - corner[1])
    if buffer.device.type != "cpu":  # one launch; there is no cache to keep to
        target.addcmul_(part[:, :, inside], weight[:, inside])
        return
    axis = 0 if part.is_contiguous() else 1
    weights = weight[:, inside].expand(part.shape[0], -1, *[-1] * (part.ndim - 2)) if axis == 0 else weight[:, inside]
    scratch = torch.empty([n for a, n in enumerate(target.shape) if a != axis], device=buffer.device)
    for sums, logits, factor in zip(target.unbind(axis), part[:, :, inside].unbind(axis), weights, strict=True):
        sums += torch.mul(logits, factor, out=scratch)


def _divide(slab: Tensor, first: Tensor, rest: Tensor) -> None:
    """Divide sums of weighted logits (class, rows, *rest) by the sums of weights, row by row: none is kept."""
    for row, weight in zip(slab.unbind(1), first, strict=True):
        row /= weight[0] * rest


def _move_up(buffer: Tensor, rows: int) -> None:
    """Drop the first rows of (class, rows, *rest); what follows takes their place, and is followed by zeros."""
    kept = buffer.shape[1] - rows
    for start in range(0, kept, rows):  # never more than `rows` at once, so that no row is read after it was written
        number = min(rows, kept - start)
        buffer[:, start : start + number] = buffer[:, start + rows : start + rows + number]
    buffer[:, kept:].zero_()


def _forward(network: Callable[[Tensor], Any], windows: Tensor, mirror: bool | Sequence[int]) -> Tensor:
    axes = range(windows.ndim - 2) if mirror is True else mirror or ()
    flips = list(product(*[((), (2 + axis,)) for axis in axes]))
    total: Tensor | None = None
    for flip in flips:
        turned = [axis for part in flip for axis in part]
        flipped = windows.flip(turned) if turned else windows
        with FastKernels():
            output = network(flipped.contiguous(memory_format=CHANNELS_LAST[windows.ndim - 2]))
        logits: Tensor = getattr(output, "logits", output).float()
        logits = logits.flip(turned) if turned else logits
        total = logits if total is None else total + logits
    assert total is not None
    return total / len(flips) if len(flips) > 1 else total


def _device(network: Callable[[Tensor], Any], device: torch.device | str | None) -> torch.device:
    if device is not None:
        return torch.device(device)
    if isinstance(network, nn.Module):
        for parameter in network.parameters():
            return parameter.device
    return torch.device("cpu")
