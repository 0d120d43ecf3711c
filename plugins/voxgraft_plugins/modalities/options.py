"""Options of the modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_types import Ge, Gt
from pydantic import AfterValidator, Field

from voxgraft.plugin import Options

Way = Literal[
    "rotation", "scale", "shift", "elastic", "gamma", "noise", "brightness", "contrast", "shading", "invert", "blur",
    "lowres", "mirror",
]  # fmt: skip
Strengths = dict[Way, Annotated[float, Ge(0)]]


def _rising(window: tuple[float, float]) -> tuple[float, float]:
    if not window[0] < window[1]:
        raise ValueError(f"the lower end {window[0]:g} is not below the upper end {window[1]:g}")
    return window


Window = Annotated[tuple[float, float], AfterValidator(_rising)]


class Augmented(Options):
    """What every modality lets users change."""

    augmentation: Strengths = Field(default_factory=dict)
    """Strengths that replace the modality's own: rotation (degrees), scale (share), shift (share of the patch),
    elastic (voxels), gamma, noise, brightness, contrast and shading, which makes sides darker (for a standard
    deviation of 1), invert (the share of samples whose contrast is inverted, for sequences with inverted contrast),
    blur (voxels), lowres (share), and mirror (1 where left and right do not matter)."""

    def strengths(self, own: Mapping[str, float]) -> dict[str, float]:
        """A modality's own strengths, with what the user changed."""
        changed: dict[str, float] = {str(kind): amount for kind, amount in self.augmentation.items()}
        return {**own, **changed}


class CtOptions(Augmented):
    """Options of `ct`."""

    clip: Window | None = None
    """Hounsfield units between which intensities are kept; by default the 0.5th and 99.5th percentile of the labelled
    structures in the training cases."""

    window: Window = (-160.0, 240.0)
    """Hounsfield units shown as black and as white."""


class MrOptions(Augmented):
    """Options of `mr`."""

    clip: bool = False
    """Clip intensities to the image's 0.5th and 99.5th percentile, against spikes."""

    stripped: Literal["auto", "yes", "no"] = "auto"
    """Leave voxels of exactly 0 out of mean and standard deviation and keep them at 0: `auto` does so for images of
    which more than a third is exactly 0."""


class ImageOptions(Augmented):
    """Options of `image`."""

    clip: bool = True
    """Clip intensities to the image's 0.5th and 99.5th percentile."""


class RgbOptions(Augmented):
    """Options of `rgb`."""

    white: Annotated[float, Gt(0)] | None = None
    """The value of full brightness; by default the smallest of 1, 255 and 65535 that fits the training cases."""
