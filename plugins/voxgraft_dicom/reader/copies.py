"""Instances that stand twice in a series: sent again they are one, altered under the same name they are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from filecmp import cmp
from pathlib import Path

import numpy as np

from voxgraft.plugin import BadImage, Problem

from .frames import Frame, headers_of
from .header import Header
from .items import Problems
from .voxels import read_voxels


def without_copies(frames: Sequence[Frame]) -> tuple[Sequence[Frame], Problems]:
    """Leave out files that were copied or sent again: the same instance, place and voxels as another of the series.

    Their headers may differ in anything else. Of several files that of the folder with the most files is kept. One
    instance with different voxels in one place is an error.
    """
    headers = headers_of(frames)
    if len({(header.instance, header.text("ImagePositionPatient")) for header in headers}) == len(headers):
        return frames, ()
    often = Counter(header.path.parent for header in headers)
    kept: dict[Hashable, list[Header]] = {}
    altered: list[Header] = []
    for header in sorted(headers, key=lambda header: (-often[header.path.parent], str(header.path))):
        same = kept.setdefault((header.instance, _place(header)), [])
        if not any(_same(header, other, frames) for other in same):
            altered += [header] if same and header.instance else []
            same.append(header)
    unique = {header.path for same in kept.values() for header in same}
    problems = _dropped(len(headers) - len(unique))
    if altered:
        text = (
            f"{altered[0].path.name} bears the SOPInstanceUID of another of its files and lies in the same place, but "
            "holds other voxels; one of the two was altered: remove the wrong one"
        )
        problems = (*problems, Problem("altered-copy", text))
    return [frame for frame in frames if frame.header.path in unique], problems


def without_same_slices(frames: Sequence[Frame]) -> tuple[Sequence[Frame], Problems]:
    """Leave out frames that have the place and the voxels of another, whatever their instances are called."""
    kept: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        same = kept.setdefault(_place(frame), [])
        if not any(_equal([frame], [other]) for other in same):
            same.append(frame)
    unique = {id(frame) for same in kept.values() for frame in same}
    return [frame for frame in frames if id(frame) in unique], _dropped(len(frames) - len(unique))


def are_copies(same_place: Iterable[Frame]) -> bool:
    """Whether two of the frames hold the same voxels."""
    frames = list(same_place)
    return any(_equal([frame], [other]) for at, frame in enumerate(frames) for other in frames[:at])


def shared_names(frames: Sequence[Frame]) -> Problems:
    """Different files under one SOPInstanceUID: fine where they lie in places of their own, yet nobody can name one."""
    headers = headers_of(frames)
    twice = len(headers) - len({header.instance for header in headers})
    if not twice:
        return ()
    text = f"{twice} of its {len(headers)} files bear the SOPInstanceUID of another, so that none can be referred to"
    return (Problem("repeated-uid", text, "warning"),)


def _dropped(count: int) -> Problems:
    if not count:
        return ()
    what = "1 of its slices or files occurs" if count == 1 else f"{count} of its slices or files occur"
    text = f"{what} twice, with the same voxels in the same place; each was taken once"
    return (Problem("duplicate-file", text, "repair"),)


def _place(frame: Header | Frame) -> Hashable:
    numbers = frame.numbers("ImagePositionPatient", 3)
    return frame.text("ImagePositionPatient") if numbers is None else tuple(round(number, 3) for number in numbers)


def _same(header: Header, other: Header, frames: Sequence[Frame]) -> bool:
    if header.size == other.size and cmp(header.path, other.path, shallow=False):
        return True
    return bool(header.instance) and _equal(_of(header.path, frames), _of(other.path, frames))


def _of(path: Path, frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.header.path == path]


def _equal(frames: Sequence[Frame], others: Sequence[Frame]) -> bool:
    """Whether frames hold the same intensities, however they are stored; false where they cannot be read."""
    if [(frame.rows, frame.columns) for frame in frames] != [(frame.rows, frame.columns) for frame in others]:
        return False
    try:
        return bool(np.array_equal(read_voxels(frames), read_voxels(others)))
    except (BadImage, OSError, ValueError, TypeError):
        return False
