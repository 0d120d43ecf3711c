"""DICOM files as pydicom gives them; a deflated one (PS3.5, annex A.5) is inflated no further than its header promises.

pydicom inflates the whole file before it looks at the first element: 4 MB may become 4 GiB.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from struct import unpack_from
from typing import Any

from isal import isal_zlib

from voxgraft.plugin import BadImage

DEFLATED, EXPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
HEAD = 1 << 26
"""Bytes to which all but the pixels of a deflated file may inflate."""
COPIES = 3
"""Times the inflated bytes are in memory while pydicom reads them."""
_DAMAGED: Any = isal_zlib.error
_BLOCK = 1 << 20
_PIXELS = {0x10: "PixelData", 0x08: "FloatPixelData", 0x09: "DoubleFloatPixelData"}
"""The three attributes that may hold pixels, by their numbers in group 7FE0."""
_PREAMBLE, _META = 128, 1 << 14


def read_dicom(path: Path, *, pixels: bool = True, **options: Any) -> Any:
    """What `pydicom.dcmread` gives of a file, with or without its pixel data.

    Args:
        path: A DICOM file, with or without preamble.
        pixels: Read the pixel data too.
        options: Further ones of `pydicom.dcmread`, such as `specific_tags`.

    Raises:
        BadImage: It is deflated, and unpacks to more than its header promises or than there is memory for.
        OSError: It cannot be read.
    """
    if (start := _deflated_from(path)) is not None:
        return _read_deflated(path, start, pixels, options)[0]
    from pydicom import dcmread

    return dcmread(path, force=True, stop_before_pixels=not pixels, **options)


def read_head(path: Path) -> tuple[Any, int]:
    """A file, with empty pixel data where it is deflated; and the length of its pixel data in bytes, -1 for none.

    Raises:
        BadImage, OSError: See `read_dicom`.
    """
    if (start := _deflated_from(path)) is not None:
        return _read_deflated(path, start, False, {})
    dataset = read_dicom(path)
    return dataset, next((len(dataset[name].value) for name in _PIXELS.values() if name in dataset), -1)


def _deflated_from(path: Path) -> int | None:
    """The byte at which deflated elements begin; None where the file is not deflated."""
    with path.open("rb") as file:
        head = file.read(_META)
    at = _PREAMBLE + 4 if head[_PREAMBLE : _PREAMBLE + 4] == b"DICM" else 0
    deflated = False
    while head[at : at + 2] == b"\x02\0" and at + 8 <= len(head):
        long = head[at + 4 : at + 6] in (b"OB", b"UN", b"OW", b"UT", b"SQ")
        start = at + (12 if long else 8)
        length = unpack_from("<I" if long else "<H", head.ljust(start), start - (4 if long else 2))[0]
        deflated |= head[at + 2 : at + 4] == b"\x10\0" and head[start : start + length].rstrip(b"\0 ") == DEFLATED
        at = start + length
    return at if deflated else None


def _read_deflated(path: Path, start: int, pixels: bool, options: dict[str, Any]) -> tuple[Any, int]:
    """A deflated file, and the length of its pixel data, -1 where there are none.

    Raises:
        BadImage: See `read_dicom`.
    """
    data, ended = _inflated(path, start, HEAD)
    dataset, at = _elements(path, start, data, False, options)
    found = data[at : at + 2] == b"\xe0\x7f" and at + 12 <= len(data) and data[at + 2] in _PIXELS
    length = unpack_from("<I", data, at + 8)[0] if found else -1
    if found:
        setattr(dataset, _PIXELS[data[at + 2]], b"")
    if not ended and length < 0:
        raise BadImage(path, f"it is deflated, and its header unpacks to more than the {HEAD} bytes that are read")
    needed = _promised(path, start, data) if length >= 0 else 0
    if length > needed + HEAD:
        raise BadImage(path, f"its pixel data unpack to {length} bytes, and its header promises {needed}")
    if pixels and not ended:
        _check_memory(path, at + needed)
        data, ended = _inflated(path, start, at + needed + HEAD)
        if not ended:
            raise BadImage(path, f"it unpacks to more than the {needed} bytes of pixel data that its header promises")
    return (_elements(path, start, data, True, options)[0] if pixels else dataset), length


def _promised(path: Path, start: int, data: bytes) -> int:
    """The bytes of pixel data that the header promises."""
    dataset, _ = _elements(path, start, data, False, {})
    count = 1
    for name, usual in (("Rows", 0), ("Columns", 0), ("NumberOfFrames", 1), ("SamplesPerPixel", 1)):
        count *= int(dataset.get(name) or usual)
    return (count * int(dataset.get("BitsAllocated") or 0) + 7) // 8


def _elements(path: Path, start: int, data: bytes, pixels: bool, options: dict[str, Any]) -> tuple[Any, int]:
    """The elements of inflated bytes, and the byte among these at which reading stopped."""
    from pydicom import dcmread

    with path.open("rb") as file:
        meta = file.read(start).replace(DEFLATED, EXPLICIT)
    stream = BytesIO(meta + data)
    dataset = dcmread(stream, force=True, stop_before_pixels=not pixels, **options)
    dataset.file_meta.TransferSyntaxUID = DEFLATED.decode()
    dataset.filename = str(path)
    return dataset, stream.tell() - start


def _inflated(path: Path, start: int, most: int) -> tuple[bytes, bool]:
    """At most so many inflated bytes, and whether that is all.

    Raises:
        BadImage: They are damaged, or break off.
    """
    unpack, found = isal_zlib.decompressobj(wbits=-15), bytearray()
    with path.open("rb") as file:
        file.seek(start)
        try:
            while not unpack.eof and len(found) < most:
                data = unpack.unconsumed_tail or file.read(_BLOCK)
                block = unpack.decompress(data, min(_BLOCK, most - len(found)))
                if not data and not block:
                    raise BadImage(path, "its deflated data end too early; the file is truncated, copy it again")
                found += block
        except _DAMAGED:
            raise BadImage(path, "its deflated data are damaged; copy the file again") from None
    return bytes(found), bool(unpack.eof)


def _check_memory(path: Path, size: int) -> None:
    from voxgraft.plugin import free_memory, gigabytes

    if COPIES * size > (free := free_memory()):
        raise BadImage(path, f"reading it takes {gigabytes(COPIES * size)} of memory, and {gigabytes(free)} are free")
