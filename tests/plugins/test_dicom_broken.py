"""Broken and odd DICOM: put right exactly and recorded, or refused by name; never a wrong volume in silence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_series import make_enhanced, make_series
from voxgraft.errors import BadImage
from voxgraft.imaging.volume import Item
from voxgraft_dicom.reader.reader import DicomReader
from voxgraft_dicom.reader.series import possible_slices

ARRAY = np.random.default_rng(0).integers(-900, 1100, (7, 6, 5)).astype(np.int16)
AFFINE = np.diag([-0.7, -0.8, 2.5, 1.0])


def scan(files: list[Path]) -> Item:
    (item,) = DicomReader().scan(files)
    return item


def codes(item: Item) -> list[str]:
    return [problem.code for problem in item.problems]


def assert_whole(files: list[Path]) -> Item:
    item = scan(files)
    np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY)
    np.testing.assert_allclose(np.abs(item.affine), np.abs(AFFINE), atol=1e-6)
    return item


@pytest.mark.parametrize("name", ["IM-0001-{:04d}", "{}", "1.2.840.{}.77", "i{}.CTDC.9"])
@pytest.mark.parametrize("length", [0, 1, 100, 131])
def test_a_slice_without_an_ending_cut_before_its_mark_is_missed(tmp_path: Path, name: str, length: int) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE, name=name)
    files[4].write_bytes(files[4].read_bytes()[:length])
    item = scan(files[:4])  # the engine knows files without an ending by the mark that this one has lost
    assert codes(item) == ["truncated"] and files[4].name in item.errors[0].message


def test_files_of_other_names_are_no_slices(tmp_path: Path) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE, name="IM{}")
    for name in ("README", "VERSION", "md5sums.txt", "thumbs.db"):
        (tmp_path / name).write_text("1")
    assert codes(assert_whole(files)) == []


def test_a_slice_without_preamble_beside_others_belongs_to_them(tmp_path: Path) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE, name="IM{}", syntax="1.2.840.10008.1.2")
    files[4].write_bytes(strip(files[4].read_bytes()))
    assert len(assert_whole(files[:4]).files) == 5


def strip(content: bytes) -> bytes:
    """A file without preamble, mark and meta header."""
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_files_without_preamble_and_meta_header_are_read(tmp_path: Path, syntax: str) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE, syntax=syntax)
    for file in files:
        file.write_bytes(strip(file.read_bytes()))
    assert codes(assert_whole(files)) == ["assumed"]  # how they are written
    files[2].write_bytes(files[2].read_bytes()[:-10])
    assert codes(scan(files)) == ["truncated"]


@pytest.mark.parametrize("name", ["BitsStored", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation"])
def test_what_an_image_does_not_say_of_its_pixels_is_assumed_and_said(tmp_path: Path, name: str) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE, edit=lambda k, dataset: delattr(dataset, name))
    assert codes(scan(files)) == ["assumed"]


def test_junk_behind_the_pixels_is_no_harm(tmp_path: Path) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE)
    for file in files:
        file.write_bytes(file.read_bytes() + b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0\0\0\0\0junk" * 3)
    assert codes(assert_whole(files)) == []


def test_private_elements_of_odd_make_are_walked_over(tmp_path: Path) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE)
    for number, file in enumerate(files):
        content = file.read_bytes()
        at = content.index(b"\x20\x00\x0d\x00UI")
        odd = [
            b"\x19\x00\x10\x00LO\x04\x00TEST\x19\x00\x01\x10SH\x03\x00abc",  # an odd length
            b"\x19\x00\x10\x00LO\x04\x00TEST\x19\x00\x01\x10XX\x04\x00abcd",  # a VR that there is not
            b"\x19\x00\x10\x00LO\x04\x00TEST\x19\x00\x01\x10UN\0\0\xff\xff\xff\xff"
            b"\xfe\xff\x00\xe0\x0c\0\0\0\x08\x00\x05\x00\x04\0\0\0abcd\xfe\xff\xdd\xe0\0\0\0\0",
            b"\x19\x00\x10\x00LO\x04\x00TEST\x19\x00\x01\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
            b"\x08\x00\x05\x00SH\x04\0abcd\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
            b"\x19\x00\x10\x00LO\x04\x00TEST\x19\x00\x01\x10DS\x06\x00a\\b,c ",
        ][number]
        file.write_bytes(content[:at] + odd + content[at:])
    assert codes(assert_whole(files)) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("changes", "code", "name"),
    [
        ({"PixelSpacing": ""}, "no-geometry", "PixelSpacing"),
        ({"PixelSpacing": "0,7\\0,8"}, "no-geometry", "PixelSpacing"),
        ({"ImageOrientationPatient": "1\\0\\0\\0\\junk\\0"}, "no-geometry", "ImageOrientationPatient"),
        ({"RescaleSlope": "1,5"}, "bad-rescale", "rescale"),
        ({"RescaleIntercept": "-1024 HU"}, "bad-rescale", "rescale"),
        ({"BitsStored": 17}, "pixel-form", "bits"),
        ({"BitsAllocated": 12}, "pixel-form", "12 bits"),
        ({"SamplesPerPixel": 4}, "truncated", "bytes"),
        ({"Rows": 0}, "pixel-form", "rows"),
        ({"NumberOfFrames": "1A"}, "multi-frame", "frames"),
    ],
)
def test_junk_in_attributes_is_named(tmp_path: Path, changes: dict[str, Any], code: str, name: str) -> None:
    def edit(_: int, slice_: Dataset) -> None:
        with pydicom.config.disable_value_validation():
            for key, value in changes.items():
                slice_[key] = pydicom.DataElement(key, pydicom.datadict.dictionary_VR(key), "1")
                vr = "LO" if isinstance(value, str) else slice_[key].VR
                slice_[key] = pydicom.DataElement(slice_[key].tag, vr, value)

    item = scan(make_series(tmp_path, ARRAY, AFFINE, edit=edit))
    assert [problem.code for problem in item.errors] == [code] and name in item.errors[0].message


def test_an_unknown_transfer_syntax_is_named(tmp_path: Path) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE)
    for file in files:
        file.write_bytes(file.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    assert codes(scan(files)) == ["transfer-syntax"]


def test_one_name_for_all_slices_is_a_warning(tmp_path: Path) -> None:
    def edit(_: int, slice_: Dataset) -> None:
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"

    assert codes(assert_whole(make_series(tmp_path, ARRAY, AFFINE, edit=edit))) == ["repeated-uid"]


def test_one_name_with_two_contents_in_one_place_is_refused(tmp_path: Path) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE)
    content = files[2].read_bytes()
    other = tmp_path / "again.dcm"
    other.write_bytes(content[:-2] + bytes([content[-2] ^ 1, content[-1]]))
    assert "duplicate-slice" in codes(scan([*files, other]))


def test_a_directory_beside_the_slices_is_left_out(tmp_path: Path) -> None:
    directory = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "DICOMDIR"
    files = make_series(tmp_path, ARRAY, AFFINE)
    copy = tmp_path / "DICOMDIR"
    copy.write_bytes(directory.read_bytes())
    assert codes(assert_whole([*files, copy])) == []


def test_a_file_that_changes_between_the_looks_is_refused(tmp_path: Path) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE)
    item = scan(files)
    make_series(tmp_path, ARRAY, AFFINE, RescaleSlope=0)
    with pytest.raises(BadImage, match="changed"):
        DicomReader().read(item)


@pytest.mark.parametrize(
    ("name", "value", "usual", "code"),
    [
        ("RescaleIntercept", -1024, 0, "bad-rescale"),
        ("RescaleSlope", 2, 1, "bad-rescale"),
        ("PhotometricInterpretation", "MONOCHROME1", "MONOCHROME2", "mixed-pixels"),
    ],
)
def test_one_slice_of_another_scale_spoils_the_volume(
    tmp_path: Path, name: str, value: Any, usual: Any, code: str
) -> None:
    def edit(k: int, slice_: Dataset) -> None:
        setattr(slice_, name, value)
        if k == 2 and name.startswith("Rescale"):
            delattr(slice_, name)
        elif k == 2:
            setattr(slice_, name, usual)

    assert codes(scan(make_series(tmp_path / "a", ARRAY, AFFINE, edit=edit))) == [code]
    value = usual
    assert codes(scan(make_series(tmp_path / "b", ARRAY, AFFINE, edit=edit))) == [], "what is left out means the usual"


@pytest.mark.parametrize(("name", "values"), [("ConvolutionKernel", ["B30f", "B70f"]), ("SliceThickness", [2.5, 5])])
def test_two_reconstructions_in_one_series_are_two_images(tmp_path: Path, name: str, values: list[Any]) -> None:
    files = []
    for n, value in enumerate(values):
        files += make_series(tmp_path / str(n), ARRAY + n, AFFINE, SeriesInstanceUID="1.2.3", **{name: value})
    items = DicomReader().scan(files)
    assert [codes(item) for item in items] == [["split-series"]] * 2
    for item in items:
        np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY + int(item.path.name))


def test_a_number_of_frames_that_nobody_can_hold_is_no_trap(tmp_path: Path) -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in ("SC_rgb_rle_2frame.dcm", "SC_rgb_rle.dcm"):
        dataset = pydicom.dcmread(folder / name)
        dataset.NumberOfFrames = 2_000_000_000
        dataset.save_as(tmp_path / name)
        item = scan([tmp_path / name])
        assert codes(item) == ["truncated"] and "2000000000 frames" in item.problems[0].message


def test_slices_of_different_bits_are_read_each_by_its_own_and_said(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit = (16, 15) if k else (12, 11)

    assert codes(scan(make_series(tmp_path, ARRAY, AFFINE, edit=edit))) == ["mixed-bits"]


@pytest.mark.parametrize("each", [2, 40])
def test_frames_with_room_for_padding_between_them_are_refused(tmp_path: Path, each: int) -> None:
    words = (ARRAY[None] + 1000).astype(np.uint16)

    def pad(dataset: Dataset) -> None:
        size = len(dataset.PixelData) // dataset.NumberOfFrames
        frames = [dataset.PixelData[at : at + size] for at in range(0, len(dataset.PixelData), size)]
        dataset.PixelData = b"".join(frame + b"\0" * each for frame in frames)

    item = scan([make_enhanced(tmp_path / "e.dcm", words, AFFINE, edit=pad)])
    assert codes(item) == ["pixel-form"] and "its frames need 420" in item.errors[0].message


@pytest.mark.parametrize("number", [1, 50])
def test_a_series_is_asked_for_its_folders_once_however_many_files_are_damaged(number: int, tmp_path: Path) -> None:
    """Else looking at a large tree with many damaged files takes the product of their numbers."""
    asked: list[int] = []

    class Slice(SimpleNamespace):
        @property
        def path(self) -> Path:
            asked.append(self.number)
            return tmp_path / "series" / f"{self.number}.dcm"

    series: list[Any] = [Slice(number=at) for at in range(20)]
    damaged = {tmp_path / "elsewhere" / f"{at}.dcm": None for at in range(number)}
    assert possible_slices(damaged, series) == [] and asked == list(range(20))
