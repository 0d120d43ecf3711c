"""What unpacks to more than its header promises, or than there is memory for, is refused before it is unpacked."""

from __future__ import annotations

import bz2
import lzma
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from peak_memory import run_measured
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.read import read, scan

SIZE = 1 << 26
"""Bytes to which the bombs unpack."""


def zipped(count: int = SIZE, wbits: int = 15, head: bytes = b"") -> bytes:
    pack = zlib.compressobj(1, wbits=wbits)
    parts = [pack.compress(head), *(pack.compress(bytes(1 << 20)) for _ in range(count >> 20)), pack.flush()]
    return b"".join(parts)


def nrrd(encoding: str, body: bytes, sizes: str = "8 8 8", more: str = "") -> bytes:
    head = (
        f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nendian: little\nencoding: {encoding}\n{more}"
        "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
    )
    return head.encode() + body


def mha(body: bytes) -> bytes:
    head = "NDims = 3\nDimSize = 8 8 8\nElementType = MET_SHORT\nCompressedData = True\nElementDataFile = LOCAL\n"
    return head.encode() + body


def part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*parts: bytes, size: tuple[int, int] = (8, 8), bits: int = 8) -> bytes:
    head = part(b"IHDR", struct.pack(">IIBBBBB", *size, bits, 0, 0, 0, 0))
    pixels = part(b"IDAT", zlib.compress(bytes(9 * 8 * bits // 8)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(parts) + pixels + part(b"IEND", b"")


def tiff(compression: int, strip: bytes, side: int = 16) -> bytes:
    tags = [(256, side), (257, side), (258, 8), (259, compression), (262, 1), (273, 8), (277, 1), (278, side)]
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in [*tags, (279, len(strip))])
    strip += bytes(len(strip) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", 9) + entries + bytes(4)


def nifti(shape: tuple[int, int, int]) -> bytes:
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header["sform_code"], header["vox_offset"], header["magic"] = 1, 352, b"n+1"
    for axis, name in enumerate(("srow_x", "srow_y", "srow_z")):
        header[name] = np.eye(4)[axis]
    return bytes(header.binaryblock) + bytes(4)


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a.mha": (lambda: mha(zipped()), "unpack to more than the 1024 bytes that its header promises"),
    "a.nrrd": (lambda: nrrd("gzip", zipped(wbits=31)), "unpack to more than the 1024 bytes that its header promises"),
    "b.nrrd": (lambda: nrrd("bzip2", bz2.compress(bytes(SIZE))), "unpack to more than the 1024 bytes"),
    "c.nrrd": (lambda: nrrd("gzip", zipped(wbits=31), more="byte skip: 99999999999\n"), "leaves out 99999999999 bytes"),
    "d.nrrd": (lambda: nrrd("bzip2", bz2.compress(bytes(SIZE)), "60000 60000 60000"), "packed bytes cannot hold"),
    "e.nrrd": (lambda: nrrd("text", b"1" * (1 << 22)), "something other than numbers"),
    "a.png": (lambda: png(part(b"zTXt", b"key\0\0" + zipped())), "unpacks to more than a megabyte"),
    "b.png": (lambda: png(part(b"iTXt", b"key\0\1\0\0\0" + zipped())), "unpacks to more than a megabyte"),
    "c.png": (lambda: png(part(b"iCCP", b"key\0\0" + zipped())), "unpacks to more than a megabyte"),
    "d.png": (lambda: png(size=(1 << 30, 1 << 30)), "more than 170 million pixels"),
    "a.tif": (lambda: tiff(8, zipped()), "unpack to more than the 256 bytes of a part"),
    "b.tif": (lambda: tiff(34925, lzma.compress(bytes(SIZE), preset=0)), "unpack to more than the 256 bytes of a part"),
    "c.tif": (lambda: tiff(32773, b"\x81\0" * (17 << 20)), "unpack to more than the 256 bytes of a part"),
    "d.tif": (lambda: tiff(8, zipped(1 << 20), 65_000), "more than the 2147483648 that are read"),
    "a.nii.gz": (lambda: zipped(1 << 20, 31, nifti((30_000, 30_000, 30_000))), "bytes of gzip cannot hold"),
    "a.pgm": (lambda: b"P5 60000 60000 255\n" + bytes(99), "more than 170 million pixels"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_its_numbers(tmp_path: Path, name: str) -> None:
    content, words = BOMBS[name]
    (tmp_path / name).write_bytes(content())
    code = (
        "import sys\nfrom voxgraft.discovery import discover\nfrom voxgraft.imaging.read import read\n"
        "try: read(sys.argv[1], discover())\nexcept Exception as error: print(type(error).__name__, error)"
    )
    since = time.monotonic()
    said, peak = run_measured(code, str(tmp_path / name))
    assert said.startswith(f"BadImage {tmp_path / name}: ") and words in said
    assert peak < 350 and time.monotonic() - since < 60


def test_voxels_beyond_the_memory_are_refused_before_they_are_read(tmp_path: Path, catalogue: Catalogue) -> None:
    path = tmp_path / "sparse.nii"
    with path.open("wb") as file:
        file.write(nifti((30_000, 30_000, 9_000)))
        file.truncate(352 + 2 * 30_000 * 30_000 * 9_000)
    assert not scan(path, catalogue)[0].errors
    with pytest.raises(BadImage, match=r"30000x30000x9000 voxels take .* GiB of memory, and .* are free"):
        read(path, catalogue)


@pytest.mark.parametrize("name", ["pipe.nii", "pipe.dcm", "pipe.png", "pipe"])
def test_a_pipe_or_a_device_is_no_image(tmp_path: Path, catalogue: Catalogue, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(BadImage, match="not a regular file"):
        scan(tmp_path / name, catalogue)
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    with pytest.raises(BadImage, match="not a regular file"):
        scan(tmp_path / "zero.nii", catalogue)
    with pytest.raises(DataError, match="no file in this folder"):
        scan(tmp_path, catalogue)  # in a tree they are not looked at
    (tmp_path / "loop.nii").symlink_to("loop.nii")
    (item,) = scan(tmp_path, catalogue)
    assert "symbolic links" in item.errors[0].message


def test_text_voxels_are_read_across_blocks_of_the_file(tmp_path: Path, catalogue: Catalogue) -> None:
    values = np.arange(64 * 64 * 80, dtype=np.int16).reshape(64, 64, 80, order="F")
    words = "\n".join(map(str, values.ravel(order="F").tolist()))
    (tmp_path / "a.nrrd").write_bytes(nrrd("text", words.encode(), "64 64 80"))
    np.testing.assert_array_equal(read(tmp_path / "a.nrrd", catalogue).array, values)


def test_a_gzipped_nifti_is_unpacked_no_further_than_its_header_promises_when_cleaned() -> None:
    from voxgraft_dicom.deidentify.nifti import Odd, cleaned, unpacked

    plain = nifti((8, 8, 8)) + bytes(1024)
    assert len(unpacked(zipped(1 << 26, 31, plain))) <= 1 << 12
    assert cleaned(unpacked(zipped(0, 31, plain)))[352:] == plain[352:]
    with pytest.raises(Odd, match=r"promises 54,000,000,000,352 bytes, and .* of memory are free"):
        unpacked(zipped(1 << 20, 31, nifti((30_000, 30_000, 30_000))))
