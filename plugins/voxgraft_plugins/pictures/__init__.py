"""Read and write pictures: PNG, JPEG, BMP, GIF, PNM, and TIFF with its stacks."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import ReaderSpec, WriterSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[Any]]:
    return [
        ReaderSpec(
            name="picture",
            summary="PNG, JPEG, BMP, GIF and PNM pictures, grey or colour, as 2D images",
            suffixes=(".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".ppm", ".pgm", ".pnm"),
            magic=((0, b"\x89PNG\r\n\x1a\n"), (0, b"\xff\xd8\xff"), (0, b"GIF87a"), (0, b"GIF89a")),
            illustrates=True,
            options=late(__name__, ".options:PictureOptions"),
            build=late_call(__name__, ".picture:PictureReader"),
        ),
        ReaderSpec(
            name="tiff",
            summary="TIFF pictures and stacks of 8 to 32 bits, grey or colour, with the sizes of OME and ImageJ",
            suffixes=(".tif", ".tiff"),
            magic=((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
            illustrates=True,
            options=late(__name__, ".options:TiffOptions"),
            build=late_call(__name__, ".stack:TiffReader"),
        ),
    ]


@hookimpl
def voxgraft_writers() -> list[WriterSpec[Any]]:
    return [
        WriterSpec(
            name="png",
            summary="PNG of 8 or 16 bits, grey or RGB, of 2D images",
            suffixes=(".png",),
            filename="mask.png",
            dims=frozenset({2}),
            options=late(__name__, ".options:PngWriterOptions"),
            build=late_call(__name__, ".writers:PngWriter"),
        ),
        WriterSpec(
            name="tiff",
            summary="TIFF pictures and stacks, compressed, with their position and spacing",
            suffixes=(".tif", ".tiff"),
            filename="mask.tif",
            options=late(__name__, ".options:TiffWriterOptions"),
            build=late_call(__name__, ".writers:TiffWriter"),
        ),
    ]
