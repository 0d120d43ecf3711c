"""Metrics of overlap, of volume, of surfaces, of lesions and of probabilities."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import MetricSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_metrics() -> list[MetricSpec[Any]]:
    return [
        _of_counts("dice", "Dice overlap: 2 TP / (2 TP + FP + FN)"),
        _of_counts("iou", "Intersection over union: TP / (TP + FP + FN)"),
        _of_counts("accuracy", "Share of voxels with the right label: (TP + TN) / all"),
        _of_counts("precision", "Share of the predicted voxels that are right: TP / (TP + FP)"),
        _of_counts("recall", "Share of the reference that was found (sensitivity): TP / (TP + FN)"),
        _of_counts("specificity", "Share of the background that was left as background: TN / (TN + FP)"),
        _spec(
            "f-beta",
            "F score in which recall counts beta times as much as precision",
            "FBetaOptions",
            late_call(__name__, ".metrics:FBeta"),
            higher_is_better=True,
        ),
        _of_counts("volume-difference", "Absolute difference of the volumes", unit="mL"),
        _spec(
            "relative-volume-difference",
            "Absolute difference of the volumes as a share of the reference's",
            "RelativeVolumeOptions",
            late_call(__name__, ".metrics:RelativeVolumeDifference"),
        ),
        _spec(
            "hd95",
            "Hausdorff distance, 95th percentile",
            "PercentileOptions",
            late_call(__name__, ".metrics:Hausdorff", 95.0),
            unit="mm",
        ),
        _spec(
            "hd",
            "Hausdorff distance: the largest distance between the surfaces",
            "DistanceOptions",
            late_call(__name__, ".metrics:Hausdorff", 100.0),
            unit="mm",
        ),
        _spec(
            "assd",
            "Average symmetric surface distance",
            "AverageOptions",
            late_call(__name__, ".metrics:AverageDistance"),
            unit="mm",
        ),
        _spec(
            "nsd",
            "Normalised surface Dice: the part of both surfaces that agrees within a tolerance",
            "SurfaceDiceOptions",
            late_call(__name__, ".metrics:SurfaceDice"),
            higher_is_better=True,
        ),
        _of_lesions("lesion-precision", "Share of the predicted lesions that match a lesion of the reference"),
        _of_lesions("lesion-recall", "Share of the reference's lesions that were found"),
        _of_lesions("lesion-f1", "The harmonic mean of lesion-precision and lesion-recall"),
        _spec(
            "ece",
            "Expected calibration error: how far probabilities are from how often they are right",
            "CalibrationOptions",
            late_call(__name__, ".metrics:CalibrationError"),
        ),
    ]


def _spec(
    name: str, summary: str, model: str, build: Any, *, higher_is_better: bool = False, unit: str = ""
) -> MetricSpec[Any]:
    """A spec; `model` names the model of its options beside the metrics."""
    options = late(__name__, f".metrics:{model}")
    return MetricSpec(
        name=name, summary=summary, higher_is_better=higher_is_better, unit=unit, options=options, build=build
    )


def _of_counts(name: str, summary: str, unit: str = "") -> MetricSpec[Any]:
    build = late_call(__name__, ".metrics:of_counts", name)
    return _spec(name, summary, "CountOptions", build, higher_is_better=not unit, unit=unit)


def _of_lesions(name: str, summary: str) -> MetricSpec[Any]:
    build = late_call(__name__, ".metrics:LesionMetric", name)
    return _spec(name, summary, "LesionOptions", build, higher_is_better=True)
