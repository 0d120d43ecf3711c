"""The DICOM SEG writer: BINARY and uncompressed, which every workstation and archive that was tried can take.

The object belongs to the study of the scan and refers to its slices. Its UIDs follow from the scan and the model, so
that a second run of the same model on the same scan replaces the first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgraft.errors import DataError
from voxgraft.files import whole
from voxgraft.volume import Array, Item, Volume, spacing_of

from .codes import Code, Term, term_of
from .config import SegConfig
from .proof import compare, places_in_array, places_in_file
from .source import common, derived_uid, read_sources

if TYPE_CHECKING:
    from voxgraft.data.cases import Label, Labels

LONGEST = 64
"""Letters in a long string (VR LO)."""

COLOURS = (
    (230, 60, 60), (60, 180, 75), (65, 105, 225), (255, 200, 25), (145, 30, 180), (70, 220, 220),
    (245, 130, 48), (240, 50, 230), (170, 220, 60), (250, 170, 190), (0, 128, 128), (170, 110, 40),
)  # fmt: skip


class SegWriter:
    """Writes a mask as a DICOM segmentation object of the series that it belongs to."""

    def __init__(self, config: SegConfig) -> None:
        self._config = config

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write one file; it takes its name only after it was read back and lies where the mask lies.

        Every structure of `labels` gets a segment, also where nothing was found.

        Raises:
            DataError: The volume is no mask of a DICOM series, holds values that no label names, or what was written
                does not lie where the mask lies.
        """
        item = _series(volume, target)
        if labels is None or not labels.items:
            raise DataError(f"{target}: DICOM SEG holds masks with named structures, and none are named")
        numbers = _numbers(volume, labels, target)
        slices = read_sources(item, spacing_of(volume.affine)[2])
        with whole(target) as path:
            try:
                self._save(path, numbers, slices, volume.affine, labels, facts)
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                raise DataError(f"{target}: this series does not allow a DICOM SEG: {error}") from error
            names = tuple(label.name for label in labels.items)
            expected = places_in_array(numbers, len(names), volume.affine)
            try:
                compare(places_in_file(path), expected, names, 0.02 * max(volume.spacing) + 0.05)
            except DataError as error:
                raise DataError(f"{target}: was not kept: {error}") from None

    def _save(
        self,
        path: Path,
        numbers: Array,
        slices: list[Any],
        affine: Array,
        labels: Labels,
        facts: Mapping[str, str],
    ) -> None:
        from highdicom import PixelMeasuresSequence
        from highdicom.seg import Segmentation

        model, version = facts.get("model") or "VoxGraft", facts.get("version") or facts.get("hash", "")[:16] or "0"
        identity = [str(one.SOPInstanceUID) for one in slices]
        identity += [common(slices, "SeriesInstanceUID"), facts.get("hash") or f"{model} {version}"]
        step = spacing_of(affine)
        first, last, omit = _frames(numbers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's and highdicom's remarks on the scan's own header
            segmentation = Segmentation(
                source_images=slices[first:last],
                pixel_array=np.ascontiguousarray(numbers[:, :, first:last].T),
                segmentation_type="BINARY",
                segment_descriptions=[
                    _description(number, label, model, version, facts)
                    for number, label in enumerate(labels.items, start=1)
                ],
                series_instance_uid=derived_uid("segmentation series", *identity),
                sop_instance_uid=derived_uid("segmentation", *identity),
                series_number=_series_number(slices) + self._config.series_offset,
                instance_number=1,
                manufacturer=self._config.manufacturer,
                manufacturer_model_name="VoxGraft",
                software_versions=_long(facts.get("software") or version),
                device_serial_number=facts.get("hash", "")[:LONGEST] or "0",
                series_description=_long(f"{model} segmentation"),
                content_description=_long(f"by {model} {version}"),
                pixel_measures=PixelMeasuresSequence(
                    pixel_spacing=[step[1], step[0]], slice_thickness=step[2], spacing_between_slices=step[2]
                ),
                omit_empty_frames=omit,
            )
            for described, label in zip(segmentation.SegmentSequence, labels.items, strict=True):
                _say_side(described, term_of(label))
            segmentation.SpecificCharacterSet = "ISO_IR 192"
            segmentation.save_as(path)


def _series(volume: Volume, target: Path) -> Item:
    item = volume.item
    if item is None or item.reader != "dicom" or not item.files:
        raise DataError(f"{target}: a DICOM SEG belongs to a DICOM series, and this scan is none")
    if volume.dims != 3 or volume.channels != 1:
        raise DataError(f"{target}: a DICOM SEG needs a mask of three axes in the patient, this one has {volume.dims}")
    if volume.shape[2] != len(item.files) or volume.shape != tuple(item.shape):
        there, here = ("x".join(map(str, shape)) for shape in (item.shape, volume.shape))
        raise DataError(f"{target}: the mask has {here} voxels and the series {there}; masks must be in its grid")
    return item


def _numbers(volume: Volume, labels: Labels, target: Path) -> Array:
    """The mask with segment numbers, 1, 2, ... in the order of the labels, for their values; (column, row, slice)."""
    mask = volume.array.reshape(volume.shape)
    mask = mask.view(np.uint8) if mask.dtype == np.bool_ else mask
    if mask.dtype.kind not in "iu":
        raise DataError(f"{target}: a mask holds whole numbers, this one is of type {mask.dtype}")
    low, high = (int(mask.min()), int(mask.max())) if mask.size else (0, 0)
    if low < 0 or high > 65535:
        raise DataError(f"{target}: a mask holds values from 0 to 65535, this one has {low if low < 0 else high}")
    table = np.full(max(high, *labels.values) + 1, -1, np.int32)
    table[[0, *labels.values]] = np.arange(len(labels.values) + 1)
    numbers = np.empty(mask.shape, np.uint8 if len(labels.values) < 256 else np.uint16, order="F")
    for k in range(mask.shape[2]):
        plane = table[mask[:, :, k]]
        if plane.min() < 0:
            unnamed = [int(value) for value in np.unique(mask[:, :, k][plane < 0])[:10]]
            raise DataError(f"{target}: the mask holds the values {unnamed}, which no label names")
        numbers[:, :, k] = plane
    return numbers


def _frames(numbers: Array) -> tuple[int, int, bool]:
    """The slices that are given to highdicom, from the first up to the last, and whether empty ones are left out.

    Where at most one slice holds something, it is written with a neighbour, empty frames included: from one frame alone
    readers cannot tell how far slices lie apart, and of an empty mask highdicom would write every slice.
    """
    found = np.flatnonzero(numbers.any(axis=(0, 1)))
    slices = numbers.shape[2]
    if len(found) > 1:
        return 0, slices, True
    first = min(int(found[0]) if len(found) else 0, max(0, slices - 2))
    return first, min(first + 2, slices), False


def _description(number: int, label: Label, model: str, version: str, facts: Mapping[str, str]) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    term = term_of(label)
    return SegmentDescription(
        segment_number=number,
        segment_label=_long(label.name),
        segmented_property_category=_concept(term.category),
        segmented_property_type=_concept(term.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=_long(model),
            family=codes.cid7162.ArtificialIntelligence,
            version=_long(version),
            source="VoxGraft",
            parameters={"sha256": facts["hash"]} if facts.get("hash") else None,
        ),
        display_color=CIELabColor.from_rgb(*COLOURS[(number - 1) % len(COLOURS)]),
    )


def _say_side(described: Any, term: Term) -> None:
    if term.side is not None:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [_concept(term.side)]


def _concept(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def _series_number(slices: list[Any]) -> int:
    try:
        return max(0, int(slices[0].get("SeriesNumber") or 0))
    except (TypeError, ValueError):
        return 0


def _long(text: str) -> str:
    """A text that fits a long string: no backslash, which would part it, no control characters, at most 64 letters."""
    plain = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in text).strip()
    return plain[:LONGEST] or "unnamed"
