"""The DICOM reader: series from headers, volumes from series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voxgraft.errors import BadImage
from voxgraft.volume import Item, Problem, Volume

from .geometry import plane_of, stacked
from .header import Header, read_header
from .pixels import missing_pixels, read_pixels
from .series import describe, is_image, is_nameless, may_belong, series_of


class DicomReader:
    """Reads series of single-frame images; arrays are (column, row, slice), affines lead to RAS millimetres."""

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Group files into series and describe each; objects that hold no image are left out.

        A file that breaks off before it names its series, or is no DICOM at all in spite of its name, counts against
        every series of the same folder that it may be a slice of.
        """
        headers: list[Header] = []
        damaged: dict[Path, Header | None] = {}
        for file in files:
            header = _header(file)
            if header is None or (is_image(header) and is_nameless(header)):
                damaged[file] = header
            elif is_image(header):
                headers.append(header)
        items, blamed = [], set()
        for series in series_of(headers):
            beside = [file for file, rest in damaged.items() if may_belong(file, rest, series)]
            blamed.update(beside)
            items += describe(series, beside)
        return items + [_unreadable(file) for file in damaged if file not in blamed]

    def read(self, item: Item) -> Volume:
        """Read the voxels; the first axis is contiguous in memory.

        Intensities are rescaled: whole numbers stay integers (int16 where they fit), others become float32. Colours
        become channels, and MONOCHROME1 is left as it is.

        Raises:
            BadImage: A file is damaged, cannot be decoded, or has changed since the scan.
        """
        if item.errors:
            raise BadImage(item.path, item.errors[0].message)
        try:
            headers = [header for file in item.files if (header := read_header(file)) is not None]
            _unchanged(item, headers)
            pixels = read_pixels(headers)
        except OSError as error:
            raise BadImage(item.path, f"it cannot be read: {error.strerror or error}") from error
        dims = len(item.shape)
        array = pixels.transpose(*range(pixels.ndim - 1, -1, -1)) if dims == 3 else pixels[0].T
        if pixels.ndim == 4 and dims == 2:
            array = pixels[0].transpose(2, 1, 0)
        return Volume(array, item.affine, dims=dims, item=item)


def _header(file: Path) -> Header | None:
    try:
        return read_header(file)
    except OSError:
        return None


def _unchanged(item: Item, headers: Sequence[Header]) -> None:
    """Hold the files against what the scan saw.

    Raises:
        BadImage: They are not the same any more.
    """
    for header in headers:
        if (header.whole("Columns"), header.whole("Rows")) != item.shape[:2] or not header.complete:
            raise BadImage(header.path, "it has changed since it was looked at")
        if reason := missing_pixels(header):
            raise BadImage(header.path, reason)
    if len(headers) != len(item.files):
        raise BadImage(item.path, "some of its files have changed since they were looked at")
    if len(item.shape) == 3:
        if any(plane_of(header) is None for header in headers):
            raise BadImage(item.path, "some of its files have changed since they were looked at")
        stack = stacked(headers)
        if list(stack.slices) != list(headers) or not np.allclose(stack.affine, item.affine, atol=1e-6):
            raise BadImage(item.path, "some of its files have changed since they were looked at")


def _unreadable(file: Path) -> Item:
    text = "it is no readable DICOM file; it is truncated, or of another kind than its name says"
    return Item(file, "dicom", (), np.eye(4), problems=(Problem("truncated", text),), files=(file,))
