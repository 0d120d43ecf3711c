"""Compressed frames are decoded only where stream and header promise the same, and no more than there is memory for."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from dicom_series import make_series
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import BadImage
from voxgraft.imaging.read import read


def stream_of(plain: Path, syntax: str) -> bytes:
    dataset = pydicom.dcmread(plain)
    dataset.compress(syntax)
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


def forged(stream: bytes, syntax: str) -> bytes:
    """A stream that states 60,000 by 60,000 pixels."""
    data = bytearray(stream)
    if syntax == JPEG2000Lossless:
        at = data.find(b"\xff\x51") + 6
        data[at : at + 8] = data[at + 16 : at + 24] = struct.pack(">II", 60_000, 60_000)
    else:
        at = data.find(b"\xff\xf7") + 5
        data[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def packed(plain: Path, syntax: str, stream: bytes, **changes: Any) -> Path:
    dataset = pydicom.dcmread(plain)
    dataset.file_meta.TransferSyntaxUID = syntax
    for name, value in changes.items():
        setattr(dataset, name, value)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(plain.with_name("packed.dcm"))
    return plain.with_name("packed.dcm")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_stream_of_another_size_than_its_header_is_not_decoded(tmp_path: Path, catalogue: Catalogue, syntax) -> None:
    (plain,) = make_series(tmp_path / "a", np.ones((64, 64, 1), np.uint16), np.eye(4))
    path = packed(plain, syntax, forged(stream_of(plain, syntax), syntax))
    with pytest.raises(BadImage, match="a frame of it has 60000x60000 pixels, and its header promises 64x64"):
        read(path, catalogue)
    path = packed(plain, syntax, stream_of(plain, syntax), Rows=60_000, Columns=60_000)
    with pytest.raises(BadImage, match="a frame of it has 64x64 pixels, and its header promises 60000x60000"):
        read(path, catalogue)


def test_what_rle_cannot_hold_and_what_memory_does_not_is_refused(
    tmp_path: Path, catalogue: Catalogue, monkeypatch
) -> None:
    (plain,) = make_series(tmp_path / "a", np.ones((64, 64, 1), np.uint16), np.eye(4))
    path = packed(plain, RLELossless, stream_of(plain, RLELossless), Rows=60_000, Columns=60_000)
    with pytest.raises(BadImage, match=r"its header promises 7200000000 bytes a frame, which .* of RLE cannot hold"):
        read(path, catalogue)
    monkeypatch.setattr("voxgraft_dicom.reader.decode.SMALL", 1 << 10)
    monkeypatch.setattr("voxgraft_dicom.reader.decode.free_memory", lambda: 1 << 14)
    with pytest.raises(BadImage, match=r"decoding a frame of it takes .* GiB of memory"):
        read(packed(plain, RLELossless, stream_of(plain, RLELossless)), catalogue)
