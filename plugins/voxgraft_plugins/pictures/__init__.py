"""Read and write pictures: PNG, JPEG, BMP, GIF, PNM, and TIFF with its stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import ReaderSpec, WriterSpec, hookimpl

if TYPE_CHECKING:
    from .config import PictureConfig, PngWriterConfig, TiffConfig, TiffWriterConfig
    from .picture import PictureReader
    from .png import PngWriter
    from .stack import TiffReader
    from .tiff import TiffWriter


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[PictureConfig] | ReaderSpec[TiffConfig]]:
    return [
        ReaderSpec(
            name="picture",
            summary="PNG, JPEG, BMP, GIF and PNM pictures, grey or colour, as images of two axes",
            suffixes=(".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".ppm", ".pgm", ".pnm"),
            magic=((0, b"\x89PNG\r\n\x1a\n"), (0, b"\xff\xd8\xff"), (0, b"GIF87a"), (0, b"GIF89a")),
            illustrates=True,
            config=_picture_config,
            build=_picture,
        ),
        ReaderSpec(
            name="tiff",
            summary="TIFF pictures and stacks of 8 to 32 bits, grey or colour, with the sizes of OME and ImageJ",
            suffixes=(".tif", ".tiff"),
            magic=((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
            illustrates=True,
            config=_tiff_config,
            build=_tiff,
        ),
    ]


@hookimpl
def voxgraft_writers() -> list[WriterSpec[PngWriterConfig] | WriterSpec[TiffWriterConfig]]:
    return [
        WriterSpec(
            name="png",
            summary="PNG of 8 or 16 bits, grey or RGB, of images of two axes",
            suffixes=(".png",),
            filename="mask.png",
            dims=frozenset({2}),
            config=_png_writer_config,
            build=_png_writer,
        ),
        WriterSpec(
            name="tiff",
            summary="TIFF pictures and stacks, compressed, that keep their place",
            suffixes=(".tif", ".tiff"),
            filename="mask.tif",
            config=_tiff_writer_config,
            build=_tiff_writer,
        ),
    ]


def _picture_config() -> type[PictureConfig]:
    from .config import PictureConfig

    return PictureConfig


def _picture(config: PictureConfig) -> PictureReader:
    from .picture import PictureReader

    return PictureReader(config)


def _tiff_config() -> type[TiffConfig]:
    from .config import TiffConfig

    return TiffConfig


def _tiff(config: TiffConfig) -> TiffReader:
    from .stack import TiffReader

    return TiffReader(config)


def _png_writer_config() -> type[PngWriterConfig]:
    from .config import PngWriterConfig

    return PngWriterConfig


def _png_writer(config: PngWriterConfig) -> PngWriter:
    from .png import PngWriter

    return PngWriter(config)


def _tiff_writer_config() -> type[TiffWriterConfig]:
    from .config import TiffWriterConfig

    return TiffWriterConfig


def _tiff_writer(config: TiffWriterConfig) -> TiffWriter:
    from .tiff import TiffWriter

    return TiffWriter(config)
