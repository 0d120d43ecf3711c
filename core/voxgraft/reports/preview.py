"""The slices of a scan worth a glance, with the contours of what was found, as one picture.

Slices lie across the axis along which voxels are furthest apart (as the scanner took them), axial where all are alike.
They are shown as radiologists look at them: the patient's right on the left of the picture (sagittal: the front on the
left), front or head up; letters at the edges say so. Each slice says its number and which structures it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..imaging.orientation import reoriented
from ..imaging.structures import boxes_of
from ..imaging.volume import Array, Colour, Volume, first_channel
from ..support.files import atomic_write
from .display import BACKGROUND, display_window, grey_of, low_is_bright, shown_axis
from .drawing import (
    CAPTION,
    LETTER,
    WORD,
    Canvas,
    Layered,
    Palette,
    Picture,
    as_jpeg,
    as_png,
    colour_of,
    outline,
    width_of,
    write_names,
    write_words,
)

if TYPE_CHECKING:
    from ..preprocessing.modality import Modality

SLICES, ACROSS = 6, 3
TILE, FLAT, CONTOUR = 280, 560, 2
"""Pixels of the longer side of one slice and of an image of two axes, and of the width of a contour, which lies inside
the structure."""
GAP, LINE = 8, 27
"""Pixels between slices, and of a line of the legend."""

MARKS = {0: ("A", "S"), 1: ("R", "S"), 2: ("R", "A")}
"""For slices across each axis: what is on the left, and what is up."""

Boxes = Mapping[int, tuple[slice, ...]]
Names = Mapping[int, str]
Colours = Mapping[int, Colour]


def preview(scan: Volume, mask: Volume, modality: Modality | None, target: Path, names: Names | None = None) -> None:
    """Write the picture with its contours as one PNG file, whole or not at all.

    Args:
        scan, mask, modality, names: See `previewed`.
    """
    picture = previewed(scan, mask, modality, names)
    with atomic_write(target) as path:
        path.write_bytes(picture.drawn)


def previewed(
    scan: Volume, mask: Volume, modality: Modality | None, names: Names | None = None, boxes: Boxes | None = None
) -> Picture:
    """The picture.

    Args:
        scan: The image, of which the first channel is shown (three channels of an image of two axes are colours).
        mask: Label values in the same grid; or 0 and 1 (structure, i, j[, k]), of which the n-th has the value n.
        modality: Says which intensities are black and white; without one, see `display.guessed_window`.
        names: Structures by value, for captions and the legend.
        boxes: The bounding box of each structure in a mask of label values, where they are known.
    """
    image, turned = reoriented(scan)
    values = turned.apply(_one_map(mask).array.reshape(mask.shape))
    if boxes is None or mask.array.ndim > mask.dims:
        boxes = _found(values)
    else:
        boxes = {value: turned.box(box, mask.shape) for value, box in boxes.items()}
    named = dict(names or {})
    colours = {value: colour_of(index) for index, value in enumerate(sorted({*boxes, *named}))}
    inside = None if modality else _inside(image, values, boxes)
    window = display_window(first_channel(image).array, modality, inside)
    if low_is_bright(scan.item):
        window = window[::-1]
    if image.dims == 2:
        tiles = [flat_tile(image, values, window)]
    else:
        axis = shown_axis(image.spacing)
        tiles = [tile(image, values, axis, index, window) for index in worth_a_glance(values, axis, boxes)]
    legend = [(name if value in boxes else f"{name}: not found", colours[value]) for value, name in named.items()]
    plain, places = montage(tiles, legend)
    if plain.ndim == 2:
        return _with_colours_over(plain, tiles, places, named, colours, legend)
    drawn = plain.copy()
    for one, (row, column) in zip(tiles, places, strict=True):
        edge = outline(one.labels, CONTOUR)
        over = drawn[row : row + one.shape[0], column : column + one.shape[1]]
        over[edge] = painted(one.labels[edge], colours)
    for canvas in (plain, drawn):
        for one, place in zip(tiles, places, strict=True):
            caption(canvas, place, one, named, colours)
    _legend(drawn, legend)
    return Picture(as_png(drawn), as_jpeg(plain))


def _with_colours_over(
    grey: Array,
    tiles: Sequence[Tile],
    places: Sequence[tuple[int, int]],
    names: Names,
    colours: Colours,
    legend: Sequence[tuple[str, Colour]],
) -> Picture:
    """The same of a grey picture, whose captions are written but once."""
    palette = Palette.of(colours.values())
    picture = Layered(grey, np.zeros_like(grey), palette)
    table = np.zeros(max(colours, default=0) + 1, np.uint8)
    for value, colour in colours.items():
        table[value] = palette.brightest(colour)
    for one, place in zip(tiles, places, strict=True):
        edge = outline(one.labels, CONTOUR)
        over = picture.over[place[0] : place[0] + one.shape[0], place[1] : place[1] + one.shape[1]]
        over[edge] = table[one.labels[edge]]
        caption(picture, place, one, names, colours)
    plain = as_jpeg(grey)
    _legend(picture, legend)
    return Picture(picture.png(), plain)


def _inside(image: Volume, labels: Array, boxes: Boxes) -> Array | None:
    """The voxels of the largest box of a structure that are its own."""
    if not boxes:
        return None
    value, box = max(boxes.items(), key=lambda pair: np.prod([part.stop - part.start for part in pair[1]]))
    return np.asarray(first_channel(image).array[box][labels[box] == value])


def _one_map(mask: Volume) -> Volume:
    """One value a voxel, the smaller of structures that overlap above the larger, so that all can be seen."""
    if mask.array.ndim == mask.dims:
        return mask
    sizes = [int(np.count_nonzero(channel)) for channel in mask.array]
    values = np.zeros(mask.shape, np.uint8 if len(sizes) < 256 else np.uint16)
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        values[mask.array[place] != 0] = place + 1
    return mask.with_array(values)


def worth_a_glance(labels: Array, axis: int, boxes: Boxes | None = None) -> list[int]:
    """Where each structure is largest, then evenly through all that was found; through the scan where nothing was.

    Args:
        axis: Across which the slices lie.
        boxes: The bounding boxes of structures by value, where they are known.
    """
    others = tuple(a for a in range(3) if a != axis)
    boxes = _found(labels) if boxes is None else boxes
    if not boxes:
        return _evenly(0, labels.shape[axis] - 1, min(SLICES, labels.shape[axis]))
    areas = {value: np.count_nonzero(labels[box] == value, axis=others) for value, box in boxes.items()}
    peaks = [boxes[value][axis].start + int(area.argmax()) for value, area in areas.items()]
    first, last = min(box[axis].start for box in boxes.values()), max(box[axis].stop for box in boxes.values()) - 1
    chosen = list(dict.fromkeys(peaks))[:SLICES]
    near = max(1, (last - first) // (2 * SLICES))
    for index in _evenly(first, last, SLICES):
        if len(chosen) < SLICES and all(abs(index - other) >= near for other in chosen):
            chosen.append(index)
    return sorted(chosen)


def _evenly(first: int, last: int, number: int) -> list[int]:
    """Places between two ends, not at them where there is room."""
    step = (last - first) / (number + 1)
    return sorted({round(first + step * (index + 1)) for index in range(number)})


def _found(labels: Array) -> dict[int, tuple[slice, ...]]:
    """The label values that occur, each with its bounding box."""
    return {value: box for value, box in enumerate(boxes_of(labels), start=1) if box is not None}


class Tile(NamedTuple):
    """A slice to be shown.

    Attributes:
        pixels: (row, column[, 3]).
        labels: (row, column).
        words: Its number.
        marks: What is on the left and up.
        sizes: How much of it each label value takes, by value.
    """

    pixels: Array
    labels: Array
    words: str
    marks: tuple[str, str]
    sizes: Array

    @classmethod
    def of(cls, plane: Array, mask: Array, steps: Sequence[float], longer: int, words: tuple[str, str, str]) -> Tile:
        """A slice, enlarged (see `enlarged`).

        Args:
            plane: Of the image (first, second axis[, colour]).
            steps: Millimetres along both axes.
            words: Its number, what is on the left, and what is up.
        """
        pixels, large = enlarged(plane, mask, steps, longer)
        sizes = np.bincount(min(mask, large, key=np.size).ravel(), minlength=1)
        return cls(pixels, large, words[0], words[1:], sizes)

    @property
    def shape(self) -> tuple[int, int]:
        return self.labels.shape[0], self.labels.shape[1]


def tile(image: Volume, labels: Array, axis: int, index: int, window: tuple[float, float]) -> Tile:
    """One slice: index of `axis`, in RAS order of axes.

    Args:
        image, labels: Axes in RAS order.
    """
    grey = grey_of(np.moveaxis(first_channel(image).array, axis, 0)[index], window)
    steps = [step for a, step in enumerate(image.spacing) if a != axis]
    words = f"slice {index + 1} of {image.shape[axis]}"
    return Tile.of(grey, np.moveaxis(labels, axis, 0)[index], steps, TILE, (words, *MARKS[axis]))


def flat_tile(image: Volume, labels: Array, window: tuple[float, float]) -> Tile:
    """An image of two axes, its second axis turned as its affine says.

    Args:
        image, labels: Shape (i, j), of the image perhaps with channels first.
    """
    channels = image.array.reshape(image.channels, *image.shape)
    planes = [grey_of(channels[c], window) for c in ((0, 1, 2) if image.channels == 3 else (0, 0, 0))]
    directions = [image.affine[axis, axis] for axis in (0, 1)]
    turn = tuple(slice(None) if step < 0 else slice(None, None, -1) for step in directions)
    colour = np.stack(planes, -1)[turn][::-1, ::-1]
    return Tile.of(colour, labels[turn][::-1, ::-1], image.spacing, FLAT, ("", "", ""))


def enlarged(colour: Array, mask: Array, steps: Sequence[float], longer: int) -> tuple[Array, Array]:
    """A plane (first, second axis[, colour]) and its labels as rows and columns of square pixels, both axes turned
    round.

    Args:
        colour: uint8, grey or with a last axis of three colours.
        steps: Millimetres along both axes.

    Returns:
        Pixels of shape (row, column[, colour]) and labels of shape (row, column).
    """
    from PIL import Image

    size_mm = [n * step for n, step in zip(mask.shape, steps, strict=True)]
    scale = longer / max(size_mm)
    width, height = (max(8, round(side * scale)) for side in size_mm)
    turned = np.ascontiguousarray(np.swapaxes(colour[::-1, ::-1], 0, 1))
    pixels = np.asarray(Image.fromarray(turned).resize((width, height), Image.Resampling.BILINEAR))
    rows = (np.arange(height) * (mask.shape[1] / height)).astype(int)
    columns = (np.arange(width) * (mask.shape[0] / width)).astype(int)
    large = np.ascontiguousarray(mask[::-1, ::-1].take(columns, 0).T).take(rows, 0)
    return pixels, large


def painted(values: Array, colours: Colours) -> Array:
    """The colours of label values."""
    table = np.zeros((int(max(colours, default=0)) + 1, 3), np.uint8)
    for value, colour in colours.items():
        table[value] = colour
    return np.asarray(table[values])


def montage(tiles: Sequence[Tile], legend: Sequence[tuple[str, Colour]]) -> tuple[Array, list[tuple[int, int]]]:
    """The tiles in rows of three with room for a legend below them, and where each tile begins (row, column)."""
    across = min(ACROSS, len(tiles))
    height, width = (max(one.shape[axis] for one in tiles) for axis in (0, 1))
    total = across * (width + GAP) + GAP
    bottom = -(-len(tiles) // across) * (height + GAP) + GAP
    lines = max((line for _, line in _laid_out(legend, total - 2 * GAP)), default=-1) + 1
    shape = (bottom + lines * LINE + (GAP if lines else 0), total)
    colour = tiles[0].pixels.ndim == 3
    canvas = np.empty((*shape, 3) if colour else shape, np.uint8)
    canvas[:] = BACKGROUND if colour else BACKGROUND[1]
    places = []
    for number, one in enumerate(tiles):
        row, column = divmod(number, across)
        y = GAP + row * (height + GAP) + (height - one.shape[0]) // 2
        x = GAP + column * (width + GAP) + (width - one.shape[1]) // 2
        canvas[y : y + one.shape[0], x : x + one.shape[1]] = one.pixels
        places.append((y, x))
    return canvas, places


def caption(canvas: Canvas, place: tuple[int, int], shown: Tile, names: Names, colours: Colours) -> None:
    """Which side is where, the number of the slice, and the names of what it shows, the largest first.

    Args:
        place: Row and column where the tile begins.
        names, colours: Structures by value.
    """
    rows, columns = shown.shape
    part = canvas[place[0] : place[0] + rows, place[1] : place[1] + columns]
    text, (left, up), sizes = shown.words, shown.marks, shown.sizes
    if left:
        write_words(part, (rows / 2, 5), left, "lm", LETTER, CAPTION)
        write_words(part, (4, columns / 2), up, "mt", LETTER, CAPTION)
        write_words(part, (rows - 3, columns - 4), text, "rb", WORD, CAPTION)
    there = sorted((value for value in names if value < len(sizes) and sizes[value]), key=lambda value: -sizes[value])
    named = [(names[value], colours[value]) for value in there]
    taken = width_of(text, WORD) + 12 if text else 0
    beside = taken + sum(width_of(name, WORD) + 6 for name, _ in named) < columns
    write_names(part if beside or not taken else part[: rows - LINE + 5], named, columns - taken * beside)


def _legend(canvas: Canvas, legend: Sequence[tuple[str, Colour]]) -> None:
    """What the colours mean, at the bottom of the picture."""
    places = _laid_out(legend, canvas.shape[1] - 2 * GAP)
    top = canvas.shape[0] - GAP - LINE * (max((line for _, line in places), default=-1) + 1)
    for (text, colour), (x, line) in zip(legend, places, strict=True):
        y = top + line * LINE + LINE // 2
        square = canvas[y - 6 : y + 7, GAP + x : GAP + x + 13]
        if isinstance(square, Layered):
            square.fill(colour)
        else:
            square[...] = colour
        write_words(canvas, (y, GAP + x + 19), text, "lm", WORD, CAPTION)


def _laid_out(legend: Sequence[tuple[str, Colour]], width: int) -> list[tuple[int, int]]:
    """Where each entry of the legend stands: x and line."""
    places: list[tuple[int, int]] = []
    x = line = 0
    for text, _ in legend:
        need = width_of(text, WORD) + 38
        if x and x + need > width:
            x, line = 0, line + 1
        places.append((x, line))
        x += need
    return places
