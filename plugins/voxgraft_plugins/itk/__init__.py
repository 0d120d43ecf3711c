"""Read and write the formats of ITK's world: NRRD (3D Slicer's segmentations too), MetaImage, MINC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import ReaderSpec, WriterSpec, hookimpl

if TYPE_CHECKING:
    from .config import ItkReaderConfig, ItkWriterConfig


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[ItkReaderConfig]]:
    return [
        ReaderSpec(
            name="nrrd",
            summary="NRRD images and the segmentations of 3D Slicer, header and voxels in one file or two",
            suffixes=(".nrrd", ".nhdr"),
            magic=((0, b"NRRD000"),),
            config=_reader_config,
            build=_nrrd,
        ),
        ReaderSpec(
            name="metaimage",
            summary="MetaImage, header and voxels in one file or two",
            suffixes=(".mha", ".mhd"),
            config=_reader_config,
            build=_metaimage,
        ),
        ReaderSpec(
            name="minc",
            summary="MINC 2 volumes, through SimpleITK",
            suffixes=(".mnc",),
            config=_reader_config,
            build=_minc,
        ),
    ]


@hookimpl
def voxgraft_writers() -> list[WriterSpec[ItkWriterConfig]]:
    return [
        WriterSpec(
            name="nrrd",
            summary="NRRD, compressed; masks with the names of their structures, as 3D Slicer reads them",
            suffixes=(".nrrd",),
            filename="mask.seg.nrrd",
            config=_writer_config,
            build=_nrrd_writer,
        ),
        WriterSpec(
            name="metaimage",
            summary="MetaImage, compressed, in one file",
            suffixes=(".mha",),
            filename="mask.mha",
            config=_writer_config,
            build=_metaimage_writer,
        ),
    ]


def _reader_config() -> type[ItkReaderConfig]:
    from .config import ItkReaderConfig

    return ItkReaderConfig


def _nrrd(config: ItkReaderConfig) -> Any:
    from .nrrd import parse_nrrd
    from .reader import TextReader

    return TextReader("nrrd", parse_nrrd)


def _metaimage(config: ItkReaderConfig) -> Any:
    from .metaimage import parse_metaimage
    from .reader import TextReader

    return TextReader("metaimage", parse_metaimage)


def _minc(config: ItkReaderConfig) -> Any:
    from .minc import MincReader

    return MincReader()


def _writer_config() -> type[ItkWriterConfig]:
    from .config import ItkWriterConfig

    return ItkWriterConfig


def _nrrd_writer(config: ItkWriterConfig) -> Any:
    from .writer import NrrdWriter

    return NrrdWriter(config)


def _metaimage_writer(config: ItkWriterConfig) -> Any:
    from .writer import MetaImageWriter

    return MetaImageWriter(config)
