"""pydicom's own test files, every one: read as an independent decoder reads it, left out, or refused with a reason."""

from __future__ import annotations

import base64
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dicom_series import make_series
from voxgraft.errors import BadImage
from voxgraft.imaging.volume import Item, Volume
from voxgraft_dicom.reader.reader import DicomReader

HERE = Path(pydicom.__file__).parent / "data" / "test_files"
NO_IMAGES = (".txt", ".dump", ".json", ".icc", ".py", ".pyc", ".gz")


def more_files() -> Path | None:
    """The folder of the package pydicom-data, where it is installed."""
    try:
        module = importlib.import_module("data_store")
    except ImportError:
        return None
    return Path(str(module.__file__)).parent / "data"


def listed(folder: Path | None) -> list[Path]:
    found = sorted(folder.rglob("*")) if folder else []
    return [file for file in found if file.is_file() and file.suffix not in NO_IMAGES and file.name != "README"]


FILES = [*listed(HERE), *listed(more_files())]
REFUSED = {
    "multi-frame": "examples_ybr_color color3d_jpeg_baseline emri_small emri_small_RLE emri_small_big_endian "
    "emri_small_jpeg_2k_lossless emri_small_jpeg_ls_lossless SC_rgb_rle_2frame SC_rgb_rle_16bit_2frame "
    "SC_rgb_rle_32bit_2frame SC_rgb_2frame SC_rgb_16bit_2frame SC_rgb_32bit_2frame SC_rgb_expb_2frame "
    "SC_rgb_expb_16bit_2frame SC_rgb_expb_32bit_2frame OBXXXX1A_2frame OBXXXX1A_expb_2frame OBXXXX1A_rle_2frame",
    "truncated": "MR_truncated emri_small_jpeg_2k_lossless_too_short UN_sequence empty_charset_LEI "
    "meta_missing_tsyntax no_meta priv_SQ",
    "pixel-form": "nested_priv_SQ",
}
"""Files that must not be read, by the code of the reason."""
DAMAGED = {
    "JPEG2000-embedded-sequence-delimiter": "a frame of it has 3722445056x1024 pixels, and its header promises 256x1024"
}
"""Files of which no decoder makes an image, and why they are refused."""
LEFT_OUT = (
    *(
        "ExplVR_BigEndNoMeta",
        "ExplVR_LitEndNoMeta",
        "DICOMDIR",
        "badVR",
        "no_meta_group",
        "reportsi",
        "rtdose",
        "rtplan",
    ),
    *("test-SR", "waveform_ecg"),
)
"""Beginnings of the names of plans, doses, reports, waveforms and directories."""
STRUCTURES = {"liver": "dicom-seg", "rtstruct": "dicom-rtstruct"}
BY_PYDICOM = {
    "SC_rgb_rle_16bit": "SimpleITK mixes up the bytes of 16-bit colours in RLE",
    "SC_rgb_rle_32bit": "SimpleITK mixes up the bytes of 32-bit colours in RLE",
    "RG1": "SimpleITK turns MONOCHROME1 round",
    "RG3": "SimpleITK turns MONOCHROME1 round",
    "6154": "SimpleITK turns MONOCHROME1 round",
    "6247": "SimpleITK turns MONOCHROME1 round",
    "6278": "SimpleITK turns MONOCHROME1 round",
}
"""Files that SimpleITK reads wrongly or otherwise, with the reason."""


def is_directory_entry(file: Path) -> bool:
    return "dicomdirtests" in str(file) and file.name.startswith(("DICOMDIR", "README"))


def by_simpleitk(file: Path, volume: Volume) -> Any:
    image = sitk.ReadImage(str(file))
    array = sitk.GetArrayFromImage(image)
    if volume.channels == 3:
        array = array.reshape(array.shape[-3:])
        if array.dtype.itemsize > volume.array.dtype.itemsize:
            array = array >> 8  # the upper byte of a palette of 16 bits
        return array.transpose(2, 1, 0)
    return array.reshape(array.shape[-2:]).T if volume.dims == 2 else array.T


def by_pydicom(file: Path, volume: Volume) -> Any:
    dataset = pydicom.dcmread(file)
    if "RLE" in dataset.file_meta.TransferSyntaxUID.name:
        dataset.pixel_array_options(decoding_plugin="pydicom")
    array = dataset.pixel_array
    if volume.channels == 3:
        return array.transpose(2, 1, 0)
    return array.T.astype(np.float64) * float(dataset.get("RescaleSlope", 1)) + float(
        dataset.get("RescaleIntercept", 0)
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_every_file_is_right_or_refused(file: Path) -> None:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    items, name = DicomReader().scan([file]), file.stem
    if is_directory_entry(file) or (name.startswith(LEFT_OUT) and "data" not in file.parent.name):
        assert items == []
        return
    (item,) = items
    if name.startswith(tuple(STRUCTURES)):
        assert item.kind == "structures" and item.reader == next(r for n, r in STRUCTURES.items() if name.startswith(n))
        assert item.facts["names"] and item.facts["references"] and item.problems == ()
        return
    expected = [code for code, names in REFUSED.items() if name in names.split()]
    if expected or item.errors:
        assert [problem.code for problem in item.errors] == (expected or ["truncated"]), item.problems
        assert expected or not pydicom.dcmread(file, force=True).get("PixelData")
        return
    if name in DAMAGED:
        with pytest.raises(BadImage, match=DAMAGED[name]):
            DicomReader().read(item)
        return
    assert_right(file, item)


def assert_right(file: Path, item: Item) -> None:
    volume = DicomReader().read(item)
    assert (volume.shape, volume.channels) == (item.shape, item.channels)
    if file.stem == "eCT_Supplemental":  # its frames run down, which SimpleITK does not notice: see below
        return
    other = any(file.stem.startswith(one) for one in BY_PYDICOM)
    truth = by_pydicom(file, volume) if other else by_simpleitk(file, volume)
    if volume.array.dtype.kind == "f":
        np.testing.assert_allclose(volume.array, truth, rtol=3e-7, atol=1e-3)
    else:
        np.testing.assert_array_equal(volume.array, truth)
    if volume.dims == 3:
        image = sitk.ReadImage(str(file))
        for index in [(0, 0, 0), (5, 0, 0), (0, 7, 0)]:
            place = (volume.affine @ [*index, 1])[:3] * [-1, -1, 1]
            np.testing.assert_allclose(place, image.TransformIndexToPhysicalPoint(index), atol=1e-4)


def test_many_files_were_tried() -> None:
    assert len(FILES) > 150


def test_compressed_files_hold_the_pixels_of_their_originals() -> None:
    more = more_files()
    if more is None:
        pytest.skip("the package pydicom-data is not installed")
    pairs = [("693_J2KR", "693_UNCR"), ("MR2_J2KR", "MR2_UNCR"), ("RG1_J2KR", "RG1_UNCR"), ("US1_J2KR", "US1_UNCR")]
    pairs += [("OBXXXX1A_rle", "OBXXXX1A"), ("OBXXXX1A_expb", "OBXXXX1A"), ("SC_rgb_expb_16bit", "SC_rgb_16bit")]
    pairs += [("gdcm-US-ALOKA-16_big", "gdcm-US-ALOKA-16"), ("color-pl", "color-px")]
    for one, two in pairs:
        arrays = [DicomReader().read(DicomReader().scan([more / f"{name}.dcm"])[0]).array for name in (one, two)]
        np.testing.assert_array_equal(*arrays)


def test_an_enhanced_ct_of_two_frames_lies_as_highdicom_says() -> None:
    import highdicom

    more = more_files()
    if more is None:
        pytest.skip("the package pydicom-data is not installed")
    volume = DicomReader().read(DicomReader().scan([more / "eCT_Supplemental.dcm"])[0])
    truth = highdicom.Image.from_dataset(pydicom.dcmread(more / "eCT_Supplemental.dcm")).get_volume()
    for index in [(0, 0, 0), (1, 0, 0), (0, 300, 200), (1, 511, 17)]:
        place = np.diag([-1, -1, 1, 1]) @ truth.affine @ [*index, 1]
        i, j, k = np.rint(np.linalg.inv(volume.affine) @ place)[:3].astype(int)
        np.testing.assert_allclose(volume.affine @ [i, j, k, 1], place, atol=1e-6)
        assert volume.array[i, j, k] == truth.array[index]


def test_trees_of_many_series_are_told_apart() -> None:
    files = listed(HERE / "dicomdirtests")
    items = DicomReader().scan(files)
    assert len({item.series for item in items}) == len(items) > 10
    assert {len(item.files) for item in items} >= {1, 2, 4}
    for item in items:
        if not item.errors:
            assert DicomReader().read(item).shape == item.shape


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"])
def test_lossless_jpeg_gives_the_voxels_that_gdcm_compressed(tmp_path: Path, dtype: Any, syntax: str) -> None:
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm, which compresses for this test, is not installed")
    low = -900 if dtype == np.int16 else 0
    array = np.random.default_rng(2).integers(low, 250, (34, 36, 3)).astype(dtype)
    files = make_series(tmp_path, array, np.diag([-1.0, -1.0, 2.0, 1.0]))
    for file in files:
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(file))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(file))
        assert writer.Write()
        assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == syntax
    volume = DicomReader().read(DicomReader().scan(files)[0])
    np.testing.assert_array_equal(volume.array, array)


HTJ2K = (
    r"|4;u>04YEK0000W0000W00000000000000W0000W0000000000009pH0sl|{2mk^A000XAQUDA90ssL31q1{@0smY86Cj9?kdTm&"
    r"kdTm&kdTmwh=~7W02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000u>b-8lfVEbv;74JbO68r6F>kH07(7<2Xp{P{sISd0Kfnf"
    r"KmZefA|e5TbO0hn{s3cC0KfnhFaQNm5C{bFs&N8!0FV#}<iH^T?6v^F02R;x1)_#w7=~dO=gN9|aDsRMM#C@+!!Z8+gdltN5P|Hv"
    r"0Kfn(SO5jC?(XjH?(XjH`Tqc?r>Cc<r>DYw0N&l*-QC^Y-T!!JC%=52{qlSF$?U%X|Je"
)
"""A picture of 32 x 32 pixels compressed by OpenJPH; pixel (row, column) is 16 * ((row + column) % 200)."""


@pytest.mark.parametrize("tail", ["201", "202", "203"])
def test_high_throughput_jpeg_2000_is_read(tmp_path: Path, tail: str) -> None:
    def edit(_: int, slice_: pydicom.Dataset) -> None:
        slice_.PixelData = pydicom.encaps.encapsulate([base64.b85decode(HTJ2K)])
        slice_["PixelData"].VR, slice_["PixelData"].is_undefined_length = "OB", True
        slice_.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{tail}"

    files = make_series(
        tmp_path, np.zeros((32, 32, 3), np.uint16), np.diag([-1.0, -1.0, 2.0, 1.0]), edit=edit, syntax=None
    )
    volume = DicomReader().read(DicomReader().scan(files)[0])
    expected = 16 * (np.add.outer(np.arange(32), np.arange(32)) % 200)
    np.testing.assert_array_equal(volume.array, np.stack([expected] * 3, axis=-1))
