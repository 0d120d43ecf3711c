"""Pixel data: whether they are all there; straight from the file, or through a decoder, into a volume; rescaled."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from struct import error, unpack
from typing import Any

import numpy as np

from voxgraft.errors import BadImage
from voxgraft.volume import Array, Problem

from .elements import IMPLICIT, UNDEFINED
from .header import Header

FORMAT = ("BitsAllocated", "PixelRepresentation", "SamplesPerPixel")
NAMES = {
    "1.2.840.10008.1.2.4.50": "JPEG baseline",
    "1.2.840.10008.1.2.4.51": "JPEG extended",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.5": "RLE",
}


def missing_pixels(header: Header) -> str:
    """Why the file cannot hold the pixels that its header promises; empty where it can, or where only reading tells."""
    if not header.plain:
        return ""
    if header.length < 0:
        return (
            ""
            if _fragments_end(header)
            else "its compressed pixel data break off; the file is truncated, copy it again"
        )
    needed = stored_bytes(header)
    there = min(header.length, header.size - header.pixels)
    if there >= needed * max(1, header.whole("NumberOfFrames", 1)):
        return ""
    return f"it has {there} bytes of pixel data and its header promises {needed}; the file is truncated, copy it again"


def stored_bytes(header: Header) -> int:
    """The length of one uncompressed frame; two neighbouring pixels share their colour in the forms named 422."""
    shared = "422" in header.text("PhotometricInterpretation")
    samples = 2 if shared else max(1, header.whole("SamplesPerPixel", 1))
    return header.whole("Rows") * header.whole("Columns") * samples * header.whole("BitsAllocated") // 8


def _fragments_end(header: Header) -> bool:
    """Whether the fragments of compressed pixel data are all there, up to the delimiter behind them."""
    at, several = header.pixels, 0
    with header.path.open("rb", buffering=0) as file:
        while True:
            try:
                group, element, length = unpack("<HHI", os.pread(file.fileno(), 8, at))
            except error:
                return False
            if (group, element) == (0xFFFE, 0xE0DD):
                return several > 1  # the first is the table of offsets
            if (group, element) != (0xFFFE, 0xE000) or length == UNDEFINED:
                return False
            at, several = at + 8 + length, several + 1


def pixel_problems(headers: Sequence[Header]) -> tuple[Problem, ...]:
    """What in the pixels' form cannot be read, or should be known."""
    first = headers[0]
    forms = {tuple(header.text(name) for name in FORMAT) for header in headers}
    if len(forms) > 1:
        return (Problem("mixed-pixels", f"its slices store their pixels in {len(forms)} different forms"),)
    bits, samples = first.whole("BitsAllocated"), first.whole("SamplesPerPixel", 1)
    if bits not in (8, 16, 32) or samples not in (1, 3) or (samples == 3 and bits != 8):
        return (Problem("pixel-form", f"pixels of {samples} samples with {bits} bits are not read"),)
    photometric = first.text("PhotometricInterpretation")
    if photometric == "PALETTE COLOR":
        return (Problem("palette", "its pixels are numbers of colours in a palette, which is not read"),)
    if any(header.whole("Rows") < 1 or header.whole("Columns") < 1 for header in headers):
        return (Problem("pixel-form", "its header gives no number of rows and columns"),)
    if any(_bad_scaling(header) for header in headers):
        return (Problem("bad-rescale", "its rescale slope or intercept is zero or no number"),)
    problems = []
    if photometric == "MONOCHROME1":
        text = "it is MONOCHROME1: low values are meant to be shown bright; the values are left as they are"
        problems.append(Problem("monochrome1", text, "warning"))
    if first.text("ModalityLUTSequence"):
        text = "it has a modality look-up table, which is not applied; the values are as stored"
        problems.append(Problem("modality-lut", text, "warning"))
    if any(header.text("LossyImageCompression") == "01" for header in headers):
        problems.append(Problem("lossy", "it was compressed with loss", "warning"))
    return tuple(problems)


def _bad_scaling(header: Header) -> bool:
    given = [name for name in ("RescaleSlope", "RescaleIntercept") if header.text(name)]
    return any(header.numbers(name, 1) is None for name in given) or header.number("RescaleSlope", 1.0) == 0


def read_pixels(headers: Sequence[Header]) -> Array:
    """The intensities of slices of one form: (slice, row, column), or (slice, row, column, colour).

    Raises:
        BadImage: A file is damaged, or no decoder for it is installed.
        OSError: A file cannot be read.
    """
    first = headers[0]
    kind = "u" if first.whole("PixelRepresentation") == 0 else "i"
    stored = np.dtype(f"<{kind}{first.whole('BitsAllocated') // 8}")
    colours = (3,) if first.whole("SamplesPerPixel", 1) == 3 else ()
    stack = np.empty((len(headers), first.whole("Rows"), first.whole("Columns"), *colours), stored)
    for plane, header in zip(stack, headers, strict=True):
        if header.native and not colours:
            _read_into(plane, header)
            _without_unused_bits(plane, header)
        else:
            _decode_into(plane, header)
    return stack if colours else _rescaled(stack, headers)


def _read_into(plane: Array, header: Header) -> None:
    with header.path.open("rb", buffering=0) as file:
        room = plane.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(room):
            got = os.preadv(file.fileno(), [room[done:]], header.pixels + done)
            if not got:
                raise BadImage(header.path, f"it ends after {done} of {len(room)} bytes of pixel data")
            done += got


def _without_unused_bits(plane: Array, header: Header) -> None:
    """Clear the bits around the stored ones, where old scanners kept overlays, and extend the sign (PS3.5, 8.1.1)."""
    allocated = plane.dtype.itemsize * 8
    used = header.whole("BitsStored", allocated)
    high = header.whole("HighBit", used - 1)
    if not 0 < used <= high + 1 <= allocated:
        raise BadImage(header.path, f"its pixels are said to use {used} bits up to bit {high} of {allocated}")
    if used < allocated:
        np.left_shift(plane, allocated - 1 - high, out=plane)
        np.right_shift(plane, allocated - used, out=plane)


def _decode_into(plane: Array, header: Header) -> None:
    try:
        pixels = _by_pydicom(header)
    except Exception:  # whatever a decoder says of a damaged or unknown stream, another may manage
        try:
            pixels = _by_simpleitk(header, plane.dtype)
        except Exception as error:
            name = NAMES.get(header.syntax, header.syntax or "an unknown transfer syntax")
            raise BadImage(header.path, f"its pixels cannot be decoded ({name}); the file is damaged") from error
    if pixels.shape != plane.shape:
        raise BadImage(header.path, f"it decodes to the shape {pixels.shape}, its header promises {plane.shape}")
    if pixels.dtype.itemsize > plane.dtype.itemsize or pixels.dtype.kind not in "iu":
        raise BadImage(header.path, f"it decodes to {pixels.dtype}, its header promises {plane.dtype}")
    plane[...] = pixels


def _by_pydicom(header: Header) -> Array:
    import pydicom

    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(header.path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = IMPLICIT
        pixels: Array = dataset.pixel_array
    return pixels


def _by_simpleitk(header: Header, stored: np.dtype[Any]) -> Array:
    """Decode what pydicom has no decoder for, such as JPEG lossless; SimpleITK rescales, which is undone here."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    pixels: Array = sitk.GetArrayFromImage(sitk.ReadImage(str(header.path)))
    pixels = pixels[0] if pixels.ndim > 2 and pixels.shape[0] == 1 else pixels
    if header.whole("SamplesPerPixel", 1) == 3:
        return pixels
    slope, intercept = header.number("RescaleSlope", 1.0), header.number("RescaleIntercept", 0.0)
    values = np.rint((pixels.astype(np.float64) - intercept) / slope)
    if values.min() < np.iinfo(stored).min or values.max() > np.iinfo(stored).max:
        raise ValueError(f"decoded values do not fit {stored}")
    return values.astype(stored)


def _rescaled(stack: Array, headers: Sequence[Header]) -> Array:
    """Intensities from stored values: whole numbers stay whole where they fit, int16 if possible; else float32."""
    slopes = [header.number("RescaleSlope", 1.0) for header in headers]
    intercepts = [header.number("RescaleIntercept", 0.0) for header in headers]
    if any(slope != 1 for slope in slopes) or any(not value.is_integer() for value in intercepts):
        scaled = stack.astype(np.float32)
        for plane, slope, intercept in zip(scaled, slopes, intercepts, strict=True):
            plane *= np.float32(slope)
            plane += np.float32(intercept)
        return scaled
    shifts = [int(value) for value in intercepts]
    if stack.dtype.itemsize == 1 and not any(shifts):
        return stack
    lowest = min(int(plane.min()) + shift for plane, shift in zip(stack, shifts, strict=True))
    highest = max(int(plane.max()) + shift for plane, shift in zip(stack, shifts, strict=True))
    kinds = (np.int16, np.uint16, np.int32, np.uint32)
    fitting = [kind for kind in kinds if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max]
    if not fitting:
        return stack.astype(np.float32)
    same_size = np.dtype(fitting[0]).itemsize == stack.dtype.itemsize
    result = stack.view(fitting[0]) if same_size else stack.astype(fitting[0])
    for plane, shift in zip(result, shifts, strict=True):
        if shift:  # modulo 2 to the bits of the type, which is exact, for the sums are known to fit
            np.add(plane, np.array(shift).astype(plane.dtype), out=plane)
    return result
