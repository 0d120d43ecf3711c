"""From the frames of a series to the volumes in it: one, or several where each is whole and regular by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from filecmp import cmp

import numpy as np

from voxgraft.volume import Problem

from .attributes import shown
from .config import DicomConfig
from .frames import Frame, headers_of
from .geometry import Stack, grouped, plane_of, same_direction, same_size, stacked, unplaced
from .header import Header
from .items import Found, Problems, refused, volume
from .pixels import pixel_problems

FEWEST = 3
"""A part of a series stands for a volume only with so many slices: fewer are regular whatever is missing."""
REPEATED = frozenset({"several-volumes", "duplicate-slice"})
PARTING = (
    *("AcquisitionNumber", "ConvolutionKernel", "SliceThickness"),
    *("ImageType", "EchoTime", "TemporalPositionIdentifier"),
)
"""Attributes by which a series may be parted into volumes that lie in the same place with different slices."""


@dataclass(frozen=True)
class Part:
    """A volume in a series; `name` tells it from the others, and is empty where it is the only one."""

    stack: Stack
    name: str = ""


class Uneven(ValueError):
    """Frames that make up no volume."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def volumes(frames: Sequence[Frame], problems: Problems, config: DicomConfig) -> list[Found]:
    """The images that the frames of one series make up; one that is refused where they make up none."""
    frames, left_out = _without_localizers(frames)
    frames, dropped = _without_copies(frames)
    problems = (*problems, *left_out, *dropped, *_shared_names(frames), *pixel_problems(frames))
    nowhere = [frame for frame in frames if plane_of(frame) is None]
    if nowhere:
        what = f"{len(nowhere)} of its {len(frames)} slices do not say, or say wrongly, where in the patient they lie"
        problem = Problem("no-geometry", f"{what} ({unplaced(nowhere)})")
        return [refused(headers_of(frames), (*problems, problem), frames)]
    try:
        parts = _parts(frames)
    except Uneven as uneven:
        return [refused(headers_of(frames), (*problems, uneven.problem), frames)]
    if len(parts) > 1:
        text = f"its series holds {len(parts)} volumes, each whole by itself, which are images of their own"
        problems = (*problems, Problem("split-series", text, "repair"))
    return [volume(part.stack, problems, part.name, config) for part in parts]


def _parts(frames: Sequence[Frame]) -> list[Part]:
    """Part frames into volumes.

    Raises:
        Uneven: They differ in size, direction or frame of reference, and do not make up several whole volumes.
    """
    stacks = _by(frames, lambda frame: frame.text("StackID"))
    if len(stacks) > 1 and min(map(len, stacks)) > 1:
        return [
            Part(part.stack, f"-stack{stack[0].text('StackID')}{part.name}")
            for stack in sorted(stacks, key=lambda stack: stack[0].text("StackID"))
            for part in _of_stack(stack)
        ]
    return _of_stack(frames)


def _of_stack(frames: Sequence[Frame]) -> list[Part]:
    problem, groups = _uneven(frames)
    if problem is not None:
        parts = _whole(groups) if not any(map(_is_localizer, frames)) else None
        if parts is None:
            raise Uneven(problem)
        return parts
    stack = stacked(frames)
    if any(one.code in REPEATED for one in stack.problems):
        keys: list[Callable[[Frame], str]] = [lambda frame, name=name: frame.text(name) for name in PARTING]  # type: ignore[misc]
        if any(frame.index for frame in frames):
            keys.insert(0, lambda frame: frame.header.instance)
        for key in keys:
            groups = _by(frames, key)
            parts = _whole(groups) if len(groups) > 1 and all(map(key, frames)) else None
            if parts is not None:
                return parts
    return [Part(stack)]


def _whole(groups: Sequence[Sequence[Frame]]) -> list[Part] | None:
    """A volume for each group; None unless every one of them is whole and regular by itself."""
    if min(map(len, groups)) < FEWEST or any(plane_of(frame) is None for group in groups for frame in group):
        return None
    numbered = sorted(groups, key=lambda group: min(frame.order for frame in group))
    parts = [Part(stacked(group), f"-{number}") for number, group in enumerate(numbered, 1)]
    whole = not any(part.stack.problems or part.stack.parted for part in parts)
    return parts if whole and not _could_be_copies(groups) else None


def _could_be_copies(groups: Sequence[Sequence[Frame]]) -> bool:
    """Whether frames of one SOP instance stand in several groups."""
    names = [{(frame.header.instance, frame.index) for frame in group} for group in groups]
    return sum(map(len, names)) > len(set().union(*names))


def _by(frames: Sequence[Frame], key: Callable[[Frame], str]) -> list[list[Frame]]:
    found: dict[str, list[Frame]] = {}
    for frame in frames:
        found.setdefault(key(frame), []).append(frame)
    return list(found.values())


def _uneven(frames: Sequence[Frame]) -> tuple[Problem | None, list[list[Frame]]]:
    """What differs between frames that should be of one volume, and the groups that agree."""
    groups = grouped(frames, same_size)
    if len(groups) > 1:
        parts = [f"{len(g)} of {g[0].columns}x{g[0].rows} at {shown(g[0].text('PixelSpacing'))} mm" for g in groups]
        text = f"its slices differ in size: {', '.join(parts[:4])}".replace("\\", "x")
        return Problem("mixed-size", text), groups
    groups = grouped(frames, same_direction)
    if len(groups) > 1:
        what = "its slices lie in different directions"
        if all(map(_is_localizer, frames)):
            what = "it is a set of localizers"
        parts = [f"{len(group)} {_plane_name(group[0])}" for group in groups]
        return Problem("mixed-orientation", f"{what}: {', '.join(parts[:6])}"), groups
    groups = _by(frames, lambda frame: frame.text("FrameOfReferenceUID"))
    if len(groups) > 1:
        parts = [str(len(group)) for group in sorted(groups, key=len, reverse=True)]
        text = f"its slices lie in {len(groups)} frames of reference ({', '.join(parts[:6])}), between which none moves"
        return Problem("mixed-frame", text), groups
    return None, groups


def _plane_name(frame: Frame) -> str:
    plane = plane_of(frame)
    assert plane is not None, "slices without a plane were refused before"
    name = ("sagittal", "coronal", "axial")[int(np.abs(plane.normal).argmax())]
    return name if np.abs(plane.normal).max() > 0.999 else f"oblique (nearly {name})"


def _without_localizers(frames: Sequence[Frame]) -> tuple[Sequence[Frame], Problems]:
    """Leave out the scout images that some scanners file with the slices."""
    kept = [frame for frame in frames if not _is_localizer(frame)]
    if not kept or len(kept) == len(frames):
        return frames, ()
    text = f"{len(frames) - len(kept)} localizer image(s) in the series were left out"
    return kept, (Problem("localizer", text, "repair"),)


def _is_localizer(frame: Frame) -> bool:
    return "LOCALIZER" in frame.parts("ImageType")


def _without_copies(frames: Sequence[Frame]) -> tuple[Sequence[Frame], Problems]:
    """Leave out files that are the same, byte for byte, as another of the series."""
    kept: dict[tuple[str, str, int], list[Header]] = {}
    headers = headers_of(frames)
    for header in headers:
        same = kept.setdefault((header.instance, header.text("ImagePositionPatient"), header.size), [])
        if not any(cmp(header.path, other.path, shallow=False) for other in same):
            same.append(header)
    unique = {header.path for same in kept.values() for header in same}
    if len(unique) == len(headers):
        return frames, ()
    text = f"{len(headers) - len(unique)} file(s) stand twice, byte for byte, and were taken once"
    return [frame for frame in frames if frame.header.path in unique], (Problem("duplicate-file", text, "repair"),)


def _shared_names(frames: Sequence[Frame]) -> Problems:
    """Different files under one SOPInstanceUID: fine where they lie in places of their own, yet nobody can name one."""
    headers = headers_of(frames)
    twice = len(headers) - len({header.instance for header in headers})
    if not twice:
        return ()
    text = f"{twice} of its {len(headers)} files bear the SOPInstanceUID of another, so that none can be referred to"
    return (Problem("repeated-uid", text, "warning"),)
