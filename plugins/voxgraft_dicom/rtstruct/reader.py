"""The RTSTRUCT reader: contours of any planning system, filled on the slices of their scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from voxgraft.plugin import Array, BadImage, Item, Problem, Volume

from ..objects.forgiving import understanding
from ..objects.sources import RAS
from ..reader.structures import described, item_or_fault, of_rtstruct, opened
from .filling import combined
from .nesting import area
from .objects import Contour, Region, StructureSet, read_structure_set
from .options import RtstructReaderOptions

FLAT = 0.01
"""How far, in slices, the points of a contour on slices along the last axis may lie from each other along it."""

LARGE = 10.0
"""Voxels in a contour from which on what is left of it can be told from rounding."""

Slices = dict[int, list[tuple[Array, bool]]]
"""For each slice its contours: corners (n, 2) in voxel coordinates, and whether they combine by exclusive or."""


class RtstructReader:
    """Fills the contours of structure sets; voxels count whose centres lie inside."""

    def __init__(self, options: RtstructReaderOptions) -> None:
        self._options = options

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe the structure sets in these files; what is damaged or no structure set has an error."""
        return [item_or_fault(path, "dicom-rtstruct", _described) for path in files]

    def read(self, item: Item) -> Volume:
        """Contours have no voxels of their own.

        Raises:
            BadImage: Always; the message names the way out.
        """
        raise BadImage(item.path, "contours have no voxels of their own; read them together with the scan they lie on")

    def structures(self, item: Item, like: Volume, say: Callable[[Problem], None] = lambda _: None) -> dict[str, Array]:
        """Each structure by its name as a bool array in the grid of `like`, of shape `like.shape`.

        A voxel counts where its centre lies inside the contours of its slice. Slices without a contour are empty, also
        between slices that have one, unless the option `gaps` says otherwise. Points and open lines enclose nothing
        and are left out. Regions of one name are parts of one structure; a region of another frame of reference is left
        out where others lie in the scan's.

        Args:
            say: Is told of regions that are left out, and of contours of which nothing is left.

        Raises:
            BadImage: The object is damaged, or a contour does not lie on a slice of this scan; the message says how far
                off it is.
        """
        if like.dims != 3:
            raise BadImage(item.path, "contours lie in the patient, and this picture has no place there")
        structure_set = opened(item, read_structure_set)
        named: dict[str, Array] = {}
        for region in _of_frame(structure_set, item, like, say):
            mask = self.filled(region, structure_set.path, like, say)
            named[region.name] = named[region.name] | mask if region.name in named else mask
        return named

    def filled(
        self, region: Region, path: Path, like: Volume, say: Callable[[Problem], None] = lambda _: None
    ) -> Array:
        """One region as a bool array (i, j, k).

        Args:
            region: The contours of one structure.
            path: The file, for messages.
            like: The image whose grid is filled.
            say: Is told what a person should know, such as contours between slices.
        """
        mask = np.zeros(like.shape, bool, order="F")
        axis, slices = self._slices(region, path, like)
        if axis >= 0:
            view = np.moveaxis(mask, axis, 0)
            spacing = [step for number, step in enumerate(like.spacing) if number != axis]
            for level, polygons in slices.items():
                inside = self._options.boundary == "inside"
                view[level] = combined(polygons, (view.shape[1], view.shape[2]), inside, spacing)
            for problem in doubts(region.name, slices, view):
                say(problem)
            if self._options.gaps == "interpolate":
                filled_gaps(view, sorted(slices), spacing)
        if region.items and not mask.any():
            text = f"nothing is left of {region.name!r}: its contours enclose the centre of no voxel"
            say(Problem("empty-structure", text, "warning"))
        return mask

    def _slices(self, region: Region, path: Path, like: Volume) -> tuple[int, Slices]:
        """The axis through the contours of a region, -1 where there are none, and its contours slice by slice."""
        inverse = np.linalg.inv(like.affine)
        axis, slices = -1, Slices()
        for contour in region.contours(path):
            slice_number = self._on_slice(contour, region.name, path, inverse, like.shape)
            if slice_number is None:
                continue
            through, level, corners = slice_number
            if axis not in (-1, through):
                raise BadImage(path, f"the contours of {region.name!r} lie in several orientations")
            axis = through
            slices.setdefault(level, []).append((corners, contour.exclusive))
        return axis, slices

    def _on_slice(
        self, contour: Contour, name: str, path: Path, inverse: Array, shape: tuple[int, ...]
    ) -> tuple[int, int, Array] | None:
        """The axis through the contour, the slice that it lies on, and its corners there; None beyond the scan."""
        voxels = (contour.points * RAS) @ inverse[:3, :3].T + inverse[:3, 3]
        spread = np.ptp(voxels, axis=0)
        axis = 2 if spread[2] <= FLAT else int(spread.argmin())
        if spread[axis] > self._options.tolerance:
            raise BadImage(
                path,
                f"a contour of {name!r} lies in no plane of the scan: it leaves its slice by {spread[axis]:.2g} slices",
            )
        at = float(voxels[:, axis].mean())
        level = round(at)
        if abs(at - level) > self._options.tolerance and -0.5 < at < shape[axis] - 0.5:
            step = float(np.linalg.norm(np.linalg.inv(inverse[:3, :3])[:, axis]))
            raise BadImage(
                path, f"a contour of {name!r} lies between slices, {abs(at - level) * step:.2g} mm from the nearest"
            )
        corners = np.delete(voxels, axis, axis=1)
        edge = np.delete(np.array(shape), axis) - 0.5
        beyond = (corners.min(axis=0) >= edge).any() or (corners.max(axis=0) <= -0.5).any()
        if beyond or not 0 <= level < shape[axis]:
            if self._options.outside == "refuse":
                raise BadImage(path, f"a contour of {name!r} lies beyond the edge of the scan")
            return None
        return axis, level, corners


def doubts(name: str, slices: Slices, mask: Array) -> Iterator[Problem]:
    """What a person should know of the contours of a structure that do not give what they seem to.

    Args:
        mask: What they were filled to, (slice, x, y).
    """
    lost = [level for level, polygons in slices.items() if not mask[level].any() and _large(polygons)]
    if lost and len(lost) < len(slices):
        text = f"contours of {name!r} leave nothing on {len(lost)} of its {len(slices)} slices, for they cancel out"
        yield Problem("empty-structure", text, "warning")
    thin = sum(_thin(polygons, mask[level]) for level, polygons in slices.items())
    if thin:
        text = f"contours of {name!r} lie so close inside each other on {thin} slices that they were read as thin rings"
        yield Problem("thin-ring", text, "warning")
    steps = np.diff(sorted(slices))
    if len(steps) > 1 and steps.min() > 1:
        nth = {2: "second", 3: "third"}.get(int(steps.min()), f"{steps.min()}th")
        text = f"{name!r} has contours on every {nth} slice at most; those between stay empty"
        yield Problem("sparse-contours", text, "warning")


def _large(polygons: Sequence[tuple[Array, bool]]) -> bool:
    """Whether one of the contours encloses the area of a voxel or more."""
    return any(area(polygon) >= 1 for polygon, _ in polygons)


def _thin(polygons: Sequence[tuple[Array, bool]], mask: Array) -> bool:
    """Whether less than half a voxel is left all along the largest contour, as where its outline was drawn twice."""
    largest = max((polygon for polygon, _ in polygons), key=area)
    if len(polygons) < 2 or area(largest) < LARGE:
        return False
    around = float(np.linalg.norm(np.roll(largest, -1, axis=0) - largest, axis=1).sum())
    return 0 < int(np.count_nonzero(mask)) < 0.5 * around


def _of_frame(structure_set: StructureSet, item: Item, like: Volume, say: Callable[[Problem], None]) -> list[Region]:
    """The regions that lie in the scan's frame of reference, or in one that is not known.

    Raises:
        BadImage: All lie in others, and the object does not refer to the series of the scan.
    """
    scan = like.item
    frame = str(scan.facts.get("frame") or "") if scan is not None else ""
    with understanding(structure_set.path):
        references = of_rtstruct(structure_set.dataset)["references"] if frame else []
    if scan is None or not frame or (scan.series is not None and scan.series in references):
        return list(structure_set.regions)
    regions = [region for region in structure_set.regions if region.frame in ("", frame)]
    if not regions:
        raise BadImage(item.path, "it has another frame of reference than the scan, and does not refer to its series")
    kept = {region.number for region in regions}
    for region in structure_set.regions:
        if region.number not in kept and region.items:
            text = f"{region.name!r} is left out, for its contours lie in another frame of reference than the scan"
            say(Problem("left-out-region", text, "warning"))
    return regions


def _described(path: Path) -> Item:
    structure_set, problems = read_structure_set(path), []
    for region in structure_set.regions:
        if region.left_out:
            text = f"{region.left_out} contours of {region.name!r} are points or open lines, which enclose nothing"
            problems.append(Problem("open-contour", text, "warning"))
    return described(path, "dicom-rtstruct", structure_set.dataset, shape=(), affine=np.eye(4), problems=problems)


def filled_gaps(mask: Array, levels: Sequence[int], spacing: Sequence[float]) -> None:
    """Fill the slices between neighbouring ones that have contours, in place.

    Source of the method: shape-based interpolation, S. Raya and J. Udupa, IEEE TMI 9:32-42, 1990: signed distances to
    the outlines are interpolated, and what lies on the inner side counts.

    Args:
        mask: Bool, with slices along the first axis.
        levels: The slices that have contours, in order.
        spacing: Millimetres between voxels along the axes of a slice.
    """
    for low, high in pairwise(levels):
        if high - low > 1 and mask[low].any() and mask[high].any():
            below, above = _signed(mask[low], spacing), _signed(mask[high], spacing)
            for level in range(low + 1, high):
                share = (level - low) / (high - low)
                mask[level] = (1 - share) * below + share * above > 0


def _signed(plane: Array, spacing: Sequence[float]) -> Array:
    """Millimetres to the outline, positive inside."""
    from scipy.ndimage import distance_transform_edt

    inside = distance_transform_edt(plane, sampling=spacing)
    outside = distance_transform_edt(~plane, sampling=spacing)
    return np.asarray(inside - outside)
