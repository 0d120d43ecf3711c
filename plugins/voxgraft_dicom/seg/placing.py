"""Which voxels of a scan the pixels of a frame are: by their places in the patient, to a fraction of a voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxgraft.plugin import Array, BadImage, Volume, spacing_of

from ..objects.sources import RAS
from .objects import Frame, Segmentation

MOST_SLICES = 1 << 15
FARTHEST = 2.0**31
"""Voxels beyond which nothing lies; larger numbers fit no index."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame lies in a grid.

    Attributes:
        start: The voxel (i, j, k) of its first pixel.
        across, down: The steps in voxels to the next column and to the next row: one of -1 and 1, two of 0.
        off: How far, in voxels, the worst of its corners lies beside the voxel it is taken for.
        millimetres: The same in millimetres.
    """

    start: Array
    across: Array
    down: Array
    off: float
    millimetres: float

    @property
    def fits(self) -> bool:
        """Whether its rows and columns run along two different axes of the grid, pixel by voxel."""
        steps = np.abs(np.stack([self.across, self.down]))
        return bool((steps.sum(1) == 1).all() and (steps.sum(0) <= 1).all())


def place_frames(seg: Segmentation, like: Volume, tolerance: float) -> list[Place]:
    """Where each frame of an object lies in the grid of a scan.

    Args:
        tolerance: How far, in voxels, a corner of a frame may lie from the voxel it is assigned to.

    Raises:
        BadImage: One lies elsewhere; the message says how far off it is.
    """
    if seg.frames and all(frame.origin is None for frame in seg.frames):
        return _on_picture(seg, like)
    if any(frame.origin is None for frame in seg.frames):
        raise BadImage(seg.path, "some of its frames have a place in the patient and some have none")
    places = [place_of(frame, seg.rows, seg.columns, like.affine) for frame in seg.frames]
    if not all(place.fits for place in places):
        raise BadImage(
            seg.path, "its voxels have another size or direction than the scan's; the option resample: true allows that"
        )
    worst = max(places, key=lambda place: place.off, default=None)
    if worst is not None and worst.off > tolerance:
        how = f"{worst.millimetres:.3g} mm ({worst.off:.2g} voxels)"
        raise BadImage(seg.path, f"its voxels are up to {how} off the scan's; the option resample: true allows that")
    if places and coarser(seg, like, places):
        raise BadImage(
            seg.path,
            "its slices are thicker than the scan's and would leave gaps; the option resample: true allows that",
        )
    return places


def _on_picture(seg: Segmentation, like: Volume) -> list[Place]:
    """Frames without a place in the patient lie on the pixels of the one picture that they refer to."""
    if (*like.shape, 1)[:3] != (seg.columns, seg.rows, 1):
        frame_size, size = "x".join(map(str, like.shape)), f"{seg.columns}x{seg.rows}"
        raise BadImage(
            seg.path, f"its frames have no place in the patient, and their {size} pixels are not {frame_size}"
        )
    zero, across, down = np.zeros(3, np.int64), np.array([1, 0, 0]), np.array([0, 1, 0])
    return [Place(zero, across, down, 0.0, 0.0)] * len(seg.frames)


def place_of(frame: Frame, rows: int, columns: int, affine: Array) -> Place:
    """Where a frame lies in the grid of an affine (voxels to RAS millimetres).

    Args:
        frame: With its first pixel's middle and its steps, in LPS millimetres.
        rows, columns: Of the frame, in pixels.
        affine: Of the grid, shape (4, 4).
    """
    assert frame.origin is not None and frame.across is not None and frame.down is not None
    inverse = np.linalg.inv(affine)
    start = inverse[:3, :3] @ (RAS * frame.origin) + inverse[:3, 3]
    across, down = inverse[:3, :3] @ (RAS * frame.across), inverse[:3, :3] @ (RAS * frame.down)
    whole = [np.rint(np.clip(part, -FARTHEST, FARTHEST)) for part in (start, across, down)]
    corners = np.array([(1, c, r) for c in (0, columns - 1) for r in (0, rows - 1)], dtype=float)
    offsets = corners @ (np.stack([start, across, down]) - np.stack(whole))
    millimetres = float(np.linalg.norm(offsets @ affine[:3, :3].T, axis=1).max())
    corner, column_step, row_step = (part.astype(np.int64) for part in whole)
    return Place(corner, column_step, row_step, float(np.abs(offsets).max()), millimetres)


def window(place: Place, plane: Array, shape: tuple[int, ...]) -> tuple[tuple[slice | int, ...], Array] | None:
    """The part of a grid that a plane (row, column) covers.

    Args:
        place: Where the first pixel lies, and the steps to the next, in voxels.
        plane: Its pixels, (row, column).
        shape: Of the grid, (i, j, k).

    Returns:
        An index into an array of `shape` (i, j, k), and the part of the plane that lies there with its axes in the
        order of the grid's; None where all of it lies outside.
    """
    index: list[slice | int] = [0, 0, 0]
    cuts, axes = [], []
    for step, length in ((place.down, plane.shape[0]), (place.across, plane.shape[1])):
        axis = int(np.flatnonzero(step)[0])
        forward = bool(step[axis] > 0)
        low = int(place.start[axis]) if forward else int(place.start[axis]) - length + 1
        first, last = max(low, 0), min(low + length, shape[axis])
        if first >= last:
            return None
        index[axis] = slice(first, last)
        inner = slice(first - low, last - low) if forward else slice(low + length - last, low + length - first)
        cuts.append(inner)
        axes.append((axis, forward))
    through = _through(place)
    k = int(place.start[through])
    if not 0 <= k < shape[through]:
        return None
    index[through] = k
    part = plane[cuts[0], cuts[1]][tuple(slice(None, None, 1 if forward else -1) for _, forward in axes)]
    return tuple(index), part if axes[0][0] < axes[1][0] else part.T


def _through(place: Place) -> int:
    """The axis of the grid that runs through the frames."""
    return ({0, 1, 2} - {int(np.flatnonzero(step)[0]) for step in (place.across, place.down)}).pop()


def own_grid(seg: Segmentation) -> tuple[Array, tuple[int, int, int]]:
    """The grid that the frames of an object span by themselves: its affine to RAS millimetres, and its shape (i, j, k).

    Slices go along the normal of the frames, from the first that is there to the last.

    Raises:
        BadImage: The frames lie in several orientations, or not at even distances.
    """
    first = seg.frames[0] if seg.frames else None
    if first is None or any(frame.origin is None for frame in seg.frames):
        raise BadImage(seg.path, "its frames have no place in the patient; it can only be read onto its image")
    assert first.across is not None and first.down is not None
    origins = np.array([frame.origin for frame in seg.frames])
    steps = np.array([np.concatenate([frame.across, frame.down]) for frame in seg.frames])
    if np.abs(steps - steps[0]).max() * max(seg.rows, seg.columns) > 0.1 * np.abs(steps[0]).max():
        raise BadImage(seg.path, "its frames lie in several orientations and do not form one grid")
    normal = np.cross(first.across, first.down)
    normal /= np.linalg.norm(normal)
    along = origins @ normal
    order = np.argsort(along)
    positions = along[order]
    levels = positions[np.concatenate([[True], np.diff(positions) > 1e-2])]
    gap = _gap(levels, first.gap, seg)
    count = round(float(levels[-1] - levels[0]) / gap) + 1
    if count > MOST_SLICES:
        raise BadImage(seg.path, f"its frames lie {levels[-1] - levels[0]:.0f} mm apart, which is not one grid")
    step = (origins[order[-1]] - origins[order[0]]) / (count - 1) if count > 1 else normal * gap
    affine = np.eye(4)
    affine[:3] = RAS[:, None] * np.stack([first.across, first.down, step, origins[order[0]]], axis=1)
    return affine, (seg.columns, seg.rows, count)


def _gap(levels: Array, stated: float | None, seg: Segmentation) -> float:
    """Millimetres between slices: as stated where the frames fit to it, else the least distance between two frames."""
    if len(levels) == 1:
        return stated or seg.frames[0].thickness or 1.0
    for gap in (stated, float(np.diff(levels).min())):
        if gap and gap > 0:
            counts = (levels - levels[0]) / gap
            even = (levels[-1] - levels[0]) / max(1.0, np.rint(counts[-1]))
            counts = (levels - levels[0]) / even
            if np.abs(counts - np.rint(counts)).max() < 0.1 and (np.diff(np.rint(counts)) >= 1).all():
                return float(even)
    raise BadImage(seg.path, "its frames lie at uneven distances and do not form one grid")


def coarser(seg: Segmentation, like: Volume, places: list[Place]) -> bool:
    """Whether the slices of an object are thicker than the scan's, so that its frames would leave gaps in the scan.

    An object that does not say how far its slices lie apart counts as coarser where three or more of them lie evenly
    and none of them are neighbours.

    Args:
        seg: The object that is read.
        like: The scan.
        places: Of the object's frames in the scan's grid.
    """
    through = _through(places[0])
    levels = np.unique([place.start[through] for place in places])
    if len(levels) < 2 or (gaps := np.diff(levels)).min() < 2:
        return False
    stated = seg.frames[0].gap
    if stated is not None:
        return stated >= 1.5 * spacing_of(like.affine)[through]
    return len(levels) > 2 and bool((gaps == gaps[0]).all())
