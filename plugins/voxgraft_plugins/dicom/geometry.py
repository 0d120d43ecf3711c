"""Sort slices by their place, and find out whether they make up a regular volume.

What is tolerated, and no more: direction cosines that differ by 0.001 (0.06 degrees); pixel spacings that differ by
0.1 %; slices that lie off a regular grid by 1 % of the slice spacing or by 0.06 mm (scanners round positions to
0.1 mm), whichever is more, but never by more than 10 % of the spacing; slices that are shifted sideways against the
first by 0.1 mm, or by 0.5 mm for each metre of the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from voxgraft.volume import Array, Problem

from .header import Header

SAME_DIRECTION = 1e-3
SAME_PIXEL = 1e-3
OFF_GRID, OFF_GRID_MM, OFF_GRID_MOST = 0.01, 0.06, 0.1
LEANING, LEANING_MM = 5e-4, 0.1
GAP = 1.5
"""A distance this many times the usual one is a gap of missing slices, not an irregular step."""
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
T = TypeVar("T")


@dataclass(frozen=True)
class Stack:
    """Slices in their order.

    Attributes:
        affine: From (column, row, slice) to RAS millimetres; of the first slices where there are errors.
    """

    slices: tuple[Header, ...]
    affine: Array
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Plane:
    """Where one slice lies: the centre of its first pixel, the directions of rows and columns, in LPS millimetres."""

    position: Array
    along_row: Array
    along_column: Array
    step_row: float
    step_column: float

    @property
    def normal(self) -> Array:
        return np.cross(self.along_row, self.along_column)


def plane_of(header: Header) -> Plane | None:
    """The plane of a slice; None where the file does not say it, or says nonsense."""
    position = header.numbers("ImagePositionPatient", 3)
    cosines = header.numbers("ImageOrientationPatient", 6)
    spacing = header.numbers("PixelSpacing", 2)
    if position is None or cosines is None or spacing is None or min(spacing) <= 0:
        return None
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.sqrt([row @ row, column @ column])
    if np.abs(lengths - 1).max() > 0.01 or abs(row @ column) > 0.01:
        return None
    return Plane(np.array(position), row / lengths[0], column / lengths[1], spacing[1], spacing[0])


def stacked(slices: Sequence[Header]) -> Stack:
    """Sort slices that agree in size and direction, and check that they make up a volume.

    The third axis of the affine runs from the first slice to the last, in the direction of the normal (row x column).
    """
    planes = {id(one): plane for one in slices if (plane := plane_of(one)) is not None}
    normal = planes[id(slices[0])].normal
    place = {id(one): float(planes[id(one)].position @ normal) for one in slices}
    ordered = tuple(sorted(slices, key=lambda one: (place[id(one)], one.whole("InstanceNumber"), str(one.path))))
    places = np.array([place[id(one)] for one in ordered])
    first = planes[id(ordered[0])]
    if len(ordered) == 1:
        thickness, problems = _thickness(ordered[0])
        return Stack(ordered, _affine(first, normal * thickness), problems)
    problems = _repeated(ordered, places)
    run = planes[id(ordered[-1])].position - first.position
    if not problems:
        problems = (*_off_grid(places), *_leaning(np.stack([planes[id(one)].position for one in ordered]), normal))
    # Where slices repeat, there is no regular step; the extent divided by the steps keeps the affine invertible.
    step = run / (len(ordered) - 1) if run @ normal > 1e-6 else normal
    return Stack(ordered, _affine(first, step), problems)


def _affine(first: Plane, step: Array) -> Array:
    """4x4 from (column, row, slice) to RAS millimetres."""
    lps = np.eye(4)
    lps[:3, 0] = first.along_row * first.step_row
    lps[:3, 1] = first.along_column * first.step_column
    lps[:3, 2] = step
    lps[:3, 3] = first.position
    return RAS @ lps


def _thickness(header: Header) -> tuple[float, tuple[Problem, ...]]:
    for name in ("SliceThickness", "SpacingBetweenSlices"):
        if (value := abs(header.number(name, 0.0))) > 0:
            return value, ()
    return 1.0, (Problem("no-thickness", "its one slice has no thickness; 1 mm is assumed", "warning"),)


def _repeated(ordered: Sequence[Header], places: Array) -> tuple[Problem, ...]:
    """Several slices in one place: several volumes, or single slices that stand twice."""
    nearest = np.diff(places)
    usual = float(np.median(nearest[nearest > 1e-3])) if (nearest > 1e-3).any() else 1.0
    starts = np.flatnonzero(np.concatenate([[True], nearest > max(1e-3, 0.01 * usual)]))
    counts = np.diff(np.append(starts, len(places)))
    if counts.max() == 1:
        return ()
    if counts.min() == counts.max():
        text = f"it holds {counts[0]} volumes of {len(counts)} slices in the same place{_differing(ordered, counts[0])}"
        return (Problem("several-volumes", f"{text}; a reader of series takes one"),)
    where = ", ".join(f"{places[start]:.2f} mm" for start, n in zip(starts, counts, strict=True) if n > 1)[:120]
    twice = int((counts > 1).sum())
    text = f"{twice} of its {len(counts)} places hold more than one slice (along the normal at {where})"
    return (Problem("duplicate-slice", text),)


def _differing(ordered: Sequence[Header], volumes: int) -> str:
    names = ("EchoTime", "TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber", "ImageType")
    for name in names:
        if len({one.text(name) for one in ordered}) == volumes:
            return f", which differ in {name}"
    return ""


def _off_grid(places: Array) -> tuple[Problem, ...]:
    steps = np.diff(places)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > GAP * usual)
    if len(gaps):
        at = int(gaps[0])
        lost = int(sum(max(1, round(float(steps[gap]) / usual) - 1) for gap in gaps))
        text = (
            f"between its slices {at + 1} and {at + 2} (at {places[at]:.2f} and {places[at + 1]:.2f} mm along the "
            f"normal) lie {steps[at]:.2f} mm, elsewhere {usual:.2f} mm; slices that are missing: {lost}"
        )
        return (Problem("missing-slice", text),)
    spacing = (places[-1] - places[0]) / len(steps)
    off = np.abs(places - places[0] - spacing * np.arange(len(places)))
    if off.max() > min(max(OFF_GRID * spacing, OFF_GRID_MM), OFF_GRID_MOST * spacing):
        at = int(off.argmax())
        text = (
            f"its slices lie {steps.min():.2f} to {steps.max():.2f} mm apart; "
            f"slice {at + 1} is {off[at]:.2f} mm off its place"
        )
        return (Problem("irregular-spacing", text),)
    return ()


def _leaning(positions: Array, normal: Array) -> tuple[Problem, ...]:
    """Slices that are shifted against each other within their planes, as with a tilted gantry; positions (slice, 3)."""
    runs = positions - positions[0]
    heights = runs @ normal
    aside = np.sqrt(((runs - heights[:, None] * normal) ** 2).sum(1))
    if aside.max() <= max(LEANING_MM, LEANING * heights[-1]):
        return ()
    if aside.argmax() < len(aside) - 1 or aside[-1] < 0.5 * aside.max():
        text = f"its slice {int(aside.argmax()) + 1} is shifted {aside.max():.1f} mm sideways against the first"
        return (Problem("shifted-slice", text),)
    angle = np.degrees(np.arctan2(aside[-1], heights[-1]))
    text = f"its gantry was tilted: the slices lean {angle:.1f} degrees, {aside[-1]:.1f} mm from first to last"
    return (Problem("gantry-tilt", text),)


def grouped(headers: Sequence[Header], same: Callable[[Header, Header], bool]) -> list[list[Header]]:
    """Part slices into groups that agree with the first of their group; the largest group comes first."""
    groups: list[list[Header]] = []
    for header in headers:
        for group in groups:
            if same(group[0], header):
                group.append(header)
                break
        else:
            groups.append([header])
    return sorted(groups, key=len, reverse=True)


def same_direction(one: Header, two: Header) -> bool:
    a, b = plane_of(one), plane_of(two)
    if a is None or b is None:
        return a is b
    differences = (a.along_row - b.along_row, a.along_column - b.along_column)
    return max(float(np.abs(difference).max()) for difference in differences) <= SAME_DIRECTION


def same_size(one: Header, two: Header) -> bool:
    a, b = one.numbers("PixelSpacing", 2), two.numbers("PixelSpacing", 2)
    if (one.text("Rows"), one.text("Columns")) != (two.text("Rows"), two.text("Columns")):
        return False
    if a is None or b is None:
        return a is b
    return all(abs(x - y) <= SAME_PIXEL * x for x, y in zip(a, b, strict=True))
