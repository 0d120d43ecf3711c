"""Measurements of the scan's values inside structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import MeasurementSpec, hookimpl

if TYPE_CHECKING:
    from .values import Values


@hookimpl
def voxgraft_measurements() -> list[MeasurementSpec[Any]]:
    return [
        MeasurementSpec(
            name="values",
            summary="Mean and standard deviation of Hounsfield units, and of uptake by body weight",
            units=("HU", "g/ml"),
            build=_values,
        )
    ]


def _values(options: Any) -> Values:
    from .values import Values

    return Values()
