"""What the engine asks of metrics and of measurements, and the specs by which plugins offer them.

A measurement looks at the scan's values inside a structure that was found: the mean attenuation, the highest uptake. It
is asked only about values whose unit is known and is one of its own, so that nothing is measured in numbers that mean
nothing. What it finds goes into the report of a batch and into the DICOM structured report.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    from ..imaging.volume import Array
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


Code = tuple[str, str, str]
"""A coded term: value, scheme, meaning."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number that was measured.

    Attributes:
        name: What people call it, such as `SUVmax`; the key in `report.json` and the head of a column.
        unit: Its code in UCUM, such as `("mL", "UCUM", "milliliter")`.
        concept: What is measured, as a coded term of DICOM PS3.16; without one it is left out of DICOM reports.
        derivation: How it came from the voxels, such as `("56851009", "SCT", "Maximum")`.
    """

    name: str
    value: float
    unit: Code
    concept: Code | None = None
    derivation: Code | None = None

    def document(self) -> dict[str, Any]:
        """What `report.json` says of it; four digits behind the point."""
        return {"value": round(float(self.value), 4), "unit": self.unit[0]}


@dataclass(frozen=True, slots=True)
class Inside:
    """One structure in one channel of a scan, cropped to where it is.

    Attributes:
        values: The scan's voxels (i, j[, k]) of the structure's bounding box and of `margin_mm` around it, where the
            scan is as large.
        mask: Bool, of the same shape: where the structure is; never empty.
        spacing: Millimetres along i, j[, k].
        voxel_ml: Millilitres of a voxel; None in an image of two axes.
        unit: Of the values: `HU`, `g/ml` and others that readers and modalities name.
    """

    values: Array
    mask: Array
    spacing: tuple[float, ...]
    voxel_ml: float | None
    unit: str


class Measurement(Protocol):
    """Measure a structure on the image."""

    def __call__(self, inside: Inside) -> Iterable[Quantity]:
        """What was measured; a quantity that is not defined for this structure is left out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementSpec(Component[C, Measurement]):
    """A measurement, with the units of the values that it is asked about.

    Attributes:
        units: Such as `("HU",)` or `("g/ml",)`.
        margin_mm: So much of the scan around the structure's bounding box is shown to it.
    """

    kind = "measurement"

    units: tuple[str, ...]
    margin_mm: float = 0.0
