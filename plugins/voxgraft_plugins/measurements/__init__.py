"""Measurements of the scan's values inside structures."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import MeasurementSpec, hookimpl, late_call


@hookimpl
def voxgraft_measurements() -> list[MeasurementSpec[Any]]:
    return [
        MeasurementSpec(
            name="values",
            summary="Mean and standard deviation of Hounsfield units, and of uptake by body weight",
            units=("HU", "g/ml"),
            build=late_call(__name__, ".values:Values"),
        )
    ]
