"""What the slices of one volume must agree in: the kind of object, size, direction and frame of reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from voxgraft.plugin import Problem

from .attributes import shown
from .frames import Frame
from .geometry import grouped, plane_of, same_direction, same_size
from .header import modality_of

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


def _same_kind(frame: Frame, other: Frame) -> bool:
    return _kind(frame) == _kind(other)


def _kind(frame: Frame) -> tuple[str, str]:
    return modality_of(frame.header) or "", frame.header.sop_class


def _same_frame(frame: Frame, other: Frame) -> bool:
    return frame.text("FrameOfReferenceUID") == other.text("FrameOfReferenceUID")


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
    text = f"its slices lie in {len(groups)} frames of reference ({', '.join(parts[:6])}), between which none moves"
    return Problem("mixed-frame", text)


def _plane_name(frame: Frame) -> str:
    plane = plane_of(frame)
    assert plane is not None, "slices without a plane were refused before"
    name = ("sagittal", "coronal", "axial")[int(np.abs(plane.normal).argmax())]
    return name if np.abs(plane.normal).max() > 0.999 else f"oblique (nearly {name})"


_RULES: tuple[tuple[Callable[[Frame, Frame], bool], Callable[[Groups], Problem]], ...] = (
    (_same_kind, _kinds),
    (same_size, _sizes),
    (same_direction, _directions),
    (_same_frame, _frames_of_reference),
)
