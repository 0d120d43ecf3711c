"""Layouts: how the folders people have become cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import LayoutSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .bids import BidsLayout
    from .decathlon import DecathlonLayout
    from .nnunet import NnunetLayout
    from .options import BidsOptions, CsvOptions, DecathlonOptions, NnunetOptions, PairsOptions
    from .pairs import PairsLayout
    from .table import CsvLayout


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[Any]]:
    return [
        LayoutSpec(
            name="decathlon",
            summary="A folder of the Medical Segmentation Decathlon: dataset.json lists the cases",
            options=_decathlon_options,
            build=_decathlon,
            guess=_guess_decathlon,
        ),
        LayoutSpec(
            name="nnunet",
            summary="A raw data set of nnU-Net: one file a channel, regions, an ignore label",
            options=_nnunet_options,
            build=_nnunet,
            guess=_guess_nnunet,
        ),
        LayoutSpec(
            name="bids",
            summary="A BIDS data set: subjects, sessions, masks among the derivatives",
            options=_bids_options,
            build=_bids,
            guess=_guess_bids,
        ),
        LayoutSpec(
            name="csv",
            summary="A table with a row for each case: images, masks of one or more raters, patient, split, facts",
            options=_csv_options,
            build=_csv,
            guess=_guess_csv,
        ),
        LayoutSpec(
            name="pairs",
            summary="Images and masks that are matched by their file names",
            options=_pairs_options,
            build=_pairs,
            guess=_guess_pairs,
        ),
    ]


def _decathlon_options() -> type[DecathlonOptions]:
    from .options import DecathlonOptions

    return DecathlonOptions


def _pairs_options() -> type[PairsOptions]:
    from .options import PairsOptions

    return PairsOptions


def _nnunet_options() -> type[NnunetOptions]:
    from .options import NnunetOptions

    return NnunetOptions


def _nnunet(options: NnunetOptions) -> NnunetLayout:
    from .nnunet import NnunetLayout

    return NnunetLayout(options)


def _bids_options() -> type[BidsOptions]:
    from .options import BidsOptions

    return BidsOptions


def _bids(options: BidsOptions) -> BidsLayout:
    from .bids import BidsLayout

    return BidsLayout(options)


def _csv_options() -> type[CsvOptions]:
    from .options import CsvOptions

    return CsvOptions


def _csv(options: CsvOptions) -> CsvLayout:
    from .table import CsvLayout

    return CsvLayout(options)


def _decathlon(options: DecathlonOptions) -> DecathlonLayout:
    from .decathlon import DecathlonLayout

    return DecathlonLayout(options)


def _pairs(options: PairsOptions) -> PairsLayout:
    from .pairs import PairsLayout

    return PairsLayout(options)


def _guess_decathlon(folder: Path) -> Mapping[str, Any] | None:
    from .guess import decathlon

    return decathlon(folder)


def _guess_nnunet(folder: Path) -> Mapping[str, Any] | None:
    from .guess import nnunet

    return nnunet(folder)


def _guess_bids(folder: Path) -> Mapping[str, Any] | None:
    from .guess import bids

    return bids(folder)


def _guess_csv(folder: Path) -> Mapping[str, Any] | None:
    from .guess import csv

    return csv(folder)


def _guess_pairs(folder: Path) -> Mapping[str, Any] | None:
    from .guess import pairs

    return pairs(folder)
