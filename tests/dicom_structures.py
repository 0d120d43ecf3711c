"""DICOM SEG and RTSTRUCT objects on series that `dicom_series.make_series` wrote, with references whole or spoilt."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid


def make_seg(
    path: Path,
    files: Sequence[Path],
    masks: Mapping[str, np.ndarray[Any, Any]],
    edit: Callable[[Dataset], None] | None = None,
    description: str = "made by hand",
) -> Path:
    """Write structures as BINARY segments with coded terms.

    Args:
        files: The slices in the order of k.
        masks: Bool arrays (i, j, k) by name.
        edit: Spoils the object before it is written.
    """
    import highdicom as hd
    from highdicom.sr.coding import CodedConcept

    sources = [pydicom.dcmread(file) for file in files]
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=CodedConcept("123037004", "SCT", "Anatomical Structure"),
            segmented_property_type=CodedConcept(f"1020000{number}", "SCT", f"Structure {number}"),
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(masks, 1)
    ]
    pixels = np.stack([mask.transpose(2, 1, 0) for mask in masks.values()], -1).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=pixels,
            segmentation_type="BINARY",
            segment_descriptions=segments,
            series_instance_uid=generate_uid(entropy_srcs=["seg", str(path)]),
            series_number=100,
            sop_instance_uid=generate_uid(entropy_srcs=["seg object", str(path)]),
            instance_number=1,
            manufacturer="Test",
            manufacturer_model_name="Test",
            software_versions="1",
            device_serial_number="1",
            series_description=description,
        )
    return _save(path, made, edit)


def make_rtstruct(
    path: Path,
    files: Sequence[Path],
    boxes: Mapping[str, tuple[slice, slice, slice]],
    edit: Callable[[Dataset], None] | None = None,
) -> Path:
    """Write boxes of voxels (i, j, k) as contours along the edges of their pixels, one in each slice."""
    sources = [pydicom.dcmread(file) for file in files]
    first = sources[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["rtstruct", str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
        setattr(made, name, first.get(name, ""))
    made.Modality, made.SeriesDescription = "RTSTRUCT", "planning"
    made.SeriesInstanceUID = generate_uid(entropy_srcs=["rtstruct series", str(path)])
    made.StructureSetLabel = "plan"
    images = [
        _dataset(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID) for one in sources
    ]
    series = _dataset(SeriesInstanceUID=first.SeriesInstanceUID, ContourImageSequence=images)
    study = _dataset(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    frame = first.get("FrameOfReferenceUID", "")
    made.ReferencedFrameOfReferenceSequence = [_dataset(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    made.StructureSetROISequence = [
        _dataset(ROINumber=number, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIGenerationAlgorithm="MANUAL")
        for number, name in enumerate(boxes, 1)
    ]
    made.ROIContourSequence = [
        _dataset(ReferencedROINumber=number, ContourSequence=_contours(box, sources))
        for number, box in enumerate(boxes.values(), 1)
    ]
    return _save(path, made, edit)


def _contours(box: tuple[slice, slice, slice], sources: Sequence[Dataset]) -> list[Dataset]:
    i, j, k = box
    corners = [
        (i.start - 0.5, j.start - 0.5),
        (i.stop - 0.5, j.start - 0.5),
        (i.stop - 0.5, j.stop - 0.5),
        (i.start - 0.5, j.stop - 0.5),
    ]
    found = []
    for source in sources[k]:
        along, down = np.array(source.ImageOrientationPatient[:3]), np.array(source.ImageOrientationPatient[3:])
        rows, columns = (float(value) for value in source.PixelSpacing)
        points = [np.array(source.ImagePositionPatient) + along * columns * x + down * rows * y for x, y in corners]
        image = _dataset(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)
        found.append(
            _dataset(
                ContourImageSequence=[image],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=[round(float(value), 5) for point in points for value in point],
            )
        )
    return found


def _dataset(**values: Any) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def _save(path: Path, made: Any, edit: Callable[[Dataset], None] | None) -> Path:
    if edit is not None:
        edit(made)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path
