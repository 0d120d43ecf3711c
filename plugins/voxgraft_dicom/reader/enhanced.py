"""Enhanced multi-frame objects (PS3.3, C.7.6.16): the attributes of each frame from shared and per-frame groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..objects.deflated import read_dicom
from ..objects.forgiving import refusing
from .attributes import shown
from .channels import INDEX
from .frames import Frame
from .header import Header

_CLASSIC = (
    "ImageType EchoTime EchoNumbers InversionTime TemporalPositionIdentifier TriggerTime AcquisitionNumber "
    "AcquisitionDate AcquisitionTime AcquisitionDateTime InstanceNumber FrameReferenceTime"
)
GROUPS = {
    "PlanePositionSequence": "ImagePositionPatient",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "PixelMeasuresSequence": "PixelSpacing SliceThickness SpacingBetweenSlices",
    "PixelValueTransformationSequence": "RescaleSlope RescaleIntercept",
    "FrameContentSequence": "StackID InStackPositionNumber TemporalPositionIndex FrameAcquisitionNumber "
    "FrameAcquisitionDateTime DimensionIndexValues",
    "TemporalPositionSequence": "TemporalPositionTimeOffset",
    "MREchoSequence": "EffectiveEchoTime",
    "MRModifierSequence": "InversionTimes",
    "MRDiffusionSequence": "DiffusionBValue",
    "MRArterialSpinLabelingSequence": "ASLContext",
    "DiffusionGradientDirectionSequence": "DiffusionGradientOrientation",
    "CardiacSynchronizationSequence": "NominalCardiacTriggerDelayTime",
    "MRImageFrameTypeSequence": "FrameType ComplexImageComponent",
    "CTImageFrameTypeSequence": "FrameType",
    "PETFrameTypeSequence": "FrameType",
    "XRay3DFrameTypeSequence": "FrameType",
    "UnassignedSharedConvertedAttributesSequence": _CLASSIC,
    "UnassignedPerFrameConvertedAttributesSequence": _CLASSIC,
}
"""The functional groups whose attributes are taken, and which of them."""
NESTED = {"MRDiffusionSequence": "DiffusionGradientDirectionSequence"}
CLASSIC_NAMES = {
    "FrameType": "ImageType",
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
}
"""Attributes that single-frame objects call by another name."""


class Inconsistent(ValueError):
    """The object does not describe the frames that it holds; the message says how."""


def is_enhanced(header: Header) -> bool:
    return bool(header.text("PerFrameFunctionalGroupsSequence") or header.text("SharedFunctionalGroupsSequence"))


def frames_of(header: Header) -> list[Frame]:
    """The frames of an enhanced object.

    Raises:
        Inconsistent: Its functional groups cannot be read, or are not as many as its frames.
    """
    with refusing(Inconsistent("its functional groups cannot be understood")):
        return _frames(header, read_dicom(header.path, pixels=False))


def _frames(header: Header, dataset: Any) -> list[Frame]:
    count = header.whole("NumberOfFrames", 1)
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared_groups = dataset.get("SharedFunctionalGroupsSequence") or []
    if count < 1 or (groups and len(groups) != count) or (not groups and count > 1):
        raise Inconsistent(
            f"it is said to hold {shown(header.text('NumberOfFrames')) or 1} frames and describes {len(groups)}"
        )
    pointers = [_pointer(item) for item in dataset.get("DimensionIndexSequence") or []]
    common = dict(header.values)
    for group in shared_groups[:1]:
        common.update(_values(group, pointers))
    if not groups:
        return [Frame(header, common)]
    return [Frame(header, common | dict(_values(group, pointers)), number) for number, group in enumerate(groups)]


def _pointer(item: Any) -> str:
    from pydicom.datadict import keyword_for_tag

    tag = item.get("DimensionIndexPointer")
    return "" if tag is None else keyword_for_tag(tag) or str(tag)


def _values(groups: Any, pointers: list[str]) -> Iterator[tuple[str, str]]:
    """The attributes in a set of functional groups, as text under the names of single-frame objects."""
    for sequence, names in GROUPS.items():
        for item in (groups.get(sequence) or [])[:1]:
            for name in names.split():
                value = item.get(name)
                if value is None or value == "":
                    continue
                parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
                if name == "DimensionIndexValues":
                    for pointer, part in zip(pointers, parts, strict=False):
                        yield INDEX + pointer, str(part)
                elif parts:
                    yield CLASSIC_NAMES.get(name, name), "\\".join(map(str, parts))
            if sequence in NESTED:
                yield from _values(item, pointers)
