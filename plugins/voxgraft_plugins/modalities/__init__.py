"""Modalities: how images of a kind are normalised, augmented and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft.plugin import ModalitySpec, hookimpl

if TYPE_CHECKING:
    from .colour import RgbModality
    from .ct import CtModality
    from .options import CtOptions, ImageOptions, MrOptions, RgbOptions
    from .single import ImageModality, MrModality


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[Any]]:
    return [
        ModalitySpec(
            name="ct",
            summary="CT: Hounsfield units, clipped and scaled by the training cases' foreground",
            dicom=("CT",),
            options=_ct_options,
            build=_ct,
        ),
        ModalitySpec(
            name="mr",
            summary="MR: each image to mean 0 and deviation 1, over the brain alone where the skull is stripped",
            dicom=("MR",),
            options=_mr_options,
            build=_mr,
        ),
        ModalitySpec(
            name="image",
            summary="Any grey image: each clipped to its percentiles, to mean 0 and deviation 1",
            dicom=("CR", "DX", "MG", "US", "NM", "PT", "XA", "RF", "OPT", "OCT"),
            options=_image_options,
            build=_image,
        ),
        ModalitySpec(
            name="rgb",
            summary="Colour photographs: 0..255 to ImageNet's mean and deviation",
            dicom=("OP", "ES", "XC", "GM", "SM"),
            channels=("red", "green", "blue"),
            options=_rgb_options,
            build=_rgb,
        ),
    ]


def _ct_options() -> type[CtOptions]:
    from .options import CtOptions

    return CtOptions


def _mr_options() -> type[MrOptions]:
    from .options import MrOptions

    return MrOptions


def _image_options() -> type[ImageOptions]:
    from .options import ImageOptions

    return ImageOptions


def _rgb_options() -> type[RgbOptions]:
    from .options import RgbOptions

    return RgbOptions


def _ct(options: CtOptions) -> CtModality:
    from .ct import CtModality

    return CtModality(options)


def _mr(options: MrOptions) -> MrModality:
    from .single import MrModality

    return MrModality(options)


def _image(options: ImageOptions) -> ImageModality:
    from .single import ImageModality

    return ImageModality(options)


def _rgb(options: RgbOptions) -> RgbModality:
    from .colour import RgbModality

    return RgbModality(options)
