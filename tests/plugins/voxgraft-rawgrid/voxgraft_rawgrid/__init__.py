"""An example of a plugin in a project of its own: a reader of a laboratory's `.rawgrid` files, and a modality."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import ModalitySpec, ReaderSpec, hookimpl

if TYPE_CHECKING:
    from .config import MicroConfig, RawGridConfig
    from .modality import Micro
    from .reader import RawGridReader


@hookimpl
def voxgraft_readers() -> list[ReaderSpec[RawGridConfig]]:
    return [
        ReaderSpec(
            name="rawgrid",
            summary="Volumes of the laboratory's scanner",
            suffixes=(".rawgrid",),
            magic=((0, b"RAWGRID1"),),
            config=_reader_config,
            build=_reader,
        )
    ]


@hookimpl
def voxgraft_modalities() -> list[ModalitySpec[MicroConfig]]:
    return [
        ModalitySpec(name="micro", summary="Counts of the laboratory's scanner", config=_micro_config, build=_micro)
    ]


def _reader_config() -> type[RawGridConfig]:
    from .config import RawGridConfig

    return RawGridConfig


def _reader(config: RawGridConfig) -> RawGridReader:
    from .reader import RawGridReader

    return RawGridReader()


def _micro_config() -> type[MicroConfig]:
    from .config import MicroConfig

    return MicroConfig


def _micro(config: MicroConfig) -> Micro:
    from .modality import Micro

    return Micro(config)
