"""The NIfTI reader: headers without voxels, and voxels straight into the array they stay in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voxgraft.plugin import Array, BadImage, Item, Problem, Volume

from .header import Header, HeaderError, parse_header
from .voxels import DAMAGED, PADDING, data_file, header_file, of_analyze, read_head, read_voxels, room_for


class NiftiReader:
    """Reads a NIfTI file as it is: axes in the file's order (i, j, k), integers kept, scaled voxels as float32."""

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe each file from its header; a fourth axis becomes channels.

        The two files of a pair, `.hdr` and `.img`, are one item.
        """
        headers = {header.path: header for header in map(_describe, files)}
        return list(headers.values())

    def read(self, item: Item) -> Volume:
        """Read the voxels: (i, j[, k]), or (channel, i, j[, k]); the first spatial axis is contiguous in memory.

        Raises:
            BadImage: The file is damaged, or has changed since it was scanned.
        """
        if item.errors:
            raise BadImage(item.path, item.errors[0].message)
        try:
            header = parse_header(read_head(item.path), analyze=of_analyze(item.path))
            if header.shape != item.shape or header.affine is None:
                raise HeaderError("it has changed since it was looked at")
            voxels = read_voxels(data_file(item.path, header), header)
        except HeaderError as error:
            raise BadImage(item.path, str(error)) from None
        except DAMAGED as error:
            raise BadImage(item.path, _damage(error)) from error
        except OSError as error:
            raise BadImage(item.path, f"it cannot be read: {error.strerror or error}") from error
        return Volume(_arranged(voxels, header), header.affine, dims=len(header.shape), item=item)


def _describe(file: Path) -> Item:
    """The item of one file; what is wrong with it is among its problems."""
    try:
        file = header_file(file)
        header = parse_header(read_head(file), analyze=of_analyze(file))
        data = data_file(file, header)
        most = room_for(data, header)
    except HeaderError as error:
        return _unreadable(file, str(error))
    except DAMAGED as error:
        return _unreadable(file, _damage(error))
    except OSError as error:
        return _unreadable(file, f"it cannot be read: {error.strerror or error}")
    problems = [Problem(code, message, "warning") for code, message in header.warnings]
    if header.fault:
        problems.append(Problem("bad-affine", header.fault))
    if most.short:
        problems.append(Problem("truncated", most.short))
    if most.surplus >= PADDING:
        text = "bytes follow the voxel data that its header promises; check that the header is right"
        problems.append(Problem("surplus", f"{most.surplus} or more {text}", "warning"))
    return Item(
        path=file,
        reader="nifti",
        shape=header.shape,
        affine=np.eye(4) if header.affine is None else header.affine,
        channels=header.volumes * header.colours,
        problems=tuple(problems),
        files=(file, data) if header.pair else (file,),
        facts={"affine": header.source, "code": header.code, "dtype": header.dtype.name},
        colours=header.colours > 1,
        scaling=(header.slope, header.inter)
        if header.dtype.kind in "iu" and (header.slope, header.inter) != (1.0, 0.0)
        else None,
    )


def _unreadable(file: Path, reason: str) -> Item:
    return Item(file, "nifti", (), np.eye(4), problems=(Problem("unreadable", reason),), files=(file,))


def _damage(error: BaseException) -> str:
    if isinstance(error, EOFError):
        return "its gzip stream ends too early; the file is truncated, copy it again"
    return "its gzip stream is damaged; copy the file again"


def _arranged(flat: Array, header: Header) -> Array:
    """Stored values as (i, j[, k]) or (channel, i, j[, k]), in native byte order, scaled if the header says so."""
    if not flat.dtype.isnative:
        flat = flat.byteswap(inplace=True).view(flat.dtype.newbyteorder("="))
    flat = _scaled(flat, header.slope, header.inter)
    if header.colours > 1:
        return flat.reshape((header.colours, *header.shape), order="F")
    if header.volumes == 1:
        return flat.reshape(header.shape, order="F")
    return np.moveaxis(flat.reshape((*header.shape, header.volumes), order="F"), -1, 0)


def _scaled(flat: Array, slope: float, inter: float) -> Array:
    if (slope, inter) == (1.0, 0.0):
        return flat.astype(np.float32) if flat.dtype == np.float64 else flat
    if flat.dtype.itemsize > 2 and flat.dtype != np.float32:  # float32 alone would round before the scaling
        return (flat * np.float64(slope) + inter).astype(np.float32)
    scaled = flat.astype(np.float32, copy=False)
    scaled *= np.float32(slope)
    scaled += np.float32(inter)
    return scaled
