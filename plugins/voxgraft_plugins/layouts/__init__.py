"""Layouts: how the folders people have become cases."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import LayoutSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[Any]]:
    return [
        LayoutSpec(
            name="decathlon",
            summary="A folder of the Medical Segmentation Decathlon: dataset.json lists the cases",
            options=late(__name__, ".options:DecathlonOptions"),
            build=late_call(__name__, ".decathlon:DecathlonLayout"),
            guess=late_call(__name__, ".guess:decathlon"),
        ),
        LayoutSpec(
            name="nnunet",
            summary="A raw data set of nnU-Net: one file per channel, regions, an ignore label",
            options=late(__name__, ".options:NnunetOptions"),
            build=late_call(__name__, ".nnunet:NnunetLayout"),
            guess=late_call(__name__, ".guess:nnunet"),
        ),
        LayoutSpec(
            name="bids",
            summary="A BIDS data set: subjects, sessions, masks among the derivatives",
            options=late(__name__, ".options:BidsOptions"),
            build=late_call(__name__, ".bids:BidsLayout"),
            guess=late_call(__name__, ".guess:bids"),
        ),
        LayoutSpec(
            name="csv",
            summary="A table with a row for each case: images, masks of one or more raters, patient, split, facts",
            options=late(__name__, ".options:CsvOptions"),
            build=late_call(__name__, ".table:CsvLayout"),
            guess=late_call(__name__, ".guess:csv"),
        ),
        LayoutSpec(
            name="pairs",
            summary="Images and masks that are matched by their file names",
            options=late(__name__, ".options:PairsOptions"),
            build=late_call(__name__, ".pairs:PairsLayout"),
            guess=late_call(__name__, ".guess:pairs"),
        ),
    ]
