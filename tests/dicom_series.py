"""DICOM series of known geometry, written for tests: regular ones, and by small edits every kind of bad one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    generate_uid,
)

LPS_OF_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
STORAGE = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}


def make_series(
    folder: Path,
    array: np.ndarray[Any, Any],
    affine: np.ndarray[Any, Any],
    *,
    edit: Callable[[int, Dataset], None] | None = None,
    name: str = "{:04d}.dcm",
    syntax: str | None = ExplicitVRLittleEndian,
    **changes: Any,
) -> list[Path]:
    """Write each slice of `array` as a classic single-frame file, and return the files in the order of the slices.

    Args:
        array: Stored values of shape (i, j, k) = (columns, rows, slices), of an integer type with 8, 16 or 32 bits.
        affine: 4x4 from voxel indices to RAS millimetres. Any affine is written as it is, tilted ones too.
        edit: Called with (k, dataset) before a slice is written, to spoil it; it may set `dataset.file_meta` too.
        name: The name of the k-th file.
        syntax: The transfer syntax; little endian explicit, implicit, or a compressed one that pydicom can write;
            None where `edit` has put in compressed pixels and their syntax.
        changes: Attributes of every slice, such as `Modality="MR"` or `SeriesInstanceUID="1.2.3"`; None removes one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = LPS_OF_RAS @ np.asarray(affine, dtype=np.float64)
    steps = np.sqrt((lps[:3, :3] ** 2).sum(0))
    shared: dict[str, Any] = {
        "Modality": "CT",
        "PatientID": "P1",
        "PatientName": "Test^Case",
        "PatientBirthDate": "",
        "PatientSex": "O",
        "StudyDate": "20200101",
        "StudyTime": "120000",
        "StudyID": "1",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "SeriesNumber": 1,
        "SeriesDescription": folder.name,
        "StudyInstanceUID": generate_uid(entropy_srcs=["study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["series", str(folder)]),
        "FrameOfReferenceUID": generate_uid(entropy_srcs=["frame"]),
        "PositionReferenceIndicator": "",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SliceThickness": round(float(steps[2]), 6),
        "PixelSpacing": [round(float(steps[1]), 8), round(float(steps[0]), 8)],
        "ImageOrientationPatient": [round(float(v), 8) for v in (*lps[:3, 0] / steps[0], *lps[:3, 1] / steps[1])],
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    }
    shared |= changes
    return [
        _write(folder / name.format(k), array[:, :, k], lps[:3] @ [0, 0, k, 1], k, shared, edit, syntax)
        for k in range(array.shape[2])
    ]


def _write(
    path: Path,
    plane: np.ndarray[Any, Any],
    position: np.ndarray[Any, Any],
    k: int,
    shared: dict[str, Any],
    edit: Callable[[int, Dataset], None] | None,
    syntax: str | None,
) -> Path:
    """Write one slice; `plane` has shape (columns, rows), `position` is in LPS millimetres."""
    storage = STORAGE.get(str(shared["Modality"]), CTImageStorage)
    instance = generate_uid(entropy_srcs=["instance", str(path)])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = storage, instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.InstanceNumber = storage, instance, k + 1
    dataset.ImagePositionPatient = [round(float(v), 6) for v in position]
    for key, value in shared.items():
        if value is not None:
            setattr(dataset, key, value)
    bits = plane.dtype.itemsize * 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = plane.shape[1], plane.shape[0]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(plane.dtype.kind == "i")
    dataset.add_new("PixelData", "OB" if bits == 8 else "OW", plane.T.astype(plane.dtype.newbyteorder("<")).tobytes())
    if edit is not None:
        edit(k, dataset)
    if syntax is not None and syntax not in (ExplicitVRLittleEndian, "1.2.840.10008.1.2"):
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=True, enforce_file_format=True)
    return path


def make_enhanced(
    path: Path,
    array: np.ndarray[Any, Any],
    affine: np.ndarray[Any, Any],
    *,
    values: Sequence[Mapping[str, Any]] = ({},),
    scaling: Callable[[int, int], tuple[float, float]] | None = None,
    shuffle: bool = True,
    edit: Callable[[Dataset], None] | None = None,
    syntax: str = ExplicitVRLittleEndian,
    storage: str = EnhancedMRImageStorage,
) -> Path:
    """Write one enhanced multi-frame object, its frames in no order of use.

    Args:
        array: Stored values of shape (channel, i, j, k), 16 bits.
        affine: 4x4 from voxel indices to RAS millimetres.
        values: What to write into the functional groups of each channel: `EffectiveEchoTime`, `DiffusionBValue`,
            `TemporalPositionIndex`, `StackID`, `FrameType`.
        scaling: (slope, intercept) of the frame of (channel, k).
        edit: Called with the whole object before it is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lps = LPS_OF_RAS @ np.asarray(affine, dtype=np.float64)
    steps = np.sqrt((lps[:3, :3] ** 2).sum(0))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = storage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["enhanced", str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PatientID, dataset.SeriesDescription = "MR", "P1", path.stem
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(path.parent)])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    frames = [(c, k) for c in range(array.shape[0]) for k in range(array.shape[3])]
    if shuffle:
        np.random.default_rng(7).shuffle(frames)
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(lps, steps)]
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_groups(lps[:3] @ [0, 0, k, 1], values[c % len(values)], scaling(c, k) if scaling else (1, 0))
        for c, k in frames
    ]
    dataset.NumberOfFrames = len(frames)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = array.shape[2], array.shape[1]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, int(array.dtype.kind == "i")
    pixels = np.stack([array[c, :, :, k].T for c, k in frames])
    dataset.add_new("PixelData", "OW", pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
    if edit is not None:
        edit(dataset)
    if syntax != ExplicitVRLittleEndian:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return path


def _shared_groups(lps: np.ndarray[Any, Any], steps: np.ndarray[Any, Any]) -> Dataset:
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [round(float(steps[1]), 8), round(float(steps[0]), 8)]
    measures.SliceThickness = round(float(steps[2]), 6)
    cosines = (*lps[:3, 0] / steps[0], *lps[:3, 1] / steps[1])
    orientation.ImageOrientationPatient = [round(float(v), 8) for v in cosines]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    return shared


def _frame_groups(position: np.ndarray[Any, Any], values: Mapping[str, Any], scale: tuple[float, float]) -> Dataset:
    groups, place, content, transformation = Dataset(), Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = [round(float(v), 6) for v in position]
    transformation.RescaleSlope, transformation.RescaleIntercept = scale
    transformation.RescaleType = "US"
    groups.PlanePositionSequence, groups.PixelValueTransformationSequence = [place], [transformation]
    groups.FrameContentSequence = [content]
    for name, value in values.items():
        sequence = _GROUP_OF.get(name)
        if sequence is None:
            setattr(content, name, value)
            continue
        item = (groups.get(sequence) or [Dataset()])[0]
        setattr(item, name, value)
        setattr(groups, sequence, [item])
    return groups


_GROUP_OF = {
    "EffectiveEchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "FrameType": "MRImageFrameTypeSequence",
}
