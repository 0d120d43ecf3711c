"""From files to voxels: straight into their place where pixels are not compressed, else decoded by several threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import RawIOBase
from typing import Any

import numpy as np

from voxgraft.plugin import Array, BadImage

from ..objects.forgiving import forgiving
from .decode import Packed
from .frames import Frame, alike, by_file
from .header import Header
from .pixels import channels_of
from .stored import Strange, keep_stored

MOST = 4
"""Threads that decode one image; some decoders have more threads of their own."""


def read_voxels(frames: Sequence[Frame], factor: float = 1.0, strange: Strange = lambda _, __: None) -> Array:
    """The intensities of frames of one form: (frame, row, column), or (frame, row, column, colour).

    Whole numbers stay whole (int16 where they fit), others become float32; colours stay as they are stored.

    Args:
        factor: What to multiply all intensities by.
        strange: Is told of files that have bits around the stored ones, by several threads.

    Raises:
        BadImage: A file is damaged, or no decoder for it is installed.
        OSError: A file cannot be read.
    """
    first = frames[0].header
    kind = "f" if first.floating else "u" if first.whole("PixelRepresentation") == 0 else "i"
    stored = np.dtype(f"<{kind}{first.whole('BitsAllocated') // 8}")
    palette = first.text("PhotometricInterpretation") == "PALETTE COLOR"
    colours = (3,) if channels_of(first) == 3 else ()
    stack = np.empty((len(frames), frames[0].rows, frames[0].columns, *colours), np.uint8 if palette else stored)
    extremes: dict[int, tuple[int, int]] = {}
    packed: list[tuple[Header, Sequence[tuple[int, Frame]]]] = []
    for header, pairs in by_file(frames):
        if header.native and not colours:
            _read_native(stack, header, pairs, strange)
            if kind != "f":  # looked for at once, while the plane is still in the processor's cache
                extremes |= {index: (int(stack[index].min()), int(stack[index].max())) for index, _ in pairs}
            continue
        packed.append((header, pairs))
    _read_packed(stack, packed, stored, strange)
    if colours:
        return stack.astype(stack.dtype.newbyteorder("="), copy=False)
    for index in set(range(len(stack))) - extremes.keys() if kind != "f" else ():
        extremes[index] = int(stack[index].min()), int(stack[index].max())
    return _rescaled(stack.astype(stack.dtype.newbyteorder("="), copy=False), frames, factor, extremes)


def _read_native(stack: Array, header: Header, pairs: Sequence[tuple[int, Frame]], strange: Strange) -> None:
    """Read uncompressed frames of one file into their places of a stack (frame, row, column)."""
    whole = (header.whole("Rows"), header.whole("Columns"))
    size = whole[0] * whole[1] * stack.dtype.itemsize
    with header.path.open("rb", buffering=0) as file:
        for group in alike(pairs, _number):
            start = header.pixels + _number(group[0]) * size
            if (group[0][1].rows, group[0][1].columns) == whole:
                for index, _ in group:
                    _read_into(stack[index], file, start, header, strange)
                continue
            picture = np.empty(whole, stack.dtype)
            _read_into(picture, file, start, header, strange)
            _cut(stack, picture, group)


def _number(pair: tuple[int, Frame]) -> int:
    return pair[1].index


def _cut(stack: Array, picture: Array, pairs: Sequence[tuple[int, Frame]]) -> None:
    """Put one picture, or the planes that lie side by side in it, into their places of a stack."""
    for index, frame in pairs:
        row, column = frame.corner
        stack[index] = picture[row : row + frame.rows, column : column + frame.columns]


def _read_packed(
    stack: Array,
    packed: Sequence[tuple[Header, Sequence[tuple[int, Frame]]]],
    stored: np.dtype[Any],
    strange: Strange,
) -> None:
    """Decode the frames of files into their places of a stack.

    As many threads as there are cores, at most `MOST`, take a frame each. Beside the stack a decoded frame for each
    thread is in memory, and the compressed files of two frames for each thread. What is raised is what would be if the
    frames were taken one by one.
    """

    def tasks() -> Iterator[tuple[Packed, int, Sequence[tuple[int, Frame]]]]:
        for header, pairs in packed:
            file = Packed(header, stored, strange)  # open for as long as one of its frames is under way
            for group in alike(pairs, _number):
                yield file, _number(group[0]), group

    def work(file: Packed, number: int, pairs: Sequence[tuple[int, Frame]]) -> None:
        _cut(stack, file.frame(number), pairs)

    workers = min(MOST, os.cpu_count() or 1, len(stack))
    if workers < 2 or not packed:
        for task in tasks():
            work(*task)
        return
    waiting: deque[Future[None]] = deque()
    with forgiving(), ThreadPoolExecutor(workers) as pool:
        try:
            for task in tasks():
                if len(waiting) == 2 * workers:
                    waiting.popleft().result()
                waiting.append(pool.submit(work, *task))
            while waiting:
                waiting.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _read_into(plane: Array, file: RawIOBase, start: int, header: Header, strange: Strange) -> None:
    buffer = plane.reshape(-1).view(np.uint8).data
    done = file.seek(start) - start
    while done < len(buffer):
        got = file.readinto(buffer[done:])
        if not got:
            raise BadImage(header.path, f"it ends after {done} of {len(buffer)} bytes of pixel data")
        done += got
    keep_stored(plane, header, strange)


def _rescaled(stack: Array, frames: Sequence[Frame], factor: float, extremes: Mapping[int, tuple[int, int]]) -> Array:
    """Intensities from stored values: whole numbers stay whole where they fit, int16 if possible; else float32.

    Args:
        extremes: The lowest and the highest stored value of each plane.
    """
    slopes = [frame.number("RescaleSlope", 1.0) * factor for frame in frames]
    intercepts = [frame.number("RescaleIntercept", 0.0) * factor for frame in frames]
    fractions = stack.dtype.kind == "f" or any(slope != 1 for slope in slopes)
    if fractions or any(not value.is_integer() for value in intercepts):
        scaled = np.empty(stack.shape, np.float32)
        for plane, target, slope, intercept in zip(stack, scaled, slopes, intercepts, strict=True):
            # In double precision, rounded once: the nearest that single precision has.
            np.add(np.multiply(plane, slope, dtype=np.float64), intercept, out=target, casting="same_kind")
        return scaled
    shifts = [int(value) for value in intercepts]
    if stack.dtype.itemsize == 1 and not any(shifts):
        return stack
    lowest = min(extremes[index][0] + shift for index, shift in enumerate(shifts))
    highest = max(extremes[index][1] + shift for index, shift in enumerate(shifts))
    kinds = (np.int16, np.uint16, np.int32, np.uint32)
    fitting = [kind for kind in kinds if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max]
    if not fitting:
        return stack.astype(np.float32)
    same_size = np.dtype(fitting[0]).itemsize == stack.dtype.itemsize
    result = stack.view(fitting[0]) if same_size else stack.astype(fitting[0])
    for plane, shift in zip(result, shifts, strict=True):
        if shift:  # modulo 2 to the bits of the type, which is exact, for the sums are known to fit
            np.add(plane, np.array(shift).astype(plane.dtype), out=plane)
    return result
