"""Tests of DICOM SEG objects that are damaged, cut, or whose frames lie bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_masks import (
    blobs,
    only,
    refused_when_spoilt,
    series,
)
from dicom_segmentations import READER, drop, edited, value, written
from dicom_series import make_series
from dicom_structures import make_seg
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import BadImage
from voxgraft.imaging.read import read_item
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import ImageRef, Item, Problem, Volume
from voxgraft.labels.masks import read_mask


def short(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]


def undescribed(dataset: Dataset) -> None:
    del dataset.SegmentSequence[1:]


def nowhere(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = ["1e300", "0", "0"]


def skewed(dataset: Dataset) -> None:
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (short, "truncated"),
        (value("NumberOfFrames", 3), "3 frames and describes"),
        (value("NumberOfFrames", 10**9), "describes"),
        (value("Rows", 65535), "truncated"),
        (value("Rows", 0), "rows and columns"),
        (value("BitsAllocated", 32), "32 bits"),
        (value("SegmentationType", "OTHER"), "OTHER"),
        (value("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "not a DICOM segmentation"),
        (drop("SegmentIdentificationSequence"), "not described"),
        (drop("PlanePositionSequence"), "no place in the patient"),
        (drop("PlaneOrientationSequence", "SharedFunctionalGroupsSequence"), "where it lies"),
        (drop("PixelMeasuresSequence", "SharedFunctionalGroupsSequence"), "where it lies"),
        (undescribed, "not described"),
        (nowhere, "where it lies"),
        (skewed, "right angles"),
    ],
)
def test_damaged_objects_are_refused_in_a_sentence(
    edit: Callable[[Dataset], None], message: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    written(mask, tmp_path / "m.dcm")
    item = edited(tmp_path / "m.dcm", edit)
    with pytest.raises(BadImage, match=message):
        READER.structures(item, mask)
    with pytest.raises(BadImage):
        READER.read(item)


def test_a_file_cut_anywhere_is_refused_and_never_half_read(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm")
    whole = (tmp_path / "m.dcm").read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 37):
        (tmp_path / "m.dcm").write_bytes(whole[:length])
        with pytest.raises(BadImage):
            READER.structures(item, mask)
        (again,) = READER.scan([tmp_path / "m.dcm"])
        assert again.errors or length > len(whole) * 0.9


def test_random_bytes_never_crash(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm", kind="labelmap", compress="rle")
    assert refused_when_spoilt(READER, item, mask, times=120, bytes_each=6) > 10


def by_bits(
    scan_of: Volume, files: list[Path], path: Path, frames: Any, padded: bool, more: bytes = b"", kind: str = "BINARY"
) -> Item:
    """A segmentation of one segment whose frames (frame, row, column) lie on the first slices of a series.

    Args:
        padded: Each frame begins at a byte.
        more: Bytes behind the pixels.
    """
    masks = {"Tumour": np.ones(scan_of.shape, bool)}

    def edit(dataset: Dataset) -> None:
        groups = sorted(
            dataset.PerFrameFunctionalGroupsSequence,
            key=lambda group: float(group.PlanePositionSequence[0].ImagePositionPatient[2]),
        )
        dataset.PerFrameFunctionalGroupsSequence = groups[: len(frames)]
        dataset.NumberOfFrames, dataset.SegmentationType = len(frames), kind
        if kind == "FRACTIONAL":
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
            dataset.MaximumFractionalValue, dataset.SegmentationFractionalType = 255, "PROBABILITY"
            pixels = (frames * 200).astype(np.uint8).tobytes()
        elif padded:
            pixels = b"".join(np.packbits(frame.ravel(), bitorder="little").tobytes() for frame in frames)
        else:
            pixels = np.packbits(frames.ravel(), bitorder="little").tobytes()
        pixels += more
        dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)

    make_seg(path, files, masks, edit)
    (item,) = READER.scan([path])
    return item


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("columns", "rows", "count"), [(21, 22, 6), (21, 22, 5), (16, 16, 4), (13, 11, 1), (9, 9, 8)])
def test_frames_are_read_whether_each_begins_at_a_byte_or_not(
    columns: int, rows: int, count: int, padded: bool, tmp_path: Path, catalogue: Catalogue
) -> None:
    files = make_series(tmp_path / "s", np.zeros((columns, rows, 8), np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))
    like = read_item(only(tmp_path / "s", catalogue), catalogue)
    frames = np.random.default_rng(0).integers(0, 2, (count, rows, columns)).astype(np.uint8)
    item = by_bits(like, files, tmp_path / "m.dcm", frames, padded)
    odd = padded and rows * columns % 8 != 0 and count > 1
    told: list[Problem] = []
    found = READER.structures(item, like, told.append)["Tumour"]
    assert [one.code for one in (*item.problems, *told)] == ["padded-frames"] * 2 * odd
    assert np.array_equal(found[:, :, :count], frames.transpose(2, 1, 0) != 0) and not found[:, :, count:].any()
    labels = Labels((Label(1, "Tumour"),))
    through = read_mask(ImageRef(tmp_path / "m.dcm"), like, labels, catalogue)
    assert np.array_equal(through.array, found)
    assert through.item is not None and [one.code for one in through.item.problems] == ["padded-frames"] * odd


@pytest.mark.parametrize("padded", [False, True])
def test_bits_that_must_be_0_show_how_frames_lie_where_their_length_does_not(
    padded: bool, tmp_path: Path, catalogue: Catalogue
) -> None:
    """Two frames of 63 bits have 16 bytes either way."""
    files = make_series(tmp_path / "s", np.zeros((9, 7, 3), np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))
    like = read_item(only(tmp_path / "s", catalogue), catalogue)
    frames = np.ones((2, 7, 9), np.uint8)
    item = by_bits(like, files, tmp_path / "m.dcm", frames, padded)
    assert READER.structures(item, like)["Tumour"][:, :, :2].all()
    assert [one.severity for one in item.problems] == ["repair"] * padded
    frames[:, :1] = frames[:, -1:] = 0
    item = by_bits(like, files, tmp_path / "n.dcm", frames, False)
    assert np.array_equal(READER.structures(item, like)["Tumour"][:, :, :2], frames.transpose(2, 1, 0) != 0)
    assert [one.severity for one in item.problems] == ["warning"]


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
@pytest.mark.parametrize("more", [b"\0" * 3, b"\0" * 58, b"\1" * 500])
def test_more_pixels_than_frames_are_refused(kind: str, more: bytes, tmp_path: Path, catalogue: Catalogue) -> None:
    files = make_series(tmp_path / "s", np.zeros((21, 22, 8), np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))
    like = read_item(only(tmp_path / "s", catalogue), catalogue)
    frames = np.ones((4, 22, 21), np.uint8)
    good = by_bits(like, files, tmp_path / "m.dcm", frames, False, kind=kind)
    assert good.errors == () and READER.structures(good, like)["Tumour"].sum() == frames.sum()
    item = by_bits(like, files, tmp_path / "m.dcm", frames, False, more, kind)
    assert [one.code for one in item.errors] == ["damaged"] and "its 4 frames need" in item.errors[0].message
    with pytest.raises(BadImage, match="its 4 frames need"):
        READER.structures(replace(item, problems=()), like)
