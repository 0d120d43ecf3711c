"""One case under the magnifying glass: can it be read, do image and label lie on each other, are the labels known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..discovery import Catalogue
from ..errors import BadImage, VoxGraftError
from ..masks import TOLERANCE, whole_numbers
from ..reading import find, read_item, stack
from ..volume import Array, Volume, millimetres_apart
from .cases import Case, ImageRef
from .grid import reoriented

HIGHEST = 65535
"""The largest value that a label may have."""

CHUNK = 1 << 24
"""Voxels that are looked at together, so that a mask of a whole body needs no copy eight times its size."""

Severity = Literal["error", "warning", "repair", "note"]


@dataclass(frozen=True, slots=True)
class CaseProblem:
    """Something wrong with a data set.

    Attributes:
        code: A stable word to script against, such as `unnamed-label`.
        case: The id of the case; None where it concerns the data set as a whole.
        message: One plain sentence.
    """

    code: str
    severity: Severity
    case: str | None
    message: str


@dataclass(slots=True)
class Look:
    """What one case showed.

    Attributes:
        shape: Voxels along each axis in RAS order; empty where the image could not be read.
        spacing: Millimetres along the same axes.
        values: The values in its mask, 0 included; None where there is no mask that could be read.
        content: A fingerprint of the voxels of its image.
    """

    case: Case
    problems: list[CaseProblem] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    channels: int = 0
    modality: str | None = None
    values: frozenset[int] | None = None
    content: str = ""

    def add(self, code: str, severity: Severity, message: str) -> None:
        self.problems.append(CaseProblem(code, severity, self.case.id, message))


def look_at(case: Case, catalogue: Catalogue) -> Look:
    """Read a case and note everything that is wrong with it by itself."""
    look = Look(case)
    image = _image(look, catalogue)
    label = _volume(look, case.label, "label", catalogue) if case.label else None
    if label is not None:
        label = _whole_label(look, label)
    if image is not None and label is not None:
        _compare_grids(look, image, label)
    return look


def _image(look: Look, catalogue: Catalogue) -> Volume | None:
    volumes = [_volume(look, ref, "image", catalogue) for ref in look.case.present]
    found = [volume for volume in volumes if volume is not None]
    if not found or len(found) < len(volumes):
        return None
    try:
        whole = stack(found, look.case.align)
    except VoxGraftError as error:
        look.add("channel-mismatch", "error", _reason(error))
        return None
    image, _ = reoriented(whole)
    look.shape, look.spacing, look.channels = image.shape, image.spacing, image.channels
    look.modality = found[0].item.modality if found[0].item else None
    look.content = _content(whole.array)
    _judge_voxels(look, whole.array)
    return image


def _volume(look: Look, ref: ImageRef, what: str, catalogue: Catalogue) -> Volume | None:
    """Read one image; its header's problems, and the failure to read it, are noted."""
    called = f"the {what}" if ref.series else f"the {what} {ref.path.name}"
    try:
        items = find(ref, catalogue)
        for problem in (problem for item in items for problem in item.problems):
            look.add(problem.code, problem.severity, f"{called}: {problem.message}")
        if len(items) > 1:
            look.add(f"several-{what}s", "error", f"{called}: {len(items)} images lie there, and one is needed")
        if len(items) > 1 or items[0].errors:
            return None
        return read_item(items[0], catalogue)
    except MemoryError:
        look.add(f"unreadable-{what}", "error", f"{called}: does not fit into this machine's memory")
    except VoxGraftError as error:
        look.add(f"unreadable-{what}", "error", f"{called}: {_reason(error)}")
    return None


def _judge_voxels(look: Look, array: Array) -> None:
    if array.dtype.kind == "f":
        bad = array.size - int(np.isfinite(array).sum())
        if bad:
            look.add(
                "nan-voxels", "warning", f"{bad} voxels of the image ({bad / array.size:.2%}) are no finite numbers"
            )
    if array.size and array.min() == array.max():
        look.add("constant-image", "warning", f"every voxel of the image is {array.flat[0]:g}")


def _whole_label(look: Look, label: Volume) -> Volume | None:
    if label.channels != 1:
        look.add("label-channels", "error", f"the label has {label.channels} channels, and one is needed")
        return None
    try:
        array = whole_numbers(label.array.reshape(label.shape), "label")
    except BadImage as error:
        look.add("label-not-whole", "error", error.reason)
        return None
    values = values_in(array)
    strange = [value for value in values if not 0 <= value <= HIGHEST]
    if strange:
        look.add("label-out-of-range", "error", f"the label holds {some(strange)}; values go from 0 to {HIGHEST}")
    look.values = frozenset(values)
    if set(values) <= {0}:
        look.add("empty-label", "warning", "the label is empty: no structure is marked")
    turned, _ = reoriented(label.with_array(array))
    return turned


def _compare_grids(look: Look, image: Volume, label: Volume) -> None:
    if image.shape != label.shape:
        shapes = " and ".join("x".join(map(str, shape)) for shape in (image.shape, label.shape))
        look.add("shape-mismatch", "error", f"image and label have different shapes, {shapes} voxels")
        return
    apart = millimetres_apart(image.affine, label.affine, image.shape)
    if apart > TOLERANCE * min(image.spacing):
        message = (
            f"the label lies up to {apart:.3g} mm beside the image (spacings {_spacing(image)}, {_spacing(label)}); "
            "give it the image's geometry if it was drawn on this image"
        )
        look.add("geometry-mismatch", "error", message)


def values_in(array: Array) -> list[int]:
    """The different values of an integer array, in order."""
    if array.size == 0:
        return []
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > HIGHEST:
        return [int(value) for value in np.unique(array)]
    flat, present = array.ravel(order="K"), np.zeros(high + 1, bool)
    for start in range(0, flat.size, CHUNK):
        present[flat[start : start + CHUNK].astype(np.intp)] = True
    return [int(value) for value in np.flatnonzero(present)]


def some(values: Iterable[int]) -> str:
    """At most ten values for a message."""
    ordered = sorted(values)
    return ", ".join(map(str, ordered[:10])) + (f" and {len(ordered) - 10} more" if len(ordered) > 10 else "")


def _content(array: Array) -> str:
    """A fingerprint of shape and voxels, whatever file and compression they came in."""
    straight = array.T if array.flags.f_contiguous else np.ascontiguousarray(array)
    total = hashlib.sha256(f"{array.shape} {array.dtype.str} {array.flags.f_contiguous}".encode())
    total.update(straight.view(np.uint8).data if straight.size else b"")
    return total.hexdigest()


def _reason(error: VoxGraftError) -> str:
    return str(error.reason) if isinstance(error, BadImage) else str(error)


def _spacing(volume: Volume) -> str:
    return "x".join(f"{step:.4g}" for step in volume.spacing)
