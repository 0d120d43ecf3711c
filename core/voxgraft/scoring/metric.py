"""What the engine asks of metrics, and the spec by which plugins offer them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    from .calibration import Binning
    from .pair import MaskPair


class Metric(Protocol):
    """Compare a predicted mask with its reference, for one structure."""

    def __call__(self, pair: MaskPair) -> float:
        """The score; NaN where the metric is not defined (see `voxgraft.scoring.pair` for the rules)."""
        ...


@runtime_checkable
class CalibrationMetric(Metric, Protocol):
    """A metric that looks at probabilities: `pair.calibrated` gives them, gathered as it says."""

    binning: Binning


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec(Component[C, Metric]):
    """A metric, with the direction in which it improves and its unit."""

    kind = "metric"

    higher_is_better: bool
    unit: str = ""
