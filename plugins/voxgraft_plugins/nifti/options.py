"""Options of the NIfTI reader and writer."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

from voxgraft.plugin import Options


class NiftiReaderOptions(Options):
    """The NIfTI reader has no options: a file is read as it is."""


class NiftiWriterOptions(Options):
    """Options of the NIfTI writer."""

    level: Annotated[int, Ge(0), Le(3)] = 1
    """How hard gzip tries, from 0 (fastest) to 3 (smallest)."""
