"""Several frames in each place: told apart by one named attribute they make channels, otherwise nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .frames import Frame

Key = tuple[str, ...]

INDEX = "DimensionIndexValues of "
"""Begins the names under which the dimension indices of enhanced objects stand among the values of a frame."""
EXACT: tuple[Key, ...] = (
    ("TemporalPositionIdentifier",),
    ("TemporalPositionIndex",),
    ("EchoTime",),
    ("EchoNumbers",),
    ("InversionTime",),
    ("DiffusionBValue",),
    ("DiffusionBValue", "DiffusionGradientOrientation"),
    ("SiemensBValue",),
    ("GEBValue",),
    ("FrameReferenceTime",),
    ("TemporalPositionTimeOffset",),
    ("NominalCardiacTriggerDelayTime",),
    ("TriggerTime",),
    ("ComplexImageComponent",),
    ("ImageType",),
    ("AcquisitionNumber",),
    ("AcquisitionDateTime",),
    ("AcquisitionDate", "AcquisitionTime"),
)
"""Attributes whose values are the same in all frames of a volume; the first that parts them wholly is taken."""
RANKED: tuple[Key, ...] = (
    ("TriggerTime",),
    ("NominalCardiacTriggerDelayTime",),
    ("AcquisitionDateTime",),
    ("AcquisitionDate", "AcquisitionTime"),
)
"""Times, which run on within a volume: here the n-th time of each place belongs to volume n."""
CYCLIC = frozenset({"TriggerTime", "NominalCardiacTriggerDelayTime"})
"""Times after a heartbeat: the n-th of each place is the n-th phase, though it comes later in a slower heart."""


@dataclass(frozen=True)
class Parted:
    """Volumes that were told apart.

    Attributes:
        name: The attribute that tells them apart.
        values: What it says of each.
        channels: The frames of each, in the order of the places.
    """

    name: str
    values: tuple[str, ...]
    channels: tuple[tuple[Frame, ...], ...]


def parted(places: Sequence[Sequence[Frame]]) -> Parted | None:
    """Part the frames of equally filled places into volumes; None where no attribute says how.

    Frames of one SOP instance that stand twice are never parted: they could be copies.
    """
    frames = [frame for place in places for frame in place]
    if len({(frame.header.instance, frame.index, frame.corner) for frame in frames}) < len(frames):
        return None
    indices = sorted({name for name in frames[0].values if name.startswith(INDEX)})
    for names in (*EXACT, *((index,) for index in indices)):
        if (found := _exactly(places, names)) is not None:
            return found
    for names in RANKED:
        if (found := _by_rank(places, names)) is not None:
            return found
    return None


def differing(places: Sequence[Sequence[Frame]]) -> str:
    """The names of the attributes that differ within a place, for a message."""
    found = []
    for names in EXACT:
        if len(names) == 1 and any(len({_key(frame, names) for frame in place}) > 1 for place in places):
            found.append(names[0])
    return f", which differ in {', '.join(found[:4])} but are not told apart by one of them" if found else ""


def _exactly(places: Sequence[Sequence[Frame]], names: Key) -> Parted | None:
    first = {_key(frame, names): frame for frame in places[0]}
    if len(first) < len(places[0]) or not all(any(key) for key in first):
        return None
    sorted_places = []
    for place in places:
        here = {_key(frame, names): frame for frame in place}
        if here.keys() != first.keys():
            return None
        sorted_places.append(here)
    keys = sorted(first, key=lambda key: (_numbers(key[:1]), min(here[key].order for here in sorted_places)))
    channels = tuple(tuple(here[key] for here in sorted_places) for key in keys)
    return Parted(" and ".join(names), tuple(" ".join(filter(None, key)) for key in keys), channels)


def _by_rank(places: Sequence[Sequence[Frame]], names: Key) -> Parted | None:
    ranked = []
    for place in places:
        if any(not frame.text(names[-1]) for frame in place):
            return None
        here = sorted(place, key=lambda frame: _numbers(_key(frame, names)))
        if len({_key(frame, names) for frame in here}) < len(here):
            return None
        ranked.append(here)
    channels = tuple(zip(*ranked, strict=True))
    if names[-1] not in CYCLIC:
        times = [[_numbers(_key(frame, names)) for frame in channel] for channel in channels]
        if any(max(one) >= min(two) for one, two in pairwise(times)):
            return None
    values = tuple(" ".join(filter(None, _key(channel[0], names))) for channel in channels)
    return Parted(" and ".join(names), values, channels)


def _key(frame: Frame, names: Key) -> Key:
    return tuple(_normal(frame.text(name)) for name in names)


def _normal(text: str) -> str:
    """Numbers that are written differently are the same value."""
    try:
        return repr(float(text)) if text else ""
    except ValueError:
        return text


def _numbers(key: Key) -> tuple[float, ...]:
    """Values by which a key is sorted: numbers by size, other words together at the end."""
    values = []
    for text in key:
        try:
            values.append(float(text))
        except ValueError:
            values.append(float("inf"))
    return tuple(values)
