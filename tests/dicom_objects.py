"""DICOM objects of many frames and no functional groups of the common kind, written for tests: SPECT, ultrasound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, NuclearMedicineImageStorage, generate_uid

from dicom_series import LPS_OF_RAS

ENHANCED_ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.2"


def make_object(path: Path, frames: np.ndarray[Any, Any], storage: str, modality: str) -> FileDataset:
    """An object of many frames (frame, i, j) of 16 bits without any geometry, not yet written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = storage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["object", str(path)])
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientID, dataset.SeriesDescription = modality, "P1", path.stem
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(path.parent)])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    dataset.NumberOfFrames = len(frames)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = frames.shape[2], frames.shape[1]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, int(frames.dtype.kind == "i")
    pixels = np.ascontiguousarray(frames.transpose(0, 2, 1))
    dataset.add_new("PixelData", "OW", pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
    return dataset


def make_nuclear(
    path: Path,
    array: np.ndarray[Any, Any],
    affine: np.ndarray[Any, Any],
    *,
    kind: str = "RECON TOMO",
    downwards: bool = False,
    edit: Callable[[Dataset], None] | None = None,
) -> Path:
    """Write a reconstructed SPECT (PS3.3, C.8.4.15), its place in the detector's item.

    Args:
        array: Stored values of shape (time slot, i, j, k).
        affine: 4x4 from voxel indices to RAS millimetres, slices along the normal.
        downwards: Write the slices from the last to the first, with a negative SpacingBetweenSlices.
    """
    lps = LPS_OF_RAS @ np.asarray(affine, dtype=np.float64)
    steps = np.sqrt((lps[:3, :3] ** 2).sum(0))
    slots, count = array.shape[0], array.shape[3]
    order = range(count - 1, -1, -1) if downwards else range(count)
    dataset = make_object(path, np.stack([array[t, :, :, k] for t in range(slots) for k in order]), "", "NM")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = NuclearMedicineImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    dataset.FrameIncrementPointer = [0x00540080] if slots == 1 else [0x00540070, 0x00540080]
    dataset.SliceVector, dataset.NumberOfSlices = [*range(1, count + 1)] * slots, count
    if slots > 1:
        dataset.TimeSlotVector = [slot for slot in range(1, slots + 1) for _ in range(count)]
    dataset.PixelSpacing = [float(steps[1]), float(steps[0])]
    dataset.SliceThickness, dataset.SpacingBetweenSlices = float(steps[2]), float(-steps[2] if downwards else steps[2])
    detector = Dataset()
    detector.ImagePositionPatient = [round(float(v), 6) for v in lps[:3] @ [0, 0, order[0], 1]]
    detector.ImageOrientationPatient = [round(float(v), 8) for v in (*lps[:3, 0] / steps[0], *lps[:3, 1] / steps[1])]
    dataset.DetectorInformationSequence = [detector]
    if edit is not None:
        edit(dataset)
    dataset.save_as(path, enforce_file_format=True)
    return path
