"""Writes small PET series as scanners do: FDG, injected at 11:00, scanned from 12:00 on, a slope for each slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PET = "1.2.840.10008.5.1.4.1.1.128"
STORED = np.random.default_rng(0).integers(0, 3000, (6, 5, 4)).astype(np.int16)
"""What is in the files, (column, row, slice)."""
SLOPES = 0.5 + np.arange(4)
WEIGHT, HEIGHT, DOSE, HALF_LIFE = 72.5, 1.76, 370e6, 6586.2
DECAYED = DOSE * 2 ** (-3600 / HALF_LIFE)
"""What is left of the dose after an hour."""

Edit = Callable[[int, Dataset], None]


def dose(**changes: Any) -> Dataset:
    """An item of the radiopharmaceuticals; None leaves an attribute out."""
    item = Dataset()
    values = {
        "RadiopharmaceuticalStartTime": "110000",
        "RadionuclideTotalDose": DOSE,
        "RadionuclideHalfLife": HALF_LIFE,
    }
    for name, value in {**values, **changes}.items():
        if value is not None:
            setattr(item, name, value)
    return item


def write_series(folder: Path, edit: Edit | None = None, given: Dataset | None = None, **changes: Any) -> Path:
    """A series of four slices; None leaves an attribute out.

    Args:
        edit: Changes each slice by its number, last of all.
        given: The radiopharmaceutical.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "Modality": "PT",
        "PatientID": "p1",
        "PatientSex": "M",
        "PatientWeight": WEIGHT,
        "PatientSize": HEIGHT,
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "FrameOfReferenceUID": "1.2.3.9",
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "SeriesDate": "20200101",
        "SeriesTime": "120000",
        "AcquisitionDate": "20200101",
        "AcquisitionTime": "120000",
        "RadiopharmaceuticalInformationSequence": [given or dose()],
        **changes,
    }
    for k in range(STORED.shape[2]):
        slice_ = _slice(k)
        for name, value in values.items():
            if value is not None:
                setattr(slice_, name, value)
        if edit is not None:
            edit(k, slice_)
        slice_.save_as(folder / f"{slice_.SOPInstanceUID}.dcm", enforce_file_format=True)
    return folder


def _slice(k: int) -> Dataset:
    slice_ = Dataset()
    slice_.file_meta = FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_.SOPClassUID, slice_.SOPInstanceUID = PET, generate_uid()
    slice_.file_meta.MediaStorageSOPClassUID = PET
    slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
    slice_.Columns, slice_.Rows = STORED.shape[:2]
    slice_.InstanceNumber, slice_.SliceThickness = k + 1, 3.0
    slice_.ImagePositionPatient, slice_.ImageOrientationPatient = [0, 0, 3.0 * k], [1, 0, 0, 0, 1, 0]
    slice_.PixelSpacing = [4.0, 4.0]
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
    slice_.RescaleSlope, slice_.RescaleIntercept = float(SLOPES[k]), 0
    slice_.PixelData = STORED[:, :, k].T.tobytes()
    return slice_
