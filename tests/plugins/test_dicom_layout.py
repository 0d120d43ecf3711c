"""Laws of the layout `dicom`: which series become cases, what is left out and told, and that names give nobody away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_series import make_series
from voxgraft.data.cases import Dataset
from voxgraft.discovery import Catalogue
from voxgraft.errors import DataError
from voxgraft.slot import choose


def read(catalogue: Catalogue, **options: Any) -> Dataset:
    found: Dataset = choose(catalogue, "layout", {"use": "dicom", **options}).build().read()
    return found


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def series(folder: Path, patient: str, **changes: Any) -> None:
    array = np.arange(8 * 6 * 5, dtype=np.int16).reshape(8, 6, 5)
    make_series(folder, array, np.diag([2.0, 2.0, 3.0, 1.0]), PatientID=patient, **changes)


def test_dicom_makes_a_case_of_every_series_that_fits(catalogue: Catalogue, tmp_path: Path) -> None:
    series(tmp_path / "tree/DOE^JANE/ct1", "MRN-777", Modality="CT", SeriesDescription="Thorax")
    series(tmp_path / "tree/DOE^JANE/ct2", "MRN-777", Modality="CT", SeriesDescription="Abdomen Venous")
    series(tmp_path / "tree/other/mr", "MRN-888", Modality="MR", SeriesDescription="t1 abdomen")
    touch(tmp_path, "masks/ct2.nii.gz", "masks/stray.nii.gz")
    everything = read(catalogue, path=tmp_path / "tree")
    assert len(everything.cases) == 3 and len({case.patient for case in everything.cases}) == 2
    options = {"modality": "CT", "description": "*abdomen*", "labels": tmp_path / "masks"}
    found = read(catalogue, path=tmp_path / "tree", **options)
    (case,) = found.cases
    assert case.label is not None and case.label.path.name == "ct2.nii.gz" and case.images[0].series
    assert found.notes == (
        "2 patients, 2 studies, 3 series: 2 CT, 1 MR",
        "2 of 3 series left out by the rules: 1 another description, 1 another modality",
        "1 of 2 masks belong to no series",
    )


def test_dicom_names_give_no_patient_away(catalogue: Catalogue, tmp_path: Path) -> None:
    series(tmp_path / "DOE^JANE/MRN-777", "MRN-777")
    (case,) = read(catalogue, path=tmp_path).cases
    assert not any(
        word in case.id + case.patient for word in ("DOE", "JANE", "777", "Test", str(case.images[0].series))
    )
    (named,) = read(catalogue, path=tmp_path, ids="folder", patient="folder").cases
    assert named.id == "DOE-JANE-MRN-777"


def test_dicom_cases_keep_their_names_when_folders_move(catalogue: Catalogue, tmp_path: Path) -> None:
    series(tmp_path / "a" / "s", "1")
    (before,) = read(catalogue, path=tmp_path / "a").cases
    (tmp_path / "a").rename(tmp_path / "b")
    (after,) = read(catalogue, path=tmp_path).cases
    assert before.id == after.id and before.patient == after.patient


def test_dicom_finds_masks_by_series_uid_and_by_case(catalogue: Catalogue, tmp_path: Path) -> None:
    series(tmp_path / "tree/a", "1")
    series(tmp_path / "tree/b", "2")
    first, second = read(catalogue, path=tmp_path / "tree").cases
    touch(tmp_path, f"masks/{first.images[0].series}.nii.gz", f"masks/{second.id}.nii.gz")
    found = read(catalogue, path=tmp_path / "tree", labels=tmp_path / "masks", unlabelled="error")
    assert [case.label.path.name for case in found.cases if case.label] == [
        f"{first.images[0].series}.nii.gz",
        f"{second.id}.nii.gz",
    ]


def test_dicom_refuses_when_nothing_fits(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read(catalogue, path=tmp_path / "none")
    series(tmp_path / "a", "1", Modality="MR")
    with pytest.raises(DataError, match=r"none of its 1 series \(1 MR\)"):
        read(catalogue, path=tmp_path, modality=["CT"])
    with pytest.raises(DataError, match="without a mask"):
        (tmp_path / "masks").mkdir()
        read(catalogue, path=tmp_path / "a", labels=tmp_path / "masks", unlabelled="error")
