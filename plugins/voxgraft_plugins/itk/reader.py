"""The reader of NRRD and MetaImage: a header of text, and the voxels behind it or beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from voxgraft.plugin import Array, BadImage, Item, Problem, Volume

from .body import files_of, read_values, shortfall
from .header import Header, HeaderError


class TextReader:
    """Reads an image as it is: spatial axes in the file's order, another axis as channels, integers kept.

    A segmentation of 3D Slicer keeps its values; the names of its segments stand in the facts of the item (`names`, and
    `segments` with value and layer). One of several layers, whose segments may overlap, gives a channel of 0 and 1 for
    each segment, in the order of the names.
    """

    def __init__(self, name: str, parse: Callable[[Path], Header]) -> None:
        self._name, self._parse = name, parse

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe each file from its header."""
        return [self._describe(file) for file in files]

    def read(self, item: Item) -> Volume:
        """Read the voxels: (i, j[, k]) or (channel, i, j[, k]); the first spatial axis is contiguous where it can be.

        Raises:
            BadImage: The file is damaged, or has changed since it was scanned.
        """
        if item.errors:
            raise BadImage(item.path, item.errors[0].message)
        try:
            header = self._parse(item.path)
            if header.shape != item.shape or _channels(header) != item.channels:
                raise HeaderError("it has changed since it was looked at")
            array = _arranged(read_values(header.body), header)
        except HeaderError as error:
            raise BadImage(item.path, str(error)) from None
        except OSError as error:
            raise BadImage(item.path, f"it cannot be read: {error.strerror or error}") from error
        return Volume(array, header.affine, dims=len(header.shape), item=item)

    def _describe(self, file: Path) -> Item:
        try:
            header = self._parse(file)
            short = shortfall(header.body)
        except HeaderError as error:
            return self._unreadable(file, str(error))
        except OSError as error:
            return self._unreadable(file, f"it cannot be read: {error.strerror or error}")
        fault = (Problem("truncated", short),) if short else ()
        return Item(
            path=file,
            reader=self._name,
            shape=header.shape,
            affine=header.affine,
            channels=_channels(header),
            problems=(*header.problems, *fault),
            files=files_of(file, header.body),
            facts={**header.facts, "dtype": header.body.dtype.name},
        )

    def _unreadable(self, file: Path, reason: str) -> Item:
        return Item(file, self._name, (), np.eye(4), problems=(Problem("unreadable", reason),), files=(file,))


def _channels(header: Header) -> int:
    return len(header.facts["segments"]) if _layered(header) else header.channels


def _layered(header: Header) -> bool:
    """Whether it is a segmentation whose segments lie in several layers."""
    return header.channels > 1 and bool(header.facts.get("segments"))


def _arranged(flat: Array, header: Header) -> Array:
    """Stored values as (i, j[, k]) or (channel, i, j[, k]), in this machine's byte order."""
    if not flat.dtype.isnative:
        flat = flat.byteswap(inplace=True).view(flat.dtype.newbyteorder("="))
    flat = flat.astype(np.float32) if flat.dtype == np.float64 else flat
    sizes = header.body.sizes
    array: Array = flat.reshape(sizes, order="F")
    others = [axis for axis in range(len(sizes)) if axis not in header.space]
    array = array.transpose(*others, *header.space).reshape((header.channels, *header.shape), order="A")
    segments = header.facts.get("segments", ())
    if _layered(header) and len(segments) == 1:  # a map of values as it were alone
        value = segments[0]["value"]
        return np.asarray(np.where(array[segments[0]["layer"]] == value, array.dtype.type(value), array.dtype.type(0)))
    if _layered(header):
        return np.stack([array[one["layer"]] == one["value"] for one in segments]).view(np.uint8)
    if header.channels == 1:
        return np.asarray(array[0])
    # Colours lie beside each other in the file; each channel is wanted whole.
    apart = np.ascontiguousarray(array.transpose(0, *range(array.ndim - 1, 0, -1)))
    return apart.transpose(0, *range(array.ndim - 1, 0, -1))
