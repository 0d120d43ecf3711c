"""Pixels that are floating-point numbers (FloatPixelData, DoubleFloatPixelData): read, or refused for what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_series import make_enhanced, make_series
from voxgraft_dicom.reader.reader import DicomReader

ARRAY = np.random.default_rng(0).integers(-900, 900, (6, 5, 4)).astype(np.int16)
AFFINE = np.diag([-0.7, -0.8, 2.5, 1.0])
PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
KINDS = {"single": (0x7FE00008, "OF", "<f4"), "double": (0x7FE00009, "OD", "<f8")}


def floats(kind: str, cut: int = 0) -> Callable[[int, Dataset], None]:
    """Writes an eighth of each whole number instead of it; the last bytes may be cut off."""
    tag, vr, dtype = KINDS[kind]

    def edit(_: int, dataset: Dataset) -> None:
        values = (np.frombuffer(dataset.PixelData, "<i2") / 8).astype(dtype).tobytes()
        for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            delattr(dataset, name)
        dataset.BitsAllocated = 8 * np.dtype(dtype).itemsize
        dataset.add_new(tag, vr, values[: len(values) - cut])

    return edit


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_slices_are_read(tmp_path: Path, kind: str, syntax: str | None) -> None:
    form = {} if syntax is None else {"syntax": syntax}
    files = make_series(tmp_path, ARRAY, AFFINE, edit=floats(kind), Modality="MR", **form)
    (item,) = DicomReader().scan(files)
    volume = DicomReader().read(item)
    assert not item.problems and volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, ARRAY / 8)


def test_rescaling_and_numbers_that_are_not_finite(tmp_path: Path) -> None:
    def edit(k: int, dataset: Dataset) -> None:
        floats("single")(k, dataset)
        values = np.frombuffer(dataset.FloatPixelData, "<f4").copy()
        values[0] = np.nan
        dataset.FloatPixelData = values.tobytes()

    files = make_series(tmp_path, ARRAY, AFFINE, edit=edit, RescaleSlope=2, RescaleIntercept=-1)
    (item,) = DicomReader().scan(files)
    expected = ARRAY / 4 - 1
    expected[0, 0] = np.nan
    np.testing.assert_array_equal(DicomReader().read(item).array, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_parametric_map_is_a_volume(tmp_path: Path, kind: str) -> None:
    file = make_enhanced(
        tmp_path / "map.dcm", ARRAY[None], AFFINE, edit=lambda dataset: floats(kind)(0, dataset), storage=PARAMETRIC_MAP
    )
    (item,) = DicomReader().scan([file])
    np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY / 8)


def test_what_is_not_read_is_called_by_its_name(tmp_path: Path) -> None:
    def inflated(k: int, dataset: Dataset) -> None:
        floats("single")(k, dataset)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    def wide(k: int, dataset: Dataset) -> None:
        floats("single")(k, dataset)
        dataset.BitsAllocated = 16

    for name, edit, code in (("deflated", inflated, "transfer-syntax"), ("wide", wide, "pixel-form")):
        files = make_series(tmp_path / name, ARRAY, AFFINE, edit=edit, syntax=None)
        (item,) = DicomReader().scan(files)
        assert item.errors[0].code == code and "floating-point" in item.errors[0].message


def test_cut_ones_are_truncated(tmp_path: Path) -> None:
    files = make_series(tmp_path, ARRAY, AFFINE, edit=floats("single", cut=8))
    (item,) = DicomReader().scan(files)
    assert item.errors[0].code == "truncated" and "promises 120" in item.errors[0].message


def test_slices_of_both_kinds_are_refused(tmp_path: Path) -> None:
    def mixed(k: int, dataset: Dataset) -> None:
        floats("double" if k == 2 else "single")(k, dataset)
        dataset.BitsAllocated = 32

    (item,) = DicomReader().scan(make_series(tmp_path, ARRAY, AFFINE, edit=mixed))
    assert [problem.code for problem in item.errors] == ["mixed-pixels"]
