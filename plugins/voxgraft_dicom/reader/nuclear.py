"""Reconstructed SPECT in one nuclear medicine object (PS3.3, C.8.4): its frames are slices.

The place of the first slice stands in the item of the detector (C.8.4.15), the slice of each frame in SliceVector. The
others follow at SpacingBetweenSlices along the normal, against it where that is negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..objects.deflated import read_dicom
from ..objects.forgiving import refusing
from .attributes import shown
from .frames import Frame
from .header import STORAGE, Header

NUCLEAR = STORAGE + "20"
VECTORS = {
    "TimeSlotVector": "NMTimeSlot",
    "EnergyWindowVector": "NMEnergyWindow",
    "TimeSliceVector": "NMTimeSlice",
    "PhaseVector": "NMPhase",
    "RRIntervalVector": "NMRRInterval",
}
"""What counts the frames of one slice, and under which name that tells volumes apart."""
PLACE = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6}


class Unsaid(ValueError):
    """The object does not say where its slices lie; the message says what is missing."""


def is_reconstructed(header: Header) -> bool:
    """Whether it holds reconstructed slices, not projections or pictures in time."""
    return header.sop_class == NUCLEAR and kind_of(header).startswith("RECON")


def kind_of(header: Header) -> str:
    """The third value of ImageType, such as RECON TOMO or DYNAMIC."""
    return shown([*header.parts("ImageType"), "", "", ""][2])


def slices_of(header: Header) -> list[Frame]:
    """The slices of a reconstruction.

    Raises:
        Unsaid: Its place, its slices' distance or the slice of a frame is missing.
        OSError: The file cannot be read.
    """
    with refusing(Unsaid("its header cannot be understood")):
        return list(_frames(header, read_dicom(header.path, pixels=False)))


def _frames(header: Header, dataset: Any) -> Iterator[Frame]:
    count = header.whole("NumberOfFrames", 1)
    location = _place(dataset)
    position, cosines = (np.array([float(part) for part in location[name].split("\\")]) for name in PLACE)
    slices = _vector(dataset, "SliceVector", count) or list(range(1, count + 1))
    step = header.numbers("SpacingBetweenSlices", 1)
    if max(slices) > 1 and (step is None or step[0] == 0):
        raise Unsaid("SpacingBetweenSlices, by which its slices are apart, is missing")
    along = np.cross(cosines[:3], cosines[3:]) * (step[0] if step is not None else 0.0)
    vectors = {name: _vector(dataset, vector, count) for vector, name in VECTORS.items()}
    for index in range(count):
        own = {name: str(vector[index]) for name, vector in vectors.items() if vector}
        position_of_slice = position + along * (slices[index] - 1)
        text = "\\".join(repr(float(value)) for value in position_of_slice)
        yield Frame(header, {**header.values, **location, **own, "ImagePositionPatient": text}, index)


def _place(dataset: Any) -> Mapping[str, str]:
    """Position and orientation of the first slice, in which all detectors must agree."""
    positions = set()
    for item in [*(dataset.get("DetectorInformationSequence") or []), dataset]:
        values = [list(item.get(name) or []) for name in PLACE]
        if all(len(value) == length for value, length in zip(values, PLACE.values(), strict=True)):
            positions.add(tuple("\\".join(map(str, value)) for value in values))
    if len(positions) != 1:
        raise Unsaid("it names no place in the patient" if not positions else "its detectors name different places")
    return dict(zip(PLACE, positions.pop(), strict=True))


def _vector(dataset: Any, name: str, count: int) -> list[int]:
    """The number that each frame has in a vector; [] where there is none.

    Raises:
        Unsaid: It is not as long as the object has frames.
    """
    value = dataset.get(name)
    if value is None:
        return []
    numbers = [int(number) for number in value] if hasattr(value, "__iter__") else [int(value)]
    if len(numbers) != count:
        raise Unsaid(f"its {name} does not have a number for each of its {count} frames")
    return numbers
