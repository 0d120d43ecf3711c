"""Sort slices by their place, and find out whether they make up a regular volume.

What is tolerated, and no more: direction cosines that differ by 0.001 (0.06 degrees); pixel spacings that differ by
0.1 %; slices that lie off a regular grid by 1 % of the slice spacing or by 0.06 mm (scanners round positions to
0.1 mm), whichever is more, but never by more than 10 % of the spacing; slices that are shifted sideways against the
first by 0.1 mm, or by 0.5 mm for each metre of the stack. Slices of a tilted gantry, each shifted against the one
before by the same to 0.1 mm, make up a sheared grid, which is exactly theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from voxgraft.plugin import Array, Problem

from .channels import Parted, differing, parted
from .frames import Frame

SAME_DIRECTION = 1e-3
SAME_PIXEL = 1e-3
OFF_GRID, OFF_GRID_MM, OFF_GRID_MOST = 0.01, 0.06, 0.1
LEANING, LEANING_MM = 5e-4, 0.1
FEWEST_REGULAR, MOST_LEANING = 3, 45.0
"""Slices that show that what lies between them is always the same, and degrees beyond which no gantry leans."""
GAP = 1.5
"""A distance this many times the usual one is a gap of missing slices, not an irregular step."""
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """Slices in their order.

    Attributes:
        frames: The slices of the first channel, then those of the next.
        affine: From (column, row, slice) to RAS millimetres; of the first slices where there are errors.
    """

    frames: tuple[Frame, ...]
    affine: Array
    problems: tuple[Problem, ...]
    parted: Parted | None = None


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


def plane_of(frame: Frame) -> Plane | None:
    """The plane of a slice; None where the file does not say it, or says nonsense."""
    position, spacing = frame.numbers("ImagePositionPatient", 3), frame.numbers("PixelSpacing", 2)
    directions = _directions(frame.text("ImageOrientationPatient"))
    if position is None or directions is None or spacing is None or min(spacing) <= 0:
        return None
    return Plane(np.array(position), *directions, spacing[1], spacing[0])


@lru_cache(maxsize=1024)
def _directions(text: str) -> tuple[Array, Array] | None:
    """Unit vectors along rows and columns; the slices of a volume all say the same text."""
    try:
        row, column = np.array([float(part) for part in text.split("\\")]).reshape(2, 3)
    except ValueError:
        return None
    lengths = np.sqrt([row @ row, column @ column])
    if not np.abs(lengths - 1).max() <= 0.01 or not abs(row @ column) <= 0.01:
        return None
    return row / lengths[0], column / lengths[1]


def unplaced(frames: Sequence[Frame]) -> str:
    """The attributes in which frames do not say, or say wrongly, where they lie, for a message."""
    needed = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    lacking = [name for name, count in needed.items() if any(frame.numbers(name, count) is None for frame in frames)]
    return ", ".join(lacking) or "ImageOrientationPatient, PixelSpacing"


def stacked(frames: Sequence[Frame], counted: bool = False) -> Stack:
    """Sort slices that agree in size and direction, and check that they make up a volume, or several channels of one.

    The third axis of the affine runs from the first slice to the last, in the direction of the normal (row x column).

    Args:
        counted: See `parted`.
    """
    planes = {id(frame): plane for frame in frames if (plane := plane_of(frame)) is not None}
    normal = planes[id(frames[0])].normal
    height = {id(frame): float(planes[id(frame)].position @ normal) for frame in frames}
    ordered = sorted(frames, key=lambda frame: (height[id(frame)], frame.order))
    groups = _places(ordered, np.array([height[id(frame)] for frame in ordered]))
    channels: tuple[Sequence[Frame], ...] = (ordered,)
    parts, problems = None, _repeated(groups, height)
    if problems and len({len(group) for group in groups}) == 1:
        parts = parted(groups, counted)
        if parts is not None:
            channels = parts.channels
            problems = _apart(
                np.array([[planes[id(frame)].position for frame in channel] for channel in channels]), normal
            )
    positions = np.stack([planes[id(frame)].position for frame in channels[0]])
    if not problems and len(positions) > 1:
        along = (positions - positions[0]) @ normal
        doubts = _off_grid(along, positions[0] @ normal) or _skipping(channels[0], along[-1] / (len(along) - 1))
        problems = (*doubts, *_leaning(positions, normal))
    first, steps = planes[id(channels[0][0])], len(positions) - 1
    run = positions[-1] - positions[0]
    if len(groups) == 1 and not problems:
        thickness, problems = _thickness(channels[0][0])
        step = normal * thickness
    else:
        # Where slices repeat, there is no regular step; the extent divided by the steps keeps the affine invertible.
        step = run / steps if run @ normal > 1e-6 else normal
    return Stack(tuple(frame for channel in channels for frame in channel), _affine(first, step), problems, parts)


def _places(ordered: Sequence[Frame], heights: Array) -> list[Sequence[Frame]]:
    """Part sorted frames into those that lie in one place each."""
    steps = np.diff(heights)
    starts = np.flatnonzero(np.concatenate([[True], steps > max(1e-3, 0.01 * _usual(steps))]))
    return [ordered[a:b] for a, b in pairwise([*map(int, starts), len(ordered)])]


def _usual(steps: Array) -> float:
    return float(np.median(steps[steps > 1e-3])) if (steps > 1e-3).any() else 1.0


def _apart(positions: Array, normal: Array) -> tuple[Problem, ...]:
    """Volumes of one series that do not lie on one grid; positions (channel, slice, 3)."""
    spacing = _usual(np.diff(positions[0] @ normal))
    distance = float(np.sqrt(((positions - positions[0]) ** 2).sum(-1)).max())
    if distance <= max(1e-3, 0.01 * spacing):
        return ()
    text = f"it holds {len(positions)} volumes whose slices lie up to {distance:.2f} mm apart; a volume has one grid"
    return (Problem("several-volumes", text),)


def _affine(first: Plane, step: Array) -> Array:
    """4x4 from (column, row, slice) to RAS millimetres."""
    lps = np.eye(4)
    lps[:3, 0] = first.along_row * first.step_row
    lps[:3, 1] = first.along_column * first.step_column
    lps[:3, 2] = step
    lps[:3, 3] = first.position
    return RAS @ lps


def _thickness(header: Frame) -> tuple[float, tuple[Problem, ...]]:
    for name in ("SliceThickness", "SpacingBetweenSlices"):
        if (value := abs(header.number(name, 0.0))) > 0:
            return value, ()
    return 1.0, (Problem("no-thickness", "its one slice has no thickness; 1 mm is assumed", "warning"),)


def _repeated(positions: Sequence[Sequence[Frame]], height: dict[int, float]) -> tuple[Problem, ...]:
    """Several slices in one place: several volumes, or single slices that stand twice."""
    counts = [len(position) for position in positions]
    if max(counts) == 1:
        return ()
    if min(counts) == max(counts):
        text = f"it holds {counts[0]} volumes of {len(counts)} slices in the same place{differing(positions)}"
        return (Problem("several-volumes", text),)
    twice = [position for position in positions if len(position) > 1]
    where = ", ".join(f"{height[id(position[0])]:.2f} mm" for position in twice)[:120]
    text = f"{len(twice)} of its {len(counts)} places hold more than one slice (along the normal at {where})"
    return (Problem("duplicate-slice", text),)


def _off_grid(positions: Array, start: float) -> tuple[Problem, ...]:
    steps = np.diff(positions)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > GAP * usual)
    if len(gaps):
        at = int(gaps[0])
        lost = int(sum(max(1, round(float(steps[gap]) / usual) - 1) for gap in gaps))
        text = (
            f"between its slices {at + 1} and {at + 2} "
            f"(at {start + positions[at]:.2f} and {start + positions[at + 1]:.2f} mm along the normal) "
            f"lie {steps[at]:.2f} mm, elsewhere {usual:.2f} mm; slices that are missing: {lost}"
        )
        return (Problem("missing-slice", text),)
    spacing = (positions[-1] - positions[0]) / len(steps)
    off = np.abs(positions - positions[0] - spacing * np.arange(len(positions)))
    if off.max() > min(max(OFF_GRID * spacing, OFF_GRID_MM), OFF_GRID_MOST * spacing):
        at = int(off.argmax())
        text = (
            f"its slices lie {steps.min():.2f} to {steps.max():.2f} mm apart; "
            f"slice {at + 1} is {off[at]:.2f} mm off its place"
        )
        return (Problem("irregular-spacing", text),)
    return ()


def _skipping(frames: Sequence[Frame], spacing: float) -> tuple[Problem, ...]:
    """Whether regular slices may be every second (third, ...) one of a series, by what the header says of all of it.

    That is so where SpacingBetweenSlices is a half (a third, ...) of what lies between them. Where nothing says how far
    apart they lie, their numbers tell it if there is room between them: a gap alone is usual, and so are numbers that
    count other contrasts or reconstructions in the same place.
    """
    stated, thickness = frames[0].number("SpacingBetweenSlices", 0.0), frames[0].number("SliceThickness", 0.0)
    numbers = np.diff([frame.whole("InstanceNumber", -1) for frame in frames])
    if stated > 0:
        several, why = round(spacing / stated), f"its header says {stated:.2f} (SpacingBetweenSlices)"
        skipped = abs(spacing / stated - several) <= OFF_GRID * several
    else:
        several, why = abs(int(numbers[0])), "their InstanceNumbers leave out as many as would fit between them"
        skipped = 0 < (several - 0.5) * thickness <= spacing and bool((numbers == numbers[0]).all())
    if len(frames) < FEWEST_REGULAR or several < 2 or not skipped:
        return ()
    text = f"its slices lie {spacing:.2f} mm apart, and {why}; only 1 in {several} of its slices may be here"
    return (Problem("skipped-slices", text, "warning"),)


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
    angle = float(np.degrees(np.arctan2(aside[-1], heights[-1])))
    text = f"its gantry was tilted: the slices lean by {angle:.1f} degrees, {aside[-1]:.1f} mm from first to last"
    even = np.abs(runs - np.arange(len(runs))[:, None] / (len(runs) - 1) * runs[-1]).max()
    if len(runs) < FEWEST_REGULAR or angle > MOST_LEANING or even > LEANING_MM:
        return (Problem("gantry-tilt", f"{text}, and not by the same shift from each slice to the next"),)
    text += "; the grid is sheared in the same way, and distances are computed as if it were not"
    return (Problem("gantry-tilt", text, "warning"),)


def grouped(frames: Sequence[Frame], same: Callable[[Frame, Frame], bool]) -> list[list[Frame]]:
    """Part slices into groups that agree with the first of their group; the largest group comes first."""
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            if same(group[0], frame):
                group.append(frame)
                break
        else:
            groups.append([frame])
    return sorted(groups, key=len, reverse=True)


def same_direction(frame: Frame, other: Frame) -> bool:
    a, b = (_directions(each.text("ImageOrientationPatient")) for each in (frame, other))
    if a is None or b is None or a is b:
        return a is b
    differences = (a[0] - b[0], a[1] - b[1])
    return max(float(np.abs(difference).max()) for difference in differences) <= SAME_DIRECTION


def same_size(frame: Frame, other: Frame) -> bool:
    if (frame.text("Rows"), frame.text("Columns")) != (other.text("Rows"), other.text("Columns")):
        return False
    if frame.text("PixelSpacing") == other.text("PixelSpacing"):
        return True
    a, b = frame.numbers("PixelSpacing", 2), other.numbers("PixelSpacing", 2)
    if a is None or b is None:
        return a is b
    return all(abs(x - y) <= SAME_PIXEL * x for x, y in zip(a, b, strict=True))
