"""What is known of an image besides its voxels: for writers that refer to it, and for tables of subgroups."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from .attributes import Attributes
from .frames import Frame, headers_of
from .header import Header

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
