"""Deflated DICOM files unpack to what their header promises, or are refused quickly and with little memory."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.filewriter import write_file_meta_info

from dicom_series import make_series
from peak_memory import run_measured
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import BadImage
from voxgraft.imaging.read import read, scan
from voxgraft_dicom.deidentify.file import instance
from voxgraft_dicom.objects.deflated import HEAD, read_dicom

DEFLATED = "1.2.840.10008.1.2.1.99"


def element(group: int, number: int, vr: bytes, length: int) -> bytes:
    return struct.pack("<HH2sHI", group, number, vr, 0, length)


def deflated(
    path: Path, *, pixels: int | None = None, before: int = 0, behind: int = 0, rows: int = 8, cut: int = 0
) -> Path:
    """A slice of 8 columns, deflated piece by piece.

    Args:
        pixels: Bytes of its pixel data; by default what it promises.
        before, behind: Bytes of elements before and behind them.
        cut: Bytes taken from the end.
    """
    (plain,) = make_series(
        path.parent / f"plain-{path.stem}", np.ones((8, rows if rows < 99 else 8, 1), np.int16), np.eye(4)
    )
    dataset = pydicom.dcmread(plain)
    dataset.Rows = rows
    del dataset.PixelData
    dataset.file_meta.TransferSyntaxUID = DEFLATED
    head = pydicom.filebase.DicomBytesIO()
    head.is_little_endian, head.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(head, dataset)
    meta = pydicom.filebase.DicomBytesIO()
    write_file_meta_info(meta, dataset.file_meta, enforce_standard=True)
    pack = zlib.compressobj(1, wbits=-15)
    count = 2 * 8 * rows if pixels is None else pixels
    with path.open("wb") as file:
        file.write(bytes(128) + b"DICM" + meta.getvalue())
        for part in (
            [head.getvalue()],
            [element(0x0071, 0x1001, b"OB", before), *zeros(before)] if before else [],
            [element(0x7FE0, 0x0010, b"OW", count), *zeros(count)],
            [element(0x7FE1, 0x1001, b"OB", behind), *zeros(behind)] if behind else [],
        ):
            for block in part:
                file.write(pack.compress(block))
        file.write(pack.flush())
        if cut:
            file.truncate(file.tell() - cut)
    return path


def zeros(count: int) -> Iterable[bytes]:
    yield from (bytes(min(1 << 20, count - at)) for at in range(0, count, 1 << 20))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pixels": 5 * HEAD}, "its pixel data unpack to 335544320 bytes, and its header promises 128"),
        ({"before": 3 * HEAD}, "its header unpacks to more than the 67108864 bytes that are read"),
        ({"cut": 8}, "end too early"),
    ],
)
def test_a_file_that_unpacks_to_more_than_it_promises_is_refused_when_it_is_looked_at(
    tmp_path: Path, catalogue: Catalogue, changes: dict[str, int], words: str
) -> None:
    path = deflated(tmp_path / "bomb.dcm", **changes)
    (item,) = scan(path, catalogue)
    assert [words in one.message for one in item.errors] == [True], item.problems
    with pytest.raises(BadImage, match=words):
        read_dicom(path)


def test_what_lies_behind_the_pixels_is_bounded_when_it_is_read(tmp_path: Path, catalogue: Catalogue) -> None:
    path = deflated(tmp_path / "bomb.dcm", behind=3 * HEAD)
    with pytest.raises(BadImage, match="unpacks to more than the 128 bytes of pixel data that its header promises"):
        read(path, catalogue)
    assert instance(path)[0]  # the header alone is read


def test_a_large_file_that_keeps_its_promise_is_read(tmp_path: Path, catalogue: Catalogue, monkeypatch) -> None:
    monkeypatch.setattr("voxgraft_dicom.objects.deflated.HEAD", 1 << 18)
    path = deflated(tmp_path / "large.dcm", rows=60_000, pixels=2 * 8 * 60_000)
    volume = read(path, catalogue)
    assert volume.shape[:2] == (8, 60_000) and not volume.array.any()
    dataset = read_dicom(path)
    assert dataset.file_meta.TransferSyntaxUID == DEFLATED and len(dataset.PixelData) == 2 * 8 * 60_000


def test_a_promise_beyond_the_memory_is_refused(tmp_path: Path, catalogue: Catalogue, monkeypatch) -> None:
    path = deflated(tmp_path / "large.dcm", rows=60_000, pixels=2 * 8 * 60_000)
    monkeypatch.setattr("voxgraft_dicom.objects.deflated.HEAD", 1 << 18)
    monkeypatch.setattr("voxgraft.plugin.free_memory", lambda: 1 << 20)
    assert not scan(path, catalogue)[0].errors  # looking takes no more than the header
    with pytest.raises(BadImage, match=r"GiB of memory, and .* are free"):
        read_dicom(path)


def test_a_bomb_takes_little_time_and_memory(tmp_path: Path) -> None:
    path = deflated(tmp_path / "bomb.dcm", pixels=1 << 30)
    code = "import sys\nfrom voxgraft.cli import main\nmain(['inspect', sys.argv[1]], standalone_mode=False)"
    since = time.monotonic()
    said, peak = run_measured(code, str(path))
    assert "its pixel data unpack to 1073741824 bytes" in said
    assert peak < 500 and time.monotonic() - since < 60
