"""What the engine asks of modalities, and the spec by which plugins offer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..components.component import C, Component

if TYPE_CHECKING:
    import numpy as np


class Modality(Protocol):
    """How images of one kind are normalised, augmented and shown."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalitySpec(Component[C, Modality]):
    """A kind of image, with the DICOM modality codes it stands for, and the channels that one file of it may hold.

    A data set whose layout names no channels, and whose images have as many, has these.
    """

    kind = "modality"

    dicom: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
