"""Frames through a decoder: pydicom with the codecs that fit best, SimpleITK where they fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from voxgraft.errors import BadImage
from voxgraft.volume import Array

from .elements import BIG_ENDIAN
from .header import NATIVE, Header, forgiving
from .pixels import CODECS

RLE, EXTENDED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.51"
PREFERRED = {
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    RLE: "pylibjpeg",
}
"""The plugin of pydicom that is tried first; then all others that are there."""


def decoded(header: Header, numbers: Sequence[int], stored: np.dtype[Any]) -> Iterator[Array]:
    """The stored values of a file's frames: (row, column), or (row, column, colour) as RGB.

    Raises:
        BadImage: They cannot be decoded, or do not come out as the header promises.
    """
    try:
        dataset = _dataset(header)
    except Exception as error:  # pydicom fails in many ways on what is badly written
        raise BadImage(header.path, "it cannot be read; the file is damaged, or has changed") from error
    palette = header.text("PhotometricInterpretation") == "PALETTE COLOR"
    if palette and header.syntax == BIG_ENDIAN:
        _swap_tables(dataset)
    colours = header.whole("SamplesPerPixel", 1) == 3
    shape = (header.whole("Rows"), header.whole("Columns"), *((3,) if colours else ()))
    for number in numbers:
        pixels = _decode(header, dataset, stored, number)
        if pixels.shape != shape:
            raise BadImage(header.path, f"it decodes to the shape {pixels.shape}, its header promises {shape}")
        if pixels.dtype.itemsize > stored.itemsize or pixels.dtype.kind not in "iu":
            raise BadImage(header.path, f"it decodes to {pixels.dtype}, its header promises {stored}")
        if header.syntax in NATIVE or header.syntax == RLE:
            pixels = np.array(pixels)
            without_unused_bits(pixels, header)
        yield expanded(pixels, header, dataset) if palette else pixels


def _decode(header: Header, dataset: Any, stored: np.dtype[Any], number: int) -> Array:
    try:
        if header.syntax == EXTENDED and stored.itemsize == 2:
            return _by_simpleitk(header, stored, number)  # of 12 bits, which pydicom's plugins do not know
        return _by_pydicom(header, dataset, number)
    except Exception:  # whatever a decoder says of a damaged or unknown stream, another may manage
        try:
            return _by_simpleitk(header, stored, number)
        except Exception as error:
            name = CODECS.get(header.syntax, "not compressed")
            raise BadImage(header.path, f"its pixels cannot be decoded ({name}); the file is damaged") from error


def expanded(pixels: Array, header: Header, dataset: Any) -> Array:
    """The colours that pixels of a palette stand for, (row, column, colour), in 8 bits a colour.

    Raises:
        BadImage: The palette is missing or broken.
    """
    from pydicom.pixels import apply_color_lut

    try:
        with forgiving():
            colours: Array = apply_color_lut(pixels, dataset)[..., :3]
    except Exception as error:  # pydicom fails in many ways on a broken palette
        raise BadImage(header.path, "its palette of colours is missing or broken") from error
    if colours.dtype.itemsize == 1:
        return colours
    # Tables of 16 bits hold 8-bit colours times 256 or 257; the upper byte is what a screen shows.
    return (colours >> 8).astype(np.uint8)


def _swap_tables(dataset: Any) -> None:
    """Put the words of colour tables into the order that pydicom takes for granted (3.0; segmented ones it turns)."""
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTableData"
        if name in dataset and dataset.get(f"{colour}PaletteColorLookupTableDescriptor")[2] == 16:
            dataset[name].value = np.frombuffer(dataset[name].value, ">u2").astype("<u2").tobytes()


def _dataset(header: Header) -> Any:
    import pydicom

    with forgiving():
        dataset = pydicom.dcmread(header.path, force=True)
        if not dataset.file_meta.get("TransferSyntaxUID"):
            dataset.file_meta.TransferSyntaxUID = header.syntax
        for name in ("SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation", "BitsStored"):
            if dataset.get(name) in (None, ""):
                setattr(dataset, name, _usual(header)[name])
    return dataset


def _usual(header: Header) -> dict[str, Any]:
    """What is meant where an attribute is left out."""
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelRepresentation": 0,
        "BitsStored": header.whole("BitsAllocated"),
    }


def _by_pydicom(header: Header, dataset: Any, number: int) -> Array:
    from pydicom.pixels import get_decoder

    several = header.whole("NumberOfFrames", 1) > 1
    with forgiving():
        decoder = get_decoder(header.syntax)
        plugin = PREFERRED.get(header.syntax, "")
        for name in (plugin, "") if plugin in decoder.available_plugins else ("",):
            try:
                options = {"decoding_plugin": name} if decoder.is_encapsulated else {}
                pixels, meta = decoder.as_array(dataset, index=number if several else None, **options)
            except Exception:
                if not name:
                    raise
            else:
                break
    if pixels.ndim == 3 and meta["photometric_interpretation"] != "RGB":
        raise ValueError(f"colours come out as {meta['photometric_interpretation']}")
    decoded_pixels: Array = pixels
    return decoded_pixels


def _by_simpleitk(header: Header, stored: np.dtype[Any], number: int) -> Array:
    """Decode what pydicom cannot; SimpleITK rescales, which is undone here."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    pixels: Array = sitk.GetArrayFromImage(sitk.ReadImage(str(header.path)))
    colours = header.whole("SamplesPerPixel", 1) == 3
    if pixels.ndim > 2 + colours:
        pixels = pixels[number]
    if colours:
        return pixels
    slope, intercept = header.number("RescaleSlope", 1.0), header.number("RescaleIntercept", 0.0)
    values = np.rint((pixels.astype(np.float64) - intercept) / slope)
    if values.min() < np.iinfo(stored).min or values.max() > np.iinfo(stored).max:
        raise ValueError(f"decoded values do not fit {stored}")
    return values.astype(stored)


def without_unused_bits(plane: Array, header: Header) -> None:
    """Clear the bits around the stored ones, where old scanners kept overlays, and extend the sign (PS3.5, 8.1.1)."""
    allocated = plane.dtype.itemsize * 8
    used = header.whole("BitsStored", allocated)
    if used < allocated:
        np.left_shift(plane, allocated - 1 - header.whole("HighBit", used - 1), out=plane)
        np.right_shift(plane, allocated - used, out=plane)
