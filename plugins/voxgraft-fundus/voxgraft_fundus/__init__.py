"""Colour photographs of the retina: a modality with its field of view, two layouts, metrics of vessels, and a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import LayoutSpec, MetricSpec, ModalitySpec, StepSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from voxgraft.plugin import Metric

    from .layouts import ChaseLayout, DriveLayout
    from .modality import FundusModality
    from .options import ChaseOptions, DriveOptions, FundusOptions, WidthOptions
    from .widths import VesselWidths


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[FundusOptions]]:
    def options() -> type[FundusOptions]:
        from .options import FundusOptions

        return FundusOptions

    def build(options: FundusOptions) -> FundusModality:
        from .modality import FundusModality

        return FundusModality(options)

    return [
        ModalitySpec(
            name="fundus",
            summary="Photographs of the retina: each to mean 0 and deviation 1 within its field of view",
            channels=("red", "green", "blue"),
            options=options,
            build=build,
        )
    ]


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[Any]]:
    return [
        LayoutSpec(name="drive", summary="DRIVE as it comes", options=_drive_options, build=_drive, guess=_is_drive),
        LayoutSpec(
            name="chase-db1", summary="CHASE_DB1 as it comes", options=_chase_options, build=_chase, guess=_is_chase
        ),
    ]


@hookimpl
def voxgraft_metrics() -> list[MetricSpec[Any]]:
    return [
        _metric("f1", "F1 of pixels, the Dice overlap, where the case counts"),
        _metric("sensitivity", "How much of the reference was found, where the case counts"),
        _metric("auc", "Area under the ROC curve of pixels, where the case counts"),
    ]


@hookimpl
def voxgraft_steps() -> list[StepSpec[WidthOptions]]:
    def options() -> type[WidthOptions]:
        from .options import WidthOptions

        return WidthOptions

    def build(options: WidthOptions) -> VesselWidths:
        from .widths import VesselWidths

        return VesselWidths(options)

    summary = "What of the vessels is left at the plan's spacing, and at half its resolution"
    return [
        StepSpec(
            name="vessel-widths",
            summary=summary,
            after=("plan",),
            labelled=True,
            scope="member",
            options=options,
            build=build,
        )
    ]


def _metric(name: str, summary: str) -> MetricSpec[Any]:
    def build(options: Any) -> Metric:
        from .metrics import METRICS

        return METRICS[name]

    return MetricSpec(name=name, summary=summary, higher_is_better=True, build=build)


def _drive_options() -> type[DriveOptions]:
    from .options import DriveOptions

    return DriveOptions


def _chase_options() -> type[ChaseOptions]:
    from .options import ChaseOptions

    return ChaseOptions


def _drive(options: DriveOptions) -> DriveLayout:
    from .layouts import DriveLayout

    return DriveLayout(options)


def _chase(options: ChaseOptions) -> ChaseLayout:
    from .layouts import ChaseLayout

    return ChaseLayout(options)


def _is_drive(folder: Path) -> Mapping[str, Any] | None:
    from .layouts import looks_like_drive

    return {"path": folder} if looks_like_drive(folder) else None


def _is_chase(folder: Path) -> Mapping[str, Any] | None:
    return {"path": folder} if any(folder.glob("Image_[0-9][0-9][LR]_1stHO.png")) else None
