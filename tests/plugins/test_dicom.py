"""DICOM series: sorted, placed and scaled as SimpleITK says where they are good, refused by name where they are bad."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid

from dicom_series import make_series
from voxgraft.errors import BadImage
from voxgraft.imaging.volume import Item, Volume
from voxgraft_dicom.reader.header import TAGS, read_header
from voxgraft_dicom.reader.reader import DicomReader

ARRAY = np.random.default_rng(0).integers(-900, 1100, (7, 6, 9)).astype(np.int16)
STEPS = np.diag([0.7, 0.8, 2.5, 1.0])


def placed(*columns: tuple[float, float, float]) -> np.ndarray[Any, Any]:
    """An affine with these directions of i, j and k, the steps above, and some origin."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.array(columns).T, [12.5, -80.25, 33.0]
    return affine @ STEPS


AXIAL = placed((-1, 0, 0), (0, -1, 0), (0, 0, 1))
CORONAL = placed((-1, 0, 0), (0, 0, -1), (0, -1, 0))
SAGITTAL = placed((0, -1, 0), (0, 0, -1), (1, 0, 0))
OBLIQUE = placed((-0.36, 0.8, -0.48), (-0.48, -0.6, -0.64), (-0.8, 0.0, 0.6))
ORIENTATIONS = {"axial": AXIAL, "coronal": CORONAL, "sagittal": SAGITTAL, "oblique": OBLIQUE}


def scan(files: list[Path]) -> Item:
    (item,) = DicomReader().scan(files)
    return item


def read(files: list[Path]) -> Volume:
    return DicomReader().read(scan(files))


def codes(item: Item) -> list[str]:
    return [problem.code for problem in item.problems]


def refused(files: list[Path], code: str) -> str:
    """The message with which a series is refused for one reason."""
    item = scan(files)
    assert [problem.code for problem in item.errors] == [code], item.problems
    with pytest.raises(BadImage):
        DicomReader().read(item)
    return item.errors[0].message


def by_simpleitk(files: tuple[Path, ...]) -> Any:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    return reader.Execute()


def assert_same_place(volume: Volume, truth: Any, within: float = 0.01) -> None:
    """Corners and an odd voxel lie where SimpleITK says, in millimetres."""
    i, j, k = (n - 1 for n in volume.shape)
    for index in [(0, 0, 0), (i, 0, 0), (0, j, 0), (0, 0, k), (i, j, k), (3, 2, 1)]:
        ours = (volume.affine @ [*index, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(ours, truth.TransformIndexToPhysicalPoint(index), atol=within)


@pytest.mark.parametrize("series", ["12-T1post-05670", "13_HCropVolume", "36459-FLAIRreg-76244"])
def test_the_study_is_read_as_simpleitk_reads_it(data: Path, series: str) -> None:
    files = sorted((data / "dicom_study" / series).iterdir(), key=lambda file: file.name[::-1])
    volume, names = read(files), sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(data / "dicom_study" / series))
    assert volume.item is not None and list(map(str, volume.item.files)) == list(names)
    truth = by_simpleitk(volume.item.files)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(truth).T)
    assert_same_place(volume, truth)
    assert volume.array.dtype == np.int16 and volume.item.problems == ()


def test_a_study_of_several_series_in_one_tree_is_told_apart(data: Path) -> None:
    files = sorted((data / "dicom_study").rglob("*.dcm"))
    items = {item.description: item for item in DicomReader().scan(files)}
    assert {name: item.shape for name, item in items.items()} == {
        "T1post": (512, 512, 22),
        "FLAIR_reg": (512, 512, 22),
        "HippoCrop": (35, 51, 32),
    }
    assert items["HippoCrop"].path == data / "dicom_study" / "13_HCropVolume"
    assert len({item.series for item in items.values()}) == 3
    assert len({item.facts["study"] for item in items.values()}) == 1 and items["T1post"].facts["frame"]


def test_the_jpeg2000_series_without_uids_is_read(data: Path) -> None:
    folder = data / "ct" / "dicom_jpeg2000"
    volume = read(sorted(folder.iterdir()))
    item = volume.item
    assert item is not None
    assert (item.series, item.path, item.modality) == ("dicom_jpeg2000", folder, "CT")
    assert len(set(item.facts["instances"])) == 20 and all(item.facts["instances"])
    truth = by_simpleitk(item.files)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(truth).T)
    assert_same_place(volume, truth)
    assert volume.array.dtype == np.int16 and volume.array.min() < -900


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("turned", [1, -1])
def test_voxels_lie_where_they_were_put_in_every_orientation(tmp_path: Path, name: str, turned: int) -> None:
    affine = ORIENTATIONS[name] @ np.diag([1, 1, turned, 1])
    files = make_series(tmp_path, ARRAY, affine, Modality="MR")
    np.random.default_rng(3).shuffle(files)  # type: ignore[arg-type]
    volume = read(files)
    assert codes(volume.item) == [] and volume.shape == ARRAY.shape  # type: ignore[arg-type]
    back = np.linalg.inv(affine) @ volume.affine
    for index in [(0, 0, 0), (6, 5, 8), (1, 2, 3)]:
        was = np.rint(back @ [*index, 1])[:3].astype(int)
        assert volume.array[index] == ARRAY[tuple(was)]
        np.testing.assert_allclose((back @ [*index, 1])[:3], was, atol=1e-4)
    assert_same_place(volume, by_simpleitk(volume.item.files))  # type: ignore[union-attr]


def test_the_array_needs_no_copy(tmp_path: Path) -> None:
    assert read(make_series(tmp_path, ARRAY, AXIAL)).array.flags.f_contiguous


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", RLELossless, JPEGLSLossless])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_every_syntax_gives_the_same_voxels(tmp_path: Path, syntax: str, dtype: Any) -> None:
    array = np.random.default_rng(1).integers(0, 250, (36, 33, 3)).astype(dtype)
    volume = read(make_series(tmp_path, array, AXIAL, syntax=syntax))
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == (np.uint8 if dtype == np.uint8 else np.int16)


def test_a_deflated_a_big_endian_and_a_jpeg_lossless_file_are_read() -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    names = ["MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm"]
    first, *others = [read([folder / name]).array for name in names]
    for other in others:
        np.testing.assert_array_equal(first, other)
    assert read([folder / "image_dfl.dcm"]).shape == (512, 512)
    colours = read([folder / "SC_rgb_jpeg_gdcm.dcm"]), read([folder / "SC_rgb_rle.dcm"])
    np.testing.assert_array_equal(colours[0].array, colours[1].array)
    assert colours[0].array.shape == (3, 100, 100) and colours[0].dims == 2


@pytest.mark.filterwarnings("ignore")
def test_headers_say_what_pydicom_says() -> None:
    files = [f for f in (Path(pydicom.__file__).parent / "data" / "test_files").rglob("*") if f.is_file()]
    walked = 0
    for file in files:
        header = read_header(file)
        if header is None or not header.plain:
            continue
        truth, walked = pydicom.dcmread(file, stop_before_pixels=True, force=True), walked + 1
        for name, tag in TAGS.items():
            theirs = (truth.file_meta if tag >> 16 == 2 else truth).get(name)
            if name.endswith("Sequence"):
                assert header.text(name) == ("present" if theirs is not None else ""), (file.name, name)
            elif isinstance(theirs, (str, pydicom.uid.UID)):
                assert header.text(name) == theirs.strip(), (file.name, name)
            elif isinstance(theirs, (int, float)):
                assert header.number(name, -7) == float(theirs), (file.name, name)
    assert walked > 100


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept", "expected"),
    [
        (np.int16, 1, -1024, np.int16),
        (np.uint16, 1, -1024, np.int16),
        (np.uint8, 1, 0, np.uint8),
        (np.uint8, 1, -30, np.int16),
        (np.int16, 2, 0, np.float32),
        (np.int16, 1, 0.5, np.float32),
        (np.int16, 1, 40000, np.uint16),
        (np.int16, 1, -33000, np.int32),
        (np.int32, 1, 5, np.int16),
    ],
)
def test_intensities_are_rescaled_and_whole_numbers_stay_whole(
    tmp_path: Path, dtype: Any, slope: float, intercept: float, expected: Any
) -> None:
    array = np.abs(ARRAY).clip(0, 250).astype(dtype)
    volume = read(make_series(tmp_path, array, AXIAL, RescaleSlope=slope, RescaleIntercept=intercept))
    assert volume.array.dtype == expected
    np.testing.assert_allclose(volume.array, array * float(slope) + intercept)


def test_each_slice_is_rescaled_by_its_own_numbers(tmp_path: Path) -> None:
    def edit(k: int, slice_: Dataset) -> None:
        slice_.RescaleSlope, slice_.RescaleIntercept = 1 + k, -10 * k

    volume = read(make_series(tmp_path, ARRAY, AXIAL, edit=edit))
    expected = ARRAY * (1.0 + np.arange(9)) - 10.0 * np.arange(9)
    np.testing.assert_allclose(volume.array, expected)
    np.testing.assert_allclose(volume.array, sitk.GetArrayFromImage(by_simpleitk(volume.item.files)).T)  # type: ignore[union-attr]


def test_bits_beside_the_stored_ones_are_not_intensity(tmp_path: Path) -> None:
    array = (np.abs(ARRAY) | 0x3000).astype(np.uint16)

    def edit(_: int, slice_: Dataset) -> None:
        slice_.BitsStored, slice_.HighBit = 12, 11

    volume = read(make_series(tmp_path, array, AXIAL, edit=edit))
    np.testing.assert_array_equal(volume.array, array & 0x0FFF)
    signed = read(make_series(tmp_path / "signed", (ARRAY & 0x0FFF).astype(np.int16), AXIAL, edit=edit))
    np.testing.assert_array_equal(signed.array, ARRAY)


def test_a_missing_slice_is_named_with_its_place(tmp_path: Path) -> None:
    files = make_series(tmp_path, ARRAY, AXIAL)
    message = refused(files[:4] + files[5:], "missing-slice")
    assert "between its slices 4 and 5" in message and "5.00 mm" in message and message.endswith(": 1")
    assert refused(files[:3] + files[5:], "missing-slice").endswith(": 2")


def test_irregular_steps_are_refused_and_rounded_ones_are_not(tmp_path: Path) -> None:
    def moved(by: float) -> Callable[[int, Dataset], None]:
        def edit(k: int, slice_: Dataset) -> None:
            x, y, z = slice_.ImagePositionPatient
            slice_.ImagePositionPatient = [x, y, float(z) + (by if k == 4 else 0.0)]

        return edit

    files = make_series(tmp_path / "off", ARRAY, AXIAL, edit=moved(0.8))
    assert "slice 5 is 0.80 mm off" in refused(files, "irregular-spacing")
    assert codes(scan(make_series(tmp_path / "rounded", ARRAY, AXIAL, edit=moved(0.05)))) == []


def test_a_tilted_gantry_is_named(tmp_path: Path) -> None:
    tilted = AXIAL.copy()
    tilted[:3, 2] = [0, 2.5 * np.tan(np.radians(12)), 2.5]
    volume = read(make_series(tmp_path, ARRAY, tilted))
    assert volume.item is not None and [(one.code, one.severity) for one in volume.item.problems] == [
        ("gantry-tilt", "warning")
    ]
    assert "12.0 degrees" in volume.item.problems[0].message
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.affine, tilted, atol=1e-5)


def test_one_shifted_slice_is_named(tmp_path: Path) -> None:
    def edit(k: int, slice_: Dataset) -> None:
        x, y, z = slice_.ImagePositionPatient
        slice_.ImagePositionPatient = [x, float(y) + (3 if k == 2 else 0), z]

    assert "slice 3 is shifted 3.0 mm" in refused(make_series(tmp_path, ARRAY, AXIAL, edit=edit), "shifted-slice")


def test_a_second_slice_in_one_place_is_refused_unless_it_is_the_same_file(tmp_path: Path) -> None:
    files = make_series(tmp_path / "a", ARRAY, AXIAL, SeriesInstanceUID="1.2.3")
    copy = Path(shutil.copy(files[3], tmp_path / "copy.dcm"))
    item = scan([*files, copy])
    assert [(one.code, one.severity) for one in item.problems] == [("duplicate-file", "repair")]
    np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY)
    other = make_series(tmp_path / "b", ARRAY[:, :, 3:4] + 1, AXIAL @ _moved(3), SeriesInstanceUID="1.2.3")
    assert "1 of its 9 places" in refused([*files, *other], "duplicate-slice")


def _moved(slices: int) -> np.ndarray[Any, Any]:
    moved = np.eye(4)
    moved[2, 3] = slices
    return moved


def test_mixed_orientations_and_sizes_are_counted(tmp_path: Path) -> None:
    same = {"SeriesInstanceUID": "1.2.3"}
    axial = make_series(tmp_path / "axial", ARRAY, AXIAL, **same)
    coronal = make_series(tmp_path / "coronal", ARRAY[:, :, :2], CORONAL, **same)
    small = make_series(tmp_path / "small", ARRAY[:5, :, :1], AXIAL @ _moved(20), **same)
    coarse = make_series(tmp_path / "coarse", ARRAY[:, :, :1], AXIAL @ np.diag([2, 2, 1, 1]) @ _moved(20), **same)
    assert refused([*axial, *coronal], "mixed-orientation").endswith("9 axial, 2 coronal")
    assert "9 of 7x6" in (message := refused([*axial, *small], "mixed-size")) and "1 of 5x6" in message
    assert "at 0.8x0.7 mm" in refused([*axial, *coarse], "mixed-size")


def test_localizers_are_left_out_of_a_volume_and_named_alone(tmp_path: Path) -> None:
    scout = {"SeriesInstanceUID": "1.2.3", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    axial = make_series(tmp_path / "axial", ARRAY, AXIAL, SeriesInstanceUID="1.2.3")
    scouts = make_series(tmp_path / "s1", ARRAY[:, :, :1], CORONAL, **scout)
    scouts += make_series(tmp_path / "s2", ARRAY[:, :, :1], SAGITTAL, **scout)
    item = scan([*scouts, *axial])
    assert [(one.code, one.severity) for one in item.problems] == [("localizer", "repair")]
    np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY)
    assert "localizers: 1 coronal, 1 sagittal" in refused(scouts, "mixed-orientation")


@pytest.mark.parametrize(
    ("changes", "spacing", "found"),
    [
        ({}, 2.5, []),
        ({"SliceThickness": None, "SpacingBetweenSlices": 4}, 4, []),
        ({"SliceThickness": None}, 1, ["no-thickness"]),
    ],
)
def test_one_slice_is_a_volume_as_thick_as_it_says(
    tmp_path: Path, changes: dict[str, Any], spacing: float, found: list[str]
) -> None:
    volume = read(make_series(tmp_path, ARRAY[:, :, :1], OBLIQUE, **changes))
    assert volume.shape == (7, 6, 1) and volume.spacing == pytest.approx((0.7, 0.8, spacing))
    assert codes(volume.item) == found  # type: ignore[arg-type]


NOWHERE: dict[str, Any] = {"ImageOrientationPatient": None, "FrameOfReferenceUID": None}


def lost(_: int, slice_: Dataset) -> None:
    del slice_.ImagePositionPatient


def test_images_without_a_place_are_images_of_two_axes(tmp_path: Path) -> None:
    def edit(k: int, image: Dataset) -> None:
        lost(k, image)
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"

    changes = NOWHERE | {"Modality": "DX", "PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.1]}
    files = make_series(tmp_path, ARRAY, AXIAL, edit=edit, **changes)
    items = DicomReader().scan(files)
    assert len(items) == len({item.series for item in items}) == 9
    volume = DicomReader().read(items[4])
    np.testing.assert_array_equal(volume.array, ARRAY[:, :, [f == items[4].path for f in files].index(True)])
    assert volume.dims == 2 and volume.spacing == pytest.approx((0.1, 0.2))
    assert scan(files[:1]).series != items[0].series, "an image that is alone in its series has the series' name"


def test_ct_without_a_place_is_refused(tmp_path: Path) -> None:
    assert "9 of its 9" in refused(make_series(tmp_path, ARRAY, AXIAL, edit=lost, **NOWHERE), "no-geometry")


@pytest.mark.parametrize(
    "cosines", [[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 2, 0], [1, 0, 0, 0, 1], ["nan", 0, 0, 0, 1, 0]]
)
@pytest.mark.filterwarnings("ignore")
def test_impossible_directions_are_refused(tmp_path: Path, cosines: list[Any]) -> None:
    files = make_series(tmp_path, ARRAY, AXIAL, ImageOrientationPatient=cosines)
    refused(files, "no-geometry")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"NumberOfFrames": 4}, "multi-frame"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaic"),
        ({"RescaleSlope": 0}, "bad-rescale"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    def edit(_: int, slice_: Dataset) -> None:
        slice_.PixelData = slice_.PixelData * 4
        for key, value in changes.items():
            setattr(slice_, key, value)

    refused(make_series(tmp_path, ARRAY, AXIAL, edit=edit), code)


def test_a_film_is_named() -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    assert "30 frames" in refused([folder / "examples_ybr_color.dcm"], "multi-frame")


def test_objects_without_an_image_are_left_out(tmp_path: Path) -> None:
    def private(_: int, slice_: Dataset) -> None:
        slice_.SOPClassUID = slice_.file_meta.MediaStorageSOPClassUID = "1.3.12.2.1107.5.9.1"
        for name in ("PixelData", "Rows", "Columns"):
            delattr(slice_, name)

    files = make_series(tmp_path / "ct", ARRAY, AXIAL)
    other = make_series(tmp_path / "private", ARRAY[:, :, :1], AXIAL, edit=private)
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    others = [folder / name for name in ("reportsi.dcm", "rtplan.dcm", "rtdose.dcm", "waveform_ecg.dcm")]
    assert codes(scan([*files, *other, *others])) == []
    assert DicomReader().scan([*other, *others]) == []


def test_monochrome1_is_noted_and_left_as_it_is(tmp_path: Path) -> None:
    def edit(_: int, slice_: Dataset) -> None:
        slice_.PhotometricInterpretation = "MONOCHROME1"

    item = scan(make_series(tmp_path, ARRAY, AXIAL, edit=edit))
    assert [(one.code, one.severity) for one in item.problems] == [("monochrome1", "warning")]
    np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY)


def test_series_with_blank_uids_are_parted_by_folder_and_kind(tmp_path: Path) -> None:
    blank = {"StudyInstanceUID": "", "SeriesInstanceUID": ""}
    one = make_series(tmp_path / "one", ARRAY, AXIAL, **blank)
    two = make_series(tmp_path / "two", ARRAY, AXIAL, **blank)
    mixed = make_series(tmp_path / "one", ARRAY, AXIAL, name="b{}.dcm", SeriesDescription="thin", **blank)
    items = DicomReader().scan([*one, *two, *mixed])
    assert sorted((item.series, item.shape[2]) for item in items) == [("one", 9), ("one", 9), ("two", 9)]
    assert all(codes(item) == [] for item in items)


def test_a_series_spread_over_folders_is_one(tmp_path: Path) -> None:
    files = make_series(tmp_path / "tree" / "a", ARRAY, AXIAL)
    (tmp_path / "tree" / "b").mkdir()
    spread = [*files[:5], *(Path(shutil.move(file, tmp_path / "tree" / "b")) for file in files[5:])]
    item = scan(spread)
    assert item.path == tmp_path / "tree" and codes(item) == []


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", RLELossless])
@pytest.mark.parametrize("which", [0, 4, 8])
def test_a_slice_cut_anywhere_refuses_the_series(tmp_path: Path, syntax: str, which: int) -> None:
    files = make_series(tmp_path, ARRAY, AXIAL, syntax=syntax)
    whole = files[which].read_bytes()
    end = len(whole)
    for length in (0, 1, 131, 132, *range(133, end - 30, 41), *range(end - 30, end)):
        files[which].write_bytes(whole[:length])
        item = scan(files)
        assert "truncated" in codes(item), (length, end)
        assert files[which].name in item.errors[0].message
        with pytest.raises(BadImage):
            DicomReader().read(item)


def test_random_bytes_in_a_header_never_crash(tmp_path: Path) -> None:
    files, random = make_series(tmp_path, ARRAY, AXIAL), np.random.default_rng(5)
    whole = files[2].read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(200):
            at = int(random.integers(128, len(whole) - ARRAY[:, :, 0].nbytes))
            spoilt = random.bytes(int(random.integers(1, 6)))
            files[2].write_bytes(whole[:at] + spoilt + whole[at + len(spoilt) :])
            for item in DicomReader().scan(files):
                with suppress(BadImage):
                    assert DicomReader().read(item).shape == item.shape


def test_sequences_without_end_are_no_trap(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, ARRAY[:, :, :1], AXIAL)
    data = path.read_bytes()
    start = data.index(b"\x08\x00\x16\x00UI")
    nested = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(data[:start] + nested * 5000 + data[start:])
    assert [item.errors[0].code for item in DicomReader().scan([path])] == ["truncated"]


def test_a_long_private_header_and_nested_sequences_are_walked(tmp_path: Path) -> None:
    def edit(_: int, slice_: Dataset) -> None:
        block = slice_.private_block(0x29, "TEST", create=True)
        block.add_new(0x10, "OB", bytes(300_000))
        inner, outer = Dataset(), Dataset()
        inner.CodeValue = "1"
        outer.AnatomicRegionModifierSequence = [inner]
        slice_.AnatomicRegionSequence = [outer]
        slice_["AnatomicRegionSequence"].is_undefined_length = True
        slice_["AnatomicRegionSequence"].value[0].is_undefined_length_sequence_item = True

    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"):
        files = make_series(tmp_path / syntax, ARRAY, AXIAL, syntax=syntax, edit=edit)
        assert read_header(files[0]).plain  # type: ignore[union-attr]
        np.testing.assert_array_equal(read(files).array, ARRAY)


def test_files_that_are_no_dicom_stand_alone_or_count_against_their_folder(tmp_path: Path) -> None:
    stray = tmp_path / "note.dcm"
    stray.write_text("no image")
    item = scan([stray])
    assert codes(item) == ["truncated"] and item.path == stray
    files = make_series(tmp_path / "series", ARRAY, AXIAL)
    items = DicomReader().scan([*files, stray])
    assert sorted(map(codes, items)) == [[], ["truncated"]], (
        "a stray file in another folder is not a slice of the series"
    )
    beside = Path(shutil.copy(stray, tmp_path / "series"))
    assert "note.dcm" in refused([*files, beside], "truncated")


def test_a_file_without_the_name_of_its_series_spares_those_it_cannot_belong_to(tmp_path: Path) -> None:
    thin = make_series(tmp_path, ARRAY, AXIAL, SeriesInstanceUID="1.2.3", SeriesDescription="thin")
    thick = make_series(tmp_path, ARRAY, AXIAL, SeriesInstanceUID="1.2.4", SeriesDescription="thick", name="b{}.dcm")
    data = thick[8].read_bytes()
    thick[8].write_bytes(data[: data.index(b"thick") + 5 + 30])
    found = {item.description: codes(item) for item in DicomReader().scan([*thin, *thick])}
    assert found == {"thin": [], "thick": ["truncated"]}


def test_a_series_that_changed_after_the_scan_is_refused(tmp_path: Path) -> None:
    item = scan(make_series(tmp_path, ARRAY, AXIAL))
    make_series(tmp_path, ARRAY, AXIAL @ _moved(1))
    with pytest.raises(BadImage, match="changed"):
        DicomReader().read(item)
    item.files[3].unlink()
    with pytest.raises(BadImage):
        DicomReader().read(item)


def test_a_damaged_compressed_slice_is_said_in_a_sentence(tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 250, (36, 33, 3)).astype(np.uint8)
    files = make_series(tmp_path, array, AXIAL, syntax=JPEGLSLossless)
    data = files[1].read_bytes()
    at = data.index(b"\xff\xd8")
    files[1].write_bytes(data[:at] + bytes(40) + data[at + 40 :])
    with pytest.raises(BadImage, match="JPEG-LS"):
        read(files)


def test_facts_hold_what_writers_of_dicom_need(tmp_path: Path) -> None:
    study = generate_uid()
    item = scan(make_series(tmp_path, ARRAY, AXIAL, StudyInstanceUID=study))
    instances = [str(pydicom.dcmread(file).SOPInstanceUID) for file in item.files]
    assert item.facts["study"] == study and item.facts["instances"] == instances
    assert item.facts["sop_class"] == "1.2.840.10008.5.1.4.1.1.2" and item.patient == "P1"
    assert item.facts["frame"] == str(pydicom.dcmread(item.files[0]).FrameOfReferenceUID)
