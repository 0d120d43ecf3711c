"""Modalities: how images of a kind are normalised, augmented and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import ModalitySpec, hookimpl

if TYPE_CHECKING:
    from .colour import RgbModality
    from .config import CtConfig, ImageConfig, MrConfig, RgbConfig
    from .ct import CtModality
    from .single import ImageModality, MrModality


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[Any]]:
    return [
        ModalitySpec(
            name="ct",
            summary="CT: Hounsfield units, clipped and scaled by the training cases' foreground",
            dicom=("CT",),
            config=_ct_config,
            build=_ct,
        ),
        ModalitySpec(
            name="mr",
            summary="MR: each image to mean 0 and deviation 1, over the brain alone where the skull is stripped",
            dicom=("MR",),
            config=_mr_config,
            build=_mr,
        ),
        ModalitySpec(
            name="image",
            summary="Any grey image: each clipped to its percentiles, to mean 0 and deviation 1",
            dicom=("CR", "DX", "MG", "US", "NM", "PT", "XA", "RF", "OPT", "OCT"),
            config=_image_config,
            build=_image,
        ),
        ModalitySpec(
            name="rgb",
            summary="Colour photographs: 0..255 to ImageNet's mean and deviation",
            dicom=("OP", "ES", "XC", "GM", "SM"),
            channels=("red", "green", "blue"),
            config=_rgb_config,
            build=_rgb,
        ),
    ]


def _ct_config() -> type[CtConfig]:
    from .config import CtConfig

    return CtConfig


def _mr_config() -> type[MrConfig]:
    from .config import MrConfig

    return MrConfig


def _image_config() -> type[ImageConfig]:
    from .config import ImageConfig

    return ImageConfig


def _rgb_config() -> type[RgbConfig]:
    from .config import RgbConfig

    return RgbConfig


def _ct(config: CtConfig) -> CtModality:
    from .ct import CtModality

    return CtModality(config)


def _mr(config: MrConfig) -> MrModality:
    from .single import MrModality

    return MrModality(config)


def _image(config: ImageConfig) -> ImageModality:
    from .single import ImageModality

    return ImageModality(config)


def _rgb(config: RgbConfig) -> RgbModality:
    from .colour import RgbModality

    return RgbModality(config)
