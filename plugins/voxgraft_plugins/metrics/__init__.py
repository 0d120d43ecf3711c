"""Metrics of overlap, of volume, of surfaces, of lesions and of probabilities."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import MetricSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_metrics() -> list[MetricSpec[Any]]:
    return [
        _spec("dice", "Dice overlap: 2 TP / (2 TP + FP + FN)", "Count"),
        _spec("iou", "Intersection over union: TP / (TP + FP + FN)", "Count"),
        _spec("accuracy", "Share of voxels with the right label: (TP + TN) / all", "Count"),
        _spec("precision", "Share of the predicted voxels that are right: TP / (TP + FP)", "Count"),
        _spec("recall", "Share of the reference that was found (sensitivity): TP / (TP + FN)", "Count"),
        _spec("specificity", "Share of the background that was left as background: TN / (TN + FP)", "Count"),
        _spec("f-beta", "F score in which recall counts beta times as much as precision", "FBeta"),
        _spec("volume-difference", "Absolute difference of the volumes", "Count", unit="mL"),
        _spec(
            "relative-volume-difference",
            "Absolute difference of the volumes as a share of the reference's",
            "RelativeVolume",
            higher_is_better=False,
        ),
        _spec("hd95", "Hausdorff distance, 95th percentile", "Percentile", unit="mm"),
        _spec("hd", "Hausdorff distance: the largest distance between the surfaces", "Distance", unit="mm"),
        _spec("assd", "Average symmetric surface distance", "Average", unit="mm"),
        _spec(
            "nsd", "Normalised surface Dice: the part of both surfaces that agrees within a tolerance", "SurfaceDice"
        ),
        _spec("lesion-precision", "Share of the predicted lesions that match a lesion of the reference", "Lesion"),
        _spec("lesion-recall", "Share of the reference's lesions that were found", "Lesion"),
        _spec("lesion-f1", "The harmonic mean of lesion-precision and lesion-recall", "Lesion"),
        _spec(
            "ece",
            "Expected calibration error: how far probabilities are from how often they are right",
            "Calibration",
            higher_is_better=False,
        ),
    ]


def _spec(name: str, summary: str, kind: str, *, higher_is_better: bool = True, unit: str = "") -> MetricSpec[Any]:
    """A spec; metrics with a unit are errors. `kind` names the model of the options."""
    return MetricSpec(
        name=name,
        summary=summary,
        higher_is_better=higher_is_better and not unit,
        unit=unit,
        options=late(__name__, f".metrics:{kind}Options"),
        build=late_call(__name__, ".metrics:metric", name),
    )
