"""The DICOM SEG reader: named structures in the grid of their scan, whoever wrote the object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import Array, BadImage, Item, Problem, Volume

from ..reader.structures import described, item_or_fault, opened
from .objects import Segmentation, read_object
from .options import SegReaderOptions
from .placing import own_grid, place_frames, window


class SegReader:
    """Reads BINARY, FRACTIONAL and LABELMAP segmentations of any grid and transfer syntax."""

    def __init__(self, options: SegReaderOptions) -> None:
        self._options = options

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe the objects in these files, each in its own grid; what is not a segmentation has an error."""
        return [item_or_fault(path, "dicom-seg", self._described) for path in files]

    def read(self, item: Item) -> Volume:
        """The object in its own grid, whose slices go along the normal of its frames.

        Returns:
            Segment numbers (i, j, k), uint8 or uint16. Where segments overlap: uint8 0 and 1 of shape
            (segment, i, j, k), in the order of their numbers.

        Raises:
            BadImage: The object is damaged, or its frames are no one grid.
        """
        seg = opened(item, read_object)
        affine, shape = own_grid(seg)
        like = Volume(np.broadcast_to(np.uint8(0), shape), affine, item=item)
        numbers = np.zeros(shape, np.uint8 if max(seg.names) < 256 else np.uint16, order="F")
        for number, index, part in self._parts(seg, like):
            view = numbers[index]
            if number is None:
                view[...] = part
            elif np.any(view[part != 0]):
                return Volume(np.stack([*self._bits(seg, like).values()]).view(np.uint8), affine, dims=3, item=item)
            else:
                view[part != 0] = number
        return Volume(numbers, affine, item=item)

    def structures(self, item: Item, like: Volume, say: Callable[[Problem], None] = lambda _: None) -> dict[str, Array]:
        """Each structure by its name as a bool array in the grid of `like`, of shape `like.shape`.

        Voxels go where they lie in the patient: frames may be turned, cropped or in another order. Frames that are not
        there are empty. Segments of one name are parts of one structure.

        Args:
            say: Is told what was made of the object's pixels: probabilities read as a mask, padding left out.

        Raises:
            BadImage: The object is damaged, or does not lie in this grid; the message says how far off it is.
        """
        seg = opened(item, read_object)
        _same_frame(item, like)
        for problem in self._notes(seg):
            say(problem)
        try:
            if self._options.resample and not self._fits(seg, like):
                masks = self._resampled(item, seg, like, say)
            else:
                masks = self._bits(seg, like)
        except MemoryError:
            raise BadImage(item.path, "its structures do not fit into this machine's memory") from None
        named: dict[str, Array] = {}
        for number, name in seg.names.items():
            named[name] = named[name] | masks[number] if name in named else masks[number]
        return {name: where.reshape(like.shape) for name, where in named.items()}

    def _bits(self, seg: Segmentation, like: Volume) -> dict[int, Array]:
        """Each segment by its number as a bool array (i, j, k) in a grid that the object fits to."""
        shape = (*like.shape, 1)[:3]
        masks = {number: np.zeros(shape, bool, order="F") for number in seg.names}
        for number, index, part in self._parts(seg, like):
            if number is not None:
                masks[number][index] |= part != 0
                continue
            for value in np.unique(part[part != 0]):
                if int(value) not in masks:
                    raise BadImage(seg.path, f"it holds the value {int(value)}, which no segment describes")
                masks[int(value)][index] |= part == value
        return masks

    def _parts(self, seg: Segmentation, like: Volume) -> Any:
        """For each frame with anything in it: its segment, where it lies in the grid, and its pixels there."""
        shape = (*like.shape, 1)[:3]
        places = place_frames(seg, like, self._options.tolerance)
        lost = 0
        for frame, plane in seg.planes(self._options.threshold):
            if not plane.any():
                continue
            part = window(places[frame.index], plane, shape)
            kept = 0 if part is None else np.count_nonzero(part[1])
            lost += int(np.count_nonzero(plane)) - int(kept)
            if part is not None and kept:
                yield frame.segment, *part
        if lost and self._options.outside == "refuse":
            raise BadImage(seg.path, f"{lost} of its voxels lie beyond the edge of the scan")

    def _fits(self, seg: Segmentation, like: Volume) -> bool:
        try:
            place_frames(seg, like, self._options.tolerance)
        except BadImage:
            return False
        return True

    def _resampled(
        self, item: Item, seg: Segmentation, like: Volume, say: Callable[[Problem], None]
    ) -> dict[int, Array]:
        from voxgraft.plugin import resample_onto

        affine, shape = own_grid(seg)
        own = self._bits(seg, Volume(np.broadcast_to(np.uint8(0), shape), affine, item=item))
        masks = {}
        for number, bits in own.items():
            masks[number] = resample_onto(Volume(bits, affine), like, "nearest").array != 0
        before, after = (sum(int(np.count_nonzero(bits)) for bits in each.values()) for each in (own, masks))
        share = after * like.voxel_ml / (before * Volume(bits, affine).voxel_ml) if before else 1.0
        if not share:
            raise BadImage(item.path, "nothing of its structures lies on the scan")
        text = f"it was resampled onto the scan's voxels; its structures measure {100 * share:.3g} % of what they did"
        say(Problem("resampled", text, "warning"))
        return masks

    def _notes(self, seg: Segmentation) -> tuple[Problem, ...]:
        """What was made of the object's pixels.

        Raises:
            BadImage: They are not as long as its frames.
        """
        problems = []
        if seg.kind == "FRACTIONAL":
            text = f"its segments are fractional; voxels of at least {self._options.threshold:g} of the highest count"
            problems.append(Problem("fractional", text, "repair"))
        steps = seg.steps()
        if steps is not None and steps.padded:
            text = "each of its frames begins at a byte, against the standard; its length shows it, and it is read so"
            problems.append(Problem("padded-frames", text, "repair"))
        if steps is not None and steps.doubtful:
            text = "its length does not show whether each of its frames begins at a byte; it is read as if none did"
            problems.append(Problem("padded-frames", text, "warning"))
        return tuple(problems)

    def _described(self, path: Path) -> Item:
        seg = read_object(path)
        grid: tuple[Array, tuple[int, ...]] = np.eye(4), (seg.columns, seg.rows)
        with suppress(BadImage):
            grid = own_grid(seg)
        return described(path, "dicom-seg", seg.dataset, shape=grid[1], affine=grid[0], problems=self._notes(seg))


def _same_frame(item: Item, like: Volume) -> None:
    """Refuse an object of another frame of reference, unless it names the scan's series.

    Raises:
        BadImage: It is one: positions in millimetres mean nothing between the two.
    """
    if like.item is None:
        return
    frame, other_frame = str(like.item.facts.get("frame") or ""), str(item.facts.get("frame") or "")
    named = like.item.series is not None and like.item.series in item.facts.get("references", ())
    if frame and other_frame and frame != other_frame and not named:
        raise BadImage(item.path, "it has another frame of reference than the scan, and does not refer to its series")
