"""What a workflow file may say."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Field

from voxgraft.plugin import Options, StoredPath

Way = Literal[
    "rotation",
    "scale",
    "shift",
    "elastic",
    "gamma",
    "noise",
    "brightness",
    "contrast",
    "shading",
    "blur",
    "lowres",
    "mirror",
]


class FundusOptions(Options):
    """Options of `fundus`."""

    colour: Literal["all", "green"] = "all"
    """`green` shows the network the green channel in place of all three: vessels have the most contrast there."""

    clahe: bool = False
    """Even out the contrast of each channel first (contrast-limited adaptive histogram equalisation)."""

    clip_limit: Annotated[float, Gt(0), Le(1)] = 0.01
    """How much contrast CLAHE may add; larger shows more, noise too."""

    field_of_view: Literal["found", "whole"] = "found"
    """`found`: pixels of the black border count neither in training nor in scores, and no structure is found there;
    files that a layout gives (DRIVE's masks) come first in training and scores. `whole`: all pixels count."""

    augmentation: dict[Way, Annotated[float, Ge(0)]] = Field(default={})
    """Strengths that replace its own: rotation (degrees), scale and shift (shares), elastic and blur (pixels), gamma,
    noise, brightness, contrast, shading (darker sides, as of vignetting), lowres (share), mirror (0 or 1)."""


class DriveOptions(Options):
    """Options of the layout `drive`."""

    path: StoredPath
    """The folder DRIVE, or `training` or `test` in it."""

    part: Literal["training", "test", "all"] = "all"
    """Whose photographs are cases. With both, `data.split: {by: dataset}` trains on the one and scores the other."""

    field_of_view: Literal["files", "found"] = "files"
    """`files`: the masks in `mask`, which every labelled photograph needs; `found`: the modality looks for it."""


class ChaseOptions(Options):
    """Options of the layout `chase-db1`."""

    path: StoredPath
    """The folder of the photographs, masks beside them (as they come) or in `labels` and `labels_2nd_observer`."""


class WidthOptions(Options):
    """Options of the step `vessel-widths`."""

    ceiling: Annotated[float, Gt(0), Le(1)] = 0.95
    """Warn where even masks that are perfect at that resolution would have a lower F1."""
