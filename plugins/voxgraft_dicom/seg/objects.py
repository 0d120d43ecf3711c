"""A segmentation object as its file states it: segments, frames and their places, and the pixels frame by frame.

One-bit frames follow each other without padding (PS3.5, 8.1.1); widely used programs begin each at a byte instead. The
two have different lengths but for few small frames, and then the bits that must be 0 tell which it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import Array, BadImage

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving, understanding

CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of segmentations: the usual one, and label maps."""

PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
"""Transfer syntaxes whose pixels are there as they are, little endian; the last is inflated when it is read."""

FARTHEST = 1e5
"""Millimetres from the origin beyond which no patient reaches."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a segmentation.

    Attributes:
        index: Its place in the pixel data, from 0.
        segment: The number of its segment; None in a label map.
        origin, across, down: The centre of its first pixel, and the steps to the next column and to the next row, in
            LPS millimetres; None where it has no place in the patient.
        gap, thickness: Millimetres between slices, and their thickness, as the object states them; None where it does
            not.
    """

    index: int
    segment: int | None
    origin: Array | None
    across: Array | None
    down: Array | None
    gap: float | None
    thickness: float | None


@dataclass(frozen=True)
class Segmentation:
    """What a file holds.

    Attributes:
        names: The name of each segment by its number; segments of one name are parts of one structure.
        kind: `BINARY`, `FRACTIONAL` or `LABELMAP`.
    """

    path: Path
    dataset: Any
    kind: str
    rows: int
    columns: int
    names: dict[int, str]
    frames: tuple[Frame, ...]

    def planes(self, threshold: float) -> Iterator[tuple[Frame, Array]]:
        """Each frame with its pixels, (row, column): 0 and others, in a label map segment numbers.

        Args:
            threshold: The share of the highest value from which a pixel of a FRACTIONAL frame counts.

        Raises:
            BadImage: The pixels are not all there, or cannot be decoded.
        """
        least = 1
        if self.kind == "FRACTIONAL":
            with understanding(self.path):
                highest = _whole(self.dataset.get("MaximumFractionalValue"), 255)
            if highest < 1:
                raise BadImage(self.path, "it does not say which value stands for the whole of a voxel")
            least = max(1, math.ceil(threshold * highest - 1e-9))
        decoded = self._plain() if self._syntax in PLAIN else self._compressed()
        for frame, plane in zip(self.frames, decoded, strict=True):
            yield frame, plane if self.kind != "FRACTIONAL" else plane >= least

    @property
    def _syntax(self) -> str:
        return str(self.dataset.file_meta.get("TransferSyntaxUID", PLAIN[0]))

    def steps(self) -> Steps | None:
        """How the frames of uncompressed pixels follow each other; None where they are compressed.

        Raises:
            BadImage: The pixel data are not as long as the frames.
        """
        return self._layout()[1] if self._syntax in PLAIN and self.frames else None

    def _layout(self) -> tuple[Array, Steps, int]:
        """The bytes of the pixels, how frames follow each other, and the bits of a pixel."""
        with understanding(self.path):
            bits = _whole(self.dataset.get("BitsAllocated"), 0)
            data = np.frombuffer(self.dataset.PixelData, np.uint8)
        if bits not in (1, 8, 16):
            raise BadImage(self.path, f"its pixels have {bits} bits; 1, 8 or 16 are known")
        return data, steps_of(self.path, data, len(self.frames), self.rows * self.columns, bits), bits

    def _plain(self) -> Iterator[Array]:
        data, steps, bits = self._layout()
        size = self.rows * self.columns
        for index in range(len(self.frames)):
            start = index * steps.bits
            if bits == 1:
                part = data[start // 8 : -(-(start + size) // 8)]
                plane = np.unpackbits(part, bitorder="little")[start % 8 : start % 8 + size]
            else:
                plane = data[start // 8 : (start + steps.bits) // 8].view(f"<u{bits // 8}")
            yield plane.reshape(self.rows, self.columns)

    def _compressed(self) -> Iterator[Array]:
        from pydicom.pixels import iter_pixels

        decoded, count = iter_pixels(self.dataset, raw=True), 0
        while True:
            try:
                with forgiving():
                    plane = next(decoded, None)
            except MemoryError:
                raise
            except Exception as error:  # decoders fail in many ways on damaged data
                text = f"frame {count + 1} cannot be decoded: {type(error).__name__}"
                raise BadImage(self.path, text) from error
            if plane is None:
                break
            if plane.shape != (self.rows, self.columns):
                raise BadImage(self.path, f"frame {count + 1} has a shape of its own")
            count += 1
            if count > len(self.frames):
                break
            yield plane
        if count != len(self.frames):
            raise BadImage(self.path, f"it has {count} frames of pixels and describes {len(self.frames)}")


def read_object(path: Path) -> Segmentation:
    """Read a segmentation object; its pixels are decoded later.

    Raises:
        BadImage: It is damaged, or another kind of object.
    """
    with understanding(path):
        dataset = read_dicom(path)
        if str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")) not in CLASSES:
            raise BadImage(path, "it is not a DICOM segmentation object")
        return _understood(path, dataset)


def _understood(path: Path, dataset: Any) -> Segmentation:
    kind = str(dataset.get("SegmentationType") or "BINARY").upper()
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise BadImage(path, f"segmentations of type {kind[:16]!r} are not known")
    if "PixelData" not in dataset:
        raise BadImage(path, "it has no pixels; it is truncated, or they lie elsewhere")
    rows, columns = _whole(dataset.get("Rows"), 0), _whole(dataset.get("Columns"), 0)
    if not rows or not columns or _whole(dataset.get("SamplesPerPixel"), 1) != 1:
        raise BadImage(path, "it does not say how many rows and columns it has")
    names = _names(path, dataset, kind)
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    count = _whole(dataset.get("NumberOfFrames"), 1)
    if len(groups) != count:
        raise BadImage(path, f"it has {count} frames and describes {len(groups)}")
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or []), None)
    frames = tuple(_frame(path, index, (own, shared), kind, names) for index, own in enumerate(groups))
    return Segmentation(path, dataset, kind, rows, columns, names, frames)


def _names(path: Path, dataset: Any, kind: str) -> dict[int, str]:
    """The names of segments by their numbers; the background of a label map is none."""
    names: dict[int, str] = {}
    for segment in dataset.get("SegmentSequence") or []:
        number = _whole(segment.get("SegmentNumber"), -1)
        if number < 0 or number in names:
            raise BadImage(path, "a segment has no number, or two have one number")
        names[number] = str(segment.get("SegmentLabel") or "").strip() or f"Segment {number}"
    if kind == "LABELMAP":
        names.pop(_whole(dataset.get("PixelPaddingValue"), 0), None)
    if not names:
        raise BadImage(path, "it describes no segments")
    return names


def _frame(path: Path, index: int, groups: tuple[Any, Any], kind: str, names: dict[int, str]) -> Frame:
    segment = None
    if kind != "LABELMAP":
        identity = _group(groups, "SegmentIdentificationSequence")
        if identity is None and len(names) == 1:
            segment = next(iter(names))  # what else could it be
        else:
            segment = _whole(identity.get("ReferencedSegmentNumber") if identity is not None else None, -1)
        if segment not in names:
            raise BadImage(path, f"frame {index + 1} belongs to a segment that is not described")
    plane = {name: _group(groups, name) for name in _PLACE}
    if plane["PlanePositionSequence"] is None:
        return Frame(index, segment, None, None, None, None, None)
    position = _numbers(plane["PlanePositionSequence"], "ImagePositionPatient", 3)
    cosines = _numbers(plane["PlaneOrientationSequence"], "ImageOrientationPatient", 6)
    spacing = _numbers(plane["PixelMeasuresSequence"], "PixelSpacing", 2)
    if position is None or cosines is None or spacing is None or min(spacing) <= 0 or abs(position).max() > FARTHEST:
        raise BadImage(path, f"frame {index + 1} does not say where it lies (position, orientation and pixel spacing)")
    if abs(np.linalg.norm(np.cross(cosines[:3], cosines[3:])) - 1) > 0.01:
        raise BadImage(path, f"the rows and columns of frame {index + 1} are not at right angles")
    measures = plane["PixelMeasuresSequence"]
    gap, thickness = (_length(measures, name) for name in ("SpacingBetweenSlices", "SliceThickness"))
    across, down = cosines[:3] * spacing[1], cosines[3:] * spacing[0]
    return Frame(index, segment, position, across, down, gap, thickness)


_PLACE = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")


def _group(groups: tuple[Any, Any], name: str) -> Any:
    """A functional group: a frame's own, or the one shared by all."""
    return next((group[name][0] for group in groups if group is not None and group.get(name)), None)


def _numbers(item: Any, name: str, count: int) -> Array | None:
    try:
        value = item.get(name)
        numbers = np.array(value if count > 1 else [value], dtype=np.float64)
    except (AttributeError, TypeError, ValueError):
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None


def _length(item: Any, name: str) -> float | None:
    """A length in millimetres; its sign, which nuclear medicine uses, tells nothing here."""
    numbers = _numbers(item, name, 1)
    return abs(float(numbers[0])) if numbers is not None and numbers[0] != 0 else None


def _whole(value: Any, default: int) -> int:
    try:
        return default if value is None or value == "" else int(value)
    except (TypeError, ValueError):
        return -1


@dataclass(frozen=True, slots=True)
class Steps:
    """How frames follow each other.

    Attributes:
        bits: From the beginning of a frame to that of the next.
        padded: Each begins at a byte, against the standard.
        doubtful: The other way would fit as well, and give other frames.
    """

    bits: int
    padded: bool = False
    doubtful: bool = False


def steps_of(path: Path, data: Array, frames: int, size: int, bits: int) -> Steps:
    """How the frames of pixel data follow each other; as the standard says where either way fits.

    Args:
        data: The bytes of the pixel data.
        size: Pixels in a frame.
        bits: Bits of a pixel: 1, 8 or 16.

    Raises:
        BadImage: The pixel data are shorter or longer than the frames in either way.
    """
    packed = size * bits
    padded = 8 * -(-packed // 8)
    fits = [step for step in dict.fromkeys((packed, padded)) if _has_length(data, frames, step)]
    if not fits:
        raise BadImage(path, _wrong(len(data), frames, packed, padded))
    if len(fits) == 1:
        return Steps(fits[0], padded=fits[0] != packed)
    if _rest(data, frames, packed, packed).any() and not _rest(data, frames, packed, padded).any():
        return Steps(padded, padded=True)
    either = not _rest(data, frames, packed, padded).any()
    same = np.array_equal(_planes(data, frames, packed, packed), _planes(data, frames, packed, padded))
    return Steps(packed, doubtful=either and not same)


def _wrong(length: int, frames: int, packed: int, padded: int) -> str:
    expected = -(-frames * packed // 8)
    if length < expected:
        return f"it is truncated: {length} bytes of pixels instead of {expected}"
    other = f" (or {frames * padded // 8} where each begins at a byte)" if padded > packed else ""
    return f"it has {length} bytes of pixels, and its {frames} frames need {expected}{other}; export it again"


def _has_length(data: Array, frames: int, step: int) -> bool:
    """Whether the pixel data have the length of so many frames; one byte may be added to make it even."""
    expected = -(-frames * step // 8)
    return len(data) in (expected, expected + expected % 2)


def _planes(data: Array, frames: int, packed: int, step: int) -> Array:
    """The bits of each frame, (frame, bit), of pixel data that are small."""
    bits = np.unpackbits(data, bitorder="little")
    return np.stack([bits[frame * step : frame * step + packed] for frame in range(frames)])


def _rest(data: Array, frames: int, packed: int, step: int) -> Array:
    """The bits between frames and behind the last, which are 0 where the frames lie so."""
    bits = np.unpackbits(data, bitorder="little")
    for frame in range(frames):
        bits[frame * step : frame * step + packed] = 0
    return bits
