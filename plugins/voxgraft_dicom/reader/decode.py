"""Frames through a decoder: pydicom with the codecs that fit best, SimpleITK for what they do not know.

SimpleITK leaves the interpreter's lock while it decodes; pydicom's plugins (pylibjpeg, pyjpegls, Pillow) hold it. So
JPEG 2000, whose decoding takes longest, goes to SimpleITK where that gives the same values.

Decoders take the memory that a stream or a header names, so each frame is looked at before it is given to one.
"""

from __future__ import annotations

import struct
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np

from voxgraft.plugin import Array, BadImage, free_memory, gigabytes

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving
from .attributes import WHOLE_NUMBERS
from .elements import BIG_ENDIAN
from .header import NATIVE, Header
from .jpeg import depth, exact, fits, precision, size_of
from .pixels import CODECS, RLE
from .stored import Strange, keep_stored

PACKED = 128
"""To at most so many times its length a frame of RLE unpacks (PS3.5, annex G)."""
WORK = 12
"""Bytes for each sample that a decoder may hold at once: in 32 bits, and copies."""
SMALL = 1 << 28
"""Bytes that are there without a look."""


def refusal(stream: bytes, header: Header) -> str:
    """Why a frame must not be decoded, as a sentence without the file; empty where it may."""
    promised = header.whole("Rows"), header.whole("Columns")
    if (size := size_of(stream)) is not None and size != promised:
        return f"a frame of it has {_times(size)} pixels, and its header promises {_times(promised)}"
    samples = promised[0] * promised[1] * max(1, header.whole("SamplesPerPixel", 1))
    needed = samples * header.whole("BitsAllocated") // 8
    if header.syntax == RLE and needed > PACKED * len(stream):
        return f"its header promises {needed} bytes a frame, which {len(stream)} bytes of RLE cannot hold"
    if samples * WORK > SMALL and samples * WORK > (free := free_memory()):
        return f"decoding a frame of it takes {gigabytes(samples * WORK)} of memory, and {gigabytes(free)} are free"
    return ""


def _times(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


SAFE = dict.fromkeys(("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"), exact)
"""What a stream must be to be given to SimpleITK; of JPEG it must be `fits`."""


class Packed:
    """A file whose frames must be decoded; several threads may ask for them at once. It is opened when they first do.

    Args:
        stored: The type of its stored values.
        strange: See `stored.keep_stored`.
    """

    def __init__(self, header: Header, stored: np.dtype[Any], strange: Strange) -> None:
        self._header, self._stored, self._strange = header, stored.newbyteorder("="), strange
        self._palette = header.text("PhotometricInterpretation") == "PALETTE COLOR"
        self._opening = Lock()

    def frame(self, number: int) -> Array:
        """The stored values of one frame: (row, column), or (row, column, colour) as RGB.

        Raises:
            BadImage: It cannot be decoded, or does not come out as the header promises.
        """
        header, stored = self._header, self._stored
        with self._opening:
            dataset = self._dataset
        colours = header.whole("SamplesPerPixel", 1) == 3
        shape = (header.whole("Rows"), header.whole("Columns"), *((3,) if colours else ()))
        pixels = _decode(header, dataset, stored, number)
        if pixels.shape != shape:
            raise BadImage(header.path, f"it decodes to the shape {pixels.shape}, its header promises {shape}")
        if pixels.dtype.itemsize > stored.itemsize or pixels.dtype.kind not in "iu":
            raise BadImage(header.path, f"it decodes to {pixels.dtype}, its header promises {stored}")
        pixels = np.array(pixels, dtype=stored)
        keep_stored(pixels, header, self._strange, high=self._high(number))
        return expanded(pixels, header, dataset) if self._palette else pixels

    def _high(self, number: int) -> int | None:
        """The highest stored bit of what a decoder gives: streams that hold the stored bits alone begin at bit 0."""
        header = self._header
        used = header.whole("BitsStored", self._stored.itemsize * 8)
        if header.syntax in NATIVE or header.syntax == RLE or header.whole("HighBit", used - 1) == used - 1:
            return None
        return used - 1 if precision(_stream(header, self._dataset, number)) <= used else None

    @cached_property
    def _dataset(self) -> Any:
        try:
            dataset = _dataset(self._header)
        except BadImage:
            raise
        except Exception as error:  # pydicom fails in many ways on what is badly written
            raise BadImage(self._header.path, "it cannot be read; the file is damaged, or has changed") from error
        if self._palette and self._header.syntax == BIG_ENDIAN:
            _swap_tables(dataset)
        return dataset


def _decode(header: Header, dataset: Any, stored: np.dtype[Any], number: int) -> Array:
    failure: BaseException | None = None
    name, decoders = CODECS.get(header.syntax, ("not compressed", ("",)))
    if header.syntax in CODECS and (reason := _refusal(header, dataset, number)):
        raise BadImage(header.path, reason)
    for decoder in decoders:
        try:
            if decoder == "SimpleITK":
                return _by_simpleitk(header, _stream(header, dataset, number), stored)
            return _by_pydicom(header, dataset, number, decoder)
        except BaseException as error:
            # A decoder written in Rust panics on damaged streams, with an exception that is none of the usual.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            failure = error
    raise BadImage(header.path, f"its pixels cannot be decoded ({name}); the file is damaged") from failure


def _refusal(header: Header, dataset: Any, number: int) -> str:
    """See `refusal`; of a frame that cannot be taken out, its decoder says what is wrong."""
    try:
        return refusal(_stream(header, dataset, number), header)
    except (ValueError, struct.error, EOFError, AttributeError):
        return ""


def _stream(header: Header, dataset: Any, number: int) -> bytes:
    """The compressed bytes of one frame."""
    from pydicom.encaps import get_frame

    frame: bytes = get_frame(dataset.PixelData, number, number_of_frames=max(1, header.whole("NumberOfFrames", 1)))
    return frame


def expanded(pixels: Array, header: Header, dataset: Any) -> Array:
    """The colours that pixels of a palette stand for, (row, column, colour), in 8 bits a colour.

    Args:
        pixels: Numbers of colours, (row, column).
        header: Of the frame, for messages.
        dataset: Holds the palette (PS3.3, C.7.6.3.1.5).

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
    with forgiving():
        dataset = read_dicom(header.path)
        if not dataset.file_meta.get("TransferSyntaxUID"):
            dataset.file_meta.TransferSyntaxUID = header.syntax
        meant = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0}
        for name, usual in {**meant, "BitsStored": header.whole("BitsAllocated")}.items():
            if dataset.get(name) in (None, ""):
                setattr(dataset, name, usual)
    return dataset


def _by_pydicom(header: Header, dataset: Any, number: int, plugin: str) -> Array:
    from pydicom.pixels import get_decoder

    several = header.whole("NumberOfFrames", 1) > 1
    with forgiving():
        decoder = get_decoder(header.syntax)
        options: dict[str, Any] = {"decoding_plugin": plugin} if plugin else {}
        frame = number if several else None
        pixels, meta = decoder.as_array(dataset, index=frame, correct_unused_bits=False, **options)
    if pixels.ndim == 3 and meta["photometric_interpretation"] != "RGB":
        raise ValueError(f"colours come out as {meta['photometric_interpretation']}")
    decoded: Array = pixels
    return decoded


def _by_simpleitk(header: Header, stream: bytes, stored: np.dtype[Any]) -> Array:
    """Decode one frame out of a file that holds nothing else, for SimpleITK reads files alone.

    python-gdcm has the same decoder, but ends the whole process where a stream is damaged.
    """
    import SimpleITK as sitk
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    if not SAFE.get(header.syntax, fits)(stream, header):
        raise ValueError("the stream is not whole, or of another size than the header says")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = header.syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    alone = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    alone.SOPClassUID, alone.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    for name in WHOLE_NUMBERS:
        if header.text(name):
            setattr(alone, name, header.whole(name))
    if bits := depth(stream):
        alone.BitsStored, alone.HighBit = bits, bits - 1
    alone.PhotometricInterpretation = header.text("PhotometricInterpretation").replace("MONOCHROME1", "MONOCHROME2")
    alone.PlanarConfiguration = 0
    alone.add_new("PixelData", "OB", encapsulate([stream]))
    with TemporaryDirectory() as folder:
        file = Path(folder, "frame.dcm")
        alone.save_as(file, implicit_vr=False, little_endian=True)
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        pixels: Array = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0]
    if pixels.min() < np.iinfo(stored).min or pixels.max() > np.iinfo(stored).max:
        raise ValueError(f"decoded values do not fit {stored}")
    return pixels.astype(stored)
