"""Compressed pixels: several threads give what one gives, byte for byte, and the same error; memory stays bounded."""

from __future__ import annotations

import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGLSLossless, RLELossless

from dicom_series import make_enhanced, make_series
from voxgraft.errors import BadImage
from voxgraft.imaging.volume import Array
from voxgraft_dicom.objects.forgiving import forgiving
from voxgraft_dicom.reader import decode, voxels
from voxgraft_dicom.reader.header import read_header
from voxgraft_dicom.reader.jpeg import exact
from voxgraft_dicom.reader.reader import DicomReader

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
NOISE = np.random.default_rng(4).integers(-900, 1500, (68, 64, 9)).astype(np.int16)


def read(files: list[Path]) -> Array:
    (item,) = DicomReader().scan(files)
    return DicomReader().read(item).array


@pytest.fixture(params=[1, 4])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Read by so many threads, whatever the machine has."""
    number: int = request.param
    monkeypatch.setattr(voxels, "MOST", number)
    monkeypatch.setattr(voxels.os, "cpu_count", lambda: 8)
    return number


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_every_thread_puts_its_frame_in_its_place(tmp_path: Path, threads: int, syntax: str) -> None:
    np.testing.assert_array_equal(read(make_series(tmp_path, NOISE, AFFINE, syntax=syntax)), NOISE)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_frames_of_one_file_are_decoded_at_once(tmp_path: Path, threads: int, syntax: str) -> None:
    array = (NOISE[None] + 1000).astype(np.uint16)
    np.testing.assert_array_equal(read([make_enhanced(tmp_path / "e.dcm", array, AFFINE, syntax=syntax)]), array[0])


def spoil(file: Path, keep: int) -> None:
    """Leave so many bytes of the compressed pixels."""
    dataset = pydicom.dcmread(file)
    stream = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([stream[:keep] + b"\0" * (keep % 2)])
    dataset.save_as(file)


def test_the_first_damaged_file_is_the_one_that_is_named(tmp_path: Path, threads: int) -> None:
    files = make_series(tmp_path, NOISE, AFFINE, syntax=JPEG2000Lossless)
    (item,) = DicomReader().scan(files)
    for number, keep in ((7, 20), (3, 200)):  # the later one fails sooner
        spoil(files[number], keep)
    before = threading.active_count()
    with pytest.raises(BadImage, match=r"0003\.dcm: its pixels cannot be decoded \(JPEG 2000 lossless\)"):
        DicomReader().read(item)
    assert threading.active_count() == before


def test_few_files_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_series(tmp_path, np.concatenate([NOISE] * 4, axis=2), AFFINE, syntax=RLELossless)
    lock, alive, most, ids = threading.Lock(), 0, 0, set()

    class Watched(voxels.Packed):
        def __init__(self, *args: Any) -> None:
            nonlocal alive, most
            super().__init__(*args)
            with lock:
                alive, most = alive + 1, max(most, alive + 1)

        def __del__(self) -> None:
            nonlocal alive
            with lock:
                alive -= 1

        def frame(self, number: int) -> Array:
            ids.add(threading.get_ident())
            time.sleep(0.001)
            return super().frame(number)

    monkeypatch.setattr(voxels, "Packed", Watched)
    monkeypatch.setattr(voxels, "MOST", 3)
    monkeypatch.setattr(voxels.os, "cpu_count", lambda: 8)
    read(files)
    assert 1 < len(ids) <= 3 and most <= 2 * 3 + 2 and alive == 0


@pytest.mark.parametrize(("bits", "kind"), [(8, "u"), (12, "u"), (16, "u"), (12, "i"), (16, "i")])
def test_both_decoders_of_jpeg_2000_give_the_voxels(tmp_path: Path, bits: int, kind: str) -> None:
    """SimpleITK decodes by the rules of GDCM, pylibjpeg by those of pydicom; neither is asked without need."""
    low, high = (0, 2**bits - 1) if kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    dtype = np.dtype(f"{kind}{1 if bits == 8 else 2}")
    array = np.random.default_rng(0).integers(low, high, (72, 64, 1), endpoint=True).astype(dtype)

    def fewer(_: int, dataset: Any) -> None:
        dataset.BitsStored, dataset.HighBit = bits, bits - 1

    (file,) = make_series(tmp_path, array, AFFINE, edit=fewer, syntax=JPEG2000Lossless)
    header = read_header(file)
    assert header is not None
    dataset = decode._dataset(header)
    stream = decode._stream(header, dataset, 0)
    assert exact(stream, header)
    ways = decode._by_simpleitk(header, stream, dtype), decode._by_pydicom(header, dataset, 0, "pylibjpeg")
    for way in ways:
        np.testing.assert_array_equal(way, array[:, :, 0].T)


@pytest.mark.parametrize("change", ["lossy", "sign", "bits", "size", "cut", "colour"])
def test_only_streams_that_every_decoder_reads_alike_are_exact(tmp_path: Path, change: str) -> None:
    def edit(_: int, dataset: Any) -> None:
        if change == "lossy":
            dataset.compress(JPEG2000, j2k_cr=[5], generate_instance_uid=False)
        else:
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        changes = {"sign": ("PixelRepresentation", 0), "bits": ("BitsStored", 15), "size": ("Rows", 65)}
        if change in changes:
            setattr(dataset, *changes[change])
        if change == "colour":
            dataset.SamplesPerPixel = 3

    (file,) = make_series(tmp_path, NOISE[:, :, :1], AFFINE, edit=edit, syntax=None)
    header = read_header(file)
    assert header is not None
    dataset = decode._dataset(header)
    stream = decode._stream(header, dataset, 0)
    assert not exact(stream[:-40] if change == "cut" else stream, header)
    assert exact(stream, header) == (change == "cut")
    if change == "lossy":
        by_the_other = decode._by_pydicom(header, dataset, 0, "pylibjpeg")
        np.testing.assert_array_equal(read([file])[..., 0].T, by_the_other)


def test_streams_that_are_no_jpeg_2000_are_not_exact(tmp_path: Path) -> None:
    (file,) = make_series(tmp_path, NOISE[:, :, :1], AFFINE, syntax=JPEG2000Lossless)
    header = read_header(file)
    assert header is not None
    stream = decode._stream(header, decode._dataset(header), 0)
    for length in range(0, 120):
        assert not exact(stream[:length] + b"\xff\xd9", header)
    assert not exact(b"\0\0\0\x0cjP  " + stream, header) and not exact(b"", header)


def test_what_pydicom_is_told_is_taken_back_after_the_last_thread() -> None:
    before = list(warnings.filters), pydicom.config.settings.reading_validation_mode

    def work(number: int) -> None:
        for _ in range(30):
            with forgiving(), forgiving():
                warnings.warn("quotes a value", UserWarning, stacklevel=1)
                time.sleep(0.0001 * (number % 3))
                assert pydicom.config.settings.reading_validation_mode == pydicom.config.IGNORE

    with warnings.catch_warnings(record=True) as heard, ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert not heard
    assert (list(warnings.filters), pydicom.config.settings.reading_validation_mode) == before
