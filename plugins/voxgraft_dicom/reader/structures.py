"""Objects that hold structures of an image (SEG, RTSTRUCT), described from their headers: other readers read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from voxgraft.plugin import Item, Problem

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving
from .header import STRUCTURES, Header
from .pixels import TRUNCATED, missing_pixels

MODALITIES = {"dicom-seg": "SEG", "dicom-rtstruct": "RTSTRUCT"}


def structures_item(header: Header) -> Item:
    """The item of one object: what it refers to and the names of its structures are in its facts."""
    reader = STRUCTURES[header.sop_class]
    try:
        facts = _facts(header)
        problems: tuple[Problem, ...] = ()
    except Exception:  # pydicom fails in many ways on what is badly written; an OSError is no better
        facts = {"frame": header.text("FrameOfReferenceUID"), "references": [], "instances": [], "names": []}
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
        facts={"study": header.text("StudyInstanceUID"), "instance": header.instance, **facts},
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
    instances = [_text(instance, "ReferencedSOPInstanceUID") for instance in _all(series, "ReferencedInstanceSequence")]
    if not instances:
        groups = [*(dataset.get("SharedFunctionalGroupsSequence") or [])]
        groups += [*(dataset.get("PerFrameFunctionalGroupsSequence") or [])]
        sources = _all(_all(groups, "DerivationImageSequence"), "SourceImageSequence")
        instances = [_text(source, "ReferencedSOPInstanceUID") for source in sources]
    return {
        "frame": _text(dataset, "FrameOfReferenceUID"),
        "references": _each_once(_text(item, "SeriesInstanceUID") for item in series),
        "instances": _each_once(instances),
        "names": _segments(dataset),
        "codes": _codes(dataset),
    }


def _segments(dataset: Any) -> list[str]:
    """The names of the segments; the background of a label map is none."""
    names = []
    for segment in dataset.get("SegmentSequence") or []:
        number = segment.get("SegmentNumber")
        if number and not (
            _text(dataset, "SegmentationType") == "LABELMAP" and number == dataset.get("PixelPaddingValue")
        ):
            names.append(_text(segment, "SegmentLabel") or f"Segment {number}")
    return _each_once(names)


def _codes(dataset: Any) -> dict[str, str]:
    """The coded term of each segment that has one, by its name, as scheme and value with those of its modifiers."""
    codes = {}
    for segment in dataset.get("SegmentSequence") or []:
        types = list(segment.get("SegmentedPropertyTypeCodeSequence") or [])
        modifiers = list(_all(types, "SegmentedPropertyTypeModifierCodeSequence"))
        terms = [f"{_text(term, 'CodingSchemeDesignator')} {_text(term, 'CodeValue')}" for term in (*types, *modifiers)]
        if types and _text(segment, "SegmentLabel"):
            codes[_text(segment, "SegmentLabel")] = ", ".join(terms)
    return codes


def _of_rtstruct(dataset: Any) -> dict[str, Any]:
    frames = list(dataset.get("ReferencedFrameOfReferenceSequence") or [])
    rois = list(dataset.get("StructureSetROISequence") or [])
    series = list(_all(_all(frames, "RTReferencedStudySequence"), "RTReferencedSeriesSequence"))
    images = list(_all(series, "ContourImageSequence"))
    if not images:
        contours = _all(dataset.get("ROIContourSequence") or [], "ContourSequence")
        images = list(_all(contours, "ContourImageSequence"))
    stated = [_text(frame, "FrameOfReferenceUID") for frame in frames]
    stated += [_text(roi, "ReferencedFrameOfReferenceUID") for roi in rois]
    return {
        "frame": next(filter(None, stated), _text(dataset, "FrameOfReferenceUID")),
        "references": _each_once(_text(item, "SeriesInstanceUID") for item in series),
        "instances": _each_once(_text(image, "ReferencedSOPInstanceUID") for image in images),
        "names": [_name(roi, "ROIName", "ROINumber") for roi in rois],
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
