"""Objects that hold structures of an image (SEG, RTSTRUCT), described from their headers: other readers read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from voxgraft.plugin import Array, BadImage, Item, Problem

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving, understanding
from .header import STRUCTURES, Header
from .pixels import TRUNCATED, missing_pixels

T = TypeVar("T")

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


def described(
    path: Path, reader: str, dataset: Any, *, shape: tuple[int, ...], affine: Array, problems: Iterable[Problem]
) -> Item:
    """The item of an object that was read.

    Args:
        path: Of its file.
        reader: `dicom-seg` or `dicom-rtstruct`.
        dataset: Its elements.
        shape: Of its own grid; () where it has none.
        affine: Of that grid, to RAS millimetres.
        problems: What was found.
    """
    facts = of_rtstruct(dataset) if reader == "dicom-rtstruct" else of_segmentation(dataset)
    return Item(
        path=path,
        reader=reader,
        shape=shape,
        affine=affine,
        modality=MODALITIES[reader],
        series=_text(dataset, "SeriesInstanceUID") or None,
        description=_text(dataset, "SeriesDescription") or _text(dataset, "StructureSetLabel") or None,
        patient=_text(dataset, "PatientID") or None,
        problems=tuple(problems),
        files=(path,),
        facts={"study": _text(dataset, "StudyInstanceUID"), **facts},
        kind="structures",
    )


def item_or_fault(path: Path, reader: str, describe: Callable[[Path], Item]) -> Item:
    """The item of a file; one with an error where it cannot be read or understood.

    Args:
        path: The file.
        reader: `dicom-seg` or `dicom-rtstruct`.
        describe: Makes the item.
    """
    try:
        with understanding(path):
            return describe(path)
    except (BadImage, OSError) as error:
        problem = Problem("damaged", error.reason if isinstance(error, BadImage) else "it cannot be read")
        return Item(path, reader, (), np.eye(4), problems=(problem,), files=(path,), kind="structures")


def opened(item: Item, read: Callable[[Path], T]) -> T:
    """What `read` gives of the object of an item.

    Raises:
        BadImage: It is damaged, or cannot be read.
    """
    if item.errors:
        raise BadImage(item.path, item.errors[0].message)
    try:
        return read(item.files[0] if item.files else item.path)
    except OSError as error:
        raise BadImage(item.path, f"it cannot be read: {error.strerror or error}") from error


def _facts(header: Header) -> dict[str, Any]:
    with forgiving():
        dataset = read_dicom(header.path, pixels=False)
        return of_rtstruct(dataset) if header.sop_class.endswith("481.3") else of_segmentation(dataset)


def of_segmentation(dataset: Any) -> dict[str, Any]:
    """What a SEG refers to, and the names and codes of its segments."""
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


def of_rtstruct(dataset: Any) -> dict[str, Any]:
    """What a structure set refers to, and the names of its regions."""
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
        "names": [_text(roi, "ROIName") or f"ROI {_text(roi, 'ROINumber')}" for roi in rois],
    }


def _all(datasets: Iterable[Any], sequence: str) -> Iterator[Any]:
    for dataset in datasets:
        yield from dataset.get(sequence) or []


def _text(dataset: Any, name: str) -> str:
    return str(dataset.get(name) or "").strip(" \0")


def _each_once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, values)))
