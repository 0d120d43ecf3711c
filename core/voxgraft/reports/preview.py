"""The slices of a scan worth a glance, with the contours of what was found, as one picture.

Slices lie across the axis along which voxels are furthest apart (as the scanner took them), axial where all are alike.
They are shown as radiologists look at them: the patient's right on the left of the picture (sagittal: the front on the
left), front or head up; letters at the edges say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.orientation import reoriented
from ..imaging.volume import Array, Volume
from ..support.files import atomic_write
from .display import BACKGROUND, display_window, grey_of, shown_axis

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..preprocessing.modality import Modality

COLOURS = (
    (255, 99, 71),
    (64, 196, 255),
    (255, 214, 64),
    (124, 230, 110),
    (224, 130, 255),
    (255, 160, 64),
    (120, 255, 220),
    (255, 150, 190),
)
"""Contours of the first, second ... structure, from the ninth on the first again."""

SLICES = 6
TILE, CONTOUR = 280, 2
"""Pixels of the longer side of one slice, and of the width of a contour, which lies inside the structure."""

MARKS = {0: ("A", "S"), 1: ("R", "S"), 2: ("R", "A")}
"""For slices across each axis: what is on the left, and what is up."""

CAPTION = (200, 206, 214)


def preview(
    scan: Volume, mask: Volume, modality: Modality | None, target: Path, names: Mapping[int, str] | None = None
) -> None:
    """Write the picture, whole or not at all.

    Args:
        scan: The image, of which the first channel is shown (three channels of an image of two axes are colours).
        mask: Label values in the same grid; or 0 and 1 (structure, i, j[, k]), of which the n-th has the value n.
        modality: Says which intensities are black and white; without one, the 1st and 99th percentile are.
        names: Structures by value, for the legend.

    Raises:
        DataError: It cannot be written.
    """
    image, _ = reoriented(scan)
    labels, _ = reoriented(_one_map(mask))
    window = display_window(image.array.reshape(image.channels, *image.shape)[0], modality)
    values = list(_boxes(labels.array.reshape(labels.shape)))
    colours = {value: COLOURS[index % len(COLOURS)] for index, value in enumerate(sorted({*values, *(names or {})}))}
    if image.dims == 2:
        tiles = [_flat_tile(image, labels, window, colours)]
    else:
        axis = shown_axis(image.spacing)
        tiles = [_tile(image, labels, axis, index, window, colours) for index in worth_a_glance(labels.array, axis)]
    picture = _montage(tiles, [(name, colours[value], value in values) for value, name in (names or {}).items()])
    with atomic_write(target) as path:
        picture.save(path, "PNG", compress_level=3)


def _one_map(mask: Volume) -> Volume:
    """One value a voxel, the smaller of structures that overlap above the larger, so that all can be seen."""
    if mask.array.ndim == mask.dims:
        return mask
    sizes = [int(np.count_nonzero(channel)) for channel in mask.array]
    values = np.zeros(mask.shape, np.uint8)
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        values[mask.array[place] != 0] = place + 1
    return mask.with_array(values)


def worth_a_glance(labels: Array, axis: int, most: int = SLICES) -> list[int]:
    """Where each structure is largest, then evenly through all that was found; through the scan where nothing was.

    Args:
        labels: Shape (i, j, k).
    """
    others = tuple(a for a in range(3) if a != axis)
    boxes = _boxes(labels)
    if not boxes:
        return _evenly(0, labels.shape[axis] - 1, min(most, labels.shape[axis]))
    peaks = []
    for value, box in boxes.items():
        area = np.count_nonzero(labels[box] == value, axis=others)
        peaks.append(box[axis].start + int(area.argmax()))
    first, last = min(box[axis].start for box in boxes.values()), max(box[axis].stop for box in boxes.values()) - 1
    chosen = list(dict.fromkeys(peaks))[:most]
    near = max(1, (last - first) // (2 * most))
    for index in _evenly(first, last, most):
        if len(chosen) < most and all(abs(index - other) >= near for other in chosen):
            chosen.append(index)
    return sorted(chosen)


def _evenly(first: int, last: int, number: int) -> list[int]:
    """Places between two ends, not at them where there is room."""
    step = (last - first) / (number + 1)
    return sorted({round(first + step * (index + 1)) for index in range(number)})


def _boxes(labels: Array) -> dict[int, tuple[slice, ...]]:
    """The label values that occur, each with its bounding box."""
    from scipy.ndimage import find_objects

    return {index + 1: box for index, box in enumerate(find_objects(labels)) if box is not None}


def _tile(
    image: Volume,
    labels: Volume,
    axis: int,
    index: int,
    window: tuple[float, float],
    colours: Mapping[int, tuple[int, int, int]],
) -> Image:
    """One slice: index of `axis`, in RAS order of axes."""
    grey = grey_of(np.moveaxis(image.array.reshape(image.channels, *image.shape)[0], axis, 0)[index], window)
    steps = [step for a, step in enumerate(image.spacing) if a != axis]
    tile = _drawn(
        np.stack([grey] * 3, -1), np.moveaxis(labels.array.reshape(labels.shape), axis, 0)[index], steps, colours
    )
    _marks(tile, MARKS[axis], f"{index + 1} of {image.shape[axis]}")
    return tile


def _flat_tile(
    image: Volume, labels: Volume, window: tuple[float, float], colours: Mapping[int, tuple[int, int, int]]
) -> Image:
    """An image of two axes, its second axis turned as its affine says."""
    channels = image.array.reshape(image.channels, *image.shape)
    planes = [grey_of(channels[c], window) for c in ((0, 1, 2) if image.channels == 3 else (0, 0, 0))]
    directions = [image.affine[axis, axis] for axis in (0, 1)]
    turn = tuple(slice(None) if step < 0 else slice(None, None, -1) for step in directions)
    colour = np.stack(planes, -1)[turn][::-1, ::-1]
    mask = labels.array.reshape(labels.shape)[turn][::-1, ::-1]
    return _drawn(colour, mask, image.spacing, colours)


def _drawn(colour: Array, mask: Array, steps: Sequence[float], colours: Mapping[int, tuple[int, int, int]]) -> Image:
    """A plane (first, second axis[, colour]) as a picture whose pixels are square, both axes turned round."""
    from PIL import Image

    size_mm = [n * step for n, step in zip(mask.shape, steps, strict=True)]
    scale = TILE / max(size_mm)
    width, height = (max(1, round(side * scale)) for side in size_mm)
    pixels = np.ascontiguousarray(colour[::-1, ::-1].transpose(1, 0, 2))
    picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    rows = (np.arange(height) * (mask.shape[1] / height)).astype(int)
    columns = (np.arange(width) * (mask.shape[0] / width)).astype(int)
    large = mask[::-1, ::-1].T[np.ix_(rows, columns)]
    canvas = np.array(picture)
    for value, paint in colours.items():
        canvas[_outline(large == value)] = paint
    return Image.fromarray(canvas)


def _outline(inside: Array) -> Array:
    """The pixels of a region that are so near to what is outside it."""
    core = inside
    for _ in range(CONTOUR):
        less = core.copy()
        less[1:] &= core[:-1]
        less[:-1] &= core[1:]
        less[:, 1:] &= core[:, :-1]
        less[:, :-1] &= core[:, 1:]
        core = less
    outline: Array = inside & ~core
    return outline


def _marks(tile: Image, marks: tuple[str, str], caption: str) -> None:
    from PIL import ImageDraw

    draw = ImageDraw.Draw(tile)
    left, top = marks
    font = _font(13)
    edge = {"fill": CAPTION, "font": font, "stroke_width": 2, "stroke_fill": (0, 0, 0)}
    draw.text((4, tile.height / 2), left, anchor="lm", **edge)
    draw.text((tile.width / 2, 3), top, anchor="mt", **edge)
    draw.text((tile.width - 4, tile.height - 4), caption, anchor="rb", **edge)


def _montage(tiles: Sequence[Image], legend: Sequence[tuple[str, tuple[int, int, int], bool]]) -> Image:
    """The tiles in rows of three, and below them what the colours mean."""
    from PIL import Image, ImageDraw

    gap, line = 8, 20
    across = min(3, len(tiles))
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    rows = -(-len(tiles) // across)
    total = across * (width + gap) + gap
    places, lines = _laid_out(legend, total - 2 * gap)
    bottom = rows * (height + gap) + gap
    picture = Image.new("RGB", (total, bottom + lines * line + (gap if lines else 0)), BACKGROUND)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, across)
        x, y = gap + column * (width + gap), gap + row * (height + gap)
        picture.paste(tile, (x + (width - tile.width) // 2, y + (height - tile.height) // 2))
    draw = ImageDraw.Draw(picture)
    for (text, paint), (x, row) in zip(_entries(legend), places, strict=True):
        y = bottom + row * line
        draw.rectangle((gap + x, y + 4, gap + x + 10, y + 14), fill=paint)
        draw.text((gap + x + 16, y + 9), text, fill=CAPTION, font=_font(13), anchor="lm")
    return picture


def _entries(legend: Sequence[tuple[str, tuple[int, int, int], bool]]) -> list[tuple[str, tuple[int, int, int]]]:
    return [(name if found else f"{name}: not found", paint) for name, paint, found in legend]


def _laid_out(
    legend: Sequence[tuple[str, tuple[int, int, int], bool]], width: int
) -> tuple[list[tuple[int, int]], int]:
    """Where each entry of the legend stands (x, line), and how many lines they take."""
    places: list[tuple[int, int]] = []
    x = row = 0
    for text, _ in _entries(legend):
        need = round(_font(13).getlength(text)) + 34
        if x and x + need > width:
            x, row = 0, row + 1
        places.append((x, row))
        x += need
    return places, row + 1 if legend else 0


def _font(size: int):  # type: ignore[no-untyped-def]  # Pillow gives one of two unrelated classes
    from PIL import ImageFont

    return ImageFont.load_default(size)
