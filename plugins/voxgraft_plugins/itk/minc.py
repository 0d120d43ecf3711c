"""The MINC reader, through SimpleITK."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import Array, BadImage, Item, Problem, Volume

from .header import LPS, HeaderError, affine_of

_HDF5 = b"\x89HDF\r\n\x1a\n"
_DEFLATE = 1040


class MincReader:
    """Reads MINC 2 volumes of three axes in SimpleITK's order, values scaled as the file says."""

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe each file from its header."""
        return [_describe(file) for file in files]

    def read(self, item: Item) -> Volume:
        """Read the voxels (i, j, k).

        Raises:
            BadImage: The file is damaged, or has changed since it was scanned.
        """
        if item.errors:
            raise BadImage(item.path, item.errors[0].message)
        try:
            reader = _reader(item.path)
            image = reader.Execute()
            affine, _ = _affine(image)
        except (RuntimeError, HeaderError, OSError) as error:
            raise BadImage(item.path, "its voxels cannot be unpacked; it is damaged, or of a kind not read") from error
        import SimpleITK as sitk

        array: Array = sitk.GetArrayFromImage(image).T
        if array.shape != item.shape:
            raise BadImage(item.path, "it has changed since it was looked at")
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        return Volume(array, affine, dims=3, item=item)


def _describe(file: Path) -> Item:
    try:
        reader = _reader(file)
        reader.ReadImageInformation()
        shape = tuple(int(n) for n in reader.GetSize())
        if len(shape) != 3 or reader.GetNumberOfComponents() != 1:
            raise HeaderError(f"it has the shape {shape}; MINC volumes of three axes are read")
        if int(np.prod(shape, dtype=object)) > file.stat().st_size * _DEFLATE:
            raise HeaderError("its header promises more voxels than the file can hold")
        affine, problems = _affine(reader)
    except HeaderError as error:
        return _unreadable(file, str(error))
    except RuntimeError:
        return _unreadable(file, "it is damaged, or no MINC 2 volume")
    except OSError as error:
        return _unreadable(file, f"it cannot be read: {error.strerror or error}")
    return Item(file, "minc", shape, affine, problems=problems, files=(file,))


def _reader(file: Path) -> Any:
    import SimpleITK as sitk

    with file.open("rb") as stream:
        head = stream.read(8)
    if head != _HDF5:
        kind = "a MINC 1 file; convert it with mincconvert -2" if head.startswith(b"CDF") else "no MINC 2 file"
        raise HeaderError(f"it is {kind}" if head else "it is empty")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.SetImageIO("MINCImageIO")
    return reader


def _affine(image: Any) -> tuple[Array, tuple[Problem, ...]]:
    columns = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return affine_of(LPS @ columns, LPS @ np.array(image.GetOrigin()), 3)


def _unreadable(file: Path, reason: str) -> Item:
    return Item(file, "minc", (), np.eye(4), problems=(Problem("unreadable", reason),), files=(file,))
