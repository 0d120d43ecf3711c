"""Objects that hold structures of an image (SEG, RTSTRUCT), described from their headers: other readers read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from voxgraft.plugin import Item, Problem

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving
from .header import Header
from .kinds import STRUCTURES
from .pixels import TRUNCATED, missing_pixels

MODALITIES = {"dicom-seg": "SEG", "dicom-rtstruct": "RTSTRUCT"}


def structures_item(header: Header) -> Item:
    """The item of one object: what it refers to and the names of its structures are in its facts."""
    reader = STRUCTURES[header.sop_class]
    try:
        found = _facts(header)
        problems: tuple[Problem, ...] = ()
    except Exception:  # pydicom fails in many ways on what is badly written; an OSError is no better
        found = {"frame": header.text("FrameOfReferenceUID"), "references": [], "instances": [], "names": []}
        problems = (Problem("truncated", f"{header.path.name}: its header cannot be read to the end"),)
    if not header.complete or (reader == "dicom-seg" and not (header.has_pixels and not missing_pixels(header))):
        problems = (Problem("truncated", f"{header.path.name}: it breaks off; {TRUNCATED}"),)
    return Item(
        path=header.path,
        reader=reader,
        shape=(),
        affine=np.eye(4),
        modality=MODALITIES[reader],
        series=header.text("SeriesInstanceUID") or header.instance or header.path.stem,
        description=header.text("SeriesDescription") or None,
        patient=header.text("PatientID") or None,
        problems=problems,
        files=(header.path,),
        facts={"study": header.text("StudyInstanceUID"), "instance": header.instance, **found},
        kind="structures",
    )


def _facts(header: Header) -> dict[str, Any]:
    with forgiving():
        dataset = read_dicom(header.path, pixels=False)
        return _of_rtstruct(dataset) if header.sop_class.endswith("481.3") else _of_segmentation(dataset)


def _of_segmentation(dataset: Any) -> dict[str, Any]:
    series = list(dataset.get("ReferencedSeriesSequence") or [])
    for study in dataset.get("StudiesContainingOtherReferencedInstancesSequence") or []:
        series += list(study.get("ReferencedSeriesSequence") or [])
    instances = [_text(one, "ReferencedSOPInstanceUID") for one in _all(series, "ReferencedInstanceSequence")]
    if not instances:
        groups = [*(dataset.get("SharedFunctionalGroupsSequence") or [])]
        groups += [*(dataset.get("PerFrameFunctionalGroupsSequence") or [])]
        sources = _all(_all(groups, "DerivationImageSequence"), "SourceImageSequence")
        instances = [_text(one, "ReferencedSOPInstanceUID") for one in sources]
    return {
        "frame": _text(dataset, "FrameOfReferenceUID"),
        "references": _each_once(_text(one, "SeriesInstanceUID") for one in series),
        "instances": _each_once(instances),
        "names": _segments(dataset),
        "codes": _codes(dataset),
    }


def _segments(dataset: Any) -> list[str]:
    """The names of the segments; the background of a label map is none."""
    found = []
    for one in dataset.get("SegmentSequence") or []:
        number = one.get("SegmentNumber")
        if number and not (
            _text(dataset, "SegmentationType") == "LABELMAP" and number == dataset.get("PixelPaddingValue")
        ):
            found.append(_text(one, "SegmentLabel") or f"Segment {number}")
    return _each_once(found)


def _codes(dataset: Any) -> dict[str, str]:
    """The coded term of each segment that has one, by its name, as scheme and value with those of its modifiers."""
    found = {}
    for one in dataset.get("SegmentSequence") or []:
        types = list(one.get("SegmentedPropertyTypeCodeSequence") or [])
        modifiers = list(_all(types, "SegmentedPropertyTypeModifierCodeSequence"))
        terms = [f"{_text(term, 'CodingSchemeDesignator')} {_text(term, 'CodeValue')}" for term in (*types, *modifiers)]
        if types and _text(one, "SegmentLabel"):
            found[_text(one, "SegmentLabel")] = ", ".join(terms)
    return found


def _of_rtstruct(dataset: Any) -> dict[str, Any]:
    frames = list(dataset.get("ReferencedFrameOfReferenceSequence") or [])
    rois = list(dataset.get("StructureSetROISequence") or [])
    series = list(_all(_all(frames, "RTReferencedStudySequence"), "RTReferencedSeriesSequence"))
    images = list(_all(series, "ContourImageSequence"))
    if not images:
        contours = _all(dataset.get("ROIContourSequence") or [], "ContourSequence")
        images = list(_all(contours, "ContourImageSequence"))
    told = [_text(one, "FrameOfReferenceUID") for one in frames]
    told += [_text(one, "ReferencedFrameOfReferenceUID") for one in rois]
    return {
        "frame": next(filter(None, told), _text(dataset, "FrameOfReferenceUID")),
        "references": _each_once(_text(one, "SeriesInstanceUID") for one in series),
        "instances": _each_once(_text(one, "ReferencedSOPInstanceUID") for one in images),
        "names": [_name(one, "ROIName", "ROINumber") for one in rois],
    }


def _all(datasets: Iterable[Any], sequence: str) -> Iterator[Any]:
    for dataset in datasets:
        yield from dataset.get(sequence) or []


def _text(dataset: Any, name: str) -> str:
    return str(dataset.get(name) or "").strip(" \0")


def _name(dataset: Any, name: str, number: str) -> str:
    return _text(dataset, name) or _text(dataset, number)


def _each_once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, values)))
