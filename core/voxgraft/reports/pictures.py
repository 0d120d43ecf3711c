"""The slice of a case in which most voxels are wrong, with the contours of reference and prediction.

Slices are shown as radiologists look at them: the patient's right on the left (sagittal: the front on the left), front
or head up; letters at the edges say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.orientation import reoriented
from ..imaging.structures import Labels, box_of
from ..imaging.volume import Array, Volume, first_channel
from ..support.texts import counted
from .display import BACKGROUND, display_window, grey_of, plane_name, shown_axis
from .drawing import CAPTION, LETTER, WORD, Picture, as_jpeg, outline, write_words
from .preview import MARKS, enlarged

if TYPE_CHECKING:
    from ..preprocessing.modality import Modality

REFERENCE, PREDICTION = (64, 196, 255), (255, 140, 40)
LONGER = 560
"""Pixels of the longer side."""
AROUND, LEAST = 12.0, 0.35
"""What is shown around the masks: millimetres, and at least this part of the image along each axis."""


@dataclass(frozen=True, slots=True)
class Plane:
    """What is drawn: a slice of a volume, or an image of two axes.

    Attributes:
        found, wanted: Labels along the first and second axis in RAS order.
        grey: uint8 of the same shape, perhaps with a last axis of three colours; None without a scan.
        spacing: Millimetres along both axes.
        kind: What the slice is called, such as `axial`; empty for an image of two axes.
        number: Which slice of how many, in words.
        marks: What is on the left, and what is up.
    """

    found: Array
    wanted: Array
    grey: Array | None
    spacing: tuple[float, ...]
    kind: str = ""
    number: str = ""
    marks: tuple[str, str] = ("", "")


def worst_slice(
    prediction: Volume,
    reference: Volume,
    scan: Volume | None = None,
    modality: Modality | None = None,
    labels: Labels | None = None,
) -> Picture:
    """The slice with most wrong voxels, and in words which it is; without a scan the masks alone.

    Args:
        prediction: Label map, or 0 and 1 of shape (structure, i, j[, k]).
        reference: The same, in the same grid.
        scan: The image, of which the first channel is shown (three of an image of two axes are colours).
        modality: Says which intensities are black and white; without one, see `display.guessed_window`.
        labels: What the values or channels stand for, to name those that the slice shows.
    """
    turned = reoriented(reference)[0]
    found, wanted = _labels(reoriented(prediction)[0]), _labels(turned)
    image = None if scan is None else reoriented(scan)[0]
    if found.ndim == 2:
        plane = Plane(found, wanted, None if image is None else _flat(image, modality), turned.spacing)
    else:
        plane = _sliced(found, wanted, turned.spacing, image, modality)
    several = reference.array.ndim > reference.dims
    names = names_of(labels, reference) if labels is not None else {}
    shown = [name for value, name in names.items() if _holds(plane, value, several)]
    wrong = int(np.count_nonzero(plane.found != plane.wanted))
    parts = (f"{plane.kind} {plane.number}".strip(), ", ".join(shown), counted(wrong, "wrong voxel"))
    return _drawn(plane, "; ".join(part for part in parts if part))


def names_of(labels: Labels, mask: Volume) -> dict[int, str]:
    """The names of structures by the values of a label map; the n-th of several channels has the value n."""
    if mask.array.ndim == mask.dims:
        return {label.value: label.name for label in labels.items}
    by_region = len(labels.regions) == mask.channels
    return dict(enumerate((part.name for part in (labels.regions if by_region else labels.items)), start=1))


def _sliced(
    found: Array, wanted: Array, spacing: tuple[float, ...], image: Volume | None, modality: Modality | None
) -> Plane:
    """The slice with most wrong voxels; where none is wrong, that with most of the reference."""
    axis = shown_axis(spacing)
    others = tuple(a for a in range(3) if a != axis)
    wrong = np.count_nonzero(found != wanted, axis=others)
    index = int(wrong.argmax()) if wrong.any() else int(np.count_nonzero(wanted, axis=others).argmax())
    grey = None
    if image is not None:
        channel = first_channel(image).array
        window = display_window(channel, modality, channel[wanted != 0])
        grey = grey_of(np.moveaxis(channel, axis, 0)[index], window)
    number = f"slice {index + 1} of {found.shape[axis]}"
    found, wanted = (np.moveaxis(labels, axis, 0)[index] for labels in (found, wanted))
    return Plane(found, wanted, grey, tuple(spacing[a] for a in others), plane_name(axis), number, MARKS[axis])


def _flat(image: Volume, modality: Modality | None) -> Array:
    """An image of two axes, in colours where it has three channels."""
    channels = image.array.reshape(image.channels, *image.shape)
    window = display_window(channels[0], modality)
    planes = [grey_of(channel, window) for channel in channels[: 3 if image.channels == 3 else 1]]
    return np.stack(planes, -1) if len(planes) == 3 else planes[0]


def _holds(plane: Plane, value: int, several: bool) -> bool:
    """Whether a structure is in either mask of a plane."""
    if several:
        return bool(((plane.found | plane.wanted) >> (value - 1) & 1).any())
    return bool(((plane.found == value) | (plane.wanted == value)).any())


def _labels(volume: Volume) -> Array:
    """Label map; of overlapping structures each combination has a value of its own."""
    array = volume.array.reshape(volume.channels, *volume.shape)
    if len(array) == 1:
        return np.asarray(array[0])
    weights = 2 ** (np.arange(len(array)) % 60)
    return np.asarray(np.tensordot(weights, array.astype(np.int64), 1))


def _shown(found: Array, wanted: Array, spacing: tuple[float, ...]) -> tuple[slice, ...]:
    """What is shown of a plane: the masks, some millimetres around them, and not too little."""
    box = []
    for there, step, length in zip(box_of((found != 0) | (wanted != 0)) or (), spacing, found.shape, strict=False):
        more = round(AROUND / step)
        missing = max(0, round(LEAST * length) - (there.stop - there.start + 2 * more))
        more += (missing + 1) // 2
        box.append(slice(max(0, there.start - more), min(length, there.stop + more)))
    return tuple(box)


def _drawn(plane: Plane, caption: str) -> Picture:
    """The part of a plane around its masks as a picture whose pixels are square."""
    box = _shown(plane.found, plane.wanted, plane.spacing)
    grey = np.full(plane.found.shape, BACKGROUND[1], np.uint8) if plane.grey is None else plane.grey
    pixels, wanted = enlarged(grey[box], plane.wanted[box], plane.spacing, LONGER)
    _, found = enlarged(grey[box], plane.found[box], plane.spacing, LONGER)
    plain = pixels.copy()
    drawn = np.repeat(plain[..., None], 3, -1) if plain.ndim == 2 else plain.copy()
    for labels, colour, wide in ((wanted, REFERENCE, 4), (found, PREDICTION, 2)):
        drawn[outline(labels, wide)] = colour
    rows, columns = found.shape
    for canvas in (plain, drawn):
        if plane.number:
            write_words(canvas, (rows / 2, 5), plane.marks[0], "lm", LETTER, CAPTION)
            write_words(canvas, (4, columns / 2), plane.marks[1], "mt", LETTER, CAPTION)
            write_words(canvas, (rows - 3, columns - 5), plane.number, "rb", WORD, CAPTION)
    return Picture(as_jpeg(drawn), as_jpeg(plain), caption)
