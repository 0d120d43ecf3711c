"""Masks as viewers of MONAI Label send and want them: files of several formats, or bare voxels."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.volume import Volume
from ..imaging.write import write
from .refused import Refused

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

EXTENSIONS = (".nii.gz", ".nii", ".nrrd")
TYPES = {"uint8": np.uint8, "uint16": np.uint16, "int16": np.int16, "int32": np.int32, "float32": np.float32}


@dataclass(frozen=True)
class Answer:
    """A mask that goes back.

    Attributes:
        mask: In the grid of the scan.
        names: Of the structures that are in it, the values; by value, since Slicer takes names by their order.
        params: What is told beside it.
    """

    mask: Volume
    names: dict[str, int]
    params: dict[str, Any]


def bare(data: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    """The voxels of OHIF's `label.bin`: uint8 or uint16, the first axis of the scan fastest, as its reader has it.

    Raises:
        Refused: 400, they are not as many as the scan has.
    """
    number = int(np.prod(shape))
    if len(data) not in (number, 2 * number):
        raise Refused(400, f"the label has {len(data)} bytes, and the image {number} voxels of one or two bytes")
    kind = np.uint8 if len(data) == number else np.dtype("<u2")
    return np.frombuffer(data, kind).reshape(shape, order="F")


def file_of(answer: Answer, params: Mapping[str, Any], catalogue: Catalogue) -> tuple[str, bytes]:
    """The file of a mask as a viewer wants it: its ending, and its bytes.

    Args:
        answer: The mask.
        params: `result_extension`, `result_dtype` and `result_compress` of the request.
        catalogue: Offers the writers.

    Raises:
        Refused: 400, the format or the type is none that is written here.
    """
    suffix = str(params.get("result_extension") or ".nii.gz").lower()
    suffix = suffix if suffix.startswith(".") else f".{suffix}"
    if suffix not in EXTENSIONS:
        raise Refused(400, f"masks are not written as {suffix[:20]!r} here; ask for {', '.join(EXTENSIONS)}")
    kind = str(params.get("result_dtype") or "")
    if kind and kind not in TYPES:
        raise Refused(400, f"masks are not written as {kind[:20]!r} here; ask for {', '.join(TYPES)}")
    array = answer.mask.array.astype(TYPES.get(kind, answer.mask.array.dtype), copy=False)
    if kind and not np.array_equal(array, answer.mask.array):
        raise Refused(400, f"the values of the structures do not fit into {kind}")
    mask = answer.mask.with_array(array)
    with tempfile.TemporaryDirectory(prefix="voxgraft-serve-") as folder:
        target = Path(folder) / f"mask{suffix}"
        if suffix == ".nrrd" and params.get("result_compress") is False:
            _write_bare_nrrd(mask, target)
        else:
            write(mask, target, catalogue, None, {})
        return suffix, target.read_bytes()


def _write_bare_nrrd(mask: Volume, target: Path) -> None:
    """NRRD without compression, which OHIF asks for."""
    import SimpleITK as sitk

    lps = np.diag([-1.0, -1.0, 1.0]) @ mask.affine[:3]
    spacing = np.sqrt((lps[:, :3] ** 2).sum(0))
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask.array.T))
    image.SetSpacing(spacing[: mask.dims].tolist())
    image.SetOrigin(lps[: mask.dims, 3].tolist())
    image.SetDirection((lps[: mask.dims, : mask.dims] / spacing[: mask.dims]).ravel().tolist())
    sitk.WriteImage(image, str(target), useCompression=False)
