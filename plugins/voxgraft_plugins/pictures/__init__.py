"""Read and write pictures: PNG, JPEG, BMP, GIF, PNM, and TIFF with its stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ReaderSpec, WriterSpec, hookimpl

if TYPE_CHECKING:
    from .options import PictureOptions, PngWriterOptions, TiffOptions, TiffWriterOptions
    from .picture import PictureReader
    from .png import PngWriter
    from .stack import TiffReader
    from .tiff import TiffWriter


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[PictureOptions] | ReaderSpec[TiffOptions]]:
    return [
        ReaderSpec(
            name="picture",
            summary="PNG, JPEG, BMP, GIF and PNM pictures, grey or colour, as 2D images",
            suffixes=(".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".ppm", ".pgm", ".pnm"),
            magic=((0, b"\x89PNG\r\n\x1a\n"), (0, b"\xff\xd8\xff"), (0, b"GIF87a"), (0, b"GIF89a")),
            illustrates=True,
            options=_picture_options,
            build=_picture,
        ),
        ReaderSpec(
            name="tiff",
            summary="TIFF pictures and stacks of 8 to 32 bits, grey or colour, with the sizes of OME and ImageJ",
            suffixes=(".tif", ".tiff"),
            magic=((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
            illustrates=True,
            options=_tiff_options,
            build=_tiff,
        ),
    ]


@hookimpl
def voxgraft_writers() -> list[WriterSpec[PngWriterOptions] | WriterSpec[TiffWriterOptions]]:
    return [
        WriterSpec(
            name="png",
            summary="PNG of 8 or 16 bits, grey or RGB, of 2D images",
            suffixes=(".png",),
            filename="mask.png",
            dims=frozenset({2}),
            options=_png_writer_options,
            build=_png_writer,
        ),
        WriterSpec(
            name="tiff",
            summary="TIFF pictures and stacks, compressed, that keep their place",
            suffixes=(".tif", ".tiff"),
            filename="mask.tif",
            options=_tiff_writer_options,
            build=_tiff_writer,
        ),
    ]


def _picture_options() -> type[PictureOptions]:
    from .options import PictureOptions

    return PictureOptions


def _picture(options: PictureOptions) -> PictureReader:
    from .picture import PictureReader

    return PictureReader(options)


def _tiff_options() -> type[TiffOptions]:
    from .options import TiffOptions

    return TiffOptions


def _tiff(options: TiffOptions) -> TiffReader:
    from .stack import TiffReader

    return TiffReader(options)


def _png_writer_options() -> type[PngWriterOptions]:
    from .options import PngWriterOptions

    return PngWriterOptions


def _png_writer(options: PngWriterOptions) -> PngWriter:
    from .png import PngWriter

    return PngWriter(options)


def _tiff_writer_options() -> type[TiffWriterOptions]:
    from .options import TiffWriterOptions

    return TiffWriterOptions


def _tiff_writer(options: TiffWriterOptions) -> TiffWriter:
    from .tiff import TiffWriter

    return TiffWriter(options)
