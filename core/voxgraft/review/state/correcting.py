"""Corrections that the server works out: previewed, and saved when they are committed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...correction.change import Change
from ...correction.clicks import Click, click
from ...correction.holes import fill_holes
from ...correction.slices import propagate
from ...correction.smoothing import smooth
from ...errors import VoxGraftError
from ...imaging.volume import Array, spacing_of
from .editing import SERVED, Editor, values_of
from .errors import NotThere, Refused
from .reviewed import Reviewed
from .working import Working

MOST_SLICES = 2000
FARTHEST = 1000.0
"""Millimetres of the longest reach."""
WIDEST = 60.0
"""Millimetres of the widest click: a larger one changes whole organs."""
SMOOTHEST = 15.0
"""Millimetres of the widest smoothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What every correction says.

    Attributes:
        case: The scan.
        reader: Whose mask.
        label: Value of the structure.
        locked: Values of structures that the page has locked.
        commit: Save it; otherwise it is only shown.
        base: SHA-256 of the mask file that the reader sees; None for whichever it is.
    """

    case: str
    reader: str
    label: int
    locked: Collection[int]
    commit: bool
    base: str | None


class Corrector:
    """Works out corrections of the masks of readers.

    All of its corrections raise `Refused` where a number is out of range, and `Conflict` where the mask is another one
    by now; nothing was changed then.

    Args:
        store: The state of the review.
        editor: Saves what is committed.
    """

    def __init__(self, store: Reviewed, editor: Editor) -> None:
        self._store, self._editor = store, editor

    def propagate(
        self, asked: Asked, axis: int, reach_mm: float, slices: Collection[int], over: bool = False
    ) -> dict[str, Any]:
        """Carry the correction of redrawn slices, which are saved already, on to those between and beside them.

        Args:
            asked: Of which structure.
            axis: Across the slices.
            reach_mm: How far the correction reaches beyond the outermost.
            slices: Which were redrawn.
            over: The structure may grow into others.
        """
        if not slices or len(slices) > MOST_SLICES:
            raise Refused("name the slices that were redrawn")

        def change(working: Working, walls: Collection[int]) -> Change:
            if not 0 <= axis < 3 or not all(0 <= index < working.array.shape[axis] for index in slices):
                raise Refused("the redrawn slices lie outside of the scan")
            if not 0 < reach_mm <= FARTHEST:
                raise Refused(f"the reach is from 0 to {FARTHEST:g} mm")
            before = before_drawing(working, axis, slices)
            spacing = spacing_of(working.affine)
            drawn = sorted(set(slices))
            return propagate(before, working.array, asked.label, axis, spacing, reach_mm, walls, drawn, over)

        return self._correct(asked, "propagate", change)

    def click(self, asked: Asked, points: Any, radius_mm: float, over: bool = False) -> dict[str, Any]:
        """Add to a structure, or remove from it, what clicks point at.

        Args:
            asked: Of which structure.
            points: Clicks as the page sends them, see `points_of`.
            radius_mm: How far from a click anything may change.
            over: The structure may grow into others.
        """
        if not 0 < radius_mm <= WIDEST:
            raise Refused(f"the radius of a click is from 0 to {WIDEST:g} mm")

        def change(working: Working, walls: Collection[int]) -> Change:
            clicks = points_of(points, working.array.shape)
            image = image_of(self._store, asked.case, asked.reader, working.array.shape)
            spacing = spacing_of(working.affine)
            return click(image, working.array, asked.label, clicks, spacing, walls, radius_mm, over)

        return self._correct(asked, "click", change)

    def fill(self, asked: Asked, axis: int | None, index: int | None, over: bool) -> dict[str, Any]:
        """Fill the holes of a structure.

        Args:
            asked: Of which structure.
            axis: Across the slices that are filled one by one; None in space.
            index: The only slice; None for all.
            over: Other structures within a hole too.
        """

        def change(working: Working, walls: Collection[int]) -> Change:
            return fill_holes(working.array, asked.label, axis, index, walls, over)

        return self._correct(asked, "fill", change)

    def smooth(self, asked: Asked, kind: str, radius_mm: float, over: bool) -> dict[str, Any]:
        """Smooth the border of a structure.

        Args:
            asked: Of which structure.
            kind: One of `voxgraft.correction.smoothing.KINDS`.
            radius_mm: What is smaller goes.
            over: The structure may grow into others.
        """
        if not 0 < radius_mm <= SMOOTHEST:
            raise Refused(f"the radius of smoothing is from 0 to {SMOOTHEST:g} mm")

        def change(working: Working, walls: Collection[int]) -> Change:
            return smooth(working.array, asked.label, spacing_of(working.affine), radius_mm, kind, walls, over)

        return self._correct(asked, "smooth", change)

    def _correct(self, asked: Asked, tool: str, change: Callable[[Working, Collection[int]], Change]) -> dict[str, Any]:
        with self._editor.using(asked.case, asked.reader, asked.base) as (seen, working):
            if asked.label not in values_of(seen.row):
                raise NotThere("there is no such structure in this scan")
            walls = {*seen.finished.values(), *asked.locked}
            if asked.label in walls:
                raise Refused("this structure is finished or locked; reopen it first")
            found = change(working, walls)
            shown = preview_of(found, asked.label)
            if not asked.commit or not found.voxels:
                return {**shown, "sha256": working.sha256}
            return {**shown, **self._editor.commit(seen, working, found, tool).document()}


def before_drawing(working: Working, axis: int, slices: Collection[int]) -> Array:
    """The mask as it was before these slices were redrawn.

    Drawn slices are saved like any other change, in one or several saves. The last saves, back to the last correction
    that the server worked out, are the drawing; what they changed outside of these slices stays.

    Args:
        working: The mask with its journal.
        axis: Across the slices.
        slices: Which were redrawn.
    """
    before = working.array.copy(order="K")
    journal = working.journal
    if journal is None:
        return before
    for number in range(journal.position - 1, -1, -1):
        if journal.entries[number].tool in SERVED:
            break
        journal.change(number).revert(before)
    kept = np.ones(before.shape[axis], np.bool_)
    kept[list(slices)] = False
    index = tuple(kept if one == axis else slice(None) for one in range(before.ndim))
    before[index] = working.array[index]
    return before


def preview_of(change: Change, label: int) -> dict[str, Any]:
    """A change as the page shows it.

    `box` holds [from, to) for each axis; `mask` and `removed` are base64 of bits packed eight to a byte (the first in
    the highest bit), the first axis slowest: voxels of the box that become the structure, and those that leave it.
    """
    differs = change.before != change.after
    return {
        "box": [[int(part.start), int(part.stop)] for part in change.box],
        "changed": change.voxels,
        "label": label,
        "mask": _bits(differs & (change.after == label)),
        "removed": _bits(differs & (change.after != label)),
    }


def _bits(where: Array) -> str:
    return base64.b64encode(np.packbits(np.ascontiguousarray(where)).tobytes()).decode()


def points_of(values: Any, shape: Sequence[int]) -> list[Click]:
    """The clicks of a request: where, and whether they add.

    Raises:
        Refused: They are something else, or lie outside of the scan.
    """
    if not isinstance(values, list) or not 0 < len(values) <= 200:
        raise Refused("'points' has to be a list of 1 to 200 clicks")
    points = []
    for value in values:
        index: Any = value.get("index") if isinstance(value, dict) else None
        whole = isinstance(index, list) and len(index) == 3 and all(type(one) is int for one in index)
        if not whole or not isinstance(value.get("add"), bool):
            raise Refused("a click has an 'index' of three whole numbers, and 'add', true or false")
        if not all(0 <= one < size for one, size in zip(index, shape, strict=True)):
            raise Refused("a click lies outside of the scan")
        points.append(Click(tuple(index), value["add"]))
    return points


def image_of(store: Reviewed, case: str, reader: str, shape: tuple[int, ...]) -> Array:
    """The voxels of the first channel in the mask's grid, mapped from the cache and not read.

    Args:
        store: The state of the review.
        case: The scan.
        reader: Who looks at it.
        shape: Of its mask, (i, j, k).

    Raises:
        Refused: The scan is not there any more, or has another grid than its mask.
    """
    import nibabel

    try:
        image = store.image(case, 0, reader)
    except VoxGraftError as error:
        raise Refused(f"a click needs the scan's image: {error}") from error
    file: Any = nibabel.load(image.path)
    array: Array = np.asanyarray(file.dataobj)
    if array.dtype.names is not None:
        array = array[array.dtype.names[1]]  # green: of colours the one with most contrast
    if array.shape != shape:
        raise Refused("a click needs an image in the grid of its mask; correct this scan with the pen")
    return array
