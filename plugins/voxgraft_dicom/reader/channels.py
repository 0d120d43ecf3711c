"""Several frames in each place: distinguished by a named attribute they make channels, otherwise they are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from .frames import Frame

Key = tuple[str, ...]

INDEX = "DimensionIndexValues of "
"""Begins the names under which the dimension indices of enhanced objects stand among the values of a frame."""


def _keys(text: str) -> tuple[Key, ...]:
    return tuple(tuple(key.split()) for key in text.split(","))


EXACT = _keys(
    "TemporalPositionIdentifier, TemporalPositionIndex, EchoTime, EchoNumbers, InversionTime, "
    "DiffusionBValue, DiffusionBValue DiffusionGradientOrientation, SiemensBValue, SiemensBValue SiemensDirection, "
    "GEBValue, GEBValue GEDirectionX GEDirectionY GEDirectionZ, PhilipsBValue, PhilipsPhase, FlipAngle, KVP, "
    "ASLContext, PhilipsLabel, NMTimeSlot, NMTimeSlice, NMEnergyWindow, NMPhase, NMRRInterval, FrameReferenceTime, "
    "TemporalPositionTimeOffset, NominalCardiacTriggerDelayTime, TriggerTime, ComplexImageComponent, GEImageKind, "
    "ImageType, AcquisitionNumber, AcquisitionDateTime, AcquisitionDate AcquisitionTime"
)
"""Attributes whose values are the same in all frames of a volume, some in pairs; the first that parts them wholly is
taken."""
RANKED = _keys("TriggerTime, NominalCardiacTriggerDelayTime, AcquisitionDateTime, AcquisitionDate AcquisitionTime")
"""Times, which run on within a volume: here the n-th time of each place belongs to volume n."""
DEPTH = 2
"""So many attributes may be needed besides the last one."""
FEWEST = 3
"""Fewer slices than that follow each other in one order by chance."""
CYCLIC = frozenset({"TriggerTime", "NominalCardiacTriggerDelayTime"})
"""Times after a heartbeat: the n-th of each place is the n-th phase, though it comes later in a slower heart."""


@dataclass(frozen=True)
class Parted:
    """Volumes that an attribute distinguishes.

    Attributes:
        name: The attribute that distinguishes them.
        values: What it says of each.
        channels: The frames of each, in the order of the places.
    """

    name: str
    values: tuple[str, ...]
    channels: tuple[tuple[Frame, ...], ...]


def parted(positions: Sequence[Sequence[Frame]], counted: bool = False) -> Parted | None:
    """Part the frames of equally filled places into volumes; None where no attribute says how.

    Frames of one SOP instance that stand twice are never parted: they could be copies.

    Args:
        counted: Part them by their count alone where nothing else distinguishes them.
    """
    frames = [frame for position in positions for frame in position]
    if len({(frame.header.instance, frame.index, frame.corner) for frame in frames}) < len(frames):
        return None
    indices = sorted({name for name in frames[0].values if name.startswith(INDEX)})
    parts = _by_one(positions, [*EXACT, *((index,) for index in indices)]) or _nested(positions, DEPTH)
    return parts or (_in_blocks(positions) if counted else None)


def _by_one(positions: Sequence[Sequence[Frame]], exact: Sequence[Key] = EXACT) -> Parted | None:
    """Volumes that one attribute distinguishes: by its values, or by the rank of its times."""
    ways = [partial(_exactly, positions, names) for names in exact]
    ways += [partial(_by_rank, positions, names) for names in RANKED]
    return next((parts for way in ways if (parts := way()) is not None), None)


def _nested(positions: Sequence[Sequence[Frame]], depth: int) -> Parted | None:
    """Volumes that several attributes distinguish: parted by one, and what it leaves together by another.

    The attribute may be blank for one of its groups, such as the b-value of the volume without diffusion weighting.
    """
    for names in EXACT:
        keys = sorted({_key(frame, names) for frame in positions[0]}, key=lambda key: (any(key), _numbers(key), key))
        if len(keys) < 2:
            continue
        groups = [
            [[frame for frame in position if _key(frame, names) == key] for position in positions] for key in keys
        ]
        even = all(len(here) == len(group[0]) for group in groups for here in group)
        if even and sum(len(group[0]) for group in groups) == len(positions[0]):
            parts = [_within(group, depth) for group in groups]
            whole = [part for part in parts if part is not None]
            if len(whole) == len(parts):
                return _joined(names, keys, whole)
    return None


def _within(positions: Sequence[Sequence[Frame]], depth: int) -> Parted | None:
    """The volumes of one group."""
    if len(positions[0]) == 1:
        return Parted("", ("",), (tuple(position[0] for position in positions),))
    return _by_one(positions) or (_nested(positions, depth - 1) if depth > 1 else None)


def _joined(names: Key, keys: Sequence[Key], parts: Sequence[Parted]) -> Parted:
    """The volumes of all groups, one group after the other."""
    inner = dict.fromkeys(part.name for part in parts if part.name)
    values = [
        " ".join(filter(None, [*key, value])) if any(key) else " ".join(filter(None, ["missing", value]))
        for key, part in zip(keys, parts, strict=True)
        for value in part.values
    ]
    channels = tuple(channel for part in parts for channel in part.channels)
    return Parted(" and ".join([*names, *inner]), tuple(values), channels)


def _in_blocks(positions: Sequence[Sequence[Frame]]) -> Parted | None:
    """Volumes that nothing but their count distinguishes: InstanceNumber goes through all places, then does so again.

    Taken only where the numbers are all different, and every volume goes through the places in the same order.
    """
    where = {id(frame): at for at, position in enumerate(positions) for frame in position}
    frames = sorted(
        (frame for position in positions for frame in position), key=lambda frame: frame.whole("InstanceNumber", -1)
    )
    numbers = [frame.whole("InstanceNumber", -1) for frame in frames]
    files = {frame.header.path for frame in frames}
    if numbers[0] < 0 or len(set(numbers)) < len(numbers) or len(files) < len(frames) or len(positions) < FEWEST:
        return None
    blocks = [frames[at : at + len(positions)] for at in range(0, len(frames), len(positions))]
    orders = [[where[id(frame)] for frame in block] for block in blocks]
    if sorted(orders[0]) != list(range(len(positions))) or any(order != orders[0] for order in orders):
        return None
    channels = tuple(tuple(sorted(block, key=lambda frame: where[id(frame)])) for block in blocks)
    return Parted("InstanceNumber", tuple(block[0].text("InstanceNumber") for block in blocks), channels)


def differing(positions: Sequence[Sequence[Frame]]) -> str:
    """The names of the attributes that differ within a place, for a message."""
    attributes = []
    for names in EXACT:
        if len(names) == 1 and any(len({_key(frame, names) for frame in position}) > 1 for position in positions):
            attributes.append(names[0])
    why = (
        f"which differ in {', '.join(attributes[:4])}, but these do not distinguish them" if attributes else "all alike"
    )
    return f", {why}; export each as a separate series"


def _exactly(positions: Sequence[Sequence[Frame]], names: Key) -> Parted | None:
    first = {_key(frame, names): frame for frame in positions[0]}
    if len(first) < len(positions[0]) or not all(any(key) for key in first):
        return None
    sorted_places = []
    for position in positions:
        here = {_key(frame, names): frame for frame in position}
        if here.keys() != first.keys():
            return None
        sorted_places.append(here)
    keys = sorted(first, key=lambda key: (_numbers(key[:1]), min(here[key].order for here in sorted_places)))
    channels = tuple(tuple(here[key] for here in sorted_places) for key in keys)
    return Parted(" and ".join(names), tuple(" ".join(filter(None, key)) for key in keys), channels)


def _by_rank(positions: Sequence[Sequence[Frame]], names: Key) -> Parted | None:
    ranked = []
    for position in positions:
        if any(not frame.text(names[-1]) for frame in position):
            return None
        ordered = sorted(position, key=lambda frame: _numbers(_key(frame, names)))
        if len({_key(frame, names) for frame in ordered}) < len(ordered):
            return None
        ranked.append(ordered)
    channels = tuple(zip(*ranked, strict=True))
    if names[-1] not in CYCLIC:
        times = [[_numbers(_key(frame, names)) for frame in channel] for channel in channels]
        if any(max(earlier) >= min(later) for earlier, later in pairwise(times)):
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
