"""Pixel data as the headers promise them: whether they are all there, and whether their form can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import error, unpack

from voxgraft.plugin import Problem

from .attributes import shown
from .elements import UNDEFINED
from .frames import Frame, headers_of
from .header import NATIVE, Header

KNOWN = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
FORM = ("BitsAllocated", "PixelRepresentation", "SamplesPerPixel")
RLE = "1.2.840.10008.1.2.5"
CODECS = {
    "1.2.840.10008.1.2.4.50": ("JPEG baseline", ("pillow", "SimpleITK")),
    "1.2.840.10008.1.2.4.51": ("JPEG extended", ("SimpleITK", "pillow")),
    "1.2.840.10008.1.2.4.57": ("JPEG lossless", ("SimpleITK",)),
    "1.2.840.10008.1.2.4.70": ("JPEG lossless", ("SimpleITK",)),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS lossless", ("pyjpegls",)),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS", ("pyjpegls",)),
    "1.2.840.10008.1.2.4.90": ("JPEG 2000 lossless", ("SimpleITK", "pylibjpeg")),
    "1.2.840.10008.1.2.4.91": ("JPEG 2000", ("SimpleITK", "pylibjpeg")),
    "1.2.840.10008.1.2.4.201": ("HTJ2K lossless", ("pylibjpeg",)),
    "1.2.840.10008.1.2.4.202": ("HTJ2K lossless", ("pylibjpeg",)),
    "1.2.840.10008.1.2.4.203": ("HTJ2K", ("pylibjpeg",)),
    RLE: ("RLE", ("pylibjpeg", "pydicom")),
}
"""The compressed transfer syntaxes that are read: how each is called, and its decoders in the order of trial."""
COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
TRUNCATED = "the file is truncated, copy it again"


def missing_pixels(header: Header) -> str:
    """Why the file cannot hold the pixels that its header promises; empty where it can, or where only reading tells."""
    if header.length < 0:
        if not header.plain:
            return ""
        fragments, frames = _fragments(header), header.whole("NumberOfFrames", 1)
        if fragments < 1:
            return f"its compressed pixel data break off; {TRUNCATED}"
        few = fragments < frames and header.syntax in CODECS  # each frame has a fragment of its own; films may have one
        return f"it has {fragments} compressed pieces for {frames} frames; {TRUNCATED}" if few else ""
    needed = stored_bytes(header)
    stored = min(header.length, header.size - header.pixels) if header.plain else header.length
    if stored >= needed:
        return ""
    return f"it has {stored} bytes of pixel data and its header promises {needed}; {TRUNCATED}"


def stored_bytes(header: Header) -> int:
    """The length of the uncompressed pixels; two neighbours share their colour in the forms named 422."""
    shared = "422" in header.text("PhotometricInterpretation")
    samples = 2 if shared else max(1, header.whole("SamplesPerPixel", 1))
    pixels = header.whole("Rows") * header.whole("Columns") * max(1, header.whole("NumberOfFrames", 1))
    return (pixels * samples * header.whole("BitsAllocated") + 7) // 8


def _fragments(header: Header) -> int:
    """The number of fragments of compressed pixel data; -1 where they break off before the delimiter behind them."""
    at, several = header.pixels, 0
    with header.path.open("rb", buffering=0) as file:
        while True:
            file.seek(at)
            try:
                group, element, length = unpack("<HHI", file.read(8))
            except error:
                return -1
            if (group, element) == (0xFFFE, 0xE0DD):
                return several - 1  # the first is the table of offsets
            if (group, element) != (0xFFFE, 0xE000) or length == UNDEFINED:
                return -1
            at, several = at + 8 + length, several + 1


def _padded_frames(header: Header) -> bool:
    """Whether uncompressed frames leave room for padding behind each, so that nothing says where they begin."""
    frames = header.whole("NumberOfFrames", 1)
    if header.length < 0 or frames < 2 or header.whole("SamplesPerPixel", 1) != 1:
        return False
    surplus = header.length - stored_bytes(header)
    return surplus > 1 and any((surplus - even) % frames == 0 for even in (0, 1))


def pixel_problems(frames: Sequence[Frame]) -> tuple[Problem, ...]:
    """What in the pixels' form cannot be read, or should be known."""
    headers, first = headers_of(frames), frames[0].header
    if (wrong := _unreadable(headers)) is not None:
        return (wrong,)
    if any(_bad_scaling(frame) for frame in frames):
        return (Problem("bad-rescale", "its rescale slope or intercept is zero or no number"),)
    for name, usual in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        lacking = sum(not frame.text(name) for frame in frames)
        if 0 < lacking < len(frames) and any(frame.number(name, usual) != usual for frame in frames):
            return (Problem("bad-rescale", f"{lacking} of its {len(frames)} slices lack the {name} of the others"),)
    problems = []
    if assumed := sorted({name for header in headers for name in _not_said(header)}):
        text = f"its header lacks or misspells {', '.join(assumed)}; the usual value is assumed"
        problems.append(Problem("assumed", text, "warning"))
    if len(bits := {header.text("BitsStored") for header in headers}) > 1:
        text = f"its slices use different numbers of bits ({_listed(bits)}); each is read by its own"
        problems.append(Problem("mixed-bits", text, "warning"))
    if first.text("PhotometricInterpretation") == "MONOCHROME1":
        text = "it is MONOCHROME1: low values are meant to be shown bright; the values are left as they are"
        problems.append(Problem("monochrome1", text, "warning"))
    if first.text("ModalityLUTSequence"):
        text = "it has a modality look-up table, which is not applied; the values are as stored"
        problems.append(Problem("modality-lut", text, "warning"))
    if any(header.text("LossyImageCompression") == "01" for header in headers):
        problems.append(Problem("lossy", "it was compressed with loss", "warning"))
    return tuple(problems)


def _unreadable(headers: Sequence[Header]) -> Problem | None:
    forms = {tuple(header.text(name) for name in FORM) for header in headers}
    if len(forms) > 1:
        return Problem("mixed-pixels", f"its slices store their pixels in {len(forms)} different forms")
    if any(header.whole("Rows") < 1 or header.whole("Columns") < 1 for header in headers):
        return Problem("pixel-form", "its header gives no number of rows and columns")
    first = headers[0]
    bits, samples = first.whole("BitsAllocated"), first.whole("SamplesPerPixel", 1)
    if any(header.floating for header in headers):
        return _floating(headers)
    if bits not in (8, 16, 32) or samples not in (1, 3):
        return Problem("pixel-form", f"pixels of {samples} samples with {bits} bits are not read")
    unknown = {header.syntax for header in headers} - CODECS.keys() - NATIVE
    if unknown:
        return Problem("transfer-syntax", f"its pixels are written in a way that is not read ({shown(min(unknown))})")
    photometric = {header.text("PhotometricInterpretation") for header in headers}
    if "PALETTE COLOR" in photometric and (samples != 1 or len(photometric) > 1):
        return Problem("palette", "its pixels are numbers of colours in a palette, but not in all of its files")
    if samples == 1 and len(photometric) > 1:
        return Problem("mixed-pixels", f"in its slices high values mean different things ({_listed(photometric)})")
    if samples == 3 and not photometric <= COLOURS:
        return Problem(
            "pixel-form", f"colours of the kind {shown(min(photometric - COLOURS)) or 'unknown'} are not read"
        )
    if padded := next((header for header in headers if _padded_frames(header)), None):
        text = f"{padded.path.name}: it has {padded.length} bytes of pixels, and its frames need {stored_bytes(padded)}"
        return Problem("pixel-form", f"{text}; nothing says where each of them begins")
    if any(not _bits_fit(header) for header in headers):
        return Problem("pixel-form", f"it does not say which of the {bits} bits of a pixel are used")
    return None


def _floating(headers: Sequence[Header]) -> Problem | None:
    """What hinders reading pixels that are floating-point numbers; only uncompressed little endian ones are read."""
    first, what = headers[0], "its pixels are floating-point numbers"
    if len({header.floating for header in headers}) > 1:
        return Problem("mixed-pixels", f"{what} of different kinds in its slices")
    if first.whole("BitsAllocated") != 8 * first.floating or first.whole("SamplesPerPixel", 1) != 1:
        return Problem("pixel-form", f"{what} of {first.floating} bytes, and its header says otherwise")
    if any(not header.native for header in headers):
        return Problem("transfer-syntax", f"{what}, and written in a way that is not read for these")
    return None


def _not_said(header: Header) -> Iterator[str]:
    """What the standard demands of every image and this one lacks; its pixels are taken as they usually are."""
    bits = () if header.floating else ("BitsStored", "PixelRepresentation")  # which numbers with a point do not have
    for name in ("TransferSyntaxUID", "SamplesPerPixel", *bits):
        if not header.text(name):
            yield name
    if header.text("PhotometricInterpretation") not in KNOWN | COLOURS:
        yield "PhotometricInterpretation"


def _listed(values: set[str]) -> str:
    return ", ".join(shown(word) or "missing" for word in sorted(values))


def _bits_fit(header: Header) -> bool:
    used = header.whole("BitsStored", header.whole("BitsAllocated"))
    high = header.whole("HighBit", used - 1)
    return 0 < used <= high + 1 <= header.whole("BitsAllocated")


def _bad_scaling(frame: Frame) -> bool:
    named = [name for name in ("RescaleSlope", "RescaleIntercept") if frame.text(name)]
    return any(frame.numbers(name, 1) is None for name in named) or frame.number("RescaleSlope", 1.0) == 0


def channels_of(header: Header) -> int:
    """The number of colours of a pixel."""
    palette = header.text("PhotometricInterpretation") == "PALETTE COLOR"
    return 3 if palette or header.whole("SamplesPerPixel", 1) == 3 else 1
