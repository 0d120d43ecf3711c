"""The fingerprint: what was measured on the cases, before anything is decided."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..discovery import Catalogue
from ..errors import BadImage, DataError
from ..files import sha256
from ..reading import read, stack
from ..volume import Array, Volume, millimetres_apart
from .cases import Case, ImageRef
from .grid import reoriented

SAMPLES = 20_000
"""Voxels of one case and channel that stand for its intensities."""

TOLERANCE = 0.01
"""By how many voxels the corners of an image and of its label may lie apart."""


def read_case(case: Case, catalogue: Catalogue) -> tuple[Volume, Volume | None]:
    """The image of a case, its channels on one grid, and its label where it has one; both in RAS order of axes.

    Raises:
        DataError: Image and label lie on different grids, or the label holds no whole numbers.
    """
    image, _ = reoriented(stack([read(ref, catalogue) for ref in case.images], case.align))
    if case.label is None:
        return image, None
    label, _ = reoriented(read(case.label, catalogue))
    if label.channels != 1:
        raise BadImage(case.label, f"a label has one channel, this one has {label.channels}")
    apart = millimetres_apart(image.affine, label.affine, image.shape)
    if image.shape != label.shape or apart > TOLERANCE * min(image.spacing):
        raise BadImage(
            case.label,
            f"the label's grid {label.shape} is not the image's {image.shape}, or lies {apart:.2f} mm beside it",
        )
    return image, label.with_array(whole_numbers(label.array.reshape(label.shape), case.label))


def whole_numbers(array: Array, name: object) -> Array:
    """Label values as integers.

    Raises:
        BadImage: They are none.
    """
    if array.dtype.kind in "iub":
        return array
    rounded = np.rint(array)
    if not np.isfinite(array).all() or np.abs(array - rounded).max(initial=0.0) > 1e-3:
        raise BadImage(name, "the label holds values that are not whole numbers")
    return rounded.astype(np.int32)


def measure(case: Case, catalogue: Catalogue, labelled: Iterable[int]) -> dict[str, Any]:
    """What one case adds to the fingerprint: shape and spacing (RAS order), intensities, label volumes, content hash.

    Raises:
        DataError: The case cannot be read, or its label holds values that nothing names.
    """
    image, label = read_case(case, catalogue)
    known = {0, *labelled}
    counts: dict[str, int] = {}
    foreground = None
    if label is not None:
        values, voxels = np.unique(label.array, return_counts=True)
        strange = [int(value) for value in values if int(value) not in known]
        if strange:
            raise DataError(
                f"{case.label}: holds the label values {strange}, which have no name; "
                "name them under data.labels in the workflow, or mend the file"
            )
        counts = {str(int(value)): int(n) for value, n in zip(values, voxels, strict=True)}
        foreground = label.array > 0
    channels = image.array.reshape(image.channels, *image.shape)
    return {
        "shape": list(image.shape),
        "spacing": [round(float(step), 6) for step in image.spacing],
        "modality": image.item.modality if image.item else None,
        "labels": counts,
        "samples": [_samples(channel, foreground) for channel in channels],
        "hash": content_hash([*case.images, *([case.label] if case.label else [])]),
    }


def content_hash(refs: Sequence[ImageRef]) -> str:
    """A fingerprint of the bytes of all files that a case is read from."""
    total = hashlib.sha256()
    for ref in refs:
        for file in files_of(ref):
            total.update(sha256(file).encode())
        total.update((ref.series or "").encode())
    return total.hexdigest()


def files_of(ref: ImageRef) -> list[Path]:
    """The files that an image is read from, as far as they are known, in the order of names."""
    if ref.files:
        return sorted(ref.files)
    return [ref.path] if ref.path.is_file() else sorted(part for part in ref.path.rglob("*") if part.is_file())


def summarise(cases: dict[str, dict[str, Any]], training: Sequence[str]) -> dict[str, Any]:
    """The fingerprint of a data set, a JSON document; intensities are those of the training cases alone."""
    channels = len(next(iter(cases.values()))["samples"])
    intensities = []
    for channel in range(channels):
        voxels = np.concatenate([np.asarray(cases[name]["samples"][channel]) for name in training])
        voxels = voxels[np.isfinite(voxels)] if np.isfinite(voxels).any() else np.zeros(1)
        low, middle, high = np.percentile(voxels, [0.5, 50, 99.5])
        intensities.append(
            {
                "min": float(voxels.min()),
                "max": float(voxels.max()),
                "mean": float(voxels.mean()),
                "std": float(voxels.std()),
                "p00_5": float(low),
                "p50": float(middle),
                "p99_5": float(high),
            }
        )
    return {
        "version": 1,
        "intensities": intensities,
        "cases": {name: {k: v for k, v in case.items() if k != "samples"} for name, case in cases.items()},
    }


def _samples(channel: Array, foreground: Array | None) -> list[float]:
    """Evenly drawn voxels inside the labelled structures, or of the whole image where none is labelled."""
    voxels = channel[foreground] if foreground is not None and foreground.any() else channel.ravel()
    step = max(1, voxels.size // SAMPLES)
    return [float(value) for value in voxels[::step].astype(np.float32)]
