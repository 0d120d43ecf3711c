"""Items from frames: what the engine is told of an image, and the frames that its voxels are read from.

Of 2D images: how large their pixels are, and where that was found; of each what writers and tables of subgroups need.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import Array, Item, Problem

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving
from .attributes import Attributes, shown
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
        frames: Its frames, where they could be distinguished.
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
        text = f"it holds {channels} volumes of {each} slices, distinguished by {parts.name} ({values}): its channels"
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


CENTIMETRES, TISSUE = 3, 1
"""Of ultrasound regions: the unit of their axes, and the format of a cut through tissue (PS3.3, C.8.5.5)."""


def pixel_size(header: Header) -> tuple[tuple[float, float], tuple[Problem, ...]]:
    """Millimetres between rows and between columns, with a warning where they are not those of the patient."""
    spacing, detector = _positive(header, "PixelSpacing"), _positive(header, "ImagerPixelSpacing")
    if spacing is not None and spacing != detector:  # equal, it was not corrected for magnification (PS3.3, 10.7.1.3)
        return spacing, ()
    if (spacing := detector) is not None:
        text = "its pixel size is that of the detector (ImagerPixelSpacing), on which things are larger than they are"
        return spacing, (Problem("detector-spacing", text, "warning"),)
    if (spacing := _positive(header, "NominalScannedPixelSpacing")) is not None:
        text = "its pixel size is that of the scanned film (NominalScannedPixelSpacing)"
        return spacing, (Problem("scanned-spacing", text, "warning"),)
    if header.text("Modality") in ("US", "IVUS") and (spacing := _of_regions(header)) is not None:
        text = "its pixel size is that of its ultrasound regions, and true inside these only"
        return spacing, (Problem("region-spacing", text, "warning"),)
    text = "it does not say how large a pixel is; 1 mm is assumed"
    return (1.0, 1.0), (Problem("no-spacing", text, "warning"),)


def flat_affine(spacing: tuple[float, float]) -> Array:
    """4x4 from (column, row) to RAS millimetres, the axes as on a screen: to the patient's left and back."""
    return np.diag([-spacing[1], -spacing[0], 1.0, 1.0])


def _positive(header: Header, name: str) -> tuple[float, float] | None:
    numbers = header.numbers(name, 2)
    return (numbers[0], numbers[1]) if numbers is not None and min(numbers) > 0 else None


def _of_regions(header: Header) -> tuple[float, float] | None:
    """The pixel size that all cuts through tissue of an ultrasound image share."""
    try:
        with forgiving():
            dataset = read_dicom(header.path, pixels=False)
            regions = [region for region in dataset.get("SequenceOfUltrasoundRegions") or [] if _is_tissue(region)]
            sizes = [
                (abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10) for region in regions
            ]
    except Exception:  # pydicom fails in many ways on what is badly written; the size is then not known
        return None
    if not sizes or min(min(size) for size in sizes) <= 0:
        return None
    same = all(abs(a - b) <= 1e-3 * b for size in sizes for a, b in zip(size, sizes[0], strict=True))
    return sizes[0] if same else None


def _is_tissue(region: Any) -> bool:
    units = {region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")}
    return units == {CENTIMETRES} and region.get("RegionSpatialFormat") == TISSUE


_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def facts_of(frames: Sequence[Frame], first: Header, channels: int) -> dict[str, Any]:
    """Plain values about an image.

    `instances` are the SOP instances in the order of the files, `frames` the instance and the number of the frame
    (from 1) of each slice, where files hold several frames or slices several channels. `station` is the scanner's own
    name; the institution is named by a hash alone.

    Args:
        frames: In the order of the slices.
        first: The header that speaks for all.
        channels: How many images lie at each place.
    """
    headers = headers_of(frames)
    facts: dict[str, Any] = {
        "study": first.text("StudyInstanceUID"),
        "series": first.text("SeriesInstanceUID"),
        "frame": first.text("FrameOfReferenceUID"),
        "sop_class": first.sop_class,
        "instances": [header.instance for header in headers],
        "syntax": first.syntax,
        "slice_thickness": frames[0].number("SliceThickness", 0.0) or None,
        "photometric": first.text("PhotometricInterpretation"),
        "station": first.text("StationName"),
    }
    if len(headers) < len(frames) or channels > 1:
        slices = frames[: len(frames) // channels]
        facts["frames"] = [[frame.header.instance, frame.index + 1] for frame in slices]
    if (padding := _padding(frames)) is not None:
        facts["padding"] = padding
    return facts | _subgroups(first)


def archive_of(header: Attributes) -> dict[str, str]:
    """What finds an image in the archive: accession number and date, which identify the patient to whoever may look."""
    date = header.text("StudyDate").strip()
    readable = f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdecimal() else date
    known = {"accession": header.text("AccessionNumber").strip(), "study_date": readable}
    return {name: value for name, value in known.items() if value}


def _padding(frames: Sequence[Frame]) -> float | None:
    """The intensity that stands outside the image, where it is the same in all frames."""
    values = {
        frame.number("PixelPaddingValue", 0.0) * frame.number("RescaleSlope", 1.0)
        + frame.number("RescaleIntercept", 0.0)
        for frame in frames
        if frame.text("PixelPaddingValue")
    }
    return values.pop() if len(values) == 1 else None


def _subgroups(header: Attributes) -> dict[str, Any]:
    scanner = " ".join(filter(None, (header.text("Manufacturer"), header.text("ManufacturerModelName"))))
    site = " ".join(header.text("InstitutionName").casefold().split())
    known: dict[str, Any] = {
        "scanner": scanner,
        "site": f"site-{hashlib.sha256(site.encode()).hexdigest()[:8]}" if site else "",
        "sex": header.text("PatientSex").upper(),
        "age": _years(header.text("PatientAge")),
    }
    return {name: value for name, value in known.items() if value not in ("", None)}


def _years(text: str) -> float | None:
    """Years from an age such as `045Y` or `018M`."""
    number, unit = text[:-1].strip(), text[-1:].upper()
    if not number.isdecimal() or not number.isascii() or unit not in _YEARS:
        return None
    return round(int(number) * _YEARS[unit], 3)
