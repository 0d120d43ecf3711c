"""Layouts: how the folders people have become cases."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import LayoutSpec, hookimpl, late, late_call

LAYOUTS = {
    "decathlon": (
        "decathlon:Decathlon",
        "A folder of the Medical Segmentation Decathlon: dataset.json lists the cases",
    ),
    "nnunet": ("nnunet:Nnunet", "A raw data set of nnU-Net: one file per channel, regions, an ignore label"),
    "bids": ("bids:Bids", "A BIDS data set: subjects, sessions, masks among the derivatives"),
    "csv": (
        "table:Csv",
        "A table with a row for each case: images, masks of one or more raters, patient, split, facts",
    ),
    "pairs": ("pairs:Pairs", "Images and masks that are matched by their file names"),
}
"""The place and the summary of each; its options and its class are called after it."""


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[Any]]:
    return [
        LayoutSpec(
            name=name,
            summary=summary,
            options=late(__name__, f".options:{place.partition(':')[2]}Options"),
            build=late_call(__name__, f".{place}Layout"),
            guess=late_call(__name__, f".guess:{name}"),
        )
        for name, (place, summary) in LAYOUTS.items()
    ]
