"""Options of the modality `pet`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from voxgraft.plugin import Options

Way = Literal[
    "rotation", "scale", "shift", "elastic", "gamma", "noise", "brightness", "contrast", "blur", "lowres", "mirror"
]


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] < ends[1]:
        raise ValueError(f"the lower end {ends[0]:g} is not below the upper end {ends[1]:g}")
    return ends


Ends = Annotated[tuple[float, float], AfterValidator(_rising)]


class PetOptions(Options):
    """Options of `pet`."""

    channels: Annotated[tuple[Literal["suv", "hu"], ...], Field(min_length=1)] = ("suv",)
    """What each channel of an image holds, in their order: uptake values, or the Hounsfield units of a CT."""

    measure: Literal["g/ml", "g/ml LBMJANMA", "g/ml LBMJAMES128", "cm2/ml BSA"] = "g/ml"
    """The unit of uptake in files that do not say theirs, such as NIfTI: by body weight, by lean body mass after
    Janmahasatian or James, or by body surface."""

    clip: Ends = (0.0, 30.0)
    """Uptake values between which voxels are kept: the bladder and the site of injection decide nothing."""

    clip_ct: Ends = (-1000.0, 1000.0)
    """Hounsfield units between which voxels of a CT are kept."""

    window: Ends = (0.0, 10.0)
    """Uptake values shown as black and as white."""

    window_ct: Ends = (-160.0, 240.0)
    """Hounsfield units shown so, of a channel that holds them."""

    augmentation: dict[Way, Annotated[float, Field(ge=0)]] = Field(default={})
    """Strengths that replace the modality's own; what they mean is said at the modality `ct`."""
