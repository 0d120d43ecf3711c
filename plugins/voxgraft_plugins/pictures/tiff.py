"""The TIFF writer: pictures and stacks of any depth, deflated, with the affine in the description."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from voxgraft.plugin import Volume

from .options import TiffWriterOptions
from .place import DIMS, KEY
from .values import rows_of

if TYPE_CHECKING:
    from voxgraft.plugin import Labels


class TiffWriter:
    """Writes slices as pages, i to the right and j downwards, and channels as pages of their own or colours."""

    def __init__(self, options: TiffWriterOptions) -> None:
        self._level = options.level

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write a volume as it stands; three channels of 8 bits are colours.

        Raises:
            DataError: TIFF has no type for its voxels.
        """
        import tifffile

        rows = rows_of(volume, labels, target)
        colours = volume.channels == 3 and rows.dtype.itemsize == 1
        axes = ("C" if volume.channels > 1 and not colours else "") + ("Z" if volume.dims == 3 else "") + "YX"
        notes = {"axes": axes + "S" * colours, KEY: volume.affine.tolist(), DIMS: volume.dims}
        x, y = (10.0 / step for step in volume.spacing[:2])
        tifffile.imwrite(
            target,
            rows,
            bigtiff=rows.nbytes > 3 << 30,
            photometric="rgb" if colours else "minisblack",
            compression="zlib" if self._level else None,
            compressionargs={"level": self._level} if self._level else None,
            resolution=(x, y),
            resolutionunit="CENTIMETER",
            metadata=notes,
            software=None,
            datetime=None,
        )
