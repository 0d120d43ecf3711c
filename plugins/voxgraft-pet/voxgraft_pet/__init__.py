"""PET for VoxGraft: a modality in uptake values, alone or with CT, and what is measured of a tumour's uptake.

This module is imported whenever plugins are listed: nothing heavy at its top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import MeasurementSpec, ModalitySpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from .options import PetOptions


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[PetOptions]]:
    return [
        ModalitySpec(
            name="pet",
            summary="PET in standardised uptake values, alone or with CT as a second channel",
            dicom=("PT",),
            options=late(__name__, ".options:PetOptions"),
            build=late_call(__name__, ".modality:PetModality"),
        )
    ]


@hookimpl
def voxgraft_measurements() -> list[MeasurementSpec[Any]]:
    return [
        MeasurementSpec(
            name="uptake",
            summary="Metabolic volume, total lesion glycolysis, highest uptake, highest mean in 1 mL",
            units=("g/ml", "g/ml LBMJANMA", "g/ml LBMJAMES128", "cm2/ml BSA"),
            margin_mm=7.0,
            build=late_call(__name__, ".uptake:Uptake"),
        )
    ]
