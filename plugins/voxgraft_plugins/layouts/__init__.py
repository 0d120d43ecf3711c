"""Layouts: how the folders people have become cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import LayoutSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .bids import BidsLayout
    from .config import BidsConfig, CsvConfig, DecathlonConfig, NnunetConfig, PairsConfig
    from .decathlon import DecathlonLayout
    from .nnunet import NnunetLayout
    from .pairs import PairsLayout
    from .table import CsvLayout


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[Any]]:
    return [
        LayoutSpec(
            name="decathlon",
            summary="A folder of the Medical Segmentation Decathlon: dataset.json lists the cases",
            config=_decathlon_config,
            build=_decathlon,
            guess=_guess_decathlon,
        ),
        LayoutSpec(
            name="nnunet",
            summary="A raw data set of nnU-Net: one file a channel, regions, an ignore label",
            config=_nnunet_config,
            build=_nnunet,
            guess=_guess_nnunet,
        ),
        LayoutSpec(
            name="bids",
            summary="A BIDS data set: subjects, sessions, masks among the derivatives",
            config=_bids_config,
            build=_bids,
            guess=_guess_bids,
        ),
        LayoutSpec(
            name="csv",
            summary="A table with a row for each case: images, masks of one or more raters, patient, split, facts",
            config=_csv_config,
            build=_csv,
            guess=_guess_csv,
        ),
        LayoutSpec(
            name="pairs",
            summary="Images and masks that are matched by their file names",
            config=_pairs_config,
            build=_pairs,
            guess=_guess_pairs,
        ),
    ]


def _decathlon_config() -> type[DecathlonConfig]:
    from .config import DecathlonConfig

    return DecathlonConfig


def _pairs_config() -> type[PairsConfig]:
    from .config import PairsConfig

    return PairsConfig


def _nnunet_config() -> type[NnunetConfig]:
    from .config import NnunetConfig

    return NnunetConfig


def _nnunet(config: NnunetConfig) -> NnunetLayout:
    from .nnunet import NnunetLayout

    return NnunetLayout(config)


def _bids_config() -> type[BidsConfig]:
    from .config import BidsConfig

    return BidsConfig


def _bids(config: BidsConfig) -> BidsLayout:
    from .bids import BidsLayout

    return BidsLayout(config)


def _csv_config() -> type[CsvConfig]:
    from .config import CsvConfig

    return CsvConfig


def _csv(config: CsvConfig) -> CsvLayout:
    from .table import CsvLayout

    return CsvLayout(config)


def _decathlon(config: DecathlonConfig) -> DecathlonLayout:
    from .decathlon import DecathlonLayout

    return DecathlonLayout(config)


def _pairs(config: PairsConfig) -> PairsLayout:
    from .pairs import PairsLayout

    return PairsLayout(config)


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
