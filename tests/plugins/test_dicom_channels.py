"""Volumes in one series: what tells them apart, alone or together, and when nothing does."""

from __future__ import annotations

import struct
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_series import make_enhanced, make_series
from voxgraft.imaging.volume import Item
from voxgraft_dicom.reader.reader import DicomReader

N = 5
ARRAY = np.arange(8 * 7 * 6 * N, dtype=np.int16).reshape(8, 7, 6, N)
"""(channel, i, j, k)"""
AFFINE = np.diag([-1.0, -1.0, 2.5, 1.0])
Values = dict[str, Any]


def series(folder: Path, values: list[Values], number: Any = None, edit: Any = None, **changes: Any) -> list[Path]:
    """A volume for each set of values, in one series; instance numbers as `number(volume, slice)` says."""
    files = []
    for volume, own in enumerate(values):

        def put(k: int, slice_: Dataset, volume: int = volume) -> None:
            slice_.InstanceNumber = 1 if number is None else number(volume, k)
            if edit is not None:
                edit(volume, k, slice_)

        files += make_series(
            folder / str(volume), ARRAY[volume], AFFINE, edit=put, **{"SeriesInstanceUID": "1.2.3"}, **own, **changes
        )
    return files


def one(files: list[Path]) -> Item:
    (item,) = DicomReader().scan(files)
    return item


def assert_channels(files: list[Path], name: str, order: list[int], values: list[str] | None = None) -> None:
    item = one(files)
    assert [(problem.code, problem.severity) for problem in item.problems] == [("channels", "repair")], item.problems
    assert item.facts["channels"]["name"] == name
    if values is not None:
        assert item.facts["channels"]["values"] == values
    volume = DicomReader().read(item)
    np.testing.assert_array_equal(volume.array, ARRAY[order])
    np.testing.assert_allclose(volume.affine, AFFINE)


MAGNITUDE, PHASE = ["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]


def test_echoes_of_magnitude_and_phase(tmp_path: Path) -> None:
    values = [{"EchoTime": echo, "ImageType": kind} for kind, echo in product((PHASE, MAGNITUDE), (9, 5))]
    kinds = ["ORIGINAL\\PRIMARY\\M", "ORIGINAL\\PRIMARY\\P"]
    told = [f"{echo} {kind}" for echo, kind in product(("5.0", "9.0"), kinds)]
    item = one(series(tmp_path, values))
    assert item.facts["channels"]["name"] == "EchoTime and ImageType"
    assert sorted(item.facts["channels"]["values"]) == sorted(told)
    array = DicomReader().read(item).array
    at = {f"{v['EchoTime']}.0 " + "\\".join(v["ImageType"]): n for n, v in enumerate(values)}
    for channel, value in zip(array, item.facts["channels"]["values"], strict=True):
        np.testing.assert_array_equal(channel, ARRAY[at[value]])


def test_times_with_label_and_control(tmp_path: Path) -> None:
    values = [{"TemporalPositionIdentifier": t, "ASLContext": c} for t, c in product((1, 2, 3), ("LABEL", "CONTROL"))]
    item = one(series(tmp_path, values))
    assert item.facts["channels"]["name"] == "TemporalPositionIdentifier and ASLContext"
    np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY[:6])


def test_three_attributes_together(tmp_path: Path) -> None:
    values = [
        {"TemporalPositionIdentifier": t, "EchoTime": e, "ImageType": k}
        for t, e, k in product((1, 2), (5, 9), (MAGNITUDE, PHASE))
    ]
    assert_channels(series(tmp_path, values), "TemporalPositionIdentifier and EchoTime and ImageType", [*range(8)])


def test_a_blank_b_value_is_that_of_one_volume(tmp_path: Path) -> None:
    values: list[Values] = [{"DiffusionBValue": 1000.0}, {}, {"DiffusionBValue": 500.0}]
    assert_channels(series(tmp_path, values), "DiffusionBValue", [1, 2, 0], ["missing", "500.0", "1000.0"])


def test_directions_beside_several_volumes_without_any(tmp_path: Path) -> None:
    def edit(volume: int, _: int, slice_: Dataset) -> None:
        if volume > 1:
            slice_.DiffusionGradientOrientation = [[0, 0, 1], [0, 1, 0], [1, 0, 0]][volume - 2]

    values = [{"DiffusionBValue": 0.0 if n < 2 else 1000.0} for n in range(5)]
    files = series(tmp_path / "a", values, edit=edit)
    assert [problem.code for problem in one(files).errors] == ["several-volumes"], "two volumes of b 0, both alike"
    values = [{"DiffusionBValue": b, "EchoTime": n} for n, b in ((1, 0.0), (2, 0.0), (3, 1000.0), (3, 1000.0))]
    item = one(series(tmp_path / "b", values, edit=edit))
    assert item.facts["channels"]["name"].startswith("EchoTime and DiffusionBValue and DiffusionGradientOrientation")
    np.testing.assert_array_equal(np.sort(DicomReader().read(item).array[:, 0, 0, 0]), np.sort(ARRAY[:4, 0, 0, 0]))


def private(tag: int, vr: str, values: list[Any], creator: str) -> Any:
    def edit(volume: int, _: int, slice_: Dataset) -> None:
        block = slice_.private_block(tag >> 16, creator, create=True)
        if values[volume] is not None:
            block.add_new(tag & 0xFF, vr, values[volume])

    return edit


@pytest.mark.parametrize(
    ("tag", "vr", "values", "creator", "name"),
    [
        (0x00191000 + 0x0C, "IS", ["0", "800"], "SIEMENS MR HEADER", "SiemensBValue"),
        (0x00431000 + 0x2F, "SS", [0, 1], "GEMS_PARM_01", "GEImageKind"),
        (0x20011000 + 0x03, "FL", [0.0, 1000.0], "Philips Imaging DD 001", "PhilipsBValue"),
        (
            0x20011000 + 0x03,
            "UN",
            [struct.pack("<f", 0), struct.pack("<f", 7)],
            "PHILIPS IMAGING DD 001",
            "PhilipsBValue",
        ),
        (0x20011000 + 0x08, "IS", ["1", "2"], "Philips Imaging DD 001", "PhilipsPhase"),
    ],
)
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
def test_private_attributes_of_their_maker(
    tmp_path: Path, tag: int, vr: str, values: list[Any], creator: str, name: str, syntax: str
) -> None:
    files = series(tmp_path, [{}, {}], edit=private(tag, vr, values, creator), syntax=syntax)
    assert_channels(files, name, [0, 1])
    files = series(tmp_path / "other", [{}, {}], edit=private(tag, vr, values, "SOMEBODY ELSE"), syntax=syntax)
    assert [problem.code for problem in one(files).errors] == ["several-volumes"], "under another maker's name"


def test_siemens_directions(tmp_path: Path) -> None:
    def edit(volume: int, _: int, slice_: Dataset) -> None:
        block = slice_.private_block(0x19, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0C, "IS", "1000" if volume else "0")
        if volume:
            block.add_new(0x0E, "FD", [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]][volume - 1])

    item = one(series(tmp_path, [{}] * 3, edit=edit))
    assert item.facts["channels"]["name"] == "SiemensBValue and SiemensDirection" and item.channels == 3
    assert sorted(DicomReader().read(item).array[:, 0, 0, 0]) == sorted(ARRAY[:3, 0, 0, 0])


def test_philips_label_and_control(tmp_path: Path) -> None:
    def edit(volume: int, _: int, slice_: Dataset) -> None:
        for number in range(5):  # the fifth block holds it
            slice_.private_block(0x2005, f"Philips MR Imaging DD 00{number + 1}", create=True)
        slice_.add_new(0x20051429, "CS", ("CONTROL", "LABEL")[volume])

    assert_channels(series(tmp_path, [{}] * 2, edit=edit), "PhilipsLabel", [0, 1], ["CONTROL", "LABEL"])


def test_whole_blocks_that_only_their_count_tells_apart(tmp_path: Path) -> None:
    files = series(tmp_path / "a", [{}] * 3, number=lambda volume, k: 1 + volume * N + k)
    assert_channels(files, "InstanceNumber", [0, 1, 2], ["1", "6", "11"])
    files = series(tmp_path / "b", [{}] * 3, number=lambda volume, k: 1 + volume * N + (N - 1 - k))
    assert_channels(files, "InstanceNumber", [0, 1, 2])


@pytest.mark.parametrize(
    "number",
    [
        lambda volume, k: 1 + volume + 3 * k,  # the volumes of one place follow each other
        lambda volume, k: 1 + volume * N + (k if volume else N - 1 - k),  # the second runs the other way
        lambda volume, k: 1 + k,  # twice the same
    ],
)
def test_counts_that_prove_nothing_are_refused(tmp_path: Path, number: Any) -> None:
    item = one(series(tmp_path, [{}] * 3, number=number))
    assert [problem.code for problem in item.errors] == ["several-volumes"]
    assert "export each as a separate series" in item.errors[0].message


def test_reconstructions_stay_images_of_their_own_in_spite_of_their_count(tmp_path: Path) -> None:
    kernels: list[Values] = [{"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}]
    items = DicomReader().scan(series(tmp_path, kernels, number=lambda volume, k: 1 + volume * N + k))
    assert len(items) == 2
    for volume, item in enumerate(sorted(items, key=lambda item: item.path)):
        np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY[volume])


def test_two_attributes_of_an_enhanced_object(tmp_path: Path) -> None:
    values = [{"EffectiveEchoTime": e, "DiffusionBValue": b} for e, b in product((1.0, 2.0), (0.0, 5.0))]
    item = one([make_enhanced(tmp_path / "e.dcm", ARRAY[:4], AFFINE, values=values)])
    assert item.facts["channels"]["name"] == "EchoTime and DiffusionBValue" and not item.errors
    np.testing.assert_array_equal(DicomReader().read(item).array, ARRAY[:4])


@pytest.mark.parametrize("name", ["EchoTime", "TemporalPositionIdentifier"])
@pytest.mark.parametrize("lost", [0, 4])
def test_a_volume_that_lost_its_last_slice_is_no_image_of_its_own(tmp_path: Path, name: str, lost: int) -> None:
    files = series(tmp_path, [{name: 1}, {name: 2}])
    item = one([file for file in files if file != files[5 + lost]])
    assert [problem.code for problem in item.errors] == ["duplicate-slice"]
