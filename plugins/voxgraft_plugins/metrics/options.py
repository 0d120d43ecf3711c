"""Options of the metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import AllowInfNan

from voxgraft.plugin import Options

Millimetres = Annotated[float, Ge(0), AllowInfNan(False)]


class CountOptions(Options):
    """Metrics of voxel counts have no options."""


class FBetaOptions(Options):
    """Options of f-beta."""

    beta: Annotated[float, Gt(0), Le(100), AllowInfNan(False)] = 1.0
    """How many times as much recall counts as precision; 1 gives Dice."""


class RelativeVolumeOptions(Options):
    """Options of relative-volume-difference."""

    signed: bool = False
    """Keep the sign: above 0 the prediction is larger. Means of signed values show bias, not error."""


class DistanceOptions(Options):
    """Options of distances between surfaces, which are in millimetres by the spacing of the scan."""

    surface: Literal["voxel", "area"] = "voxel"
    """What a surface is made of: the mask's border voxels, each counted alike, or elements at the corners between
    voxels, weighted by their area, as in the package surface-distance."""


class PercentileOptions(DistanceOptions):
    """Options of hd95."""

    pooled: bool = False
    """Take the percentile of the distances of both directions together (MedPy), not the larger of two (MONAI)."""


class AverageOptions(DistanceOptions):
    """Options of assd."""

    pooled: bool = True
    """Average over both surfaces together (MONAI, MedPy), not over the averages of the two directions."""


class SurfaceDiceOptions(DistanceOptions):
    """Options of nsd."""

    tolerance: Millimetres = 1.0
    """Millimetres by which two surfaces may differ and still agree; a good choice is the distance by which readers
    differ."""


class LesionOptions(Options):
    """Options of the metrics of lesions, which are the connected parts of a structure."""

    connectivity: Literal[4, 6, 8, 18, 26] = 26
    """Neighbours that count as connected: 6 (faces), 18 (and edges), 26 (and corners); in 2D images 4 or 8."""

    smallest: Millimetres = 0.0
    """Smallest lesion in cubic millimetres (square millimetres in 2D); smaller ones are removed from both masks
    first."""

    iou: Annotated[float, Ge(0), Le(1), AllowInfNan(False)] = 0.0
    """0: any shared voxel is a match. Above 0: lesions are matched one to one where their IoU is at least this."""


class CalibrationOptions(Options):
    """Options of ece."""

    bins: Annotated[int, Ge(2), Le(1000)] = 15
    """Bins of equal width from 0 to 1."""

    margin: Millimetres | None = 10.0
    """Millimetres around the structure's box in the reference within which voxels count; null: the whole image."""
