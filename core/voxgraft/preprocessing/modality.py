"""What the engine asks of modalities, the spec of a modality, and whether values look like Hounsfield units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    import numpy as np

    from ..imaging.volume import Item


class Modality(Protocol):
    """How images of one kind are normalised, augmented and shown.

    A modality whose `normalise` makes of each voxel a number that depends on this voxel alone says so by an attribute
    `voxelwise = True`: scans are then normalised part by part.
    """

    augmentation: Mapping[str, float]
    """Strengths for `voxgraft.training.augment`: rotation (degrees), scale, gamma, noise, brightness, contrast,
    shading, blur."""

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        """From what was measured on the training cases, per channel, the numbers that normalisation needs."""
        ...

    def normalise(self, array: np.ndarray[Any, Any], params: Sequence[Mapping[str, float]]) -> np.ndarray[Any, Any]:
        """Normalise voxels of shape (channel, *spatial) to float32."""
        ...

    def window(self, array: np.ndarray[Any, Any]) -> tuple[float, float]:
        """The intensities shown as black and as white for a channel."""
        ...


@runtime_checkable
class KnowsUnits(Modality, Protocol):
    """A modality whose numbers have units, so that structures can be measured in files that do not say theirs."""

    def units(self, params: Sequence[Mapping[str, float]]) -> Sequence[str]:
        """The unit of each channel, such as `HU`; empty where it has none.

        Args:
            params: What `plan` gave.
        """
        ...


@runtime_checkable
class ShowsBody(Modality, Protocol):
    """A modality in whose images a body stands out from the air around it, so that only the body need be searched."""

    def body_levels(self, array: np.ndarray[Any, Any]) -> tuple[int, float, float] | None:
        """The channel of an image (channel, *spatial), as it was read, that shows the body; the intensity that most of
        the air is below; and the one that most of the body's surface is above. None where this image does not tell."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalitySpec(Component[C, Modality]):
    """A kind of image, with the DICOM modality codes it stands for, and the channels that one file of it may hold.

    A data set whose layout names no channels, and whose images have as many, has these.
    """

    kind = "modality"

    dicom: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


HOUNSFIELD = "HU"
"""The unit of CT, as measurements and modalities name it."""
HOUNSFIELD_LEVELS = (-900.0, -500.0)
"""Hounsfield units that most of the air is below, and that most of the skin is above; lungs lie between."""


def unit_of(item: Item) -> str:
    """The unit of an image's values, where its file says it: of CT, and of PET that its reader has scaled."""
    return HOUNSFIELD if item.modality == "CT" else str(item.facts.get("units") or "")


def not_hounsfield(least: float, greatest: float) -> str:
    """Why values from `least` to `greatest` are not CT in Hounsfield units; empty where they may well be."""
    if least >= 0 and greatest <= 255:
        return f"its values go from {least:g} to {greatest:g}, as a picture's"
    if max(abs(least), abs(greatest)) < 30:
        return f"its values go from {least:.3g} to {greatest:.3g}, as if it had been normalised"
    if least >= 0:
        return f"no value is below 0 (greatest {greatest:g}), and air is -1000: subtract 1024 if it is stored unsigned"
    return ""


def like_hounsfield(low: float, high: float, whole: bool) -> bool:
    """Whether values are Hounsfield units: air near -1000 and whole numbers, as in no other modality.

    Args:
        low, high: The percentiles 0.5 and 99.5.
        whole: All are whole numbers.
    """
    return whole and -1100 <= low <= -900 and high > 100


def modality_for(code: str, specs: Iterable[Any]) -> str | None:
    """The modality for a DICOM code: of several the one that stands for the fewest, then the first by name."""
    fitting = [(len(spec.dicom), spec.name) for spec in specs if code in getattr(spec, "dicom", ())]
    return min(fitting)[1] if fitting else None
