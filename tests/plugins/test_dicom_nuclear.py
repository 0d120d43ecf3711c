"""Reconstructed SPECT lies where its detector says; what is not a volume, or does not say where it lies, is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_objects import ENHANCED_ULTRASOUND, make_nuclear, make_object
from voxgraft.imaging.volume import Item
from voxgraft_dicom.reader.reader import DicomReader

ARRAY = np.arange(2 * 8 * 6 * 5, dtype=np.uint16).reshape(2, 8, 6, 5)
STEPS = np.diag([4.0, 4.5, 5.0, 1.0])
AXIAL = np.diag([-1.0, -1.0, 1.0, 1.0]) @ STEPS
OBLIQUE = (
    np.array([[-0.36, -0.48, -0.8, 12.5], [0.8, -0.6, 0.0, -80.25], [-0.48, -0.64, 0.6, 33.0], [0, 0, 0, 1]]) @ STEPS
)


def one(file: Path) -> Item:
    (item,) = DicomReader().scan([file])
    return item


@pytest.mark.parametrize("downwards", [False, True])
@pytest.mark.parametrize("affine", [AXIAL, OBLIQUE])
def test_a_reconstruction_lies_where_its_detector_says(tmp_path: Path, affine: Any, downwards: bool) -> None:
    item = one(make_nuclear(tmp_path / "nm.dcm", ARRAY[:1], affine, downwards=downwards))
    assert item.problems == () and item.modality == "NM"
    volume = DicomReader().read(item)
    np.testing.assert_array_equal(volume.array, ARRAY[0])
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)


def test_the_slots_of_a_gated_reconstruction_are_channels(tmp_path: Path) -> None:
    item = one(make_nuclear(tmp_path / "nm.dcm", ARRAY, AXIAL, kind="RECON GATED TOMO"))
    assert item.facts["channels"] == {"name": "NMTimeSlot", "values": ["1.0", "2.0"]}
    np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY)


@pytest.mark.parametrize("kind", ["TOMO", "STATIC", "WHOLE BODY", "DYNAMIC", "GATED"])
def test_projections_and_pictures_are_named(tmp_path: Path, kind: str) -> None:
    item = one(make_nuclear(tmp_path / "nm.dcm", ARRAY[:1], AXIAL, kind=kind))
    assert [problem.code for problem in item.errors] == ["multi-frame"] and f"({kind})" in item.errors[0].message


def lacking(name: str) -> Any:
    def edit(dataset: Dataset) -> None:
        delattr(dataset, name)

    return edit


def elsewhere(dataset: Dataset) -> None:
    other = Dataset()
    other.ImagePositionPatient, other.ImageOrientationPatient = [0, 0, 7], [1, 0, 0, 0, 1, 0]
    dataset.DetectorInformationSequence.append(other)


def short(dataset: Dataset) -> None:
    dataset.SliceVector = [1, 2, 3]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lacking("SpacingBetweenSlices"), "SpacingBetweenSlices"),
        (lacking("DetectorInformationSequence"), "no place"),
        (elsewhere, "detectors name different places"),
        (short, "SliceVector"),
    ],
)
def test_a_reconstruction_without_its_place_is_named(tmp_path: Path, edit: Any, words: str) -> None:
    item = one(make_nuclear(tmp_path / "nm.dcm", ARRAY[:1], AXIAL, edit=edit))
    assert [problem.code for problem in item.errors] == ["multi-frame"] and words in item.errors[0].message


def test_an_enhanced_ultrasound_volume_is_named(tmp_path: Path) -> None:
    dataset = make_object(tmp_path / "us.dcm", ARRAY[0].transpose(2, 0, 1), ENHANCED_ULTRASOUND, "US")
    dataset.SharedFunctionalGroupsSequence = [Dataset()]
    dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(5)]
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        place = Dataset()
        place.ImagePositionVolume = [0, 0, 2 * number]
        group.PlanePositionVolumeSequence = [place]
    dataset.save_as(tmp_path / "us.dcm", enforce_file_format=True)
    item = one(tmp_path / "us.dcm")
    assert [problem.code for problem in item.errors] == ["multi-frame"]
    assert "enhanced ultrasound volume" in item.errors[0].message
