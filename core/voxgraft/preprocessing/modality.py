"""What the engine asks of modalities, and the spec by which plugins offer them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..components.component import C, Component

if TYPE_CHECKING:
    import numpy as np


class Modality(Protocol):
    """How images of one kind are normalised, augmented and shown."""

    augmentation: Mapping[str, float]
    """Strengths for `voxgraft.training.augment`: rotation (degrees), scale, gamma, noise, brightness, contrast,
    blur."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalitySpec(Component[C, Modality]):
    """A kind of image, with the DICOM modality codes it stands for, and the channels that one file of it may hold.

    A data set whose layout names no channels, and whose images have as many, has these.
    """

    kind = "modality"

    dicom: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


def modality_for(code: str, specs: Iterable[Any]) -> str | None:
    """The modality for a DICOM code: of several the one that stands for the fewest, then the first by name."""
    fitting = [(len(spec.dicom), spec.name) for spec in specs if code in getattr(spec, "dicom", ())]
    return min(fitting)[1] if fitting else None
