"""Kinds of DICOM series that scanners, archives and other tools' collections hold, each with what is true of it.

They are those of dicom2nifti's tests and of the collections dcm_qa (of dcm2niix), made anew: small, of invented people,
every voxel and its place known.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from dicom_mosaic import make_mosaic
from dicom_objects import ENHANCED_ULTRASOUND, make_nuclear, make_object
from dicom_series import make_enhanced, make_series

Array = np.ndarray[Any, Any]
Truth = Sequence[tuple[Array, Array]]
"""For each image its voxels, (channel, i, j, k) or (i, j, k), and its affine; none where the series is refused."""

N = 5
A: Array = np.random.default_rng(3).integers(-900, 1100, (8, 7, 6, N)).astype(np.int16)
LARGE: Array = np.random.default_rng(4).integers(-900, 1100, (40, 36, N)).astype(np.int16)
STEPS = np.diag([0.7, 0.8, 2.5, 1.0])


def placed(*columns: tuple[float, float, float]) -> Array:
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns).T
    affine[:3, 3] = [12.5, -80.25, 33.0]
    return affine @ STEPS


AXIAL = placed((-1, 0, 0), (0, -1, 0), (0, 0, 1))
SAGITTAL = placed((0, -1, 0), (0, 0, -1), (1, 0, 0))
CORONAL = placed((-1, 0, 0), (0, 0, -1), (0, -1, 0))
OBLIQUE = placed((-0.36, 0.8, -0.48), (-0.48, -0.6, -0.64), (-0.8, 0, 0.6))
UID = {"SeriesInstanceUID": "1.2.3"}


@dataclass(frozen=True)
class Kind:
    """A kind of series.

    Attributes:
        group: What its kinds have in common.
        make: Writes it into a folder, and gives what is true of it.
        code: The problem by which it is refused; empty where it must be read.
        options: Of the reader.
    """

    group: str
    name: str
    make: Callable[[Path], Truth]
    code: str = ""
    options: Mapping[str, Any] | None = None


def plain(affine: Array, **changes: Any) -> Callable[[Path], Truth]:
    def make(folder: Path) -> Truth:
        make_series(folder, A[0], affine, **changes)
        return [(A[0], affine)]

    return make


def packed(syntax: str) -> Callable[[Path], Truth]:
    def make(folder: Path) -> Truth:
        make_series(folder, LARGE, AXIAL, syntax=syntax)
        return [(LARGE, AXIAL)]

    return make


def volumes(
    values: Sequence[Mapping[str, Any]], order: Sequence[int] = (), edit: Any = None, number: Any = None, **changes: Any
) -> Callable[[Path], Truth]:
    """A series of several volumes in one place; `order` says which is which channel."""

    def make(folder: Path) -> Truth:
        for volume, own in enumerate(values):

            def put(k: int, slice_: Dataset, volume: int = volume) -> None:
                slice_.InstanceNumber = volume + 1 if number is None else number(volume, k)
                if edit is not None:
                    edit(volume, k, slice_)

            make_series(folder / str(volume), A[volume], AXIAL, edit=put, **{**UID, "Modality": "MR", **changes, **own})
        return [(A[list(order) or list(range(len(values)))], AXIAL)]

    return make


def apart(values: Sequence[Mapping[str, Any]], **changes: Any) -> Callable[[Path], Truth]:
    """Several volumes under one series UID that are images of their own."""

    def make(folder: Path) -> Truth:
        for volume, own in enumerate(values):
            make_series(folder / str(volume), A[volume], AXIAL, **{**UID, **changes, **own})
        return [(A[volume], AXIAL) for volume in range(len(values))]

    return make


def private(group: int, creator: str, *elements: tuple[int, str, Sequence[Any]]) -> Any:
    """Private elements, each with a value for every volume; None writes none."""

    def edit(volume: int, _: int, slice_: Dataset) -> None:
        block = slice_.private_block(group, creator, create=True)
        for element, vr, values in elements:
            if values[volume] is not None:
                block.add_new(element, vr, values[volume])

    return edit


def moved(aside: Callable[[int], Sequence[float]]) -> Any:
    """Slice k lies so many millimetres off its place."""

    def edit(k: int, slice_: Dataset) -> None:
        place = np.array(slice_.ImagePositionPatient, float) + aside(k)
        slice_.ImagePositionPatient = [round(float(v), 6) for v in place]

    return edit


def tilted(degrees: float) -> Array:
    affine = AXIAL.copy()
    affine[1, 2] += 2.5 * np.tan(np.radians(degrees))
    return affine


def without(number: int) -> Callable[[Path], Truth]:
    def make(folder: Path) -> Truth:
        make_series(folder, A[0], AXIAL)[number].unlink()
        return []

    return make


def copied(**changes: Any) -> Callable[[Path], Truth]:
    """One slice a second time, with changes of its header."""

    def make(folder: Path) -> Truth:
        files = make_series(folder / "a", A[0], AXIAL)
        dataset = dcmread(files[2])
        for name, value in changes.items():
            setattr(dataset, name, value)
        (folder / "b").mkdir()
        dataset.save_as(folder / "b" / "again.dcm")
        return [(A[0], AXIAL)]

    return make


def localizers(slices: int) -> Callable[[Path], Truth]:
    def make(folder: Path) -> Truth:
        if slices:
            make_series(folder / "s", A[0][:, :, :slices], AXIAL, **UID)
        scout = {**UID, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
        make_series(folder / "x", A[1][:, :, :1], CORONAL, **scout)
        make_series(folder / "y", A[2][:, :, :1], SAGITTAL, **scout)
        return [(A[0], AXIAL)]

    return make


def slopes(folder: Path) -> Truth:
    """PET with a slope of its own in each slice."""

    def edit(k: int, slice_: Dataset) -> None:
        slice_.RescaleSlope, slice_.RescaleIntercept, slice_.Units = [0.5, 1.25, 2, 0.25, 3][k], 0, "BQML"

    make_series(folder, A[0], AXIAL, edit=edit, Modality="PT")
    return [((A[0] * np.array([0.5, 1.25, 2, 0.25, 3])).astype(np.float32), AXIAL)]


def hounsfield(folder: Path) -> Truth:
    make_series(folder, (A[0] + 1024).astype(np.uint16), AXIAL, RescaleIntercept=-1024)
    return [(A[0], AXIAL)]


def mosaic(*headers: str, affine: Array = OBLIQUE) -> Callable[[Path], Truth]:
    b_value = private(0x19, "SIEMENS MR HEADER", (0x0C, "IS", ["0", "1000", "1000"]))
    direction = private(0x19, "SIEMENS MR HEADER", (0x0E, "FD", [None, [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))

    def make(folder: Path) -> Truth:
        def edit(volume: int, picture: Dataset) -> None:
            b_value(volume, 0, picture)
            direction(volume, 0, picture)

        make_mosaic(folder, A[:3], affine, headers=headers, edit=edit)
        return [(A[:3], affine)]

    return make


def enhanced(
    values: Sequence[Mapping[str, Any]] = ({},), modality: str = "MR", storage: str = "4.1", edit: Any = None
) -> Callable[[Path], Truth]:
    def make(folder: Path) -> Truth:
        def put(dataset: Dataset) -> None:
            dataset.Modality = modality
            if edit is not None:
                edit(dataset)

        uid = f"1.2.840.10008.5.1.4.1.1.{storage}"
        make_enhanced(folder / "e.dcm", A[: len(values)], OBLIQUE, values=values, edit=put, storage=uid)
        return [(A[0] if len(values) == 1 else A[: len(values)], OBLIQUE)]

    return make


def stacks(folder: Path) -> Truth:
    """Two stacks of one enhanced object."""
    for number, affine in enumerate((AXIAL, CORONAL)):
        make_enhanced(folder / f"{number}.dcm", A[number : number + 1], affine, values=[{"StackID": str(number + 1)}])
    one, two = (dcmread(folder / f"{number}.dcm") for number in range(2))
    for frame in one.PerFrameFunctionalGroupsSequence:
        frame.PlaneOrientationSequence = one.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for frame in two.PerFrameFunctionalGroupsSequence:
        frame.PlaneOrientationSequence = two.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    del one.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    one.PerFrameFunctionalGroupsSequence.extend(two.PerFrameFunctionalGroupsSequence)
    one.NumberOfFrames, one.PixelData = 2 * N, one.PixelData + two.PixelData
    (folder / "1.dcm").unlink()
    one.save_as(folder / "0.dcm")
    return [(A[0], AXIAL), (A[1], CORONAL)]


def lost_frame(dataset: Dataset) -> None:
    size = len(dataset.PixelData) // N
    places = [float(one.PlanePositionSequence[0].ImagePositionPatient[2]) for one in _groups(dataset)]
    middle = int(np.argsort(places)[2])
    del dataset.PerFrameFunctionalGroupsSequence[middle]
    dataset.NumberOfFrames = N - 1
    dataset.PixelData = dataset.PixelData[: size * middle] + dataset.PixelData[size * (middle + 1) :]


def _groups(dataset: Dataset) -> Any:
    return dataset.PerFrameFunctionalGroupsSequence


def ultrasound(folder: Path) -> Truth:
    dataset = make_object(folder / "us.dcm", A[0].transpose(2, 0, 1), ENHANCED_ULTRASOUND, "US")
    dataset.SharedFunctionalGroupsSequence = [Dataset()]
    dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(N)]
    dataset.save_as(folder / "us.dcm", enforce_file_format=True)
    return []


def film(storage: str, modality: str) -> Callable[[Path], Truth]:
    def make(folder: Path) -> Truth:
        dataset = make_object(folder / "f.dcm", A[0].transpose(2, 0, 1), f"1.2.840.10008.5.1.4.1.1.{storage}", modality)
        dataset.save_as(folder / "f.dcm", enforce_file_format=True)
        return []

    return make


def nuclear(slots: int, kind: str, downwards: bool) -> Callable[[Path], Truth]:
    def make(folder: Path) -> Truth:
        make_nuclear(folder / "nm.dcm", A[:slots], OBLIQUE, kind=kind, downwards=downwards)
        return [(A[0] if slots == 1 else A[:slots], OBLIQUE)]

    return make


def captures(folder: Path) -> Truth:
    """Secondary captures: pictures without a place."""

    def edit(_: int, picture: Dataset) -> None:
        picture.SOPClassUID = picture.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"):
            delattr(picture, name)

    make_series(folder, A[0], AXIAL, edit=edit, Modality="OT")
    return [(A[0][:, :, k], np.diag([-0.7, -0.8, 1, 1])) for k in range(N)]


def colours(folder: Path) -> Truth:
    array = np.abs(A[:3]).astype(np.uint8)

    def edit(k: int, slice_: Dataset) -> None:
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation, slice_.PlanarConfiguration = 3, "RGB", 0
        slice_.PixelData = np.ascontiguousarray(array[:, :, :, k].transpose(2, 1, 0)).tobytes()

    make_series(folder, array[0], AXIAL, edit=edit)
    return [(array, AXIAL)]


def rewritten(save: Callable[[Dataset, Path], None]) -> Callable[[Path], Truth]:
    def make(folder: Path) -> Truth:
        for file in make_series(folder, A[0], AXIAL):
            save(dcmread(file), file)
        return [(A[0], AXIAL)]

    return make


def big_endian(dataset: Dataset, file: Path) -> None:
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.2"
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    dcmwrite(file, dataset, implicit_vr=False, little_endian=False, force_encoding=True)


def deflated(dataset: Dataset, file: Path) -> None:
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    dataset.save_as(file)


def bare(dataset: Dataset, file: Path) -> None:
    """Implicit, without preamble and without the header of the file."""
    del dataset.file_meta, dataset.preamble
    dataset.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=False)


def spread(folder: Path) -> Truth:
    for k, file in enumerate(make_series(folder, A[0], AXIAL)):
        (folder / str(k)).mkdir()
        shutil.move(file, folder / str(k) / "IM")
    return [(A[0], AXIAL)]


def cut(folder: Path) -> Truth:
    file = make_series(folder, A[0], AXIAL)[4]
    file.write_bytes(file.read_bytes()[:-20])
    return []


def sizes(folder: Path) -> Truth:
    make_series(folder / "0", A[0], AXIAL, **UID)
    make_series(folder / "1", A[1][:5], AXIAL, **UID)
    return [(A[0], AXIAL), (A[1][:5], AXIAL)]


def few(slices: int) -> Callable[[Path], Truth]:
    def make(folder: Path) -> Truth:
        make_series(folder, A[0][:, :, :slices], AXIAL)
        return [(A[0][:, :, :slices], AXIAL)]

    return make


def frames_half(k: int, slice_: Dataset) -> None:
    slice_.FrameOfReferenceUID = "1.2.9" if k > 2 else "1.2.8"


M, P = ["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]
INTERLEAVED = [1, 4, 2, 5, 3]


def running(volume: int, k: int, slice_: Dataset) -> None:
    slice_.AcquisitionTime = f"1010{volume * 10 + INTERLEAVED[k]:02}"


def heart(volume: int, k: int, slice_: Dataset) -> None:
    slice_.TriggerTime = 100 * volume + 3 * k


def numbered(order: Callable[[int], int]) -> Any:
    def edit(k: int, slice_: Dataset) -> None:
        slice_.InstanceNumber = order(k)

    return edit


def lacking(_: int, slice_: Dataset) -> None:
    del slice_.ImagePositionPatient


PHILIPS, GE, SIEMENS = "Philips Imaging DD 001", "GEMS_PARM_01", "SIEMENS MR HEADER"
SIEMENS_DWI = private(
    0x19, SIEMENS, (0x0C, "IS", ["0", "800", "800"]), (0x0E, "FD", [None, [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
)
GE_DWI = private(0x43, GE, (0x39, "IS", [[0, 8, 0, 0], [1000000700, 8, 0, 0], [1000001000, 8, 0, 0]]))


def philips_label(volume: int, _: int, slice_: Dataset) -> None:
    for number in range(5):
        slice_.private_block(0x2005, f"Philips MR Imaging DD 00{number + 1}", create=True)
    slice_.add_new(0x20051429, "CS", ("CONTROL", "LABEL")[volume])


KINDS = (
    Kind("geometry", "axial CT", plain(AXIAL)),
    Kind("geometry", "sagittal MR", plain(SAGITTAL, Modality="MR")),
    Kind("geometry", "coronal MR", plain(CORONAL, Modality="MR")),
    Kind("geometry", "oblique MR", plain(OBLIQUE, Modality="MR")),
    Kind("geometry", "one slice", few(1)),
    Kind("geometry", "two slices", few(2)),
    Kind("geometry", "instance numbers from head to foot", plain(AXIAL, edit=numbered(lambda k: N - k))),
    Kind("geometry", "interleaved instance numbers", plain(AXIAL, edit=numbered(lambda k: INTERLEAVED[k]))),
    Kind("geometry", "gantry tilt", plain(tilted(18))),
    Kind(
        "geometry",
        "gantry tilt that grows",
        plain(AXIAL, edit=moved(lambda k: [0, 0.3 * k * k, 0])),
        "gantry-tilt",
    ),
    Kind("geometry", "slice missing in the middle", without(2), "missing-slice"),
    Kind(
        "geometry",
        "irregular spacing",
        plain(AXIAL, edit=moved(lambda k: [0, 0, 0.6 * (k == 2)])),
        "irregular-spacing",
    ),
    Kind(
        "geometry",
        "one slice shifted aside",
        plain(AXIAL, edit=moved(lambda k: [3 * (k == 2), 0, 0])),
        "shifted-slice",
    ),
    Kind("geometry", "no positions", plain(AXIAL, edit=lacking), "no-geometry"),
    Kind("geometry", "localizers among the slices", localizers(N)),
    Kind("geometry", "localizers alone", localizers(0), "mixed-orientation"),
    Kind("files", "slice copied", copied()),
    Kind("files", "slice sent again with another header", copied(InstitutionName="elsewhere", PatientName="New^Name")),
    Kind("files", "slice sent again with other voxels", copied(RescaleIntercept=7), "altered-copy"),
    Kind("files", "last slice cut short", cut, "truncated"),
    Kind("files", "each slice in a folder of its own, without an ending", spread),
    Kind("files", "files that end in .img", plain(AXIAL, name="{:04d}.img")),
    Kind("files", "blank UIDs", plain(AXIAL, SeriesInstanceUID="", StudyInstanceUID="")),
    Kind("files", "two patients under one UID", apart([{"PatientID": "P1"}, {"PatientID": "P2"}])),
    Kind("files", "two studies under one UID", apart([{"StudyInstanceUID": "1.2.8"}, {"StudyInstanceUID": "1.2.9"}])),
    Kind("files", "CT and MR under one UID", apart([{"Modality": "CT"}, {"Modality": "MR"}])),
    Kind("files", "two sizes under one UID", sizes),
    Kind("files", "two frames of reference, half a scan in each", plain(AXIAL, edit=frames_half), "mixed-frame"),
    Kind("files", "two kernels under one UID", apart([{"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}])),
    Kind("volumes", "echoes", volumes([{"EchoTime": 9}, {"EchoTime": 5}], [1, 0])),
    Kind("volumes", "magnitude and phase", volumes([{"ImageType": M}, {"ImageType": P}])),
    Kind(
        "volumes",
        "echoes of magnitude and phase",
        volumes([{"EchoTime": e, "ImageType": k} for e, k in product((5, 9), (M, P))]),
    ),
    Kind("volumes", "time points", volumes([{"TemporalPositionIdentifier": n} for n in (3, 1, 2)], [1, 2, 0])),
    Kind("volumes", "time points by acquisition times that run on", volumes([{}] * 3, edit=running)),
    Kind("volumes", "phases of the heart", volumes([{}] * 3, edit=heart)),
    Kind("volumes", "dual energy", volumes([{"KVP": 80}, {"KVP": 140}], Modality="CT")),
    Kind("volumes", "flip angles", volumes([{"FlipAngle": 5}, {"FlipAngle": 20}])),
    Kind("volumes", "DWI of Siemens, private", volumes([{}] * 3, [0, 1, 2], edit=SIEMENS_DWI)),
    Kind("volumes", "DWI of Siemens, mosaics by the header of the image", mosaic("image")),
    Kind("volumes", "DWI of Siemens, mosaics by the header of the series", mosaic("series")),
    Kind("volumes", "mosaics from head to foot", mosaic("series", affine=AXIAL @ np.diag([1.0, 1, -1, 1]))),
    Kind("volumes", "mosaics without private headers", mosaic(), "mosaic"),
    Kind("volumes", "DWI of GE, private", volumes([{}] * 3, edit=GE_DWI)),
    Kind(
        "volumes",
        "DWI of Philips, private",
        volumes([{}] * 3, [0, 2, 1], edit=private(0x2001, PHILIPS, (0x03, "FL", [0.0, 1000.0, 500.0]))),
    ),
    Kind(
        "volumes",
        "DWI of Canon, b-value blank for b 0",
        volumes([{"DiffusionBValue": 1000.0}, {}, {"DiffusionBValue": 500.0}], [1, 2, 0]),
    ),
    Kind("volumes", "ASL of Philips, label and control, private", volumes([{}] * 2, edit=philips_label)),
    Kind(
        "volumes",
        "ASL, label and control at each time",
        volumes([{"TemporalPositionIdentifier": t, "ASLContext": c} for t, c in product((1, 2), ("CONTROL", "LABEL"))]),
    ),
    Kind(
        "volumes",
        "magnitude, phase, real and imaginary of GE, private",
        volumes([{}] * 4, edit=private(0x43, GE, (0x2F, "SS", [0, 1, 2, 3]))),
    ),
    Kind("volumes", "one volume counted after the other", volumes([{}] * 3, number=lambda v, k: 1 + v * N + k)),
    Kind(
        "volumes",
        "the volumes of each slice counted together",
        volumes([{}] * 3, number=lambda v, k: 1 + v + 3 * k),
        "several-volumes",
    ),
    Kind("volumes", "volumes that nothing distinguishes", volumes([{}] * 2, number=lambda v, k: 1), "several-volumes"),
    Kind("objects", "enhanced MR", enhanced()),
    Kind("objects", "enhanced CT", enhanced(modality="CT", storage="2.1")),
    Kind("objects", "enhanced PET", enhanced(modality="PT", storage="130"), options={"pet": "stored"}),
    Kind("objects", "legacy converted enhanced CT", enhanced(modality="CT", storage="2.2")),
    Kind("objects", "CT of a C-arm (X-Ray 3D)", enhanced(modality="XA", storage="13.1.1")),
    Kind("objects", "enhanced MR, time points", enhanced([{"TemporalPositionIndex": n} for n in (1, 2, 3)])),
    Kind(
        "objects",
        "enhanced MR, echoes and b-values",
        enhanced([{"EffectiveEchoTime": e, "DiffusionBValue": b} for e, b in product((1.0, 2.0), (0.0, 5.0))]),
    ),
    Kind("objects", "enhanced MR, two stacks", stacks),
    Kind("objects", "enhanced MR, a frame lost", enhanced(edit=lost_frame), "missing-slice"),
    Kind("objects", "enhanced ultrasound volume", ultrasound, "multi-frame"),
    Kind("objects", "SPECT, from head to foot", nuclear(1, "RECON TOMO", True)),
    Kind("objects", "SPECT, gated", nuclear(2, "RECON GATED TOMO", False)),
    Kind("objects", "SPECT, projections", nuclear(1, "TOMO", False), "multi-frame"),
    Kind("objects", "film of fluoroscopy", film("12.1", "XA"), "multi-frame"),
    Kind("objects", "CT of many frames without places", film("2", "CT"), "multi-frame"),
    Kind("objects", "secondary captures", captures),
    Kind("values", "CT with an intercept", hounsfield),
    Kind("values", "PET with a slope for each slice", slopes, options={"pet": "stored"}),
    Kind("values", "colour slices", colours),
    Kind("values", "implicit VR without preamble", rewritten(bare)),
    Kind("values", "big endian", rewritten(big_endian)),
    Kind("values", "deflated", rewritten(deflated)),
    Kind("values", "RLE", packed(RLELossless)),
    Kind("values", "JPEG-LS", packed(JPEGLSLossless)),
    Kind("values", "JPEG 2000", packed(JPEG2000Lossless)),
)
