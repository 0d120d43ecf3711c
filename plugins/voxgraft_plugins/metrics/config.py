"""Options of the metrics."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from pydantic import AllowInfNan

from voxgraft.config import Config


class CountConfig(Config):
    """Metrics of voxel counts have no options."""


class DistanceConfig(Config):
    """Distances between surfaces have no options: they are in millimetres, by the spacing of the scan."""


class SurfaceDiceConfig(Config):
    """Options of nsd."""

    tolerance: Annotated[float, Ge(0), AllowInfNan(False)] = 1.0
    """Millimetres by which two surfaces may differ and still agree; what readers differ by is a good choice."""
