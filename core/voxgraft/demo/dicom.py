"""Write a volume as a classic DICOM MR series, one file a slice, as scanners send them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..imaging.volume import Array, Volume
from ..support.files import atomic_write

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


@dataclass(frozen=True, slots=True)
class Series:
    """What the headers of a series say beside its geometry.

    Attributes:
        patient: The patient id.
        study: A text that is the same for all series of one study; UIDs follow from it, on every machine.
        number: The series number, different for each series of a study.
        description: What the scanner calls the series.
        kind: The last values of Image Type: `("OTHER",)`, or `("OTHER", "LOCALIZER")`.
    """

    patient: str
    study: str
    number: int
    description: str
    kind: tuple[str, ...] = ("OTHER",)

    @property
    def study_uid(self) -> str:
        return _uid(self.study)

    @property
    def uid(self) -> str:
        return _uid(self.study, str(self.number))


def write_series(volume: Volume, folder: Path, series: Series) -> None:
    """Write one file for each index k of a volume of shape (i, j, k), whole or not at all.

    Index i runs along a slice's rows, j down its columns, and k along the normal of the slices, so that readers which
    sort slices along that normal give the same indices back. File names and instance numbers follow k.

    Args:
        volume: Right-handed, (i, j, k).
        folder: Is replaced whole.
        series: What headers say beside the geometry.

    Raises:
        DataError: The axes are not orthogonal or left-handed, voxels are not whole numbers from 0 to 65535, or the
            disk is full.
    """
    geometry = _checked_geometry(volume)
    with atomic_write(folder) as temporary:
        temporary.mkdir(parents=True)
        for k in range(volume.shape[2]):
            slice_ = _slice(volume.array[:, :, k].T, geometry, k, series)
            slice_.save_as(temporary / f"{k + 1:04}.dcm", enforce_file_format=True)


def _checked_geometry(volume: Volume) -> Array:
    """The volume's affine in LPS millimetres."""
    if volume.dims != 3 or volume.channels != 1:
        raise DataError("a DICOM series is made of a 3D volume and one channel")
    if not np.issubdtype(volume.array.dtype, np.integer) or volume.array.min() < 0 or volume.array.max() > 65535:
        raise DataError("the voxels of an MR series are whole numbers from 0 to 65535")
    lps: Array = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    directions = lps[:3, :3] / np.array(volume.spacing)
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-5) or np.linalg.det(directions) < 0:
        raise DataError("the axes of a DICOM series are orthogonal, with the slices along the normal of their plane")
    return lps


def _slice(pixels: Array, lps: Array, k: int, series: Series) -> FileDataset:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MR_IMAGE
    meta.MediaStorageSOPInstanceUID = _uid(series.study, str(series.number), str(k))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR_IMAGE, meta.MediaStorageSOPInstanceUID
    _describe(dataset, series)
    _acquire(dataset)
    _place(dataset, lps, k)
    dataset.InstanceNumber = k + 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
    return dataset


def _describe(dataset: Dataset, series: Series) -> None:
    """Patient, study, series, frame of reference and equipment."""
    dataset.PatientName, dataset.PatientID = f"{series.patient}^NOBODY", series.patient
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyInstanceUID, dataset.StudyID = series.study_uid, "1"
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20200101"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "120000"
    dataset.StudyDescription = "VoxGraft demo, made of a template"
    dataset.ReferringPhysicianName, dataset.AccessionNumber = "", ""
    dataset.Modality, dataset.SeriesInstanceUID = "MR", series.uid
    dataset.SeriesNumber, dataset.SeriesDescription = series.number, series.description
    dataset.BodyPartExamined, dataset.PatientPosition = "BRAIN", "HFS"
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = _uid(series.study, "frame"), ""
    dataset.Manufacturer, dataset.ManufacturerModelName = "VoxGraft", "Phantom"
    dataset.ImageType, dataset.BurnedInAnnotation = ["DERIVED", "PRIMARY", *series.kind], "NO"


def _acquire(dataset: Dataset) -> None:
    """How an MR scanner would have made such an image."""
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", ""
    dataset.MRAcquisitionType, dataset.EchoTrainLength = "3D", 1
    dataset.RepetitionTime, dataset.EchoTime, dataset.FlipAngle = 25.0, 3.0, 30.0
    dataset.MagneticFieldStrength = 3.0


def _place(dataset: Dataset, lps: Array, k: int) -> None:
    """The slice's plane, position and spacings from the affine in LPS millimetres."""
    width, height, apart = (float(v) for v in np.sqrt((lps[:3, :3] ** 2).sum(0)))
    position = lps[:3, :3] @ np.array([0.0, 0.0, k]) + lps[:3, 3]
    dataset.ImageOrientationPatient = _decimals([*(lps[:3, 0] / width), *(lps[:3, 1] / height)])
    dataset.ImagePositionPatient = _decimals(position)
    dataset.PixelSpacing = _decimals([height, width])
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimals([apart])[0]


def _decimals(numbers: object) -> list[str]:
    """Decimal strings of at most 16 characters, as the DICOM value representation DS has them."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(number) + 0.0) for number in np.asarray(numbers)]


def _uid(*entropy: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["voxgraft demo", *entropy]))
