"""Options of the readers and writers of NRRD, MetaImage and MINC."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

from voxgraft.config import Config


class ItkReaderConfig(Config):
    """These readers have no options: a file is read as it is."""


class ItkWriterConfig(Config):
    """Options of the writers."""

    level: Annotated[int, Ge(0), Le(3)] = 1
    """How hard the voxels are compressed, from 0 (fastest) to 3 (smallest)."""
