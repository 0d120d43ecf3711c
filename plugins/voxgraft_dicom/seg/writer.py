"""The DICOM SEG writer: bit planes, uncompressed, which every workstation and archive that was tried can take.

The object belongs to the study of the scan and refers to its slices. Its UIDs follow from the scan and the model, so
that a second run of the same model on the same scan replaces the first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgraft.plugin import Array, BadImage, DataError, Volume

from ..objects.header import algorithm, concept, derived_dataset, item, kind_of, private_scheme, series_number
from ..objects.identity import Maker, derived_uid, long_string, object_uids
from ..objects.segments import COLOURS, Segments, segments_of
from ..objects.sources import RAS, Sources, read_sources
from ..objects.terms import term_of
from .frames import dimensions, even, frames_of, numbered, packed, per_frame, shared_groups
from .objects import Segmentation, read_object
from .options import SegOptions
from .placing import Place, place_frames, window

if TYPE_CHECKING:
    from voxgraft.plugin import Label, Labels


BINARY, LABELMAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
EXPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"


class SegWriter:
    """Writes a mask as a DICOM segmentation object of the series that it belongs to."""

    def __init__(self, config: SegOptions) -> None:
        self._config = config

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write one file; it takes its name only after it was read back and each voxel lies where the mask has it.

        Every structure of `labels` gets a segment, also where nothing was found.

        Args:
            volume: Label values (i, j[, k]), or 0 and 1 in a channel for each label: then segments may overlap.

        Raises:
            DataError: The volume is not a mask of a DICOM series, holds values that no label names, or what was written
                does not lie where the mask lies.
        """
        if labels is None or not labels.items:
            raise DataError(f"{target}: DICOM SEG holds masks with named structures, and none are named")
        segments = segments_of(volume, labels, target)
        if segments.overlap and self._config.kind == "labelmap":
            raise DataError(f"{target}: structures that overlap fit no label map; write them with kind: binary")
        sources = read_sources(volume, target)
        try:
            self._save(target, segments, sources, labels, Maker.of(facts))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise DataError(f"{target}: this series does not allow a DICOM SEG: {error}") from error
        try:
            prove(target, segments, volume, labels.names)
        except DataError as error:
            raise DataError(f"{target}: was not kept: {error}") from None

    def _save(self, path: Path, segments: Segments, sources: Sources, labels: Labels, maker: Maker) -> None:
        from pydicom import config

        labelmap = self._config.kind == "labelmap"
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")  # remarks on values that the scan itself brought along
            uids = object_uids("labelmap" if labelmap else "segmentation", sources, maker)
            dataset = derived_dataset(
                sources,
                maker,
                path,
                sop_class=LABELMAP if labelmap else BINARY,
                uids=uids,
                modality="SEG",
                series_number=series_number(sources, self._config.series_offset),
                description=f"{'Reviewed: ' if maker.review else ''}{maker.model} segmentation",
                manufacturer=self._config.manufacturer,
                syntax=EXPLICIT,
            )
            dataset.InstanceNumber = 1
            dataset.ContentLabel = "SEGMENTATION"
            dataset.ContentDescription = _content(maker)
            dataset.ContentCreatorName = maker.review.reader if maker.review else ""
            if sources.filled:
                dataset.ImageComments = sources.remark
            dataset.ReferencedSeriesSequence = [_series(sources)]
            self._describe(dataset, labels, maker, segments.overlap)
            frames = frames_of(segments, labelmap)
            dimensions(dataset, derived_uid("dimensions", uids[1]), sources, labelmap)
            dataset.SharedFunctionalGroupsSequence = [shared_groups(sources)]
            dataset.PerFrameFunctionalGroupsSequence = per_frame(sources, frames, labelmap)
            dataset.NumberOfFrames = len(frames)
            self._pixels(dataset, segments, frames)
            dataset.save_as(path, enforce_file_format=True)

    def _describe(self, dataset: Any, labels: Labels, maker: Maker, overlap: bool) -> None:
        """The module Segmentation Image, without its pixels."""
        labelmap = self._config.kind == "labelmap"
        dataset.ImageType = ["DERIVED", "PRIMARY"]
        dataset.SegmentationType = "LABELMAP" if labelmap else "BINARY"
        dataset.SegmentsOverlap = "UNDEFINED" if overlap else "NO"
        dataset.LossyImageCompression = "00"
        dataset.SegmentSequence = [_segment(n, label, maker) for n, label in enumerate(labels.items, start=1)]
        if labelmap:
            dataset.SegmentSequence.insert(0, _background(maker))
            dataset.PixelPaddingValue = 0
        if any(term_of(label).private for label in labels.items):
            dataset.CodingSchemeIdentificationSequence = [private_scheme()]

    def _pixels(self, dataset: Any, segments: Segments, frames: list[tuple[int, int]]) -> None:
        columns, rows = segments.array.shape[-3:-1]
        dataset.Rows, dataset.Columns = rows, columns
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.PixelRepresentation = 0
        if self._config.kind == "binary":
            bits, data = 1, packed(segments, frames)
        else:
            bits, data = (8 if segments.count < 256 else 16), b""
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit = bits - 1
        dataset.PixelData = data or even(b"".join(numbered(segments, frames)))
        dataset["PixelData"].VR = "OW" if bits == 16 else "OB"
        if self._config.compress == "rle":
            dataset.compress(RLE, encoding_plugin="pylibjpeg", generate_instance_uid=False)


def _content(maker: Maker) -> str:
    """What the object is, in 64 letters; that it was reviewed comes first."""
    made = f"by {maker.model} {maker.version}"
    return long_string(f"reviewed {maker.review.when}, {made}" if maker.review else made)


def _series(sources: Sources) -> Any:
    """The reference to the series of the scan, with its instances."""
    instances = [
        item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=instance)
        for sop_class, instance in dict.fromkeys(plane.instance for plane in sources.planes)
    ]
    return item(ReferencedInstanceSequence=instances, SeriesInstanceUID=sources.series)


def _segment(number: int, label: Label, maker: Maker) -> Any:
    term, review = term_of(label), maker.review
    corrected = review is not None and label.name in review.corrected
    did = "corrected by a reader" if corrected else "accepted by a reader as it was"
    return item(
        SegmentNumber=number,
        SegmentLabel=long_string(label.name),
        SegmentDescription=None if review is None else f"{did}, {review.when}",
        SegmentedPropertyCategoryCodeSequence=[concept(*term.category)],
        SegmentedPropertyTypeCodeSequence=[kind_of(term)],
        SegmentAlgorithmType="SEMIAUTOMATIC" if corrected else "AUTOMATIC",
        SegmentAlgorithmName=maker.model,
        SegmentationAlgorithmIdentificationSequence=[algorithm(maker)],
        RecommendedDisplayCIELabValue=cielab(COLOURS[(number - 1) % len(COLOURS)]),
    )


def _background(maker: Maker) -> Any:
    """Segment 0: a label map describes every number that stands in it."""
    return item(
        SegmentNumber=0,
        SegmentLabel="Background",
        SegmentedPropertyCategoryCodeSequence=[concept("125040", "DCM", "Background")],
        SegmentedPropertyTypeCodeSequence=[concept("125040", "DCM", "Background")],
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName=maker.model,
    )


def cielab(colour: tuple[int, int, int]) -> list[int]:
    """A colour (sRGB, 0 to 255) as DICOM's three 16-bit numbers for CIELab (PS3.3, C.10.7.1.1), white point D50."""
    from highdicom.color import CIELabColor

    return [int(value) for value in CIELabColor.from_rgb(*colour).value]


OFF_MILLIMETRES, OFF_VOXELS = 0.05, 0.02
"""By how much a frame may lie beside the mask: what decimal strings cost, and what slices are off an even grid."""


def prove(path: Path, segments: Segments, mask: Volume, names: tuple[str, ...]) -> None:
    """Read a written object back and compare every voxel of every segment, at its place in the patient.

    Args:
        path: The file that was written.
        segments: The voxels of each structure, and the slices that have some.
        mask: The mask that was to be written.
        names: Of the structures, in the order of their numbers.

    Raises:
        DataError: A segment's voxels are not as many, or lie elsewhere.
    """
    seg = read_object(path)
    tolerance = min(0.5, OFF_VOXELS + OFF_MILLIMETRES / min(mask.spacing))
    try:
        places = place_frames(seg, mask, tolerance)
    except BadImage as error:
        raise DataError(f"the written object does not lie on the mask: {error.reason}") from None
    left = segments.found.copy()
    for frame, plane in seg.planes(0.5):
        if not plane.any():
            continue
        for number in [frame.segment] if frame.segment is not None else np.unique(plane[plane > 0]).tolist():
            bits = plane != 0 if frame.segment is not None else plane == number
            k = _matching(segments, number, bits, places[frame.index])
            if k is None or not left[number - 1, k]:
                raise DataError(_difference(seg, segments, mask, number, names[number - 1]))
            left[number - 1, k] = False
    for number in np.flatnonzero(left.any(axis=1)) + 1:
        raise DataError(_difference(seg, segments, mask, int(number), names[number - 1]))


def _matching(segments: Segments, number: int, bits: Array, place: Place) -> int | None:
    """The slice of the mask that the bits of a frame are; None where they are none."""
    if not 1 <= number <= segments.count:
        return None
    part = window(place, bits, segments.array.shape[-3:])
    if part is None or not isinstance(part[0][2], int) or part[1].shape != segments.array.shape[-3:-1]:
        return None
    k = part[0][2]
    return k if np.array_equal(part[1].T, segments.plane(number, k)) else None


def _difference(seg: Segmentation, segments: Segments, mask: Volume, number: int, name: str) -> str:
    """How a written segment differs from the mask: in its count of voxels, or by how far it lies beside it."""
    written, expected = _sum_of_file(seg, number), _sum_of_mask(segments, number, mask.affine)
    if written[3] != expected[3]:
        return f"the written segment {name!r} has {written[3]:.0f} voxels, the mask has {expected[3]:.0f}"
    off = float(np.linalg.norm((written - expected)[:3])) / max(float(expected[3]), 1.0)
    return f"the written segment {name!r} lies {off:.2f} mm off the mask, or has another shape"


def _sum_of_file(seg: Segmentation, number: int) -> Array:
    """The places of a segment's voxels added up in RAS millimetres, and their count."""
    total = np.zeros(4)
    for frame, plane in seg.planes(0.5):
        bits = plane != 0 if frame.segment is not None else plane == number
        if frame.segment not in (None, number) or not bits.any():
            continue
        rows, columns = np.nonzero(bits)
        if frame.origin is not None and frame.across is not None and frame.down is not None:
            position = len(rows) * frame.origin + columns.sum() * frame.across + rows.sum() * frame.down
            total[:3] += RAS * position
        total[3] += len(rows)
    return total


def _sum_of_mask(segments: Segments, number: int, affine: Array) -> Array:
    total = np.zeros(4)
    for k in np.flatnonzero(segments.found[number - 1]):
        rows, columns = np.nonzero(segments.plane(number, int(k)))
        total += affine @ (columns.sum(), rows.sum(), len(rows) * int(k), len(rows))
    return total
