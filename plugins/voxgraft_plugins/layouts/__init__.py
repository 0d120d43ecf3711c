"""Layouts: how the folders people have become cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import LayoutSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .config import DecathlonConfig, PairsConfig
    from .decathlon import DecathlonLayout
    from .pairs import PairsLayout


@hookimpl
def voxgraft_layouts() -> list[LayoutSpec[Any]]:
    return [
        LayoutSpec(
            name="decathlon",
            summary="A folder with dataset.json: Medical Segmentation Decathlon or nnU-Net raw",
            config=_decathlon_config,
            build=_decathlon,
            guess=_guess_decathlon,
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


def _decathlon(config: DecathlonConfig) -> DecathlonLayout:
    from .decathlon import DecathlonLayout

    return DecathlonLayout(config)


def _pairs(config: PairsConfig) -> PairsLayout:
    from .pairs import PairsLayout

    return PairsLayout(config)


def _guess_decathlon(folder: Path) -> Mapping[str, Any] | None:
    from .guess import decathlon

    return decathlon(folder)


def _guess_pairs(folder: Path) -> Mapping[str, Any] | None:
    from .guess import pairs

    return pairs(folder)
