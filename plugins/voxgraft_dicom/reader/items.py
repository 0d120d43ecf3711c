"""Items from frames: what the engine is told of an image, and the frames that its voxels are read from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from voxgraft.plugin import Array, Item, Problem

from .attributes import shown
from .facts import archive_of, facts_of
from .flat import flat_affine, pixel_size
from .frames import Frame, headers_of, single
from .geometry import Stack
from .header import Header, modality_of
from .options import DicomOptions
from .pet import Uptake, uptake_of
from .pixels import channels_of, pixel_problems
from .upright import uprighted

Problems = tuple[Problem, ...]
MANY = 12
"""So many values of an attribute are named in a message."""


@dataclass(frozen=True)
class Found:
    """An image.

    Attributes:
        frames: What its voxels are read from, slices running faster than channels; none where it is refused.
        factor: What its intensities are multiplied by.
        leaning: The affine of the slices as they lie, where the item's is that of an upright grid.
    """

    item: Item
    frames: tuple[Frame, ...] = ()
    factor: float = 1.0
    leaning: Array | None = None


def refused(headers: Sequence[Header], problems: Problems, frames: Sequence[Frame] = ()) -> Found:
    """An image that must not be read, described as far as it can be understood.

    Args:
        headers: Of its files.
        problems: Why it must not be read, one of them an error.
        frames: Its frames, where they could be told apart.
    """
    shown = frames or [single(header) for header in headers]
    return Found(_item(shown, _shape(shown), problems, np.eye(4)))


def volume(stack: Stack, problems: Problems, name: str, options: DicomOptions) -> Found:
    """A 3D image.

    Args:
        name: What to put behind the name of its series, where that holds several images.
    """
    frames, first = stack.frames, stack.frames[0].header
    parts = stack.parted
    channels = len(parts.channels) if parts is not None else 1
    problems = (*problems, *stack.problems)
    if parts is not None and not any(problem.severity == "error" for problem in stack.problems):
        values = ", ".join(map(shown, parts.values[:MANY])) + (", ..." if channels > MANY else "")
        each = len(frames) // channels
        text = f"it holds {channels} volumes of {each} slices, told apart by {parts.name} ({values}): its channels"
        problems = (*problems, Problem("channels", text, "repair"))
        if channels_of(first) > 1:
            problems = (*problems, Problem("several-volumes", f"it holds {channels} volumes in colour, not one"))
    uptake = Uptake(1.0, "", ())
    if modality_of(first) == "PT":
        uptake = uptake_of(headers_of(frames), options.pet)
        problems = (*problems, *uptake.problems)
    shape = (frames[0].columns, frames[0].rows, len(frames) // channels)
    item = _item(frames, shape, problems, stack.affine, name, max(channels, channels_of(first)))
    facts = dict(item.facts)
    if parts is not None:
        facts["channels"] = {"name": parts.name, "values": list(parts.values)}
    if uptake.units:
        facts["units"] = uptake.units
    if "padding" in facts:
        facts["padding"] *= uptake.factor
    return _as_wished(Found(replace(item, facts=facts), frames, uptake.factor), options)


def _as_wished(image: Found, options: DicomOptions) -> Found:
    """Slices of a tilted gantry as the options say."""
    item = image.item
    if options.tilt == "keep" or item.errors or not any(problem.code == "gantry-tilt" for problem in item.problems):
        return image
    if options.tilt == "resample":
        return replace(image, item=uprighted(item), leaning=item.affine)
    problems = [
        replace(problem, severity="error") if problem.code == "gantry-tilt" else problem for problem in item.problems
    ]
    return Found(replace(item, problems=tuple(problems)))


def flat(frame: Frame, problems: Problems, name: str) -> Found:
    """A 2D image without a place in the patient.

    Args:
        frame: The one frame of the image.
        problems: What was found until now.
        name: What tells it from the other images of its series; empty where nothing has to.
    """
    spacing, notes = pixel_size(frame.header)
    problems = (*problems, *notes, *pixel_problems([frame]))
    shape = (frame.columns, frame.rows)
    item = _item([frame], shape, problems, flat_affine(spacing), name, channels_of(frame.header))
    return Found(item, (frame,))


def _shape(frames: Sequence[Frame]) -> tuple[int, ...]:
    """(columns, rows, slices) of most of the frames; () where they do not say."""
    (columns, rows), _ = Counter((frame.columns, frame.rows) for frame in frames).most_common(1)[0]
    return (columns, rows, len(frames)) if columns > 0 and rows > 0 else ()


def _item(
    frames: Sequence[Frame],
    shape: tuple[int, ...],
    problems: Problems,
    affine: Array,
    name: str = "",
    channels: int = 1,
) -> Item:
    headers = headers_of(frames)
    first = next((header for header in headers if header.complete), headers[0])
    files = tuple(header.path for header in headers)
    path = files[0] if len(files) == 1 else Path(os.path.commonpath([file.parent for file in files]))
    series = first.text("SeriesInstanceUID") or files[0].parent.name
    return Item(
        path=path,
        reader="dicom",
        shape=shape,
        affine=affine,
        channels=channels,
        modality=modality_of(first),
        series=series + name if name.startswith("-") else name or series,
        description=first.text("SeriesDescription") or None,
        patient=first.text("PatientID") or None,
        problems=problems,
        files=files,
        facts=facts_of(frames, first, 1 if len(shape) < 3 or not shape[2] else max(1, len(frames) // shape[2])),
        palette={} if first.text("PhotometricInterpretation") == "PALETTE COLOR" else None,
        colours=first.whole("SamplesPerPixel", 1) == 3,
        archive=archive_of(first),
    )
