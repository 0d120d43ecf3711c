"""The RTSTRUCT writer: contours along the edges of voxels, so that what they enclose is the mask and nothing else.

Volumes belong to the mask and to DICOM SEG; contours are for planning systems, each of which fills them in its own way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgraft.plugin import Array, BadImage, DataError, Volume

from ..objects.forgiving import forgiving
from ..objects.header import algorithm, derived_dataset, item, kind_of, private_scheme, reference, series_number
from ..objects.identity import Maker, long_string, object_uids
from ..objects.segments import COLOURS, Segments, segments_of
from ..objects.sources import RAS, Sources, read_sources
from ..objects.terms import ABNORMAL, term_of
from .objects import CONTOUR_DATA, STRUCTURE_SET, read_structure_set
from .options import RtstructOptions, RtstructReaderOptions
from .outlines import keyholes, outlines
from .reader import RtstructReader

if TYPE_CHECKING:
    from voxgraft.plugin import Label, Labels


IMPLICIT = "1.2.840.10008.1.2"
"""Implicit little endian: in the explicit one a contour could not be longer than 65534 bytes."""

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"


class RtstructWriter:
    """Writes a mask as a structure set of the series that it belongs to."""

    def __init__(self, options: RtstructOptions) -> None:
        self._options = options

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write one file; it takes its name only after it was read back and gave the mask, voxel by voxel.

        Every structure of `labels` gets a region of interest, one without contours where nothing was found.

        Args:
            volume: Label values (i, j, k), or 0 and 1 in a channel for each label.

        Raises:
            DataError: The volume is not a mask of a DICOM series in the patient, holds values that no label names, or
                what was written does not lie where the mask lies.
        """
        if labels is None or not labels.items:
            raise DataError(f"{target}: RTSTRUCT holds masks with named structures, and none are named")
        segments = segments_of(volume, labels, target)
        sources = read_sources(volume, target)
        if sources.orientation is None:
            raise DataError(f"{target}: contours lie in the patient, and this picture has no place there")
        try:
            self._save(target, segments, sources, volume.affine, labels, Maker.of(facts))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise DataError(f"{target}: this series does not allow an RTSTRUCT: {error}") from error
        try:
            prove(target, segments, volume, labels.names)
        except DataError as error:
            raise DataError(f"{target}: was not kept: {error}") from None

    def _save(
        self, path: Path, segments: Segments, sources: Sources, affine: Array, labels: Labels, maker: Maker
    ) -> None:
        with forgiving():  # of values that the scan itself brought along
            dataset = derived_dataset(
                sources,
                maker,
                path,
                sop_class=STRUCTURE_SET,
                uids=object_uids(f"rtstruct {self._options.holes}", sources, maker),
                modality="RTSTRUCT",
                series_number=series_number(sources, self._options.series_offset),
                description=f"{maker.model} contours",
                manufacturer=self._options.manufacturer,
                syntax=IMPLICIT,
            )
            for name in ("ContentDate", "ContentTime", "InstanceNumber"):
                delattr(dataset, name)
            dataset.OperatorsName, dataset.ApprovalStatus = "", "UNAPPROVED"
            dataset.StructureSetLabel, dataset.StructureSetName = maker.model[:16], maker.model
            about = f"by {maker.model} {maker.version}, {maker.software}"
            dataset.StructureSetDescription = f"{about}. {sources.remark}" if sources.filled else about
            dataset.StructureSetDate, dataset.StructureSetTime = (
                dataset.InstanceCreationDate, dataset.InstanceCreationTime
            )  # fmt: skip
            dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(sources)]
            numbered = list(enumerate(labels.items, start=1))
            dataset.StructureSetROISequence = [_region(n, label, sources, maker) for n, label in numbered]
            dataset.ROIContourSequence = [self._contours(n, segments, sources, affine) for n, _ in numbered]
            dataset.RTROIObservationsSequence = [_observation(n, label) for n, label in numbered]
            if any(term_of(label).private for label in labels.items):
                dataset.CodingSchemeIdentificationSequence = [private_scheme()]
            dataset.save_as(path, enforce_file_format=True)

    def _contours(self, number: int, segments: Segments, sources: Sources, affine: Array) -> Any:
        """The contours of one structure, slice by slice."""
        contours: list[Any] = []
        for k in np.flatnonzero(segments.found[number - 1]):
            image = reference(sources.planes[k])
            for corners in self._polygons(segments.plane(number, int(k)).T):
                contour = item(
                    ContourImageSequence=[image],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(corners),
                    ContourNumber=len(contours) + 1,
                )
                contour[CONTOUR_DATA] = _points(corners, int(k), affine)
                contours.append(contour)
        colour = list(COLOURS[(number - 1) % len(COLOURS)])
        return item(ROIDisplayColor=colour, ReferencedROINumber=number, ContourSequence=contours or None)

    def _polygons(self, plane: Array) -> Iterator[Array]:
        """The corners (i, j) of the contours of a slice, in voxel coordinates."""
        across, down = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
        start = np.array([across[0], down[0]])
        loops = outlines(plane[across[0] : across[-1] + 1, down[0] : down[-1] + 1])
        polygons = keyholes(loops) if self._options.holes == "keyhole" else [polygon for polygon, _ in loops]
        for polygon in polygons:
            again = (polygon == np.roll(polygon, 1, axis=0)).all(axis=1)
            yield polygon[~again] + start - 0.5


def _points(corners: Array, k: int, affine: Array) -> Any:
    """Corners as the text that ContourData holds: x, y and z in LPS millimetres for each."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    index = np.column_stack([corners, np.full(len(corners), k), np.ones(len(corners))])
    points = RAS * (index @ affine[:3].T)
    digits = 4 if np.sqrt((affine[:3, :3] ** 2).sum(0)).min() >= 0.1 else 7
    text = "\\".join([f"{value:.{digits}f}" for value in points.ravel().tolist()]).encode("ascii")
    text += b" " * (len(text) % 2)
    return RawDataElement(Tag(CONTOUR_DATA), "DS", len(text), text, 0, True, True)


def _frame_of_reference(sources: Sources) -> Any:
    """The frame of reference of the scan, with its study, its series and all of its images."""
    series = item(SeriesInstanceUID=sources.series, ContourImageSequence=list(map(reference, sources.planes)))
    study = item(
        ReferencedSOPClassUID=STUDY_CLASS, ReferencedSOPInstanceUID=sources.study, RTReferencedSeriesSequence=[series]
    )
    return item(FrameOfReferenceUID=sources.frame, RTReferencedStudySequence=[study])


def _region(number: int, label: Label, sources: Sources, maker: Maker) -> Any:
    return item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=sources.frame,
        ROIName=long_string(label.name),
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=long_string(f"{maker.model} {maker.version}"),
        ROIDerivationAlgorithmIdentificationSequence=[algorithm(maker)],
    )


def _observation(number: int, label: Label) -> Any:
    """What a structure is; whether a finding is a target of the treatment is not for a model to say."""
    term = term_of(label)
    return item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=long_string(label.name)[:16].strip(),
        RTROIIdentificationCodeSequence=[kind_of(term)],
        RTROIInterpretedType="" if term.category == ABNORMAL else "ORGAN",
        ROIInterpreter="",
    )


def prove(path: Path, segments: Segments, mask: Volume, names: tuple[str, ...]) -> None:
    """Read written contours back, fill them and compare every voxel: none may differ.

    Args:
        path: The file that was written.
        segments: The voxels of each structure.
        mask: The mask that was to be written.
        names: Of the structures, in the order of their numbers.

    Raises:
        DataError: A structure has other voxels; the message says how many, and how far its middle lies off.
    """
    reader = RtstructReader(RtstructReaderOptions(tolerance=0.05))
    try:
        regions = {region.number: region for region in read_structure_set(path).regions}
        for number, name in enumerate(names, start=1):
            filled = reader.filled(regions[number], path, mask)
            for k in range(segments.slices):
                if segments.found[number - 1, k] or filled[:, :, k].any():
                    expected = segments.plane(number, k).T
                    if not np.array_equal(filled[:, :, k], expected):
                        raise DataError(_difference(filled, segments, number, name, mask.affine))
    except (BadImage, KeyError) as error:
        reason = error.reason if isinstance(error, BadImage) else "a structure is missing"
        raise DataError(f"the written contours do not lie on the mask: {reason}") from None


def _difference(filled: Array, segments: Segments, number: int, name: str, affine: Array) -> str:
    expected = np.stack([segments.plane(number, k).T for k in range(segments.slices)], axis=2)
    apart = float(np.linalg.norm(_middle(filled, affine) - _middle(expected, affine)))
    counts = f"{np.count_nonzero(filled)} voxels, the mask has {np.count_nonzero(expected)}"
    return f"the written contours of {name!r} enclose {counts}, and lie {apart:.2f} mm off the mask"


def _middle(mask: Array, affine: Array) -> Array:
    index = np.argwhere(mask).mean(axis=0) if mask.any() else np.zeros(3)
    return np.asarray(affine[:3, :3] @ index + affine[:3, 3])
