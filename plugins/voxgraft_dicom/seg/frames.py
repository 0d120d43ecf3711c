"""The frames of a segmentation object: which there are, what each says of itself, and their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..objects.header import concept, item, reference
from ..objects.segments import Segments
from ..objects.sources import Plane, Sources

Frame = tuple[int, int]
"""Segment number and slice; number 0 in a label map, whose frames show all segments."""


def frames_of(segments: Segments, labelmap: bool) -> list[Frame]:
    """The frames to write, segment by segment; empty ones are left out.

    Where less than two slices hold something, an empty frame of a neighbour goes along: from one frame alone readers
    cannot tell how far slices lie apart, and an object without any frame is not allowed.
    """
    occupied = segments.found.any(axis=0, keepdims=True) if labelmap else segments.found
    first = 0 if labelmap else 1
    frames = [(int(n) + first, int(k)) for n, k in np.argwhere(occupied)]
    shown = sorted({k for _, k in frames})
    if len(shown) < min(2, segments.slices):
        number, k = frames[0] if frames else (first, 0)
        neighbour = k + 1 if k + 1 < segments.slices else k - 1
        extra = [(number, k), (number, neighbour)] if not frames else [(number, neighbour)]
        frames = sorted({*frames, *(frame for frame in extra if 0 <= frame[1] < segments.slices)})
    return frames


def packed(segments: Segments, frames: list[Frame]) -> bytes:
    """The bit planes of frames, one after another without padding between them, low bits first (PS3.5, 8.1.1)."""
    parts = []
    for start in range(0, len(frames), 8):  # eight frames always fill whole bytes
        planes = [segments.plane(number, k) for number, k in frames[start : start + 8]]
        parts.append(np.packbits(np.stack(planes).ravel(), bitorder="little").tobytes())
    return even(b"".join(parts))


def numbered(segments: Segments, frames: list[Frame]) -> Iterator[bytes]:
    """The pixels of a label map's frames, little endian."""
    kind = "<u1" if segments.count < 256 else "<u2"
    for _, k in frames:
        yield np.ascontiguousarray(segments.numbers(k), dtype=kind).tobytes()


def even(data: bytes) -> bytes:
    """Values have an even number of bytes."""
    return data + b"\0" * (len(data) % 2)


def per_frame(sources: Sources, frames: list[Frame], labelmap: bool) -> list[Any]:
    """The functional groups of each frame (PS3.3, C.7.6.16.2): its content, its source, its place and its segment.

    Args:
        sources: The scan's slices, with their places.
        frames: Pairs of a segment's number and a slice's, in the order of the file.
        labelmap: A voxel holds the number of its segment, and a frame all segments.
    """
    shown = sorted({k for _, k in frames})
    number_of = {k: index for index, k in enumerate(shown, start=1)}
    derivation = {k: [_derivation(sources.planes[k])] for k in shown}
    placed = shown if sources.orientation else []
    position = {k: [item(ImagePositionPatient=decimals(*(sources.planes[k].position or ())))] for k in placed}
    groups = []
    for number, k in frames:
        indices = ([] if labelmap else [number]) + ([number_of[k]] if position else []) or [1]
        group = item(
            FrameContentSequence=[item(DimensionIndexValues=indices)],
            DerivationImageSequence=derivation[k],
            PlanePositionSequence=position.get(k),
            SegmentIdentificationSequence=None if labelmap else [item(ReferencedSegmentNumber=number)],
        )
        groups.append(group)
    return groups


def shared_groups(sources: Sources) -> Any:
    """The functional groups that all frames share: orientation and spacing, where the scan has a place."""
    if sources.orientation is None:
        return item()
    rows, columns, slices = decimals(*sources.spacing)
    measures = item(PixelSpacing=[rows, columns], SliceThickness=slices, SpacingBetweenSlices=slices)
    orientation = item(ImageOrientationPatient=decimals(*sources.orientation))
    return item(PlaneOrientationSequence=[orientation], PixelMeasuresSequence=[measures])


def dimensions(dataset: Any, uid: str, sources: Sources, labelmap: bool) -> None:
    """Say by what frames are ordered: by segment, then by place.

    Args:
        dataset: Is changed.
        uid: Of the organization of the frames.
        sources: The scan's slices, with their places.
        labelmap: A voxel holds the number of its segment, and a frame all segments.
    """
    dataset.DimensionOrganizationSequence = [item(DimensionOrganizationUID=uid)]
    pointers = [] if labelmap else [(0x0062000B, 0x0062000A, "Segment Number")]
    pointers += [(0x00200032, 0x00209113, "Image Position Patient")] if sources.orientation else []
    pointers = pointers or [(0x00081160, 0x00089124, "Source Frame Number")]
    dataset.DimensionIndexSequence = [
        item(
            DimensionIndexPointer=attribute,
            FunctionalGroupPointer=group,
            DimensionOrganizationUID=uid,
            DimensionDescriptionLabel=text,
        )
        for attribute, group, text in pointers
    ]


def decimals(*values: float) -> list[Any]:
    """Numbers as decimal strings of at most 16 letters."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(value), auto_format=True) for value in values]


def _derivation(plane: Plane) -> Any:
    """What a frame was made from: the slice that it covers, pixel by pixel."""
    purpose = concept("121322", "DCM", "Source image for image processing operation")
    source = reference(plane)
    source.SpatialLocationsPreserved, source.PurposeOfReferenceCodeSequence = "YES", [purpose]
    return item(SourceImageSequence=[source], DerivationCodeSequence=[concept("113076", "DCM", "Segmentation")])
