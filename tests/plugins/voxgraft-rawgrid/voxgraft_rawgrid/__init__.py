"""An example of a plugin in a project of its own: a reader of a laboratory's `.rawgrid` files, and a modality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ModalitySpec, ReaderSpec, hookimpl

if TYPE_CHECKING:
    from .modality import Micro
    from .options import MicroOptions, RawGridOptions
    from .reader import RawGridReader


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[RawGridOptions]]:
    return [
        ReaderSpec(
            name="rawgrid",
            summary="Volumes of the laboratory's scanner",
            suffixes=(".rawgrid",),
            magic=((0, b"RAWGRID1"),),
            options=_reader_options,
            build=_reader,
        )
    ]


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[MicroOptions]]:
    return [
        ModalitySpec(name="micro", summary="Counts of the laboratory's scanner", options=_micro_options, build=_micro)
    ]


def _reader_options() -> type[RawGridOptions]:
    from .options import RawGridOptions

    return RawGridOptions


def _reader(options: RawGridOptions) -> RawGridReader:
    from .reader import RawGridReader

    return RawGridReader()


def _micro_options() -> type[MicroOptions]:
    from .options import MicroOptions

    return MicroOptions


def _micro(options: MicroOptions) -> Micro:
    from .modality import Micro

    return Micro(options)
