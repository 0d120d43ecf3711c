"""SEG and RTSTRUCT objects of a tree: described for other readers by what they refer to and what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom

from dicom_series import make_series
from voxgraft_dicom.reader.reader import DicomReader

HERE = Path(pydicom.__file__).parent / "data" / "test_files"


def test_objects_with_structures_are_items_of_their_own_kind(tmp_path: Path) -> None:
    array = np.zeros((7, 6, 3), np.int16)
    files = make_series(tmp_path, array, np.diag([-1.0, -1.0, 1.0, 1.0]))
    items = DicomReader().scan([*files, HERE / "liver_1frame.dcm", HERE / "rtstruct.dcm", HERE / "rtdose.dcm"])
    assert [(item.kind, item.reader, item.modality) for item in items] == [
        ("image", "dicom", "CT"),
        ("structures", "dicom-seg", "SEG"),
        ("structures", "dicom-rtstruct", "RTSTRUCT"),
    ]
    for item in items[1:]:
        assert item.shape == () and item.files == (item.path,) and item.problems == ()
        np.testing.assert_array_equal(item.affine, np.eye(4))


def test_a_segmentation_says_what_it_refers_to() -> None:
    (item,) = DicomReader().scan([HERE / "liver_1frame.dcm"])
    truth = pydicom.dcmread(HERE / "liver_1frame.dcm")
    (series,) = truth.ReferencedSeriesSequence
    assert item.series == truth.SeriesInstanceUID and item.patient == truth.PatientID
    assert item.facts["study"] == truth.StudyInstanceUID and item.facts["frame"] == truth.FrameOfReferenceUID
    assert item.facts["references"] == [series.SeriesInstanceUID]
    assert item.facts["instances"] == [one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence]
    assert item.facts["names"] == ["Liver"]


def test_a_structure_set_says_what_it_refers_to(tmp_path: Path) -> None:
    (item,) = DicomReader().scan([HERE / "rtstruct.dcm"])
    truth = pydicom.dcmread(HERE / "rtstruct.dcm", force=True)
    frame = truth.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert item.facts["frame"] == frame.FrameOfReferenceUID
    assert item.facts["references"] == [series.SeriesInstanceUID]
    assert item.facts["names"] == [roi.ROIName for roi in truth.StructureSetROISequence]
    image = pydicom.Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    truth.ROIContourSequence[0].ContourSequence[0].ContourImageSequence = [image]
    del frame.RTReferencedStudySequence
    truth.save_as(tmp_path / "rs.dcm", implicit_vr=True, little_endian=True)
    (bare,) = DicomReader().scan([tmp_path / "rs.dcm"])
    assert bare.facts["references"] == [] and bare.facts["instances"] == ["1.2.3"]


def test_cut_objects_are_no_crash(tmp_path: Path) -> None:
    for name in ("liver_1frame.dcm", "rtstruct.dcm"):
        content = (HERE / name).read_bytes()
        for length in (140, 400, len(content) // 2, len(content) - 5):
            (tmp_path / name).write_bytes(content[:length])
            for item in DicomReader().scan([tmp_path / name]):
                assert item.errors or name == "rtstruct.dcm", length  # which has no mark, and no end to be missed
