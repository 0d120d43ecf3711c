"""From any image, mask or object of structures to what a writer takes, on the grid of another image where asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import BadImage, DataError, UsageError
from ..imaging.read import read_item, scan
from ..imaging.regrid import resample_onto
from ..imaging.structures import Label, Labels
from ..imaging.volume import ImageRef, first_channel, same_grid
from ..imaging.write import choose_writer, write
from .masks import in_grid_of, other_frame, other_patient, read_mask

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..imaging.regrid import Interpolation
    from ..imaging.volume import Array, Item, Volume

Overlap = Literal["error", "higher", "keep"]
MOST_LABELS = 64
"""An image of whole numbers with no more different values is taken for a mask."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a conversion is asked for.

    Attributes:
        reference: An image whose grid the result gets, and to which DICOM objects refer.
        series: Which series of the source: its UID, or its description.
        labels: The structures of a mask by name and value.
        resample: A mask may be brought onto the grid of the reference from another one.
        interpolation: None for nearest where the source is a mask, else linear.
        overlap: What becomes of voxels in two structures.
        writer: The name of the writer; by default the target's suffix decides.
    """

    reference: Path | None = None
    series: str | None = None
    labels: Labels | None = None
    resample: bool = False
    interpolation: Interpolation | None = None
    overlap: Overlap = "error"
    writer: str | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written, and what a person should know of it."""

    volume: Volume
    labels: Labels | None
    notes: tuple[str, ...]


def convert(source: Path, target: Path, wish: Wish, catalogue: Catalogue) -> Converted:
    """Read one image or mask and write it in the format that the target's name says.

    A mask stays on the voxels it was drawn on unless `wish.resample`; where the reference has the same ones in another
    order of axes, the mask follows it. A DICOM reference of another patient, or of another frame of reference, is no
    reference of a mask.

    Args:
        target: The file or folder to write; it is replaced whole.
        wish: What else is asked for, such as the reference and the labels.

    Raises:
        UsageError: No writer answers to the target, or the call lacks what the writer needs; nothing was read.
        DataError: The source is not one image, is damaged, or cannot be written in this format.
    """
    spec: Any = catalogue.get("writer", wish.writer) if wish.writer else choose_writer(target, catalogue)
    if spec.needs != "any" and wish.reference is None:
        raise UsageError(
            f"{target}: the writer {spec.name!r} refers to the scan that a mask was drawn on; "
            f"name it with --reference FOLDER"
        )
    item = _one(source, scan(source, catalogue, wish.series))
    if item.kind == "structures":
        converted = _of_structures(item, source, wish, catalogue)
    else:
        converted = _of_image(item, wish, catalogue)
    if spec.needs != "any" and converted.labels is None:
        raise UsageError(f"{target}: the writer {spec.name!r} needs names; give --labels liver=1,spleen=2 or a file")
    if converted.labels is not None and not spec.labels:
        converted = replace(converted, labels=None)
    facts = _maker(converted.volume) if spec.needs != "any" else {}
    write(converted.volume, target, catalogue, converted.labels, facts, writer=spec.name)
    return converted


def looks_like_a_mask(volume: Volume) -> bool:
    """One channel of whole numbers of which few differ, none below 0."""
    array = volume.array
    if volume.channels > 1 or array.dtype.kind not in "iub" or array.min(initial=0) < 0 or array.max(initial=0) > 65535:
        return False
    flat = array.ravel(order="K").view(np.uint8) if array.dtype == np.bool_ else array.ravel(order="K")
    return int(np.count_nonzero(np.bincount(flat))) <= MOST_LABELS


def _one(source: Path, items: Sequence[Item]) -> Item:
    """The one image that is meant; objects of structures beside images are not meant."""
    images = [item for item in items if item.kind == "image"] or list(items)
    if len(images) == 1:
        return images[0]
    names = "; ".join(str(item.series or item.path) for item in images[:10]) + ("; ..." if len(images) > 10 else "")
    raise DataError(f"{source}: {len(images)} images are here; name the right one with --series: {names}")


def _of_image(item: Item, wish: Wish, catalogue: Catalogue) -> Converted:
    """An image, or a mask of values, on the reference's grid where there is one."""
    labels = wish.labels if wish.labels is not None else _own_labels(item)
    if wish.labels is not None:
        volume = read_mask(ImageRef(item.path, item.series), None, wish.labels, catalogue)
    else:
        volume = read_item(item, catalogue)
    notes = _problems(volume.item)
    if wish.reference is None:
        return Converted(volume, labels, notes)
    reference = image_for(wish.reference, item, catalogue)
    if labels is not None and wish.interpolation == "linear":
        raise UsageError("--interpolation linear would make values between the labels of a mask; leave it out")
    mask = labels is not None or (wish.interpolation != "linear" and looks_like_a_mask(volume))
    stranger = other_patient(item, reference.item) or other_frame(item, reference.item)
    if stranger and mask:
        raise BadImage(item.path, stranger)
    notes += (f"warning: {stranger}",) if stranger else ()
    if volume.dims == reference.dims and same_grid(volume, reference):
        return Converted(replace(reference, array=volume.array), labels, notes)
    try:
        turned = in_grid_of(volume, reference, item.path, "the mask")
    except BadImage as error:
        if mask and not wish.resample:
            hint = "if it belongs to this scan anyway, --resample brings it onto the reference's voxels"
            image = "; if it is not a mask but an image, use --interpolation linear" if labels is None else ""
            raise BadImage(error.path, f"{error.reason}; {hint}{image}") from None
    else:
        return Converted(replace(turned, item=reference.item), labels, notes)
    how = wish.interpolation or ("nearest" if mask else "linear")
    done = resample_onto(volume, reference, how)
    notes += (f"warning: resampled: {_size(volume)} became the reference's {_size(reference)}, by {how} interpolation",)
    return Converted(done, labels, notes + (_lost(volume, done, item.path) if mask else ()))


def _size(volume: Volume) -> str:
    voxels, steps = ("x".join(f"{value:.4g}" for value in values) for values in (volume.shape, volume.spacing))
    return f"{voxels} voxels of {steps} mm"


def _lost(before: Volume, after: Volume, path: Path) -> tuple[str, ...]:
    """What to say of a mask of which the new grid does not cover everything."""
    size = [
        np.count_nonzero(volume.array) * abs(float(np.linalg.det(volume.affine[:3, :3]))) for volume in (before, after)
    ]
    if size[0] and not size[1]:
        raise DataError(f"{path}: no part of this mask lies on the reference; is it of another scan?")
    share = size[1] / size[0] if size[0] else 1.0
    text = f"note: its structures measure {100 * share:.3g} % of what they did before; the two grids differ"
    return (text,) if abs(share - 1) > 0.02 else ()


def _of_structures(item: Item, source: Path, wish: Wish, catalogue: Catalogue) -> Converted:
    """Named structures (SEG, RTSTRUCT) as a mask in the grid of their scan, or of the object itself."""
    if wish.resample:
        catalogue = catalogue.with_options("reader", {"dicom-seg": {"resample": True}})
    if item.errors:
        raise BadImage(item.path, "; ".join(problem.message for problem in item.errors))
    like = _grid_of(item, source, wish, catalogue)
    names = list(dict.fromkeys(str(name) for name in item.facts.get("names") or ()))
    labels = wish.labels or Labels(tuple(Label(value, name) for value, name in enumerate(names, 1)), by_option=True)
    if not labels.items:
        raise BadImage(item.path, "it holds no structures")
    if stranger := other_patient(item, like.item):
        raise BadImage(item.path, stranger)
    reference = ImageRef(item.files[0] if item.files else item.path)
    kept = replace(labels, overlap="keep", others="background" if wish.labels is not None else labels.others)
    mask = read_mask(reference, like, kept, catalogue)
    notes = (*_problems(mask.item), f"values: {', '.join(f'{label.name}={label.value}' for label in labels.items)}")
    flat = replace(mask, array=_joined(mask.array, labels, wish.overlap, item.path), item=like.item)
    return Converted(flat, labels, notes)


def _joined(channels: Array, labels: Labels, overlap: Overlap, path: Path) -> Array:
    """A channel of 0 and 1 for each structure as one label map, unless overlapping structures are to be kept."""
    array = np.zeros(channels.shape[1:], np.uint8 if max(labels.values) < 256 else np.uint16, order="F")
    for where, label in zip(channels == 1, labels.items, strict=True):
        shared = array[where]
        if overlap != "higher" and shared.any():
            if overlap == "keep":
                return channels
            other = next(label.name for label in labels.items if label.value == int(shared[shared > 0][0]))
            raise DataError(
                f"{path}: {label.name!r} and {other!r} share {int((shared > 0).sum())} voxels, which one map of labels "
                "cannot hold; use --overlap higher (the higher value wins) or --overlap keep (a channel each)"
            )
        array[where] = label.value
    return array


def _grid_of(item: Item, source: Path, wish: Wish, catalogue: Catalogue) -> Volume:
    """The scan whose grid the structures get: the reference, the scan beside them, or the object's own grid."""
    if wish.reference is not None:
        return image_for(wish.reference, item, catalogue)
    referred = set(item.facts.get("references") or ()) - {""}
    if source.is_dir():
        others = [item for item in scan(source, catalogue) if item.kind == "image" and item.series in referred]
        if len(others) == 1:
            return read_item(others[0], catalogue)
    try:
        return first_channel(read_item(item, catalogue))
    except BadImage as error:
        raise BadImage(item.path, f"{error.reason}; name it with --reference FOLDER") from None


def image_for(path: Path, item: Item, catalogue: Catalogue) -> Volume:
    """The image that gives the grid: the only one there, or the one that the object refers to.

    Args:
        path: Where images lie: a file, or a folder of series.
        item: An object that holds structures; what it refers to decides where several images lie there.
    """
    items = [item for item in scan(path, catalogue) if item.kind == "image"]
    if not items:
        raise DataError(f"{path}: there is no image here")
    referred = set(item.facts.get("references") or ()) - {""}
    meant = [item for item in items if item.series in referred] if len(items) > 1 else items
    if len(meant) != 1:
        names = "; ".join(str(item.series or item.path) for item in items[:10])
        raise DataError(f"{path}: {len(items)} images are here; name the folder or file of the right one: {names}")
    return first_channel(read_item(meant[0], catalogue))


def _own_labels(item: Item) -> Labels | None:
    """The structures that a mask itself names (3D Slicer's segmentations)."""
    segments: Iterable[dict[str, Any]] = item.facts.get("segments") or ()
    if item.channels > 1:
        labels = [Label(number, str(segment["name"])) for number, segment in enumerate(segments, 1)]
    else:
        labels = [Label(int(segment["value"]), str(segment["name"])) for segment in segments]
    fine = (
        labels
        and len({label.value for label in labels}) == len(labels)
        and all(0 < label.value < 65536 for label in labels)
    )
    return Labels(tuple(sorted(labels, key=lambda label: label.value))) if fine else None


def _maker(volume: Volume) -> dict[str, str]:
    """Objects of other masks on one scan must not take each other's place: their voxels tell them apart."""
    from importlib.metadata import version

    digest = hashlib.sha256(np.ascontiguousarray(volume.array).data).hexdigest()
    release = version("voxgraft")
    return {"model": "converted mask", "version": digest[:16], "hash": digest, "software": f"voxgraft {release}"}


def _problems(item: Item | None) -> tuple[str, ...]:
    return tuple(f"{problem.severity}: {problem.message}" for problem in item.problems) if item else ()
