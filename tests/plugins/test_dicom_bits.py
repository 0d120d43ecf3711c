"""Words that hold more than the stored bits: BitsStored, HighBit and PixelRepresentation decide in every syntax."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_series import make_enhanced, make_series
from voxgraft.imaging.volume import Volume
from voxgraft_dicom.reader.reader import DicomReader

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
SHAPE = (40, 32, 4)
SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
]


def compressed(dataset: Dataset, syntax: str, folder: Path) -> None:
    """Compress words of 16 bits as they are, whatever they hold."""
    if syntax == JPEGLosslessSV1:
        import SimpleITK as sitk

        words = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
        writer, file = sitk.ImageFileWriter(), folder / "jpeg.dcm"
        writer.SetFileName(str(file))
        writer.SetCompressor("JPEG")
        writer.UseCompressionOn()
        writer.Execute(sitk.GetImageFromArray(words))
        made = pydicom.dcmread(file)
        assert made.file_meta.TransferSyntaxUID == syntax
        stream = next(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1))
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    elif syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax == DeflatedExplicitVRLittleEndian:
        dataset.file_meta.TransferSyntaxUID = syntax


def make(
    folder: Path, words: Any, syntax: str, header: dict[str, int], more: Callable[[Dataset], None] = lambda _: None
) -> list[Path]:
    """A series whose words of 16 bits are compressed whole, and whose headers say what of them is the pixel."""

    def edit(_: int, dataset: Dataset) -> None:
        compressed(dataset, syntax, folder)
        for name, value in header.items():
            setattr(dataset, name, value)
        more(dataset)

    plain = syntax if syntax == ImplicitVRLittleEndian else None
    files = make_series(folder, words.astype(np.uint16), AFFINE, edit=edit, syntax=plain)
    if syntax == ExplicitVRBigEndian:
        for file in files:
            dataset = pydicom.dcmread(file)
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    return files


def read(files: list[Path]) -> tuple[Volume, list[str]]:
    (item,) = DicomReader().scan(files)
    volume = DicomReader().read(item)
    assert volume.item is not None
    return volume, [problem.code for problem in volume.item.problems]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("used", "signed"), [(12, False), (12, True), (10, False), (15, True), (8, True)])
def test_an_overlay_above_the_stored_bits_is_no_part_of_the_pixel(
    tmp_path: Path, seeded: None, syntax: str, used: int, signed: bool
) -> None:
    random = np.random.default_rng(used)
    low = -(1 << used - 1) if signed else 0
    truth = random.integers(low, low + (1 << used), SHAPE)
    overlay = random.integers(0, 1 << 16 - used, SHAPE) << used
    words = (truth & ((1 << used) - 1)) | overlay
    header = {"BitsStored": used, "HighBit": used - 1, "PixelRepresentation": int(signed)}
    volume, codes = read(make(tmp_path, words, syntax, header))
    np.testing.assert_array_equal(volume.array, truth)
    assert codes == ["unused-bits"]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("high", [13, 15])
def test_stored_bits_may_lie_anywhere_in_the_word(
    tmp_path: Path, seeded: None, syntax: str, high: int, signed: bool
) -> None:
    random = np.random.default_rng(high)
    truth = random.integers(-2048 if signed else 0, 2048 if signed else 4096, SHAPE)
    words = ((truth & 4095) << high - 11) | random.integers(0, 2, SHAPE)
    header = {"BitsStored": 12, "HighBit": high, "PixelRepresentation": int(signed)}
    volume, codes = read(make(tmp_path, words, syntax, header))
    np.testing.assert_array_equal(volume.array, truth)
    assert codes == ["unused-bits"]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("fill", ["zeros", "sign"])
def test_signs_may_be_extended_by_the_writer_or_not(tmp_path: Path, syntax: str, fill: str) -> None:
    truth = np.random.default_rng(0).integers(-2048, 2048, SHAPE)
    words = truth & (4095 if fill == "zeros" else 65535)
    volume, codes = read(make(tmp_path, words, syntax, {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}))
    np.testing.assert_array_equal(volume.array, truth)
    assert codes == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless, JPEG2000Lossless])
def test_overlays_that_the_header_declares_are_no_surprise(tmp_path: Path, syntax: str) -> None:
    truth = np.random.default_rng(0).integers(0, 4096, SHAPE)
    words = truth | np.random.default_rng(1).integers(0, 2, SHAPE) << 12

    def declared(dataset: Dataset) -> None:
        dataset.add_new((0x6000, 0x0100), "US", 16)
        dataset.add_new((0x6000, 0x0102), "US", 12)

    header = {"BitsStored": 12, "HighBit": 11}
    volume, codes = read(make(tmp_path / "a", words, syntax, header, declared))
    np.testing.assert_array_equal(volume.array, truth)
    assert codes == []
    volume, codes = read(make(tmp_path / "b", words | 1 << 14, syntax, header, declared))
    np.testing.assert_array_equal(volume.array, truth)
    assert codes == ["unused-bits"]


@pytest.mark.parametrize("high", [11, 15])
def test_a_stream_of_the_stored_bits_alone_begins_at_the_lowest(tmp_path: Path, high: int) -> None:
    truth = np.random.default_rng(0).integers(0, 4096, SHAPE)

    def edit(_: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.HighBit = high

    volume, codes = read(make_series(tmp_path, truth.astype(np.uint16), AFFINE, edit=edit, syntax=None))
    np.testing.assert_array_equal(volume.array, truth)
    assert codes == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless])
def test_frames_of_one_file_lose_what_is_above_the_stored_bits(tmp_path: Path, syntax: str) -> None:
    truth = np.random.default_rng(0).integers(0, 4096, SHAPE)
    words = (truth | 1 << 15).astype(np.uint16)

    def fewer(dataset: Dataset) -> None:
        if syntax == JPEG2000Lossless:
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.BitsStored, dataset.HighBit = 12, 11

    file = make_enhanced(tmp_path / "e.dcm", words[None], AFFINE, edit=fewer)
    volume, codes = read([file])
    np.testing.assert_array_equal(volume.array, truth)
    assert codes == ["unused-bits"]
