"""Metrics of overlap, of volume and of surfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from voxgraft import MetricSpec, hookimpl

if TYPE_CHECKING:
    from voxgraft.interfaces import Metric

    from .config import CountConfig, DistanceConfig, SurfaceDiceConfig


@hookimpl
def voxgraft_metrics() -> list[MetricSpec[Any]]:
    return [
        _of_counts("dice", "Dice overlap: 2 TP / (2 TP + FP + FN)", higher_is_better=True),
        _of_counts("iou", "Intersection over union: TP / (TP + FP + FN)", higher_is_better=True),
        _of_counts("accuracy", "Voxels labelled rightly: (TP + TN) / all", higher_is_better=True),
        _of_counts("precision", "How much of what was found is right: TP / (TP + FP)", higher_is_better=True),
        _of_counts("recall", "How much of the reference was found: TP / (TP + FN)", higher_is_better=True),
        _of_counts("specificity", "How much of the rest was left alone: TN / (TN + FP)", higher_is_better=True),
        _of_counts("volume-difference", "Difference of the volumes, without its sign", unit="mL"),
        _of_distances("hd95", "Hausdorff distance, 95th percentile"),
        _of_distances("hd", "Hausdorff distance: the largest distance between the surfaces"),
        _of_distances("assd", "Average symmetric surface distance"),
        MetricSpec(
            name="nsd",
            summary="Normalised surface Dice: the part of both surfaces that agrees within a tolerance",
            higher_is_better=True,
            config=_surface_dice_config,
            build=_surface_dice,
        ),
    ]


def _of_counts(name: str, summary: str, *, higher_is_better: bool = False, unit: str = "") -> MetricSpec[CountConfig]:
    return MetricSpec(
        name=name,
        summary=summary,
        higher_is_better=higher_is_better,
        unit=unit,
        config=_count_config,
        build=_count_metric(name),
    )


def _of_distances(name: str, summary: str) -> MetricSpec[DistanceConfig]:
    return MetricSpec(
        name=name,
        summary=summary,
        higher_is_better=False,
        unit="mm",
        config=_distance_config,
        build=_distance_metric(name),
    )


def _count_config() -> type[CountConfig]:
    from .config import CountConfig

    return CountConfig


def _distance_config() -> type[DistanceConfig]:
    from .config import DistanceConfig

    return DistanceConfig


def _surface_dice_config() -> type[SurfaceDiceConfig]:
    from .config import SurfaceDiceConfig

    return SurfaceDiceConfig


def _count_metric(name: str) -> Callable[[CountConfig], Metric]:
    def build(config: CountConfig) -> Metric:
        from .counts import METRICS

        return METRICS[name]

    return build


def _distance_metric(name: str) -> Callable[[DistanceConfig], Metric]:
    def build(config: DistanceConfig) -> Metric:
        from .surfaces import METRICS

        return METRICS[name]

    return build


def _surface_dice(config: SurfaceDiceConfig) -> Metric:
    from .surfaces import SurfaceDice

    return SurfaceDice(config)
