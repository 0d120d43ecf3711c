"""The slices that a mask refers to: their headers, with what real archives leave out filled in, in memory only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxgraft.errors import BadImage
from voxgraft.volume import Item

BLANK = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
    "Manufacturer",
)
"""Attributes that must be there and may be empty (type 2)."""

SHARED = ("ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID")
"""Attributes of the volume as a whole: where rounding makes slices differ, the first slice's are taken for all."""


def read_sources(item: Item, thickness: float) -> list[Any]:
    """The headers of a series, one pydicom data set for each slice, in the order of the slices.

    Blank UIDs are taken from the file's meta header or made from those of the instances, so that the same series gets
    the same ones every time; the slice thickness is the distance of slices where none is given.

    Raises:
        BadImage: A file has gone or changed since it was scanned.
    """
    slices = [_header(path) for path in item.files]
    for path, dataset in zip(item.files, slices, strict=True):
        meta = dataset.file_meta
        _fill(dataset, "SOPClassUID", str(meta.get("MediaStorageSOPClassUID", "")))
        _fill(dataset, "SOPInstanceUID", str(meta.get("MediaStorageSOPInstanceUID", "")))
        if not dataset.get("SOPClassUID") or not dataset.get("SOPInstanceUID"):
            raise BadImage(path, "it names neither its SOP class nor its instance, so that no mask can refer to it")
    instances = [str(dataset.SOPInstanceUID) for dataset in slices]
    if len(set(instances)) < len(instances):
        raise BadImage(item.path, "two of its slices have one SOPInstanceUID, so that no mask can refer to them")
    for dataset in slices:
        _fill(dataset, "StudyInstanceUID", derived_uid("study", *instances))
        _fill(dataset, "SeriesInstanceUID", derived_uid("series", *instances))
        _fill(dataset, "FrameOfReferenceUID", derived_uid("frame of reference", *instances))
        _fill(dataset, "SliceThickness", thickness)
        for name in SHARED:
            setattr(dataset, name, slices[0].get(name))
        for name in BLANK:
            if name not in dataset:
                setattr(dataset, name, "")
    return slices


def derived_uid(*parts: str) -> str:
    """A UID that is the same whenever the same things are named."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["voxgraft", *parts]))


def _header(path: Path) -> Any:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        dataset = dcmread(path, stop_before_pixels=True, force=True)
        dataset.file_meta  # noqa: B018 - absent from damaged files
    except FileNotFoundError:
        raise BadImage(path, "it has gone since it was scanned") from None
    except OSError as error:
        raise BadImage(path, f"it cannot be read: {error.strerror or error}") from error
    except (InvalidDicomError, AttributeError, ValueError, EOFError, KeyError) as error:
        raise BadImage(path, "it is no DICOM file any more") from error
    return dataset


def _fill(dataset: Any, name: str, value: str | float) -> None:
    if dataset.get(name) in (None, "") and value:
        setattr(dataset, name, value)


def common(slices: Sequence[Any], name: str) -> str:
    """An attribute of the first slice as text; empty where it is not there."""
    value = slices[0].get(name)
    return "" if value is None else str(value)
