"""The engine of corrections behind every protocol: what a point, a box, a scribble or a lasso means.

An object is one structure of one scan. The first thing that a person marks picks it: an object that was drawn before,
or else the structure that the model found there, whole. Everything after that corrects it, in a bounded box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..correction.change import Change
from ..correction.clicks import Click, click
from ..correction.slices import propagate
from ..imaging.structures import Box, union
from .models import Found
from .pieces import Piece, Pieces

REACH_MM = 20.0
"""Half the edge of the box in which a click may change something."""
SLICES_MM = 15.0
"""How far beside a slice that a lasso redrew about a third of the correction is left."""
NEAR_MM = 3.0
"""How far beside a structure a first point may lie and still mean it."""
HELD = 100
"""Clicks of one object that later ones leave as they are."""
STROKE = 8
"""Points of a scribble that the correction is computed from."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan that is worked on, in the order of axes of its client.

    Attributes:
        image: One channel (i, j, k) of it.
        spacing: Millimetres between voxels along each of its axes.
        found: What the model found in it.
        structures: The values of the model's structures by their names.
    """

    image: NDArray[np.generic]
    spacing: tuple[float, ...]
    found: Found
    structures: Mapping[str, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.image.shape)

    def where(self, name: str, box: Box = ()) -> Mask:
        """Where the model found a structure, in a box or in all of the scan."""
        return self.found.structure(name, self.structures, box)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The structures of which the model found something."""
        return tuple(name for name in self.structures if self.where(name).any())

    def most_of(self, marked: Mask, box: Box) -> str:
        """The structure of which most voxels are marked; empty where none is.

        Args:
            marked: A part of the scan.
            box: Where it lies.
        """
        counts = {name: int((self.where(name, box) & marked).sum()) for name in self.structures}
        best = max(counts, key=lambda name: counts[name], default="")
        return best if best and counts[best] else ""

    def near(self, index: Sequence[int]) -> str:
        """The structure at a voxel, or the nearest one within `NEAR_MM`; empty where there is none."""
        reach = [max(1, round(NEAR_MM / step)) for step in self.spacing]
        box = tuple(slice(max(0, i - r), min(n, i + r + 1)) for i, r, n in zip(index, reach, self.shape, strict=True))
        place = np.indices([part.stop - part.start for part in box], np.float64)
        steps = [
            (axis + part.start - i) * step for axis, part, i, step in zip(place, box, index, self.spacing, strict=True)
        ]
        distance = np.sqrt(sum(step**2 for step in steps))
        reached = {
            name: float(distance[inside].min()) for name in self.structures if (inside := self.where(name, box)).any()
        }
        best = min(reached, key=lambda name: (reached[name], int(self.where(name).sum())), default="")
        return best if best and reached[best] <= NEAR_MM else ""


class Work:
    """What one client works on: a scan, and one object of it at a time.

    Args:
        scan: The scan.
        pieces: Its objects, shared with other clients that have it open.
    """

    def __init__(self, scan: Scan, pieces: Pieces) -> None:
        self.scan, self.pieces = scan, pieces
        self._piece: Piece | None = None
        self._clicks: list[Click] = []
        self._mine: frozenset[str] = frozenset()

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The object: 0 and 1, of the scan's shape."""
        return np.zeros(self.scan.shape, np.uint8) if self._piece is None else self._piece.mask

    @property
    def empty(self) -> bool:
        """Nothing belongs to the object yet."""
        return self._piece is None or not self._piece.mask.any()

    def put_aside(self) -> None:
        """Let the next mark begin another object; what was drawn is kept, and is picked again after a reconnect."""
        if self._piece is not None:
            self._mine |= {self._piece.folder.name}
            self.pieces.put_aside(self._piece)
            self._piece, self._clicks = None, []

    def start_from(self, mask: Mask) -> Box | None:
        """Make a mask the object: the one that was drawn before where it is just that, so that its undo goes on."""
        if not self.empty:
            return self._become(mask, "initial")
        if (piece := self.pieces.like(mask)) is not None:
            return self._take(piece)
        return self._become(mask, "initial")

    def point(self, index: tuple[int, ...], add: bool) -> Box | None:
        """A point that belongs to the object, or that does not."""
        if not self.empty:
            return self._click([Click(index, add)])
        if not add:
            return None
        if (piece := self.pieces.at(index, self._mine)) is not None:
            return self._take(piece)
        name = self.scan.near(index)
        return self._become(self.scan.where(name), "model") if name else self._click([Click(index, True)])

    def box(self, box: Box, add: bool) -> Box | None:
        """A box that the object lies in, or that it does not; a flat one speaks of its slice."""
        inside = np.ones([part.stop - part.start for part in box], np.bool_)
        if not add:
            return self._set(box, inside, False, "box")
        if self.empty and (whole := self._whole(inside, box)) is not None:
            return whole
        name = self.scan.most_of(inside, box)
        if name:
            return self._set(box, self.scan.where(name, box), True, "box")
        middle = tuple((part.start + part.stop - 1) // 2 for part in box)
        return self._click([Click(middle, True)], inside=box)

    def scribble(self, box: Box, marked: Mask, add: bool) -> Box | None:
        """A stroke over voxels that belong to the object, or that do not.

        Args:
            box: Where the stroke lies.
            marked: Its voxels, of the box's shape.
            add: Whether they belong to the object.
        """
        places = np.argwhere(marked) + [part.start for part in box]
        if not len(places) or (self.empty and not add):
            return None
        if self.empty and (whole := self._whole(marked, box)) is not None:
            return whole
        chosen = places[np.unique(np.linspace(0, len(places) - 1, STROKE).round().astype(int))]
        changed = self._click([Click(tuple(int(i) for i in place), add) for place in chosen])
        return union(changed, self._set(box, marked, add, "scribble"))

    def lasso(self, box: Box, marked: Mask, add: bool) -> Box | None:
        """An area drawn on a slice that belongs to the object, or that does not; its neighbours follow with a reach.

        Args:
            box: Where the area lies.
            marked: Its voxels or its outline, of the box's shape.
            add: Whether they belong to the object.
        """
        area = filled(marked)
        if not area.any() or (self.empty and not add):
            return None
        if self.empty and (whole := self._whole(area, box)) is not None:
            return whole
        ends = [np.flatnonzero(area.any(tuple(a for a in range(area.ndim) if a != axis))) for axis in range(area.ndim)]
        flat = [axis for axis, line in enumerate(ends) if line[0] == line[-1]]
        if not flat or self.empty:
            return self._set(box, area, add, "lasso")
        before, drawn = self.mask, self.mask.copy()
        drawn[box][area] = add
        followed = propagate(before, drawn, 1, flat[0], self.scan.spacing, SLICES_MM)
        followed.apply(drawn)
        return self._become(drawn != 0, "lasso")

    def whole(self) -> Box | None:
        """The object without a mark: the one that was drawn last, or else the model's first structure."""
        if not self.empty:
            return None
        if (piece := self.pieces.last(self._mine)) is not None:
            return self._take(piece)
        names = self.scan.names
        return self._become(self.scan.where(names[0]), "model") if names else None

    def undo(self) -> Box | None:
        """Take the last change of the object back."""
        return None if self._piece is None else self._piece.undo()

    def _whole(self, marked: Mask, box: Box) -> Box | None:
        """The object that was drawn before, or the structure of the model, that a mark is mostly on."""
        name = self.scan.most_of(marked, box)
        places = np.argwhere(marked & self.scan.where(name, box) if name else marked)
        middle = places[len(places) // 2] + [part.start for part in box]
        if (piece := self.pieces.at(tuple(int(i) for i in middle), self._mine)) is not None:
            return self._take(piece)
        return self._become(self.scan.where(name), "model") if name else None

    def _click(self, points: Sequence[Click], inside: Box | None = None) -> Box | None:
        """Let the object grow or shrink around points, within a bounded box; what earlier clicks said still holds."""
        piece = self._started()
        meant = {point.index for point in points}
        held = [old for old in self._clicks if bool(piece.mask[old.index]) == old.add and old.index not in meant]
        change = click(self.scan.image, piece.mask, 1, [*held, *points], self.scan.spacing, (), REACH_MM)
        self._clicks = [*held, *points][-HELD:]
        if inside is None:
            return piece.change(change, "click")
        wanted = piece.mask.copy()
        change.apply(wanted)
        limited = piece.mask.copy()
        limited[inside] = wanted[inside]
        return piece.become(limited, "click")

    def _set(self, box: Box, marked: Mask, value: bool, tool: str) -> Box | None:
        """Give voxels of a box to the object, or take them from it; all others stay as they are."""
        piece = self._started()
        after = piece.mask[box].copy()
        after[marked] = value
        inner = Change.between(piece.mask[box], after)
        if inner is None:
            return None
        moved = tuple(
            slice(part.start + outer.start, part.stop + outer.start) for part, outer in zip(inner.box, box, strict=True)
        )
        return piece.change(Change(moved, inner.before, inner.after), tool)

    def _become(self, mask: Mask, tool: str) -> Box | None:
        return self._started().become(mask, tool)

    def _take(self, piece: Piece) -> Box | None:
        """Go on with an object that was put aside; the box is that of all of it, for the client has nothing of it."""
        if self._piece is not None:
            self.put_aside()
        self._piece = piece
        there = Change.between(np.zeros_like(piece.mask), piece.mask)
        return None if there is None else there.box

    def _started(self) -> Piece:
        if self._piece is None:
            self._piece = self.pieces.begin()
        return self._piece


def filled(marked: Mask) -> Mask:
    """An area with its holes filled, slice by slice along its thinnest axis: of an outline, its inside."""
    from scipy.ndimage import binary_fill_holes

    axis = int(np.argmin(marked.shape))
    return np.stack([binary_fill_holes(plane) for plane in np.moveaxis(marked, axis, 0)], axis)
