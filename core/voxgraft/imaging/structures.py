"""The structures of a mask: names, values, coded terms, and regions made of several of them.

Of masks whose voxels are numbers of colours in a palette the number is the structure, the colour is for the eye.
Programs that reduce colours give the numbers anew for each file. So the same number must have the same colour in all
masks of a data set, and black, the usual background, must be number 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..errors import BadImage, DataError

if TYPE_CHECKING:
    from .volume import Array, Colour, Volume

Box = tuple[slice, ...]
"""A part of an image, a slice for each axis."""

Source = int | str
"""What a structure is called in masks: a value of a label map, or the name of a segment or contour."""

MOST_REGIONS = 23
"""Regions of one network, at most: a voxel's regions are bits of one number that float32 holds exactly."""


@dataclass(frozen=True, slots=True)
class Label:
    """A structure: the value it has in masks, its name, and its coded term where one is known.

    Attributes:
        code: (value, scheme, meaning), such as ("10200004", "SCT", "Liver").
        sources: The values and names in masks that make this structure, where they are not its own.
    """

    value: int
    name: str
    code: tuple[str, str, str] | None = None
    sources: tuple[Source, ...] = ()

    @property
    def made_of(self) -> tuple[Source, ...]:
        """The values and names in masks that make this structure."""
        return self.sources or (self.value, self.name)


@dataclass(frozen=True, slots=True)
class Region:
    """What one sigmoid output of a network finds: the union of structures.

    Attributes:
        members: The values of the structures.
    """

    name: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """The structures of a data set, and how masks are read as such; 0 is background and has no entry.

    Attributes:
        others: What becomes of values and names in masks that no structure is made of.
        ignore: The values and names in masks that mark voxels which count neither in training nor in scores.
        overlap: What becomes of voxels in two structures: an error, the higher value wins, or both are kept.
        regions: Where they are given, the network finds these, each by itself; structures may then overlap.
        paint: The value with which each region is painted over those before it, to make one label map of them; empty
            where predictions keep a channel for each region.
        bounded: Cases may have a file that says where they count; voxels elsewhere are ignored as well.
        by_option: They were given by the option --labels of a command, not in a workflow; messages say so.
    """

    items: tuple[Label, ...] = ()
    others: Literal["error", "background", "ignore"] = "error"
    ignore: tuple[Source, ...] = ()
    overlap: Literal["error", "higher", "keep"] = "error"
    regions: tuple[Region, ...] = ()
    paint: tuple[int, ...] = ()
    bounded: bool = False
    by_option: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, names: dict[str, int]) -> Labels:
        """From names and values; background, if it is named, is left out.

        Raises:
            DataError: A value appears twice or is not a whole number from 1 to 65535, or a label is called `mean`.

        Examples:
            >>> labels = Labels.of({"background": 0, "spleen": 2, "liver": 1})
            >>> labels.names, labels.values
            (('liver', 'spleen'), (1, 2))
        """
        labels = [Label(value, name) for name, value in names.items() if value != 0]
        for label in labels:
            if label.name == "mean":
                raise DataError("a label is called 'mean', the name that scores give to their average; rename it")
            if not 0 < label.value <= 65535:
                raise DataError(f"label {label.name!r} has the value {label.value}; values go from 1 to 65535")
        if len({label.value for label in labels}) != len(labels):
            raise DataError(f"two labels have the same value: {names}")
        return cls(tuple(sorted(labels, key=lambda label: label.value)))

    @classmethod
    def from_document(cls, document: Iterable[dict[str, Any]]) -> Labels:
        return cls(
            tuple(
                Label(int(row["value"]), str(row["name"]), tuple(row["code"]) if row.get("code") else None)
                for row in document
            )
        )

    def document(self) -> list[dict[str, Any]]:
        """Plain values, as `labels.json` holds them."""
        return [
            {"value": label.value, "name": label.name, **({"code": list(label.code)} if label.code else {})}
            for label in self.items
        ]

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(label.value for label in self.items)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.items)

    @property
    def ignored(self) -> int | None:
        """The value of voxels that count nowhere, in masks as `voxgraft.labels.masks.read_mask` gives them."""
        if not (self.ignore or self.bounded) and self.others != "ignore":
            return None
        if max(self.values, default=0) < 255:
            return 255
        return next(value for value in range(65535, 0, -1) if value not in self.values)


def each_structure(mask: Volume, labels: Labels) -> Iterator[tuple[Label, Box, Array]]:
    """For each label its bounding box and where in that box it is; an empty array where it is nowhere.

    Args:
        mask: Values of `labels`, shape (i, j[, k]); or 0 and 1 (structure, i, j[, k]) in their order.
    """
    several = mask.array.ndim > mask.dims
    boxes = [] if several else boxes_of(mask.array)
    for index, label in enumerate(labels.items):
        array, value = (mask.array[index], 1) if several else (mask.array, label.value)
        found = boxes_of(array) if several else boxes
        box = (found[value - 1] if value <= len(found) else None) or (slice(0, 0),) * mask.dims
        yield label, box, array[box] == value


def box_of(mask: Array) -> Box | None:
    """The smallest box that holds all that is not 0; None where nothing is."""
    import numpy as np

    order = sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis]))  # the first cut leaves whole planes
    box = [slice(None)] * mask.ndim
    for axis in order:
        part = mask[tuple(box)]
        there = np.flatnonzero(part.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(there):
            return None
        box[axis] = slice(int(there[0]), int(there[-1]) + 1)
    return tuple(box)


def boxes_of(values: Array, highest: int = 0) -> list[Box | None]:
    """The bounding box of each value from 1 on, None of one that is not there: what scipy's `find_objects` gives.

    It looks in the order in which voxels lie in memory, and only where something is: of a scan whose first axis is
    contiguous, as readers give it, in a quarter of the time or less.

    Args:
        values: Whole numbers, at least 0.
        highest: The last value that is asked for; by default the highest there is.
    """
    from scipy.ndimage import find_objects

    order = sorted(range(values.ndim), key=lambda axis: -abs(values.strides[axis]))
    turned = [step < 0 for step in values.strides]
    straight = values[tuple(slice(None, None, -1 if turn else None) for turn in turned)].transpose(order)
    whole = box_of(straight)
    if whole is None:
        return [None] * highest

    def placed(box: Box) -> Box:
        """The same in the whole array, whose axes are in another order and perhaps turned round."""
        sides = [(side.start + outer.start, side.stop + outer.start) for side, outer in zip(box, whole, strict=True)]
        ends = [(sides[order.index(axis)], values.shape[axis]) for axis in range(values.ndim)]
        return tuple(
            slice(n - stop, n - start) if turn else slice(start, stop)
            for ((start, stop), n), turn in zip(ends, turned, strict=True)
        )

    return [box and placed(box) for box in find_objects(straight[whole], max_label=highest)]


def union(*boxes: Box | None) -> Box | None:
    """The smallest box that holds all boxes that are there."""
    present = [box for box in boxes if box is not None]
    if not present:
        return None
    return tuple(slice(min(p.start for p in axis), max(p.stop for p in axis)) for axis in zip(*present, strict=True))


BLACK = (0, 0, 0)
WHAT_TO_DO = "save the masks as grey pictures whose values are the structures"


def check_background(palette: Mapping[int, Colour], name: object) -> None:
    """Refuse a mask in which another number than 0 is black, so that 0 may well be a structure.

    Args:
        palette: The colours of the numbers that stand in the mask.
    """
    black = [number for number, colour in palette.items() if colour == BLACK]
    if black and 0 not in black and 0 in palette:
        raise BadImage(
            name,
            f"its palette gives black the number {black[0]} and {palette[0]} the number 0, which is background; "
            f"{WHAT_TO_DO}",
        )


def check_alike(palettes: Iterable[tuple[str, Mapping[Any, Sequence[int]]]]) -> None:
    """Refuse masks whose palettes give one number different colours.

    Args:
        palettes: Names of masks, and the colours of the numbers that stand in them.
    """
    first: dict[Any, tuple[str, tuple[int, ...]]] = {}
    for name, palette in palettes:
        for number, parts in palette.items():
            colour = tuple(parts)
            other, known = first.setdefault(number, (name, colour))
            if known != colour:
                raise DataError(
                    f"the palettes of the masks differ: the value {number} is the colour {known} in {other} and "
                    f"{colour} in {name}, so it may mean two structures; {WHAT_TO_DO}"
                )
