"""From the frames of a series to the volumes in it: one, or several where each is whole and regular by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from voxgraft.plugin import Problem

from .attributes import shown
from .copies import are_copies, shared_names, without_copies, without_same_slices
from .frames import Frame, alike, headers_of
from .geometry import Stack, grouped, plane_of, same_direction, same_size, stacked, unplaced
from .header import modality_of
from .items import Found, Problems, refused, volume
from .options import DicomOptions
from .pixels import pixel_problems

FEWEST = 3
"""A part of a series stands for a volume only with so many slices: fewer are regular whatever is missing."""
DOUBTFUL = frozenset({"ImageType", "AcquisitionNumber", "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime"})
"""Attributes that a scanner or an archive may change when it sends slices again."""
REPEATED = frozenset({"several-volumes", "duplicate-slice"})
PARTING = ("AcquisitionNumber", "ConvolutionKernel", "SliceThickness")
"""Attributes by which a series may be parted into volumes that lie in the same place with different slices."""
ALIKE = ("ImageType", "EchoTime", "TemporalPositionIdentifier")
"""The same, where a volume that has only some of the slices of another has lost the rest."""


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


def volumes(frames: Sequence[Frame], problems: Problems, options: DicomOptions) -> list[Found]:
    """The images that the frames of one series make up; one that is refused where they make up none.

    Args:
        frames: Of all files of the series.
        problems: What was found until now.
        options: Of the reader: what to make of PET, tilt and films.
    """
    frames, left_out = _without_localizers(frames)
    frames, dropped = without_copies(frames)
    problems = (*problems, *left_out, *dropped, *shared_names(frames), *pixel_problems(frames), *_fewer(frames))
    nowhere = [frame for frame in frames if plane_of(frame) is None]
    if nowhere:
        what = f"{len(nowhere)} of its {len(frames)} slices do not say, or say wrongly, where in the patient they lie"
        problem = Problem("no-geometry", f"{what} ({unplaced(nowhere)})")
        return [refused(headers_of(frames), (*problems, problem), frames)]
    try:
        parts = _parts(frames)
    except Uneven as error:
        return [refused(headers_of(frames), (*problems, error.problem), frames)]
    if len(parts) > 1:
        text = f"its series holds {len(parts)} complete volumes, which were read as separate images"
        problems = (*problems, Problem("split-series", text, "repair"))
    return [volume(part.stack, problems, part.name, options) for part in parts]


def _fewer(frames: Sequence[Frame]) -> Problems:
    """Whether images are missing that the header counts; at the ends of a volume nothing else shows it.

    The count of an acquisition includes its other reconstructions, so a multiple of what is here proves nothing.
    """
    for acquisition in alike(frames, lambda frame: frame.text("AcquisitionNumber")):
        said = {frame.whole("ImagesInAcquisition") for frame in acquisition}
        here = len({(frame.header.instance, frame.index) for frame in acquisition})
        if len(said) == 1 and (count := said.pop()) > here and count % here:
            return (_incomplete(f"its acquisition has {count} images (ImagesInAcquisition), and {here} are here"),)
    count, places = frames[0].whole("NumberOfSlices"), {frame.text("ImagePositionPatient") for frame in frames}
    if modality_of(frames[0].header) == "PT" and len(places) < count:
        return (_incomplete(f"it has {count} slices (NumberOfSlices), and {len(places)} are here"),)
    return ()


def _incomplete(what: str) -> Problem:
    text = f"by its header {what}; slices may be missing at its ends"
    return Problem("fewer-slices", text, "warning")


def _parts(frames: Sequence[Frame]) -> list[Part]:
    """Part frames into volumes.

    Raises:
        Uneven: They differ in size, direction or frame of reference, and do not make up several whole volumes.
    """
    stacks = alike(frames, lambda frame: frame.text("StackID"))
    if len(stacks) > 1 and min(map(len, stacks)) > 1:
        return [
            Part(part.stack, f"-stack{stack[0].text('StackID')}{part.name}")
            for stack in sorted(stacks, key=lambda stack: stack[0].text("StackID"))
            for part in _of_stack(stack)
        ]
    return _of_stack(frames)


def _of_stack(frames: Sequence[Frame]) -> list[Part]:
    problem, groups = uneven(frames)
    if problem is not None:
        unsaid = len({bool(frame.text("FrameOfReferenceUID")) for frame in frames}) > 1  # of which is not known
        parts = _whole(groups) if not unsaid and not any(map(is_localizer, frames)) else None
        if parts is None:
            raise Uneven(problem)
        return parts
    stack = stacked(frames)
    if (part := _without_repeats(stack)) is not None:
        return [part]
    if any(problem.code in REPEATED for problem in stack.problems):
        return _parted(frames) or [Part(stacked(frames, counted=True))]
    return [Part(stack)]


def _parted(frames: Sequence[Frame]) -> list[Part] | None:
    """Volumes in the same place that one attribute, or the object they are in, makes images of their own."""
    for name in ("", *PARTING, *ALIKE):
        if not name and not any(frame.index for frame in frames):
            continue
        groups = alike(frames, lambda frame, name=name: frame.text(name) if name else frame.header.instance)  # type: ignore[misc]
        if len(groups) < 2 or not all(frame.text(name) for frame in frames if name):
            continue
        parts = None if name not in PARTING and _some_lost(groups) else _whole(groups)
        if parts is not None:
            return parts
    return None


def _some_lost(groups: Sequence[Sequence[Frame]]) -> bool:
    """Whether one group has some of the places of another, and no others."""
    positions = [{frame.text("ImagePositionPatient") for frame in group} for group in groups]
    return any(some < other for some in positions for other in positions)


def _without_repeats(stack: Stack) -> Part | None:
    """The volume that is left where slices were sent again as new instances; None where that is not what happened.

    Volumes that only the names or times of their acquisition tell apart could be such copies; one place of them is
    enough to see that they are none.
    """
    if stack.parted is not None:
        middle = [channel[len(channel) // 2] for channel in stack.parted.channels]
        if not DOUBTFUL.issuperset(stack.parted.name.split(" and ")) or not are_copies(middle):
            return None
    elif not any(problem.code in REPEATED for problem in stack.problems):
        return None
    frames, problems = without_same_slices(stack.frames)
    if len(frames) == len(stack.frames):
        return None
    left = stacked(frames)
    if left.parted is not None or any(problem.code in REPEATED for problem in left.problems):
        return None
    return Part(replace(left, problems=(*problems, *left.problems)))


def _whole(groups: Sequence[Sequence[Frame]]) -> list[Part] | None:
    """A volume for each group; None unless every one of them is whole and regular by itself."""
    if min(map(len, groups)) < FEWEST or any(plane_of(frame) is None for group in groups for frame in group):
        return None
    numbered = sorted(groups, key=lambda group: min(frame.order for frame in group))
    parts = [Part(stacked(group), f"-{number}") for number, group in enumerate(numbered, 1)]
    wrong = [problem for part in parts for problem in part.stack.problems if problem.severity == "error"]
    whole = not wrong and not any(part.stack.parted for part in parts)
    return parts if whole and not _could_be_copies(groups) else None


def _could_be_copies(groups: Sequence[Sequence[Frame]]) -> bool:
    """Whether frames of one SOP instance stand in several groups."""
    names = [{(frame.header.instance, frame.index) for frame in group} for group in groups]
    return sum(map(len, names)) > len(set().union(*names))


def _without_localizers(frames: Sequence[Frame]) -> tuple[Sequence[Frame], Problems]:
    """Leave out the scout images that some scanners file with the slices."""
    kept = [frame for frame in frames if not is_localizer(frame)]
    if not kept or len(kept) == len(frames):
        return frames, ()
    text = f"{len(frames) - len(kept)} localizer image(s) in the series were left out"
    return kept, (Problem("localizer", text, "repair"),)


Groups = list[list[Frame]]


def uneven(frames: Sequence[Frame]) -> tuple[Problem | None, Groups]:
    """What differs between frames that should be of one volume, and the groups that agree in everything."""
    for same, problem in _RULES:
        groups = grouped(frames, same)
        if len(groups) > 1:
            return problem(groups), grouped(frames, lambda frame, other: all(rule(frame, other) for rule, _ in _RULES))
    return None, [list(frames)]


def is_localizer(frame: Frame) -> bool:
    return "LOCALIZER" in frame.parts("ImageType")


def _kind(frame: Frame) -> tuple[str, str]:
    return modality_of(frame.header) or "", frame.header.sop_class


def _kinds(groups: Groups) -> Problem:
    parts = [f"{len(group)} {shown(modality_of(group[0].header) or 'unnamed')}" for group in groups]
    return Problem("mixed-modality", f"its slices are of different kinds: {', '.join(parts[:6])}; part them")


def _sizes(groups: Groups) -> Problem:
    parts = [f"{len(g)} of {g[0].columns}x{g[0].rows} at {shown(g[0].text('PixelSpacing'))} mm" for g in groups]
    text = f"its slices differ in size: {', '.join(parts[:4])}".replace("\\", "x")
    return Problem("mixed-size", text)


def _directions(groups: Groups) -> Problem:
    localizers = all(is_localizer(frame) for group in groups for frame in group)
    what = "it is a set of localizers" if localizers else "its slices lie in different directions"
    parts = [f"{len(group)} {_plane_name(group[0])}" for group in groups]
    return Problem("mixed-orientation", f"{what}: {', '.join(parts[:6])}")


def _frames_of_reference(groups: Groups) -> Problem:
    parts = [str(len(group)) for group in groups]
    text = f"its slices lie in {len(groups)} frames of reference ({', '.join(parts[:6])}), which cannot be related"
    return Problem("mixed-frame", text)


def _plane_name(frame: Frame) -> str:
    plane = plane_of(frame)
    assert plane is not None, "slices without a plane were refused before"
    name = ("sagittal", "coronal", "axial")[int(np.abs(plane.normal).argmax())]
    return name if np.abs(plane.normal).max() > 0.999 else f"oblique (nearly {name})"


_RULES: tuple[tuple[Callable[[Frame, Frame], bool], Callable[[Groups], Problem]], ...] = (
    (lambda frame, other: _kind(frame) == _kind(other), _kinds),
    (same_size, _sizes),
    (same_direction, _directions),
    (lambda frame, other: frame.text("FrameOfReferenceUID") == other.text("FrameOfReferenceUID"), _frames_of_reference),
)
