"""Modalities: how images of a kind are normalised, augmented and shown."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import ModalitySpec, hookimpl, late, late_call


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[Any]]:
    return [
        ModalitySpec(
            name="ct",
            summary="CT: Hounsfield units, clipped and scaled by the training cases' foreground",
            dicom=("CT",),
            options=late(__name__, ".options:CtOptions"),
            build=late_call(__name__, ".modalities:CtModality"),
        ),
        ModalitySpec(
            name="mr",
            summary="MR: each image scaled to mean 0 and standard deviation 1, over the brain alone if the skull "
            "is stripped",
            dicom=("MR",),
            options=late(__name__, ".options:MrOptions"),
            build=late_call(__name__, ".modalities:MrModality"),
        ),
        ModalitySpec(
            name="image",
            summary="Any grey image: clipped to its percentiles, scaled to mean 0 and standard deviation 1",
            dicom=("CR", "DX", "MG", "US", "NM", "PT", "XA", "RF", "OPT", "OCT"),
            options=late(__name__, ".options:ImageOptions"),
            build=late_call(__name__, ".modalities:ImageModality"),
        ),
        ModalitySpec(
            name="rgb",
            summary="Colour photographs: 0..255 scaled by ImageNet's mean and standard deviation",
            dicom=("OP", "ES", "XC", "GM", "SM"),
            channels=("red", "green", "blue"),
            options=late(__name__, ".options:RgbOptions"),
            build=late_call(__name__, ".modalities:RgbModality"),
        ),
    ]
