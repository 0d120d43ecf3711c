"""Colour photographs of the retina: a modality with its field of view, two layouts, metrics of vessels, and a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import LayoutSpec, MetricSpec, ModalitySpec, StepSpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from .options import FundusOptions, WidthOptions


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[FundusOptions]]:
    return [
        ModalitySpec(
            name="fundus",
            summary="Photographs of the retina: each to mean 0 and deviation 1 within its field of view",
            channels=("red", "green", "blue"),
            options=late(__name__, ".options:FundusOptions"),
            build=late_call(__name__, ".modality:FundusModality"),
        )
    ]


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[Any]]:
    return [
        LayoutSpec(
            name="drive",
            summary="DRIVE as it comes",
            options=late(__name__, ".options:DriveOptions"),
            build=late_call(__name__, ".layouts:DriveLayout"),
            guess=late_call(__name__, ".layouts:guess_drive"),
        ),
        LayoutSpec(
            name="chase-db1",
            summary="CHASE_DB1 as it comes",
            options=late(__name__, ".options:ChaseOptions"),
            build=late_call(__name__, ".layouts:ChaseLayout"),
            guess=late_call(__name__, ".layouts:guess_chase"),
        ),
    ]


@hookimpl
def voxgraft_metrics() -> list[MetricSpec[Any]]:
    return [
        _metric("f1", "F1 of pixels, the Dice overlap, in the valid region"),
        _metric("sensitivity", "Share of the reference that was found, in the valid region"),
        _metric("auc", "Area under the ROC curve of pixels, in the valid region"),
    ]


@hookimpl
def voxgraft_steps() -> list[StepSpec[WidthOptions]]:
    return [
        StepSpec(
            name="vessel-widths",
            summary="How much of the vessels is left at the plan's spacing, and at half its resolution",
            after=("plan",),
            labelled=True,
            scope="member",
            options=late(__name__, ".options:WidthOptions"),
            build=late_call(__name__, ".widths:VesselWidths"),
        )
    ]


def _metric(name: str, summary: str) -> MetricSpec[Any]:
    build = late_call(__name__, ".metrics:metric", name)
    return MetricSpec(name=name, summary=summary, higher_is_better=True, build=build)
