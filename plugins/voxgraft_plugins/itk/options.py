"""Options of the writers of NRRD and MetaImage; their readers have none: a file is read as it is."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

from voxgraft.plugin import Options


class ItkWriterOptions(Options):
    """Options of the writers."""

    level: Annotated[int, Ge(0), Le(3)] = 1
    """Compression level, from 0 (fastest) to 3 (smallest)."""
