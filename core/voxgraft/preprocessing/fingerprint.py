"""The fingerprint: what was measured on the cases, before anything is decided."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import DataError, VoxGraftError
from ..imaging.channels import missing_in, stack_channels
from ..imaging.formats import choose_reader, walk
from ..imaging.orientation import reoriented
from ..imaging.read import find, read
from ..imaging.structures import check_alike
from ..imaging.volume import Array, ImageRef, MaskRef, Volume
from ..labels.label_map import HIGHEST, counts_in, some
from ..labels.masks import mark_ignored, read_mask
from ..labels.valid_region import read_valid_region
from ..support.files import sha256
from .modality import unit_of

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..datasets.cases import Case
    from ..imaging.structures import Labels


SAMPLES = 20_000
"""Voxels of one case and channel that stand for its intensities."""


def read_case(case: Case, catalogue: Catalogue, labels: Labels | None = None) -> tuple[Volume, Volume | None]:
    """The image of a case, its channels on one grid, and its mask where it has one; both in RAS order of axes.

    Args:
        case: Its images, its mask, and how its channels are brought onto one grid.

    Raises:
        DataError: Image and mask lie on different grids, or the mask holds what `labels` does not know.
    """
    volumes = [None if ref is None else read(ref, catalogue) for ref in case.images]
    image = stack_channels(volumes, case.align)
    turned, orientation = reoriented(image)
    if case.label is None:
        return turned, None
    mask = read_label(case, image, labels, catalogue)
    return turned, Volume(orientation.apply(mask.array), turned.affine, dims=turned.dims, item=mask.item)


def measure(
    case: Case, catalogue: Catalogue, labels: Labels | None, hashed: Callable[[Path], str] = sha256
) -> dict[str, Any]:
    """What one case adds to the fingerprint: shape and spacing (RAS order), intensities, label volumes, content hash.

    Args:
        labels: What masks hold; None where every value above 0 is a structure.
        hashed: Gives the SHA-256 of a file.

    Raises:
        DataError: The case cannot be read, or its label holds values that nothing names.
    """
    image, label = read_case(case, catalogue, labels)
    foreground = None if label is None else _foreground(label, labels.ignored if labels is not None else None)
    channels = image.array.reshape(image.channels, *image.shape)
    missing = missing_in(case.images)
    return {
        "shape": list(image.shape),
        "spacing": [round(float(step), 6) for step in image.spacing],
        "modality": image.item.modality if image.item else None,
        **({"unit": unit} if image.item and (unit := unit_of(image.item)) else {}),
        "labels": {} if label is None else _counts(label, labels),
        "samples": [
            [] if index in missing else _samples(channel, foreground) for index, channel in enumerate(channels)
        ],
        **({"missing": list(missing)} if missing else {}),
        **_palette(label),
        "hash": content_hash(case.references, catalogue, _rule(case), hashed),
    }


def _palette(mask: Volume | None) -> dict[str, Any]:
    """The colours of the values in a mask that is a picture with a palette."""
    palette = mask.item.palette if mask is not None and mask.item is not None else None
    return {"palette": {str(number): list(colour) for number, colour in palette.items()}} if palette else {}


def _rule(case: Case) -> str:
    """How the files of a case are brought together, where their order alone does not tell."""
    rule = case.label.rule if isinstance(case.label, MaskRef) else ""
    lacks = "".join(f" lacks {channel}" for channel in missing_in(case.images))
    return (f"{rule} in valid" if case.valid is not None else rule) + lacks


def _foreground(mask: Volume, left_out: int | None) -> Array:
    """Where any structure is: bool (i, j[, k])."""
    inside: Array = (mask.array > 0) if left_out is None else (mask.array > 0) & (mask.array != left_out)
    if mask.array.ndim > mask.dims:
        inside = np.logical_or.reduce(inside, axis=0)
    return inside


def _counts(mask: Volume, labels: Labels | None) -> dict[str, int]:
    """Voxels of each value, background included; of each structure by its value, where they may overlap."""
    if mask.array.ndim > mask.dims and labels is not None:
        rows = zip(labels.values, mask.array, strict=True)
        return {str(value): int((channel == 1).sum()) for value, channel in rows}
    counts = counts_in(mask.array)
    if not all(0 <= value <= HIGHEST for value in counts):
        name = mask.item.path if mask.item else "the mask"
        raise DataError(f"{name}: holds the label values {some(counts)}; labels go from 1 to {HIGHEST}")
    return {str(value): n for value, n in counts.items()}


def content_hash(
    refs: Sequence[ImageRef], catalogue: Catalogue, rule: str = "", hashed: Callable[[Path], str] = sha256
) -> str:
    """A fingerprint of the bytes of all files that a case is read from, and of how they are brought together.

    Args:
        refs: What the case is read from, in the order of its channels.
        catalogue: Whose readers say which files belong to a reference.
        rule: How the files are brought together, as text; another rule gives another fingerprint.
    """
    total = hashlib.sha256(rule.encode())
    for ref in refs:
        for file in files_read(ref, catalogue).files:
            total.update(hashed(file).encode())
        total.update((ref.series or "").encode())
        total.update("".join(f"{name}\0{label}\0" for name, label in ref.structures).encode())
    return total.hexdigest()


def files_of(ref: ImageRef) -> list[Path]:
    """The files that an image is read from, as far as they are known, in the order of names; of a folder those that
    links in it lead to as well, since readers follow them."""
    if ref.files:
        return sorted(ref.files)
    return [ref.path] if ref.path.is_file() else sorted(part for part in walk(ref.path) if part.is_file())


class FilesRead(NamedTuple):
    """What an image is read from.

    Attributes:
        files: Those beside a header that hold its voxels too.
        readers: The names of the readers.
        sure: Nothing was wrong with it: a file that a header points to and that is not there may yet come.
    """

    files: list[Path]
    readers: list[str]
    sure: bool


def files_read(ref: ImageRef, catalogue: Catalogue) -> FilesRead:
    """The files that an image is read from, and its readers; of a series one file is asked which reader knows it."""
    files = files_of(ref)
    try:
        if ref.files or ref.path.is_dir():
            spec = choose_reader(files[0], catalogue) if files and files[0].is_file() else None
            return FilesRead(files, [] if spec is None else [spec.name], spec is not None)
        items = find(ref, catalogue)
    except VoxGraftError:  # reading it says why
        return FilesRead(files, [], False)
    others = {file for item in items for file in item.files} - set(files)
    readers = sorted({item.reader for item in items})
    return FilesRead(files + sorted(others), readers, not any(item.errors for item in items))


def summarise(cases: dict[str, dict[str, Any]], training: Sequence[str]) -> dict[str, Any]:
    """The fingerprint of a data set, a JSON document; intensities are those of the training cases alone.

    Raises:
        DataError: No training case has a channel, or the palettes of masks differ.
    """
    check_alike((name, case["palette"]) for name, case in cases.items() if "palette" in case)
    channels = len(next(iter(cases.values()))["samples"])
    intensities = []
    for channel in range(channels):
        voxels = np.concatenate([np.asarray(cases[name]["samples"][channel]) for name in training])
        if not voxels.size:
            raise DataError(f"no training case has channel {channel + 1}; leave the channel out of the layout")
        voxels = voxels[np.isfinite(voxels)] if np.isfinite(voxels).any() else np.zeros(1)
        figures = {"min": voxels.min(), "max": voxels.max(), "mean": voxels.mean(), "std": voxels.std()}
        figures |= dict(zip(("p00_5", "p50", "p99_5"), np.percentile(voxels, [0.5, 50, 99.5]), strict=True))
        intensities.append({name: float(value) for name, value in figures.items()})
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


def read_label(case: Case, like: Volume, labels: Labels | None, catalogue: Catalogue) -> Volume:
    """The mask of a case as `voxgraft.labels.masks.read_mask` gives it, with `labels.ignored` where the case does not
    count.

    Args:
        like: The image; the mask has its shape and order of axes.

    Raises:
        DataError: The case has no mask; see also `read_mask` and `read_valid_region`, whose message names the case.
    """
    if case.label is None:
        raise DataError(f"case {case.id!r} has no label")
    mask = read_mask(case.label, like, labels, catalogue)
    if case.valid is None or labels is None or labels.ignored is None:
        return mask
    valid = read_valid_region(case.valid, like, catalogue, case.id)
    return mask.with_array(mark_ignored(mask.array, valid, labels.ignored))
